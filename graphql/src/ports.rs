//! What mutations need of the world outside the log: the binary implements these ports.
//!
//! **Invariant:** the crate names no channel, no HTTP client and no folder; what a port answers is recorded through the
//! command handler, never by the port.

use async_trait::async_trait;
use events::blobs::BlobRef;
use events::ids::{AccountId, TenantId};

/// What a provider said to our webhook address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookAnswer {
    /// It calls this address from here on.
    Registered {
        /// The address.
        url: String,
        /// The number of the secret that it sends with each call.
        secret: u32,
    },
    /// It does not.
    Refused {
        /// The address that we asked for.
        url: String,
        /// What it said, without secrets.
        reason: String,
    },
}

/// Why a provider was not asked, or did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrarError {
    /// Something must be set up first: tell the administrator.
    #[error("webhook cannot be registered: {0}")]
    NotReady(String),
    /// The provider cannot be reached, or letopis cannot read what it needs: try again.
    #[error("webhook was not registered: {0}")]
    Unavailable(String),
}

/// Tells a provider where to deliver.
#[async_trait]
pub trait WebhookRegistrar: Send + Sync {
    /// Asks the provider of the account to call our address for it with the newest live secret. Asking again changes
    /// nothing.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    async fn register(&self, tenant: &TenantId, account: AccountId) -> Result<WebhookAnswer, RegistrarError>;
}

/// A file that was uploaded to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Where it is.
    pub blob: BlobRef,
    /// The name that it was uploaded under.
    pub file_name: Option<String>,
}

/// Why a file was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The tenant has no upload with this reference, or no longer.
    #[error("no such upload")]
    NotFound,
    /// Try again.
    #[error("uploads unavailable: {0}")]
    Unavailable(String),
}

/// Finds files that were uploaded to be sent.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// The upload with this reference, as the upload was answered with.
    ///
    /// # Errors
    /// See [`UploadError`].
    async fn find(&self, tenant: &TenantId, reference: &str) -> Result<Upload, UploadError>;
}
