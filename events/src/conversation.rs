//! Conversations: messages in and out, who speaks, who works on them, what became of every delivery.
//!
//! **Invariant:** text is sealed under the author's occupancy when a customer wrote it, under the addressed customer's
//! when an operator or agent wrote it, and in groups under a key of the conversation (design invariant 12). An edit
//! is a new event; the old text stays.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::blobs::BlobRef;
use crate::envelope::Revision;
use crate::ids::{AccountId, ConversationId, MessageId, Occupancy, QueueId};
use crate::seal::{Personal, personal_json};
use crate::service_level::ClockKind;
use crate::values::Channel;
use crate::vocabulary::vocabulary;

pub mod content;

use content::{ActivityDetail, MessageContent, MessageKind, MessageMark, NoteContent, OutsideThread};

vocabulary! {
    /// What happens in a conversation.
    ConversationEvent {
        /// The first episode begins.
        Opened(ConversationOpened) = "conversation.opened", 1, sealed thread;
        /// A further episode begins.
        Reopened(ConversationReopened) = "conversation.reopened", 1;
        /// The episode ends.
        Closed(ConversationClosed) = "conversation.closed", 1;
        /// The outside thread got another address: a Telegram group became a supergroup.
        Migrated(ConversationMigrated) = "conversation.migrated", 1, sealed thread;
        /// A customer takes part from here on.
        ParticipantJoined(ParticipantJoined) = "conversation.participant_joined", 1;
        /// A customer does not take part any more.
        ParticipantLeft(ParticipantLeft) = "conversation.participant_left", 1;
        /// A customer's message came in.
        MessageReceived(MessageReceived) = "conversation.message_received", 1, sealed content;
        /// A customer changed a message of theirs.
        MessageEdited(MessageEdited) = "conversation.message_edited", 1, sealed content;
        /// A customer took a message of theirs back.
        MessageRetracted(MessageRetracted) = "conversation.message_retracted", 1;
        /// A customer's reactions to a message are now these.
        ReactionsChanged(ReactionsChanged) = "conversation.reactions_changed", 1;
        /// A customer did something that is no message: pressed a button, voted, was pinned.
        ActivityNoted(ActivityNoted) = "conversation.activity_noted", 1, sealed detail;
        /// A file of a customer's message is stored.
        AttachmentStored(AttachmentStored) = "conversation.attachment_stored", 1;
        /// A file of a customer's message could not be had.
        AttachmentLost(AttachmentLost) = "conversation.attachment_lost", 1;
        /// A message to the customer waits to be sent.
        MessageQueued(MessageQueued) = "conversation.message_queued", 1, sealed content;
        /// An attempt to send begins: written before the wire is touched.
        DeliveryStarted(DeliveryStarted) = "conversation.delivery_started", 1;
        /// The provider took one part of the message.
        PartDelivered(PartDelivered) = "conversation.part_delivered", 1;
        /// The provider took the whole message.
        MessageDelivered(MessageDelivered) = "conversation.message_delivered", 1;
        /// The attempt failed; another will follow.
        DeliveryPostponed(DeliveryPostponed) = "conversation.delivery_postponed", 1;
        /// The message cannot be delivered: a dead letter.
        DeliveryFailed(DeliveryFailed) = "conversation.delivery_failed", 1;
        /// It is not known whether the provider took it; it is not sent again blindly.
        DeliveryUnknown(DeliveryUnknown) = "conversation.delivery_unknown", 1;
        /// A person asked to send a dead letter again.
        DeliveryRedriven(DeliveryRedriven) = "conversation.delivery_redriven", 1;
        /// An internal note, never sent.
        NoteAdded(NoteAdded) = "conversation.note_added", 1, sealed content;
        /// Tags are added and taken away.
        Tagged(ConversationTagged) = "conversation.tagged", 2;
        /// It waits in a queue for an operator.
        Enqueued(ConversationEnqueued) = "conversation.enqueued", 1;
        /// The conversation is somebody's work, or nobody's.
        Assigned(ConversationAssigned) = "conversation.assigned", 1;
        /// A clock of it is about to run out, or has.
        ClockNoted(ClockNoted) = "conversation.clock_noted", 1;
        /// Who may speak to the customer changes.
        SpeakerChanged(SpeakerChanged) = "conversation.speaker_changed", 1;
        /// The conversation rests until a time or the next message.
        Snoozed(ConversationSnoozed) = "conversation.snoozed", 1;
        /// The rest ends.
        Woken(ConversationWoken) = "conversation.woken", 1;
        /// An operator has read up to a revision.
        Read(ConversationRead) = "conversation.read", 1;
    }
}

/// One conversation or many people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationKind {
    /// With one customer.
    Direct,
    /// A group chat with participants.
    Group,
}

/// The first episode begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationOpened {
    /// The account it is held through.
    pub account: AccountId,
    /// The channel of the account.
    pub channel: Channel,
    /// With one customer or a group.
    pub kind: ConversationKind,
    /// Where answers go.
    pub thread: Personal<OutsideThread>,
}

/// A further episode begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationReopened {
    /// Its number, from 2.
    pub episode: u32,
    /// What opened it.
    pub reason: ReopenReason,
}

/// What opens a further episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReopenReason {
    /// The customer wrote.
    CustomerWrote,
    /// An operator or agent wrote.
    WeWrote,
    /// An operator reopened it.
    ByHand,
}

/// The episode ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationClosed {
    /// Which episode.
    pub episode: u32,
    /// Why, as a short code: `resolved`, `spam`, `no_answer`, `migrated`.
    pub reason: String,
}

/// The outside thread moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationMigrated {
    /// The conversation of the new address: further messages go there.
    pub to: ConversationId,
    /// The new address.
    pub thread: Personal<OutsideThread>,
}

/// A customer takes part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParticipantJoined {
    /// Who.
    pub participant: Occupancy,
}

/// A customer leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParticipantLeft {
    /// Who.
    pub participant: Occupancy,
}

/// A customer's message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageReceived {
    /// Its id, derived from the provider's.
    pub message: MessageId,
    /// Which episode it belongs to.
    pub episode: u32,
    /// Who wrote it.
    pub author: Occupancy,
    /// What kind of message it is.
    pub kind: MessageKind,
    /// What is special about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<MessageMark>,
    /// The message it answers, as far as the provider says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// The same for all messages that were sent as one album.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub album: Option<uuid::Uuid>,
    /// What it says.
    pub content: Personal<MessageContent>,
}

/// A customer's edit. It may come before the message it changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageEdited {
    /// Which message.
    pub message: MessageId,
    /// Who changed it.
    pub author: Occupancy,
    /// What kind of message it is now.
    pub kind: MessageKind,
    /// The provider's time of the edit: of two edits the later one holds.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub edited_at: DateTime<Utc>,
    /// What it says now.
    pub content: Personal<MessageContent>,
}

/// A customer's message is taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageRetracted {
    /// Which message.
    pub message: MessageId,
}

/// A customer's reactions to one message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReactionsChanged {
    /// Which message.
    pub message: MessageId,
    /// Who reacted; absent for a count of anonymous reactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Occupancy>,
    /// The provider's time of the change: of two changes the later one holds.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub changed_at: DateTime<Utc>,
    /// All reactions of this person now: emoji or the provider's ids of custom ones.
    pub reactions: Vec<String>,
}

/// Something that is no message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActivityNoted {
    /// What, in the provider's words: `callback_query`, `poll_answer`, `pinned_message`.
    pub activity: String,
    /// The same for the same activity delivered again; derived from the provider's id of it.
    pub activity_id: uuid::Uuid,
    /// Who did it, if a customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Occupancy>,
    /// The message it is about, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageId>,
    /// The rest.
    pub detail: Personal<ActivityDetail>,
}

/// A file is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachmentStored {
    /// The message it belongs to.
    pub message: MessageId,
    /// Its place among the attachments, from 0.
    pub index: u32,
    /// Where it is.
    pub blob: BlobRef,
}

/// A file cannot be had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachmentLost {
    /// The message it belongs to.
    pub message: MessageId,
    /// Its place among the attachments, from 0.
    pub index: u32,
    /// Why, without personal data: `too_big`, `gone`.
    pub reason: String,
}

/// A message to the customer is queued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageQueued {
    /// Its id.
    pub message: MessageId,
    /// Which episode it belongs to.
    pub episode: u32,
    /// Who it is for; absent in a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addressee: Option<Occupancy>,
    /// What kind of message it is.
    pub kind: MessageKind,
    /// The message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// What it says.
    pub content: Personal<MessageContent>,
}

/// An attempt begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryStarted {
    /// Which message.
    pub message: MessageId,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Which part is sent, from 0: a long text goes in several.
    pub part: u32,
}

/// The provider took one part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartDelivered {
    /// Which message.
    pub message: MessageId,
    /// Which part, from 0.
    pub part: u32,
    /// The id that the provider's own events will use for this part, as ours: replies and reactions refer to it.
    pub alias: MessageId,
    /// The provider's id of it, where it has one; a number or a Message-ID that we made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_id: Option<String>,
}

/// The provider took it all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageDelivered {
    /// Which message.
    pub message: MessageId,
    /// In how many parts it went.
    pub parts: u32,
}

/// Another attempt will follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryPostponed {
    /// Which message.
    pub message: MessageId,
    /// The attempt that failed, from 1.
    pub attempt: u32,
    /// Why, without personal data.
    pub reason: String,
    /// Not before this time.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub retry_at: DateTime<Utc>,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryFailed {
    /// Which message.
    pub message: MessageId,
    /// The attempt that failed, from 1.
    pub attempt: u32,
    /// Why, without personal data.
    pub reason: String,
}

/// The outcome is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryUnknown {
    /// Which message.
    pub message: MessageId,
    /// The attempt whose end nobody saw, from 1.
    pub attempt: u32,
    /// Why: `interrupted`, `timed_out`.
    pub reason: String,
}

/// A dead letter is sent again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryRedriven {
    /// Which message.
    pub message: MessageId,
}

/// An internal note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoteAdded {
    /// Its id.
    pub note: uuid::Uuid,
    /// Operators who are to see it, as in their tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Arc<str>>,
    /// What it says.
    pub content: Personal<NoteContent>,
}

/// Tags change. Version 1 had a single `tag` that was added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationTagged {
    /// Tags that it has from here on and had not before.
    pub added: Vec<String>,
    /// Tags that it had and has not any more.
    pub removed: Vec<String>,
}

/// It waits in a queue for an operator, until the episode ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationEnqueued {
    /// Which queue.
    pub queue: QueueId,
    /// 0, which waits longest, to 9.
    pub priority: u8,
    /// The language that whoever takes it must speak, by its ISO 639-1 code; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Arc<str>>,
    /// What put it there.
    pub reason: EnqueuedReason,
    /// How many queues it has fallen through since somebody or its account put it into one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fallbacks: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_zero(fallbacks: &u8) -> bool {
    *fallbacks == 0
}

/// What puts a conversation into a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnqueuedReason {
    /// It came through an account of the queue.
    ByAccount,
    /// A person or an agent put it there.
    ByHand,
    /// It stays where it is, with another priority or language.
    Changed,
    /// Nobody took it in the queue before.
    Fallback,
}

impl EnqueuedReason {
    /// True when its waiting begins with this; else it goes on.
    #[must_use]
    pub const fn begins_to_wait(self) -> bool {
        matches!(self, Self::ByAccount | Self::ByHand)
    }
}

/// Whose work it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationAssigned {
    /// The operator; nobody when absent.
    pub operator: Option<Arc<str>>,
    /// Why; somebody wished it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<AssignedReason>,
}

/// Why a conversation is given to an operator, or taken from one, when nobody wished it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignedReason {
    /// The customer is theirs already.
    Returning,
    /// They work on the fewest.
    LeastBusy,
    /// They are absent.
    OperatorAbsent,
    /// They have no room for it, or take nothing now.
    OperatorNotFree,
    /// It was put into a queue.
    Enqueued,
}

/// A clock of it is about to run out, or has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockNoted {
    /// Which clock.
    pub clock: ClockKind,
    /// Since when it runs: this tells it from others of its kind.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub started_at: DateTime<Utc>,
    /// What is noted.
    pub note: ClockNote,
    /// When it runs out by the rules of then.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub due: DateTime<Utc>,
}

/// What is noted of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockNote {
    /// It runs out soon.
    Warning,
    /// It has run out.
    Breach,
}

/// Who may speak to the customer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Speaker {
    /// An LLM agent, by name.
    Agent(Arc<str>),
    /// An operator, by id.
    Operator(Arc<str>),
    /// Nobody yet: the first who writes.
    Nobody,
}

/// Who speaks changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpeakerChanged {
    /// Who speaks now.
    pub speaker: Speaker,
    /// Why, as a short code: `first_answer`, `handed_over`, `taken_over`, `released`.
    pub reason: String,
}

/// The conversation rests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationSnoozed {
    /// Until when.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub until: DateTime<Utc>,
}

/// The rest ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationWoken {
    /// What ended it.
    pub reason: WokenReason,
}

/// What ends a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WokenReason {
    /// The customer wrote.
    CustomerWrote,
    /// The time came.
    TimeCame,
    /// An operator woke it.
    ByHand,
}

/// An operator has read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationRead {
    /// Who.
    pub operator: Arc<str>,
    /// Up to which revision of the conversation, inclusive.
    pub up_to: Revision,
}

personal_json!(OutsideThread, MessageContent, ActivityDetail, NoteContent);
