//! The decider of types of cases.
//!
//! **Invariant:** what a value must be is checked here and nowhere else.

use std::collections::BTreeSet;

use events::case::FieldValue;
use events::case_type::{
    CaseTypeChanged, CaseTypeClosed, CaseTypeEvent, CaseTypeOpened, CaseTypeRules, FieldKind, FieldRule,
};
use events::envelope::{Category, Revision};

use crate::decider::Decider;
use crate::policies::routing::MAX_PRIORITY;

/// Longest name of a type or a field, in characters.
pub const MAX_NAME_CHARS: usize = 100;
/// Longest key of a field, in bytes.
pub const MAX_KEY_BYTES: usize = 64;
/// Most fields of a type.
pub const MAX_FIELDS: usize = 100;
/// Most words of a choice.
pub const MAX_OPTIONS: usize = 500;
/// Longest text of a field, in characters, whatever its rule says.
pub const MAX_FIELD_CHARS: u32 = 10_000;

/// The rules of types of cases.
pub struct CaseTypeDecider;

/// What is known of a type.
#[derive(Debug, Default, PartialEq)]
pub struct CaseType {
    current: Option<(String, CaseTypeRules)>,
    closed: bool,
}

impl CaseType {
    /// Its rules, once it exists; also when it is closed, since its cases go on.
    #[must_use]
    pub fn rules(&self) -> Option<&CaseTypeRules> {
        self.current.as_ref().map(|(_, rules)| rules)
    }

    /// True while cases of it are opened.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.current.is_some() && !self.closed
    }
}

/// A wish about a type of cases.
#[derive(Debug, Clone, PartialEq)]
pub enum CaseTypeCommand {
    /// Make it.
    Open {
        /// What the tenant calls it.
        name: String,
        /// Its rules.
        rules: CaseTypeRules,
    },
    /// Replace name and rules; opens a closed one again.
    Change {
        /// What the tenant calls it from here on.
        name: String,
        /// Its rules from here on.
        rules: CaseTypeRules,
    },
    /// Let no more cases of it be opened.
    Close,
}

/// Why a wish about a type of cases is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseTypeRejection {
    /// There is no such type.
    #[error("case type does not exist")]
    NoSuchType,
    /// There is one with this id and other rules.
    #[error("case type exists already")]
    Exists,
    /// A name is empty or too long.
    #[error("names must have 1 to {MAX_NAME_CHARS} characters")]
    BadName,
    /// The priority is too high.
    #[error("priority must be 0 to {MAX_PRIORITY}")]
    BadPriority,
    /// A key is not of its form or stands twice.
    #[error(
        "field keys must be 1 to {MAX_KEY_BYTES} of a-z, 0-9 and _, begin with a letter and stand once; {0:?} is not"
    )]
    BadKey(String),
    /// There are too many fields.
    #[error("a case type has {MAX_FIELDS} fields at most")]
    TooManyFields,
    /// The kind of a field leaves no value.
    #[error(
        "field {0:?} must leave room for values: 1 to {MAX_FIELD_CHARS} characters, min not above max, 1 to {MAX_OPTIONS} options that differ"
    )]
    BadKind(String),
}

impl Decider for CaseTypeDecider {
    const CATEGORY: Category = Category::CaseType;
    const READS_PERSONAL: bool = false;
    type Event = CaseTypeEvent;
    type Command = CaseTypeCommand;
    type State = CaseType;
    type Rejection = CaseTypeRejection;

    fn decide(state: &CaseType, command: CaseTypeCommand) -> Result<Vec<CaseTypeEvent>, CaseTypeRejection> {
        let same = |name: &String, rules: &CaseTypeRules| {
            !state.closed && state.current.as_ref().is_some_and(|(known, current)| (known, current) == (name, rules))
        };
        Ok(match command {
            CaseTypeCommand::Open { name, rules } if same(&name, &rules) => vec![],
            CaseTypeCommand::Open { .. } if state.current.is_some() => return Err(CaseTypeRejection::Exists),
            CaseTypeCommand::Open { name, rules } => {
                check(&name, &rules)?;
                vec![CaseTypeOpened { name, rules }.into()]
            }
            CaseTypeCommand::Change { .. } | CaseTypeCommand::Close if state.current.is_none() => {
                return Err(CaseTypeRejection::NoSuchType);
            }
            CaseTypeCommand::Change { name, rules } if same(&name, &rules) => vec![],
            CaseTypeCommand::Change { name, rules } => {
                check(&name, &rules)?;
                vec![CaseTypeChanged { name, rules }.into()]
            }
            CaseTypeCommand::Close if state.closed => vec![],
            CaseTypeCommand::Close => vec![CaseTypeClosed {}.into()],
        })
    }

    fn evolve(state: &mut CaseType, event: &CaseTypeEvent, _revision: Revision) {
        match event {
            CaseTypeEvent::Opened(CaseTypeOpened { name, rules })
            | CaseTypeEvent::Changed(CaseTypeChanged { name, rules }) => {
                state.current = Some((name.clone(), rules.clone()));
                state.closed = false;
            }
            CaseTypeEvent::Closed(CaseTypeClosed {}) => state.closed = true,
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= MAX_NAME_CHARS
}

fn is_key(key: &str) -> bool {
    key.len() <= MAX_KEY_BYTES
        && key.starts_with(|first: char| first.is_ascii_lowercase())
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn check(name: &str, rules: &CaseTypeRules) -> Result<(), CaseTypeRejection> {
    if !is_name(name) || !rules.fields.iter().all(|field| is_name(&field.name)) {
        return Err(CaseTypeRejection::BadName);
    }
    if rules.priority > MAX_PRIORITY {
        return Err(CaseTypeRejection::BadPriority);
    }
    if rules.fields.len() > MAX_FIELDS {
        return Err(CaseTypeRejection::TooManyFields);
    }
    let mut keys = BTreeSet::new();
    for field in &rules.fields {
        if !is_key(&field.key) || !keys.insert(&field.key) {
            return Err(CaseTypeRejection::BadKey(field.key.clone()));
        }
        if !leaves_values(&field.kind) {
            return Err(CaseTypeRejection::BadKind(field.key.clone()));
        }
    }
    Ok(())
}

fn leaves_values(kind: &FieldKind) -> bool {
    match kind {
        FieldKind::Text { max_chars } => (1..=MAX_FIELD_CHARS).contains(max_chars),
        FieldKind::Integer { min, max } => min.zip(*max).is_none_or(|(min, max)| min <= max),
        FieldKind::Flag | FieldKind::Date => true,
        FieldKind::Choice { options } => {
            let different: BTreeSet<&String> = options.iter().collect();
            (1..=MAX_OPTIONS).contains(&options.len())
                && different.len() == options.len()
                && options.iter().all(|option| is_name(option))
        }
    }
}

/// True for a value that the field takes.
#[must_use]
pub fn takes(field: &FieldRule, value: &FieldValue) -> bool {
    match (&field.kind, value) {
        (FieldKind::Text { max_chars }, FieldValue::Text(text)) => {
            let chars = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
            !text.trim().is_empty() && chars <= *max_chars
        }
        (FieldKind::Integer { min, max }, FieldValue::Integer(number)) => {
            min.is_none_or(|min| *number >= min) && max.is_none_or(|max| *number <= max)
        }
        (FieldKind::Flag, FieldValue::Flag(_)) | (FieldKind::Date, FieldValue::Date(_)) => true,
        (FieldKind::Choice { options }, FieldValue::Text(text)) => options.contains(text),
        (
            FieldKind::Text { .. }
            | FieldKind::Integer { .. }
            | FieldKind::Flag
            | FieldKind::Date
            | FieldKind::Choice { .. },
            FieldValue::Text(_) | FieldValue::Integer(_) | FieldValue::Flag(_) | FieldValue::Date(_),
        ) => false,
    }
}

#[cfg(test)]
mod tests;
