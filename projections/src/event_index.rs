//! Where every event is: by stream, type, time, conversation and person, for queries of events.
//!
//! **Invariant:** places and pseudonymous ids only; what an event says is read from the log.

use events::codec::{Decoded, DomainEvent};
use events::contact::ContactEvent;
use events::conversation::ConversationEvent;
use events::envelope::Category;
use events::ids::{ConversationId, Occupancy};
use events::intake::IntakeEvent;
use events::profile::ProfileEvent;

use crate::projection::{Changes, PersonalColumns, Projection, Table};
use crate::value::{Value, values};

mod read;

pub use read::{EventFilter, EventView};

/// Folds every stream.
#[derive(Debug)]
pub struct EventIndexProjection;

const TABLES: &[Table] = &[Table {
    name: "event_index",
    create: "CREATE TABLE event_index (position BIGINT NOT NULL, tenant TEXT NOT NULL, category TEXT NOT NULL, \
        stream BYTEA NOT NULL, revision BIGINT NOT NULL, event BYTEA NOT NULL, event_type TEXT NOT NULL, \
        actor_kind TEXT NOT NULL, actor TEXT NOT NULL, causation BYTEA, correlation BYTEA NOT NULL, conversation BYTEA, \
        contact BYTEA, number BIGINT, occurred_at BIGINT NOT NULL, recorded_at BIGINT NOT NULL, PRIMARY KEY (position))",
    key: &["position"],
    indexes: &[
        "CREATE INDEX event_of_stream ON event_index (stream, revision)",
        "CREATE INDEX event_of_type ON event_index (tenant, event_type, position)",
        "CREATE INDEX event_of_conversation ON event_index (conversation, position) WHERE conversation IS NOT NULL",
        "CREATE INDEX event_of_person ON event_index (contact, position) WHERE contact IS NOT NULL",
        "CREATE INDEX event_by_time ON event_index (tenant, recorded_at)",
    ],
    personal: PersonalColumns::None,
}];

const RECORDED: &str = "INSERT INTO event_index (position, tenant, category, stream, revision, event, event_type, \
    actor_kind, actor, causation, correlation, conversation, contact, number, occurred_at, recorded_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT (position) DO NOTHING";

/// The conversation and the person that an event is about, as far as it says so itself.
fn about(event: &Decoded) -> (Option<ConversationId>, Option<Occupancy>) {
    let stream = event.recorded.stream.id;
    let occupancy = |number: u32| Some(Occupancy { contact: events::ids::ContactId::new(stream), number });
    match &event.event {
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
        DomainEvent::Profile(_) | DomainEvent::Intake(_) | DomainEvent::Account(_) | DomainEvent::Link(_) => {
            (None, None)
        }
    }
}

impl Projection for EventIndexProjection {
    fn name(&self) -> &'static str {
        "event_index"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &Category::ALL
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let at = &event.recorded;
        let (conversation, person) = about(event);
        let actor = &at.metadata.actor;
        changes.push(
            RECORDED,
            values![
                at.position,
                at.tenant(),
                at.stream.category.as_str(),
                at.stream.id,
                at.revision,
                at.id,
                event.event.event_type(),
                actor.kind(),
                actor.id(),
                at.metadata.causation,
                at.metadata.correlation,
                conversation,
                person.map(|person| person.contact),
                person.map_or(Value::Null, |person| person.number.into()),
                at.metadata.occurred_at,
                at.recorded_at,
            ],
        );
    }
}
