//! The one consume loop: batches of what is waiting, retry, park, checkpoint, lag.
//!
//! Where the feed comes in parts, a part whose next event has to wait is held, and the others go on.
//!
//! **Invariant:** a checkpoint moves only with the effects of everything before it, or with the parking of what could
//! not be applied; nothing is skipped silently. Order within a stream is the feed's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::envelope::RecordedEvent;
use crate::feed::{Checkpoint, Checkpoints, Delivery, EventFeed, Fed, FeedError, Follower, Part};
use crate::log::Filter;

mod held;
mod status;

use held::{Held, Sorted};

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

/// What is handled together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Events in the order of the feed.
    pub deliveries: Vec<Delivery>,
    /// Where the feed says that nothing is to come before; later than the events of the same parts.
    pub watermarks: Vec<Checkpoint>,
}

impl Batch {
    /// One event alone.
    #[must_use]
    pub fn of(delivery: Delivery) -> Self {
        Self { deliveries: vec![delivery], watermarks: Vec::new() }
    }

    /// The events.
    pub fn events(&self) -> impl Iterator<Item = &RecordedEvent> {
        self.deliveries.iter().map(|delivery| &delivery.event)
    }

    /// How far the consumer has come with it.
    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints {
        self.deliveries.iter().map(|delivery| &delivery.checkpoint).chain(&self.watermarks).collect()
    }

    fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.watermarks.is_empty()
    }

    /// True when it cannot be told apart any further: one event, or watermarks alone.
    fn is_single(&self) -> bool {
        self.deliveries.len() + usize::from(!self.watermarks.is_empty()) == 1
    }

    /// The same, each part for itself.
    fn by_part(self) -> BTreeMap<Part, Self> {
        let mut parts = BTreeMap::<Part, Self>::new();
        for delivery in self.deliveries {
            parts.entry(delivery.checkpoint.part.clone()).or_default().deliveries.push(delivery);
        }
        for watermark in self.watermarks {
            parts.entry(watermark.part.clone()).or_default().watermarks.push(watermark);
        }
        parts
    }

    /// Drops what is of the part.
    fn forget(&mut self, part: &Part) {
        self.deliveries.retain(|delivery| delivery.checkpoint.part != *part);
        self.watermarks.retain(|watermark| watermark.part != *part);
    }

    /// Takes what was fed; a part that is another's now is told.
    fn push(&mut self, fed: Fed) -> Option<Part> {
        match fed {
            Fed::Event(delivery) => self.deliveries.push(delivery),
            Fed::Watermark(checkpoint) => self.watermarks.push(checkpoint),
            Fed::Revoked(part) => return Some(part),
        }
        None
    }
}

/// What a consumer does with its events. Reasons in errors hold no personal data.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Stable name: it keys the checkpoints.
    fn name(&self) -> &str;

    /// The events it wants.
    fn filter(&self) -> Filter;

    /// How far it has come.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    async fn load_checkpoints(&self) -> Result<Checkpoints, ConsumeError>;

    /// Handles a batch, which may be watermarks alone, and stores its checkpoints with the effects. Either all of it
    /// takes effect or it may be handed in again, whole or in parts: handling an event twice must do nothing more.
    ///
    /// # Errors
    /// See [`ConsumeError`]. After [`ConsumeError::Park`] on several deliveries they are handed in one by one.
    async fn handle(&self, batch: &Batch) -> Result<(), ConsumeError>;

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

    /// How long to wait after one more attempt; none when the attempts are used up.
    fn next_pause(&mut self) -> Option<Duration> {
        self.attempts += 1;
        if self.config.attempts.is_some_and(|most| self.attempts >= most) {
            return None;
        }
        let doubled = self.config.first_pause.saturating_mul(1 << self.attempts.min(20).saturating_sub(1));
        Some(doubled.min(self.config.longest_pause))
    }

    /// Waits; false when the attempts are used up.
    async fn pause(&mut self) -> bool {
        let Some(pause) = self.next_pause() else { return false };
        tokio::time::sleep(pause).await;
        true
    }
}

/// What became of a delivery or a batch.
enum Outcome {
    Done,
    Poison(String),
    Stop(Stopped),
}

/// It has to be tried again, for this reason.
struct Again(String);

/// Follows `feed` for `handler` until `shutdown` turns true or the handler halts.
pub async fn run(
    feed: &dyn EventFeed,
    handler: Arc<dyn Handler>,
    config: &ConsumerConfig,
    status: &ConsumerStatus,
    mut shutdown: watch::Receiver<bool>,
) -> Stopped {
    let _ended = Ended(status);
    let stopped = Loop { feed, handler: &handler, config, status }.follow(&mut shutdown).await;
    if let Stopped::Halted { reason } = &stopped {
        tracing::error!(consumer.name = handler.name(), reason, "consumer halted");
        status.set_state(ConsumerState::Halted { reason: reason.clone() });
    }
    stopped
}

/// Tells when it is dropped that a consumer ended, also where it was aborted.
pub(crate) struct Ended<'a>(pub(crate) &'a ConsumerStatus);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.ended();
    }
}

/// What the feed asks the loop.
struct Following {
    handler: Arc<dyn Handler>,
    held: Arc<Mutex<BTreeSet<Part>>>,
}

#[async_trait]
impl Follower for Following {
    fn held(&self) -> BTreeSet<Part> {
        self.held.lock().clone()
    }

    async fn load(&self) -> Result<Checkpoints, FeedError> {
        self.handler.load_checkpoints().await.map_err(|error| match error {
            ConsumeError::Retry(reason) => FeedError::Unavailable(reason),
            ConsumeError::Park(reason) | ConsumeError::Halt(reason) => FeedError::Corrupt(reason),
        })
    }
}

struct Loop<'a> {
    feed: &'a dyn EventFeed,
    handler: &'a Arc<dyn Handler>,
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
                Err(error @ (FeedError::ForeignCheckpoint | FeedError::Gap { .. } | FeedError::Corrupt(_))) => {
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
        let from = match self.handler.load_checkpoints().await {
            Ok(checkpoints) => checkpoints,
            Err(ConsumeError::Retry(reason)) => return Err(FeedError::Unavailable(reason)),
            Err(error) => return Ok(Stopped::Halted { reason: error.to_string() }),
        };
        self.status.begins_after(&from, self.feed.layout().topics().is_some());
        let mut held = Held::default();
        let in_parts = self.feed.layout().parts().len() > 1;
        let following = Arc::new(Following { handler: Arc::clone(self.handler), held: held.shown() });
        let events = tokio::select! {
            events = self.feed.follow(self.handler.name(), following, self.handler.filter()) => events?,
            () = asked(shutdown) => return Ok(Stopped::Shutdown),
        };
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
            if *shutdown.borrow() {
                return Ok(Stopped::Shutdown);
            }
            // In turns, when both are ready: neither what is new nor what is held may wait for the other for ever.
            let chunk = tokio::select! {
                () = asked(shutdown) => return Ok(Stopped::Shutdown),
                chunk = batches.next() => chunk,
                part = held.due() => {
                    if let Some(stopped) = self.try_again(part, &mut held, shutdown).await {
                        return Ok(stopped);
                    }
                    continue;
                }
            };
            let Some(chunk) = chunk else { return Err(FeedError::Unavailable("the feed ended".to_owned())) };
            let full = chunk.len() >= self.config.batch;
            let Sorted { batch, revoked, broken } = Sorted::of(chunk, &mut held);
            let begun = tokio::time::Instant::now();
            next_at = if full { begun } else { begun + self.config.gather };
            if !revoked.is_empty() {
                revoked.iter().for_each(|part| self.status.gave_up(part));
                self.show(&held);
            }
            if !batch.is_empty() {
                backoff.attempts = 0;
                let stopped = if in_parts {
                    self.consume_parts(batch, &mut held, shutdown).await
                } else {
                    self.consume(batch, shutdown).await
                };
                if let Some(stopped) = stopped {
                    return Ok(stopped);
                }
            }
            if let Some(error) = broken {
                return Err(error);
            }
        }
    }

    /// Handles a batch, one by one where it does not go together.
    async fn consume(&self, batch: Batch, shutdown: &mut watch::Receiver<bool>) -> Option<Stopped> {
        self.status.took(&batch);
        let (count, reached) = (batch.deliveries.len(), batch.checkpoints());
        let stopped = match (self.attempt(&batch, shutdown).await, &batch.deliveries[..]) {
            (Outcome::Done, _) => None,
            (Outcome::Stop(stopped), _) => Some(stopped),
            (Outcome::Poison(reason), []) => Some(Stopped::Halted { reason }),
            // What was tried alone is not tried again.
            (Outcome::Poison(reason), [alone]) if batch.watermarks.is_empty() => {
                self.park(alone, &reason, shutdown).await
            }
            (Outcome::Poison(_), _) => self.one_by_one(batch, shutdown).await,
        };
        if stopped.is_none() {
            self.status.handled(count, &reached);
        }
        stopped
    }

    /// Each stores its own checkpoint.
    async fn one_by_one(&self, batch: Batch, shutdown: &mut watch::Receiver<bool>) -> Option<Stopped> {
        let mut parts: Vec<Batch> = batch.deliveries.into_iter().map(Batch::of).collect();
        if !batch.watermarks.is_empty() {
            parts.push(Batch { deliveries: Vec::new(), watermarks: batch.watermarks });
        }
        for part in parts {
            if *shutdown.borrow() {
                return Some(Stopped::Shutdown);
            }
            let stopped = match (self.attempt(&part, shutdown).await, part.deliveries.first()) {
                (Outcome::Done, _) => None,
                (Outcome::Stop(stopped), _) => Some(stopped),
                (Outcome::Poison(reason), None) => Some(Stopped::Halted { reason }),
                (Outcome::Poison(reason), Some(delivery)) => self.park(delivery, &reason, shutdown).await,
            };
            if stopped.is_some() {
                return stopped;
            }
        }
        None
    }

    /// Hands a batch in until it is done, poisonous, or the loop must stop.
    async fn attempt(&self, batch: &Batch, shutdown: &mut watch::Receiver<bool>) -> Outcome {
        let mut backoff = Backoff::new(self.config);
        loop {
            match self.try_once(batch, backoff.attempts).await {
                Err(Again(reason)) => tokio::select! {
                    more = backoff.pause() => if !more { return Outcome::Poison(reason) },
                    () = asked(shutdown) => return Outcome::Stop(Stopped::Shutdown),
                },
                Ok(outcome) => return outcome,
            }
        }
    }

    /// Hands a batch in, after so many attempts.
    async fn try_once(&self, batch: &Batch, attempts: u32) -> Result<Outcome, Again> {
        let reason = match self.handler.handle(batch).await {
            Ok(()) => {
                self.status.set_state(ConsumerState::Running);
                return Ok(Outcome::Done);
            }
            Err(ConsumeError::Park(reason)) => return Ok(Outcome::Poison(reason)),
            Err(ConsumeError::Halt(reason)) => return Ok(Outcome::Stop(Stopped::Halted { reason })),
            Err(ConsumeError::Retry(reason)) => reason,
        };
        // The first retry is told, then each time that the pause has doubled often enough to matter.
        if attempts.is_multiple_of(RETRIES_PER_WARNING) {
            let (consumer, retries) = (self.handler.name(), attempts);
            tracing::warn!(consumer.name = consumer, retries, reason, "events have to wait");
        }
        self.status.retried(&reason);
        Err(Again(reason))
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
                Err(ConsumeError::Retry(reason)) => {
                    if backoff.attempts.is_multiple_of(RETRIES_PER_WARNING) {
                        let (consumer, retries) = (self.handler.name(), backoff.attempts);
                        tracing::warn!(consumer.name = consumer, retries, reason, "an event has to wait to be parked");
                    }
                    self.status.retried(&reason);
                }
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
