//! What can be wished of a conversation, and why a wish is refused.
//!
//! **Invariant:** a command carries all that the decision needs: ids, the time, who wishes.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::blobs::BlobRef;
use events::conversation::content::{
    ActivityDetail, MessageContent, MessageKind, MessageMark, NoteContent, OutsideThread,
};
use events::conversation::{AssignedReason, ClockNoted, ConversationKind, Speaker, WokenReason};
use events::envelope::{Actor, Revision};
use events::ids::{AccountId, ConversationId, MessageId, Occupancy, QueueId};
use events::values::Channel;
use uuid::Uuid;

use super::{DeliveryStatus, MAX_MENTIONS, MAX_NAME_CHARS, MAX_REASON_CHARS, MAX_TAG_CHARS, MAX_TAGS, MAX_TEXT_CHARS};
use crate::policies::routing::MAX_PRIORITY;

/// What the first message of a thread says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadFacts {
    /// The conversation itself, to seal its fields for the right subject.
    pub conversation: ConversationId,
    /// The account it is held through.
    pub account: AccountId,
    /// The channel of the account.
    pub channel: Channel,
    /// With one customer or a group.
    pub kind: ConversationKind,
    /// Where answers go.
    pub outside: OutsideThread,
}

/// A message to the customer.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The conversation itself, to seal the text for the right subject.
    pub conversation: ConversationId,
    /// The message.
    pub message: MessageId,
    /// Who speaks.
    pub speaker: Speaker,
    /// What kind of message it is.
    pub kind: MessageKind,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// What it says.
    pub content: MessageContent,
}

/// How a conversation comes into a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueueing {
    /// Which queue.
    pub queue: QueueId,
    /// True when it is open, by its own stream.
    pub is_open: bool,
    /// 0 to [`MAX_PRIORITY`].
    pub priority: u8,
    /// The language that whoever takes it must speak, by its ISO 639-1 code.
    pub language: Option<Arc<str>>,
    /// What puts it there.
    pub by: EnqueuedBy,
}

/// What puts a conversation into a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnqueuedBy {
    /// Its account: only if it is in none and nobody's work.
    Account,
    /// A person or an agent: it is nobody's work from then on.
    Hand,
    /// That nobody took it where it waits.
    Fallback {
        /// The queue that it falls through.
        from: QueueId,
    },
}

/// A wish about a conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum ConversationCommand {
    /// Take in a customer's message; opens or reopens the conversation.
    Receive {
        /// The thread, to open the conversation if this is its first message.
        thread: ThreadFacts,
        /// The message.
        message: MessageId,
        /// Who wrote it.
        author: Occupancy,
        /// What kind of message it is.
        kind: MessageKind,
        /// What is special about it.
        marks: Vec<MessageMark>,
        /// The message it answers.
        reply_to: Option<MessageId>,
        /// The album it belongs to.
        album: Option<Uuid>,
        /// What it says.
        content: MessageContent,
    },
    /// Take in a customer's edit, also before its message.
    ReceiveEdit {
        /// The thread, to open the conversation if this comes first.
        thread: ThreadFacts,
        /// The message.
        message: MessageId,
        /// Who changed it.
        author: Occupancy,
        /// What kind of message it is now.
        kind: MessageKind,
        /// When, by the provider's clock.
        edited_at: DateTime<Utc>,
        /// What it says now.
        content: MessageContent,
    },
    /// Note that a message was taken back, also before it came.
    Retract {
        /// The thread, to open the conversation if this comes first.
        thread: ThreadFacts,
        /// The message.
        message: MessageId,
    },
    /// Note the reactions to a message, also before it came.
    React {
        /// The thread, to open the conversation if this comes first.
        thread: ThreadFacts,
        /// The message.
        message: MessageId,
        /// Who reacted, if known.
        by: Option<Occupancy>,
        /// When, by the provider's clock.
        changed_at: DateTime<Utc>,
        /// All reactions now.
        reactions: Vec<String>,
    },
    /// Note something that is no message.
    NoteActivity {
        /// The thread, to open the conversation if this comes first.
        thread: ThreadFacts,
        /// What, in the provider's words.
        activity: String,
        /// The same for the same activity delivered again.
        activity_id: Uuid,
        /// Who did it.
        by: Option<Occupancy>,
        /// The message it is about.
        message: Option<MessageId>,
        /// The rest.
        detail: ActivityDetail,
    },
    /// Note that a customer takes part.
    Join {
        /// The thread, to open the conversation if this comes first.
        thread: ThreadFacts,
        /// Who.
        participant: Occupancy,
    },
    /// Note that a customer does not take part any more.
    Leave {
        /// Who.
        participant: Occupancy,
    },
    /// Note that the thread has another address.
    Migrate {
        /// The thread as it was, to open the conversation if this comes first.
        thread: ThreadFacts,
        /// The conversation of the new address.
        to: ConversationId,
        /// The new address.
        outside: OutsideThread,
    },
    /// Note where a customer's file is.
    StoreAttachment {
        /// The message.
        message: MessageId,
        /// Its place among the attachments, from 0.
        index: u32,
        /// Where it is.
        blob: BlobRef,
    },
    /// Note that a customer's file cannot be had.
    LoseAttachment {
        /// The message.
        message: MessageId,
        /// Its place among the attachments, from 0.
        index: u32,
        /// Why.
        reason: String,
    },
    /// Queue a message to the customer.
    Queue(Outgoing),
    /// Begin to send the next part of a message.
    StartDelivery {
        /// The message.
        message: MessageId,
        /// Which part, from 0.
        part: u32,
    },
    /// Note that the provider took a part.
    RecordPart {
        /// The message.
        message: MessageId,
        /// Which part, from 0.
        part: u32,
        /// The id under which the provider's events will speak of it.
        alias: MessageId,
        /// The provider's id of it.
        outside_id: Option<String>,
    },
    /// Note that the provider took all parts.
    CompleteDelivery {
        /// The message.
        message: MessageId,
    },
    /// Try again later.
    PostponeDelivery {
        /// The message.
        message: MessageId,
        /// Why.
        reason: String,
        /// When.
        retry_at: DateTime<Utc>,
    },
    /// Give up: a dead letter.
    FailDelivery {
        /// The message.
        message: MessageId,
        /// Why.
        reason: String,
    },
    /// Note that nobody knows whether the provider took it.
    LoseTrack {
        /// The message.
        message: MessageId,
        /// Why.
        reason: String,
    },
    /// Send a dead letter again, from the first part that was not delivered, after those that wait already.
    Redrive {
        /// The message.
        message: MessageId,
    },
    /// Add an internal note.
    AddNote {
        /// The conversation itself, to seal the note for the right subject.
        conversation: ConversationId,
        /// The note.
        note: Uuid,
        /// Operators who are to see it.
        mentions: BTreeSet<Arc<str>>,
        /// What it says.
        content: NoteContent,
    },
    /// Add and take away tags.
    Tag {
        /// Tags to add.
        add: BTreeSet<String>,
        /// Tags to take away.
        remove: BTreeSet<String>,
    },
    /// Put it into a queue, where it waits for an operator.
    Enqueue(Enqueueing),
    /// Make it an operator's work, or nobody's.
    Assign {
        /// The operator.
        operator: Option<Arc<str>>,
    },
    /// Make it the work of the operator that the policy of its queue has found.
    AssignFromQueue {
        /// The queue in which it waits.
        queue: QueueId,
        /// The operator.
        operator: Arc<str>,
        /// Why to them.
        reason: AssignedReason,
    },
    /// Make it nobody's work, if it is still this operator's, who cannot go on with it.
    Unassign {
        /// The operator.
        from: Arc<str>,
        /// Why.
        reason: AssignedReason,
    },
    /// Note that a clock is about to run out, or has; once for each clock and note.
    NoteClock(ClockNoted),
    /// Let somebody else speak. An agent cannot take a conversation from whoever holds it.
    HandOver {
        /// Who wishes.
        by: Actor,
        /// Who speaks from here on.
        to: Speaker,
        /// Why, as a short code.
        reason: String,
    },
    /// Let it rest until a time.
    Snooze {
        /// Until when.
        until: DateTime<Utc>,
        /// The time now.
        now: DateTime<Utc>,
    },
    /// End the rest. When the time is what ends it, nothing happens before that time.
    Wake {
        /// What ends it.
        reason: WokenReason,
        /// The time now.
        now: DateTime<Utc>,
    },
    /// Close the episode.
    Close {
        /// Why, as a short code.
        reason: String,
    },
    /// Begin a further episode.
    Reopen,
    /// Note up to where an operator has read.
    MarkRead {
        /// Who.
        operator: Arc<str>,
        /// Up to which revision, inclusive.
        up_to: Revision,
    },
}

/// Why a wish about a conversation is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConversationRejection {
    /// There is no such conversation.
    #[error("conversation does not exist")]
    NotOpen,
    /// The episode is closed.
    #[error("conversation is closed: reopen it first")]
    Closed,
    /// The outside thread moved.
    #[error("conversation moved to another address of the group: answer there")]
    Migrated,
    /// Somebody else speaks.
    #[error("conversation is held by {0}: hand it over first")]
    HeldByOther(String),
    /// A message needs a speaker.
    #[error("message must have an agent or an operator as its speaker")]
    NoSpeaker,
    /// There is nobody to answer.
    #[error("conversation has no customer to answer")]
    NoAddressee,
    /// The message or note says nothing or too much.
    #[error("message must have text of at most {MAX_TEXT_CHARS} characters or an attachment")]
    BadText,
    /// There is no such outgoing message.
    #[error("conversation has no such outgoing message")]
    NoSuchMessage,
    /// The message id is taken.
    #[error("this message id is used already")]
    MessageExists,
    /// Another message goes first.
    #[error("an earlier message of this conversation is not delivered yet")]
    NotItsTurn,
    /// Parts go in order, each once.
    #[error("part {next} of the message goes next")]
    WrongPart {
        /// The part that goes next.
        next: u32,
    },
    /// The delivery is not in the state that this step needs.
    #[error("delivery is {0}")]
    WrongDeliveryState(DeliveryStatus),
    /// A tag is empty or too long, or there are too many.
    #[error("tags must have 1 to {MAX_TAG_CHARS} characters, {MAX_TAGS} at most")]
    BadTag,
    /// The time to rest until has passed.
    #[error("time to snooze until is not in the future")]
    NotInFuture,
    /// A reason is empty or too long.
    #[error("reason must have 1 to {MAX_REASON_CHARS} characters")]
    BadReason,
    /// The revision is beyond the end of the conversation.
    #[error("conversation has no such revision")]
    NoSuchRevision,
    /// There is no such queue, or nothing new comes into it.
    #[error("queue does not exist or is closed")]
    NoSuchQueue,
    /// A mention is empty or too long, or there are too many.
    #[error("mentions must have 1 to {MAX_NAME_CHARS} characters, {MAX_MENTIONS} at most")]
    BadMention,
    /// The priority is too high.
    #[error("priority must be 0 to {MAX_PRIORITY}")]
    BadPriority,
    /// The language is no code.
    #[error("language must be an ISO 639-1 code, as ru or en")]
    BadLanguage,
    /// It does not wait in this queue: it is somebody's work, rests, is closed or went elsewhere.
    #[error("conversation does not wait in this queue any more")]
    NotWaiting,
}
