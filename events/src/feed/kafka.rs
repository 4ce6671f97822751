//! Kafka as the feed: the topics that the relay fills, followed by consumer groups.
//!
//! **Invariant:** where a consumer begins is what it stored with its effects, never what the group committed: nothing is
//! committed to Kafka. Of a part that another process has now, nothing more comes out here but what was in hand.
//!
//! Partitions are shared by the cooperative protocol: a process that joins or leaves moves only those that it takes or
//! gives. Within a partition the relay's order is the log's; after a relay was replaced some events come again, which
//! their revisions tell.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use tokio::sync::watch;

use super::{EventFeed, Fed, FeedError, Follower, Layout, Topics};
use crate::log::Filter;

mod coverage;
mod follow;
pub(crate) mod place;
pub(crate) mod record;
pub(crate) mod topics;
pub(crate) mod trouble;

pub(crate) use follow::log;
pub use record::WATERMARK_TYPE;
pub use topics::{TopicError, TopicSettings};

/// What letopis decides itself; other settings of librdkafka pass through.
const RESERVED: [&str; 15] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "group.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "partition.assignment.strategy",
    "group.protocol",
    "enable.idempotence",
    "enable.gapless.guarantee",
    "acks",
    "request.required.acks",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "transactional.id",
];

/// How Kafka is reached and which topics are letopis's.
#[derive(Clone)]
pub struct KafkaConfig {
    brokers: String,
    topics: Topics,
    properties: BTreeMap<String, String>,
}

/// Settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaConfigError {
    /// letopis sets it itself.
    #[error("kafka property {0} is letopis's own: leave it out")]
    Reserved(String),
    /// librdkafka does not take it.
    #[error("kafka properties: {0}")]
    Refused(String),
}

impl KafkaConfig {
    /// Brokers as `host:port,host:port`, topics, and further properties of librdkafka, such as `security.protocol`,
    /// `ssl.ca.location`, `sasl.mechanism`, `sasl.username` and `sasl.password`. TLS and SCRAM need the feature `kafka-tls`.
    ///
    /// # Errors
    /// See [`KafkaConfigError`].
    pub fn new(brokers: &str, topics: Topics, properties: BTreeMap<String, String>) -> Result<Self, KafkaConfigError> {
        if let Some(own) = properties.keys().find(|key| RESERVED.contains(&key.as_str())) {
            return Err(KafkaConfigError::Reserved(own.clone()));
        }
        let config = Self { brokers: brokers.to_owned(), topics, properties };
        config.client().create_native_config().map_err(|error| KafkaConfigError::Refused(refusal(&error)))?;
        Ok(config)
    }

    /// The topics.
    #[must_use]
    pub const fn topics(&self) -> &Topics {
        &self.topics
    }

    /// What every client of letopis is configured with.
    pub(crate) fn client(&self) -> ClientConfig {
        self.client_with(&[])
    }

    /// The same with values of properties for this client, where none are configured.
    pub(crate) fn client_with(&self, usual: &[(&str, &str)]) -> ClientConfig {
        let mut client = ClientConfig::new();
        for (key, value) in usual {
            client.set(*key, *value);
        }
        client.set("bootstrap.servers", &self.brokers).set("client.id", "letopis");
        // Topics are made with their partitions, by whoever may, never by looking at them.
        client.set("allow.auto.create.topics", "false");
        for (key, value) in &self.properties {
            client.set(key, value);
        }
        client
    }
}

/// Names the property, not the value: it may be a secret, also where the name has a slip.
fn refusal(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, key, _) => format!("there is no {key}"),
        // As for `security.protocol = ssl` without the feature.
        KafkaError::ClientConfig(_, _, key, _) => format!("{key} cannot have the value given, or not in this build"),
        error => error.to_string(),
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values of properties may be secrets.
        let properties: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("topics", &self.topics)
            .field("properties", &properties)
            .finish()
    }
}

/// Kafka as the feed.
pub struct KafkaFeed {
    config: Arc<KafkaConfig>,
    layout: Layout,
    /// How many threads are members of a group.
    members: Arc<watch::Sender<usize>>,
}

/// How long a group may take to let a member go.
const LEAVING: Duration = Duration::from_secs(5);

impl KafkaFeed {
    /// A feed of the topics of `config`.
    #[must_use]
    pub fn new(config: KafkaConfig) -> Self {
        let layout = Layout::of_topics(config.topics.clone());
        Self { config: Arc::new(config), layout, members: Arc::default() }
    }
}

#[async_trait]
impl EventFeed for KafkaFeed {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    async fn follow(
        &self,
        consumer: &str,
        follower: Arc<dyn Follower>,
        filter: Filter,
    ) -> Result<BoxStream<'static, Result<Fed, FeedError>>, FeedError> {
        follow::follow(Arc::clone(&self.config), consumer, follower, &filter, Arc::clone(&self.members)).await
    }

    async fn close(&self) {
        let mut members = self.members.subscribe();
        if tokio::time::timeout(LEAVING, members.wait_for(|members| *members == 0)).await.is_err() {
            tracing::warn!("a consumer group was not left in time: its partitions are taken over later");
        }
    }
}

#[cfg(test)]
mod tests;
