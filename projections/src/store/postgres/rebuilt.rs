//! Read models made anew in a schema beside the live one, and put in its place.
//!
//! **Invariant:** until they are put in place no process of the live schema sees them. That is one transaction, which
//! waits for every read and commit under way and keeps others waiting; it does nothing while the live ones are ahead.

use std::time::Duration;

use events::envelope::Position;
use events::postgres::{Postgres, PostgresConfig};
use tokio_postgres::{Client, Transaction};

use super::tables::{self, GATE, Indexes};
use super::write::Sync;
use super::{Inner, LONGEST_SCHEMA, channel, read};
use crate::projector::CONSUMER;
use crate::registry;
use crate::store::{Commit, State, StoreError};

/// What is added to the name of the live schema.
const BESIDE: &str = "_rebuild";

/// How long reads and commits under way are waited for, while others wait behind.
const PATIENCE: &str = "SET LOCAL lock_timeout = '5s'";

/// How often that is tried, and the pause between: a rebuild of hours is not given up for a long read.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_secs(1);

/// Read models on their way.
pub(crate) struct RebuiltSchema {
    live: Postgres,
    fresh: Inner,
    /// Holds the lock that lets one rebuild run at a time.
    only: Client,
}

impl RebuiltSchema {
    /// Starts beside the schema that the configuration names, with nothing.
    pub(crate) async fn start(config: &PostgresConfig) -> Result<Self, StoreError> {
        if config.schema.len() > LONGEST_SCHEMA {
            return Err(StoreError::Invalid("a schema whose name is too long to have another beside it"));
        }
        let live = Postgres::new(config)?;
        let only = live.connect().await?.client;
        let beside = format!("{}{BESIDE}", config.schema);
        let sql = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
        let name = format!("rebuild of {}", tables::lock_name(&config.schema));
        if !only.query_one(sql, &[&name]).await?.try_get::<_, bool>(0)? {
            return Err(StoreError::Unavailable("another rebuild is under way".to_owned()));
        }
        only.batch_execute(&format!("DROP SCHEMA IF EXISTS {beside} CASCADE")).await?;
        let fresh = Inner::open(&PostgresConfig { schema: beside, ..config.clone() }, Indexes::Later).await?;
        Ok(Self { live, fresh, only })
    }

    /// Writes a slice.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.fresh.commit(commit, Sync::Later, None).await
    }

    /// Counts and hashes the tables.
    pub(crate) async fn state(&self) -> Result<State, StoreError> {
        read::state(&self.fresh.postgres, CONSUMER, &registry::tables().collect::<Vec<_>>()).await
    }

    /// Makes the indexes.
    pub(crate) async fn finish(&self) -> Result<(), StoreError> {
        tables::index(&self.fresh.postgres.connect().await?.client).await
    }

    /// Removes it.
    pub(crate) async fn remove(&self) -> Result<(), StoreError> {
        Ok(self.only.batch_execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.fresh.postgres.schema())).await?)
    }

    /// Puts it in the place of the live tables unless it is behind: then the position that it must reach is returned.
    pub(crate) async fn put_in_place(&self) -> Result<Option<Position>, StoreError> {
        for _ in 1..ATTEMPTS {
            match self.try_to_put_in_place().await {
                Err(StoreError::Unavailable(reason)) => {
                    tracing::warn!(reason, "rebuilt read models cannot be put in place yet");
                    tokio::time::sleep(PAUSE).await;
                }
                other => return other,
            }
        }
        self.try_to_put_in_place().await
    }

    async fn try_to_put_in_place(&self) -> Result<Option<Position>, StoreError> {
        let mut connection = self.live.connect().await?;
        let transaction = connection.client.transaction().await?;
        if let Some(behind) = self.exchange(&transaction).await? {
            return Ok(Some(behind));
        }
        transaction.commit().await?;
        connection.client.batch_execute(&format!("NOTIFY {}", channel(&self.live))).await?;
        Ok(None)
    }

    async fn exchange(&self, transaction: &Transaction<'_>) -> Result<Option<Position>, StoreError> {
        let (live, fresh) = (self.live.schema(), self.fresh.postgres.schema());
        transaction.batch_execute(PATIENCE).await?;
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        transaction.execute(lock, &[&tables::lock_name(live)]).await?;
        if tables::is_there(transaction, live).await? {
            // Every read and commit holds this table from its first moment on: after this line there is none.
            transaction.batch_execute(&format!("LOCK TABLE {live}.{GATE} IN ACCESS EXCLUSIVE MODE")).await?;
            let reached = read::checkpoints(transaction, CONSUMER).await?.greatest();
            transaction.batch_execute(&format!("SET LOCAL search_path = {fresh}")).await?;
            let rebuilt = read::checkpoints(transaction, CONSUMER).await?.least();
            transaction.batch_execute(&format!("SET LOCAL search_path = {live}")).await?;
            if rebuilt < reached {
                return Ok(Some(reached));
            }
            // Names are those that a release of ours wrote down.
            for row in transaction.query("SELECT name FROM read_model", &[]).await? {
                transaction
                    .batch_execute(&format!("DROP TABLE IF EXISTS {live}.{}", row.try_get::<_, &str>(0)?))
                    .await?;
            }
        } else {
            transaction.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {live}")).await?;
            for table in [GATE, "read_model"] {
                transaction.batch_execute(&format!("ALTER TABLE {fresh}.{table} SET SCHEMA {live}")).await?;
            }
        }
        for table in tables::exchanged() {
            transaction.batch_execute(&format!("ALTER TABLE {fresh}.{table} SET SCHEMA {live}")).await?;
        }
        tables::describe(transaction).await?;
        transaction.batch_execute(&format!("DROP SCHEMA {fresh} CASCADE")).await?;
        Ok(None)
    }
}
