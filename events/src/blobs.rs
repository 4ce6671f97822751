//! The blobs port: sealed large bodies and media by the hash of their sealed bytes.
//!
//! **Invariant:** blobs hold ciphertext only; a put is durable before it returns; the same bytes are stored once.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::TenantId;
use crate::seal::{KeyId, KeySubject, SealError, SealedBox, Sealer, SealerError};

pub mod folder;
#[cfg(feature = "postgres")]
pub mod postgres;

/// Where a blob is and how to open it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobRef {
    /// BLAKE3 hash of the sealed bytes, as 64 hex digits: its name in the store.
    pub hash: String,
    /// The key that it is sealed with.
    pub key: KeyId,
    /// Length in clear.
    pub size_bytes: u64,
    /// Media type, as claimed by whoever sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

/// Why a blob was not stored or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Back off and try again.
    #[error("blob store unavailable: {0}")]
    Unavailable(String),
    /// There is no such blob.
    #[error("no blob {0}")]
    NotFound(String),
    /// What was read is not what was written: stop.
    #[error("blob {0} is damaged")]
    Corrupt(String),
    /// It could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealerError),
    /// Its key was destroyed: it is erased.
    #[error("blob {0} is erased")]
    Erased(String),
}

/// The store of sealed bytes. All adapters pass `blobs_contract!`.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Stores sealed bytes under their hash and returns it once they are durable.
    ///
    /// # Errors
    /// See [`BlobError`].
    async fn put(&self, tenant: &TenantId, sealed: Bytes) -> Result<String, BlobError>;

    /// The sealed bytes with this hash, checked against it.
    ///
    /// # Errors
    /// See [`BlobError`].
    async fn get(&self, tenant: &TenantId, hash: &str) -> Result<Bytes, BlobError>;

    /// Removes the bytes; removing what is not there does nothing.
    ///
    /// # Errors
    /// See [`BlobError`].
    async fn remove(&self, tenant: &TenantId, hash: &str) -> Result<(), BlobError>;
}

/// Seals `clear` for `subject` and stores it.
///
/// # Errors
/// See [`BlobError`].
pub async fn put_sealed(
    blobs: &dyn Blobs,
    sealer: &Sealer,
    tenant: &TenantId,
    subject: KeySubject,
    clear: &[u8],
    media_type: Option<String>,
) -> Result<BlobRef, BlobError> {
    let key = sealer.key_for(subject).await.map_err(SealerError::from)?;
    let sealed = SealedBox::seal(&key, clear, associated(tenant).as_bytes()).map_err(SealerError::from)?;
    let bytes = sealed.bytes().map_err(SealerError::from)?;
    let hash = blobs.put(tenant, Bytes::from(bytes.into_owned())).await?;
    Ok(BlobRef { hash, key: key.id, size_bytes: clear.len() as u64, media_type })
}

/// Reads a blob and opens it.
///
/// # Errors
/// See [`BlobError`].
pub async fn get_opened(
    blobs: &dyn Blobs,
    sealer: &Sealer,
    tenant: &TenantId,
    blob: &BlobRef,
) -> Result<Vec<u8>, BlobError> {
    let Some(key) = sealer.key(blob.key).await.map_err(SealerError::from)? else {
        return Err(BlobError::Erased(blob.hash.clone()));
    };
    let sealed = blobs.get(tenant, &blob.hash).await?;
    SealedBox::from_parts(blob.key, sealed.to_vec()).open(&key, associated(tenant).as_bytes()).map_err(|error| {
        match error {
            SealError::Forged => BlobError::Corrupt(blob.hash.clone()),
            other => BlobError::Seal(other.into()),
        }
    })
}

fn associated(tenant: &TenantId) -> String {
    format!("blob\0{tenant}")
}
