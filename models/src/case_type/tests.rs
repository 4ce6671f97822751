//! Types of cases: each command acts, stays quiet and is refused; each kind of field takes and refuses values.
//!
//! **Invariant:** the decider alone.

use super::*;
use crate::testing::{Given, given};

use CaseTypeCommand as C;
use CaseTypeRejection as R;

fn field(key: &str, kind: FieldKind) -> FieldRule {
    FieldRule { key: key.into(), name: "Причина".into(), kind, required: false }
}

fn rules(fields: Vec<FieldRule>) -> CaseTypeRules {
    CaseTypeRules { priority: 3, fields }
}

fn open(fields: Vec<FieldRule>) -> C {
    C::Open { name: "Возврат".into(), rules: rules(fields) }
}

fn opened() -> Given<CaseTypeDecider> {
    given([]).and(open(vec![]))
}

#[test]
fn a_type_is_opened_once() {
    given::<CaseTypeDecider>([]).when(open(vec![])).then([CaseTypeOpened {
        name: "Возврат".into(),
        rules: rules(vec![]),
    }
    .into()]);
    opened().when(open(vec![])).then_nothing();
    opened().when(open(vec![field("a", FieldKind::Flag)])).then_rejected(&R::Exists);
}

#[test]
fn a_change_replaces_the_rules_and_opens_a_closed_one() {
    let change = |fields| C::Change { name: "Возврат".into(), rules: rules(fields) };
    opened().when(change(vec![field("a", FieldKind::Date)])).then_types(&["casetype.changed"]);
    opened().when(change(vec![])).then_nothing();
    opened().and(C::Close).when(change(vec![])).then_types(&["casetype.changed"]);
    opened().when(C::Close).then([CaseTypeClosed {}.into()]);
    opened().and(C::Close).when(C::Close).then_nothing();
    assert!(!opened().and(C::Close).state().is_open());
    assert!(opened().and(C::Close).state().rules().is_some(), "its cases go on");
    for command in [change(vec![]), C::Close] {
        given::<CaseTypeDecider>([]).when(command).then_rejected(&R::NoSuchType);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let new = || given::<CaseTypeDecider>([]);
    let unnamed = C::Open { name: " ".into(), rules: rules(vec![]) };
    new().when(unnamed).then_rejected(&R::BadName);
    let urgent = C::Open { name: "x".into(), rules: CaseTypeRules { priority: 10, fields: vec![] } };
    new().when(urgent).then_rejected(&R::BadPriority);
    for key in ["", "1a", "A", "a-b", "поле", &"a".repeat(65)] {
        new().when(open(vec![field(key, FieldKind::Flag)])).then_rejected(&R::BadKey(key.into()));
    }
    let twice = vec![field("a", FieldKind::Flag), field("a", FieldKind::Date)];
    new().when(open(twice)).then_rejected(&R::BadKey("a".into()));
    let many = (0..=MAX_FIELDS).map(|number| field(&format!("f{number}"), FieldKind::Flag)).collect();
    new().when(open(many)).then_rejected(&R::TooManyFields);
    let same = || "да".to_owned();
    for kind in [
        FieldKind::Text { max_chars: 0 },
        FieldKind::Text { max_chars: MAX_FIELD_CHARS + 1 },
        FieldKind::Integer { min: Some(2), max: Some(1) },
        FieldKind::Choice { options: vec![] },
        FieldKind::Choice { options: vec![same(), same()] },
        FieldKind::Choice { options: vec![" ".into()] },
    ] {
        new().when(open(vec![field("a", kind)])).then_rejected(&R::BadKind("a".into()));
    }
}

#[test]
fn a_field_takes_what_it_is_made_for() {
    let text = |text: &str| FieldValue::Text(text.into());
    let date = || FieldValue::Date("2026-06-12".parse().unwrap());
    let good = [
        (FieldKind::Text { max_chars: 4 }, text("да 🙂")),
        (FieldKind::Integer { min: Some(1), max: Some(3) }, FieldValue::Integer(3)),
        (FieldKind::Integer { min: None, max: None }, FieldValue::Integer(i64::MIN)),
        (FieldKind::Flag, FieldValue::Flag(false)),
        (FieldKind::Date, date()),
        (FieldKind::Choice { options: vec!["брак".into()] }, text("брак")),
    ];
    for (kind, value) in good {
        assert!(takes(&field("a", kind.clone()), &value), "{kind:?} {value:?}");
    }
    let bad = [
        (FieldKind::Text { max_chars: 4 }, text("слово")),
        (FieldKind::Text { max_chars: 4 }, text(" ")),
        (FieldKind::Integer { min: Some(1), max: Some(3) }, FieldValue::Integer(0)),
        (FieldKind::Integer { min: Some(1), max: Some(3) }, FieldValue::Integer(4)),
        (FieldKind::Integer { min: None, max: None }, text("1")),
        (FieldKind::Flag, text("true")),
        (FieldKind::Date, text("2026-06-12")),
        (FieldKind::Text { max_chars: 40 }, date()),
        (FieldKind::Choice { options: vec!["брак".into()] }, text("не подошло")),
    ];
    for (kind, value) in bad {
        assert!(!takes(&field("a", kind.clone()), &value), "{kind:?} {value:?}");
    }
}
