//! What every PostgreSQL adapter shares: configuration, TLS, the pool, migrations, errors and listening.
//!
//! **Invariant:** no password is ever printed or logged. Every connection answers only once its commits are on the disk
//! (`synchronous_commit` is never weaker than `on`), and finds its tables in the one schema that was configured.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio::sync::{mpsc, watch};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

mod errors;
mod listen;
mod migrate;
mod tls;

pub use errors::PostgresError;
pub use listen::{Heard, Listener};
pub use migrate::Migrations;

/// Longest name of a schema: names of channels begin with it, and PostgreSQL cuts names after 63 bytes.
const LONGEST_SCHEMA: usize = 40;

/// How long connecting may take unless the URL says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long what was sent may stay unacknowledged by the server's machine before the connection counts as lost, unless
/// the URL says otherwise. Without it a pulled cable is noticed after a quarter of an hour.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// How long to wait for a connection of the pool.
const POOL_WAIT: Duration = Duration::from_secs(10);

/// Never weaker than a local sync, and left alone where the server asks for more. **Source:** PostgreSQL 15 manual,
/// section 20.5.1, `synchronous_commit`.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')";

/// How to reach a server.
#[derive(Clone)]
pub struct PostgresConfig {
    /// `postgres://user@host:port/database?sslmode=…` or `key=value` pairs. `sslmode` is `disable`, `prefer` (the
    /// default), `require`, `verify-ca` or `verify-full`; whenever TLS is spoken, certificate and name are checked.
    pub url: String,
    /// File with the password, for those who keep it out of the URL; a line break at its end does not count.
    pub password_file: Option<PathBuf>,
    /// PEM file with the roots that the server's certificate must lead to; those of the system when there is none.
    pub ca_file: Option<PathBuf>,
    /// Most connections in the pool. A log holds two more of its own.
    pub pool_size: usize,
    /// The schema of the tables, made when it is not there: small letters, digits and `_`.
    pub schema: String,
}

impl PostgresConfig {
    /// The usual settings for a server: a pool of eight, schema `letopis`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), password_file: None, ca_file: None, pool_size: 8, schema: "letopis".into() }
    }

    /// The settings that the client library takes.
    fn parse(&self) -> Result<Config, PostgresError> {
        check_schema(&self.schema)?;
        let mut config: Config = tls::url_the_client_knows(&self.url)
            .parse()
            .map_err(|error: tokio_postgres::Error| errors::of_configuration("PostgreSQL URL", &error))?;
        if let Some(path) = &self.password_file {
            let text = std::fs::read_to_string(path).map(Zeroizing::new);
            let text = text.map_err(|error| errors::of_configuration("PostgreSQL password file", &error))?;
            config.password(text.trim_end_matches(['\r', '\n']));
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNACKNOWLEDGED).keepalives_idle(UNACKNOWLEDGED);
        }
        if config.get_application_name().is_none() {
            config.application_name("letopis");
        }
        let before = config.get_options().map(|options| format!("{options} ")).unwrap_or_default();
        config.options(format!("{before}-c search_path={}", self.schema));
        Ok(config)
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password; the library prints what it parsed without it.
        let parsed = tls::url_the_client_knows(&self.url).parse::<Config>().ok();
        f.debug_struct("PostgresConfig")
            .field("url", &parsed)
            .field("password_file", &self.password_file)
            .field("ca_file", &self.ca_file)
            .field("pool_size", &self.pool_size)
            .field("schema", &self.schema)
            .finish()
    }
}

/// A server: a pool of connections and how to make more. Clones share the pool.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    pool: Pool,
    config: Config,
    tls: Option<MakeRustlsConnect>,
    schema: String,
}

/// A connection outside the pool, for whoever keeps state in it.
pub struct Dedicated {
    /// What statements are sent with.
    pub client: Client,
    /// Turns to true, or its sender goes, when the connection has ended.
    pub ended: watch::Receiver<bool>,
    /// What comes on the channels listened to: `payload`. Full, it drops: a listener looks for itself anyway.
    pub notifications: mpsc::Receiver<String>,
}

impl Postgres {
    /// Prepares a pool. Nothing is connected yet, so a server that is away is no error here.
    ///
    /// # Errors
    /// [`PostgresError::Refused`] when the configuration cannot be right.
    pub fn new(config: &PostgresConfig) -> Result<Self, PostgresError> {
        let parsed = config.parse()?;
        let tls = tls::connector(&parsed, config.ca_file.as_deref())?;
        let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match &tls {
            Some(tls) => Manager::from_config(parsed.clone(), tls.clone(), manager_config),
            None => Manager::from_config(parsed.clone(), NoTls, manager_config),
        };
        let pool = Pool::builder(manager)
            .max_size(config.pool_size.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(POOL_WAIT))
            .create_timeout(Some(POOL_WAIT))
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move { client.batch_execute(DURABLE).await.map_err(HookError::Backend) })
            }))
            .build()
            .map_err(|error| errors::of_configuration("PostgreSQL pool", &error))?;
        Ok(Self(Arc::new(Inner { pool, config: parsed, tls, schema: config.schema.clone() })))
    }

    /// The schema of the tables.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.0.schema
    }

    /// A connection of the pool; it goes back when it is dropped.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn client(&self) -> Result<Object, PostgresError> {
        Ok(self.0.pool.get().await?)
    }

    /// A connection of its own; it ends when its client is dropped.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn connect(&self) -> Result<Dedicated, PostgresError> {
        // The time-out of the library ends with the connection; a server that then says nothing would be waited for.
        let opened = tokio::time::timeout(POOL_WAIT, self.open()).await;
        opened.unwrap_or_else(|_elapsed| Err(PostgresError::Unavailable("the server does not answer".into())))
    }

    async fn open(&self) -> Result<Dedicated, PostgresError> {
        let dedicated = match &self.0.tls {
            Some(tls) => {
                let (client, connection) = self.0.config.connect(tls.clone()).await?;
                drive(client, connection)
            }
            None => {
                let (client, connection) = self.0.config.connect(NoTls).await?;
                drive(client, connection)
            }
        };
        dedicated.client.batch_execute(DURABLE).await?;
        Ok(dedicated)
    }

    /// Brings the tables of one part up to date; several processes may do so at once.
    ///
    /// # Errors
    /// See [`PostgresError`]; tables that a newer release made are [`PostgresError::Refused`].
    pub async fn migrate(&self, migrations: &Migrations) -> Result<(), PostgresError> {
        let mut connection = self.connect().await?;
        migrations.apply(&mut connection.client, &self.0.schema).await
    }

    /// Listens to a channel. `quiet` is how long nothing may come before the listener should look for itself.
    #[must_use]
    pub fn listen(&self, channel: &str, quiet: Duration) -> Listener {
        Listener::new(self.clone(), channel.to_owned(), quiet)
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("config", &self.0.config).field("schema", &self.0.schema).finish()
    }
}

/// Moves a connection's bytes in a task of its own until it ends.
fn drive<S, T>(client: Client, mut connection: tokio_postgres::Connection<S, T>) -> Dedicated
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (heard, notifications) = mpsc::channel(64);
    let (end, ended) = watch::channel(false);
    tokio::spawn(async move {
        // What ended it is told to whoever has a statement in flight.
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                // A full buffer holds enough to wake its reader.
                drop(heard.try_send(notification.payload().to_owned()));
            }
        }
        end.send_replace(true);
    });
    Dedicated { client, ended, notifications }
}

fn check_schema(schema: &str) -> Result<(), PostgresError> {
    let valid = (1..=LONGEST_SCHEMA).contains(&schema.len())
        && !schema.starts_with(|first: char| first.is_ascii_digit())
        && !schema.starts_with("pg_")
        && schema.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if valid {
        Ok(())
    } else {
        let reason = "PostgreSQL schema: 1 to 40 of a-z, 0-9 and _, not starting with a digit or pg_";
        Err(PostgresError::Refused(reason.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_printed_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hidden-in-file\n").unwrap();
        for url in [
            "postgres://letopis:hidden-in-url@localhost/crm?sslmode=disable",
            "host=localhost user=letopis password=hidden-in-url sslmode=disable",
            "postgres://letopis:hidden-in-url@localhost:notaport/crm",
        ] {
            let mut config = PostgresConfig::new(url);
            config.password_file = Some(file.clone());
            let made = Postgres::new(&config);
            let printed = format!("{config:?} {made:?}");
            assert!(!printed.contains("hidden"), "{printed}");
        }
    }

    #[test]
    fn a_password_comes_from_its_file_without_the_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = PostgresConfig::new("postgres://letopis@localhost/crm");
        config.password_file = Some(folder.path().join("password"));
        assert!(matches!(config.parse(), Err(PostgresError::Refused(_))), "there is no file yet");
        std::fs::write(folder.path().join("password"), "two words \r\n").unwrap();
        assert_eq!(config.parse().unwrap().get_password(), Some(b"two words ".as_slice()));
    }

    #[test]
    fn the_schema_is_searched_beside_options_of_the_url() {
        let config = PostgresConfig::new("host=localhost options='-c work_mem=8MB'");
        assert_eq!(config.parse().unwrap().get_options(), Some("-c work_mem=8MB -c search_path=letopis"));
    }

    #[test]
    fn a_schema_that_would_need_quotes_is_refused() {
        for schema in ["", "Letopis", "a b", "a\"b", "a;b", "1a", "pg_x", "a-b", &"a".repeat(41)] {
            assert!(check_schema(schema).is_err(), "{schema}");
        }
        for schema in ["letopis", "_x", "crm_2", &"a".repeat(40)] {
            assert!(check_schema(schema).is_ok(), "{schema}");
        }
    }
}
