//! The decider of conversations: messages in and out, who speaks, who works on them.
//!
//! **Invariant:** one speaker: a conversation is held by an agent, an operator or nobody, and an agent's message is
//! refused while a person holds it (design invariant 10). Deliveries go in the order in which they were queued, one
//! at a time, and a delivery whose end nobody saw is never repeated unasked.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::blobs::BlobRef;
use events::conversation::content::{
    ActivityDetail, MessageContent, MessageKind, MessageMark, NoteContent, OutsideThread,
};
use events::conversation::{ConversationEvent, ConversationKind, ReopenReason, Speaker, WokenReason};
use events::envelope::{Category, Revision};
use events::ids::{AccountId, ConversationId, MessageId, Occupancy};
use events::seal::KeySubject;
use events::values::Channel;
use uuid::Uuid;

use crate::decider::Decider;

mod decide;
mod delivery;
mod evolve;

pub use delivery::{Delivery, DeliveryStatus};

/// Longest text of an outgoing message, in characters: more than any channel takes in one piece, split by them.
pub const MAX_TEXT_CHARS: usize = 100_000;
/// Longest tag, in characters.
pub const MAX_TAG_CHARS: usize = 64;
/// Most tags of a conversation.
pub const MAX_TAGS: usize = 64;
/// Longest reason code, in characters.
pub const MAX_REASON_CHARS: usize = 200;

/// The rules of conversations.
pub struct ConversationDecider;

/// What is known of a conversation.
#[derive(Debug, PartialEq)]
pub struct Conversation {
    opened: Option<Facts>,
    episode: u32,
    closed: bool,
    migrated: bool,
    participants: BTreeSet<Occupancy>,
    /// In a direct conversation the customer who wrote last.
    current: Option<Occupancy>,
    received: HashSet<MessageId>,
    retracted: HashSet<MessageId>,
    reactions: HashMap<(MessageId, Option<Occupancy>), DateTime<Utc>>,
    activities: HashSet<Uuid>,
    attachments: HashSet<(MessageId, u32)>,
    notes: HashSet<Uuid>,
    tags: BTreeSet<String>,
    operator: Option<Arc<str>>,
    speaker: Speaker,
    snoozed: bool,
    read: HashMap<Arc<str>, Revision>,
    revision: Option<Revision>,
    deliveries: HashMap<MessageId, Delivery>,
    /// Deliveries that wait or are under way, in order.
    queue: Vec<MessageId>,
}

#[derive(Debug, Clone, PartialEq)]
struct Facts {
    account: AccountId,
    channel: Channel,
    kind: ConversationKind,
}

impl Default for Conversation {
    fn default() -> Self {
        Self {
            opened: None,
            episode: 0,
            closed: false,
            migrated: false,
            participants: BTreeSet::new(),
            current: None,
            received: HashSet::new(),
            retracted: HashSet::new(),
            reactions: HashMap::new(),
            activities: HashSet::new(),
            attachments: HashSet::new(),
            notes: HashSet::new(),
            tags: BTreeSet::new(),
            operator: None,
            speaker: Speaker::Nobody,
            snoozed: false,
            read: HashMap::new(),
            revision: None,
            deliveries: HashMap::new(),
            queue: Vec::new(),
        }
    }
}

impl Conversation {
    /// The account it is held through, once it exists.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        self.opened.as_ref().map(|facts| facts.account)
    }

    /// The channel it is held through, once it exists.
    #[must_use]
    pub fn channel(&self) -> Option<Channel> {
        self.opened.as_ref().map(|facts| facts.channel)
    }

    /// With one customer or a group, once it exists.
    #[must_use]
    pub fn kind(&self) -> Option<ConversationKind> {
        self.opened.as_ref().map(|facts| facts.kind)
    }

    /// The customer that an answer would go to; `None` in a group.
    #[must_use]
    pub fn addressee(&self) -> Option<Occupancy> {
        match self.kind()? {
            ConversationKind::Direct => self.current,
            ConversationKind::Group => None,
        }
    }

    /// The number of the episode; 0 before the first.
    #[must_use]
    pub const fn episode(&self) -> u32 {
        self.episode
    }

    /// True while an episode is open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.opened.is_some() && !self.closed
    }

    /// Who may speak to the customer.
    #[must_use]
    pub const fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// What is known of an outgoing message.
    #[must_use]
    pub fn delivery(&self, message: MessageId) -> Option<&Delivery> {
        self.deliveries.get(&message)
    }

    /// Outgoing messages that wait or are under way, in order.
    #[must_use]
    pub fn queue(&self) -> &[MessageId] {
        &self.queue
    }
}

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
    /// Note that a message was taken back.
    Retract {
        /// The message.
        message: MessageId,
    },
    /// Note the reactions to a message.
    React {
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
    /// Send a dead letter again, from the first part that was not delivered.
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
    /// Make it an operator's work, or nobody's.
    Assign {
        /// The operator.
        operator: Option<Arc<str>>,
    },
    /// Let somebody else speak.
    HandOver {
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
    /// End the rest.
    Wake {
        /// What ends it.
        reason: WokenReason,
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
    /// There is nobody to answer.
    #[error("conversation has no customer to answer")]
    NoAddressee,
    /// The message says nothing or too much.
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
}

impl Decider for ConversationDecider {
    const CATEGORY: Category = Category::Conversation;
    const READS_PERSONAL: bool = false;
    type Event = ConversationEvent;
    type Command = ConversationCommand;
    type State = Conversation;
    type Rejection = ConversationRejection;

    fn decide(
        state: &Conversation,
        command: ConversationCommand,
    ) -> Result<Vec<ConversationEvent>, ConversationRejection> {
        decide::decide(state, command)
    }

    fn evolve(state: &mut Conversation, event: &ConversationEvent, revision: Revision) {
        evolve::evolve(state, event, revision);
    }
}

/// Whose key seals what is said to the customers of this conversation.
fn subject(state: &Conversation, conversation: ConversationId) -> KeySubject {
    state.addressee().map_or(KeySubject::Conversation(conversation), KeySubject::Occupancy)
}

/// Why a message from a customer begins a further episode.
const fn reopened_by_customer(episode: u32) -> events::conversation::ConversationReopened {
    events::conversation::ConversationReopened { episode, reason: ReopenReason::CustomerWrote }
}

#[cfg(test)]
mod tests;
