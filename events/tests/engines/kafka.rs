//! Apache Kafka as the feed.
//!
//! **Invariant:** every test has topics of its own.

use std::time::Duration;

use events::feed::kafka::TopicSettings;
use events::testing::kafka::{config, fresh_topics, relayed};

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
