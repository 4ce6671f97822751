//! Subscriptions that the server ends, mutes or cuts.
//!
//! **Invariant:** events are written by another process, so that nothing but the server tells of them.

use futures::StreamExt;

use super::*;

/// Two logs on one server, the second to read with, where only one thing tells of news.
async fn writer_and_reader(look_every: Duration) -> (EventStoreDouble, EventStoreLog, EventStoreLog) {
    let double = double().await;
    let config = EventStoreConfig { look_every, ..EventStoreConfig::new(double.url()) };
    let (writer, reader) = (open(double.url()), EventStoreLog::open(config).expect("the log opens"));
    (double, writer, reader)
}

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(86_400);

async fn disturbed(double: &EventStoreDouble, writer: &EventStoreLog, reader: &EventStoreLog, disturb: impl Fn()) {
    let tenant = fresh_tenant();
    let stream = fresh_stream(&tenant);
    let mut followed = reader.subscribe(Position::START, Filter::default());
    let (mut written, mut seen) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let events = sample_events(&format!("round {round}"), 3);
        written.extend(new_ids(&events));
        let made = async {
            while writer.append(&stream, ExpectedRevision::Any, events.clone()).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        in_time(made).await;
        while seen.len() < written.len() {
            seen.push(in_time(followed.next()).await.expect("it goes on").expect("it goes on").id);
        }
        disturb();
    }
    assert_eq!(seen, written);
    assert_eq!(double.events(), written.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_the_server_ends_is_resumed_from_where_it_was() {
    let (double, writer, reader) = writer_and_reader(NEVER).await;
    disturbed(&double, &writer, &reader, || double.end_subscriptions()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_outlives_its_connection() {
    let (double, writer, reader) = writer_and_reader(NEVER).await;
    disturbed(&double, &writer, &reader, || double.cut_connections()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_outlives_a_server_that_refuses_for_a_while() {
    let (double, writer, reader) = writer_and_reader(Duration::from_millis(20)).await;
    disturbed(&double, &writer, &reader, || {
        double.end_subscriptions();
        double.refuse(8);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_are_found_by_looking_when_the_server_says_nothing() {
    let (double, writer, reader) = writer_and_reader(Duration::from_millis(20)).await;
    disturbed(&double, &writer, &reader, || double.mute_subscriptions()).await;
}

#[tokio::test]
async fn a_subscription_ends_with_an_error_when_nothing_can_be_read_for_too_long() {
    let double = double().await;
    let config = EventStoreConfig { give_up_after: Duration::ZERO, ..EventStoreConfig::new(double.url()) };
    let log = EventStoreLog::open(config).unwrap();
    double.set_down(true);
    let mut followed = log.subscribe(Position::START, Filter::default());
    assert!(matches!(in_time(followed.next()).await, Some(Err(ReadError::Unavailable(_)))));
    assert_eq!(in_time(followed.next()).await, None);
}

#[tokio::test]
async fn a_subscription_that_was_left_behind_reads_what_it_missed_first() {
    let double = double().await;
    let log = open(double.url());
    let tenant = fresh_tenant();
    let events = sample_events("behind", 700);
    append(&log, &fresh_stream(&tenant), events.clone()).await;
    let seen = follow(log.subscribe(Position::START, Filter::default()), &tenant, 700).await;
    assert_eq!(ids(&seen), new_ids(&events));
}
