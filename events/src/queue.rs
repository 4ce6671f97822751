//! Queues: where conversations wait for an operator, and by which rules.
//!
//! **Invariant:** a change is a whole new set of rules; the conversations that wait are not part of the stream.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, CalendarId, QueueId, ServiceLevelId};
use crate::vocabulary::vocabulary;

vocabulary! {
    /// What happens to a queue.
    QueueEvent {
        /// The queue exists from here on.
        Opened(QueueOpened) = "queue.opened", 1;
        /// Its name and rules are these from here on.
        Changed(QueueChanged) = "queue.changed", 1;
        /// Nothing new comes into it.
        Closed(QueueClosed) = "queue.closed", 1;
    }
}

/// The queue exists from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueOpened {
    /// What the tenant calls it.
    pub name: String,
    /// Its rules.
    pub rules: QueueRules,
}

/// Name and rules are these from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueChanged {
    /// What the tenant calls it.
    pub name: String,
    /// Its rules.
    pub rules: QueueRules,
}

/// Nothing new comes into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueClosed {}

/// The rules of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueueRules {
    /// The accounts whose conversations come into it by themselves.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accounts: BTreeSet<AccountId>,
    /// What whoever takes a conversation must be able to do.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub skills: BTreeSet<Arc<str>>,
    /// The priority that its conversations have unless they have their own, 0 to 9.
    pub priority: u8,
    /// When its operators work; around the clock when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<CalendarId>,
    /// Where conversations go that nobody has taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// What is promised to its customers; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_level: Option<ServiceLevelId>,
}

/// Where conversations go that nobody has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Which queue.
    pub queue: QueueId,
    /// After how much working time of this queue, in seconds.
    pub after_s: u32,
}
