//! Read models in SQLite: `views.db` in WAL mode, one writer thread, a pool of reader threads.
//!
//! **Invariant:** no caller's thread touches the file; queues are bounded. `synchronous=NORMAL`, since read models are
//! disposable and a commit lost with the power is applied again from the feed; `secure_delete=ON`, since rows hold
//! personal data in clear.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use events::envelope::Position;
use events::feed::Checkpoints;
use tokio::sync::watch;

use crate::projection::Table;
use crate::store::applied::Publishers;
use crate::store::{Commit, Query, ReadStore, State, StoreError};
use crate::value::Row;

mod bulk;
mod engine;
mod filling;
mod fold;
mod state;
mod threads;
mod wal;

pub(crate) use bulk::Bulk;
pub(crate) use engine::swap_files;
use engine::{Engine, Mode, Place};
use threads::Threads;
use wal::WalLength;

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// Reader threads.
    pub readers: usize,
    /// Jobs that may wait for a thread; more wait in their callers.
    pub queue: usize,
    /// Page cache of the writer, in KiB. Larger is not better: see the same setting of the embedded log.
    pub writer_cache_kib: u32,
    /// Page cache of each reader, in KiB.
    pub reader_cache_kib: u32,
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self { readers: 4, queue: 1024, writer_cache_kib: 16 * 1024, reader_cache_kib: 16 * 1024 }
    }
}

/// Page cache of the thread that makes checkpoints: it copies pages and reads none.
const CHECKPOINT_CACHE_KIB: u32 = 64;

/// What the threads of one store share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Reading statements run so far.
    statements: AtomicU64,
    /// Grows when another file is put in place: every thread opens it anew.
    generation: AtomicU64,
    /// Held while another file is put in place, and while a checkpoint is made.
    swapping: parking_lot::Mutex<()>,
    wal: WalLength,
}

/// Read models in SQLite.
pub struct SqliteStore {
    shared: Arc<Shared>,
    applied: Publishers,
    /// `None` for a store in memory: its only connection is the writer's. Closed before the writer, whose connection
    /// then is the last and empties the write-ahead log into the file.
    readers: Option<Threads>,
    /// Absent in memory.
    checkpointer: Option<Threads>,
    writer: Threads,
    path: Option<PathBuf>,
}

impl SqliteStore {
    /// Opens `path`, or makes it with the tables of all projections.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] when it was written by other versions of the projections; else see [`StoreError`].
    pub async fn open(path: &Path, config: &SqliteConfig) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::default());
        let place = Place::File(path.to_owned());
        let writer = Engine::new(place.clone(), Mode::Write, config.writer_cache_kib, Arc::clone(&shared));
        let writer = Threads::spawn("views-writer", vec![writer], config.queue)?;
        // The writer's first job makes the file and its tables, so that readers find them.
        let applied = writer.run(Engine::applied).await?;
        let readers = (0..config.readers.max(1))
            .map(|_| Engine::new(place.clone(), Mode::Read, config.reader_cache_kib, Arc::clone(&shared)))
            .collect();
        let readers = Some(Threads::spawn("views-reader", readers, config.queue)?);
        let checkpointer = Engine::new(place, Mode::Checkpoint, CHECKPOINT_CACHE_KIB, Arc::clone(&shared));
        let checkpointer = Some(Threads::spawn("views-checkpoint", vec![checkpointer], 1)?);
        let (applied, path) = (Publishers::new(applied), Some(path.to_owned()));
        Ok(Self { shared, applied, writer, checkpointer, readers, path })
    }

    /// A store in memory, for reads as of a time and for tests.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn in_memory() -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::default());
        let engine = Engine::new(Place::Memory, Mode::Write, 4096, Arc::clone(&shared));
        let writer = Threads::spawn("views-memory", vec![engine], 64)?;
        let applied = writer.run(Engine::applied).await?;
        Ok(Self { shared, applied: Publishers::new(applied), writer, checkpointer: None, readers: None, path: None })
    }

    /// The file, unless it is in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Puts the file `rebuilt` in the place of this store's, while readers and the writer go on. Refused while the
    /// rebuilt one is behind for `consumer`: then the position that it must reach is returned.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn replace_with(&self, rebuilt: PathBuf, consumer: &str) -> Result<Option<Position>, StoreError> {
        let name = consumer.to_owned();
        let behind = self.writer.run(move |engine| engine.replace_with(&rebuilt, &name)).await?;
        if behind.is_none() {
            for (name, checkpoints) in self.writer.run(Engine::applied).await? {
                self.applied.publish(&name, &checkpoints);
            }
        }
        Ok(behind)
    }

    fn readers(&self) -> &Threads {
        self.readers.as_ref().unwrap_or(&self.writer)
    }
}

#[async_trait]
impl ReadStore for SqliteStore {
    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let (consumer, checkpoints) = (commit.consumer.clone(), commit.checkpoints.clone());
        self.writer.run(move |engine| engine.commit(commit)).await?;
        self.applied.publish(&consumer, &checkpoints);
        if let Some(checkpointer) = &self.checkpointer
            && self.shared.wal.checkpoint_is_due()
        {
            checkpointer.start(|engine| {
                if let Err(error) = engine.write_back() {
                    // The rows stay in the write-ahead log; the next checkpoint or the writer's own tries again.
                    tracing::warn!(%error, "checkpoint of the read models failed");
                }
            });
        }
        Ok(())
    }

    async fn checkpoints(&self, consumer: &str) -> Result<Checkpoints, StoreError> {
        let consumer = consumer.to_owned();
        self.readers().run(move |engine| engine.checkpoints(&consumer)).await
    }

    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Vec<Row>>, StoreError> {
        self.readers().run(move |engine| engine.read(&queries)).await
    }

    fn applied(&self, consumer: &str) -> watch::Receiver<Checkpoints> {
        self.applied.subscribe(consumer)
    }

    async fn state(&self, consumer: &str, tables: Vec<&'static Table>) -> Result<State, StoreError> {
        let consumer = consumer.to_owned();
        self.readers().run(move |engine| engine.state(&consumer, &tables)).await
    }

    fn statements(&self) -> u64 {
        self.shared.statements.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
