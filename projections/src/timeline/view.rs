//! What a timeline shows.
//!
//! **Invariant:** times are given twice: `occurred_at` by the provider's clock, `recorded_at` by ours; order is by
//! revision alone.

use chrono::{DateTime, Utc};
use events::blobs::BlobRef;
use events::conversation::content::{ActivityDetail, MessageContent, MessageKind, MessageMark, NoteContent};
use events::envelope::{Position, Revision};
use events::ids::{ConversationId, EventId, MessageId, Occupancy};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One thing in a timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineEntry {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its place in the conversation.
    pub revision: Revision,
    /// Its place in the log.
    pub position: Position,
    /// The event that made it.
    pub event: EventId,
    /// Who did it: `customer`, `operator`, `agent` or `system`.
    pub actor_kind: String,
    /// The id within the kind.
    pub actor: String,
    /// When, by the provider's clock.
    pub occurred_at: DateTime<Utc>,
    /// When, by ours.
    pub recorded_at: DateTime<Utc>,
    /// What it is.
    pub body: EntryBody,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq)]
pub enum EntryBody {
    /// A message in or out.
    Message(Box<MessageView>),
    /// An internal note.
    Note {
        /// Its id.
        note: Uuid,
        /// What it says; `None` when erased.
        content: Option<NoteContent>,
    },
    /// Something that is no message.
    Activity {
        /// Its id.
        id: Uuid,
        /// What, in the provider's words.
        activity: String,
        /// Who did it, if a customer.
        by: Option<Occupancy>,
        /// The message it is about, if any.
        message: Option<MessageId>,
        /// The rest; `None` when erased.
        detail: Option<ActivityDetail>,
    },
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageDirection {
    /// From a customer.
    Inbound,
    /// To a customer.
    Outbound,
}

/// A message as it stands, with its history.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageView {
    /// Its id.
    pub message: MessageId,
    /// Which way it went.
    pub direction: MessageDirection,
    /// The episode it belongs to; absent while only an edit of it has come.
    pub episode: Option<u32>,
    /// The author of an inbound, the addressee of an outbound message; absent in a group.
    pub person: Option<Occupancy>,
    /// What kind of message it is now.
    pub kind: MessageKind,
    /// What is special about it.
    pub marks: Vec<MessageMark>,
    /// The message it answers: ours, where the provider named a part of it.
    pub reply_to: Option<MessageId>,
    /// The same for all messages that were sent as one album.
    pub album: Option<Uuid>,
    /// What it says now, masked for the viewer; `None` when erased.
    pub content: Option<MessageContent>,
    /// What it said first; `None` when erased, or while only an edit of it has come.
    pub original: Option<MessageContent>,
    /// Its edits, oldest first; the last is what it says now.
    pub edits: Vec<EditView>,
    /// When the customer took it back.
    pub retracted_at: Option<DateTime<Utc>>,
    /// Reactions, also to its parts.
    pub reactions: Vec<ReactionView>,
    /// What became of its files.
    pub attachments: Vec<AttachmentState>,
    /// What became of an outbound message.
    pub delivery: Option<DeliveryView>,
}

/// One edit of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct EditView {
    /// Its place in the conversation.
    pub revision: Revision,
    /// The event.
    pub event: EventId,
    /// What kind of message it was then.
    pub kind: MessageKind,
    /// When, by the provider's clock.
    pub edited_at: DateTime<Utc>,
    /// When we recorded it.
    pub recorded_at: DateTime<Utc>,
    /// What it said then, masked for the viewer; `None` when erased.
    pub content: Option<MessageContent>,
}

/// The reactions of one person, or of all that stay unnamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReactionView {
    /// Who; absent for a count of anonymous reactions.
    pub by: Option<Occupancy>,
    /// What.
    pub reactions: Vec<String>,
    /// When, by the provider's clock.
    pub changed_at: DateTime<Utc>,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentState {
    /// Its place among the attachments, from 0.
    pub index: u32,
    /// Where it is stored.
    pub blob: Option<BlobRef>,
    /// Why it could not be had.
    pub lost_reason: Option<String>,
}

/// Where an outbound message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waits to be sent.
    Queued,
    /// An attempt is under way.
    Sending,
    /// An attempt failed; another will follow.
    Postponed,
    /// The provider took it.
    Delivered,
    /// It cannot be delivered.
    Failed,
    /// Nobody knows whether the provider took it.
    Unknown,
}

/// What became of an outbound message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryView {
    /// Where it is.
    pub state: DeliveryState,
    /// The last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Why the last attempt failed.
    pub reason: Option<String>,
    /// Not before this time will it be tried again.
    pub retry_at: Option<DateTime<Utc>>,
    /// When this state began, by our clock.
    pub changed_at: DateTime<Utc>,
    /// The parts that the provider took, in order.
    pub parts: Vec<PartView>,
}

/// A part that the provider took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartView {
    /// Which, from 0.
    pub part: u32,
    /// The id by which replies and reactions refer to it.
    pub alias: MessageId,
    /// The provider's id of it.
    pub outside_id: Option<String>,
    /// When, by our clock.
    pub delivered_at: DateTime<Utc>,
}
