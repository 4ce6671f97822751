//! The port for checkpoints of reactors and of the relay: how far each has come.
//!
//! **Invariant:** a checkpoint is a cache of work done. An old or missing one makes its owner look at events again, which
//! changes nothing (design invariant 8). Checkpoints of read models are not here: they are stored with the rows.

use async_trait::async_trait;

use crate::consumer::ConsumeError;
use crate::feed::Checkpoints;

pub mod folder;
#[cfg(feature = "postgres")]
pub mod postgres;

/// Where checkpoints are kept. All adapters pass `checkpoint_store_contract!`.
#[async_trait]
pub trait CheckpointStore: Send + Sync {
    /// What was stored last for the consumer of this stable name; the start when nothing was, or nothing that can be read.
    ///
    /// # Errors
    /// [`ConsumeError::Retry`] when the store is away.
    async fn load(&self, consumer: &str) -> Result<Checkpoints, ConsumeError>;

    /// Stores how far the consumer has come. Parts that are not given stay as they were.
    ///
    /// # Errors
    /// [`ConsumeError::Retry`] when the store is away.
    async fn store(&self, consumer: &str, checkpoints: &Checkpoints) -> Result<(), ConsumeError>;
}
