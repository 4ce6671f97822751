//! The inbound reactor as a consumer: streams side by side, each in order.
//!
//! **Invariant:** the checkpoint moves once every delivery of the batch has its outcome in the log.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use events::consumer::{self, ConsumeError};
use events::envelope::{Category, RecordedEvent, StreamName};
use events::feed::{Checkpoint, Delivery};
use events::log::Filter;
use futures::StreamExt;

use super::{Inbound, InboundError, NAME};
use crate::checkpoints::CheckpointFile;

/// Conversations normalised at the same time.
const SIDE_BY_SIDE: usize = 64;

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
    checkpoint: CheckpointFile,
}

impl InboundConsumer {
    /// A consumer that keeps its checkpoint in `checkpoint`.
    #[must_use]
    pub fn new(inbound: Arc<Inbound>, checkpoint: CheckpointFile) -> Self {
        Self { inbound, checkpoint }
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

    async fn load_checkpoint(&self) -> Result<Checkpoint, ConsumeError> {
        self.checkpoint.load().await
    }

    async fn handle(&self, batch: &[Delivery]) -> Result<(), ConsumeError> {
        let mut by_stream: HashMap<&StreamName, Vec<RecordedEvent>> = HashMap::new();
        for delivery in batch {
            by_stream.entry(&delivery.event.stream).or_default().push(delivery.event.clone());
        }
        let runs = by_stream.into_values().map(|events| {
            let inbound = Arc::clone(&self.inbound);
            async move {
                let run = tokio::spawn(async move { inbound.handle_in_order(events).await });
                // A panic of a parser stops neither the reactor nor the other conversations.
                run.await.unwrap_or_else(|_| Err(ConsumeError::Park("normalising panicked".to_owned())))
            }
        });
        let mut outcomes = futures::stream::iter(runs).buffer_unordered(SIDE_BY_SIDE);
        let mut worst = Ok(());
        while let Some(outcome) = outcomes.next().await {
            worst = match (worst, outcome) {
                (Err(ConsumeError::Retry(reason)), _) | (_, Err(ConsumeError::Retry(reason))) => {
                    Err(ConsumeError::Retry(reason))
                }
                (Err(error), _) => Err(error),
                (Ok(()), outcome) => outcome,
            };
        }
        worst?;
        match batch.last() {
            Some(last) => self.checkpoint.store(&last.checkpoint).await,
            None => Ok(()),
        }
    }

    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), ConsumeError> {
        self.inbound.park(&delivery.event, reason.to_owned()).await?;
        self.checkpoint.store(&delivery.checkpoint).await
    }
}
