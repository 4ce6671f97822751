//! The contract of the log on EventStoreDB or KurrentDB: on the server of `LETOPIS_TEST_EVENTSTORE_URL`, or on the double
//! of one where that is not set, for the server is not published as an ordinary package.
//!
//! **Invariant:** it says which of the two it was, past the capture of output: `engine: …`. What was seen on the double
//! was not seen on a server.

use std::env;
use std::io::Write;
use std::sync::Arc;

use events::feed::LogFeed;
use events::log::eventstore::{EventStoreConfig, EventStoreLog};
use events::log::{AppendError, EventLog, ExpectedRevision};
use events::testing::eventstore::EventStoreDouble;
use events::testing::{
    FeedUnderTest, LogUnderTest, event_with_id, fresh_stream, fresh_tenant, sample_event, sample_events,
};

/// The connection string of a server.
const SERVER: &str = "LETOPIS_TEST_EVENTSTORE_URL";

/// The log, and the double that it is on, if it is on one.
async fn open() -> (Arc<EventStoreLog>, Option<EventStoreDouble>) {
    let (url, double) = match env::var(SERVER) {
        Ok(url) => (url, None),
        Err(_) => {
            let double = EventStoreDouble::start().await.expect("the double listens");
            (double.url(), Some(double))
        }
    };
    (Arc::new(EventStoreLog::open(EventStoreConfig::new(url)).expect("the log opens")), double)
}

#[tokio::test]
async fn it_is_said_which_engine_this_is() {
    let (log, double) = open().await;
    let engine =
        if double.is_some() { "double of EventStoreDB" } else { "EventStoreDB of LETOPIS_TEST_EVENTSTORE_URL" };
    log.head().await.expect("the engine can be read");
    writeln!(std::io::stderr(), "engine: {engine}").expect("it can be said");
}

mod log {
    use super::*;

    async fn fresh() -> LogUnderTest {
        let (log, double) = open().await;
        LogUnderTest::new(log, double)
    }

    events::event_log_contract!(common, fresh());
}

mod feed {
    use super::*;

    async fn fresh() -> FeedUnderTest {
        let (log, double) = open().await;
        FeedUnderTest::new(log.clone(), Arc::new(LogFeed::new(log)), double)
    }

    events::event_feed_contract!(fresh());
}

/// What this adapter promises beyond the common level, on whatever engine.
#[tokio::test]
async fn a_repeat_is_told_and_other_content_under_its_id_is_taken() {
    let (log, _double) = open().await;
    for expected in [ExpectedRevision::NoStream, ExpectedRevision::Any] {
        let (stream, event) = (fresh_stream(&fresh_tenant()), sample_event("one"));
        let first = log.append(&stream, expected, vec![event.clone()]).await.expect("it is made");
        let again = log.append(&stream, expected, vec![event.clone()]).await.expect("it is recognised");
        assert!(!first.repeated && again.repeated);
        let other = log.append(&stream, expected, vec![event_with_id(event.id, "another")]).await;
        assert_eq!(other, Err(AppendError::IdTaken(event.id)));
    }
}

#[tokio::test]
async fn an_append_over_a_mebibyte_is_refused_as_invalid() {
    let (log, _double) = open().await;
    let events: Vec<_> = sample_events(&"x".repeat(250_000), 5);
    let made = log.append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, events).await;
    assert!(matches!(made, Err(AppendError::Invalid(_))), "{made:?}");
}
