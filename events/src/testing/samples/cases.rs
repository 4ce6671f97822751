//! Samples of cases, their types and their register.
//!
//! **Invariant:** as [`super::samples_saying`].

use std::collections::BTreeMap;

use super::{conversation_id, of_person, person, time, uuid};
use crate::DomainEvent;
use crate::case::{
    CaseAssigned, CaseChanged, CaseContent, CaseConversationLinked, CaseConversationUnlinked, CaseEvent, CaseLinked,
    CaseMerged, CaseNoteAdded, CaseNumbered, CaseOpened, CasePrioritised, CasePromised, CaseRegisterEvent,
    CaseRelation, CaseStatus, CaseStatusChanged, CaseUnlinked, CaseUnmerged, FieldValue,
};
use crate::case_type::{
    CaseTypeChanged, CaseTypeClosed, CaseTypeEvent, CaseTypeOpened, CaseTypeRules, FieldKind, FieldRule,
};
use crate::conversation::content::NoteContent;
use crate::ids::{CaseId, CaseTypeId};
use crate::seal::{KeySubject, Personal};

fn case() -> CaseId {
    CaseId::new(uuid(12))
}

pub(super) fn types() -> Vec<DomainEvent> {
    let kinds = [
        FieldKind::Text { max_chars: 200 },
        FieldKind::Integer { min: Some(1), max: None },
        FieldKind::Integer { min: None, max: Some(9) },
        FieldKind::Flag,
        FieldKind::Date,
        FieldKind::Choice { options: vec!["брак".into(), "не подошло".into()] },
    ];
    let field = |(index, kind): (usize, FieldKind)| FieldRule {
        key: format!("field_{index}"),
        name: "Причина".into(),
        required: index % 2 == 0,
        kind,
    };
    let rules = CaseTypeRules { priority: 3, fields: kinds.into_iter().enumerate().map(field).collect() };
    [
        CaseTypeEvent::from(CaseTypeOpened { name: "Возврат".into(), rules }),
        CaseTypeChanged { name: "Возврат товара".into(), rules: CaseTypeRules::default() }.into(),
        CaseTypeClosed {}.into(),
    ]
    .map(DomainEvent::from)
    .into()
}

pub(super) fn cases(text: &str) -> Vec<DomainEvent> {
    let values = [
        FieldValue::Text(text.into()),
        FieldValue::Integer(-3),
        FieldValue::Flag(true),
        FieldValue::Date("2026-06-12".parse().unwrap_or_default()),
    ];
    let fields: BTreeMap<String, FieldValue> =
        values.into_iter().enumerate().map(|(index, value)| (format!("field_{index}"), value)).collect();
    let content = CaseContent { title: Some(text.into()), fields };
    let group = KeySubject::Conversation(conversation_id());
    let mut events: Vec<CaseEvent> = [(Some(person()), of_person()), (None, group)]
        .into_iter()
        .map(|(customer, subject)| {
            CaseOpened {
                number: 1042,
                case_type: CaseTypeId::new(uuid(13)),
                customer,
                conversation: conversation_id(),
                priority: 3,
                set: content.fields.keys().cloned().collect(),
                content: Personal::new(subject, content.clone()),
            }
            .into()
        })
        .collect();
    let set: Vec<String> = content.fields.keys().cloned().collect();
    let changed = CaseContent { title: None, ..content };
    events.push(CaseChanged { set, cleared: vec![], content: Personal::new(of_person(), changed) }.into());
    let nothing = Personal::new(of_person(), CaseContent { title: Some(text.into()), ..CaseContent::default() });
    events.push(CaseChanged { set: vec![], cleared: vec!["field_1".into()], content: nothing }.into());
    events.push(CasePrioritised { priority: 9 }.into());
    events.extend([Some(time()), None].map(|until| CaseEvent::from(CasePromised { until })));
    events.extend(CaseStatus::ALL.map(|status| {
        let reason = (status == CaseStatus::Resolved).then(|| "refunded".to_owned());
        CaseEvent::from(CaseStatusChanged { status, reason })
    }));
    events.extend([Some("anna".into()), None].map(|operator| CaseEvent::from(CaseAssigned { operator })));
    events.push(CaseConversationLinked { conversation: conversation_id() }.into());
    events.push(CaseConversationUnlinked { conversation: conversation_id() }.into());
    for relation in [CaseRelation::Related, CaseRelation::PartOf, CaseRelation::BlockedBy] {
        events.push(CaseLinked { other: case(), relation }.into());
        events.push(CaseUnlinked { other: case(), relation }.into());
    }
    events.push(CaseMerged { into: case() }.into());
    events.push(CaseUnmerged { from: case() }.into());
    let content = Personal::new(of_person(), NoteContent { text: text.into() });
    events.push(CaseNoteAdded { note: uuid(14), content }.into());
    events.into_iter().map(DomainEvent::from).collect()
}

pub(super) fn register() -> Vec<DomainEvent> {
    vec![CaseRegisterEvent::from(CaseNumbered { case: case() }).into()]
}
