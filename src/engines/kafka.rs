//! How Kafka is reached.
//!
//! **Invariant:** properties from a file win over those of the configuration, and are shown nowhere.

use std::time::Duration;

use anyhow::Context;
use events::feed::Topics;
use events::feed::kafka::{KafkaConfig, TopicSettings};

use crate::config::Config;

/// The topics.
///
/// # Errors
/// The prefix or the number of partitions cannot be.
pub fn topics(config: &Config) -> anyhow::Result<Topics> {
    let kafka = &config.kafka;
    for category in kafka.partitions_of.keys() {
        let known = category.parse::<events::envelope::Category>();
        known.with_context(|| format!("kafka.partitions_of: {category:?} is no category"))?;
    }
    let partitions = |category: events::envelope::Category| {
        kafka.partitions_of.get(category.as_str()).copied().unwrap_or(kafka.partitions)
    };
    Topics::new(&kafka.topic_prefix, partitions).context("kafka")
}

/// Brokers, topics and properties.
///
/// # Errors
/// What librdkafka does not take, or a file that cannot be read.
pub fn config(config: &Config) -> anyhow::Result<KafkaConfig> {
    let kafka = &config.kafka;
    let mut properties = kafka.properties.clone();
    if let Some(file) = &kafka.properties_file {
        let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (key, value) = line
                .split_once('=')
                .with_context(|| format!("{}: line {} is not key=value", file.display(), number + 1))?;
            properties.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    KafkaConfig::new(&kafka.brokers, topics(config)?, properties).context("kafka")
}

/// How topics that are missing are made; `None` where others make them.
#[must_use]
pub fn settings(config: &Config) -> Option<TopicSettings> {
    let kafka = &config.kafka;
    kafka.create_topics.then(|| TopicSettings {
        replication: i32::from(kafka.replication),
        retention: Duration::from_secs(u64::from(kafka.retention_hours) * 3600),
    })
}
