//! Configuration: `letopis.toml`, then environment `LETOPIS_…`, then flags; the later wins.
//!
//! **Invariant:** an unknown key or a bad value is refused at start with the place it came from; no secret has a
//! default. Every key is explained in `letopis.sample.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::roles::Roles;

mod engines;

pub use engines::{
    BlobsConfig, EventstoreConfig, FeedConfig, FeedEngine, Hidden, KafkaConfig, Keeping, KeysConfig, LogConfig,
    LogDurability, LogEngine, PostgresConfig, Role, ViewsConfig,
};

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the log, the read models, the key store and the blobs, as far as they are embedded.
    pub data_dir: PathBuf,
    /// What this process does; everything when empty.
    pub roles: Vec<Role>,
    /// The HTTP server.
    pub http: HttpConfig,
    /// Who may use GraphQL.
    pub auth: AuthConfig,
    /// The key store.
    pub keys: KeysConfig,
    /// Webhook intake.
    pub webhooks: WebhooksConfig,
    /// Web chat.
    pub webchat: WebchatConfig,
    /// GraphQL limits.
    pub graphql: GraphqlConfig,
    /// Telegram.
    pub telegram: TelegramConfig,
    /// Sending to customers.
    pub outbound: OutboundConfig,
    /// The desk.
    pub desk: DeskConfig,
    /// What counts as ready.
    pub health: HealthConfig,
    /// Logging.
    pub logs: LogsConfig,
    /// The log engine.
    pub log: LogConfig,
    /// How consumers get their events.
    pub feed: FeedConfig,
    /// The read models.
    pub views: ViewsConfig,
    /// Large bodies and media.
    pub blobs: BlobsConfig,
    /// `PostgreSQL`, where an engine is kept in it.
    pub postgres: PostgresConfig,
    /// EventStoreDB or KurrentDB, where it keeps the log.
    pub eventstore: EventstoreConfig,
    /// Kafka, where it is the feed.
    pub kafka: KafkaConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            roles: Vec::new(),
            http: HttpConfig::default(),
            auth: AuthConfig::default(),
            keys: KeysConfig::default(),
            webhooks: WebhooksConfig::default(),
            webchat: WebchatConfig::default(),
            graphql: GraphqlConfig::default(),
            telegram: TelegramConfig::default(),
            outbound: OutboundConfig::default(),
            desk: DeskConfig::default(),
            health: HealthConfig::default(),
            logs: LogsConfig::default(),
            log: LogConfig::default(),
            feed: FeedConfig::default(),
            views: ViewsConfig::default(),
            blobs: BlobsConfig::default(),
            postgres: PostgresConfig::default(),
            eventstore: EventstoreConfig::default(),
            kafka: KafkaConfig::default(),
        }
    }
}

/// The HTTP server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The address under which providers and browsers reach us, as `https://host`; needed for `registerWebhook`.
    pub public_url: Option<String>,
    /// Worker threads; the number of cores when 0.
    pub workers: usize,
    /// Origins of front ends that may call GraphQL from a browser, as `https://host[:port]`.
    pub allowed_origins: Vec<String>,
    /// How long requests that are under way may take to finish at shutdown, in seconds.
    pub shutdown_timeout_s: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            workers: 0,
            allowed_origins: Vec::new(),
            shutdown_timeout_s: 30,
        }
    }
}

/// Who may use GraphQL.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// File of tokens; without it the server binds to loopback only.
    pub tokens_file: Option<PathBuf>,
}

/// Webhook intake.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhooksConfig {
    /// Largest body of a messenger's delivery, in bytes.
    pub max_body_bytes: usize,
    /// Largest mail, in bytes.
    pub max_mail_bytes: usize,
    /// Deliveries per second and account before 429: above what any provider sends.
    pub deliveries_per_second: u32,
    /// Deliveries with a bad signature per minute and sender before 429.
    pub bad_signatures_per_minute: u32,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 1024 * 1024,
            max_mail_bytes: 50 * 1024 * 1024,
            deliveries_per_second: 50_000,
            bad_signatures_per_minute: 60,
        }
    }
}

/// Web chat.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebchatConfig {
    /// Visitors' sockets that an account may have at once.
    pub max_sockets_per_account: usize,
}

impl Default for WebchatConfig {
    fn default() -> Self {
        Self { max_sockets_per_account: 10_000 }
    }
}

/// GraphQL limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GraphqlConfig {
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Longest time for one request, in seconds.
    pub timeout_s: u64,
    /// Serve the `GraphiQL` page.
    pub graphiql: bool,
}

impl Default for GraphqlConfig {
    fn default() -> Self {
        Self { max_body_bytes: 1024 * 1024, timeout_s: 30, graphiql: true }
    }
}

/// Telegram.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelegramConfig {
    /// Base URL of the Bot API, for accounts that do not set their own.
    pub api_base: String,
}

impl Default for TelegramConfig {
    fn default() -> Self {
        Self { api_base: "https://api.telegram.org".to_owned() }
    }
}

/// Sending to customers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutboundConfig {
    /// Attempts before a message becomes a dead letter.
    pub max_attempts: u32,
    /// Wait before the second attempt, in milliseconds; doubled each time.
    pub first_retry_ms: u64,
    /// Longest wait between attempts, in seconds.
    pub max_retry_s: u64,
    /// Longest time for one call of a provider, in seconds.
    pub timeout_s: u64,
    /// Messages on the wire at once, over all conversations.
    pub concurrency: usize,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self { max_attempts: 8, first_retry_ms: 1_000, max_retry_s: 600, timeout_s: 30, concurrency: 32 }
    }
}

impl OutboundConfig {
    /// How long to wait after the `attempt`-th attempt, from 1, failed.
    #[must_use]
    pub fn back_off(&self, attempt: u32) -> Duration {
        let doubled = self.first_retry_ms.saturating_mul(1 << attempt.saturating_sub(1).min(20));
        Duration::from_millis(doubled).min(Duration::from_secs(self.max_retry_s))
    }
}

/// The desk: operators and what is shared out among them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeskConfig {
    /// How long an operator counts as there without a sign of life, in seconds.
    pub presence_timeout_s: u64,
}

impl Default for DeskConfig {
    fn default() -> Self {
        Self { presence_timeout_s: 90 }
    }
}

impl DeskConfig {
    /// How long an operator counts as there without a sign of life.
    #[must_use]
    pub const fn presence_timeout(&self) -> Duration {
        Duration::from_secs(self.presence_timeout_s)
    }
}

/// What counts as ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Largest projection lag of a ready server, in seconds.
    pub max_lag_s: u64,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { max_lag_s: 30 }
    }
}

/// Logging.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogsConfig {
    /// Filter in the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// `json` or `text`.
    pub format: LogFormat,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Config {
    /// Reads `file` (if it exists, or must exist when `explicit`), then the environment.
    ///
    /// # Errors
    /// A message that names the key and where its value came from.
    pub fn load(file: &Path, explicit: bool) -> anyhow::Result<Self> {
        if explicit && !file.exists() {
            anyhow::bail!("configuration file {} does not exist", file.display());
        }
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if file.exists() {
            figment = figment.merge(Toml::file_exact(file));
        }
        let figment = figment.merge(Env::prefixed("LETOPIS_").ignore(&["config", "kek"]).split("__"));
        let config: Self = figment.extract().map_err(|errors| {
            let lines: Vec<String> = errors.into_iter().map(|error| describe(&error)).collect();
            anyhow::anyhow!("bad configuration:\n  {}", lines.join("\n  "))
        })?;
        let faults = config.faults();
        if faults.is_empty() {
            return Ok(config);
        }
        let place = |key: &str| {
            let source = figment.find_metadata(key).map(|metadata| {
                let file = metadata.source.as_ref().map(|source| format!(" {source}")).unwrap_or_default();
                format!(" (from {}{file})", metadata.name)
            });
            source.unwrap_or_default()
        };
        let lines: Vec<String> =
            faults.into_iter().map(|(key, fault)| format!("{key}: {fault}{}", place(key))).collect();
        anyhow::bail!("bad configuration:\n  {}", lines.join("\n  "))
    }

    /// Values that are of the right type and cannot be used all the same, with their keys.
    fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        let mut check = |key, good: bool, fault| {
            if !good {
                faults.push((key, fault));
            }
        };
        let is_http = |text: &str| {
            url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
        };
        let not_http = "must be an address as https://host";
        check("telegram.api_base", is_http(&self.telegram.api_base), not_http);
        check("http.public_url", self.http.public_url.as_deref().is_none_or(is_http), not_http);
        let origins = self.http.allowed_origins.iter();
        check("http.allowed_origins", origins.clone().all(|origin| is_http(origin)), not_http);
        let filter = tracing_subscriber::EnvFilter::try_new(&self.logs.filter);
        check("logs.filter", filter.is_ok(), "is no filter of log lines");
        let positive = "must be more than 0";
        check("webhooks.max_body_bytes", self.webhooks.max_body_bytes > 0, positive);
        check("webhooks.max_mail_bytes", self.webhooks.max_mail_bytes > 0, positive);
        check("webhooks.deliveries_per_second", self.webhooks.deliveries_per_second > 0, positive);
        check("webhooks.bad_signatures_per_minute", self.webhooks.bad_signatures_per_minute > 0, positive);
        check("graphql.max_body_bytes", self.graphql.max_body_bytes > 0, positive);
        check("graphql.timeout_s", self.graphql.timeout_s > 0, positive);
        check("outbound.max_attempts", self.outbound.max_attempts > 0, positive);
        check("outbound.timeout_s", self.outbound.timeout_s > 0, positive);
        check("outbound.concurrency", self.outbound.concurrency > 0, positive);
        check("desk.presence_timeout_s", self.desk.presence_timeout_s > 0, positive);
        check("health.max_lag_s", self.health.max_lag_s > 0, positive);
        let tokens = self.auth.tokens_file.as_ref();
        check("auth.tokens_file", tokens.is_none_or(|file| file.is_file()), "is not a file");
        let lonely = tokens.is_none() && !self.http.listen.ip().is_loopback();
        check("http.listen", !lonely, "must be a loopback address while auth.tokens_file is not set");
        let kek = self.keys.kek_file.as_ref();
        let made = self.data_file("keys.db").exists();
        check("keys.kek_file", kek.is_none_or(|file| !made || file.is_file()), "is not a file");
        let kept_in_postgres = [self.views.engine, self.blobs.engine, self.keys.engine].contains(&Keeping::Postgres)
            || self.log.engine == LogEngine::Postgres;
        let no_url = "must be set where an engine is in PostgreSQL";
        check("postgres.url", !kept_in_postgres || !self.postgres.url.is_empty(), no_url);
        let no_url = "must be set, or eventstore.url_file, where log.engine is eventstore";
        let url = !self.eventstore.url.is_empty() || self.eventstore.url_file.is_some();
        check("eventstore.url", self.log.engine != LogEngine::Eventstore || url, no_url);
        for (key, file) in [
            ("postgres.password_file", &self.postgres.password_file),
            ("postgres.ca_file", &self.postgres.ca_file),
            ("eventstore.url_file", &self.eventstore.url_file),
            ("kafka.properties_file", &self.kafka.properties_file),
        ] {
            check(key, file.as_ref().is_none_or(|file| file.is_file()), "is not a file");
        }
        if let Err(fault) = crate::roles::can_be_split(self) {
            faults.push(("roles", fault));
        }
        faults
    }

    /// What this process does.
    #[must_use]
    pub fn roles(&self) -> Roles {
        Roles::of(&self.roles)
    }

    /// Where a file of the data folder is.
    #[must_use]
    pub fn data_file(&self, name: &str) -> PathBuf {
        self.data_dir.join(name)
    }
}

fn describe(error: &figment::Error) -> String {
    let key = error.path.join(".");
    let place = error.metadata.as_ref().map_or_else(
        || "built-in defaults".to_owned(),
        |metadata| {
            let source = metadata.source.as_ref().map(|source| format!(" {source}")).unwrap_or_default();
            format!("{}{source}", metadata.name)
        },
    );
    format!("{key}: {} (from {place})", error.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("letopis.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(&file, true)
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        assert_eq!(load("").unwrap().http.listen.port(), 8080);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let error = load("[http]\nlisten_on = \"127.0.0.1:1\"").unwrap_err().to_string();
        assert!(error.contains("listen_on") && error.contains("letopis.toml"), "{error}");
    }

    #[test]
    fn a_bad_value_is_refused_with_its_key() {
        let error = load("[http]\nlisten = \"nowhere\"").unwrap_err().to_string();
        assert!(error.contains("http.listen"), "{error}");
    }

    #[test]
    fn values_that_cannot_be_used_are_refused_with_their_place() {
        for (section, key, value) in [
            ("telegram", "api_base", "\"not an address\""),
            ("http", "public_url", "\"ftp:x\""),
            ("http", "listen", "\"0.0.0.0:8080\""),
            ("auth", "tokens_file", "\"/no/such/file\""),
            ("logs", "filter", "\"==\""),
            ("webhooks", "max_body_bytes", "0"),
            ("outbound", "timeout_s", "0"),
        ] {
            let error = load(&format!("[{section}]\n{key} = {value}")).unwrap_err().to_string();
            assert!(error.contains(&format!("{section}.{key}")) && error.contains("letopis.toml"), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_an_error_only_when_it_was_asked_for() {
        let nowhere = Path::new("no/such/letopis.toml");
        assert!(Config::load(nowhere, false).is_ok());
        assert!(Config::load(nowhere, true).is_err());
    }

    #[test]
    fn back_off_doubles_up_to_its_limit() {
        let config = OutboundConfig { first_retry_ms: 1_000, max_retry_s: 10, ..OutboundConfig::default() };
        let waits: Vec<u64> = (1..=6).map(|attempt| config.back_off(attempt).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn the_sample_file_names_every_key_and_holds_the_defaults() {
        let sample = include_str!("../letopis.sample.toml");
        let uncommented: String =
            sample.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
        let loaded = load(&uncommented).unwrap();
        for key in keys(&serde_json::to_value(Config::default()).unwrap()) {
            assert!(sample.contains(&format!("{key} =")), "{key} is not in letopis.sample.toml");
        }
        let defaults = serde_json::to_value(Config::default()).unwrap();
        assert_eq!(strip_nulls(serde_json::to_value(loaded).unwrap()), strip_nulls(defaults));
    }

    fn keys(value: &serde_json::Value) -> Vec<String> {
        value
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(key, value)| if value.is_object() { keys(value) } else { vec![key.clone()] })
            .collect()
    }

    fn strip_nulls(mut value: serde_json::Value) -> serde_json::Value {
        if let Some(object) = value.as_object_mut() {
            object.retain(|_, value| !value.is_null());
            for value in object.values_mut() {
                *value = strip_nulls(value.take());
            }
        }
        value
    }
}
