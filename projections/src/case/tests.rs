//! Tests of case rows, and of duplicates that stand for each other.
//!
//! **Invariant:** every test makes its own events and store.

use events::case::{
    CaseChanged, CaseContent, CaseConversationLinked, CaseEvent, CaseLinked, CaseMerged, CaseNoteAdded, CaseOpened,
    CasePromised, CaseRelation, CaseStatus, CaseStatusChanged, CaseUnmerged, FieldValue,
};
use events::conversation::content::NoteContent;
use events::ids::{CaseId, CaseTypeId};
use events::seal::Personal;
use events::viewer::Role;

use super::{CaseFilter, CaseSort, CaseView, LinkedCase};
use crate::testing::{Story, conversation_id, id, person, second, viewer};
use crate::views::{Order, PageRequest, Views};

fn case(number: u128) -> CaseId {
    CaseId::new(id(500 + number))
}

fn opened(story: &mut Story, number: u128, customer: u128) {
    let fields = [("order".to_owned(), FieldValue::Text("17".into()))].into();
    let opened = CaseOpened {
        number: u64::try_from(number).unwrap(),
        case_type: CaseTypeId::new(id(510)),
        customer: Some(person(customer)),
        conversation: conversation_id(100 + number),
        priority: 3,
        set: vec!["order".into()],
        content: Personal::Opened(CaseContent { title: Some(format!("case {number}")), fields }),
    };
    story.add(case(number).uuid(), CaseEvent::from(opened));
}

fn add(story: &mut Story, number: u128, event: impl Into<CaseEvent>) {
    story.add(case(number).uuid(), event.into());
}

async fn read(views: &Views, number: u128) -> CaseView {
    views.case(&viewer(Role::Operator), case(number)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_case_shows_its_latest_title_fields_and_status() {
    let mut story = Story::default();
    opened(&mut story, 1, 1);
    let content = CaseContent { title: None, fields: [("pieces".to_owned(), FieldValue::Integer(2))].into() };
    let set = vec!["pieces".into()];
    add(&mut story, 1, CaseChanged { set, cleared: vec!["order".into()], content: Personal::Opened(content) });
    let reason = Some("supplier".to_owned());
    add(&mut story, 1, CaseStatusChanged { status: CaseStatus::WaitingForOthers, reason });
    let since = story.events.len() as i64;
    add(&mut story, 1, CasePromised { until: Some(second(900)) });
    let content = Personal::Opened(NoteContent { text: "call".into() });
    add(&mut story, 1, CaseNoteAdded { note: id(9), content });
    let views = story.views().await;
    let view = read(&views, 1).await;
    assert_eq!((view.number, view.title.as_deref(), view.priority), (1, Some("case 1"), 3));
    assert_eq!(view.fields, [("pieces".to_owned(), Some(FieldValue::Integer(2)))].into());
    assert_eq!((view.status, view.status_reason.as_deref()), (CaseStatus::WaitingForOthers, Some("supplier")));
    assert_eq!((view.status_since, view.promised_until), (second(since), Some(second(900))));
    assert_eq!((view.customer, view.conversations), (Some(person(1)), vec![conversation_id(101)]));
    let viewer = viewer(Role::Operator);
    assert_eq!(views.case_by_number(&viewer, 1).await.unwrap().unwrap().case, case(1));
    assert_eq!(views.case_by_number(&viewer, 2).await.unwrap(), None);
    let notes = views.case_notes(&viewer, case(1), &PageRequest::first(10, Order::Ascending)).await.unwrap();
    assert_eq!(notes.items.iter().map(|note| note.text.as_deref()).collect::<Vec<_>>(), [Some("call")]);
}

#[tokio::test]
async fn a_case_stands_for_its_duplicates_until_they_are_taken_apart() {
    let mut story = Story::default();
    for number in 1..=4 {
        opened(&mut story, number, number);
    }
    let before = read(&story.views().await, 1).await;
    add(&mut story, 2, CaseMerged { into: case(1) });
    add(&mut story, 3, CaseMerged { into: case(2) });
    let views = story.views().await;
    let view = read(&views, 1).await;
    assert_eq!(view.duplicates, [case(2), case(3)], "duplicates of duplicates, too");
    assert_eq!(view.conversations, [101, 102, 103].map(conversation_id));
    assert_eq!(read(&views, 2).await.merged_into, Some(case(1)));
    let page = PageRequest::first(10, Order::Ascending);
    let listed = async |views: &Views, filter: &CaseFilter| {
        let page = views.cases(&viewer(Role::Operator), filter, CaseSort::Number, &page).await.unwrap();
        page.items.iter().map(|case| case.number).collect::<Vec<_>>()
    };
    assert_eq!(listed(&views, &CaseFilter::default()).await, [1, 4]);
    assert_eq!(listed(&views, &CaseFilter { merged: true, ..CaseFilter::default() }).await, [1, 2, 3, 4]);
    add(&mut story, 3, CaseUnmerged { from: case(2) });
    add(&mut story, 2, CaseUnmerged { from: case(1) });
    assert_eq!(read(&story.views().await, 1).await, before, "as if it had never been");
}

#[tokio::test]
async fn links_are_seen_from_both_sides_and_cases_from_their_conversations() {
    let mut story = Story::default();
    opened(&mut story, 1, 1);
    opened(&mut story, 2, 2);
    add(&mut story, 1, CaseLinked { other: case(2), relation: CaseRelation::BlockedBy });
    add(&mut story, 2, CaseConversationLinked { conversation: conversation_id(101) });
    let views = story.views().await;
    let link = |other, from_here| LinkedCase { other, relation: CaseRelation::BlockedBy, from_here };
    assert_eq!(read(&views, 1).await.links, [link(case(2), true)]);
    assert_eq!(read(&views, 2).await.links, [link(case(1), false)]);
    let conversations = [101, 102, 103].map(conversation_id);
    let found = views.cases_of_conversations(&viewer(Role::Operator), &conversations).await.unwrap();
    assert_eq!(found[&conversation_id(101)], [case(1), case(2)]);
    assert!(!found.contains_key(&conversation_id(103)));
}

#[tokio::test]
async fn lists_are_filtered_and_sorted_by_number_or_promise() {
    let mut story = Story::default();
    for number in 1..=3 {
        opened(&mut story, number, number.min(2));
    }
    add(&mut story, 3, CasePromised { until: Some(second(10)) });
    add(&mut story, 1, CasePromised { until: Some(second(20)) });
    add(&mut story, 2, CaseStatusChanged { status: CaseStatus::Resolved, reason: None });
    let views = story.views().await;
    let page = PageRequest::first(10, Order::Ascending);
    let listed = async |filter: CaseFilter, sort: CaseSort| {
        let page = views.cases(&viewer(Role::Operator), &filter, sort, &page).await.unwrap();
        page.items.iter().map(|case| case.number).collect::<Vec<_>>()
    };
    let any = CaseFilter::default;
    assert_eq!(listed(any(), CaseSort::PromisedUntil).await, [3, 1]);
    let new = CaseFilter { statuses: vec![CaseStatus::New], ..any() };
    assert_eq!(listed(new, CaseSort::Number).await, [1, 3]);
    let of_person = CaseFilter { customers: vec![person(2)], ..any() };
    assert_eq!(listed(of_person, CaseSort::Number).await, [2, 3]);
    let other_type = CaseFilter { case_type: Some(CaseTypeId::new(id(511))), ..any() };
    assert!(listed(other_type, CaseSort::Number).await.is_empty());
    let urgent = CaseFilter { least_priority: Some(4), ..any() };
    assert!(listed(urgent, CaseSort::Number).await.is_empty());
}
