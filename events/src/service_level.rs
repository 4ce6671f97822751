//! Service levels: how soon customers are answered and helped, by priority.
//!
//! **Invariant:** a change is a whole new set of rules; clocks that run are counted on by the new ones, what was counted
//! before stays counted.

use serde::{Deserialize, Serialize};

use crate::ids::CalendarId;
use crate::vocabulary::vocabulary;

vocabulary! {
    /// What happens to a service level.
    ServiceLevelEvent {
        /// The level exists from here on.
        Opened(ServiceLevelOpened) = "servicelevel.opened", 1;
        /// Its name and rules are these from here on.
        Changed(ServiceLevelChanged) = "servicelevel.changed", 1;
        /// It promises nothing from here on.
        Closed(ServiceLevelClosed) = "servicelevel.closed", 1;
    }
}

/// The level exists from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLevelOpened {
    /// What the tenant calls it.
    pub name: String,
    /// Its rules.
    pub rules: ServiceLevelRules,
}

/// Name and rules are these from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLevelChanged {
    /// What the tenant calls it.
    pub name: String,
    /// Its rules.
    pub rules: ServiceLevelRules,
}

/// It promises nothing from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLevelClosed {}

/// The rules of a service level.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceLevelRules {
    /// Whose working time counts; all time when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<CalendarId>,
    /// What is promised, by priority.
    pub targets: Vec<ServiceTarget>,
    /// How much working time before its end a clock warns, in seconds.
    #[serde(default)]
    pub warn_before_s: u32,
}

/// What is promised from a priority on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceTarget {
    /// To conversations of this priority or above, up to the next target.
    pub least_priority: u8,
    /// Until the first answer, in seconds of working time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_response_s: Option<u32>,
    /// Until each further answer, in seconds of working time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_response_s: Option<u32>,
    /// Until the end, in seconds of working time; waiting for the customer does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution_s: Option<u32>,
}

/// What a clock counts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockKind {
    /// The first answer.
    FirstResponse,
    /// The answer to what the customer wrote after an answer.
    NextResponse,
    /// The end.
    Resolution,
}
