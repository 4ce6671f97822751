//! Channels: how each platform proves, words and takes messages.
//!
//! Each platform has a module with a pure part (verify over the raw bytes, peek, normalise) and an IO part (deliver).
//! What the pure part makes of a raw delivery is [`Normalised`], the same for all platforms.
//!
//! **Invariant:** normalising is pure and total: any bytes give [`Normalised`] or [`Unrecognised`], never a panic,
//! and the same bytes give the same result, so that a fixed parser can be run again over history.

use chrono::{DateTime, Utc};
use events::contact::ContactAddress;
use events::conversation::ConversationKind;
use events::conversation::content::{ActivityDetail, MessageContent, MessageKind, MessageMark, OutsideThread};
use events::ids::ConversationId;
use events::profile::Attribute;
use events::values::ContactKind;

pub mod email;
mod json;
pub mod telegram;
pub mod webchat;

/// What a tolerant look at a raw delivery finds before it is appended. It cannot fail: what is not found is `None`,
/// and the intake falls back to a hash of the body and to the account's own stream (design invariant 4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peek {
    /// The provider's id of the delivery: the same when it is delivered again.
    pub delivery_id: Option<String>,
    /// What orders deliveries: those with the same key are normalised one after the other.
    pub conversation_key: Option<String>,
    /// When it happened by the provider's clock.
    pub occurred_at: Option<DateTime<Utc>>,
}

/// What a raw delivery says, in our words.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalised {
    /// What it was, in the provider's words: `message`, `callback_query`, `bounce`.
    pub kind: String,
    /// What happened, in order. Empty when the delivery is understood but concerns no conversation.
    pub interactions: Vec<Interaction>,
}

/// Longest text that goes into an event, in bytes: events have to stay below the limits of the logs
/// ([`events::log::LARGEST_PAYLOAD`]); the raw delivery keeps all of it.
pub(crate) const LONGEST_TEXT: usize = 192 * 1024;

impl Normalised {
    /// The same with texts that fit into events; a message whose text was cut is marked as damaged.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for interaction in &mut self.interactions {
            match &mut interaction.what {
                Happening::Message { marks, content, .. } => {
                    let to_mark = cut(&mut content.text) && !marks.contains(&MessageMark::Damaged);
                    marks.extend(to_mark.then_some(MessageMark::Damaged));
                }
                Happening::Edit { content, .. } => {
                    cut(&mut content.text);
                }
                Happening::Activity { detail, .. } => {
                    cut(&mut detail.data);
                }
                _ => {}
            }
        }
        self
    }
}

/// Cuts a text that is too long; true when it was.
pub(crate) fn cut(text: &mut Option<String>) -> bool {
    let Some(text) = text.as_mut().filter(|text| text.len() > LONGEST_TEXT) else { return false };
    text.truncate(text.floor_char_boundary(LONGEST_TEXT));
    true
}

/// Why a raw delivery was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrecognised {
    /// The reason, without anything from the body but names of fields and kinds.
    pub reason: String,
}

/// A thread as the provider knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Thread {
    /// From this and the account the conversation's id is derived; the same for ever for the same thread.
    pub key: String,
    /// The conversation that the delivery itself names by a token of ours (the plus-address of an answer by mail). Whoever
    /// takes it sees that the conversation exists and belongs to the account; else the key decides.
    pub conversation: Option<ConversationId>,
    /// With one customer or a group.
    pub kind: ConversationKind,
    /// Where answers go.
    pub outside: OutsideThread,
}

/// A customer as the provider knows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Party {
    /// What kind of contact point they use.
    pub kind: ContactKind,
    /// Its address.
    pub address: ContactAddress,
    /// What the provider shows of them: names, language, user name.
    pub attributes: Vec<(Attribute, String)>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Interaction {
    /// Where; `None` for what concerns a contact point alone.
    pub thread: Option<Thread>,
    /// Who did it; `None` when no customer did.
    pub party: Option<Party>,
    /// When, by the provider's clock.
    pub occurred_at: DateTime<Utc>,
    /// What.
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// A message came. Needs thread and party.
    Message {
        /// The provider's id of it within the thread.
        outside_id: String,
        /// What kind of message it is.
        kind: MessageKind,
        /// What is special about it.
        marks: Vec<MessageMark>,
        /// The provider's id of the message it answers.
        reply_to: Option<String>,
        /// The provider's id of the album it belongs to.
        album: Option<String>,
        /// What it says.
        content: MessageContent,
    },
    /// A message was changed. Needs thread and party.
    Edit {
        /// The provider's id of the message.
        outside_id: String,
        /// What kind of message it is now.
        kind: MessageKind,
        /// When it was changed.
        edited_at: DateTime<Utc>,
        /// What it says now.
        content: MessageContent,
    },
    /// A message was taken back. Needs a thread.
    Retraction {
        /// The provider's id of the message.
        outside_id: String,
    },
    /// The reactions of the party to a message are now these. Needs a thread.
    Reactions {
        /// The provider's id of the message.
        outside_id: String,
        /// All of them: emoji or the provider's ids.
        reactions: Vec<String>,
    },
    /// Something that is no message: a pressed button, a vote, a pinned message. Needs a thread.
    Activity {
        /// What, in the provider's words.
        activity: String,
        /// The provider's id of it: the same when delivered again.
        activity_id: String,
        /// The provider's id of the message it is about.
        about: Option<String>,
        /// The rest.
        detail: ActivityDetail,
    },
    /// The party takes part in a group from here on. Needs thread and party.
    Joined,
    /// The party does not take part any more. Needs thread and party.
    Left,
    /// The thread has another address from here on. Needs a thread.
    Migrated {
        /// The thread under its new address.
        to: Thread,
    },
    /// The party does not let the account write to them. Needs a party.
    Blocked,
    /// The party lets the account write to them again. Needs a party.
    Unblocked,
    /// The party shared a contact point of their own: their phone number. Needs a party.
    SharedContact {
        /// The other contact point.
        other: Party,
    },
}
