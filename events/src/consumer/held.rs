//! Parts of a feed whose next event has to wait, while the other parts go on.
//!
//! **Invariant:** of a held part nothing is handled out of order and nothing is dropped but what another process has now;
//! the feed is asked for no more of it, so that what waits here is bounded by what was on its way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Again, Backoff, Batch, Loop, Outcome, Stopped, asked};
use crate::feed::{Checkpoint, Delivery, Fed, FeedError, Part};

/// A batch is tried so often as a whole before its parts are told from each other.
const TOGETHER: u32 = 3;

/// What waits of one part.
struct Waiting {
    deliveries: VecDeque<Delivery>,
    watermarks: Vec<Checkpoint>,
    /// How often the first of it was tried alone.
    attempts: u32,
    due: Instant,
    /// How often something could be handled before it was tried last.
    successes: u64,
    /// It failed again although others could be handled meanwhile: it waits for something of its own.
    alone: bool,
    reason: String,
}

impl Waiting {
    fn new(batch: Batch) -> Self {
        let Batch { deliveries, watermarks } = batch;
        let (due, reason) = (Instant::now(), String::new());
        Self { deliveries: deliveries.into(), watermarks, attempts: 0, due, successes: 0, alone: false, reason }
    }

    fn take_all(&mut self) -> Batch {
        Batch {
            deliveries: std::mem::take(&mut self.deliveries).into(),
            watermarks: std::mem::take(&mut self.watermarks),
        }
    }

    /// The first event; the watermarks, which are behind all events, when there is none.
    fn take_first(&mut self) -> Batch {
        self.deliveries.pop_front().map_or_else(|| self.take_all(), Batch::of)
    }

    fn put_back(&mut self, batch: Batch) {
        batch.deliveries.into_iter().rev().for_each(|delivery| self.deliveries.push_front(delivery));
        self.watermarks.splice(0..0, batch.watermarks);
    }
}

/// The parts that are held.
#[derive(Default)]
pub(super) struct Held {
    parts: BTreeMap<Part, Waiting>,
    /// How often something could be handled.
    successes: u64,
    /// The same parts, for the feed.
    shown: Arc<Mutex<BTreeSet<Part>>>,
}

impl Held {
    /// The parts that are held, whenever it is looked at.
    pub(super) fn shown(&self) -> Arc<Mutex<BTreeSet<Part>>> {
        Arc::clone(&self.shown)
    }

    /// Takes what was fed of a held part, to be handled after what waits; gives back what is of no held part.
    pub(super) fn queue(&mut self, fed: Fed) -> Option<Fed> {
        let part = match &fed {
            Fed::Event(delivery) => &delivery.checkpoint.part,
            Fed::Watermark(checkpoint) => &checkpoint.part,
            Fed::Revoked(part) => {
                let part = part.clone();
                self.release(&part);
                return Some(fed);
            }
        };
        match self.parts.get_mut(part) {
            None => return Some(fed),
            Some(waiting) => match fed {
                Fed::Event(delivery) => waiting.deliveries.push_back(delivery),
                Fed::Watermark(checkpoint) => waiting.watermarks.push(checkpoint),
                Fed::Revoked(_) => {}
            },
        }
        None
    }

    fn hold(&mut self, part: Part, waiting: Waiting) {
        self.shown.lock().insert(part.clone());
        self.parts.insert(part, waiting);
    }

    /// Nothing waits of it any more: the feed may bring what comes next.
    fn release(&mut self, part: &Part) {
        self.shown.lock().remove(part);
        self.parts.remove(part);
    }

    /// Something could be handled: what the others wait for may be back, too, unless they failed while it was there.
    fn hurry(&mut self) {
        self.successes += 1;
        let now = Instant::now();
        self.parts.values_mut().filter(|waiting| !waiting.alone).for_each(|waiting| waiting.due = now);
    }

    /// Waits until the next of them is to be tried again; for ever when none is held.
    pub(super) async fn due(&self) -> Part {
        let next = self.parts.iter().min_by_key(|(_, waiting)| waiting.due);
        match next {
            Some((part, waiting)) => {
                tokio::time::sleep_until(waiting.due).await;
                part.clone()
            }
            None => std::future::pending().await,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shown.lock().clear();
    }
}

/// A chunk of the feed, sorted.
pub(super) struct Sorted {
    /// What is of no held part.
    pub(super) batch: Batch,
    /// Parts that are another's now.
    pub(super) revoked: Vec<Part>,
    /// Why the feed ended, when it did.
    pub(super) broken: Option<FeedError>,
}

impl Sorted {
    pub(super) fn of(chunk: Vec<Result<Fed, FeedError>>, held: &mut Held) -> Self {
        let batch = Batch { deliveries: Vec::with_capacity(chunk.len()), watermarks: Vec::new() };
        let mut sorted = Self { batch, revoked: Vec::new(), broken: None };
        for fed in chunk {
            match fed {
                Ok(fed) => {
                    let Some(fed) = held.queue(fed) else { continue };
                    if let Some(part) = sorted.batch.push(fed) {
                        // It is the other's to handle; what comes after it is ours again.
                        sorted.batch.forget(&part);
                        sorted.revoked.push(part);
                    }
                }
                Err(error) => {
                    sorted.broken = Some(error);
                    break;
                }
            }
        }
        sorted
    }
}

impl Loop<'_> {
    /// Handles a batch of a feed that comes in parts: together, or part by part where that fails.
    pub(super) async fn consume_parts(
        &self,
        batch: Batch,
        held: &mut Held,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Option<Stopped> {
        self.status.took(&batch);
        let mut backoff = Backoff::new(self.config);
        let outcome = loop {
            match self.try_once(&batch, backoff.attempts).await {
                Err(_) if backoff.attempts + 1 < TOGETHER => {}
                outcome => break outcome,
            }
            tokio::select! {
                _ = backoff.pause() => {}
                () = asked(shutdown) => return Some(Stopped::Shutdown),
            }
        };
        match outcome {
            Ok(Outcome::Done) => {
                self.status.handled(batch.deliveries.len(), &batch.checkpoints());
                held.hurry();
            }
            Ok(Outcome::Stop(stopped)) => return Some(stopped),
            Ok(Outcome::Poison(_)) | Err(_) => {
                for (part, batch) in batch.by_part() {
                    if let Some(stopped) = self.hand_in(part, Waiting::new(batch), held, shutdown).await {
                        return Some(stopped);
                    }
                }
            }
        }
        self.show(held);
        None
    }

    /// Tries a held part again.
    pub(super) async fn try_again(
        &self,
        part: Part,
        held: &mut Held,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Option<Stopped> {
        // The feed brings no more of it meanwhile.
        let waiting = held.parts.remove(&part)?;
        let stopped = self.hand_in(part, waiting, held, shutdown).await;
        self.show(held);
        stopped
    }

    /// Handles what waits of a part for as long as that works, one by one where it does not go together; holds the rest.
    async fn hand_in(
        &self,
        part: Part,
        mut waiting: Waiting,
        held: &mut Held,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Option<Stopped> {
        // What failed before is tried alone.
        let mut together = waiting.attempts == 0;
        loop {
            if *shutdown.borrow() {
                return Some(Stopped::Shutdown);
            }
            let tried = if together { waiting.take_all() } else { waiting.take_first() };
            if tried.is_empty() {
                held.release(&part);
                return None;
            }
            let reason = match self.try_once(&tried, waiting.attempts).await {
                Ok(Outcome::Done) => {
                    self.status.handled(tried.deliveries.len(), &tried.checkpoints());
                    held.hurry();
                    together = waiting.attempts > 0;
                    waiting.attempts = 0;
                    continue;
                }
                Ok(Outcome::Stop(stopped)) => return Some(stopped),
                Ok(Outcome::Poison(_)) | Err(_) if !tried.is_single() => {
                    // Which one it is shows when they come one by one.
                    waiting.put_back(tried);
                    together = false;
                    continue;
                }
                Err(Again(reason)) => {
                    let mut backoff = Backoff { config: self.config, attempts: waiting.attempts };
                    if let Some(pause) = backoff.next_pause() {
                        waiting.put_back(tried);
                        waiting.alone = waiting.attempts > 0 && waiting.successes < held.successes;
                        (waiting.attempts, waiting.successes) = (backoff.attempts, held.successes);
                        (waiting.due, waiting.reason) = (Instant::now() + pause, reason);
                        held.hold(part, waiting);
                        return None;
                    }
                    reason
                }
                Ok(Outcome::Poison(reason)) => reason,
            };
            let [alone] = &tried.deliveries[..] else { return Some(Stopped::Halted { reason }) };
            if let Some(stopped) = self.park(alone, &reason, shutdown).await {
                return Some(stopped);
            }
            self.status.handled(1, &tried.checkpoints());
            (waiting.attempts, together) = (0, true);
        }
    }

    pub(super) fn show(&self, held: &Held) {
        let waiting = || held.parts.values();
        let oldest = waiting().flat_map(|waiting| &waiting.deliveries).map(|delivery| delivery.event.recorded_at).min();
        let reason = waiting().next().map(|waiting| waiting.reason.as_str());
        self.status.holds(held.parts.len(), oldest, reason);
    }
}

#[cfg(test)]
mod tests;
