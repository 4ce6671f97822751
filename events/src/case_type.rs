//! Types of cases: what a tenant keeps about each kind of matter.
//!
//! **Invariant:** a change is a whole new set of rules; values that cases hold already stay as they are.

use serde::{Deserialize, Serialize};

use crate::vocabulary::vocabulary;

vocabulary! {
    /// What happens to a type of cases.
    CaseTypeEvent {
        /// The type exists from here on.
        Opened(CaseTypeOpened) = "casetype.opened", 1;
        /// Its name and rules are these from here on.
        Changed(CaseTypeChanged) = "casetype.changed", 1;
        /// No more cases of it are opened.
        Closed(CaseTypeClosed) = "casetype.closed", 1;
    }
}

/// The type exists from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseTypeOpened {
    /// What the tenant calls it.
    pub name: String,
    /// Its rules.
    pub rules: CaseTypeRules,
}

/// Name and rules are these from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseTypeChanged {
    /// What the tenant calls it.
    pub name: String,
    /// Its rules.
    pub rules: CaseTypeRules,
}

/// No more cases of it are opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseTypeClosed {}

/// The rules of a type.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CaseTypeRules {
    /// The priority that its cases have unless they have their own, 0 to 9.
    pub priority: u8,
    /// What is kept about each case beside its title, in the order in which it is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldRule>,
}

/// What is kept in a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldRule {
    /// The name for programs: 1 to 64 of `a-z`, `0-9` and `_`, beginning with a letter.
    pub key: String,
    /// The name for people.
    pub name: String,
    /// What it holds.
    pub kind: FieldKind,
    /// True when a case of the type cannot be resolved without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FieldKind {
    /// Text.
    Text {
        /// Longest, in characters.
        max_chars: u32,
    },
    /// A whole number within bounds, both included.
    Integer {
        /// The least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<i64>,
        /// The greatest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<i64>,
    },
    /// Yes or no.
    Flag,
    /// A day.
    Date,
    /// One of several words.
    Choice {
        /// Which.
        options: Vec<String>,
    },
}
