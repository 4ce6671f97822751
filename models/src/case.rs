//! The decider of cases, and of the register that numbers them.
//!
//! **Invariant:** a merged case takes nothing but notes, links and the undoing of its merge: what is to be done is done in
//! the one that stands for it. A case is not resolved while a required field has no value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use events::case::{CaseEvent, CaseRelation, CaseStatus, FieldValue};
use events::case_type::{CaseTypeRules, FieldRule};
use events::conversation::content::NoteContent;
use events::envelope::{Category, Revision};
use events::ids::{CaseId, CaseTypeId, ConversationId, Occupancy};
use events::seal::KeySubject;
use uuid::Uuid;

use crate::decider::Decider;
use crate::policies::routing::MAX_PRIORITY;

mod decide;
mod evolve;
mod register;

pub use register::{CaseRegister, CaseRegisterCommand, CaseRegisterDecider, CaseRegisterRejection};

/// Longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 500;
/// Longest note, in characters.
pub const MAX_NOTE_CHARS: usize = 100_000;
/// Longest reason code, in characters.
pub const MAX_REASON_CHARS: usize = 200;
/// Most conversations of a case.
pub const MAX_CONVERSATIONS: usize = 1_000;
/// Most links to other cases.
pub const MAX_LINKS: usize = 1_000;

/// The rules of cases.
pub struct CaseDecider;

/// What is known of a case.
#[derive(Debug, PartialEq)]
pub struct Case {
    opened: Option<Facts>,
    status: CaseStatus,
    priority: u8,
    promised: Option<DateTime<Utc>>,
    operator: Option<Arc<str>>,
    /// Keys of the fields that have a value.
    set: BTreeSet<String>,
    conversations: Vec<ConversationId>,
    links: BTreeSet<(CaseId, CaseRelation)>,
    merged: Option<CaseId>,
    notes: BTreeSet<Uuid>,
}

#[derive(Debug, Clone, PartialEq)]
struct Facts {
    number: u64,
    case_type: CaseTypeId,
    key: KeySubject,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            opened: None,
            status: CaseStatus::New,
            priority: 0,
            promised: None,
            operator: None,
            set: BTreeSet::new(),
            conversations: Vec::new(),
            links: BTreeSet::new(),
            merged: None,
            notes: BTreeSet::new(),
        }
    }
}

impl Case {
    /// Its number, once it exists.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.opened.as_ref().map(|facts| facts.number)
    }

    /// Its type, once it exists.
    #[must_use]
    pub fn case_type(&self) -> Option<CaseTypeId> {
        self.opened.as_ref().map(|facts| facts.case_type)
    }

    /// What is to be done about it.
    #[must_use]
    pub const fn status(&self) -> CaseStatus {
        self.status
    }

    /// The case that stands for it.
    #[must_use]
    pub const fn merged_into(&self) -> Option<CaseId> {
        self.merged
    }

    /// The conversations about it, in the order in which they came to be.
    #[must_use]
    pub fn conversations(&self) -> &[ConversationId] {
        &self.conversations
    }
}

/// How a case is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Its number in the register.
    pub number: u64,
    /// Its type.
    pub case_type: CaseTypeId,
    /// The rules of the type, by its own stream; `None` when there is no such type or it is closed.
    pub rules: Option<CaseTypeRules>,
    /// The conversation it is opened from.
    pub conversation: ConversationId,
    /// Whom that would answer, by its own stream; `None` in a group.
    pub customer: Option<Occupancy>,
    /// 0 to [`MAX_PRIORITY`]; that of the type when absent.
    pub priority: Option<u8>,
    /// The title.
    pub title: String,
    /// Values by the keys of their fields.
    pub fields: BTreeMap<String, FieldValue>,
}

/// A wish about a case.
#[derive(Debug, Clone, PartialEq)]
pub enum CaseCommand {
    /// Make it.
    Open(Opening),
    /// Change its title or fields.
    Change {
        /// The rules of its type, by its own stream.
        rules: CaseTypeRules,
        /// The new title; as it is when absent.
        title: Option<String>,
        /// Values by the keys of their fields.
        set: BTreeMap<String, FieldValue>,
        /// Keys of the fields that are to have none.
        clear: BTreeSet<String>,
    },
    /// Give it a priority.
    Prioritise {
        /// 0 to [`MAX_PRIORITY`].
        priority: u8,
    },
    /// Note what the customer was promised.
    Promise {
        /// Until when it is to be resolved; nothing when absent.
        until: Option<DateTime<Utc>>,
        /// The time now.
        now: DateTime<Utc>,
    },
    /// Give it a status.
    SetStatus {
        /// The rules of its type, by its own stream.
        rules: CaseTypeRules,
        /// Which.
        status: CaseStatus,
        /// Why, as a short code.
        reason: Option<String>,
    },
    /// Make it an operator's work, or nobody's.
    Assign {
        /// The operator.
        operator: Option<Arc<str>>,
    },
    /// Note that a conversation is about it.
    LinkConversation {
        /// Which.
        conversation: ConversationId,
        /// True when there is one, by its own stream.
        exists: bool,
    },
    /// Note that a conversation is not about it.
    UnlinkConversation {
        /// Which.
        conversation: ConversationId,
    },
    /// Note that it has to do with another case.
    Link {
        /// The case itself.
        case: CaseId,
        /// The other.
        other: CaseId,
        /// True when there is one, by its own stream.
        exists: bool,
        /// What it has to do with it.
        relation: CaseRelation,
    },
    /// Note that it has nothing to do with it.
    Unlink {
        /// The other.
        other: CaseId,
        /// What it had to do with it.
        relation: CaseRelation,
    },
    /// Let another case stand for it.
    Merge {
        /// The case itself.
        case: CaseId,
        /// The other.
        into: CaseId,
        /// What the other says of itself; `None` when there is no such case.
        target: Option<MergeTarget>,
    },
    /// Undo the merge.
    Unmerge,
    /// Add an internal note.
    AddNote {
        /// The note.
        note: Uuid,
        /// What it says.
        content: NoteContent,
    },
}

/// What a case says of itself that another is to be merged into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeTarget {
    /// It stands for itself.
    Whole,
    /// It is merged into another.
    Merged(CaseId),
}

/// Why a wish about a case is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseRejection {
    /// There is no such case.
    #[error("case does not exist")]
    NoSuchCase,
    /// There is one with this id.
    #[error("case exists already")]
    Exists,
    /// There is no such type, or no more cases of it are opened.
    #[error("case type does not exist or is closed")]
    NoSuchType,
    /// There is no such conversation.
    #[error("conversation does not exist")]
    NoSuchConversation,
    /// The title is empty or too long.
    #[error("title must have 1 to {MAX_TITLE_CHARS} characters")]
    BadTitle,
    /// The type has no such field.
    #[error("the type of the case has no field {0:?}")]
    NoSuchField(String),
    /// The field does not take the value.
    #[error("field {0:?} does not take this value")]
    BadValue(String),
    /// A required field has no value.
    #[error("field {0:?} must have a value before the case is resolved")]
    Missing(String),
    /// The priority is too high.
    #[error("priority must be 0 to {MAX_PRIORITY}")]
    BadPriority,
    /// The promised time has passed.
    #[error("promised time is not in the future")]
    NotInFuture,
    /// The case is closed for good.
    #[error("case is closed: open it again first")]
    Closed,
    /// Another case stands for it.
    #[error("case is merged into another: go on there, or undo the merge")]
    Merged,
    /// It is the same case.
    #[error("a case has nothing to do with itself")]
    SameCase,
    /// The other is merged itself.
    #[error("the other case is merged itself: take the one that stands for it")]
    TargetMerged,
    /// It is not merged.
    #[error("case is not merged")]
    NotMerged,
    /// There are too many.
    #[error("a case has {MAX_CONVERSATIONS} conversations and {MAX_LINKS} links at most")]
    TooMany,
    /// A case has one conversation at least.
    #[error("this is the last conversation of the case")]
    LastConversation,
    /// A reason is empty or too long.
    #[error("reason must have 1 to {MAX_REASON_CHARS} characters")]
    BadReason,
    /// The note says nothing or too much.
    #[error("note must have 1 to {MAX_NOTE_CHARS} characters")]
    BadNote,
}

impl Decider for CaseDecider {
    const CATEGORY: Category = Category::Case;
    const READS_PERSONAL: bool = false;
    type Event = CaseEvent;
    type Command = CaseCommand;
    type State = Case;
    type Rejection = CaseRejection;

    fn decide(state: &Case, command: CaseCommand) -> Result<Vec<CaseEvent>, CaseRejection> {
        decide::decide(state, command)
    }

    fn evolve(state: &mut Case, event: &CaseEvent, _revision: Revision) {
        evolve::evolve(state, event);
    }
}

/// A time as it is stored.
fn stored(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

fn rule<'a>(rules: &'a CaseTypeRules, key: &str) -> Option<&'a FieldRule> {
    rules.fields.iter().find(|field| field.key == key)
}

#[cfg(test)]
mod tests;
