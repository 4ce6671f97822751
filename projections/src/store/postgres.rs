//! Read models in PostgreSQL: the same projections, for several processes at once.
//!
//! **Invariant:** whichever process commits, every process hears of it. Rows and checkpoints are one transaction, which
//! the server has synced before the commit comes back: a process goes on from what it has committed, so a commit lost
//! with the power would be missed for ever. Rows are guarded by the revision last applied to them, so a process that still
//! writes after another took its part over does no harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use events::feed::Checkpoints;
use events::postgres::{Heard, Listener, Postgres, PostgresConfig};
use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::projection::Table;
use crate::store::applied::Publishers;
use crate::store::{Commit, Query, ReadStore, State, StoreError};
use crate::value::Row;

mod batch;
mod errors;
mod read;
mod rebuilt;
mod session;
mod tables;
mod texts;
mod value;
mod write;

use batch::Batch;
pub(crate) use rebuilt::RebuiltSchema;
use tables::Indexes;
use texts::TableTexts;
use write::Sync;

/// Longest name of a schema here: a rebuild adds to it.
const LONGEST_SCHEMA: usize = 32;

/// How long nothing may be heard before a store looks for itself how far consumers have come.
const QUIET: Duration = Duration::from_secs(1);

/// Read models in PostgreSQL.
pub struct PostgresStore {
    inner: Arc<Inner>,
    listening: JoinHandle<()>,
}

struct Inner {
    postgres: Postgres,
    tables: Vec<TableTexts>,
    applied: Publishers,
    statements: AtomicU64,
}

impl PostgresStore {
    /// Opens the schema that the configuration names, or makes it with the tables of all projections. Give it a schema of
    /// its own.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when it was written by other versions of the projections; else see [`StoreError`].
    pub async fn open(config: &PostgresConfig) -> Result<Self, StoreError> {
        let inner = Arc::new(Inner::open(config, Indexes::Now).await?);
        let mut listener = inner.postgres.listen(&channel(&inner.postgres), QUIET);
        // A server that is away now was there a moment ago: the listener tries again.
        let first = listener.next().await;
        let weak = Arc::downgrade(&inner);
        hear(&inner, &mut listener, first).await;
        let listening = tokio::spawn(async move {
            loop {
                let heard = listener.next().await;
                let Some(inner) = weak.upgrade() else { return };
                hear(&inner, &mut listener, heard).await;
            }
        });
        Ok(Self { inner, listening })
    }
}

impl Inner {
    async fn open(config: &PostgresConfig, indexes: Indexes) -> Result<Self, StoreError> {
        let postgres = Postgres::new(config)?;
        tables::prepare(&postgres, indexes).await?;
        let applied = Publishers::new(read::applied(&**postgres.client().await?).await?);
        Ok(Self { postgres, tables: texts::tables(), applied, statements: AtomicU64::new(0) })
    }

    async fn commit(&self, mut commit: Commit, sync: Sync, after: Option<&str>) -> Result<(), StoreError> {
        let batch = Batch::of(std::mem::take(&mut commit.changes), &self.tables)?;
        write::commit(&self.postgres, &self.tables, &batch, &commit, sync, after).await
    }
}

/// The channel on which those who commit say so.
fn channel(postgres: &Postgres) -> String {
    format!("{}_applied", postgres.schema())
}

/// Looks how far consumers have come.
async fn hear(inner: &Inner, listener: &mut Listener, heard: Heard) {
    if let Heard::Lost(error) = heard {
        tracing::warn!(%error, "read models do not hear of commits");
        return;
    }
    // One look answers all that was said so far.
    while let Some(Heard::Payload(_)) = listener.next().now_or_never() {}
    let Some(client) = listener.client() else { return };
    match read::applied(client).await {
        Ok(applied) => applied.iter().for_each(|(name, at)| inner.applied.publish(name, at)),
        Err(error) => {
            tracing::warn!(%error, "read models cannot tell how far consumers have come");
            listener.lost(events::postgres::PostgresError::Unavailable(error.to_string()));
        }
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[async_trait]
impl ReadStore for PostgresStore {
    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let (consumer, checkpoints) = (commit.consumer.clone(), commit.checkpoints.clone());
        // Sent after the commit and by itself: a transaction that notifies keeps all others that do waiting for its sync.
        let tell = format!("NOTIFY {}", channel(&self.inner.postgres));
        self.inner.commit(commit, Sync::Synced, Some(&tell)).await?;
        self.inner.applied.publish(&consumer, &checkpoints);
        Ok(())
    }

    async fn checkpoints(&self, consumer: &str) -> Result<Checkpoints, StoreError> {
        read::checkpoints(&**self.inner.postgres.client().await?, consumer).await
    }

    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Vec<Row>>, StoreError> {
        self.inner.statements.fetch_add(queries.len() as u64, Ordering::Relaxed);
        read::read(&self.inner.postgres, &queries).await
    }

    fn applied(&self, consumer: &str) -> watch::Receiver<Checkpoints> {
        self.inner.applied.subscribe(consumer)
    }

    async fn state(&self, consumer: &str, tables: Vec<&'static Table>) -> Result<State, StoreError> {
        read::state(&self.inner.postgres, consumer, &tables).await
    }

    fn statements(&self) -> u64 {
        self.inner.statements.load(Ordering::Relaxed)
    }
}
