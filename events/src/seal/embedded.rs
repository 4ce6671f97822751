//! The embedded key store: `keys.db`, a SQLite file of its own, its keys wrapped by a key-encryption key that comes
//! from outside ([`KeyEncryptionKey`]).
//!
//! **Invariant:** a key is durable before it is given out, and a key of the pool is given out once. Taking one touches
//! memory only: pages of 256 keys are committed ahead of time, many in one transaction, and what a process had not
//! given out when it ended is never given out (it stays in the file, unused). Blocking work runs on the store's own
//! threads behind bounded queues.
//!
//! Several processes may have the file open: each gives out only the pages that it made. A key destroyed in one is
//! forgotten by the others' page caches within ten seconds.
//!
//! A destroyed key is overwritten in the database and its write-ahead log. Copies that the file system or the disk
//! keep of old blocks are out of reach; they hold it wrapped only.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use super::key_id::{self, Place};
use super::pool::{self, Pages, Pool, Taken};
use super::stored::in_page;
use super::{DataKey, KeyId, KeyStore, KeyStoreError, KeySubject, StoredKey};

mod database;
pub(crate) mod moving;
mod threads;

pub use super::kek::{KekError, KeyEncryptionKey};
pub use super::pool::PoolConfig;
pub use super::stored::OpenKeyStoreError;

use database::Location;
use threads::{Read, Write};

/// The embedded key store.
pub struct EmbeddedKeyStore {
    pool: Arc<Pool>,
    pages: Arc<Pages>,
    writes: mpsc::Sender<Write>,
    reads: mpsc::Sender<Read>,
    id_secret: Zeroizing<[u8; 32]>,
}

impl EmbeddedKeyStore {
    /// Opens the store in `path`, made when it is not there, and starts its threads. They end when it is dropped.
    ///
    /// # Errors
    /// See [`OpenKeyStoreError`].
    pub async fn open(
        path: impl Into<PathBuf>,
        kek: KeyEncryptionKey,
        config: PoolConfig,
    ) -> Result<Self, OpenKeyStoreError> {
        let location = Location { path: path.into(), kek };
        let unavailable = |error: &dyn std::error::Error| OpenKeyStoreError::Unavailable(error.to_string());
        let prepared = location.clone();
        let id_secret =
            tokio::task::spawn_blocking(move || prepared.prepare()).await.map_err(|error| unavailable(&error))??;
        let (pool, pages) = (Arc::new(Pool::new(config.low_water_keys)), Arc::new(Pages::new()));
        let (writes, write_queue) = mpsc::channel(threads::QUEUE);
        let (reads, read_queue) = mpsc::channel(threads::QUEUE);
        {
            let (location, pool, pages) = (location.clone(), Arc::clone(&pool), Arc::clone(&pages));
            let batch_pages = config.batch_pages.max(1);
            thread::Builder::new()
                .name("keys-write".into())
                .spawn(move || threads::write(location, &pool, &pages, batch_pages, write_queue))
                .map_err(|error| unavailable(&error))?;
        }
        {
            let pages = Arc::clone(&pages);
            thread::Builder::new()
                .name("keys-read".into())
                .spawn(move || threads::read(location, &pages, read_queue))
                .map_err(|error| unavailable(&error))?;
        }
        let store = Self { pool, pages, writes, reads, id_secret };
        if config.low_water_keys > 0 {
            store.writes.send(Write::Refill).await.map_err(|error| unavailable(&error))?;
        }
        Ok(store)
    }

    async fn take_from_pool(&self) -> Result<DataKey, KeyStoreError> {
        let mut seen = None;
        loop {
            let refilled = self.pool.refilled.notified();
            tokio::pin!(refilled);
            refilled.as_mut().enable();
            let (taken, wanted) = self.pool.take();
            match taken {
                Taken::Key(key) => {
                    if wanted && self.writes.try_send(Write::Refill).is_err() {
                        // The queue is full: the next taker asks again.
                        self.pool.end_refill(Ok(Vec::new()));
                    }
                    return Ok(key);
                }
                Taken::Empty { failures } => {
                    if let Some(error) = self.pool.failed_since(*seen.get_or_insert(failures)) {
                        if wanted {
                            self.pool.end_refill(Ok(Vec::new()));
                        }
                        return Err(error);
                    }
                    if wanted {
                        let asking = pool::Asking::new(&self.pool);
                        self.writes.send(Write::Refill).await.map_err(|_| stopped())?;
                        asking.done();
                    }
                    refilled.await;
                }
            }
        }
    }

    async fn ask<Q, T>(
        queue: &mpsc::Sender<Q>,
        question: impl FnOnce(oneshot::Sender<Result<T, KeyStoreError>>) -> Q,
    ) -> Result<T, KeyStoreError> {
        let (answer, answered) = oneshot::channel();
        queue.send(question(answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

#[async_trait]
impl KeyStore for EmbeddedKeyStore {
    async fn key_for(&self, subject: KeySubject) -> Result<DataKey, KeyStoreError> {
        match key_id::of_subject(subject) {
            Some(id) => Self::ask(&self.writes, |answer| Write::SubjectKey(id, answer)).await,
            None => self.take_from_pool().await,
        }
    }

    async fn key(&self, id: KeyId) -> Result<StoredKey, KeyStoreError> {
        if let Some(Place::Pool(page, number)) = key_id::place(id)
            && let Some(page) = self.pages.get(page)
        {
            return Ok(in_page(&page, id, number));
        }
        self.keys(&[id]).await.pop().unwrap_or_else(|| Err(stopped()))
    }

    async fn keys(&self, ids: &[KeyId]) -> Vec<Result<StoredKey, KeyStoreError>> {
        let (answer, answered) = oneshot::channel();
        let asked = self.reads.send(Read(ids.to_vec(), answer)).await;
        let found = if asked.is_ok() { answered.await.ok() } else { None };
        found.unwrap_or_else(|| ids.iter().map(|_| Err(stopped())).collect())
    }

    async fn destroy(&self, id: KeyId) -> Result<(), KeyStoreError> {
        Self::ask(&self.writes, |answer| Write::Destroy(id, answer)).await
    }

    async fn id_secret(&self) -> Result<Zeroizing<[u8; 32]>, KeyStoreError> {
        Ok(self.id_secret.clone())
    }
}

fn stopped() -> KeyStoreError {
    KeyStoreError::Unavailable("its thread has stopped".into())
}

#[cfg(test)]
mod tests;
