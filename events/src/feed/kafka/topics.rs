//! The topics of letopis: making them, and checking that they are what the configuration says.
//!
//! **Invariant:** a topic with another number of partitions than configured is never read or written: streams would be
//! looked for in the wrong one.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::envelope::Category;
use crate::feed::Topics;

/// How long brokers may take to answer about topics.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Why topics cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Try again.
    #[error("kafka unavailable: {0}")]
    Unavailable(String),
    /// There is no such topic yet: the relay makes it, or whoever may.
    #[error("topic {0} does not exist yet")]
    Missing(String),
    /// The configuration and the topic differ: correct the configuration, or move to topics with another prefix.
    #[error("topic {topic} has {found} partitions, configured are {configured}")]
    Partitions {
        /// Which.
        topic: String,
        /// As Kafka says.
        found: u32,
        /// As the configuration says.
        configured: u32,
    },
}

/// How topics are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSettings {
    /// Copies of each partition.
    pub replication: i32,
    /// How long Kafka keeps events. Consumers that were away for longer are rebuilt from the log.
    pub retention: Duration,
}

/// The largest record in bytes that topics take, headers included.
///
/// **Source:** the default of Kafka's `message.max.bytes`: bodies over 256 KiB are not in events.
const LARGEST_RECORD: &str = "1048588";

/// Checks that the topics of these categories have the configured partitions.
pub(crate) fn check<C: ClientContext>(
    client: &Client<C>,
    topics: &Topics,
    categories: &[Category],
) -> Result<(), TopicError> {
    for category in categories {
        check_one(client, topics.topic(*category), topics.partitions(*category))?;
    }
    Ok(())
}

fn check_one<C: ClientContext>(client: &Client<C>, topic: String, configured: u32) -> Result<(), TopicError> {
    let unavailable = |error: KafkaError| TopicError::Unavailable(error.to_string());
    let metadata = client.fetch_metadata(Some(&topic), PATIENCE).map_err(unavailable)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Err(TopicError::Missing(topic));
    };
    if let Some(error) = found.error() {
        let code = RDKafkaErrorCode::from(error);
        return Err(match code {
            RDKafkaErrorCode::UnknownTopicOrPartition => TopicError::Missing(topic),
            code => TopicError::Unavailable(format!("topic {topic}: {code}")),
        });
    }
    let found = u32::try_from(found.partitions().len()).unwrap_or(u32::MAX);
    match found {
        0 => Err(TopicError::Missing(topic)),
        found if found != configured => Err(TopicError::Partitions { topic, found, configured }),
        _ => Ok(()),
    }
}

/// Makes the topics that are not there, `<prefix>.parked` included, which is kept for ever.
///
/// # Errors
/// See [`TopicError`].
pub(crate) async fn make(client: &ClientConfig, topics: &Topics, settings: &TopicSettings) -> Result<(), TopicError> {
    let unavailable = |error: KafkaError| TopicError::Unavailable(error.to_string());
    let admin: AdminClient<_> = client.create().map_err(unavailable)?;
    let retention = settings.retention.as_millis().to_string();
    let in_sync = if settings.replication >= 3 { "2" } else { "1" };
    let new = |name: &'_ str, partitions: u32| (name.to_owned(), i32::try_from(partitions).unwrap_or(i32::MAX));
    let mut wanted: Vec<(String, i32)> =
        Category::ALL.into_iter().map(|category| new(&topics.topic(category), topics.partitions(category))).collect();
    wanted.push(new(&topics.parked(), 1));
    let parked = topics.parked();
    let list: Vec<NewTopic<'_>> = wanted
        .iter()
        .map(|(name, partitions)| {
            let retention = if *name == parked { "-1" } else { retention.as_str() };
            NewTopic::new(name, *partitions, TopicReplication::Fixed(settings.replication))
                // Compaction would keep one event per stream.
                .set("cleanup.policy", "delete")
                .set("retention.ms", retention)
                .set("max.message.bytes", LARGEST_RECORD)
                .set("min.insync.replicas", in_sync)
        })
        .collect();
    let made = admin.create_topics(&list, &AdminOptions::new().request_timeout(Some(PATIENCE))).await;
    for answer in made.map_err(unavailable)? {
        match answer {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(TopicError::Unavailable(format!("topic {topic}: {code}"))),
        }
    }
    Ok(())
}
