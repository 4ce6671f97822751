//! The key store port.
//!
//! **Invariant:** a key that was handed out is durable before it is handed out; a destroyed key never comes back.

use std::fmt;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{KeyId, KeySubject};

/// A 256-bit data key.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey {
    /// Its id.
    pub id: KeyId,
    /// Its bytes; wiped when dropped.
    pub bytes: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What the store knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredKey {
    /// The key.
    Present(DataKey),
    /// It was destroyed: what it sealed is erased.
    Destroyed,
}

impl StoredKey {
    /// The key; `None` when it was destroyed.
    #[must_use]
    pub fn present(self) -> Option<DataKey> {
        match self {
            Self::Present(key) => Some(key),
            Self::Destroyed => None,
        }
    }
}

/// Why the key store did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyStoreError {
    /// Back off and try again.
    #[error("key store unavailable: {0}")]
    Unavailable(String),
    /// The subject's key was destroyed: nothing may be sealed for it any more.
    #[error("the key of this subject was destroyed")]
    Destroyed,
    /// The store never had this key, or it is damaged, or it was wrapped by another key-encryption key: stop.
    #[error("key store corrupt: {0}")]
    Corrupt(String),
}

/// The store of data keys, apart from the log. All adapters pass `key_store_contract!`.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// The key of a subject, made (durably) when it has none. For [`KeySubject::Own`] a key from the pool that was
    /// made durable ahead of time and is given out once.
    ///
    /// # Errors
    /// See [`KeyStoreError`].
    async fn key_for(&self, subject: KeySubject) -> Result<DataKey, KeyStoreError>;

    /// The key with this id.
    ///
    /// # Errors
    /// [`KeyStoreError::Corrupt`] when the store never had it.
    async fn key(&self, id: KeyId) -> Result<StoredKey, KeyStoreError>;

    /// The keys with these ids, in their order, each as [`KeyStore::key`] gives it.
    async fn keys(&self, ids: &[KeyId]) -> Vec<Result<StoredKey, KeyStoreError>> {
        let mut keys = Vec::with_capacity(ids.len());
        for id in ids {
            keys.push(self.key(*id).await);
        }
        keys
    }

    /// Destroys a key for ever and returns once that is durable. Destroying it again does nothing.
    ///
    /// # Errors
    /// See [`KeyStoreError`].
    async fn destroy(&self, id: KeyId) -> Result<(), KeyStoreError>;

    /// The installation's secret for deriving ids ([`crate::ids::IdHasher`]): made on first use, never changed.
    ///
    /// # Errors
    /// See [`KeyStoreError`].
    async fn id_secret(&self) -> Result<Zeroizing<[u8; 32]>, KeyStoreError>;
}
