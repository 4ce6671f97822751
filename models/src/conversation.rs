//! The decider of conversations: messages in and out, who speaks, who works on them.
//!
//! **Invariant:** one speaker: a conversation is held by an agent, an operator or nobody, and an agent's message is
//! refused while a person holds it (design invariant 10). Deliveries go in the order in which they were queued, one
//! at a time, and a delivery whose end nobody saw is never repeated unasked.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::conversation::content::MessageMark;
use events::conversation::{ClockNote, ConversationEvent, ConversationKind, Speaker};
use events::envelope::{Category, Revision};
use events::ids::{AccountId, MessageId, Occupancy, QueueId};
use events::service_level::ClockKind;
use events::values::Channel;
use uuid::Uuid;

use crate::decider::Decider;
use crate::policies::routing::MAX_PRIORITY;

mod assignment;
mod command;
mod decide;
mod delivery;
mod evolve;

pub use command::{ConversationCommand, ConversationRejection, EnqueuedBy, Enqueueing, Outgoing, ThreadFacts};
pub use delivery::{Delivery, DeliveryStatus};

/// Longest text of an outgoing message, in characters: more than any channel takes in one piece, split by them.
pub const MAX_TEXT_CHARS: usize = 100_000;
/// Longest tag, in characters.
pub const MAX_TAG_CHARS: usize = 64;
/// Most tags of a conversation.
pub const MAX_TAGS: usize = 64;
/// Most operators mentioned in a note.
pub const MAX_MENTIONS: usize = 50;
/// Longest name of an operator, in characters.
pub const MAX_NAME_CHARS: usize = 200;
/// Longest reason code, in characters.
pub const MAX_REASON_CHARS: usize = 200;
/// Most queues that a conversation falls through by itself: where queues fall back to each other in a circle it stops
/// after so many.
pub const MAX_FALLBACKS: u8 = 8;

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
    /// In a direct conversation the customer who wrote last, in person.
    current: Option<Occupancy>,
    received: HashSet<MessageId>,
    retracted: HashSet<MessageId>,
    reactions: HashMap<(MessageId, Option<Occupancy>), DateTime<Utc>>,
    activities: HashSet<Uuid>,
    attachments: HashMap<MessageId, BTreeMap<u32, Attachment>>,
    notes: HashSet<Uuid>,
    tags: BTreeSet<String>,
    queued: Option<Queued>,
    was_queued: bool,
    operator: Option<Arc<str>>,
    /// What was noted of clocks, by clock and beginning.
    clocks: HashSet<(ClockKind, DateTime<Utc>, ClockNote)>,
    speaker: Speaker,
    snoozed: Option<DateTime<Utc>>,
    read: HashMap<Arc<str>, Revision>,
    revision: Option<Revision>,
    deliveries: HashMap<MessageId, Delivery>,
    /// Deliveries that wait or are under way, in order.
    queue: Vec<MessageId>,
}

/// Where a conversation waits for an operator, or came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Which queue.
    pub queue: QueueId,
    /// 0 to [`MAX_PRIORITY`].
    pub priority: u8,
    /// The language that whoever takes it must speak.
    pub language: Option<Arc<str>>,
    /// How many queues it has fallen through.
    pub fallbacks: u8,
}

/// What became of a customer's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attachment {
    Stored,
    Lost,
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
            attachments: HashMap::new(),
            notes: HashSet::new(),
            tags: BTreeSet::new(),
            queued: None,
            was_queued: false,
            operator: None,
            clocks: HashSet::new(),
            speaker: Speaker::Nobody,
            snoozed: None,
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

    /// Where it waits, or came from; `None` once the episode has ended.
    #[must_use]
    pub const fn queued(&self) -> Option<&Queued> {
        self.queued.as_ref()
    }

    /// True when it has ever been in a queue: only then can anything be promised.
    #[must_use]
    pub const fn was_queued(&self) -> bool {
        self.was_queued
    }

    /// Whose work it is.
    #[must_use]
    pub const fn operator(&self) -> Option<&Arc<str>> {
        self.operator.as_ref()
    }

    /// True while it rests.
    #[must_use]
    pub const fn is_snoozed(&self) -> bool {
        self.snoozed.is_some()
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

/// True for what a machine sent.
fn is_from_machine(marks: &[MessageMark]) -> bool {
    marks.iter().any(|mark| mark.is_of_machine())
}

/// True for what a mail system says about a message of ours.
fn is_report(marks: &[MessageMark]) -> bool {
    marks.iter().any(|mark| match mark {
        MessageMark::Bounce | MessageMark::DelayNotice | MessageMark::Complaint => true,
        MessageMark::AutoReply
        | MessageMark::Bulk
        | MessageMark::Forwarded
        | MessageMark::Damaged
        | MessageMark::GuessedCharset
        | MessageMark::ViaBot => false,
    })
}

#[cfg(test)]
mod tests;
