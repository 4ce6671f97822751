//! A key store in memory, for tests.
//!
//! **Invariant:** passes `key_store_contract!` like every adapter; forgets everything when dropped.

use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::seal::{DataKey, KeyId, KeyStore, KeyStoreError, KeySubject, StoredKey, key_id};

/// A key store in memory.
#[derive(Default)]
pub struct MemoryKeyStore {
    keys: Mutex<Keys>,
    /// Mixed into every key; all keys of two stores with the same seed are the same.
    seed: Option<[u8; 32]>,
}

#[derive(Default)]
struct Keys {
    stored: HashMap<KeyId, StoredKey>,
    pooled: u32,
    id_secret: Option<Zeroizing<[u8; 32]>>,
}

impl MemoryKeyStore {
    /// A store whose keys all follow from `seed`: for data that is sealed once and opened for ever, as golden files.
    /// How they follow never changes; the store knows every key, also one that it never gave out.
    #[must_use]
    pub fn seeded(seed: [u8; 32]) -> Self {
        Self { keys: Mutex::default(), seed: Some(seed) }
    }

    fn draw(&self, label: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyStoreError> {
        let mut bytes = Zeroizing::new([0; 32]);
        match &self.seed {
            Some(seed) => *bytes = *blake3::keyed_hash(seed, label).as_bytes(),
            None => getrandom::fill(&mut *bytes).map_err(|error| KeyStoreError::Unavailable(error.to_string()))?,
        }
        Ok(bytes)
    }
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn key_for(&self, subject: KeySubject) -> Result<DataKey, KeyStoreError> {
        let mut keys = self.keys.lock();
        let id = key_id::of_subject(subject).unwrap_or_else(|| {
            keys.pooled += 1;
            key_id::of_pool(key_id::PageId { run: 0, page: keys.pooled }, 0)
        });
        match keys.stored.get(&id) {
            Some(StoredKey::Present(key)) => Ok(key.clone()),
            Some(StoredKey::Destroyed) => Err(KeyStoreError::Destroyed),
            None => {
                let key = DataKey { id, bytes: self.draw(id.0.as_bytes())? };
                keys.stored.insert(id, StoredKey::Present(key.clone()));
                Ok(key)
            }
        }
    }

    async fn key(&self, id: KeyId) -> Result<StoredKey, KeyStoreError> {
        let mut keys = self.keys.lock();
        if let Some(stored) = keys.stored.get(&id) {
            return Ok(stored.clone());
        }
        if self.seed.is_none() {
            return Err(KeyStoreError::Corrupt(format!("no key {}", id.0)));
        }
        let stored = StoredKey::Present(DataKey { id, bytes: self.draw(id.0.as_bytes())? });
        keys.stored.insert(id, stored.clone());
        Ok(stored)
    }

    async fn destroy(&self, id: KeyId) -> Result<(), KeyStoreError> {
        self.key(id).await?;
        self.keys.lock().stored.insert(id, StoredKey::Destroyed);
        Ok(())
    }

    async fn id_secret(&self) -> Result<Zeroizing<[u8; 32]>, KeyStoreError> {
        let mut keys = self.keys.lock();
        if let Some(secret) = &keys.id_secret {
            return Ok(secret.clone());
        }
        let secret = self.draw(b"id secret")?;
        keys.id_secret = Some(secret.clone());
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    crate::key_store_contract!(async { (Arc::new(MemoryKeyStore::default()) as Arc<dyn KeyStore>, ()) });
}
