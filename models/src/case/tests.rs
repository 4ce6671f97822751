//! What a case answers to each command.
//!
//! **Invariant:** each command acts, stays quiet and is refused here, where it can.

use chrono::TimeDelta;
use events::case::{
    CaseAssigned, CaseChanged, CaseContent, CaseConversationUnlinked, CaseLinked, CaseMerged, CaseOpened,
    CasePrioritised, CasePromised, CaseStatusChanged, CaseUnlinked, CaseUnmerged,
};
use events::case_type::FieldKind;
use events::ids::ContactId;
use events::seal::Personal;

use super::*;
use crate::testing::{Given, given};

use CaseCommand as C;
use CaseRejection as R;

fn customer() -> Occupancy {
    Occupancy { contact: ContactId::new(Uuid::from_u128(1)), number: 1 }
}

fn conversation(number: u128) -> ConversationId {
    ConversationId::new(Uuid::from_u128(100 + number))
}

fn case(number: u128) -> CaseId {
    CaseId::new(Uuid::from_u128(200 + number))
}

fn rules() -> CaseTypeRules {
    let field = |key: &str, required, kind| FieldRule { key: key.into(), name: key.into(), kind, required };
    let fields = vec![
        field("order", true, FieldKind::Text { max_chars: 10 }),
        field("pieces", false, FieldKind::Integer { min: Some(1), max: None }),
    ];
    CaseTypeRules { priority: 4, fields }
}

fn values(pairs: &[(&str, FieldValue)]) -> BTreeMap<String, FieldValue> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn text(text: &str) -> FieldValue {
    FieldValue::Text(text.into())
}

fn opening() -> Opening {
    Opening {
        number: 7,
        case_type: CaseTypeId::new(Uuid::from_u128(3)),
        rules: Some(rules()),
        conversation: conversation(1),
        customer: Some(customer()),
        priority: None,
        title: "Вернуть чайник".into(),
        fields: values(&[("pieces", FieldValue::Integer(2))]),
    }
}

fn new() -> Given<CaseDecider> {
    given([])
}

fn opened() -> Given<CaseDecider> {
    new().and(C::Open(opening()))
}

fn set(pairs: &[(&str, FieldValue)]) -> C {
    C::Change { rules: rules(), title: None, set: values(pairs), clear: [].into() }
}

fn status(status: CaseStatus) -> C {
    C::SetStatus { rules: rules(), status, reason: None }
}

fn changed(status: CaseStatus) -> CaseEvent {
    CaseStatusChanged { status, reason: None }.into()
}

fn merge(into: u128, target: Option<MergeTarget>) -> C {
    C::Merge { case: case(1), into: case(into), target }
}

fn merged() -> Given<CaseDecider> {
    opened().and(merge(2, Some(MergeTarget::Whole)))
}

fn refused(given: Given<CaseDecider>, command: C, rejection: &R) {
    given.when(command).then_rejected(rejection);
}

#[test]
fn a_case_is_opened_from_a_conversation_and_sealed_for_its_customer() {
    let Opening { number, case_type, title, fields, .. } = opening();
    let content = CaseContent { title: Some(title), fields };
    let event = |customer: Option<Occupancy>, subject| {
        CaseEvent::from(CaseOpened {
            number,
            case_type,
            customer,
            conversation: conversation(1),
            priority: 4,
            set: vec!["pieces".into()],
            content: Personal::new(subject, content.clone()),
        })
    };
    new().when(C::Open(opening())).then([event(Some(customer()), KeySubject::Occupancy(customer()))]);
    let in_group = Opening { customer: None, ..opening() };
    new().when(C::Open(in_group)).then([event(None, KeySubject::Conversation(conversation(1)))]);
    refused(opened(), C::Open(opening()), &R::Exists);
}

#[test]
fn what_cannot_be_opened_is_refused() {
    let open = |change: fn(&mut Opening)| {
        let mut opening = opening();
        change(&mut opening);
        C::Open(opening)
    };
    refused(new(), open(|opening| opening.rules = None), &R::NoSuchType);
    refused(new(), open(|opening| opening.priority = Some(10)), &R::BadPriority);
    refused(new(), open(|opening| opening.title = " ".into()), &R::BadTitle);
    refused(new(), open(|opening| opening.title = "ы".repeat(MAX_TITLE_CHARS + 1)), &R::BadTitle);
    refused(new(), open(|opening| opening.fields = values(&[("x", text("1"))])), &R::NoSuchField("x".into()));
    refused(new(), open(|opening| opening.fields = values(&[("pieces", text("1"))])), &R::BadValue("pieces".into()));
}

#[test]
fn nothing_is_done_with_a_case_that_does_not_exist() {
    for command in [set(&[]), status(CaseStatus::Open), C::Unmerge, C::Prioritise { priority: 1 }] {
        refused(new(), command, &R::NoSuchCase);
    }
}

#[test]
fn title_and_fields_change_and_are_told_by_their_keys() {
    let change = |title: Option<&str>, pairs: &[(&str, FieldValue)], clear: &[&str]| C::Change {
        rules: rules(),
        title: title.map(str::to_owned),
        set: values(pairs),
        clear: clear.iter().map(|key| (*key).to_owned()).collect(),
    };
    let event = |title: Option<&str>, pairs: &[(&str, FieldValue)], cleared: &[&str]| {
        let content = CaseContent { title: title.map(str::to_owned), fields: values(pairs) };
        CaseEvent::from(CaseChanged {
            set: pairs.iter().map(|(key, _)| (*key).to_owned()).collect(),
            cleared: cleared.iter().map(|key| (*key).to_owned()).collect(),
            content: Personal::new(KeySubject::Occupancy(customer()), content),
        })
    };
    let order = [("order", text("№ 17"))];
    opened().when(change(Some("Чайник"), &order, &["pieces"])).then([event(Some("Чайник"), &order, &["pieces"])]);
    opened().when(change(None, &[], &["order"])).then_nothing();
    opened().when(change(None, &order, &["order"])).then([event(None, &order, &[])]);
    refused(opened(), change(Some(""), &[], &[]), &R::BadTitle);
    refused(opened(), set(&[("order", text("a long number"))]), &R::BadValue("order".into()));
    refused(merged(), set(&order), &R::Merged);
}

#[test]
fn a_case_is_resolved_when_every_required_field_has_a_value() {
    refused(opened(), status(CaseStatus::Resolved), &R::Missing("order".into()));
    let filled = || opened().and(set(&[("order", text("17"))]));
    filled().when(status(CaseStatus::Resolved)).then([changed(CaseStatus::Resolved)]);
    let clear = || C::Change { rules: rules(), title: None, set: [].into(), clear: ["order".to_owned()].into() };
    refused(filled().and(clear()), status(CaseStatus::Closed), &R::Missing("order".into()));
    for done in [CaseStatus::Resolved, CaseStatus::Closed] {
        refused(filled().and(status(done)), clear(), &R::Missing("order".into()));
    }
    filled().and(status(CaseStatus::Resolved)).when(status(CaseStatus::Closed)).then([changed(CaseStatus::Closed)]);
}

#[test]
fn a_status_changes_once_and_what_is_closed_is_opened_first() {
    opened().when(status(CaseStatus::WaitingForCustomer)).then([changed(CaseStatus::WaitingForCustomer)]);
    opened().when(status(CaseStatus::New)).then_nothing();
    let closed = || opened().and(set(&[("order", text("17"))])).and(status(CaseStatus::Closed));
    refused(closed(), status(CaseStatus::WaitingForOthers), &R::Closed);
    closed().when(status(CaseStatus::Open)).then([changed(CaseStatus::Open)]);
    refused(merged(), status(CaseStatus::Open), &R::Merged);
    let unexplained = C::SetStatus { rules: rules(), status: CaseStatus::Open, reason: Some(" ".into()) };
    refused(opened(), unexplained, &R::BadReason);
}

#[test]
fn priority_promise_and_operator_change_once() {
    opened().when(C::Prioritise { priority: 9 }).then([CasePrioritised { priority: 9 }.into()]);
    opened().when(C::Prioritise { priority: 4 }).then_nothing();
    refused(opened(), C::Prioritise { priority: 10 }, &R::BadPriority);
    let now = events::testing::sample_time();
    let promise = |hours: Option<i64>| C::Promise { until: hours.map(|hours| now + TimeDelta::hours(hours)), now };
    let until = Some(now + TimeDelta::hours(2));
    opened().when(promise(Some(2))).then([CasePromised { until }.into()]);
    opened().and(promise(Some(2))).when(promise(Some(2))).then_nothing();
    opened().and(promise(Some(2))).when(promise(None)).then([CasePromised { until: None }.into()]);
    opened().when(promise(None)).then_nothing();
    refused(opened(), promise(Some(0)), &R::NotInFuture);
    let assign = |operator: Option<&str>| C::Assign { operator: operator.map(Into::into) };
    opened().when(assign(Some("anna"))).then([CaseAssigned { operator: Some("anna".into()) }.into()]);
    opened().when(assign(None)).then_nothing();
    for command in [C::Prioritise { priority: 9 }, promise(Some(2)), assign(Some("anna"))] {
        refused(merged(), command, &R::Merged);
    }
}

#[test]
fn conversations_come_and_go_but_the_last() {
    let link = |number, exists| C::LinkConversation { conversation: conversation(number), exists };
    let unlink = |number| C::UnlinkConversation { conversation: conversation(number) };
    opened().when(link(2, true)).then_types(&["case.conversation_linked"]);
    opened().when(link(1, true)).then_nothing();
    refused(opened(), link(2, false), &R::NoSuchConversation);
    refused(opened(), unlink(1), &R::LastConversation);
    opened().when(unlink(2)).then_nothing();
    let both = opened().and(link(2, true));
    both.when(unlink(1)).then([CaseConversationUnlinked { conversation: conversation(1) }.into()]);
    merged().when(link(2, true)).then_types(&["case.conversation_linked"]);
}

#[test]
fn cases_have_to_do_with_each_other_and_not_with_themselves() {
    let relation = CaseRelation::BlockedBy;
    let link = |other, exists| C::Link { case: case(1), other: case(other), exists, relation };
    let unlink = C::Unlink { other: case(2), relation };
    opened().when(link(2, true)).then([CaseLinked { other: case(2), relation }.into()]);
    opened().and(link(2, true)).when(link(2, true)).then_nothing();
    refused(opened(), link(1, true), &R::SameCase);
    refused(opened(), link(2, false), &R::NoSuchCase);
    opened().when(unlink.clone()).then_nothing();
    opened().and(link(2, true)).when(unlink).then([CaseUnlinked { other: case(2), relation }.into()]);
}

#[test]
fn a_duplicate_is_merged_and_taken_apart_again_without_loss() {
    opened().when(merge(2, Some(MergeTarget::Whole))).then([CaseMerged { into: case(2) }.into()]);
    merged().when(merge(2, Some(MergeTarget::Whole))).then_nothing();
    refused(merged(), merge(3, Some(MergeTarget::Whole)), &R::Merged);
    refused(opened(), merge(1, Some(MergeTarget::Whole)), &R::SameCase);
    refused(opened(), merge(2, None), &R::NoSuchCase);
    refused(opened(), merge(2, Some(MergeTarget::Merged(case(1)))), &R::TargetMerged);
    merged().when(C::Unmerge).then([CaseUnmerged { from: case(2) }.into()]);
    refused(opened(), C::Unmerge, &R::NotMerged);
    assert_eq!(merged().and(C::Unmerge).state(), opened().state());
}

#[test]
fn a_note_is_written_once_and_says_something() {
    let note = |text: &str| C::AddNote { note: Uuid::from_u128(9), content: NoteContent { text: text.into() } };
    opened().when(note("позвонить")).then_types(&["case.note_added"]);
    merged().when(note("позвонить")).then_types(&["case.note_added"]);
    opened().and(note("позвонить")).when(note("позвонить")).then_nothing();
    refused(opened(), note(" "), &R::BadNote);
}

#[test]
fn a_register_numbers_by_the_places_of_its_events() {
    let number = |n| CaseRegisterCommand::Number { case: case(n) };
    let register = given::<CaseRegisterDecider>([]).and(number(1)).and(number(2));
    assert_eq!(register.state().last(), 2);
}
