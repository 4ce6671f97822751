//! Apache Kafka as the feed.
//!
//! **Invariant:** every test has topics of its own.

use std::sync::Arc;
use std::time::Duration;

use events::envelope::Category;
use events::feed::kafka::TopicSettings;
use events::feed::{Checkpoints, Fed, FeedError};
use events::log::{ExpectedRevision, Filter};
use events::testing::kafka::{config, fresh_topics, relayed};
use futures::StreamExt;
use rdkafka::consumer::{BaseConsumer, Consumer};

mod pressure;
mod retention;

/// Comma-separated addresses of the brokers.
const BROKERS: &str = "LETOPIS_TEST_KAFKA_BROKERS";

/// One copy on one broker, three on a cluster.
pub(crate) fn settings(brokers: &str) -> TopicSettings {
    let replication = if brokers.contains(',') { 3 } else { 1 };
    TopicSettings { replication, retention: Duration::from_secs(86_400) }
}

/// The contract on Apache Kafka, filled by the relay.
mod feed {
    use super::*;

    events::event_feed_contract!(async {
        let brokers = crate::server(BROKERS);
        relayed(config(&brokers, &fresh_topics()), Some(settings(&brokers))).await
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_in_order_has_left_its_group() {
    let brokers = crate::server(BROKERS);
    let topics = fresh_topics();
    let test = relayed(config(&brokers, &topics), Some(settings(&brokers))).await;
    let tenant = events::testing::fresh_tenant();
    let stream = events::testing::fresh_stream(&tenant);
    test.log.append(&stream, ExpectedRevision::Any, events::testing::sample_events("e", 1)).await.unwrap();
    let mut following = test.feed.follow("leaving", Arc::new(Checkpoints::start()), Filter::default()).await.unwrap();
    following.next().await.unwrap().unwrap();
    let members = || {
        let mut client = rdkafka::ClientConfig::new();
        let client: BaseConsumer = client.set("bootstrap.servers", &brokers).create().unwrap();
        let group = format!("{}.leaving", topics.prefix());
        let groups = client.fetch_group_list(Some(&group), Duration::from_secs(30)).unwrap();
        groups.groups().iter().find(|found| found.name() == group).map_or(0, |group| group.members().len())
    };
    assert_eq!(members(), 1);
    drop(following);
    test.feed.close().await;
    assert_eq!(members(), 0);
}

/// A member that leads a group, and takes the topics of these streams for not existing.
fn leader_that_knows_nothing_of(unknown: &str, known: &str, group: &str, brokers: &str) -> BaseConsumer {
    let mut client = rdkafka::ClientConfig::new();
    for (key, value) in [
        ("bootstrap.servers", brokers),
        ("group.id", group),
        ("enable.auto.commit", "false"),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("topic.blacklist", &format!("^{unknown}$")),
    ] {
        client.set(key, value);
    }
    let leader: BaseConsumer = client.create().unwrap();
    leader.subscribe(&[known]).unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while leader.assignment().unwrap().count() == 0 {
        assert!(std::time::Instant::now() < end, "it leads in time");
        drop(leader.poll(Duration::from_millis(100)));
    }
    leader
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_group_whose_leader_left_partitions_out_is_joined_anew() {
    let brokers = crate::server(BROKERS);
    let topics = fresh_topics();
    let test = relayed(config(&brokers, &topics), Some(settings(&brokers))).await;
    let stream = events::testing::fresh_stream(&events::testing::fresh_tenant());
    test.log.append(&stream, ExpectedRevision::Any, events::testing::sample_events("e", 1)).await.unwrap();
    let (unknown, known) = (topics.topic(Category::Conversation), topics.topic(Category::Account));
    let leader = leader_that_knows_nothing_of(&unknown, &known, &format!("{}.left_out", topics.prefix()), &brokers);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let leading = std::thread::spawn(move || {
        while stopped.try_recv().is_err() {
            drop(leader.poll(Duration::from_millis(50)));
        }
    });
    let filter = || Filter { categories: vec![Category::Conversation] };
    let follow = async || test.feed.follow("left_out", Arc::new(Checkpoints::start()), filter()).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(60), async { follow().await.next().await });
    let Some(Err(FeedError::Unavailable(reason))) = told.await.expect("it is told") else { panic!("it has nothing") };
    let left_out = format!("left out {} partitions: it is joined anew", topics.partitions(Category::Conversation));
    assert!(reason.ends_with(&left_out), "{reason}");
    stop.send(()).unwrap();
    leading.join().unwrap();
    let fed = tokio::time::timeout(Duration::from_secs(60), async {
        let mut following = follow().await;
        while !matches!(following.next().await.unwrap().unwrap(), Fed::Event(_)) {}
    });
    fed.await.expect("the event comes");
}
