//! What a case answers to each command.
//!
//! **Invariant:** what is wished twice is written once.

use std::collections::{BTreeMap, BTreeSet};

use events::case::{
    CaseAssigned, CaseChanged, CaseContent, CaseConversationLinked, CaseConversationUnlinked, CaseEvent, CaseLinked,
    CaseMerged, CaseNoteAdded, CaseOpened, CasePrioritised, CasePromised, CaseStatus, CaseStatusChanged, CaseUnlinked,
    CaseUnmerged, FieldValue,
};
use events::case_type::CaseTypeRules;
use events::ids::CaseId;
use events::seal::{KeySubject, Personal};

use super::{
    Case, CaseCommand, CaseRejection, Facts, MAX_CONVERSATIONS, MAX_LINKS, MAX_NOTE_CHARS, MAX_PRIORITY,
    MAX_REASON_CHARS, MAX_TITLE_CHARS, MergeTarget, Opening, rule, stored,
};
use crate::case_type::takes;

type Decision = Result<Vec<CaseEvent>, CaseRejection>;

pub(super) fn decide(state: &Case, command: CaseCommand) -> Decision {
    use CaseCommand as C;
    if let C::Open(opening) = &command {
        return open(state, opening.clone());
    }
    let facts = state.opened.as_ref().ok_or(CaseRejection::NoSuchCase)?;
    Ok(match command {
        C::Open(_) => vec![],
        C::Change { rules, title, set, clear } => {
            whole(state)?;
            change(state, facts, &rules, title, set, clear)?
        }
        C::Prioritise { priority } => {
            whole(state)?;
            check_priority(priority)?;
            if state.priority == priority { vec![] } else { vec![CasePrioritised { priority }.into()] }
        }
        C::Promise { until, now } => {
            whole(state)?;
            if until.is_some_and(|until| until <= now) {
                return Err(CaseRejection::NotInFuture);
            }
            let until = until.map(stored);
            if state.promised == until { vec![] } else { vec![CasePromised { until }.into()] }
        }
        C::SetStatus { rules, status, reason } => {
            whole(state)?;
            set_status(state, &rules, status, reason)?
        }
        C::Assign { operator } => {
            whole(state)?;
            if state.operator == operator { vec![] } else { vec![CaseAssigned { operator }.into()] }
        }
        C::LinkConversation { conversation, .. } if state.conversations.contains(&conversation) => vec![],
        C::LinkConversation { exists: false, .. } => return Err(CaseRejection::NoSuchConversation),
        C::LinkConversation { .. } if state.conversations.len() >= MAX_CONVERSATIONS => {
            return Err(CaseRejection::TooMany);
        }
        C::LinkConversation { conversation, .. } => vec![CaseConversationLinked { conversation }.into()],
        C::UnlinkConversation { conversation } if !state.conversations.contains(&conversation) => vec![],
        C::UnlinkConversation { .. } if state.conversations.len() == 1 => return Err(CaseRejection::LastConversation),
        C::UnlinkConversation { conversation } => vec![CaseConversationUnlinked { conversation }.into()],
        C::Link { other, relation, .. } if state.links.contains(&(other, relation)) => vec![],
        C::Link { case, other, .. } if case == other => return Err(CaseRejection::SameCase),
        C::Link { exists: false, .. } => return Err(CaseRejection::NoSuchCase),
        C::Link { .. } if state.links.len() >= MAX_LINKS => return Err(CaseRejection::TooMany),
        C::Link { other, relation, .. } => vec![CaseLinked { other, relation }.into()],
        C::Unlink { other, relation } if !state.links.contains(&(other, relation)) => vec![],
        C::Unlink { other, relation } => vec![CaseUnlinked { other, relation }.into()],
        C::Merge { case, into, target } => merge(state, case, into, target)?,
        C::Unmerge => {
            let from = state.merged.ok_or(CaseRejection::NotMerged)?;
            vec![CaseUnmerged { from }.into()]
        }
        C::AddNote { note, content } => {
            if state.notes.contains(&note) {
                return Ok(vec![]);
            }
            check_chars(&content.text, MAX_NOTE_CHARS, CaseRejection::BadNote)?;
            vec![CaseNoteAdded { note, content: Personal::new(facts.key, content) }.into()]
        }
    })
}

fn open(state: &Case, opening: Opening) -> Decision {
    let Opening { number, case_type, rules, conversation, customer, priority, title, fields } = opening;
    if state.opened.is_some() {
        return Err(CaseRejection::Exists);
    }
    let rules = rules.ok_or(CaseRejection::NoSuchType)?;
    let priority = priority.unwrap_or(rules.priority);
    check_priority(priority)?;
    check_chars(&title, MAX_TITLE_CHARS, CaseRejection::BadTitle)?;
    check_values(&rules, &fields)?;
    let subject = customer.map_or(KeySubject::Conversation(conversation), KeySubject::Occupancy);
    let set = fields.keys().cloned().collect();
    let content = Personal::new(subject, CaseContent { title: Some(title), fields });
    Ok(vec![CaseOpened { number, case_type, customer, conversation, priority, set, content }.into()])
}

fn change(
    state: &Case,
    facts: &Facts,
    rules: &CaseTypeRules,
    title: Option<String>,
    set: BTreeMap<String, FieldValue>,
    clear: BTreeSet<String>,
) -> Decision {
    if let Some(title) = &title {
        check_chars(title, MAX_TITLE_CHARS, CaseRejection::BadTitle)?;
    }
    check_values(rules, &set)?;
    let cleared: Vec<String> =
        clear.into_iter().filter(|key| state.set.contains(key) && !set.contains_key(key)).collect();
    if title.is_none() && set.is_empty() && cleared.is_empty() {
        return Ok(vec![]);
    }
    if state.status.is_done() {
        // What a case was resolved with stays.
        let missing = rules.fields.iter().find(|field| field.required && cleared.contains(&field.key));
        if let Some(missing) = missing {
            return Err(CaseRejection::Missing(missing.key.clone()));
        }
    }
    let keys = set.keys().cloned().collect();
    let content = Personal::new(facts.key, CaseContent { title, fields: set });
    Ok(vec![CaseChanged { set: keys, cleared, content }.into()])
}

fn set_status(state: &Case, rules: &CaseTypeRules, status: CaseStatus, reason: Option<String>) -> Decision {
    if let Some(reason) = &reason {
        check_chars(reason, MAX_REASON_CHARS, CaseRejection::BadReason)?;
    }
    if state.status == status {
        return Ok(vec![]);
    }
    if state.status == CaseStatus::Closed && status != CaseStatus::Open {
        return Err(CaseRejection::Closed);
    }
    if status.is_done() && !state.status.is_done() {
        let missing = rules.fields.iter().find(|field| field.required && !state.set.contains(&field.key));
        if let Some(missing) = missing {
            return Err(CaseRejection::Missing(missing.key.clone()));
        }
    }
    Ok(vec![CaseStatusChanged { status, reason }.into()])
}

fn merge(state: &Case, case: CaseId, into: CaseId, target: Option<MergeTarget>) -> Decision {
    if state.merged == Some(into) {
        return Ok(vec![]);
    }
    whole(state)?;
    if case == into {
        return Err(CaseRejection::SameCase);
    }
    match target {
        None => Err(CaseRejection::NoSuchCase),
        Some(MergeTarget::Merged(_)) => Err(CaseRejection::TargetMerged),
        Some(MergeTarget::Whole) => Ok(vec![CaseMerged { into }.into()]),
    }
}

fn whole(state: &Case) -> Result<(), CaseRejection> {
    if state.merged.is_some() { Err(CaseRejection::Merged) } else { Ok(()) }
}

fn check_priority(priority: u8) -> Result<(), CaseRejection> {
    if priority > MAX_PRIORITY { Err(CaseRejection::BadPriority) } else { Ok(()) }
}

fn check_chars(text: &str, most: usize, rejection: CaseRejection) -> Result<(), CaseRejection> {
    if text.trim().is_empty() || text.chars().count() > most { Err(rejection) } else { Ok(()) }
}

fn check_values(rules: &CaseTypeRules, values: &BTreeMap<String, FieldValue>) -> Result<(), CaseRejection> {
    for (key, value) in values {
        let field = rule(rules, key).ok_or_else(|| CaseRejection::NoSuchField(key.clone()))?;
        if !takes(field, value) {
            return Err(CaseRejection::BadValue(key.clone()));
        }
    }
    Ok(())
}
