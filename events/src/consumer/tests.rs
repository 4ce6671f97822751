//! Tests of the consume loop.
//!
//! **Invariant:** no test waits for a clock: pauses are microseconds, or an hour that must not be waited for.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Batch, ConsumeError, ConsumerConfig, ConsumerState, ConsumerStatus, Handler, Stopped, run};
use crate::clock::FixedClock;
use crate::envelope::Position;
use crate::feed::{Checkpoints, Delivery, LogFeed};
use crate::log::{EventLog, ExpectedRevision, Filter};
use crate::testing::{MemoryLog, fresh_stream, fresh_tenant, sample_events, sample_time};

/// A handler that writes down what it is given and asks for shutdown once it has come to the end.
struct Recorder {
    end: Position,
    shutdown: watch::Sender<bool>,
    seen: Mutex<Seen>,
    /// What it answers for an event at this position, as often as given.
    faults: Mutex<Vec<(Position, u32, ConsumeError)>>,
}

#[derive(Default)]
struct Seen {
    handled: Vec<u64>,
    parked: Vec<(u64, String)>,
    checkpoint: Option<Checkpoints>,
    largest_batch: usize,
}

impl Recorder {
    fn done(&self, delivery: &Delivery) {
        self.seen.lock().checkpoint = Some(Checkpoints::from(delivery.checkpoint.clone()));
        if delivery.event.position >= self.end {
            self.shutdown.send_replace(true);
        }
    }
}

#[async_trait]
impl Handler for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn filter(&self) -> Filter {
        Filter::default()
    }

    async fn load_checkpoints(&self) -> Result<Checkpoints, ConsumeError> {
        Ok(self.seen.lock().checkpoint.clone().unwrap_or_default())
    }

    async fn handle(&self, batch: &Batch) -> Result<(), ConsumeError> {
        for (position, times, error) in self.faults.lock().iter_mut() {
            if *times > 0 && batch.events().any(|event| event.position == *position) {
                *times -= 1;
                return Err(error.clone());
            }
        }
        {
            let mut seen = self.seen.lock();
            seen.handled.extend(batch.events().map(|event| event.position.0));
            seen.largest_batch = seen.largest_batch.max(batch.deliveries.len());
        }
        self.done(&batch.deliveries[batch.deliveries.len() - 1]);
        Ok(())
    }

    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), ConsumeError> {
        self.seen.lock().parked.push((delivery.event.position.0, reason.to_owned()));
        self.done(delivery);
        Ok(())
    }
}

/// Runs a recorder over ten events with these faults.
async fn consume(faults: Vec<(Position, u32, ConsumeError)>, attempts: Option<u32>) -> (Stopped, Seen, ConsumerStatus) {
    let log = Arc::new(MemoryLog::new(Arc::new(FixedClock::new(sample_time()))));
    let stream = fresh_stream(&fresh_tenant());
    log.append(&stream, ExpectedRevision::Any, sample_events("consumer", 10)).await.unwrap();
    let end = log.head().await.unwrap();
    let (shutdown, asked) = watch::channel(false);
    let recorder = Arc::new(Recorder { end, shutdown, seen: Mutex::default(), faults: Mutex::new(faults) });
    let pause = std::time::Duration::from_micros(10);
    let config = ConsumerConfig {
        batch: 4,
        attempts,
        first_pause: pause,
        longest_pause: pause,
        gather: std::time::Duration::ZERO,
    };
    let status = ConsumerStatus::default();
    let feed = LogFeed::new(log);
    let stopped = run(&feed, Arc::<Recorder>::clone(&recorder), &config, &status, asked).await;
    (stopped, std::mem::take(&mut *recorder.seen.lock()), status)
}

fn park() -> ConsumeError {
    ConsumeError::Park("poison".into())
}

#[tokio::test]
async fn everything_is_handled_in_order_and_in_bounded_batches() {
    let (stopped, seen, status) = consume(Vec::new(), None).await;
    assert_eq!(stopped, Stopped::Shutdown);
    assert_eq!(seen.handled, (1..=10).collect::<Vec<_>>());
    assert!(seen.largest_batch <= 4);
    assert_eq!(seen.checkpoint, Some(Checkpoints::of_position(Position(10))));
    assert_eq!((status.handled_up_to(), status.state()), (Position(10), ConsumerState::Stopped));
    let lag = status.lag(Some(Position(12)), sample_time());
    assert_eq!((lag.positions, lag.age), (2, std::time::Duration::ZERO));
}

#[tokio::test]
async fn a_poisonous_event_is_parked_with_its_reason_and_the_rest_goes_on() {
    let (stopped, seen, status) = consume(vec![(Position(3), u32::MAX, park())], None).await;
    assert_eq!(stopped, Stopped::Shutdown);
    assert_eq!(seen.handled, [1, 2, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(seen.parked, [(3, "poison".to_owned())]);
    assert_eq!(status.counts()[3], 1);
}

#[tokio::test]
async fn a_poisonous_event_that_comes_alone_is_parked_too() {
    let (_, seen, _) = consume(vec![(Position(10), u32::MAX, park())], None).await;
    assert_eq!(seen.parked, [(10, "poison".to_owned())]);
    assert_eq!(seen.checkpoint, Some(Checkpoints::of_position(Position(10))));
}

#[tokio::test]
async fn what_is_away_for_a_while_is_tried_again_and_nothing_is_lost() {
    let away = ConsumeError::Retry("store away".into());
    let (stopped, seen, status) = consume(vec![(Position(5), 30, away)], None).await;
    assert_eq!(stopped, Stopped::Shutdown);
    assert_eq!(seen.handled, (1..=10).collect::<Vec<_>>());
    assert_eq!((seen.parked.len(), status.counts()[2]), (0, 30));
}

#[tokio::test]
async fn an_event_that_uses_up_its_attempts_is_parked() {
    let away = ConsumeError::Retry("provider away".into());
    let (stopped, seen, _) = consume(vec![(Position(5), u32::MAX, away)], Some(3)).await;
    assert_eq!(stopped, Stopped::Shutdown);
    assert_eq!(seen.parked, [(5, "provider away".to_owned())]);
    assert_eq!(seen.handled.len(), 9);
}

#[tokio::test]
async fn a_handler_that_halts_stops_the_loop_before_the_checkpoint_moves() {
    let (stopped, seen, status) = consume(vec![(Position(1), 1, ConsumeError::Halt("damaged".into()))], None).await;
    assert_eq!(stopped, Stopped::Halted { reason: "damaged".into() });
    assert_eq!((seen.handled.len(), seen.checkpoint), (0, None));
    assert_eq!(status.state(), ConsumerState::Halted { reason: "damaged".into() });
}

#[tokio::test]
async fn a_shutdown_during_a_back_off_does_not_wait_for_its_end() {
    let log = Arc::new(MemoryLog::new(Arc::new(FixedClock::new(sample_time()))));
    log.append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, sample_events("one", 1)).await.unwrap();
    let (shutdown, asked) = watch::channel(false);
    let faults = vec![(Position(1), u32::MAX, ConsumeError::Retry("away".into()))];
    let recorder =
        Arc::new(Recorder { end: Position(1), shutdown, seen: Mutex::default(), faults: Mutex::new(faults) });
    let status = ConsumerStatus::default();
    let feed = LogFeed::new(log);
    let hour = std::time::Duration::from_secs(3600);
    let config = ConsumerConfig { first_pause: hour, longest_pause: hour, ..ConsumerConfig::default() };
    let ask = async {
        while status.counts()[2] == 0 {
            tokio::task::yield_now().await;
        }
        recorder.shutdown.send_replace(true);
    };
    let (stopped, ()) = tokio::join!(run(&feed, Arc::<Recorder>::clone(&recorder), &config, &status, asked), ask);
    assert_eq!(stopped, Stopped::Shutdown);
}

#[tokio::test]
async fn events_that_keep_coming_gather_and_the_first_after_a_quiet_time_does_not_wait() {
    let log = Arc::new(MemoryLog::new(Arc::new(FixedClock::new(sample_time()))));
    let stream = fresh_stream(&fresh_tenant());
    let (shutdown, asked) = watch::channel(false);
    let recorder = Arc::new(Recorder { end: Position(9), shutdown, seen: Mutex::default(), faults: Mutex::default() });
    let config = ConsumerConfig { gather: std::time::Duration::from_secs(3600), ..ConsumerConfig::default() };
    let status = ConsumerStatus::default();
    let feed = LogFeed::new(Arc::<MemoryLog>::clone(&log));
    let write = async {
        log.append(&stream, ExpectedRevision::Any, sample_events("first", 1)).await.unwrap();
        while recorder.seen.lock().handled.is_empty() {
            tokio::task::yield_now().await;
        }
        log.append(&stream, ExpectedRevision::Any, sample_events("later", 3)).await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        recorder.shutdown.send_replace(true);
    };
    let (stopped, ()) = tokio::join!(run(&feed, Arc::<Recorder>::clone(&recorder), &config, &status, asked), write);
    assert_eq!(stopped, Stopped::Shutdown, "it does not wait for more when it is to stop");
    assert_eq!(recorder.seen.lock().handled, [1], "the others are left for after the hour");
}

#[tokio::test]
async fn a_consumer_that_begins_where_it_ended_is_not_behind() {
    let log = Arc::new(MemoryLog::new(Arc::new(FixedClock::new(sample_time()))));
    let stream = fresh_stream(&fresh_tenant());
    log.append(&stream, ExpectedRevision::Any, sample_events("consumer", 10)).await.unwrap();
    let end = log.head().await.unwrap();
    let (shutdown, asked) = watch::channel(false);
    let seen = Seen { checkpoint: Some(Checkpoints::of_position(Position(9))), ..Seen::default() };
    let recorder =
        Arc::new(Recorder { end, shutdown: shutdown.clone(), seen: Mutex::new(seen), faults: Mutex::default() });
    // The last event cannot be handled until somebody looked how far it is.
    recorder.faults.lock().push((end, u32::MAX, ConsumeError::Retry("not yet".into())));
    let (config, status, feed) = (ConsumerConfig::default(), ConsumerStatus::default(), LogFeed::new(log));
    let looked = async {
        while !matches!(status.state(), ConsumerState::Waiting { .. }) {
            tokio::task::yield_now().await;
        }
        let lag = status.lag(Some(end), sample_time()).positions;
        shutdown.send_replace(true);
        lag
    };
    let (stopped, lag) = tokio::join!(run(&feed, Arc::<Recorder>::clone(&recorder), &config, &status, asked), looked);
    assert_eq!((stopped, lag, status.handled_up_to()), (Stopped::Shutdown, 1, Position(9)));
}

#[tokio::test]
async fn a_consumer_that_has_ended_in_a_back_off_is_late_in_nothing() {
    for aborted in [false, true] {
        let log = Arc::new(MemoryLog::new(Arc::new(FixedClock::new(sample_time()))));
        log.append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, sample_events("one", 1)).await.unwrap();
        let (shutdown, asked) = watch::channel(false);
        let faults = Mutex::new(vec![(Position(1), u32::MAX, ConsumeError::Retry("away".into()))]);
        let recorder =
            Arc::new(Recorder { end: Position(1), shutdown: shutdown.clone(), seen: Mutex::default(), faults });
        let status = Arc::new(ConsumerStatus::default());
        let shown = Arc::clone(&status);
        let consumer = tokio::spawn(async move {
            run(&LogFeed::new(log), recorder, &ConsumerConfig::default(), &shown, asked).await;
        });
        let later = sample_time() + chrono::Duration::seconds(60);
        while status.lag(None, later).age.is_zero() {
            tokio::task::yield_now().await;
        }
        if aborted {
            consumer.abort();
        } else {
            shutdown.send_replace(true);
        }
        assert_eq!(consumer.await.is_err(), aborted);
        assert_eq!(status.lag(None, later).age, std::time::Duration::ZERO);
        assert_eq!(status.state(), ConsumerState::Stopped);
    }
}
