//! Tests of finding events.
//!
//! **Invariant:** what is found is compared with a plain look at every event of the log.

use std::sync::Arc;

use chrono::Duration;
use events::clock::FixedClock;
use events::codec::{Codec, DomainEvent};
use events::conversation::{ConversationAssigned, ConversationEvent, ParticipantJoined, ReactionsChanged};
use events::envelope::{Category, Position, RecordedEvent};
use events::ids::{AccountId, MessageId, ProfileId};
use events::intake::{IntakeEvent, IntakeNormalised, IntakeReceived, IntakeUnrecognised};
use events::log::EventLog;
use events::profile::{Attribute, AttributeSource};
use events::seal::Personal;
use events::testing::MemoryLog;
use events::values::{Channel, ContactKind};
use events::viewer::Role;

use super::find::{EventFilter, EventFinder};
use super::{EventIndexProjection, FREQUENT, about};
use crate::projection::{Changes, Projection};
use crate::rebuild::fold_all;
use crate::testing::{
    MemoryKeys, Story, append_one, codec, commit, conversation_event, conversation_id, deliver, id, person, queued,
    received, second, viewer,
};
use crate::views::{Cursor, Order, PageRequest, Views};

/// How many events a page may look at.
const BOUND: usize = 4096;

/// A log and read models that hold a story, an event a second.
struct House {
    log: MemoryLog,
    codec: Codec,
    views: Views,
}

impl House {
    async fn of(story: &Story) -> Self {
        let clock = Arc::new(FixedClock::new(second(0)));
        let log = MemoryLog::new(clock.clone());
        let codec = codec(&Arc::new(MemoryKeys::default()));
        for event in &story.events {
            append_one(event, &log, &codec).await;
            clock.advance(Duration::seconds(1));
        }
        let views = Views::new(fold_all(&log, &codec).await.unwrap());
        Self { log, codec, views }
    }

    async fn page(&self, filter: &EventFilter, page: &PageRequest) -> super::Found {
        let finder = EventFinder::new(&self.log, &self.codec, &self.views).bounded(BOUND);
        finder.events(&viewer(Role::Supervisor), filter, page).await.unwrap()
    }

    /// Places of everything found, page by page.
    async fn walk(&self, filter: &EventFilter, limit: u32, order: Order) -> Vec<u64> {
        let mut places = Vec::new();
        let mut request = PageRequest::first(limit, order);
        loop {
            let found = self.page(filter, &request).await;
            places.extend(found.page.items.iter().map(|event| event.position.0));
            if !found.page.more {
                return places;
            }
            let after = found.searched.or_else(|| found.page.cursors.last().copied());
            assert_ne!(request.after, after, "the next page begins where this one did");
            request.after = after;
        }
    }

    /// Places of what a plain look at every event finds.
    async fn plainly(&self, wanted: impl Fn(&RecordedEvent, &DomainEvent) -> bool) -> Vec<u64> {
        let (events, _) = self.log.read_all(Position::START, &Default::default(), 10_000).await.unwrap();
        let decoded = events.into_iter().map(|event| self.codec.decode(event).unwrap());
        decoded.filter(|event| wanted(&event.recorded, &event.event)).map(|event| event.recorded.position.0).collect()
    }
}

/// Two customers with a conversation each, one of whom takes part in the other's; raw deliveries of both in one stream.
fn story() -> Story {
    let mut story = Story::default();
    story.account();
    let (one, other) = (story.conversation(100, 1), story.conversation(101, 2));
    let profile = story.customer(3, ContactKind::Phone, "+79991234567");
    story.attribute(profile, Attribute::DisplayName, AttributeSource::Customer, "Anna");
    for number in 0..12_u128 {
        let (channel, body, account) = (Channel::Telegram, Personal::Erased, AccountId::new(id(0xA)));
        let raw = IntakeReceived { account, channel, size_bytes: 3, body, blob: None };
        story.add(id(700), IntakeEvent::from(raw));
        let received_id = story.events.last().unwrap().recorded.id;
        let customer = 1 + number % 2;
        let conversation = conversation_id(99 + customer);
        let outcome: IntakeEvent = if number == 5 {
            IntakeUnrecognised { received: received_id, reason: "no such kind".into() }.into()
        } else {
            let (kind, persons) = ("message".into(), vec![person(customer)]);
            IntakeNormalised { received: received_id, kind, persons, conversation: Some(conversation) }.into()
        };
        story.add(id(700), outcome);
        story.add(conversation.uuid(), received(200 + number, customer, "hello"));
        story.add(conversation.uuid(), queued(300 + number, customer, "answer"));
    }
    story.add(other, conversation_event(ParticipantJoined { participant: person(1) }));
    let by = Some(person(1));
    let reaction = ReactionsChanged { message: MessageId::new(id(201)), by, changed_at: second(1), reactions: vec![] };
    story.add(other, ConversationEvent::from(reaction));
    story.add(one, ConversationEvent::from(ConversationAssigned { operator: Some("olga".into()), reason: None }));
    story.add(one, ConversationEvent::from(ConversationAssigned { operator: None, reason: None }));
    story
}

#[tokio::test]
async fn every_filter_finds_what_a_plain_look_finds_in_both_directions_and_on_pages_of_any_size() {
    let house = House::of(&story()).await;
    let of_type = |name: &str| EventFilter { event_type: Some(name.to_owned()), ..EventFilter::default() };
    let persons = |number: u128| {
        let persons = Some((vec![person(number)], vec![ProfileId::new(id(0x50_0000 + number))]));
        EventFilter { persons, ..EventFilter::default() }
    };
    let conversation = |number| EventFilter { conversation: Some(conversation_id(number)), ..EventFilter::default() };
    let filters = [
        EventFilter::default(),
        EventFilter { stream: Some((Category::Intake, id(700))), ..EventFilter::default() },
        EventFilter { stream: Some((Category::Contact, id(700))), ..EventFilter::default() },
        conversation(100),
        conversation(101),
        conversation(999),
        persons(1),
        persons(2),
        persons(3),
        persons(4),
        of_type("intake.received"),
        of_type("conversation.message_received"),
        of_type("conversation.assigned"),
        of_type("intake.unrecognised"),
        of_type("no.such_type"),
        EventFilter { event_type: Some("conversation.message_queued".into()), ..persons(1) },
        EventFilter { event_type: Some("conversation.assigned".into()), ..conversation(100) },
        EventFilter { correlation: Some(id(1)), ..of_type("conversation.assigned") },
        EventFilter { correlation: Some(id(2)), ..EventFilter::default() },
        EventFilter { from: Some(second(7)), before: Some(second(30)), ..EventFilter::default() },
        EventFilter { from: Some(second(20)), ..of_type("intake.normalised") },
        EventFilter { before: Some(second(40)), ..persons(2) },
        EventFilter { up_to: Some(Position(33)), ..conversation(101) },
        EventFilter { up_to: Some(Position(1_000_000)), from: Some(second(40)), ..EventFilter::default() },
    ];
    for filter in filters {
        let mut expected = house
            .plainly(|at, event| {
                let (about_conversation, about_person) = about(at.stream.id, event);
                let own = |category, id| at.stream.category == category && at.stream.id == id;
                filter.stream.is_none_or(|(category, id)| own(category, id))
                    && filter.conversation.is_none_or(|wanted| about_conversation == Some(wanted))
                    && filter.persons.as_ref().is_none_or(|(persons, profiles)| {
                        about_person.is_some_and(|person| persons.contains(&person))
                            || profiles.iter().any(|profile| own(Category::Profile, profile.uuid()))
                    })
                    && filter.event_type.as_deref().is_none_or(|wanted| wanted == event.event_type())
                    && filter.correlation.is_none_or(|wanted| wanted == at.metadata.correlation)
                    && filter.from.is_none_or(|from| at.recorded_at >= from)
                    && filter.before.is_none_or(|before| at.recorded_at < before)
                    && filter.up_to.is_none_or(|up_to| at.position <= up_to)
            })
            .await;
        for limit in [1, 3, 100] {
            assert_eq!(house.walk(&filter, limit, Order::Ascending).await, expected, "{filter:?} by {limit}");
        }
        expected.reverse();
        for limit in [1, 3, 100] {
            assert_eq!(house.walk(&filter, limit, Order::Descending).await, expected, "{filter:?} by {limit}");
        }
    }
}

#[tokio::test]
async fn what_the_read_models_have_not_reached_is_not_found() {
    let story = story();
    let house = House::of(&story).await;
    let store = crate::store::sqlite::SqliteStore::in_memory().await.unwrap();
    deliver(&store, &story.events[..10]).await;
    let behind = House { views: Views::new(Arc::new(store)), ..house };
    for filter in [EventFilter::default(), EventFilter { before: Some(second(1000)), ..EventFilter::default() }] {
        let expected: Vec<u64> = (1..=10).collect();
        assert_eq!(behind.walk(&filter, 100, Order::Ascending).await, expected);
    }
}

#[tokio::test]
async fn a_search_that_finds_nothing_stops_at_its_bound_and_goes_on_from_there() {
    let mut story = Story::default();
    story.account();
    let wanted = story.events[0].recorded.metadata.correlation;
    let house = House::of(&story).await;
    // The same event under ids of its own, as often as two pages may look at.
    let (first, _) = house.log.read_all(Position::START, &Default::default(), 1).await.unwrap();
    let mut events = Vec::new();
    for number in 0..2 * BOUND as u128 {
        let at = &first[0];
        events.push(events::envelope::NewEvent {
            id: events::ids::EventId::new(id(0xF_0000 + number)),
            event_type: at.event_type.clone(),
            version: at.version,
            digest: [0; 16],
            metadata: events::envelope::Metadata { correlation: id(5), ..at.metadata.clone() },
            payload: at.payload.clone(),
        });
    }
    let (stream, any) = (first[0].stream.clone(), events::log::ExpectedRevision::Any);
    house.log.append(&stream, any, vec![events.pop().unwrap()]).await.unwrap();
    house.log.append(&stream, any, events).await.unwrap();
    let head = house.log.head().await.unwrap();
    house.views.store().commit(commit(Changes::default(), head)).await.unwrap();
    let filter = EventFilter { correlation: Some(wanted), ..EventFilter::default() };
    let found = house.page(&filter, &PageRequest::first(10, Order::Descending)).await;
    assert_eq!((found.page.items.len(), found.page.more), (0, true));
    let bound = i64::try_from(BOUND).unwrap();
    let ended = found.searched.unwrap().value;
    assert!((ended - (bound + 2)).abs() <= 1024, "{ended} is about halfway");
    assert_eq!(house.walk(&filter, 10, Order::Descending).await, [1]);
    let of_stream = EventFilter { stream: Some((stream.category, stream.id)), ..filter };
    assert!(house.page(&of_stream, &PageRequest::first(10, Order::Descending)).await.page.more);
    assert_eq!(house.walk(&of_stream, 10, Order::Descending).await, [1]);
    let behind =
        PageRequest { after: Some(Cursor { value: 1, id: id(0) }), ..PageRequest::first(10, Order::Ascending) };
    let found = house.page(&of_stream, &behind).await;
    assert_eq!((found.page.items.len(), found.page.more), (0, true));
}

#[test]
fn frequent_types_exist_and_stand_in_order() {
    assert!(FREQUENT.is_sorted());
    for frequent in FREQUENT {
        assert!(DomainEvent::types().any(|(_, row)| row.name == *frequent), "{frequent}");
    }
}

#[test]
fn a_message_more_in_a_known_conversation_makes_no_row() {
    let mut story = story();
    story.add(id(100), received(900, 1, "once more"));
    let (before, after) = (&story.events[..story.events.len() - 1], story.events.last().unwrap());
    let rows = |events: &[events::codec::Decoded]| {
        let mut changes = Changes::default();
        events.iter().for_each(|event| EventIndexProjection.apply(event, &mut changes));
        changes
            .iter()
            .map(|(step, values)| format!("{}{values:?}", step.sql()))
            .collect::<std::collections::BTreeSet<_>>()
    };
    let known = rows(before);
    assert!(rows(std::slice::from_ref(after)).is_subset(&known));
}
