//! Names of the vocabulary of conversations, as enums of the schema.
//!
//! **Invariant:** a mirror of the events' own enums, variant by variant: one that is missing here does not compile.

use async_graphql::{Enum, SimpleObject};
use events::conversation::content::{MessageKind, MessageMark};
use events::conversation::{ConversationKind, Speaker};
use projections::conversation::ConversationStatus;
use projections::timeline::{DeliveryState, MessageDirection};

/// With one customer or with many people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "ConversationKind", remote = "ConversationKind")]
pub(crate) enum ConversationKindName {
    /// With one customer.
    Direct,
    /// A group chat with participants.
    Group,
}

/// Whether a conversation wants work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "ConversationStatus", remote = "ConversationStatus")]
pub(crate) enum ConversationStatusName {
    /// An episode is open.
    Open,
    /// It rests until a time or the next message.
    Snoozed,
    /// No episode is open.
    Closed,
}

/// What kind of message it is, by its most telling part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "MessageKind", remote = "MessageKind")]
pub(crate) enum MessageKindName {
    /// Text only.
    Text,
    /// A picture.
    Photo,
    /// A moving picture, video notes and animations included.
    Video,
    /// Music or a sound file.
    Audio,
    /// A voice note.
    Voice,
    /// Any other file.
    Document,
    /// A sticker.
    Sticker,
    /// A contact card.
    Contact,
    /// A place, live or fixed.
    Location,
    /// A poll, a game, a dice, an invoice, a story: shown as text.
    Structured,
    /// A mail.
    Email,
    /// Something the provider calls a message that carries nothing we know.
    Other,
}

/// What is special about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "MessageMark", remote = "MessageMark")]
pub(crate) enum MessageMarkName {
    /// Made by a machine: not to be answered by one.
    AutoReply,
    /// Tells that a message of ours was not delivered.
    Bounce,
    /// Tells that a message of ours is late and still tried.
    DelayNotice,
    /// A recipient's complaint about a message of ours.
    Complaint,
    /// Sent to many.
    Bulk,
    /// Forwarded from elsewhere.
    Forwarded,
    /// Parts of it could not be read; the raw delivery is kept.
    Damaged,
    /// Its letters are a guess: the charset was missing or wrong.
    GuessedCharset,
    /// Written by a bot or on behalf of a chat.
    ViaBot,
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "MessageDirection", remote = "MessageDirection")]
pub(crate) enum MessageDirectionName {
    /// From a customer.
    Inbound,
    /// To a customer.
    Outbound,
}

/// Where an outbound message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "DeliveryState", remote = "DeliveryState")]
pub(crate) enum DeliveryStateName {
    /// Waits to be sent.
    Queued,
    /// An attempt is under way.
    Sending,
    /// An attempt failed; another will follow.
    Postponed,
    /// The provider took it.
    Delivered,
    /// It cannot be delivered: a dead letter.
    Failed,
    /// Nobody knows whether the provider took it; it is not sent again unasked: a dead letter.
    Unknown,
}

/// What kind of speaker it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum SpeakerKind {
    /// An LLM agent.
    Agent,
    /// A person of the contact centre.
    Operator,
    /// Nobody yet: the first who writes.
    Nobody,
}

/// Who may speak to the customer. One at a time.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(name = "Speaker")]
pub(crate) struct SpeakerObject {
    /// What kind of speaker it is.
    pub kind: SpeakerKind,
    /// The name of the agent or the id of the operator.
    pub id: Option<String>,
}

impl From<Speaker> for SpeakerObject {
    fn from(speaker: Speaker) -> Self {
        match speaker {
            Speaker::Agent(id) => Self { kind: SpeakerKind::Agent, id: Some(id.as_ref().to_owned()) },
            Speaker::Operator(id) => Self { kind: SpeakerKind::Operator, id: Some(id.as_ref().to_owned()) },
            Speaker::Nobody => Self { kind: SpeakerKind::Nobody, id: None },
        }
    }
}

/// What kind of actor it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum ActorKind {
    /// A customer, known by a contact point.
    Customer,
    /// A person of the contact centre.
    Operator,
    /// An LLM agent.
    Agent,
    /// A part of letopis or of a provider.
    System,
}

/// Who made something happen.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(crate) struct Actor {
    /// What kind of actor it is.
    pub kind: ActorKind,
    /// The id within the kind: a contact point, an operator's or agent's name, the name of a part.
    pub id: String,
}

impl Actor {
    pub(crate) fn of_stored(kind: &str, id: String) -> Self {
        let kind = match kind {
            "customer" => ActorKind::Customer,
            "operator" => ActorKind::Operator,
            "agent" => ActorKind::Agent,
            _ => ActorKind::System,
        };
        Self { kind, id }
    }
}

impl From<&events::envelope::Actor> for Actor {
    fn from(actor: &events::envelope::Actor) -> Self {
        Self::of_stored(actor.kind(), actor.id().into())
    }
}
