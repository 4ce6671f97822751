//! Work that one process at a time does, by a lease.
//!
//! **Invariant:** the work stops before the lease could be another's: it is stopped when it was not renewed in time, by
//! this process's own clock, counted from before it asked. What a late one still does, the log's revisions refuse.

use std::sync::Arc;
use std::time::Duration;

use events::lease::{Lease, Leases};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::shutdown;

/// How long a lease is held without being renewed: after a crash another process takes over so much later, at most.
const TTL: Duration = Duration::from_secs(6);
/// How often it is renewed, and how often those who wait look whether it is free.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// The work is told to stop so long before the lease ends.
const MARGIN: Duration = Duration::from_secs(1);

/// Pause before work that ended, or a lease that was lost, is taken up again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Does `work` while this process holds `name`, until `stop` turns true. The work is given a watch that turns true when it
/// has to stop; when it ends by itself, it is begun again.
pub async fn hold<F>(
    leases: Arc<dyn Leases>,
    name: &str,
    holder: &str,
    mut stop: watch::Receiver<bool>,
    work: impl Fn(watch::Receiver<bool>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    while let Some((lease, until)) = acquire(&*leases, name, holder, &mut stop).await {
        tracing::info!(lease = name, term = lease.term, "this process does it now");
        let (stopping, stopped) = watch::channel(false);
        let running = tokio::spawn(work(stopped));
        let kept = keep(&*leases, lease, until, &mut stop, running, &stopping).await;
        match kept {
            // By then it is over by itself.
            Kept::Held(lease) => match timeout(TTL, leases.release(&lease)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(lease = name, %error, "a lease was not released: the next holder waits for its end");
                }
                Err(_) => tracing::warn!(lease = name, "a lease was not released in time"),
            },
            Kept::Lost => tracing::warn!(lease = name, "another process may do it now"),
        }
        tokio::select! {
            biased;
            () = shutdown::asked(&mut stop) => return,
            () = tokio::time::sleep(AGAIN_AFTER) => {}
        }
    }
}

/// How it ended.
enum Kept {
    /// The work has ended, the lease is still ours.
    Held(Lease),
    /// The lease is, or may be, another's.
    Lost,
}

/// Waits for the lease; `None` when it is to stop. An answer that comes too late to be renewed in time is none.
async fn acquire(
    leases: &dyn Leases,
    name: &str,
    holder: &str,
    stop: &mut watch::Receiver<bool>,
) -> Option<(Lease, Instant)> {
    let mut told = false;
    loop {
        let asked = Instant::now();
        let answer = tokio::select! {
            biased;
            () = shutdown::asked(stop) => return None,
            answer = timeout_at(asked + TTL - MARGIN - RENEW_EVERY, leases.acquire(name, holder, TTL)) => answer,
        };
        match answer {
            Ok(Ok(Some(lease))) => return Some((lease, asked + TTL)),
            Ok(Ok(None)) if !told => {
                told = true;
                tracing::info!(lease = name, "another process does it; this one stands by");
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(lease = name, %error, "leases cannot be asked for"),
            Err(_) => tracing::warn!(lease = name, "a lease was not answered in time"),
        }
        tokio::select! {
            biased;
            () = shutdown::asked(stop) => return None,
            () = sleep_until(asked + RENEW_EVERY / 2) => {}
        }
    }
}

async fn keep(
    leases: &dyn Leases,
    mut lease: Lease,
    mut until: Instant,
    stop: &mut watch::Receiver<bool>,
    mut running: JoinHandle<()>,
    stopping: &watch::Sender<bool>,
) -> Kept {
    let mut told = false;
    // Counted from when it was asked for: the answer may have come late.
    let mut renew_at = until - TTL + RENEW_EVERY;
    loop {
        tokio::select! {
            biased;
            _ = &mut running => return Kept::Held(lease),
            () = shutdown::asked(stop), if !told => {
                // What it finishes may take longer than the lease, which is renewed meanwhile.
                told = true;
                stopping.send_replace(true);
                continue;
            }
            () = sleep_until(renew_at) => {}
        }
        let asked = Instant::now();
        match timeout_at(until - MARGIN, leases.renew(&lease, TTL)).await {
            Ok(Ok(Some(renewed))) => {
                lease = renewed;
                until = asked + TTL;
                renew_at = asked + RENEW_EVERY;
                continue;
            }
            Ok(Ok(None)) => {}
            // There may be time for another try.
            Ok(Err(error)) if Instant::now() + RENEW_EVERY < until - MARGIN => {
                tracing::warn!(lease = lease.name, %error, "a lease was not renewed");
                renew_at = Instant::now() + RENEW_EVERY;
                continue;
            }
            Ok(Err(_)) | Err(_) => {}
        }
        stopping.send_replace(true);
        if timeout_at(until, &mut running).await.is_err() {
            running.abort();
        }
        return Kept::Lost;
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use chrono::{DateTime, Utc};
    use events::clock::Clock;
    use events::lease::LeaseError;
    use events::testing::memory_leases::MemoryLeases;
    use tokio::sync::mpsc;

    use super::*;

    /// The time of the test's runtime, which moves when everybody waits.
    struct Paused(Instant);

    impl Clock for Paused {
        fn now(&self) -> DateTime<Utc> {
            events::testing::sample_time() + self.0.elapsed()
        }
    }

    /// Leases whose answers are long on their way.
    struct Far {
        leases: MemoryLeases,
        acquired_after: Duration,
        renewed_after: Duration,
        released_after: Duration,
    }

    #[async_trait]
    impl Leases for Far {
        async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, LeaseError> {
            let answer = self.leases.acquire(name, holder, ttl).await;
            tokio::time::sleep(self.acquired_after).await;
            answer
        }

        async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Option<Lease>, LeaseError> {
            let answer = self.leases.renew(lease, ttl).await;
            tokio::time::sleep(self.renewed_after).await;
            answer
        }

        async fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
            tokio::time::sleep(self.released_after).await;
            self.leases.release(lease).await
        }

        async fn holder_of(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
            self.leases.holder_of(name).await
        }
    }

    fn far(acquired_after: Duration, renewed_after: Duration) -> Arc<Far> {
        let leases = MemoryLeases::new(Arc::new(Paused(Instant::now())));
        Arc::new(Far { leases, acquired_after, renewed_after, released_after: Duration::ZERO })
    }

    /// Starts a holder that tells when it begins and ends.
    fn start<L: Leases + 'static>(
        leases: &Arc<L>,
        holder: &'static str,
        told: &mpsc::UnboundedSender<String>,
    ) -> (watch::Sender<bool>, JoinHandle<()>) {
        start_slow(leases, holder, told, Duration::ZERO)
    }

    /// The same, where it takes so long to end.
    fn start_slow<L: Leases + 'static>(
        leases: &Arc<L>,
        holder: &'static str,
        told: &mpsc::UnboundedSender<String>,
        ends_after: Duration,
    ) -> (watch::Sender<bool>, JoinHandle<()>) {
        let (stop, stopped) = watch::channel(false);
        let (leases, told): (Arc<dyn Leases>, _) = (Arc::<L>::clone(leases) as _, told.clone());
        let held = tokio::spawn(async move {
            hold(leases, "relay", holder, stopped, |mut stop| {
                let told = told.clone();
                async move {
                    told.send(format!("{holder} begins")).unwrap();
                    shutdown::asked(&mut stop).await;
                    tokio::time::sleep(ends_after).await;
                    told.send(format!("{holder} ends")).unwrap();
                }
            })
            .await;
        });
        (stop, held)
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_does_it_and_the_next_takes_over() {
        let leases = Arc::new(MemoryLeases::new(Arc::new(Paused(Instant::now()))));
        let (told, mut heard) = mpsc::unbounded_channel();
        let (stop_one, one) = start(&leases, "one", &told);
        assert_eq!(heard.recv().await.unwrap(), "one begins");
        let (stop_two, two) = start(&leases, "two", &told);
        tokio::time::sleep(TTL * 3).await;
        assert!(heard.try_recv().is_err(), "a renewed lease stays where it is");
        stop_one.send_replace(true);
        one.await.unwrap();
        assert_eq!(heard.recv().await.unwrap(), "one ends");
        assert_eq!(heard.recv().await.unwrap(), "two begins");
        // It vanishes without a word: a third gets it once its time is over.
        two.abort();
        let gone = Instant::now();
        let (_stop, _three) = start(&leases, "three", &told);
        loop {
            let next = heard.recv().await.unwrap();
            if next == "three begins" {
                break;
            }
        }
        assert!(gone.elapsed() <= TTL + RENEW_EVERY, "{:?}", gone.elapsed());
        drop(stop_two);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_by_itself_is_begun_again() {
        let leases: Arc<dyn Leases> = Arc::new(MemoryLeases::new(Arc::new(Paused(Instant::now()))));
        let (stop, stopped) = watch::channel(false);
        let (told, mut heard) = mpsc::unbounded_channel();
        let held = tokio::spawn(async move {
            hold(leases, "relay", "one", stopped, |_stop| {
                let told = told.clone();
                async move { told.send(()).unwrap() }
            })
            .await;
        });
        for _ in 0..3 {
            heard.recv().await.unwrap();
        }
        stop.send_replace(true);
        held.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_long_to_stop_is_not_replaced_before_it_has() {
        let leases = Arc::new(MemoryLeases::new(Arc::new(Paused(Instant::now()))));
        let (told, mut heard) = mpsc::unbounded_channel();
        let (stop_one, one) = start_slow(&leases, "one", &told, Duration::from_secs(10));
        assert_eq!(heard.recv().await.unwrap(), "one begins");
        let (_stop_two, _two) = start(&leases, "two", &told);
        stop_one.send_replace(true);
        assert_eq!(heard.recv().await.unwrap(), "one ends");
        let ended = Instant::now();
        assert_eq!(heard.recv().await.unwrap(), "two begins");
        assert!(ended.elapsed() < RENEW_EVERY, "it was given up then");
        one.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_over_when_it_comes_is_not_worked_on_nor_waited_for() {
        let (told, mut heard) = mpsc::unbounded_channel();
        let leases = far(TTL + Duration::from_secs(1), Duration::ZERO);
        let (stop, held) = start(&leases, "one", &told);
        tokio::time::sleep(TTL * 10).await;
        assert!(heard.try_recv().is_err());
        let asked = Instant::now();
        stop.send_replace(true);
        held.await.unwrap();
        assert!(asked.elapsed() < MARGIN, "{:?}", asked.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_comes_late_is_renewed_so_much_the_sooner() {
        let (told, mut heard) = mpsc::unbounded_channel();
        let leases = far(Duration::from_millis(2_500), Duration::from_secs(1));
        let (_stop, _held) = start(&leases, "one", &told);
        assert_eq!(heard.recv().await.unwrap(), "one begins");
        tokio::time::sleep(TTL * 10).await;
        assert!(heard.try_recv().is_err(), "it goes on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_that_is_not_answered_keeps_nobody_from_stopping() {
        let leases = MemoryLeases::new(Arc::new(Paused(Instant::now())));
        let (acquired_after, renewed_after) = (Duration::ZERO, Duration::ZERO);
        let leases = Far { leases, acquired_after, renewed_after, released_after: Duration::from_secs(3600) };
        let (told, mut heard) = mpsc::unbounded_channel();
        let (stop, held) = start(&Arc::new(leases), "one", &told);
        assert_eq!(heard.recv().await.unwrap(), "one begins");
        let asked = Instant::now();
        stop.send_replace(true);
        held.await.unwrap();
        assert!(asked.elapsed() <= TTL, "{:?}", asked.elapsed());
    }
}
