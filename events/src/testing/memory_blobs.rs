//! Blobs in memory, for tests.
//!
//! **Invariant:** passes `blobs_contract!` like every adapter; forgets everything when dropped.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::blobs::{BlobError, Blobs};
use crate::ids::TenantId;

/// Blobs in memory.
#[derive(Default)]
pub struct MemoryBlobs(Mutex<HashMap<(TenantId, String), Bytes>>);

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn put(&self, tenant: &TenantId, sealed: Bytes) -> Result<String, BlobError> {
        let hash = blake3::hash(&sealed).to_hex().to_string();
        self.0.lock().insert((tenant.clone(), hash.clone()), sealed);
        Ok(hash)
    }

    async fn get(&self, tenant: &TenantId, hash: &str) -> Result<Bytes, BlobError> {
        let blobs = self.0.lock();
        blobs.get(&(tenant.clone(), hash.to_owned())).cloned().ok_or_else(|| BlobError::NotFound(hash.to_owned()))
    }

    async fn remove(&self, tenant: &TenantId, hash: &str) -> Result<(), BlobError> {
        self.0.lock().remove(&(tenant.clone(), hash.to_owned()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    crate::blobs_contract!(async { (Arc::new(MemoryBlobs::default()) as Arc<dyn Blobs>, ()) });
}
