//! Cases: matters of customers that outlive a conversation, and the register that numbers them.
//!
//! **Invariant:** title, values of fields and notes are sealed under the customer whom the case is about, in groups under
//! the conversation it was opened from. Merging is an event of the duplicate alone, so that undoing it loses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::conversation::content::NoteContent;
use crate::ids::{CaseId, CaseTypeId, ConversationId, Occupancy};
use crate::seal::{Personal, personal_json};
use crate::vocabulary::vocabulary;

vocabulary! {
    /// What happens to a case.
    CaseEvent {
        /// The case exists from here on.
        Opened(CaseOpened) = "case.opened", 1, sealed content;
        /// Its title or fields change.
        Changed(CaseChanged) = "case.changed", 1, sealed content;
        /// It has this priority from here on.
        Prioritised(CasePrioritised) = "case.prioritised", 1;
        /// The customer was promised a time, or not any more.
        Promised(CasePromised) = "case.promised", 1;
        /// It has this status from here on.
        StatusChanged(CaseStatusChanged) = "case.status_changed", 1;
        /// It is somebody's work, or nobody's.
        Assigned(CaseAssigned) = "case.assigned", 1;
        /// A conversation is about it.
        ConversationLinked(CaseConversationLinked) = "case.conversation_linked", 1;
        /// A conversation is not about it after all.
        ConversationUnlinked(CaseConversationUnlinked) = "case.conversation_unlinked", 1;
        /// It has to do with another case.
        Linked(CaseLinked) = "case.linked", 1;
        /// It has nothing to do with it after all.
        Unlinked(CaseUnlinked) = "case.unlinked", 1;
        /// It is the same matter as another one, which stands for both from here on.
        Merged(CaseMerged) = "case.merged", 1;
        /// It is not the same matter after all.
        Unmerged(CaseUnmerged) = "case.unmerged", 1;
        /// An internal note, never sent.
        NoteAdded(CaseNoteAdded) = "case.note_added", 1, sealed content;
    }
}

vocabulary! {
    /// What happens in the register of a tenant's cases.
    CaseRegisterEvent {
        /// A case has its number: the place of this event in the register, from 1.
        Numbered(CaseNumbered) = "caseregister.numbered", 1;
    }
}

/// A case has its number: the place of this event in the register, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseNumbered {
    /// Which case.
    pub case: CaseId,
}

/// The case exists from here on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseOpened {
    /// Its number in the register, for people.
    pub number: u64,
    /// Its type.
    pub case_type: CaseTypeId,
    /// Whom it is about; absent when it was opened from a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<Occupancy>,
    /// The conversation it was opened from, which is about it.
    pub conversation: ConversationId,
    /// 0, which waits longest, to 9.
    pub priority: u8,
    /// Keys of the fields that have a value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// Its title and fields.
    pub content: Personal<CaseContent>,
}

/// Title and fields of a case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CaseContent {
    /// The title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Values by the keys of their fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, FieldValue>,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum FieldValue {
    /// Text, or one of several words.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Yes or no.
    Flag(bool),
    /// A day.
    Date(NaiveDate),
}

/// Title or fields change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseChanged {
    /// Keys of the fields that have a value from here on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// Keys of the fields that have none from here on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleared: Vec<String>,
    /// The new title, if it changes, and the new values.
    pub content: Personal<CaseContent>,
}

/// It has this priority from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CasePrioritised {
    /// 0, which waits longest, to 9.
    pub priority: u8,
}

/// The customer was promised a time, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CasePromised {
    /// Until when it is to be resolved; nothing is promised when absent.
    #[serde(default, with = "chrono::serde::ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// What is to be done about a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseStatus {
    /// Nobody has looked at it.
    New,
    /// It is worked on.
    Open,
    /// The customer has to answer first.
    WaitingForCustomer,
    /// Somebody else has to do something first: a supplier, another department.
    WaitingForOthers,
    /// It is done; the customer may disagree.
    Resolved,
    /// It is done for good.
    Closed,
}

impl CaseStatus {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::New, Self::Open, Self::WaitingForCustomer, Self::WaitingForOthers, Self::Resolved, Self::Closed];

    /// The name as stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Open => "open",
            Self::WaitingForCustomer => "waiting_for_customer",
            Self::WaitingForOthers => "waiting_for_others",
            Self::Resolved => "resolved",
            Self::Closed => "closed",
        }
    }

    /// True when there is nothing left to do.
    #[must_use]
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Resolved | Self::Closed)
    }
}

/// It has this status from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseStatusChanged {
    /// Which.
    pub status: CaseStatus,
    /// Why, as a short code: `customer_wrote`, `duplicate`, the caller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// It is somebody's work, or nobody's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseAssigned {
    /// The operator; nobody when absent.
    pub operator: Option<Arc<str>>,
}

/// A conversation is about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseConversationLinked {
    /// Which.
    pub conversation: ConversationId,
}

/// A conversation is not about it after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseConversationUnlinked {
    /// Which.
    pub conversation: ConversationId,
}

/// What a case has to do with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseRelation {
    /// They have to do with each other.
    Related,
    /// It is a part of the other.
    PartOf,
    /// It cannot go on before the other is done.
    BlockedBy,
}

/// It has to do with another case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseLinked {
    /// The other.
    pub other: CaseId,
    /// What it has to do with it.
    pub relation: CaseRelation,
}

/// It has nothing to do with it after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseUnlinked {
    /// The other.
    pub other: CaseId,
    /// What it had to do with it.
    pub relation: CaseRelation,
}

/// It is the same matter as another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseMerged {
    /// The one that stands for both.
    pub into: CaseId,
}

/// It is not the same matter after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseUnmerged {
    /// The one that stood for both.
    pub from: CaseId,
}

/// An internal note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseNoteAdded {
    /// Its id.
    pub note: Uuid,
    /// What it says.
    pub content: Personal<NoteContent>,
}

personal_json!(CaseContent);
