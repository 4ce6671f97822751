//! PostgreSQL: each test has a schema of its own in the server's database.
//!
//! **Invariant:** a schema is dropped with its test; nothing of another test is seen or waited for.

use std::sync::Arc;

use events::postgres::{Dedicated, Postgres, PostgresConfig};
use events::testing::fresh_uuid;
use projections::store::postgres::PostgresStore;
use projections::testing::store_contract::StoreUnderTest;

mod outages;
mod rebuild;
mod same;
mod speed;
mod tables;

/// A schema that no other test has, dropped at the end.
pub(crate) struct Schema {
    pub(crate) config: PostgresConfig,
}

impl Schema {
    pub(crate) fn fresh() -> Self {
        let mut config = PostgresConfig::new(crate::server("LETOPIS_TEST_POSTGRES_URL"));
        config.schema = format!("p{}", &fresh_uuid().simple().to_string()[..24]);
        config.pool_size = 4;
        // Connections of this test are told from those of others by their name.
        let separator = if config.url.contains('?') { '&' } else { '?' };
        config.url = format!("{}{separator}application_name={}", config.url, config.schema);
        Self { config }
    }

    /// The read models as a process opens them.
    pub(crate) async fn store(&self) -> Arc<PostgresStore> {
        Arc::new(PostgresStore::open(&self.config).await.expect("the read models open"))
    }

    /// A connection that is nobody's.
    pub(crate) async fn stranger(&self) -> Dedicated {
        let connected = Postgres::new(&self.config).expect("a configuration").connect().await;
        connected.expect("the server takes connections")
    }

    /// Runs statements as a stranger.
    pub(crate) async fn run(&self, sql: &str) {
        self.stranger().await.client.batch_execute(sql).await.expect("statements of a stranger");
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (postgres, schema) = (Postgres::new(&self.config), self.config.schema.clone());
        let drop_it = async move {
            let Ok(connection) = postgres.expect("a configuration").connect().await else { return };
            let statement = format!(
                "SET lock_timeout = '20s'; DROP SCHEMA IF EXISTS {schema} CASCADE; \
                 DROP SCHEMA IF EXISTS {schema}_rebuild CASCADE"
            );
            if let Err(error) = connection.client.batch_execute(&statement).await {
                eprintln!("schema {schema} stays: {error}");
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

async fn under_test() -> StoreUnderTest {
    let schema = Schema::fresh();
    let (store, another) = (schema.store().await, schema.store().await);
    StoreUnderTest { store, another: Some(another), keep: Box::new(schema) }
}

mod contract {
    projections::read_store_contract!(shared, super::under_test());
}
