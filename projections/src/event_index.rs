//! Where events are found that are not found by their stream: rare types, and what they are about.
//!
//! **Invariant:** places and pseudonymous ids only; what an event says is read from the log. Ordinary traffic writes a
//! row for the first event of a stream about somebody and none for the others: the log has streams, places and times
//! itself.

use events::case::CaseEvent;
use events::codec::{Decoded, DomainEvent};
use events::contact::ContactEvent;
use events::conversation::ConversationEvent;
use events::envelope::Category;
use events::ids::{ContactId, ConversationId, Occupancy};
use events::intake::IntakeEvent;
use events::profile::ProfileEvent;
use uuid::Uuid;

use crate::projection::{Changes, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::Statement;
use crate::value::values;

mod find;
mod merge;

pub use find::{EventFilter, EventFinder, FindError, Found};

/// Folds every stream.
#[derive(Debug)]
pub struct EventIndexProjection;

const TABLES: &[Table] = &[
    Table {
        name: "event_of_type",
        create: "CREATE TABLE event_of_type (tenant TEXT NOT NULL, event_type TEXT NOT NULL, position BIGINT NOT NULL, \
            PRIMARY KEY (tenant, event_type, position))",
        key: &["tenant", "event_type", "position"],
        order: RowOrder::Key,
        indexes: &[],
        personal: PersonalColumns::None,
    },
    Table {
        name: "event_source",
        create: "CREATE TABLE event_source (subject BYTEA NOT NULL, number BIGINT NOT NULL, stream BYTEA NOT NULL, \
            tenant TEXT NOT NULL, category TEXT NOT NULL, PRIMARY KEY (subject, number, stream))",
        key: &["subject", "number", "stream"],
        order: RowOrder::Key,
        indexes: &[],
        personal: PersonalColumns::None,
    },
];

/// Types that every message, delivery or new customer writes. They are found by looking through the log, where they
/// are never far away; a row for each would be a row for almost every event.
const FREQUENT: &[&str] = &[
    "contact.occupied",
    "conversation.attachment_stored",
    "conversation.delivery_started",
    "conversation.message_delivered",
    "conversation.message_queued",
    "conversation.message_received",
    "conversation.opened",
    "conversation.part_delivered",
    "conversation.participant_joined",
    "conversation.read",
    "intake.normalised",
    "intake.received",
    "profile.attribute_recorded",
    "profile.opened",
];

static OF_TYPE: Statement = Statement::insert("event_of_type", "tenant, event_type, position", &[]);
static SOURCE: Statement = Statement::insert("event_source", "subject, number, stream, tenant, category", &[]);

/// The conversation and the person that an event is about, as far as it says so itself.
fn about(stream: Uuid, event: &DomainEvent) -> (Option<ConversationId>, Option<Occupancy>) {
    let occupancy = |number: u32| Some(Occupancy { contact: ContactId::new(stream), number });
    match event {
        DomainEvent::Conversation(conversation) => {
            let person = match conversation {
                ConversationEvent::ParticipantJoined(joined) => Some(joined.participant),
                ConversationEvent::ParticipantLeft(left) => Some(left.participant),
                ConversationEvent::MessageReceived(received) => Some(received.author),
                ConversationEvent::MessageEdited(edited) => Some(edited.author),
                ConversationEvent::ReactionsChanged(changed) => changed.by,
                ConversationEvent::ActivityNoted(noted) => noted.by,
                ConversationEvent::MessageQueued(queued) => queued.addressee,
                ConversationEvent::Opened(_)
                | ConversationEvent::Reopened(_)
                | ConversationEvent::Closed(_)
                | ConversationEvent::Migrated(_)
                | ConversationEvent::MessageRetracted(_)
                | ConversationEvent::AttachmentStored(_)
                | ConversationEvent::AttachmentLost(_)
                | ConversationEvent::DeliveryStarted(_)
                | ConversationEvent::PartDelivered(_)
                | ConversationEvent::MessageDelivered(_)
                | ConversationEvent::DeliveryPostponed(_)
                | ConversationEvent::DeliveryFailed(_)
                | ConversationEvent::DeliveryUnknown(_)
                | ConversationEvent::DeliveryRedriven(_)
                | ConversationEvent::NoteAdded(_)
                | ConversationEvent::Tagged(_)
                | ConversationEvent::Assigned(_)
                | ConversationEvent::SpeakerChanged(_)
                | ConversationEvent::Snoozed(_)
                | ConversationEvent::Woken(_)
                | ConversationEvent::Enqueued(_)
                | ConversationEvent::ClockNoted(_)
                | ConversationEvent::Read(_) => None,
            };
            (Some(ConversationId::new(stream)), person)
        }
        DomainEvent::Contact(contact) => match contact {
            ContactEvent::Occupied(event) => (None, occupancy(event.occupancy)),
            ContactEvent::Vacated(event) => (None, occupancy(event.occupancy)),
            ContactEvent::Blocked(event) => (None, occupancy(event.occupancy)),
            ContactEvent::Unblocked(event) => (None, occupancy(event.occupancy)),
        },
        DomainEvent::Profile(ProfileEvent::Opened(opened)) => (None, Some(opened.occupancy)),
        DomainEvent::Intake(IntakeEvent::Normalised(normalised)) => {
            (normalised.conversation, normalised.persons.first().copied())
        }
        DomainEvent::Case(CaseEvent::Opened(opened)) => (Some(opened.conversation), opened.customer),
        DomainEvent::Profile(_)
        | DomainEvent::Intake(_)
        | DomainEvent::Account(_)
        | DomainEvent::Link(_)
        | DomainEvent::Calendar(_)
        | DomainEvent::Operator(_)
        | DomainEvent::Queue(_)
        | DomainEvent::Case(_)
        | DomainEvent::CaseType(_)
        | DomainEvent::CaseRegister(_)
        | DomainEvent::ServiceLevel(_) => (None, None),
    }
}

impl Projection for EventIndexProjection {
    fn name(&self) -> &'static str {
        "event_index"
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &Category::ALL
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let at = &event.recorded;
        let (stream, event_type) = (at.stream.id, event.event.event_type());
        if !FREQUENT.contains(&event_type) {
            changes.push(&OF_TYPE, values![at.tenant(), event_type, at.position]);
        }
        let (conversation, person) = about(stream, &event.event);
        let mut source = |subject: Uuid, number: u32| {
            let category = at.stream.category.as_str();
            changes.push(&SOURCE, values![subject, number, stream, at.tenant(), category]);
        };
        // Streams of a contact point and of a profile are about their own person, one of a conversation about itself.
        match at.stream.category {
            Category::Conversation | Category::Intake | Category::Case => {}
            Category::Account
            | Category::Contact
            | Category::Profile
            | Category::Link
            | Category::Calendar
            | Category::Operator
            | Category::Queue
            | Category::CaseType
            | Category::CaseRegister
            | Category::ServiceLevel => return,
        }
        if let Some(conversation) = conversation.map(ConversationId::uuid).filter(|subject| *subject != stream) {
            source(conversation, 0);
        }
        if let Some(person) = person {
            source(person.contact.uuid(), person.number);
        }
    }
}

#[cfg(test)]
mod tests;
