//! Tests of the projector on a log.
//!
//! **Invariant:** every test makes its own events and store.

use std::sync::Arc;
use std::time::Duration;

use events::clock::FixedClock;
use events::codec::{Codec, CodecError, DomainEvent};
use events::consumer::{Batch, ConsumeError, ConsumerConfig, ConsumerStatus, Handler, Stopped, run};
use events::conversation::ConversationEvent;
use events::envelope::{NewEvent, Position, RecordedEvent};
use events::feed::{Checkpoint, Checkpoints, Delivery, LogFeed, Part};
use events::ids::EventId;
use events::log::{EventLog, ExpectedRevision, Filter};
use events::seal::{KEYS_KEPT_FOR, KeyStore, KeyStoreError, KeySubject, SealError, SealerError};
use events::testing::MemoryLog;
use events::viewer::Role;
use tokio::sync::watch;

use super::{CONSUMER, OpenKeys, Projector, TOGETHER, decode_all, of_codec};
use crate::store::sqlite::SqliteStore;
use crate::store::{ReadStore, wait_for};
use crate::testing::{MemoryKeys, Story, append, codec, conversation_id, hash, id, person, received, second, viewer};
use crate::views::{Order, PageRequest, Views};

struct House {
    story: Story,
    log: Arc<MemoryLog>,
    keys: Arc<MemoryKeys>,
    store: Arc<SqliteStore>,
}

impl House {
    async fn new() -> Self {
        let mut story = Story::default();
        story.account();
        let conversation = story.conversation(100, 1);
        story.add(conversation, received(200, 1, "hello"));
        let keys = Arc::new(MemoryKeys::default());
        let log = Arc::new(MemoryLog::new(Arc::new(FixedClock::new(second(0)))));
        append(&story, &*log, &codec(&keys)).await;
        Self { story, log, keys, store: Arc::new(SqliteStore::in_memory().await.unwrap()) }
    }

    /// All of the log, as a feed brings it.
    async fn deliveries(&self) -> Vec<Delivery> {
        let (events, _) = self.log.read_all(Position::START, &Filter::default(), 10_000).await.unwrap();
        let delivery = |event: RecordedEvent| Delivery { checkpoint: Checkpoint::of_position(event.position), event };
        events.into_iter().map(delivery).collect()
    }

    /// Projects until the head of the log is applied.
    async fn project(&self) -> Stopped {
        let projector = Projector::new(codec(&self.keys), Arc::clone(&self.store) as _);
        let feed = LogFeed::new(Arc::clone(&self.log) as _);
        let head = self.log.head().await.unwrap();
        let (shutdown, asked) = watch::channel(false);
        let (config, status) = (ConsumerConfig::default(), ConsumerStatus::default());
        let stop = async {
            wait_for(&*self.store, CONSUMER, &[Part::whole()], head, std::time::Duration::from_secs(30)).await.unwrap();
            shutdown.send_replace(true);
        };
        tokio::join!(run(&feed, Arc::new(projector), &config, &status, asked), stop).0
    }
}

#[tokio::test]
async fn sealed_events_of_a_log_become_the_rows_that_their_clear_form_would_make() {
    let house = House::new().await;
    assert_eq!(house.project().await, Stopped::Shutdown);
    let views = Views::new(Arc::clone(&house.store) as _);
    let page = PageRequest::first(10, Order::Ascending);
    let entries = views.timeline(&viewer(Role::Operator), conversation_id(100), &page).await.unwrap().items;
    let crate::timeline::EntryBody::Message(message) = &entries[0].body else { panic!("not a message") };
    assert_eq!(message.content.as_ref().unwrap().text.as_deref(), Some("hello"));
    let head = house.log.head().await.unwrap();
    assert_eq!(house.store.checkpoints(CONSUMER).await.unwrap(), Checkpoints::of_position(head));
    // A second run starts after the last event and changes nothing.
    let before = hash(&*house.store).await;
    assert_eq!(house.project().await, Stopped::Shutdown);
    assert_eq!(hash(&*house.store).await, before);
}

/// What the message at the end of the events says, opened with keys that are kept.
async fn said(codec: &Codec, keys: &mut OpenKeys, events: &[RecordedEvent]) -> Option<String> {
    let mut decoded = Vec::new();
    decode_all(codec, keys, events.iter().cloned(), &mut decoded).await;
    let decoded = decoded.pop().unwrap().unwrap();
    let DomainEvent::Conversation(ConversationEvent::MessageReceived(received)) = decoded.event else {
        panic!("not a message")
    };
    received.content.into_value().and_then(|content| content.text)
}

/// A house whose message was opened once, with the key that was kept.
async fn opened() -> (House, Codec, OpenKeys, Vec<RecordedEvent>) {
    let house = House::new().await;
    let (codec, mut keys) = (codec(&house.keys), OpenKeys::default());
    let (events, _) = house.log.read_all(Position::START, &Filter::default(), 100).await.unwrap();
    assert_eq!(said(&codec, &mut keys, &events).await.as_deref(), Some("hello"));
    (house, codec, keys, events)
}

#[tokio::test]
async fn a_key_that_is_kept_opens_nothing_more_once_it_is_destroyed() {
    let (house, codec, mut keys, events) = opened().await;
    let key = house.keys.key_for(KeySubject::Occupancy(person(1))).await.unwrap();
    codec.sealer().destroy(key.id).await.unwrap();
    assert_eq!(said(&codec, &mut keys, &events).await, None);
}

#[tokio::test]
async fn a_key_that_another_process_destroyed_opens_nothing_more_after_a_while() {
    let (house, codec, mut keys, events) = opened().await;
    house.keys.destroy_of(KeySubject::Occupancy(person(1)));
    tokio::time::pause();
    tokio::time::advance(KEYS_KEPT_FOR - Duration::from_secs(1)).await;
    assert_eq!(said(&codec, &mut keys, &events).await.as_deref(), Some("hello"), "it is kept for so long");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(said(&codec, &mut keys, &events).await, None);
}

#[tokio::test]
async fn what_a_destroyed_key_sealed_is_shown_as_erased() {
    let house = House::new().await;
    house.keys.destroy_of(KeySubject::Occupancy(person(1)));
    assert_eq!(house.project().await, Stopped::Shutdown);
    let views = Views::new(Arc::clone(&house.store) as _);
    let page = PageRequest::first(10, Order::Ascending);
    let entries = views.timeline(&viewer(Role::Operator), conversation_id(100), &page).await.unwrap().items;
    let crate::timeline::EntryBody::Message(message) = &entries[0].body else { panic!("not a message") };
    assert_eq!(message.content, None);
}

#[tokio::test]
async fn an_event_of_a_newer_release_is_parked_and_shown_and_the_rest_goes_on() {
    let house = House::new().await;
    let last = &house.story.events.last().unwrap().recorded;
    let newer = NewEvent {
        id: EventId::new(id(0xF00)),
        event_type: "conversation.danced".into(),
        version: 1,
        digest: [0; 16],
        metadata: last.metadata.clone(),
        payload: "{}".into(),
    };
    house.log.append(&last.stream, ExpectedRevision::Any, vec![newer]).await.unwrap();
    let mut after = Story::default();
    let other = after.conversation(101, 2);
    after.add(other, received(201, 2, "later"));
    for (number, event) in after.events.iter_mut().enumerate() {
        event.recorded.id = EventId::new(id(0xD00 + number as u128));
    }
    append(&after, &*house.log, &codec(&house.keys)).await;
    assert_eq!(house.project().await, Stopped::Shutdown);
    let views = Views::new(Arc::clone(&house.store) as _);
    let page = PageRequest::first(10, Order::Ascending);
    let parked = views.parked(&viewer(Role::Supervisor), &page).await.unwrap().items;
    assert_eq!(parked.len(), 1);
    assert_eq!(
        (parked[0].event, parked[0].reason.as_str()),
        (EventId::new(id(0xF00)), "unknown event type conversation.danced")
    );
    assert!(views.conversation(&viewer(Role::Operator), conversation_id(101)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_batch_of_several_transactions_leaves_what_small_ones_leave() {
    let mut house = House::new().await;
    let mut more = Story::default();
    let other = more.conversation(101, 2);
    for number in 0..2 * TOGETHER as u128 + 100 {
        more.add(other, received(1_000 + number, 2, "more"));
    }
    for (number, event) in more.events.iter_mut().enumerate() {
        event.recorded.id = EventId::new(id(0xD_0000 + number as u128));
    }
    append(&more, &*house.log, &codec(&house.keys)).await;
    // In the second transaction something cannot be opened.
    let mut deliveries = house.deliveries().await;
    deliveries[TOGETHER + 10].event.payload = "{".into();
    let position = deliveries[TOGETHER + 10].event.position;
    let projector = Projector::new(codec(&house.keys), Arc::clone(&house.store) as _);
    let watermark = Checkpoint::of_position(Position(9_999_999));
    let mut batch = Batch { deliveries, watermarks: vec![watermark] };
    assert!(matches!(projector.handle(&batch).await, Err(ConsumeError::Park(_))));
    let first = house.store.checkpoints(CONSUMER).await.unwrap();
    assert_eq!(first, Checkpoints::of_position(batch.deliveries[TOGETHER - 1].event.position), "nothing after it");
    // Without it the same batch goes through, watermark included.
    batch.deliveries.retain(|delivery| delivery.event.position != position);
    projector.handle(&batch).await.unwrap();
    assert_eq!(house.store.checkpoints(CONSUMER).await.unwrap(), batch.checkpoints());
    let together = hash(&*house.store).await;
    house.store = Arc::new(SqliteStore::in_memory().await.unwrap());
    let projector = Projector::new(codec(&house.keys), Arc::clone(&house.store) as _);
    for few in batch.deliveries.chunks(100) {
        projector.handle(&Batch { deliveries: few.to_vec(), watermarks: Vec::new() }).await.unwrap();
    }
    assert_eq!(hash(&*house.store).await, together);
}

#[tokio::test]
async fn a_projector_starts_from_the_beginning_and_wants_every_category() {
    let house = House::new().await;
    let projector = Projector::new(codec(&house.keys), Arc::clone(&house.store) as _);
    assert_eq!(projector.load_checkpoints().await, Ok(Checkpoints::start()));
    assert_eq!(projector.filter(), Filter::default());
    assert!(house.store.applied(CONSUMER).borrow().is_empty());
}

#[test]
fn a_key_store_that_is_away_is_waited_for_and_a_forged_field_is_parked() {
    let keys = |error: KeyStoreError| of_codec(&CodecError::Seal(SealerError::Keys(error)));
    assert!(matches!(keys(KeyStoreError::Unavailable("x".into())), ConsumeError::Retry(_)));
    assert!(matches!(keys(KeyStoreError::Corrupt("x".into())), ConsumeError::Halt(_)));
    let forged = of_codec(&CodecError::Seal(SealerError::Seal(SealError::Forged)));
    assert!(matches!(forged, ConsumeError::Park(_)));
}
