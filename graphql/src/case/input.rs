//! What mutations of cases are told.
//!
//! **Invariant:** every input carries an idempotency key, and may carry what the caller saw.

use async_graphql::{ID, InputObject};
use chrono::{DateTime, NaiveDate, Utc};
use events::case::FieldValue;

use super::{CaseRelationName, CaseStatusName};
use crate::scalars::Token;

/// Declares inputs: the case first, the key and what was seen last, the same for all.
macro_rules! inputs {
    ($($(#[doc = $doc:literal])+ $name:ident { $($(#[$attr:meta])+ $field:ident: $type:ty,)* })*) => {$(
        $(#[doc = $doc])+
        #[derive(InputObject)]
        pub(crate) struct $name {
            /// The case, as `case-<uuid>`.
            pub case: ID,
            $($(#[$attr])+ pub $field: $type,)*
            /// The same for the same wish: a mutation sent again with it changes nothing more.
            pub idempotency_key: String,
            /// The read position of what the caller saw when they acted.
            pub seen_at: Option<Token>,
        }
    )*};
}

/// The value of a field; one of text, integer, flag and date is given.
#[derive(InputObject)]
pub(crate) struct CaseFieldValueInput {
    /// The key of the field.
    pub key: String,
    /// Text, or one of several words.
    pub text: Option<String>,
    /// A whole number.
    pub integer: Option<i64>,
    /// Yes or no.
    pub flag: Option<bool>,
    /// A day.
    pub date: Option<NaiveDate>,
}

impl CaseFieldValueInput {
    /// Key and value; `None` unless one value is given.
    pub(super) fn parse(self) -> Option<(String, FieldValue)> {
        let value = match (self.text, self.integer, self.flag, self.date) {
            (Some(text), None, None, None) => FieldValue::Text(text),
            (None, Some(integer), None, None) => FieldValue::Integer(integer),
            (None, None, Some(flag), None) => FieldValue::Flag(flag),
            (None, None, None, Some(date)) => FieldValue::Date(date),
            _ => return None,
        };
        Some((self.key, value))
    }
}

/// Opens a case from a conversation.
#[derive(InputObject)]
pub(crate) struct OpenCaseInput {
    /// The conversation, as `conversation-<uuid>`: the case is about its customer.
    pub conversation: ID,
    /// Its type, as `casetype-<uuid>`.
    pub case_type: ID,
    /// Its title, 1 to 500 characters.
    pub title: String,
    /// Values of its fields.
    pub fields: Option<Vec<CaseFieldValueInput>>,
    /// 0 to 9; that of the type when absent.
    pub priority: Option<u8>,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

inputs! {
    /// Changes title or fields of a case.
    ChangeCaseInput {
        /// The new title; as it is when absent.
        title: Option<String>,
        /// New values of fields.
        set: Option<Vec<CaseFieldValueInput>>,
        /// Keys of fields that are to have no value.
        clear: Option<Vec<String>>,
    }

    /// Gives a case a priority.
    PrioritiseCaseInput {
        /// 0, which waits longest, to 9.
        priority: u8,
    }

    /// Notes what the customer was promised.
    PromiseCaseInput {
        /// Until when the case is to be resolved; nothing is promised any more when absent.
        until: Option<DateTime<Utc>>,
    }

    /// Gives a case a status.
    SetCaseStatusInput {
        /// Which.
        status: CaseStatusName,
        /// Why, as a short code of 1 to 200 characters.
        reason: Option<String>,
    }

    /// Makes a case somebody's work, or nobody's.
    AssignCaseInput {
        /// The operator; nobody when absent.
        operator: Option<String>,
    }

    /// Notes that a conversation is about a case.
    LinkCaseConversationInput {
        /// The conversation, as `conversation-<uuid>`.
        conversation: ID,
    }

    /// Notes that a conversation is not about a case.
    UnlinkCaseConversationInput {
        /// The conversation, as `conversation-<uuid>`.
        conversation: ID,
    }

    /// Notes that a case has to do with another.
    LinkCasesInput {
        /// The other, as `case-<uuid>`.
        other: ID,
        /// What it has to do with it.
        relation: CaseRelationName,
    }

    /// Notes that a case has nothing to do with another.
    UnlinkCasesInput {
        /// The other, as `case-<uuid>`.
        other: ID,
        /// What it had to do with it.
        relation: CaseRelationName,
    }

    /// Lets another case stand for this one.
    MergeCaseInput {
        /// The other, as `case-<uuid>`.
        into: ID,
    }

    /// Undoes a merge.
    UnmergeCaseInput {}

    /// Adds an internal note: never sent.
    AddCaseNoteInput {
        /// What it says, 100,000 characters at most.
        text: String,
    }

    /// Sends a message to the customer of a case.
    ReplyToCaseInput {
        /// What it says, 100,000 characters at most.
        text: String,
        /// Through which of its conversations, as `conversation-<uuid>`; the latest when absent.
        conversation: Option<ID>,
        /// Send it although another operator is replying; refused with `HELD_BY_OTHER` otherwise.
        despite_draft: Option<bool>,
    }
}
