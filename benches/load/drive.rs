//! Sends deliveries: as fast as they are answered (closed loop), or at a rate whatever the answers do (open loop).
//!
//! **Invariant:** in the open loop every latency counts from the moment at which the delivery was to be sent, so that a
//! server that stalls is charged for all that had to wait (no coordinated omission). The timer's millisecond is in it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::LocalSet;

use crate::client::{Connection, Target};
use crate::deliveries::{Deliveries, REPEAT_EVERY};

/// Longest latency that is told apart, in microseconds.
const LONGEST_US: u64 = 120_000_000;

/// How deliveries are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// The next one on a connection once the last was answered.
    Closed,
    /// So many per second.
    Open {
        /// Deliveries per second.
        per_second: u32,
    },
}

/// What to send.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// How.
    pub(crate) pace: Pace,
    /// Connections, each with one request under way.
    pub(crate) connections: usize,
    /// The number of the first delivery.
    pub(crate) first: u64,
    /// For at least this time...
    pub(crate) time: Duration,
    /// ...and at least so many deliveries...
    pub(crate) deliveries: u64,
    /// ...but never for longer than this.
    pub(crate) at_most: Duration,
}

/// What came of it.
pub(crate) struct Sent {
    /// Distinct deliveries acknowledged with 2xx.
    pub(crate) acknowledged: u64,
    /// Deliveries sent a second time and acknowledged again.
    pub(crate) repeated: u64,
    /// Other answers and broken connections.
    pub(crate) refused: u64,
    /// From the first send to the last answer.
    pub(crate) elapsed: Duration,
    /// Latencies in microseconds.
    pub(crate) latency: Histogram<u32>,
}

impl Sent {
    /// Acknowledgements per second, repeats included.
    pub(crate) fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let answers = (self.acknowledged + self.repeated) as f64;
        answers / self.elapsed.as_secs_f64()
    }

    /// A quantile of the latency, in milliseconds.
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        ms(&self.latency, quantile)
    }
}

/// A quantile in milliseconds of a histogram in microseconds.
pub(crate) fn ms(histogram: &Histogram<u32>, quantile: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most two minutes in microseconds")]
    let microseconds = histogram.value_at_quantile(quantile) as f64;
    microseconds / 1e3
}

/// A histogram of microseconds.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u32>> {
    Ok(Histogram::new_with_bounds(1, LONGEST_US, 3)?)
}

/// Counts a latency.
pub(crate) fn record(histogram: &mut Histogram<u32>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US).max(1));
}

struct Shared {
    next: Cell<u64>,
    acknowledged: Cell<u64>,
    repeated: Cell<u64>,
    refused: Cell<u64>,
    latency: RefCell<Histogram<u32>>,
}

/// Sends by `plan`; `accepted` hears of every first acknowledgement, with the number of the delivery, the moment it
/// was to be sent and the moment its answer was there.
pub(crate) async fn drive(
    target: &Target,
    deliveries: &Rc<Deliveries>,
    plan: Plan,
    accepted: impl Fn(u64, Instant, Instant) + Clone + 'static,
) -> anyhow::Result<Sent> {
    let shared = Rc::new(Shared {
        next: Cell::new(plan.first),
        acknowledged: Cell::new(0),
        repeated: Cell::new(0),
        refused: Cell::new(0),
        latency: RefCell::new(histogram()?),
    });
    let tasks = LocalSet::new();
    let start = Instant::now();
    for _ in 0..plan.connections {
        let (target, deliveries, shared) = (target.clone(), Rc::clone(deliveries), Rc::clone(&shared));
        let accepted = accepted.clone();
        tasks.spawn_local(async move {
            let worker = Worker { target, deliveries, plan, start, shared: &shared, accepted };
            if let Err(error) = worker.run().await {
                eprintln!("a connection ended: {error:#}");
                shared.refused.set(shared.refused.get() + 1);
            }
        });
    }
    tasks.await;
    let elapsed = start.elapsed();
    Ok(Sent {
        acknowledged: shared.acknowledged.get(),
        repeated: shared.repeated.get(),
        refused: shared.refused.get(),
        elapsed,
        latency: shared.latency.borrow().clone(),
    })
}

struct Worker<'a, F> {
    target: Target,
    deliveries: Rc<Deliveries>,
    plan: Plan,
    start: Instant,
    shared: &'a Shared,
    accepted: F,
}

impl<F: Fn(u64, Instant, Instant)> Worker<'_, F> {
    async fn run(&self) -> anyhow::Result<()> {
        let mut connection = Connection::open(&self.target.address).await?;
        while let Some((number, due)) = self.next() {
            if let Some(due) = due {
                tokio::time::sleep_until(due.into()).await;
            }
            let body = self.deliveries.body(number);
            let begun = due.unwrap_or_else(Instant::now);
            let status = connection.post(&self.target, body.as_bytes()).await?;
            let answered = Instant::now();
            record(&mut self.shared.latency.borrow_mut(), answered - begun);
            if !(200..300).contains(&status) {
                self.shared.refused.set(self.shared.refused.get() + 1);
                continue;
            }
            self.shared.acknowledged.set(self.shared.acknowledged.get() + 1);
            (self.accepted)(number, begun, answered);
            if number % REPEAT_EVERY == 0 {
                let again = Instant::now();
                let status = connection.post(&self.target, body.as_bytes()).await?;
                record(&mut self.shared.latency.borrow_mut(), again.elapsed());
                let counter = if (200..300).contains(&status) { &self.shared.repeated } else { &self.shared.refused };
                counter.set(counter.get() + 1);
            }
        }
        Ok(())
    }

    /// The number of the next delivery and, in the open loop, when it is due; `None` when the plan is fulfilled.
    fn next(&self) -> Option<(u64, Option<Instant>)> {
        let number = self.shared.next.get();
        let count = number - self.plan.first;
        let due = match self.plan.pace {
            Pace::Closed => None,
            Pace::Open { per_second } => {
                Some(self.start + Duration::from_nanos(count * 1_000_000_000 / u64::from(per_second)))
            }
        };
        let time = due.map_or_else(|| self.start.elapsed(), |due| due - self.start);
        let enough = time >= self.plan.time && count >= self.plan.deliveries;
        if enough || time >= self.plan.at_most {
            return None;
        }
        self.shared.next.set(number + 1);
        Some((number, due))
    }
}
