//! Tests of reads as of a time.
//!
//! **Invariant:** every test makes its own events and store.

use std::sync::Arc;

use events::clock::FixedClock;
use events::envelope::Position;
use events::ids::ProfileId;
use events::link::{LinkBasis, LinkEvent, OccupanciesLinked, OccupanciesUnlinked};
use events::log::EventLog;
use events::profile::{Attribute, AttributeSource};
use events::seal::KeySubject;
use events::testing::MemoryLog;
use events::values::ContactKind;
use events::viewer::Role;

use super::{AsOf, Audit, AuditError};
use crate::rebuild::fold_all;
use crate::testing::{
    MemoryKeys, Story, append, codec, conversation_id, id, person, queued, received, second, stranger, viewer,
};
use crate::timeline::EntryBody;
use crate::views::{Order, PageRequest, Views};

async fn audit_of(story: &Story) -> (Audit, Arc<MemoryKeys>, Arc<MemoryLog>) {
    let keys = Arc::new(MemoryKeys::default());
    let log = Arc::new(MemoryLog::new(Arc::new(FixedClock::new(second(0)))));
    append(story, &*log, &codec(&keys)).await;
    let live = Views::new(fold_all(&*log, &codec(&keys)).await.unwrap());
    (Audit::new(Arc::clone(&log) as _, codec(&keys), live), keys, log)
}

fn talk() -> Story {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    story.add(conversation, received(200, 1, "hello"));
    story.add(conversation, queued(201, 1, "hello yourself"));
    story
}

#[tokio::test]
async fn a_conversation_as_of_each_position_is_what_the_live_one_was_then() {
    let story = talk();
    let (audit, ..) = audit_of(&story).await;
    let olga = viewer(Role::Operator);
    let page = PageRequest::first(10, Order::Ascending);
    for count in 3..=story.events.len() {
        let position = story.events[count - 1].recorded.position;
        let (then, past) =
            audit.conversation(&olga, conversation_id(100), AsOf::Position(position)).await.unwrap().unwrap();
        let store = crate::store::sqlite::SqliteStore::in_memory().await.unwrap();
        crate::testing::deliver(&store, &story.events[..count]).await;
        let live = Views::new(Arc::new(store));
        let timeline = live.timeline(&olga, conversation_id(100), &page).await.unwrap();
        let past_timeline = past.views.timeline(&olga, conversation_id(100), &page).await.unwrap();
        let bodies = |page: crate::views::Page<crate::timeline::TimelineEntry>| {
            page.items.into_iter().map(|entry| (entry.revision, entry.event, kind(&entry.body))).collect::<Vec<_>>()
        };
        assert_eq!(bodies(past_timeline), bodies(timeline));
        let live = live.conversation(&olga, conversation_id(100)).await.unwrap().unwrap();
        assert_eq!((then.status, then.unread, then.last_message), (live.status, live.unread, live.last_message));
        assert!(past.events.iter().all(|event| event.position <= position));
        assert!(past.events.iter().all(|event| event.stream.id == id(100)), "the events that made it, no others");
    }
    let before = audit.conversation(&olga, conversation_id(100), AsOf::Position(Position(2))).await.unwrap();
    assert!(before.is_none());
}

fn kind(body: &EntryBody) -> Option<String> {
    match body {
        EntryBody::Message(message) => message.content.as_ref().and_then(|content| content.text.clone()),
        EntryBody::Note { .. } | EntryBody::Activity { .. } => None,
    }
}

#[tokio::test]
async fn a_profile_as_of_a_position_has_the_links_and_values_of_then() {
    let mut story = Story::default();
    let one = story.customer(1, ContactKind::Email, "vera@example.org");
    let other = story.customer(2, ContactKind::Phone, "+79991234567");
    story.attribute(other, Attribute::Company, AttributeSource::Customer, "Acme");
    let apart = story.events.last().unwrap().recorded.position;
    let linked = OccupanciesLinked { one: person(1), other: person(2), basis: LinkBasis::Operator };
    story.add(id(900), LinkEvent::from(linked));
    let together = story.events.last().unwrap().recorded.position;
    let unlinked = OccupanciesUnlinked { one: person(1), other: person(2), reason: "mistake".into() };
    story.add(id(900), LinkEvent::from(unlinked));
    story.attribute(other, Attribute::Company, AttributeSource::Customer, "Globex");
    let (audit, ..) = audit_of(&story).await;
    let read = async |id: ProfileId, position| {
        audit.profile(&viewer(Role::Operator), id, AsOf::Position(position)).await.unwrap().unwrap().0
    };
    assert_eq!(read(one, apart).await.members, [one]);
    let joined = read(one, together).await;
    assert_eq!(joined.members, [one, other]);
    assert_eq!(joined.attribute(Attribute::Company).unwrap().text.as_deref(), Some("Acme"));
    let now = story.events.last().unwrap().recorded.position;
    assert_eq!(read(one, now).await.members, [one]);
    assert_eq!(read(other, now).await.attribute(Attribute::Company).unwrap().text.as_deref(), Some("Globex"));
}

#[tokio::test]
async fn after_an_erasure_the_past_shows_what_is_erased_as_erased() {
    let story = talk();
    let (audit, keys, log) = audit_of(&story).await;
    keys.destroy_of(KeySubject::Occupancy(person(1)));
    // Another process: one that has not the key in its memory.
    let audit = Audit::new(log, codec(&keys), audit.live);
    let head = AsOf::Position(story.events.last().unwrap().recorded.position);
    let olga = viewer(Role::Operator);
    let (then, past) = audit.conversation(&olga, conversation_id(100), head).await.unwrap().unwrap();
    assert_eq!(then.thread, None);
    let page = PageRequest::first(10, Order::Ascending);
    let entries = past.views.timeline(&olga, conversation_id(100), &page).await.unwrap().items;
    assert!(entries.iter().all(|entry| kind(&entry.body).is_none()));
    assert_eq!(entries.len(), 2);
}

#[tokio::test]
async fn a_replay_gives_every_step_with_its_cause_to_supervisors_of_the_tenant_alone() {
    let mut story = talk();
    let raw = story.events[0].recorded.id;
    let conversation = story.conversation(101, 7);
    story.add(conversation, received(202, 7, "caused"));
    story.events.last_mut().unwrap().recorded.metadata.causation = Some(raw);
    let (audit, ..) = audit_of(&story).await;
    let head = AsOf::Position(story.events.last().unwrap().recorded.position);
    let steps = audit.replay(&viewer(Role::Supervisor), conversation_id(101), head).await.unwrap();
    let types: Vec<_> = steps.iter().map(|step| step.event.event.event_type()).collect();
    assert_eq!(types, ["conversation.opened", "conversation.participant_joined", "conversation.message_received"]);
    assert_eq!(steps[2].cause.as_ref().unwrap().id, raw);
    assert!(steps[0].cause.is_none());
    let refused = audit.replay(&viewer(Role::Operator), conversation_id(101), head).await;
    assert!(matches!(refused, Err(AuditError::NotAllowed)));
    assert!(audit.replay(&stranger(), conversation_id(101), head).await.unwrap().is_empty());
}

#[tokio::test]
async fn another_tenants_past_is_as_closed_as_its_present() {
    let story = talk();
    let (audit, _, log) = audit_of(&story).await;
    let head = AsOf::Position(log.head().await.unwrap());
    assert!(audit.conversation(&stranger(), conversation_id(100), head).await.unwrap().is_none());
    let profile = ProfileId::new(id(0x50_0001));
    assert!(audit.profile(&stranger(), profile, head).await.unwrap().is_none());
}

#[tokio::test]
async fn a_time_means_the_last_position_recorded_by_then() {
    let story = talk();
    let (audit, _, log) = audit_of(&story).await;
    let head = log.head().await.unwrap();
    assert_eq!(audit.position(AsOf::Time(second(0))).await.unwrap(), head);
    assert_eq!(audit.position(AsOf::Time(second(-1))).await.unwrap(), Position::START);
}
