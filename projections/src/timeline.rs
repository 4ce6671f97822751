//! What was said in a conversation: messages, edits, notes and activities in order, with deliveries, reactions and
//! files.
//!
//! **Invariant:** entries are only ever added, one per event, in the order of the stream; what changes later
//! (delivery, reactions, files) has rows of its own. An edit is an entry too, so it may come before its message.

use events::codec::{Decoded, DomainEvent};
use events::conversation::ConversationEvent;
use events::envelope::Category;
use events::ids::{MessageId, Occupancy};
use uuid::Uuid;

use crate::projection::{Changes, Projection, Table};
use crate::statement::Set::{Null, Number, Text};
use crate::statement::{Newer, Statement};
use crate::value::{Value, json, name, values};

mod delivery;
mod latest;
mod read;
mod tables;
mod view;

pub use delivery::DeadLetterView;
pub use view::{
    AttachmentState, DeliveryState, DeliveryView, EditView, EntryBody, MessageDirection, MessageView, PartView,
    ReactionView, TimelineEntry,
};

/// Folds conversation streams into timelines.
#[derive(Debug)]
pub struct TimelineProjection;

static ENTRY: Statement = Statement::add(
    "entry",
    "conversation, revision, tenant, kind, item, episode, person, number, actor_kind, actor, \
        message_kind, marks, reply_to, album, activity, about, edited_at, content, event, occurred_at, \
        recorded_at, position",
    &[],
);
static QUEUED: Statement = Statement::insert(
    "delivery",
    "message, conversation, tenant, changed_at, revision, position",
    &[("state", Text("queued")), ("attempt", Number(0))],
);
static STARTED: Statement = Statement::update(
    "delivery",
    "attempt, changed_at, revision, position",
    &[("state", Text("sending")), ("retry_at", Null)],
);
static DELIVERED: Statement = Statement::update(
    "delivery",
    "parts, changed_at, revision, position",
    &[("state", Text("delivered")), ("reason", Null), ("retry_at", Null)],
);
static UNSENT: Statement =
    Statement::update("delivery", "state, attempt, reason, retry_at, changed_at, revision, position", &[]);
static REDRIVEN: Statement = Statement::update(
    "delivery",
    "changed_at, revision, position",
    &[("state", Text("queued")), ("reason", Null), ("retry_at", Null)],
);
static PART: Statement = Statement::upsert(
    "message_part",
    "message, conversation, part, tenant, alias, outside_id, delivered_at, revision",
    &[],
    Newer { by: "revision", sets: "alias, outside_id, delivered_at, revision", fills: "" },
);
static RETRACTED: Statement =
    Statement::insert("retraction", "message, conversation, tenant, retracted_at, revision", &[]);
static REACTED: Statement = Statement::upsert(
    "reaction",
    "message, conversation, contact, number, tenant, reactions, changed_at, revision",
    &[],
    Newer { by: "changed_at, revision", sets: "reactions, changed_at, revision", fills: "" },
);
static ATTACHMENT: Statement = Statement::upsert(
    "attachment",
    "message, conversation, place, tenant, blob, lost_reason, revision",
    &[],
    Newer { by: "revision", sets: "blob, lost_reason, revision", fills: "" },
);

/// The columns of an entry that differ by kind.
struct Entry {
    kind: &'static str,
    item: Uuid,
    episode: Option<u32>,
    person: Option<Occupancy>,
    message_kind: Value,
    marks: Value,
    reply_to: Option<MessageId>,
    album: Option<Uuid>,
    activity: Option<String>,
    about: Option<MessageId>,
    edited_at: Value,
    content: Value,
}

impl Entry {
    const fn of(kind: &'static str, item: Uuid) -> Self {
        Self {
            kind,
            item,
            episode: None,
            person: None,
            message_kind: Value::Null,
            marks: Value::Null,
            reply_to: None,
            album: None,
            activity: None,
            about: None,
            edited_at: Value::Null,
            content: Value::Null,
        }
    }

    fn push(self, event: &Decoded, changes: &mut Changes) {
        let at = &event.recorded;
        changes.push(
            &ENTRY,
            values![
                at.stream.id,
                at.revision,
                at.tenant(),
                self.kind,
                self.item,
                self.episode,
                self.person.map(|person| person.contact),
                self.person.map(|person| person.number),
                at.metadata.actor.kind(),
                at.metadata.actor.id(),
                self.message_kind,
                self.marks,
                self.reply_to,
                self.album,
                self.activity,
                self.about,
                self.edited_at,
                self.content,
                at.id,
                at.metadata.occurred_at,
                at.recorded_at,
                at.position,
            ],
        );
    }
}

impl Projection for TimelineProjection {
    fn name(&self) -> &'static str {
        "timeline"
    }

    fn version(&self) -> u32 {
        4
    }

    fn tables(&self) -> &'static [Table] {
        tables::TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Conversation]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::Conversation(conversation_event) = &event.event else { return };
        fold(event, conversation_event, changes);
    }
}

/// Adds to `changes` what the event changes.
fn fold(event: &Decoded, conversation_event: &ConversationEvent, changes: &mut Changes) {
    let at = &event.recorded;
    let (id, now, revision, position) = (at.stream.id, at.recorded_at, at.revision, at.position);
    match conversation_event {
        ConversationEvent::MessageReceived(received) => Entry {
            episode: Some(received.episode),
            person: Some(received.author),
            message_kind: name(&received.kind),
            marks: if received.marks.is_empty() { Value::Null } else { json(&received.marks) },
            reply_to: received.reply_to,
            album: received.album,
            content: received.content.value().map_or(Value::Null, json),
            ..Entry::of("received", received.message.uuid())
        }
        .push(event, changes),
        ConversationEvent::MessageQueued(queued) => {
            Entry {
                episode: Some(queued.episode),
                person: queued.addressee,
                message_kind: name(&queued.kind),
                reply_to: queued.reply_to,
                content: queued.content.value().map_or(Value::Null, json),
                ..Entry::of("queued", queued.message.uuid())
            }
            .push(event, changes);
            let row = values![queued.message, id, at.tenant(), now, revision, position];
            changes.push(&QUEUED, row);
        }
        ConversationEvent::MessageEdited(edited) => Entry {
            person: Some(edited.author),
            message_kind: name(&edited.kind),
            edited_at: edited.edited_at.into(),
            content: edited.content.value().map_or(Value::Null, json),
            ..Entry::of("edited", edited.message.uuid())
        }
        .push(event, changes),
        ConversationEvent::NoteAdded(note) => {
            Entry { content: note.content.value().map_or(Value::Null, json), ..Entry::of("note", note.note) }
                .push(event, changes);
        }
        ConversationEvent::ActivityNoted(noted) => Entry {
            person: noted.by,
            activity: Some(noted.activity.clone()),
            about: noted.message,
            content: noted.detail.value().map_or(Value::Null, json),
            ..Entry::of("activity", noted.activity_id)
        }
        .push(event, changes),
        ConversationEvent::MessageRetracted(retracted) => {
            changes.push(&RETRACTED, values![retracted.message, id, at.tenant(), at.metadata.occurred_at, revision]);
        }
        ConversationEvent::ReactionsChanged(changed) => {
            let (contact, number) = changed.by.map_or((Uuid::nil(), 0), |by| (by.contact.uuid(), by.number));
            let reactions = json(&changed.reactions);
            let row =
                values![changed.message, id, contact, number, at.tenant(), reactions, changed.changed_at, revision];
            changes.push(&REACTED, row);
        }
        ConversationEvent::DeliveryPostponed(postponed) => {
            let retry_at = postponed.retry_at.into();
            unsent("postponed", postponed.message, postponed.attempt, &postponed.reason, retry_at, event, changes);
        }
        ConversationEvent::DeliveryFailed(failed) => {
            unsent("failed", failed.message, failed.attempt, &failed.reason, Value::Null, event, changes);
        }
        ConversationEvent::DeliveryUnknown(unknown) => {
            unsent("unknown", unknown.message, unknown.attempt, &unknown.reason, Value::Null, event, changes);
        }
        ConversationEvent::DeliveryStarted(delivery) => {
            changes.push(&STARTED, values![delivery.attempt, now, revision, position, delivery.message, id]);
        }
        ConversationEvent::MessageDelivered(delivery) => {
            changes.push(&DELIVERED, values![delivery.parts, now, revision, position, delivery.message, id]);
        }
        ConversationEvent::DeliveryRedriven(delivery) => {
            changes.push(&REDRIVEN, values![now, revision, position, delivery.message, id]);
        }
        ConversationEvent::PartDelivered(delivery) => {
            let outside_id = delivery.outside_id.clone();
            let row =
                values![delivery.message, id, delivery.part, at.tenant(), delivery.alias, outside_id, now, revision];
            changes.push(&PART, row);
        }
        ConversationEvent::AttachmentStored(delivery) => {
            let row = values![
                delivery.message,
                id,
                delivery.index,
                at.tenant(),
                json(&delivery.blob),
                None::<String>,
                revision
            ];
            changes.push(&ATTACHMENT, row);
        }
        ConversationEvent::AttachmentLost(delivery) => {
            let reason = delivery.reason.clone();
            changes.push(
                &ATTACHMENT,
                values![delivery.message, id, delivery.index, at.tenant(), None::<String>, reason, revision],
            );
        }
        // The inbox's.
        ConversationEvent::Opened(_)
        | ConversationEvent::Reopened(_)
        | ConversationEvent::Closed(_)
        | ConversationEvent::Migrated(_)
        | ConversationEvent::ParticipantJoined(_)
        | ConversationEvent::ParticipantLeft(_)
        | ConversationEvent::Tagged(_)
        | ConversationEvent::Assigned(_)
        | ConversationEvent::SpeakerChanged(_)
        | ConversationEvent::Snoozed(_)
        | ConversationEvent::Woken(_)
        | ConversationEvent::Enqueued(_)
        | ConversationEvent::ClockNoted(_)
        | ConversationEvent::Read(_) => {}
    }
}

/// A message that did not go out.
fn unsent(
    state: &'static str,
    message: MessageId,
    attempt: u32,
    reason: &str,
    retry_at: Value,
    event: &Decoded,
    changes: &mut Changes,
) {
    let at = &event.recorded;
    let (now, revision, position) = (at.recorded_at, at.revision, at.position);
    let row = values![state, attempt, reason.to_owned(), retry_at, now, revision, position, message, at.stream.id];
    changes.push(&UNSENT, row);
}

#[cfg(test)]
mod tests;
