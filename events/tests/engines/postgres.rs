//! PostgreSQL: each test has a schema of its own in the server's database.
//!
//! **Invariant:** a schema is dropped with its test; nothing of another test is seen or waited for.

use std::time::Duration;

use events::postgres::{Dedicated, Postgres, PostgresConfig};
use events::testing::fresh_uuid;

mod archive;
mod blobs;
mod checkpoints;
mod drafts;
mod heartbeats;
mod keys;
mod leases;
mod log;

/// A schema that no other test has, dropped at the end.
pub(crate) struct Schema {
    pub(crate) config: PostgresConfig,
    pub(crate) postgres: Postgres,
}

impl Schema {
    pub(crate) fn fresh() -> Self {
        let mut config = PostgresConfig::new(crate::server("LETOPIS_TEST_POSTGRES_URL"));
        config.schema = format!("t{}", fresh_uuid().simple());
        config.pool_size = 4;
        let postgres = Postgres::new(&config).expect("the address of the server is well formed");
        Self { config, postgres }
    }

    /// The server as another process would open it.
    pub(crate) fn another(&self) -> Postgres {
        Postgres::new(&self.config).expect("the address of the server is well formed")
    }

    /// A connection that is nobody's.
    pub(crate) async fn stranger(&self) -> Dedicated {
        self.postgres.connect().await.expect("the server takes connections")
    }

    /// Ends every connection that works in this schema's name, as a fail-over would, once there is one.
    pub(crate) async fn cut_connections(&self, stranger: &Dedicated) {
        let cut = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                   WHERE application_name = $1 AND pid <> pg_backend_pid()";
        until("a connection is cut", async || {
            !stranger.client.query(cut, &[&self.config.schema]).await.expect("connections can be ended").is_empty()
        })
        .await;
    }

    /// The same schema, its connections told apart by name from those of other tests.
    pub(crate) fn named(&self) -> Postgres {
        let mut config = self.config.clone();
        let separator = if config.url.contains('?') { '&' } else { '?' };
        config.url = format!("{}{separator}application_name={}", config.url, config.schema);
        Postgres::new(&config).expect("the address of the server is well formed")
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let postgres = self.another();
        let drop_it = async move {
            let Ok(connection) = postgres.connect().await else { return };
            // The test's runtime stands still: what it left open in the schema would never end.
            let statement = format!(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks JOIN pg_class ON pg_class.oid = relation
                 WHERE relnamespace = '{0}'::regnamespace AND pid <> pg_backend_pid();
                 SET lock_timeout = '20s'; DROP SCHEMA {0} CASCADE",
                postgres.schema()
            );
            if let Err(error) = connection.client.batch_execute(&statement).await {
                let reason = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
                if !reason.contains("does not exist") {
                    eprintln!("schema {} stays: {reason}", postgres.schema());
                }
            }
        };
        // A test that fails is unwinding in its runtime, where nothing can be waited for.
        let dropping = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime for one statement").block_on(drop_it);
        });
        drop(dropping.join());
    }
}

/// Asks until the answer is yes, or far too long.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), asking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Migrations, errors and listening, which all adapters share.
mod shared {
    use events::postgres::{Heard, Migrations, PostgresError};

    use super::Schema;

    const FIRST: Migrations = Migrations { part: "test", steps: &[("V1__one", "CREATE TABLE one (x int)")] };
    const SECOND: Migrations = Migrations {
        part: "test",
        steps: &[("V1__one", "CREATE TABLE one (x int)"), ("V2__two", "CREATE TABLE two (x int)")],
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn processes_that_start_at_once_migrate_once() {
        let schema = Schema::fresh();
        let starts = (0..8).map(|_| {
            let postgres = schema.another();
            tokio::spawn(async move { postgres.migrate(&SECOND).await })
        });
        for started in futures::future::join_all(starts).await {
            assert_eq!(started.unwrap(), Ok(()));
        }
        let applied = "SELECT count(*) FROM test_migrations";
        let count: i64 = schema.stranger().await.client.query_one(applied, &[]).await.unwrap().get(0);
        assert_eq!(count, 2);
    }

    #[tokio::test]
    async fn an_old_release_refuses_the_tables_of_a_newer_one() {
        let schema = Schema::fresh();
        schema.postgres.migrate(&FIRST).await.unwrap();
        schema.postgres.migrate(&SECOND).await.unwrap();
        let refused = schema.postgres.migrate(&FIRST).await;
        assert!(matches!(&refused, Err(PostgresError::Refused(reason)) if reason.contains("newer")), "{refused:?}");
    }

    #[tokio::test]
    async fn a_missing_database_is_refused_not_unavailable() {
        let mut config = Schema::fresh().config.clone();
        config.url = config.url.replace("/postgres?", "/no_such_database?");
        if config.url.ends_with("/postgres") {
            config.url =
                config.url.replace("/postgres", "/no_such_database").replacen("no_such_database:", "postgres:", 1);
        }
        let connected = events::postgres::Postgres::new(&config).unwrap().connect().await.map(drop);
        assert!(matches!(connected, Err(PostgresError::Refused(_))), "{connected:?}");
    }

    #[tokio::test]
    async fn every_connection_syncs_its_commits_whatever_the_role_is_set_to() {
        let schema = Schema::fresh();
        let mut config = schema.config.clone();
        let separator = if config.url.contains('?') { '&' } else { '?' };
        config.url = format!("{}{separator}options=-c%20synchronous_commit%3Doff", config.url);
        let postgres = events::postgres::Postgres::new(&config).unwrap();
        let shown = "SHOW synchronous_commit";
        let pooled: String = postgres.client().await.unwrap().query_one(shown, &[]).await.unwrap().get(0);
        let own: String = postgres.connect().await.unwrap().client.query_one(shown, &[]).await.unwrap().get(0);
        assert_eq!((pooled.as_str(), own.as_str()), ("on", "on"));
    }

    #[tokio::test]
    async fn a_listener_says_that_it_was_cut_off_and_hears_again() {
        let schema = Schema::fresh();
        let quiet = std::time::Duration::from_secs(3600);
        let mut listener = schema.named().listen("letopis_test_listener", quiet);
        assert_eq!(listener.next().await, Heard::Connected);
        let stranger = schema.stranger().await;
        let notify = "NOTIFY letopis_test_listener, 'hello'";
        stranger.client.batch_execute(notify).await.unwrap();
        assert_eq!(listener.next().await, Heard::Payload("hello".into()));
        schema.cut_connections(&stranger).await;
        assert!(matches!(listener.next().await, Heard::Lost(PostgresError::Unavailable(_))));
        assert_eq!(listener.next().await, Heard::Connected);
        stranger.client.batch_execute(notify).await.unwrap();
        assert_eq!(listener.next().await, Heard::Payload("hello".into()));
    }
}
