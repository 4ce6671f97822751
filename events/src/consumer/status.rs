//! What a consumer shows of itself: state and lag, for readiness and metrics.
//!
//! **Invariant:** reading it never waits for the consumer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Batch;
use crate::envelope::Position;
use crate::feed::{Checkpoints, Part};

/// What the consumer is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ConsumerState {
    /// Not yet following.
    #[default]
    Starting,
    /// Following.
    Running,
    /// Something it needs is away; it tries again by itself.
    Waiting {
        /// What, without personal data.
        reason: String,
    },
    /// It was asked to stop.
    Stopped,
    /// Going on would do harm: a person must look.
    Halted {
        /// Why, without personal data.
        reason: String,
    },
}

/// How far a consumer is behind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lag {
    /// Between the last handled event and the last one in the log that is known; a filter makes this an upper bound.
    pub positions: u64,
    /// Age of the oldest event in hand that is not handled yet, or how long it has been waiting for something that it
    /// needs, whichever is longer: what it cannot get at may have come right then. Zero when neither is the case.
    pub age: Duration,
}

#[derive(Debug, Default)]
struct Inner {
    state: ConsumerState,
    /// Since when it waits for something that it needs.
    waiting_since: Option<Instant>,
    seen: Position,
    handled: Checkpoints,
    /// True when it shares the parts of the feed with others: it is behind only in those that it has.
    shares: bool,
    oldest_in_hand: Option<DateTime<Utc>>,
    /// Parts that are held, and what was recorded first in them.
    held: (usize, Option<DateTime<Utc>>),
    events: u64,
    batches: u64,
    retries: u64,
    parked: u64,
}

impl Inner {
    fn set_state(&mut self, state: ConsumerState) {
        let waits = matches!(state, ConsumerState::Waiting { .. });
        self.waiting_since = waits.then(|| self.waiting_since.unwrap_or_else(Instant::now));
        self.state = state;
    }
}

/// State and counters of one consumer.
#[derive(Debug, Default)]
pub struct ConsumerStatus(Mutex<Inner>);

impl ConsumerStatus {
    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> ConsumerState {
        self.0.lock().state.clone()
    }

    /// The position up to which everything is handled in each of its parts: by its checkpoints when it began, or since.
    #[must_use]
    pub fn handled_up_to(&self) -> Position {
        self.0.lock().handled.least()
    }

    /// Events handled, batches handled, retries and parked events since the start.
    #[must_use]
    pub fn counts(&self) -> [u64; 4] {
        let inner = self.0.lock();
        [inner.events, inner.batches, inner.retries, inner.parked]
    }

    /// Parts of the feed whose next event has to wait while the others go on.
    #[must_use]
    pub fn held_parts(&self) -> usize {
        self.0.lock().held.0
    }

    /// How far it is behind at `now`, where the log's last position is `head`, if the caller knows it.
    #[must_use]
    pub fn lag(&self, head: Option<Position>, now: DateTime<Utc>) -> Lag {
        let inner = self.0.lock();
        let idle = inner.shares && inner.handled.is_empty();
        let last = if idle { Position::START } else { head.unwrap_or(inner.seen).max(inner.seen) };
        let oldest = inner.oldest_in_hand.into_iter().chain(inner.held.1).min();
        let age = oldest.and_then(|oldest| (now - oldest).to_std().ok()).unwrap_or_default();
        let age = age.max(inner.waiting_since.map_or(Duration::ZERO, |since| since.elapsed()));
        Lag { positions: last.0.saturating_sub(inner.handled.least().0), age }
    }

    /// It is to consume what comes after the checkpoints, where these are known, but something that it needs is away.
    #[cfg(feature = "kafka")]
    pub(crate) fn cannot_begin(&self, reason: String, after: Option<&Checkpoints>, oldest: Option<DateTime<Utc>>) {
        if let Some(after) = after {
            self.begins_after(after, false);
        }
        let mut inner = self.0.lock();
        inner.oldest_in_hand = oldest;
        inner.set_state(ConsumerState::Waiting { reason });
    }

    /// It consumes no more: whoever does now tells how far it is. One that halted stays so, with what it has in hand.
    pub(super) fn ended(&self) {
        let mut inner = self.0.lock();
        if !matches!(inner.state, ConsumerState::Halted { .. }) {
            inner.set_state(ConsumerState::Stopped);
            (inner.oldest_in_hand, inner.held) = (None, (0, None));
        }
    }

    pub(super) fn set_state(&self, state: ConsumerState) {
        self.0.lock().set_state(state);
    }

    /// Everything up to the checkpoints was handled before.
    pub(super) fn begins_after(&self, checkpoints: &Checkpoints, shares: bool) {
        let mut inner = self.0.lock();
        inner.seen = inner.seen.max(checkpoints.greatest());
        inner.shares = shares;
        inner.held = (0, None);
        // Parts that others have do not count; this one's tell of themselves.
        inner.handled = if shares { Checkpoints::start() } else { Checkpoints::of_position(checkpoints.least()) };
    }

    /// A part is another's now.
    pub(super) fn gave_up(&self, part: &Part) {
        self.0.lock().handled.remove(part);
    }

    pub(super) fn took(&self, batch: &Batch) {
        let mut inner = self.0.lock();
        let watermarks = batch.watermarks.iter().map(|watermark| watermark.position);
        let last = batch.events().map(|event| event.position).chain(watermarks).max().unwrap_or_default();
        inner.seen = inner.seen.max(last);
        inner.oldest_in_hand = batch.events().map(|event| event.recorded_at).min();
    }

    pub(super) fn handled(&self, events: usize, reached: &Checkpoints) {
        let mut inner = self.0.lock();
        inner.handled.merge(reached);
        inner.oldest_in_hand = None;
        inner.events += events as u64;
        inner.batches += 1;
    }

    pub(super) fn retried(&self, reason: &str) {
        let mut inner = self.0.lock();
        inner.retries += 1;
        inner.set_state(ConsumerState::Waiting { reason: reason.to_owned() });
    }

    /// So many parts wait, for this reason.
    pub(super) fn holds(&self, parts: usize, oldest: Option<DateTime<Utc>>, reason: Option<&str>) {
        let mut inner = self.0.lock();
        let before = std::mem::replace(&mut inner.held, (parts, oldest)).0;
        match reason {
            Some(reason) => {
                inner.set_state(ConsumerState::Waiting { reason: format!("parts that wait: {parts}; {reason}") });
            }
            None if before > 0 => inner.set_state(ConsumerState::Running),
            None => {}
        }
    }

    pub(super) fn parked(&self) {
        self.0.lock().parked += 1;
    }
}
