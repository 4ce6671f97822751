//! Tests of reads: tenants, bounds, cursors.
//!
//! **Invariant:** every test makes its own events and store.

use std::sync::Arc;

use events::calendar::{CalendarEvent, CalendarOpened, WorkingHours};
use events::case::{CaseContent, CaseEvent, CaseNoteAdded, CaseOpened};
use events::case_type::{CaseTypeEvent, CaseTypeOpened, CaseTypeRules};
use events::clock::FixedClock;
use events::conversation::content::NoteContent;
use events::conversation::{ConversationEnqueued, ConversationEvent, DeliveryFailed, EnqueuedReason};
use events::envelope::Category;
use events::ids::{
    AccountId, CalendarId, CaseId, CaseTypeId, ContactId, OperatorId, ProfileId, QueueId, ServiceLevelId,
};
use events::intake::{IntakeEvent, IntakeReceived};
use events::operator::{Abilities, OperatorEvent, OperatorRegistered};
use events::profile::{Attribute, AttributeSource};
use events::queue::{QueueEvent, QueueOpened, QueueRules};
use events::seal::{KeySubject, Personal};
use events::service_level::{ServiceLevelEvent, ServiceLevelOpened, ServiceLevelRules};
use events::testing::MemoryLog;
use events::values::ContactKind;
use events::viewer::{Role, Viewer};

use super::{Cursor, MOST_ITEMS, Order, PageRequest, Views};
use crate::case::{CaseFilter, CaseSort};
use crate::conversation::{ConversationFilter, ConversationSort};
use crate::event_index::{EventFilter, EventFinder};
use crate::intake::IntakeFilter;
use crate::profile::{ProfileFilter, ProfileSort};
use crate::projector::parked;
use crate::store::{ReadStore, StoreError};
use crate::testing::{
    MemoryKeys, Story, append, codec, commit, conversation_id, id, person, queued, received, second, stranger, viewer,
};

fn story() -> Story {
    let mut story = Story::default();
    story.account();
    let conversation = story.conversation(100, 1);
    let profile = story.customer(2, ContactKind::Phone, "+79991234567");
    story.attribute(profile, Attribute::Phone, AttributeSource::Customer, "+79991234567");
    story.add(conversation, received(200, 1, "hello"));
    story.add(conversation, queued(201, 1, "hello"));
    let failed = DeliveryFailed { message: events::ids::MessageId::new(id(201)), attempt: 1, reason: "gone".into() };
    story.add(conversation, ConversationEvent::from(failed));
    let received = IntakeReceived {
        account: AccountId::new(id(0xA)),
        channel: events::values::Channel::Email,
        size_bytes: 10,
        body: events::seal::Personal::Erased,
        blob: None,
    };
    story.add(id(700), IntakeEvent::from(received));
    let hours = WorkingHours { zone: "UTC".into(), week: vec![], days: vec![] };
    story.add(id(710), CalendarEvent::from(CalendarOpened { name: "calendar".into(), hours }));
    let rules = QueueRules::default();
    story.add(id(800), QueueEvent::from(QueueOpened { name: "queue".into(), rules }));
    let enqueued = ConversationEnqueued {
        queue: QueueId::new(id(800)),
        priority: 0,
        language: None,
        reason: EnqueuedReason::ByHand,
        fallbacks: 0,
    };
    story.add(conversation, ConversationEvent::from(enqueued));
    let subject = KeySubject::Occupancy(person(1));
    let opened = CaseOpened {
        number: 1,
        case_type: CaseTypeId::new(id(510)),
        customer: Some(person(1)),
        conversation: conversation_id(100),
        priority: 0,
        set: vec![],
        content: Personal::new(subject, CaseContent { title: Some("a case".into()), fields: [].into() }),
    };
    story.add(id(500), CaseEvent::from(opened));
    let content = Personal::new(subject, NoteContent { text: "a note".into() });
    story.add(id(500), CaseEvent::from(CaseNoteAdded { note: id(501), content }));
    let rules = ServiceLevelRules::default();
    story.add(id(520), ServiceLevelEvent::from(ServiceLevelOpened { name: "service level".into(), rules }));
    let rules = CaseTypeRules::default();
    story.add(id(510), CaseTypeEvent::from(CaseTypeOpened { name: "case type".into(), rules }));
    let abilities = Abilities { languages: [].into(), skills: [].into(), room: 1, room_of_channel: [].into() };
    let registered = OperatorRegistered { operator: "olga".into(), name: "Ольга".into(), abilities };
    story.add(id(600), OperatorEvent::from(registered));
    story
}

/// How many things each read gives to a viewer.
async fn counts(views: &Views, log: &MemoryLog, viewer: &Viewer) -> Vec<(&'static str, usize)> {
    let page = PageRequest::first(100, Order::Descending);
    let (conversation, queue) = (conversation_id(100), QueueId::new(id(800)));
    let profile = ProfileId::new(id(0x50_0002));
    let keys = Arc::new(MemoryKeys::default());
    let codec = codec(&keys);
    let events = async |filter: EventFilter| {
        let found = EventFinder::new(log, &codec, views).events(viewer, &filter, &page).await.unwrap();
        found.page.items.len()
    };
    let stream = EventFilter { stream: Some((Category::Conversation, id(100))), ..EventFilter::default() };
    let persons = Some((vec![person(1)], vec![ProfileId::new(id(0x50_0001))]));
    let of_person = EventFilter { persons, ..EventFilter::default() };
    let of_type = |name: &str| EventFilter { event_type: Some(name.to_owned()), ..EventFilter::default() };
    let about = EventFilter { conversation: Some(conversation), ..EventFilter::default() };
    let listed = views.profiles(viewer, &ProfileFilter::default(), ProfileSort::OpenedAt, &page).await.unwrap();
    let inbox = views
        .conversations(viewer, &ConversationFilter::default(), ConversationSort::LastActivity, &page)
        .await
        .unwrap();
    let (case, level) = (CaseId::new(id(500)), ServiceLevelId::new(id(520)));
    let cases = views.cases(viewer, &CaseFilter::default(), CaseSort::Number, &page).await.unwrap();
    vec![
        ("accounts", views.accounts(viewer).await.unwrap().len()),
        ("accounts by id", views.accounts_by_ids(viewer, &[AccountId::new(id(0xA))]).await.unwrap().len()),
        ("profile", usize::from(views.profile(viewer, profile).await.unwrap().is_some())),
        ("by contact", usize::from(views.profile_by_contact(viewer, ContactId::new(id(1))).await.unwrap().is_some())),
        ("by occupancy", views.profiles_by_occupancies(viewer, &[person(1)]).await.unwrap().len()),
        ("profiles", listed.items.len()),
        ("conversation", usize::from(views.conversation(viewer, conversation).await.unwrap().is_some())),
        ("conversations", inbox.items.len()),
        ("timeline", views.timeline(viewer, conversation, &page).await.unwrap().items.len()),
        ("latest", views.latest_messages(viewer, &[conversation]).await.unwrap().len()),
        ("dead letters", views.dead_letters(viewer, &page).await.unwrap().items.len()),
        ("intake", views.intake(viewer, &IntakeFilter::default(), &page).await.unwrap().items.len()),
        ("events", events(EventFilter::default()).await),
        ("events of a stream", events(stream).await),
        ("events about a person", events(of_person).await),
        ("events about a conversation", events(about).await),
        ("events of a rare type", events(of_type("account.opened")).await),
        ("events of a frequent type", events(of_type("intake.received")).await),
        ("cases", cases.items.len()),
        ("case", usize::from(views.case(viewer, case).await.unwrap().is_some())),
        ("case by number", usize::from(views.case_by_number(viewer, 1).await.unwrap().is_some())),
        ("cases of conversations", views.cases_of_conversations(viewer, &[conversation]).await.unwrap().len()),
        ("case notes", views.case_notes(viewer, case, &page).await.unwrap().items.len()),
        ("service levels", views.service_levels(viewer).await.unwrap().len()),
        ("service levels by id", views.service_levels_by_ids(viewer, &[level]).await.unwrap().len()),
        ("case types", views.case_types(viewer).await.unwrap().len()),
        ("case types by id", views.case_types_by_ids(viewer, &[CaseTypeId::new(id(510))]).await.unwrap().len()),
        ("calendars", views.calendars(viewer).await.unwrap().len()),
        ("calendars by id", views.calendars_by_ids(viewer, &[CalendarId::new(id(710))]).await.unwrap().len()),
        ("queues", views.queues(viewer).await.unwrap().len()),
        ("queues by id", views.queues_by_ids(viewer, &[queue]).await.unwrap().len()),
        ("queue loads", views.queue_loads(viewer, &[queue]).await.unwrap().len()),
        ("operators", views.operators(viewer).await.unwrap().len()),
        ("operators by id", views.operators_by_ids(viewer, &[OperatorId::new(id(600))]).await.unwrap().len()),
        ("parked", views.parked(viewer, &page).await.unwrap().items.len()),
    ]
}

#[tokio::test]
async fn a_viewer_of_another_tenant_sees_nothing_by_any_read() {
    let story = story();
    let store = story.store().await;
    let last = &story.events.last().unwrap().recorded;
    let mut with_parked = commit(crate::projection::Changes::default(), last.position);
    with_parked.parked.push(parked(last, "made up"));
    store.commit(with_parked).await.unwrap();
    let views = Views::new(store);
    let log = MemoryLog::new(Arc::new(FixedClock::new(second(0))));
    append(&story, &log, &codec(&Arc::new(MemoryKeys::default()))).await;
    for (read, count) in counts(&views, &log, &viewer(Role::Supervisor)).await {
        assert!(count > 0, "{read} shows nothing to its own tenant: the test would prove nothing");
    }
    for (read, count) in counts(&views, &log, &stranger()).await {
        assert_eq!(count, 0, "{read} shows another tenant's data");
    }
}

#[tokio::test]
async fn an_agent_sees_addresses_masked_and_an_operator_sees_them() {
    let views = story().views().await;
    let seen = async |role| {
        let view = views.profile(&viewer(role), ProfileId::new(id(0x50_0002))).await.unwrap().unwrap();
        let phone = view.attribute(Attribute::Phone).unwrap().text.clone().unwrap();
        let conversation = views.conversation(&viewer(role), conversation_id(100)).await.unwrap().unwrap();
        (view.occupancies[0].normalised.clone().unwrap(), phone, conversation.thread.unwrap().key)
    };
    let masked = ("***67".to_owned(), "***67".to_owned(), "***".to_owned());
    assert_eq!(seen(Role::Agent).await, masked);
    let full = ("+79991234567".to_owned(), "+79991234567".to_owned(), "thread".to_owned());
    for role in [Role::Operator, Role::Supervisor, Role::Administrator] {
        assert_eq!(seen(role).await, full, "{role}");
    }
}

#[tokio::test]
async fn a_list_is_bounded_whatever_is_asked_for() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    for number in 0..u128::from(MOST_ITEMS) + 5 {
        story.add(conversation, received(2000 + number, 1, "x"));
    }
    let views = story.views().await;
    let page = PageRequest::first(u32::MAX, Order::Ascending);
    let got = views.timeline(&viewer(Role::Operator), conversation_id(100), &page).await.unwrap();
    assert_eq!(got.items.len(), MOST_ITEMS as usize);
    assert!(got.more);
    let ids = vec![conversation_id(100); super::MOST_IDS + 1];
    let refused = views.conversations_by_ids(&viewer(Role::Operator), &ids).await;
    assert_eq!(refused, Err(StoreError::Invalid("too many ids at once")));
}

#[test]
fn a_cursor_reads_back_what_it_prints() {
    let cursor = Cursor { value: -3, id: id(7) };
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    assert_eq!("nonsense".parse::<Cursor>(), Err(StoreError::Invalid("cursor")));
}
