//! How many senders wait for their answer, and who gives way to them.
//!
//! **Invariant:** a backlog waits for intake and never stands still: what gives way goes on after [`LONGEST_WAIT`],
//! however many senders there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use events::consumer::{self, Batch, ConsumeError};
use events::feed::{Checkpoints, Delivery};
use events::log::Filter;

/// So many senders waiting at once mean that intake is at the limit of the disk or the processors: at 4,000 deliveries a
/// second, each answered within 5 ms, twenty wait (`docs/benchmarks.md`).
const HIGH: usize = 24;
/// How often is looked whether the senders have been answered.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long a batch of the backlog waits at most: at 512 deliveries a batch, waiting alone holds it to no less than some
/// 1,000 a second.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Counts the senders that wait.
#[derive(Debug, Default)]
pub struct Pressure {
    waiting: AtomicUsize,
}

/// A sender that waits, until it is dropped.
#[derive(Debug)]
pub struct Waiting(Arc<Pressure>);

impl Pressure {
    /// A sender waits from now on.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(self))
    }

    fn is_high(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= HIGH
    }

    /// Waits while many senders do, but not for ever.
    pub async fn give_way(&self) {
        let start = tokio::time::Instant::now();
        while self.is_high() && start.elapsed() < LONGEST_WAIT {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A consumer whose batches give way.
pub struct GivingWay<H> {
    /// What handles them.
    pub handler: H,
    /// To whom.
    pub pressure: Arc<Pressure>,
}

#[async_trait]
impl<H: consumer::Handler> consumer::Handler for GivingWay<H> {
    fn name(&self) -> &str {
        self.handler.name()
    }

    fn filter(&self) -> Filter {
        self.handler.filter()
    }

    async fn load_checkpoints(&self) -> Result<Checkpoints, ConsumeError> {
        self.handler.load_checkpoints().await
    }

    async fn handle(&self, batch: &Batch) -> Result<(), ConsumeError> {
        // What is handed in alone has waited with its batch.
        if batch.deliveries.len() > 1 {
            self.pressure.give_way().await;
        }
        self.handler.handle(batch).await
    }

    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), ConsumeError> {
        self.handler.park(delivery, reason).await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_backlog_gives_way_to_many_senders_and_not_for_ever() {
        let pressure = Arc::new(Pressure::default());
        let start = tokio::time::Instant::now();
        let few: Vec<Waiting> = (1..HIGH).map(|_| pressure.enter()).collect();
        pressure.give_way().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        let one_more = pressure.enter();
        pressure.give_way().await;
        assert_eq!(start.elapsed(), LONGEST_WAIT);
        drop(one_more);
        pressure.give_way().await;
        assert_eq!(start.elapsed(), LONGEST_WAIT);
        drop(few);
        assert_eq!(pressure.waiting.load(Ordering::Relaxed), 0);
    }
}
