//! The one consume loop: batches of what is waiting, retry, park, checkpoint, lag.
//!
//! **Invariant:** a checkpoint moves only with the effects of everything before it, or with the parking of what could
//! not be applied; nothing is skipped silently. Order within a stream is the feed's.

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::watch;

use crate::feed::{Checkpoint, Delivery, EventFeed, FeedError};
use crate::log::Filter;

mod status;

pub use status::{ConsumerState, ConsumerStatus, Lag};

/// Why a handler did not handle: named by what the loop does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// Something it needs is away: the same again after a while.
    #[error("to be retried: {0}")]
    Retry(String),
    /// This event will fail again: it is put aside with the reason and the rest goes on.
    #[error("to be parked: {0}")]
    Park(String),
    /// Going on would do harm: the consumer stops until a person looked.
    #[error("halted: {0}")]
    Halt(String),
}

/// What a consumer does with its events. Reasons in errors hold no personal data.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Stable name: it keys the checkpoint.
    fn name(&self) -> &str;

    /// The events it wants.
    fn filter(&self) -> Filter;

    /// How far it has come.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    async fn load_checkpoint(&self) -> Result<Checkpoint, ConsumeError>;

    /// Handles a batch, never empty, and stores the checkpoint of its last delivery with the effects. Either all of
    /// it takes effect or it may be handed in again, whole or in parts: handling an event twice must do nothing more.
    ///
    /// # Errors
    /// See [`ConsumeError`]. After [`ConsumeError::Park`] on several deliveries they are handed in one by one.
    async fn handle(&self, batch: &[Delivery]) -> Result<(), ConsumeError>;

    /// Puts one delivery aside with the reason and stores its checkpoint.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), ConsumeError>;
}

/// How the loop behaves.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// Most events in one batch.
    pub batch: usize,
    /// Pause before the first retry; it doubles with each.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// After so many attempts an event that always asks for a retry is parked; `None` tries for ever, which is right
    /// where a retry can only mean that the store is away.
    pub attempts: Option<u32>,
    /// A batch that is not full is begun no sooner than this after the one before, so that a commit is not made for
    /// every event where events keep coming. The first after a quiet time is begun at once.
    pub gather: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            batch: 512,
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_secs(10),
            attempts: None,
            gather: Duration::ZERO,
        }
    }
}

/// Why the loop ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// It was asked to; what it had in hand is handled.
    Shutdown,
    /// Going on would do harm.
    Halted {
        /// Why, without personal data.
        reason: String,
    },
}

/// Pauses between retries.
struct Backoff<'a> {
    config: &'a ConsumerConfig,
    attempts: u32,
}

impl<'a> Backoff<'a> {
    const fn new(config: &'a ConsumerConfig) -> Self {
        Self { config, attempts: 0 }
    }

    /// Waits; false when the attempts are used up.
    async fn pause(&mut self) -> bool {
        self.attempts += 1;
        if self.config.attempts.is_some_and(|most| self.attempts >= most) {
            return false;
        }
        let doubled = self.config.first_pause.saturating_mul(1 << self.attempts.min(20).saturating_sub(1));
        tokio::time::sleep(doubled.min(self.config.longest_pause)).await;
        true
    }
}

/// What became of a delivery or a batch.
enum Outcome {
    Done,
    Poison(String),
    Stop(Stopped),
}

/// Follows `feed` for `handler` until `shutdown` turns true or the handler halts.
pub async fn run(
    feed: &dyn EventFeed,
    handler: &dyn Handler,
    config: &ConsumerConfig,
    status: &ConsumerStatus,
    mut shutdown: watch::Receiver<bool>,
) -> Stopped {
    let stopped = Loop { feed, handler, config, status }.follow(&mut shutdown).await;
    match &stopped {
        Stopped::Shutdown => status.set_state(ConsumerState::Stopped),
        Stopped::Halted { reason } => {
            tracing::error!(consumer.name = handler.name(), reason, "consumer halted");
            status.set_state(ConsumerState::Halted { reason: reason.clone() });
        }
    }
    stopped
}

struct Loop<'a> {
    feed: &'a dyn EventFeed,
    handler: &'a dyn Handler,
    config: &'a ConsumerConfig,
    status: &'a ConsumerStatus,
}

impl Loop<'_> {
    async fn follow(&self, shutdown: &mut watch::Receiver<bool>) -> Stopped {
        let mut backoff = Backoff::new(&UNLIMITED);
        loop {
            if *shutdown.borrow() {
                return Stopped::Shutdown;
            }
            let reason = match self.follow_once(shutdown, &mut backoff).await {
                Ok(stopped) => return stopped,
                Err(FeedError::Unavailable(reason)) => reason,
                Err(error @ (FeedError::ForeignCheckpoint | FeedError::Corrupt(_))) => {
                    return Stopped::Halted { reason: error.to_string() };
                }
            };
            tracing::warn!(consumer.name = self.handler.name(), reason, "feed unavailable, will be followed again");
            self.status.set_state(ConsumerState::Waiting { reason });
            tokio::select! {
                _ = backoff.pause() => {}
                () = asked(shutdown) => return Stopped::Shutdown,
            }
        }
    }

    /// Follows the feed from the stored checkpoint until it breaks.
    async fn follow_once(
        &self,
        shutdown: &mut watch::Receiver<bool>,
        backoff: &mut Backoff<'_>,
    ) -> Result<Stopped, FeedError> {
        let from = match self.handler.load_checkpoint().await {
            Ok(checkpoint) => checkpoint,
            Err(ConsumeError::Retry(reason)) => return Err(FeedError::Unavailable(reason)),
            Err(error) => return Ok(Stopped::Halted { reason: error.to_string() }),
        };
        self.status.begins_after(&from);
        let events = self.feed.follow(self.handler.name(), from, self.handler.filter()).await?;
        self.status.set_state(ConsumerState::Running);
        let mut batches = events.ready_chunks(self.config.batch.max(1));
        let mut next_at = tokio::time::Instant::now();
        loop {
            if next_at > tokio::time::Instant::now() {
                tokio::select! {
                    biased;
                    () = asked(shutdown) => return Ok(Stopped::Shutdown),
                    () = tokio::time::sleep_until(next_at) => {}
                }
            }
            let chunk = tokio::select! {
                biased;
                () = asked(shutdown) => return Ok(Stopped::Shutdown),
                chunk = batches.next() => chunk,
            };
            let Some(chunk) = chunk else { return Err(FeedError::Unavailable("the feed ended".to_owned())) };
            let mut batch = Vec::with_capacity(chunk.len());
            let mut broken = None;
            for delivery in chunk {
                match delivery {
                    Ok(delivery) => batch.push(delivery),
                    Err(error) => {
                        broken = Some(error);
                        break;
                    }
                }
            }
            let begun = tokio::time::Instant::now();
            next_at = if batch.len() < self.config.batch { begun + self.config.gather } else { begun };
            if !batch.is_empty() {
                backoff.attempts = 0;
                if let Some(stopped) = self.consume(&batch, shutdown).await {
                    return Ok(stopped);
                }
            }
            if let Some(error) = broken {
                return Err(error);
            }
        }
    }

    /// Handles a batch, one by one where it does not go together.
    async fn consume(&self, batch: &[Delivery], shutdown: &mut watch::Receiver<bool>) -> Option<Stopped> {
        self.status.took(batch);
        match self.attempt(batch, shutdown).await {
            Outcome::Done => {}
            Outcome::Stop(stopped) => return Some(stopped),
            Outcome::Poison(reason) => {
                if let [delivery] = batch {
                    if let Some(stopped) = self.park(delivery, &reason, shutdown).await {
                        return Some(stopped);
                    }
                } else {
                    for delivery in batch {
                        // Each stores its own checkpoint.
                        if *shutdown.borrow() {
                            return Some(Stopped::Shutdown);
                        }
                        let stopped = match self.attempt(std::slice::from_ref(delivery), shutdown).await {
                            Outcome::Done => None,
                            Outcome::Stop(stopped) => Some(stopped),
                            Outcome::Poison(reason) => self.park(delivery, &reason, shutdown).await,
                        };
                        if stopped.is_some() {
                            return stopped;
                        }
                    }
                }
            }
        }
        self.status.handled(batch);
        None
    }

    /// Hands deliveries in until they are done, poisonous, or the loop must stop.
    async fn attempt(&self, batch: &[Delivery], shutdown: &mut watch::Receiver<bool>) -> Outcome {
        let mut backoff = Backoff::new(self.config);
        loop {
            let reason = match self.handler.handle(batch).await {
                Ok(()) => {
                    self.status.set_state(ConsumerState::Running);
                    return Outcome::Done;
                }
                Err(ConsumeError::Park(reason)) => return Outcome::Poison(reason),
                Err(ConsumeError::Halt(reason)) => return Outcome::Stop(Stopped::Halted { reason }),
                Err(ConsumeError::Retry(reason)) => reason,
            };
            // The first retry is told, then each time that the pause has doubled often enough to matter.
            if backoff.attempts.is_multiple_of(RETRIES_PER_WARNING) {
                let (consumer, retries) = (self.handler.name(), backoff.attempts);
                tracing::warn!(consumer.name = consumer, retries, reason, "events have to wait");
            }
            self.status.retried(&reason);
            tokio::select! {
                more = backoff.pause() => if !more { return Outcome::Poison(reason) },
                () = asked(shutdown) => return Outcome::Stop(Stopped::Shutdown),
            }
        }
    }

    async fn park(&self, delivery: &Delivery, reason: &str, shutdown: &mut watch::Receiver<bool>) -> Option<Stopped> {
        let mut backoff = Backoff::new(&UNLIMITED);
        loop {
            match self.handler.park(delivery, reason).await {
                Ok(()) => {
                    let event = &delivery.event;
                    tracing::error!(
                        consumer.name = self.handler.name(),
                        event.id = %event.id,
                        event.position = event.position.0,
                        event.kind = %event.event_type,
                        reason,
                        "event parked"
                    );
                    self.status.parked();
                    return None;
                }
                Err(ConsumeError::Retry(reason)) => self.status.retried(&reason),
                Err(ConsumeError::Park(reason) | ConsumeError::Halt(reason)) => {
                    return Some(Stopped::Halted { reason: format!("an event could not be parked: {reason}") });
                }
            }
            tokio::select! {
                _ = backoff.pause() => {}
                () = asked(shutdown) => return Some(Stopped::Shutdown),
            }
        }
    }
}

/// With the longest pause of 10 s, about one warning in five minutes.
const RETRIES_PER_WARNING: u32 = 30;

/// For waits that must not give up: the feed and the parking table.
const UNLIMITED: ConsumerConfig = ConsumerConfig {
    batch: 1,
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_secs(10),
    attempts: None,
    gather: Duration::ZERO,
};

/// Resolves once shutdown is asked for; also when whoever could ask is gone.
async fn asked(shutdown: &mut watch::Receiver<bool>) {
    // A closed channel is a shutdown: its owner ended without asking.
    let _ = shutdown.wait_for(|asked| *asked).await;
}

#[cfg(test)]
mod tests;
