//! The inbound reactor as a consumer of the feed.
//!
//! **Invariant:** the checkpoint moves once every delivery of the batch has its outcome in the log.

use std::sync::Arc;

use async_trait::async_trait;
use events::checkpoints::CheckpointStore;
use events::consumer::{self, Batch, ConsumeError};
use events::envelope::{Category, RecordedEvent};
use events::feed::{Checkpoints, Delivery};
use events::log::Filter;

use super::{Inbound, InboundError, NAME};

impl From<InboundError> for ConsumeError {
    fn from(error: InboundError) -> Self {
        match error {
            InboundError::Retry(reason) => Self::Retry(reason),
            InboundError::Park(reason) => Self::Park(reason),
        }
    }
}

/// The inbound reactor as a consumer of the feed.
pub struct InboundConsumer {
    inbound: Arc<Inbound>,
    checkpoints: Arc<dyn CheckpointStore>,
}

impl InboundConsumer {
    /// A consumer that keeps its checkpoints in `checkpoints`.
    #[must_use]
    pub fn new(inbound: Arc<Inbound>, checkpoints: Arc<dyn CheckpointStore>) -> Self {
        Self { inbound, checkpoints }
    }
}

#[async_trait]
impl consumer::Handler for InboundConsumer {
    fn name(&self) -> &str {
        NAME
    }

    fn filter(&self) -> Filter {
        Filter { categories: vec![Category::Intake] }
    }

    async fn load_checkpoints(&self) -> Result<Checkpoints, ConsumeError> {
        self.checkpoints.load(NAME).await
    }

    async fn handle(&self, batch: &Batch) -> Result<(), ConsumeError> {
        let events: Vec<RecordedEvent> = batch.events().cloned().collect();
        let inbound = Arc::clone(&self.inbound);
        // A panic of a parser does not stop the reactor: the deliveries are handed in one by one then, and the one that
        // makes it panic is parked.
        let run = tokio::spawn(async move { inbound.handle(events).await });
        run.await.map_err(|_| ConsumeError::Park("normalising panicked".to_owned()))??;
        self.checkpoints.store(NAME, &batch.checkpoints()).await
    }

    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), ConsumeError> {
        self.inbound.park(&delivery.event, reason.to_owned()).await?;
        self.checkpoints.store(NAME, &delivery.checkpoint.clone().into()).await
    }
}
