//! The feed port: events in order per stream, at least once, from a checkpoint.
//!
//! **Invariant:** a feed is for consumers, not for decisions; a consumer that stores its checkpoint with its effects
//! sees every event at least once and may rely on order within one stream only (design invariant 7).

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::envelope::{Position, RecordedEvent};
use crate::log::{EventLog, Filter, ReadError};

/// How far a consumer has come: opaque to it. For the embedded feed a position, for Kafka the offsets per partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checkpoint(String);

impl Checkpoint {
    /// Before the first event.
    #[must_use]
    pub fn start() -> Self {
        Self::of_position(Position::START)
    }

    /// The checkpoint of a feed whose order is the log's.
    #[must_use]
    pub fn of_position(position: Position) -> Self {
        Self(position.0.to_string())
    }

    /// The position, if this checkpoint is one.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.0.parse().ok().map(Position)
    }

    /// The form in which consumers store it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads back what [`Checkpoint::as_str`] gave.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }
}

/// One event with the checkpoint that says it was handled.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The event.
    pub event: RecordedEvent,
    /// Store this with the effects of the event.
    pub checkpoint: Checkpoint,
}

/// Why a feed stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// Follow it again from the last checkpoint after a while.
    #[error("feed unavailable: {0}")]
    Unavailable(String),
    /// The checkpoint is not of this feed: a person must look.
    #[error("checkpoint does not belong to this feed")]
    ForeignCheckpoint,
    /// The log behind the feed is damaged: stop.
    #[error("feed corrupt: {0}")]
    Corrupt(String),
}

/// A feed. All adapters pass `event_feed_contract!`.
#[async_trait]
pub trait EventFeed: Send + Sync {
    /// Follows the feed from `from` for the consumer of this stable name. Ends only with an error.
    ///
    /// # Errors
    /// See [`FeedError`].
    async fn follow(
        &self,
        consumer: &str,
        from: Checkpoint,
        filter: Filter,
    ) -> Result<BoxStream<'static, Result<Delivery, FeedError>>, FeedError>;
}

/// The embedded feed: the log itself, tailed.
pub struct LogFeed {
    log: Arc<dyn EventLog>,
}

impl LogFeed {
    /// A feed of `log`.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }
}

#[async_trait]
impl EventFeed for LogFeed {
    async fn follow(
        &self,
        _consumer: &str,
        from: Checkpoint,
        filter: Filter,
    ) -> Result<BoxStream<'static, Result<Delivery, FeedError>>, FeedError> {
        let after = from.position().ok_or(FeedError::ForeignCheckpoint)?;
        let events = self.log.subscribe(after, filter).map(|read| match read {
            Ok(event) => Ok(Delivery { checkpoint: Checkpoint::of_position(event.position), event }),
            Err(ReadError::Unavailable(reason)) => Err(FeedError::Unavailable(reason)),
            Err(error @ ReadError::Corrupt { .. }) => Err(FeedError::Corrupt(error.to_string())),
        });
        Ok(events.boxed())
    }
}
