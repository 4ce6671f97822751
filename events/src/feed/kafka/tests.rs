//! The feed and the relay on librdkafka's mock cluster, also with injected errors.
//!
//! **Invariant:** tests wait for events with a deadline, never for time to pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};

use self::house::{Audit, House, Store, in_time, next};
use super::{KafkaConfig, KafkaConfigError, KafkaFeed};
use crate::checkpoints::CheckpointStore;
use crate::checkpoints::folder::FolderCheckpoints;
use crate::envelope::{Category, Position, Revision, StreamName};
use crate::feed::{Checkpoints, EventFeed, Fed, FeedError, Follower, Part};
use crate::log::{EventLog, ExpectedRevision, Filter};
use crate::testing::kafka::{MockBrokers, config, config_of_failing_mock, fresh_topics, memory_log, relayed};
use crate::testing::{fresh_stream, fresh_tenant, sample_event, sample_events};

pub(super) mod house;
mod written;

/// The contract on the mock cluster.
mod on_the_mock_cluster {
    use super::*;

    crate::event_feed_contract!(async {
        let brokers = MockBrokers::start();
        let topics = fresh_topics();
        brokers.make_topics(&topics);
        let mut test = relayed(config(&brokers.addresses, &topics), None).await;
        test.keep = Box::new((std::mem::replace(&mut test.keep, Box::new(())), brokers));
        test
    });
}

/// The contract on a mock cluster whose brokers answer with errors for a while.
mod on_the_mock_cluster_with_errors {
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;

    crate::event_feed_contract!(async {
        let brokers = MockBrokers::start();
        let topics = fresh_topics();
        brokers.make_topics(&topics);
        brokers.act(|cluster| {
            use RDKafkaRespErr::{
                RD_KAFKA_RESP_ERR__TRANSPORT as CUT, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE as NO_COORDINATOR,
                RD_KAFKA_RESP_ERR_NOT_COORDINATOR as MOVED, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as NOT_LEADER,
                RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as TIMED_OUT,
            };
            cluster.request_errors(RDKafkaApiKey::Produce, &[NOT_LEADER, TIMED_OUT, CUT, NOT_LEADER]);
            cluster.request_errors(RDKafkaApiKey::Fetch, &[NOT_LEADER, CUT, NOT_LEADER]);
            cluster.request_errors(RDKafkaApiKey::FindCoordinator, &[NO_COORDINATOR, NO_COORDINATOR]);
            cluster.request_errors(RDKafkaApiKey::JoinGroup, &[MOVED]);
            cluster.request_errors(RDKafkaApiKey::ListOffsets, &[NOT_LEADER]);
        });
        let mut test = relayed(config_of_failing_mock(&brokers.addresses, &topics), None).await;
        test.keep = Box::new((std::mem::replace(&mut test.keep, Box::new(())), brokers));
        test
    });
}

#[test]
fn what_correctness_rests_on_cannot_be_configured_away() {
    for key in ["enable.auto.commit", "acks", "group.id"] {
        let properties = BTreeMap::from([(key.to_owned(), "x".to_owned())]);
        let refused = KafkaConfig::new("localhost:1", fresh_topics(), properties).map(drop);
        assert_eq!(refused, Err(KafkaConfigError::Reserved(key.to_owned())));
    }
    let unknown = BTreeMap::from([("no.such.property".to_owned(), "x".to_owned())]);
    assert!(matches!(KafkaConfig::new("localhost:1", fresh_topics(), unknown), Err(KafkaConfigError::Refused(_))));
}

#[test]
fn what_is_configured_goes_before_what_is_usual() {
    let properties = BTreeMap::from([("linger.ms".to_owned(), "7".to_owned())]);
    let config = KafkaConfig::new("localhost:1", fresh_topics(), properties).unwrap();
    let client = config.client_with(&[("linger.ms", "1"), ("compression.type", "lz4")]);
    assert_eq!((client.get("linger.ms"), client.get("compression.type")), (Some("7"), Some("lz4")));
}

#[test]
fn secrets_in_properties_are_not_shown() {
    let properties = BTreeMap::from([("sasl.password".to_owned(), "hunter2".to_owned())]);
    let shown = format!("{:?}", KafkaConfig::new("localhost:1", fresh_topics(), properties).unwrap());
    assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_property_that_is_refused_is_named_without_its_value() {
    // A slip in the name, and a value where another is wanted.
    for key in ["sasl.pasword", "security.protocol", "socket.timeout.ms"] {
        let properties = BTreeMap::from([(key.to_owned(), "hunter2".to_owned())]);
        let refused = KafkaConfig::new("localhost:1", fresh_topics(), properties).map(drop).unwrap_err();
        let told = format!("{refused} {refused:?}");
        assert!(told.contains(key) && !told.contains("hunter2"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_member_takes_parts_over_and_gives_them_back_and_nothing_is_left_out() {
    let house = House::new().await;
    let tenant = fresh_tenant();
    let streams: Vec<_> = (0..12).map(|_| fresh_stream(&tenant)).collect();
    let store = Arc::new(Store::default());
    let mut audit = Audit::of(&streams, 30);
    let append_all = async |events| {
        for stream in &streams {
            house.append(stream, events).await;
        }
    };
    append_all(10).await;
    let mut one = house.follow("shared", Arc::clone(&store) as _).await;
    let take = |fed: Fed, audit: &mut Audit| match fed {
        Fed::Event(delivery) => {
            audit.take(&delivery);
            store.0.lock().add(&delivery.checkpoint);
            None
        }
        Fed::Watermark(checkpoint) => {
            store.0.lock().add(&checkpoint);
            None
        }
        Fed::Revoked(part) => Some(part),
    };
    for _ in 0..60 {
        take(next(&mut one).await, &mut audit);
    }
    // The other joins: the first gives parts up, and goes on with the rest.
    let mut two = house.follow("shared", Arc::clone(&store) as _).await;
    let (mut revoked, mut by_two) = (0, 0);
    while revoked == 0 {
        revoked += usize::from(take(next(&mut one).await, &mut audit).is_some());
    }
    append_all(10).await;
    while by_two == 0 {
        tokio::select! {
            fed = next(&mut one) => drop(take(fed, &mut audit)),
            fed = next(&mut two) => {
                by_two += usize::from(matches!(fed, Fed::Event(_)));
                take(fed, &mut audit);
            }
        }
    }
    // The first leaves: the other gets all.
    drop(one);
    append_all(10).await;
    while !audit.is_complete() {
        take(next(&mut two).await, &mut audit);
    }
}

/// One who holds some parts.
#[derive(Default)]
struct Holding(Mutex<std::collections::BTreeSet<Part>>);

#[async_trait::async_trait]
impl Follower for Holding {
    async fn load(&self) -> Result<Checkpoints, FeedError> {
        Ok(Checkpoints::start())
    }

    fn held(&self) -> std::collections::BTreeSet<Part> {
        self.0.lock().clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_part_that_is_held_nothing_comes_until_it_is_wanted_again() {
    let house = House::new().await;
    let tenant = fresh_tenant();
    let topics = house.config.topics();
    let held = fresh_stream(&tenant);
    let free = loop {
        let stream = fresh_stream(&tenant);
        if topics.partition_of(&stream) != topics.partition_of(&held) {
            break stream;
        }
    };
    let part = topics.part(Category::Conversation, topics.partition_of(&held));
    let holding = Arc::new(Holding::default());
    let mut feeding = house.follow("holding", Arc::clone(&holding) as _).await;
    let mut audit = Audit::of([&held, &free], 41);
    for stream in [&held, &free] {
        house.append(stream, 1).await;
    }
    while audit.0.values().any(|(last, _)| last.is_none()) {
        if let Fed::Event(delivery) = next(&mut feeding).await {
            audit.take(&delivery);
        }
    }
    holding.0.lock().insert(part.clone());
    // Two looks of the thread later it has seen that, for it brings something each time.
    for _ in 0..2 {
        house.append(&free, 1).await;
        while !matches!(next(&mut feeding).await, Fed::Event(delivery) if {
            audit.take(&delivery);
            delivery.event.stream == free
        }) {}
    }
    house.append(&held, 40).await;
    house.published().await;
    for _ in 0..19 {
        house.append(&free, 2).await;
        for _ in 0..2 {
            let delivery = loop {
                if let Fed::Event(delivery) = next(&mut feeding).await {
                    break delivery;
                }
            };
            assert_eq!(delivery.event.stream, free, "the other part is held");
            audit.take(&delivery);
        }
    }
    holding.0.lock().clear();
    while !audit.is_complete() {
        if let Fed::Event(delivery) = next(&mut feeding).await {
            audit.take(&delivery);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_begins_again_from_an_old_checkpoint_repeats_and_loses_nothing() {
    let mut house = House::new().await;
    let tenant = fresh_tenant();
    let streams: Vec<_> = (0..4).map(|_| fresh_stream(&tenant)).collect();
    for stream in &streams {
        house.append(stream, 20).await;
    }
    house.published().await;
    let old = house.checkpoints.load(crate::relay::NAME).await.unwrap();
    assert_eq!(old.least(), house.log.head().await.unwrap(), "the checkpoint is stored after the acknowledgement");
    // As after a crash between the acknowledgement and the checkpoint, long ago.
    let folder = tempfile::tempdir().unwrap();
    let stale = Arc::new(FolderCheckpoints::open(folder.path().to_owned()).unwrap());
    stale.store(crate::relay::NAME, &Checkpoints::of_position(Position(7))).await.unwrap();
    let fresh = House::relay(&house.config, &house.log, &stale).await;
    std::mem::replace(&mut house.relay, fresh).stop().await;
    for stream in &streams {
        house.append(stream, 20).await;
    }
    house.published().await;
    let mut audit = Audit::of(&streams, 40);
    let mut feeding = house.follow("tests", Arc::new(Checkpoints::start())).await;
    while !audit.is_complete() {
        if let Fed::Event(delivery) = next(&mut feeding).await {
            audit.take(&delivery);
        }
    }
    // Whoever begins at a position in the middle of it all gets everything after it.
    for position in [1, 7, 8, 40, 79, 80, 81, 120] {
        let stored = Arc::new(Checkpoints::of_position(Position(position)));
        let mut feeding = house.follow(&format!("from-{position}"), stored).await;
        let mut seen = std::collections::BTreeSet::new();
        while seen.range(position + 1..).count() < 160 - usize::try_from(position).unwrap() {
            if let Fed::Event(delivery) = next(&mut feeding).await {
                seen.insert(delivery.event.position.0);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_not_led_yet_when_the_relay_comes_loses_no_event() {
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    let (brokers, topics, log) = (MockBrokers::start(), fresh_topics(), memory_log());
    brokers.make_topics(&topics);
    brokers.act(|cluster| {
        cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION]);
        // Slow enough for several requests to be on their way.
        (1..=3).for_each(|broker| cluster.broker_round_trip_time(broker, Duration::from_millis(50)).unwrap());
    });
    let stream = fresh_stream(&fresh_tenant());
    log.append(&stream, ExpectedRevision::Any, sample_events("e", 20)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Arc::new(FolderCheckpoints::open(folder.path().to_owned()).unwrap());
    // A request for each event, so that the second is on its way when the first fails.
    let single = BTreeMap::from([("batch.num.messages".to_owned(), "1".to_owned())]);
    let config = KafkaConfig::new(&brokers.addresses, topics, single).unwrap();
    let relay = House::relay(&config, &log, &checkpoints).await;
    let head = log.head().await.unwrap();
    relay.relay.published().wait_for(|at| *at >= head).await.unwrap();
    let filter = Filter { categories: vec![Category::Conversation] };
    let feed = KafkaFeed::new(config);
    let part = feed.layout().part_of(&stream);
    let mut feeding = feed.follow("tests", Arc::new(Checkpoints::start()), filter).await.unwrap();
    let mut audit = Audit::of([&stream], 20);
    while !audit.is_complete() {
        match next(&mut feeding).await {
            Fed::Event(delivery) => audit.take(&delivery),
            Fed::Watermark(mark) if mark.part == part => assert!(mark.position < head, "one was left out"),
            Fed::Watermark(_) | Fed::Revoked(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_were_made_anew_are_filled_from_the_beginning() {
    let (brokers, topics, log) = (MockBrokers::start(), fresh_topics(), memory_log());
    brokers.make_topics(&topics);
    let stream = fresh_stream(&fresh_tenant());
    log.append(&stream, ExpectedRevision::Any, sample_events("e", 10)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Arc::new(FolderCheckpoints::open(folder.path().to_owned()).unwrap());
    // Of the topics that were there before.
    checkpoints.store(crate::relay::NAME, &Checkpoints::of_position(Position(7))).await.unwrap();
    let config = config(&brokers.addresses, &topics);
    let _relay = House::relay(&config, &log, &checkpoints).await;
    let filter = Filter { categories: vec![Category::Conversation] };
    let mut feeding = KafkaFeed::new(config).follow("tests", Arc::new(Checkpoints::start()), filter).await.unwrap();
    let mut audit = Audit::of([&stream], 10);
    while !audit.is_complete() {
        if let Fed::Event(delivery) = next(&mut feeding).await {
            audit.take(&delivery);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_a_broker_refuses_is_parked_and_the_rest_goes_on() {
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    let house = House::new().await;
    let (stream, other) = (fresh_stream(&fresh_tenant()), fresh_stream(&fresh_tenant()));
    house.append(&other, 1).await;
    let feed = KafkaFeed::new(house.config.clone());
    let parts = feed.layout().parts().to_vec();
    let mut feeding = feed.follow("tests", Arc::new(Checkpoints::start()), Filter::default()).await.unwrap();
    let (mut audit, mut reached) = (Audit::of([&other], 2), Checkpoints::start());
    // Once every watermark is there the relay is at rest.
    while reached.reached(&parts) < Position(1) {
        match next(&mut feeding).await {
            Fed::Event(delivery) => {
                reached.add(&delivery.checkpoint);
                audit.take(&delivery);
            }
            Fed::Watermark(checkpoint) => reached.add(&checkpoint),
            Fed::Revoked(_) => {}
        }
    }
    house.brokers.act(|cluster| {
        cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    });
    house.append(&stream, 1).await;
    let parked = async {
        while house.relay.status.counts()[3] == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), parked).await.expect("it is parked");
    house.append(&other, 1).await;
    while !audit.is_complete() {
        if let Fed::Event(delivery) = next(&mut feeding).await {
            audit.take(&delivery);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_go_and_come_hold_the_relay_up_and_nothing_is_lost() {
    let house = House::new().await;
    let stream = fresh_stream(&fresh_tenant());
    house.append(&stream, 10).await;
    let mut feeding = house.follow("tests", Arc::new(Checkpoints::start())).await;
    let mut audit = Audit::of([&stream], 40);
    let down = |broker| house.brokers.act(move |cluster| cluster.broker_down(broker).unwrap());
    let up = |broker| house.brokers.act(move |cluster| cluster.broker_up(broker).unwrap());
    for round in 1..=3 {
        (1..=3).for_each(down);
        house.append(&stream, 10).await;
        (1..=3).for_each(up);
        let whole = Revision(10 * round + 9);
        while audit.0[&stream].0 != Some(whole) {
            match in_time(feeding.next()).await.expect("a feed does not end") {
                Ok(Fed::Event(delivery)) => audit.take(&delivery),
                Ok(Fed::Watermark(_) | Fed::Revoked(_)) => {}
                Err(FeedError::Unavailable(_)) => feeding = house.follow("tests", Arc::new(Checkpoints::start())).await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Reads a partition from its beginning, apart from any group.
fn reader(config: &KafkaConfig, topic: &str, partition: u32) -> BaseConsumer {
    let mut client = config.client();
    client.set("group.id", "reader").set("auto.offset.reset", "earliest");
    let reader: BaseConsumer = client.create().unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(topic, i32::try_from(partition).unwrap(), rdkafka::Offset::Beginning).unwrap();
    reader.assign(&list).unwrap();
    reader
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_an_event_from_when_it_got_it_not_from_when_it_was_recorded() {
    let house = House::new().await;
    let stream = fresh_stream(&fresh_tenant());
    house.append(&stream, 1).await;
    house.published().await;
    let topics = house.config.topics();
    let reader = reader(&house.config, &topics.topic(stream.category), topics.partition_of(&stream));
    let event = loop {
        let record = reader.poll(Duration::from_secs(60)).expect("it is there").unwrap();
        if record.payload().is_some() {
            break record.timestamp().to_millis();
        }
    };
    // The log of the tests has a clock that stands.
    let recorded = crate::testing::sample_time();
    let later = (recorded + chrono::Duration::hours(1)).timestamp_millis();
    assert!(event.is_some_and(|at| at > later), "{event:?}: retention would count from when it was recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_kafka_would_not_take_is_parked_and_the_rest_goes_on() {
    let house = House::new().await;
    let (stream, other) = (fresh_stream(&fresh_tenant()), fresh_stream(&fresh_tenant()));
    house.append(&stream, 1).await;
    let poison = sample_event(&"x".repeat(1_000_001));
    let id = poison.id;
    house.log.append_without_limit(&stream, poison).unwrap();
    house.append(&other, 2).await;
    house.published().await;
    assert_eq!(house.relay.status.counts()[3], 1, "it is counted, for the alarm");
    let mut audit = Audit::of([&other], 2);
    let mut feeding = house.follow("tests", Arc::new(Checkpoints::start())).await;
    while !audit.is_complete() {
        if let Fed::Event(delivery) = next(&mut feeding).await {
            assert_ne!(delivery.event.id, id);
            if delivery.event.stream == other {
                audit.take(&delivery);
            }
        }
    }
    let reader = reader(&house.config, &house.config.topics().parked(), 0);
    let parked = reader.poll(Duration::from_secs(60)).expect("it is there").unwrap();
    assert_eq!(parked.key(), Some(stream.to_string().as_bytes()));
    assert_eq!(parked.payload(), None, "the payload stays in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watermark_moves_parts_in_which_nothing_happens() {
    let house = House::new().await;
    let stream = fresh_stream(&fresh_tenant());
    house.append(&stream, 5).await;
    let head = house.log.head().await.unwrap();
    let feed = KafkaFeed::new(house.config.clone());
    let parts = feed.layout().parts().to_vec();
    let stored = Arc::new(Checkpoints::start());
    let mut feeding = feed.follow("all", stored, Filter::default()).await.unwrap();
    let mut reached = Checkpoints::start();
    while reached.reached(&parts) < head {
        match next(&mut feeding).await {
            Fed::Event(delivery) => reached.add(&delivery.checkpoint),
            Fed::Watermark(checkpoint) => reached.add(&checkpoint),
            Fed::Revoked(_) => {}
        }
    }
    // Once it is reached everywhere, every event was handed over before.
    assert_eq!(reached.position_in(&feed.layout().part_of(&stream)), head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_other_partitions_than_configured_is_refused() {
    let house = House::new().await;
    let other = crate::feed::Topics::new(house.config.topics().prefix(), |_| 4).unwrap();
    let feed = KafkaFeed::new(config(&house.brokers.addresses, &other));
    let refused = feed.follow("tests", Arc::new(Checkpoints::start()), Filter::default()).await.err();
    assert!(matches!(&refused, Some(FeedError::Corrupt(reason)) if reason.contains("3 partitions")), "{refused:?}");
}
