//! Which engines are used, how they are reached, and which roles this process has.
//!
//! **Invariant:** passwords come from files or the environment; what shows the configuration shows none of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes deliveries, serves GraphQL and web chat.
    Http,
    /// Keeps the read models.
    Project,
    /// Normalises, fetches media, sends, wakes: what reacts to events.
    React,
    /// Publishes the log to Kafka.
    Relay,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Http, Self::Project, Self::React, Self::Relay];

    /// Its name, as configuration and flags have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Project => "project",
            Self::React => "react",
            Self::Relay => "relay",
        }
    }
}

/// The log engine.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Where events are kept.
    pub engine: LogEngine,
    /// Of the embedded log: `synced`, or `unsafe` to show that the durability check can fail.
    pub durability: LogDurability,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { engine: LogEngine::Embedded, durability: LogDurability::Synced }
    }
}

/// Where events are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEngine {
    /// A file in the data folder.
    Embedded,
    /// `PostgreSQL`.
    Postgres,
    /// EventStoreDB or KurrentDB.
    Eventstore,
}

/// What an acknowledgement of the log promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogDurability {
    /// The bytes are on the disk.
    Synced,
    /// Nothing: only for the test of the durability check.
    Unsafe,
}

/// How consumers get their events.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedConfig {
    /// From the log itself, or from Kafka.
    pub engine: FeedEngine,
}

/// How consumers get their events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedEngine {
    /// From the log itself.
    #[default]
    Embedded,
    /// From the topics that the relay fills.
    Kafka,
}

/// Where something is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeping {
    /// In the data folder.
    #[default]
    Embedded,
    /// In `PostgreSQL`.
    Postgres,
}

/// The read models.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ViewsConfig {
    /// Where they are kept.
    pub engine: Keeping,
}

/// Large bodies and media.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BlobsConfig {
    /// Where they are kept.
    pub engine: Keeping,
}

/// The key store.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysConfig {
    /// Where the keys are kept, wrapped by the key-encryption key.
    pub engine: Keeping,
    /// File with the key-encryption key: base64 of 32 bytes. `<data_dir>/kek` when absent, made at the first start of an
    /// embedded key store.
    pub kek_file: Option<PathBuf>,
    /// Another `PostgreSQL` for the keys than that of the log, so that no backup holds both; that of `postgres` when absent.
    pub postgres: Option<PostgresConfig>,
}

/// A text that may hold a secret: it is never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True when it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "…" })
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "(hidden)" })
    }
}

/// `PostgreSQL`, where an engine is kept in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostgresConfig {
    /// `postgres://user@host:port/database?sslmode=verify-full`.
    pub url: Hidden,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// PEM file with the roots that the server's certificate must lead to.
    pub ca_file: Option<PathBuf>,
    /// Schema of the tables.
    pub schema: String,
    /// Most connections in the pool of this process; the log and the read models hold a few of their own.
    pub pool_size: usize,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self { url: Hidden::default(), password_file: None, ca_file: None, schema: "letopis".to_owned(), pool_size: 8 }
    }
}

/// EventStoreDB or KurrentDB, where it keeps the log.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventstoreConfig {
    /// `esdb://user:password@host:2113?tls=true`, `esdb+discover://…` for a cluster.
    pub url: Hidden,
    /// File that holds the connection string instead.
    pub url_file: Option<PathBuf>,
}

/// Kafka, where it is the feed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// `host:port,host:port`.
    pub brokers: String,
    /// What the names of topics and consumer groups begin with.
    pub topic_prefix: String,
    /// Partitions of each topic. Never changed once events are in it.
    pub partitions: u32,
    /// Partitions of single topics, by category, where they differ.
    pub partitions_of: BTreeMap<String, u32>,
    /// True when the relay makes topics that are missing.
    pub create_topics: bool,
    /// Copies of each partition of a topic that the relay makes.
    pub replication: u16,
    /// How long such a topic keeps events, in hours.
    pub retention_hours: u32,
    /// Further properties of librdkafka, as `security.protocol`.
    pub properties: BTreeMap<String, String>,
    /// File with further properties, one `key=value` a line: for those that are secrets.
    pub properties_file: Option<PathBuf>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            topic_prefix: "letopis".to_owned(),
            partitions: 6,
            partitions_of: BTreeMap::new(),
            create_topics: true,
            replication: 1,
            retention_hours: 168,
            properties: BTreeMap::new(),
            properties_file: None,
        }
    }
}
