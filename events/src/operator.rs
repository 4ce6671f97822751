//! Operators: what they can do, whether they are there, what they work on.
//!
//! **Invariant:** an operator's stream is the account of their room: a conversation counts from when it was taken until
//! it is released, whichever process gave it to them. Signs of life are no events; that they stopped is one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::ConversationId;
use crate::values::Channel;
use crate::vocabulary::vocabulary;

vocabulary! {
    /// What happens to an operator.
    OperatorEvent {
        /// They can be given conversations from here on.
        Registered(OperatorRegistered) = "operator.registered", 1;
        /// What they can do is this from here on.
        Changed(OperatorChanged) = "operator.changed", 1;
        /// They came, went away for a while, or left.
        PresenceChanged(PresenceChanged) = "operator.presence_changed", 1;
        /// A conversation takes of their room.
        ConversationTaken(ConversationTaken) = "operator.conversation_taken", 1;
        /// It does not any more.
        ConversationReleased(ConversationReleased) = "operator.conversation_released", 1;
    }
}

/// The operator can be given conversations from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRegistered {
    /// Who, as in their token.
    pub operator: Arc<str>,
    /// What they are called at the desk.
    pub name: String,
    /// What they can do.
    pub abilities: Abilities,
}

/// What an operator can do is this from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorChanged {
    /// What they are called at the desk.
    pub name: String,
    /// What they can do.
    pub abilities: Abilities,
}

/// What an operator can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// What they speak, by ISO 639-1 codes.
    pub languages: BTreeSet<Arc<str>>,
    /// What they are trained for, in the tenant's words.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub skills: BTreeSet<Arc<str>>,
    /// Most conversations at a time.
    pub room: u32,
    /// Most of a channel, where it has a bound of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub room_of_channel: BTreeMap<Channel, u32>,
}

/// Whether an operator is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// They take conversations.
    Available,
    /// They work on what they have and take no more.
    Busy,
    /// They are not there; what they have goes to others.
    Absent,
}

/// The operator came, went away for a while, or left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceChanged {
    /// What they are from here on.
    pub presence: Presence,
    /// How it is known.
    pub reason: PresenceReason,
}

/// How the presence of an operator is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceReason {
    /// They said so.
    ByThemselves,
    /// A supervisor said so.
    BySupervisor,
    /// There was no sign of life for too long.
    NoSignOfLife,
}

/// A conversation takes of the operator's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationTaken {
    /// Which one.
    pub conversation: ConversationId,
    /// The channel it is held through.
    pub channel: Channel,
    /// How it came to them.
    pub by: TakenBy,
}

/// How a conversation came to an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TakenBy {
    /// By the policy of its queue: within their room.
    Policy,
    /// By hand: theirs or a supervisor's, also beyond their room.
    Hand,
}

/// A conversation does not take of the operator's room any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationReleased {
    /// Which one.
    pub conversation: ConversationId,
    /// Why.
    pub reason: ReleaseReason,
}

/// Why a conversation is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseReason {
    /// It was closed.
    Closed,
    /// It rests.
    Snoozed,
    /// It is another's, or nobody's.
    Reassigned,
    /// The operator is absent.
    Absent,
    /// It was gone to another when it was to be assigned.
    NotAssigned,
}
