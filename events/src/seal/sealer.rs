//! Seals and opens personal fields with keys from the store.
//!
//! **Invariant:** keys are cached in memory only, for a bounded time, so that a key destroyed by another process is
//! forgotten here too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use super::{DataKey, KeyId, KeyStore, KeyStoreError, KeySubject, PersonalField, SealError, StoredKey};

/// Most keys kept in memory by whoever keeps some: 64 bytes each and some.
pub const MOST_KEYS_KEPT: usize = 200_000;
/// How long a key is kept in memory at most: after this time a destroyed one is forgotten in every process.
pub const KEYS_KEPT_FOR: Duration = Duration::from_secs(60);

/// Why a field could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealerError {
    /// The key store did not give the key.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// The field did not seal or open.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Seals and opens personal fields.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<dyn KeyStore>,
    by_id: Cache<KeyId, StoredKey>,
    by_subject: Cache<KeySubject, DataKey>,
    destructions: Arc<AtomicU64>,
}

impl Sealer {
    /// A sealer on `keys`.
    #[must_use]
    pub fn new(keys: Arc<dyn KeyStore>) -> Self {
        let by_id = Cache::builder().max_capacity(MOST_KEYS_KEPT as u64).time_to_live(KEYS_KEPT_FOR).build();
        let by_subject = Cache::builder().max_capacity(MOST_KEYS_KEPT as u64).time_to_live(KEYS_KEPT_FOR).build();
        Self { keys, by_id, by_subject, destructions: Arc::default() }
    }

    /// The store behind it.
    #[must_use]
    pub fn keys(&self) -> &Arc<dyn KeyStore> {
        &self.keys
    }

    /// Seals a field that is in clear; leaves any other as it is.
    ///
    /// # Errors
    /// See [`SealerError`].
    pub async fn seal(&self, field: &mut dyn PersonalField, associated: &[u8]) -> Result<(), SealerError> {
        let Some(subject) = field.subject() else { return Ok(()) };
        let key = self.key_for(subject).await?;
        Ok(field.seal(&key, associated)?)
    }

    /// Opens a field that is sealed; leaves any other as it is.
    ///
    /// # Errors
    /// See [`SealerError`].
    pub async fn open(&self, field: &mut dyn PersonalField, associated: &[u8]) -> Result<(), SealerError> {
        let Some(id) = field.key() else { return Ok(()) };
        let key = self.key(id).await?;
        Ok(field.open(key.as_ref(), associated)?)
    }

    /// True when the key of a subject is in memory.
    pub(crate) fn knows(&self, subject: KeySubject) -> bool {
        self.by_subject.contains_key(&subject)
    }

    /// The key of a subject.
    ///
    /// # Errors
    /// See [`KeyStoreError`].
    pub async fn key_for(&self, subject: KeySubject) -> Result<DataKey, KeyStoreError> {
        if subject == KeySubject::Own {
            return self.keys.key_for(subject).await;
        }
        if let Some(key) = self.by_subject.get(&subject) {
            return Ok(key);
        }
        let key = self.keys.key_for(subject).await?;
        self.by_subject.insert(subject, key.clone());
        // What is sealed now is opened in a moment, by the projections.
        // A key that was destroyed meanwhile stays destroyed.
        self.by_id.entry(key.id).or_insert(StoredKey::Present(key.clone()));
        Ok(key)
    }

    /// The key with this id if it is in memory; within, `None` when it was destroyed.
    #[must_use]
    pub fn key_in_memory(&self, id: KeyId) -> Option<Option<DataKey>> {
        self.by_id.get(&id).map(StoredKey::present)
    }

    /// The key with this id; `None` when it was destroyed.
    ///
    /// # Errors
    /// See [`KeyStoreError`].
    pub async fn key(&self, id: KeyId) -> Result<Option<DataKey>, KeyStoreError> {
        let stored = match self.by_id.get(&id) {
            Some(stored) => stored,
            None => {
                let stored = self.keys.key(id).await?;
                self.by_id.entry(id).or_insert(stored).into_value()
            }
        };
        Ok(stored.present())
    }

    /// Keys from the store, in the order of these ids and past what is kept in memory: for whoever keeps them. Within,
    /// `None` for one that was destroyed.
    pub async fn keys_stored(&self, ids: &[KeyId]) -> Vec<Result<Option<DataKey>, KeyStoreError>> {
        let keys = self.keys.keys(ids).await.into_iter();
        keys.map(|key| key.map(StoredKey::present)).collect()
    }

    /// How many keys were destroyed in this process. Whoever keeps keys forgets them when there are more, and after
    /// [`KEYS_KEPT_FOR`] in any case, since other processes destroy keys, too.
    #[must_use]
    pub fn destructions(&self) -> u64 {
        self.destructions.load(Ordering::Acquire)
    }

    /// Destroys a key and forgets it at once in this process.
    ///
    /// # Errors
    /// See [`KeyStoreError`].
    pub async fn destroy(&self, id: KeyId) -> Result<(), KeyStoreError> {
        self.keys.destroy(id).await?;
        self.by_id.insert(id, StoredKey::Destroyed);
        self.by_subject.invalidate_all();
        self.destructions.fetch_add(1, Ordering::Release);
        Ok(())
    }
}
