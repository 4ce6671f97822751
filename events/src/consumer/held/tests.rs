//! Parts that are held: the others go on, and nothing is left out or turned round.
//!
//! **Invariant:** no test waits for a clock: it is paused, and moves when nothing else is to be done.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::{mpsc, watch};

use super::super::{Batch, ConsumeError, ConsumerConfig, ConsumerState, ConsumerStatus, Handler, Stopped, run};
use crate::clock::FixedClock;
use crate::envelope::{Position, RecordedEvent};
use crate::feed::{Checkpoint, Checkpoints, Delivery, EventFeed, Fed, FeedError, Follower, Layout, Part, Topics};
use crate::log::{EventLog, ExpectedRevision, Filter};
use crate::testing::{MemoryLog, fresh_stream, fresh_tenant, sample_events, sample_time};

/// A feed in parts that yields what it is given, and shows who follows it.
struct Given {
    layout: Layout,
    fed: Mutex<Option<mpsc::UnboundedReceiver<Fed>>>,
    follower: Mutex<Option<Arc<dyn Follower>>>,
}

impl Given {
    fn new() -> (Arc<Self>, mpsc::UnboundedSender<Fed>) {
        let layout = Layout::of_topics(Topics::new("t", |_| 4).unwrap());
        let (give, fed) = mpsc::unbounded_channel();
        (Arc::new(Self { layout, fed: Mutex::new(Some(fed)), follower: Mutex::default() }), give)
    }

    fn held(&self) -> BTreeSet<Part> {
        self.follower.lock().as_ref().map(|follower| follower.held()).unwrap_or_default()
    }
}

#[async_trait]
impl EventFeed for Given {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    async fn follow(
        &self,
        _consumer: &str,
        follower: Arc<dyn Follower>,
        _filter: Filter,
    ) -> Result<BoxStream<'static, Result<Fed, FeedError>>, FeedError> {
        *self.follower.lock() = Some(follower);
        let fed = self.fed.lock().take().ok_or_else(|| FeedError::Unavailable("followed twice".to_owned()))?;
        Ok(futures::stream::unfold(fed, |mut fed| async move { fed.recv().await.map(|one| (Ok(one), fed)) }).boxed())
    }
}

/// Writes down what becomes of each event, in order; stops when all are through.
#[derive(Default)]
struct Recorder {
    /// Answers to come for the event at a position.
    faults: Mutex<HashMap<Position, Vec<ConsumeError>>>,
    seen: Mutex<Vec<(Part, Position)>>,
    parked: Mutex<Vec<Position>>,
    stored: Mutex<Checkpoints>,
    expected: usize,
    shutdown: watch::Sender<bool>,
}

impl Recorder {
    fn through(&self, checkpoints: &Checkpoints) {
        self.stored.lock().merge(checkpoints);
        let different: BTreeSet<_> = self.seen.lock().iter().map(|(_, position)| *position).collect();
        if different.len() == self.expected {
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
        Ok(self.stored.lock().clone())
    }

    async fn handle(&self, batch: &Batch) -> Result<(), ConsumeError> {
        for event in batch.events() {
            if let Some(fault) = self.faults.lock().get_mut(&event.position).and_then(Vec::pop) {
                return Err(fault);
            }
        }
        let taken = batch.deliveries.iter().map(|d| (d.checkpoint.part.clone(), d.event.position));
        self.seen.lock().extend(taken);
        self.through(&batch.checkpoints());
        Ok(())
    }

    async fn park(&self, delivery: &Delivery, _reason: &str) -> Result<(), ConsumeError> {
        self.parked.lock().push(delivery.event.position);
        self.seen.lock().push((delivery.checkpoint.part.clone(), delivery.event.position));
        self.through(&Checkpoints::from(delivery.checkpoint.clone()));
        Ok(())
    }
}

/// Events of so many streams in turns, each in its part.
async fn events(layout: &Layout, streams: usize, each: usize) -> Vec<Delivery> {
    let log = MemoryLog::new(Arc::new(FixedClock::new(sample_time())));
    let tenant = fresh_tenant();
    let names: Vec<_> = (0..streams).map(|_| fresh_stream(&tenant)).collect();
    for _ in 0..each {
        for name in &names {
            log.append(name, ExpectedRevision::Any, sample_events("e", 1)).await.unwrap();
        }
    }
    let (recorded, _) = log.read_all(Position::START, &Filter::default(), usize::MAX).await.unwrap();
    let mut offsets = BTreeMap::<Part, u64>::new();
    let mut deliver = |event: RecordedEvent| {
        let part = layout.part_of(&event.stream);
        let offset = offsets.entry(part.clone()).or_default();
        *offset += 1;
        Delivery { checkpoint: Checkpoint { part, offset: *offset, position: event.position }, event }
    };
    recorded.into_iter().map(&mut deliver).collect()
}

fn config(attempts: Option<u32>) -> ConsumerConfig {
    ConsumerConfig { batch: 8, attempts, ..ConsumerConfig::default() }
}

fn away() -> ConsumeError {
    ConsumeError::Retry("away".into())
}

#[tokio::test(start_paused = true)]
async fn a_part_whose_event_has_to_wait_holds_up_no_other_and_keeps_its_order() {
    let (feed, give) = Given::new();
    let deliveries = events(&feed.layout, 24, 5).await;
    let first = deliveries[0].clone();
    let part = first.checkpoint.part.clone();
    let (of_part, others): (Vec<_>, Vec<_>) = deliveries.iter().cloned().partition(|d| d.checkpoint.part == part);
    assert!(of_part.len() >= 5 && others.len() >= 5, "streams are in several parts");
    let recorder = Arc::new(Recorder { expected: deliveries.len(), ..Recorder::default() });
    recorder.faults.lock().insert(first.event.position, vec![away(); 1_000]);
    let asked = recorder.shutdown.subscribe();
    let status = ConsumerStatus::default();
    let config = config(None);
    for delivery in &deliveries {
        give.send(Fed::Event(delivery.clone())).unwrap();
    }
    let look = async {
        while recorder.seen.lock().len() < others.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(recorder.seen.lock().iter().all(|(of, _)| *of != part), "what comes after it waits");
        assert_eq!((feed.held(), status.held_parts()), (BTreeSet::from([part.clone()]), 1));
        assert!(matches!(status.state(), ConsumerState::Waiting { reason } if reason.contains("away")));
        let hour = chrono::Duration::hours(1);
        assert_eq!(status.lag(None, sample_time() + hour).age, Duration::from_secs(3_600), "what is held is behind");
        recorder.faults.lock().clear();
    };
    let consumer = run(&*feed, Arc::<Recorder>::clone(&recorder), &config, &status, asked);
    let (stopped, ()) = tokio::join!(consumer, look);
    assert_eq!(stopped, Stopped::Shutdown);
    let in_order: Vec<_> = of_part.iter().map(|d| d.event.position).collect();
    let handled: Vec<_> = recorder.seen.lock().iter().filter(|(of, _)| *of == part).map(|(_, at)| *at).collect();
    assert_eq!(handled, in_order);
    assert_eq!((feed.held(), status.held_parts()), (BTreeSet::new(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_held_part_that_another_process_takes_is_let_go() {
    let (feed, give) = Given::new();
    let deliveries = events(&feed.layout, 1, 2).await;
    let (first, part) = (deliveries[0].clone(), deliveries[0].checkpoint.part.clone());
    let recorder = Arc::new(Recorder { expected: 99, ..Recorder::default() });
    recorder.faults.lock().insert(first.event.position, vec![away(); 1_000]);
    let (asked, status) = (recorder.shutdown.subscribe(), ConsumerStatus::default());
    let config = config(None);
    give.send(Fed::Event(first)).unwrap();
    let look = async {
        while status.held_parts() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        give.send(Fed::Event(deliveries[1].clone())).unwrap();
        give.send(Fed::Revoked(part)).unwrap();
        while !feed.held().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        recorder.faults.lock().clear();
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        recorder.shutdown.send_replace(true);
    };
    tokio::join!(run(&*feed, Arc::<Recorder>::clone(&recorder), &config, &status, asked), look);
    assert!(recorder.seen.lock().is_empty(), "it is the other's");
    assert_eq!(status.held_parts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_has_ended_holds_no_part() {
    let (feed, give) = Given::new();
    let first = events(&feed.layout, 1, 1).await.remove(0);
    let recorder = Arc::new(Recorder { expected: 99, ..Recorder::default() });
    recorder.faults.lock().insert(first.event.position, vec![away(); 1_000]);
    let (asked, status, config) = (recorder.shutdown.subscribe(), ConsumerStatus::default(), config(None));
    give.send(Fed::Event(first)).unwrap();
    let stop = async {
        while status.held_parts() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        recorder.shutdown.send_replace(true);
    };
    tokio::join!(run(&*feed, Arc::<Recorder>::clone(&recorder), &config, &status, asked), stop);
    assert_eq!((status.held_parts(), status.state()), (0, ConsumerState::Stopped));
    assert_eq!(status.lag(None, sample_time() + chrono::Duration::hours(1)).age, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_came_of_a_part_before_another_process_took_it_is_not_tried() {
    let (feed, give) = Given::new();
    let deliveries = events(&feed.layout, 1, 2).await;
    let (before, after) = (deliveries[0].clone(), deliveries[1].clone());
    let part = before.checkpoint.part.clone();
    let recorder = Arc::new(Recorder { expected: 1, ..Recorder::default() });
    recorder.faults.lock().insert(before.event.position, vec![away(); 1_000]);
    let (asked, status, config) = (recorder.shutdown.subscribe(), ConsumerStatus::default(), config(None));
    // It comes back in the same chunk.
    let watermark = before.checkpoint.clone();
    for fed in [Fed::Event(before), Fed::Watermark(watermark), Fed::Revoked(part.clone()), Fed::Event(after.clone())] {
        give.send(fed).unwrap();
    }
    let consumer = run(&*feed, Arc::<Recorder>::clone(&recorder), &config, &status, asked);
    tokio::time::timeout(Duration::from_secs(3_600), consumer).await.expect("nothing is held");
    assert_eq!(*recorder.seen.lock(), [(part, after.event.position)]);
    assert_eq!(recorder.faults.lock()[&deliveries[0].event.position].len(), 1_000);
    assert_eq!(status.handled_up_to(), after.event.position, "it has the part again");
}

/// One event after another of the first parts, each of another part.
async fn of_different_parts(layout: &Layout, parts: usize) -> Vec<Delivery> {
    let mut seen = BTreeSet::new();
    let mut deliveries = events(layout, 64, 1).await;
    deliveries.retain(|delivery| seen.len() < parts && seen.insert(delivery.checkpoint.part.clone()));
    assert_eq!(deliveries.len(), parts);
    deliveries
}

#[tokio::test(start_paused = true)]
async fn a_part_that_goes_on_failing_is_not_tried_with_every_batch_of_the_others() {
    let (feed, give) = Given::new();
    let deliveries = events(&feed.layout, 24, 20).await;
    let (first, part) = (deliveries[0].clone(), deliveries[0].checkpoint.part.clone());
    let others: Vec<_> = deliveries.into_iter().filter(|delivery| delivery.checkpoint.part != part).collect();
    let recorder = Arc::new(Recorder { expected: others.len(), ..Recorder::default() });
    recorder.faults.lock().insert(first.event.position, vec![away(); 1_000]);
    let (asked, status, config) = (recorder.shutdown.subscribe(), ConsumerStatus::default(), config(None));
    give.send(Fed::Event(first.clone())).unwrap();
    let feeding = async {
        for delivery in &others {
            tokio::time::sleep(Duration::from_millis(10)).await;
            give.send(Fed::Event(delivery.clone())).unwrap();
        }
    };
    let consumer = run(&*feed, Arc::<Recorder>::clone(&recorder), &config, &status, asked);
    tokio::join!(consumer, feeding);
    let tries = 1_000 - recorder.faults.lock()[&first.event.position].len();
    assert!(others.len() > 150 && tries < 20, "{tries} tries beside {} events", others.len());
}

#[tokio::test(start_paused = true)]
async fn when_what_was_away_for_all_is_back_no_part_waits_for_the_end_of_its_pause() {
    let (feed, give) = Given::new();
    let deliveries = of_different_parts(&feed.layout, 4).await;
    let recorder = Arc::new(Recorder { expected: deliveries.len(), ..Recorder::default() });
    for delivery in &deliveries {
        recorder.faults.lock().insert(delivery.event.position, vec![away(); 1_000]);
    }
    let (asked, status, config) = (recorder.shutdown.subscribe(), ConsumerStatus::default(), config(None));
    let outage = async {
        for delivery in &deliveries {
            give.send(Fed::Event(delivery.clone())).unwrap();
            tokio::time::sleep(Duration::from_millis(2_300)).await;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(status.held_parts(), deliveries.len());
        recorder.faults.lock().clear();
        while recorder.seen.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::Instant::now()
    };
    let consumer = run(&*feed, Arc::<Recorder>::clone(&recorder), &config, &status, asked);
    let (_, back) = tokio::join!(consumer, outage);
    assert!(back.elapsed() < Duration::from_millis(100), "{:?}", back.elapsed());
    assert_eq!(recorder.seen.lock().len(), deliveries.len());
}

/// What befalls an event: it has to wait so often, and is then taken or poisonous.
fn faults() -> impl Strategy<Value = Vec<ConsumeError>> {
    (0..12_usize, any::<bool>()).prop_map(|(waits, poison)| {
        let last = if poison { vec![ConsumeError::Park("poison".into()); 9] } else { Vec::new() };
        last.into_iter().chain(std::iter::repeat_n(away(), waits)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_has_to_wait_or_is_poisonous_each_event_is_through_in_the_order_of_its_part(
        streams in 1..12_usize,
        each in 1..6_usize,
        befalls in proptest::collection::vec((any::<prop::sample::Index>(), faults()), 0..8),
        pauses in proptest::collection::vec(0..40_u64, 72),
        attempts in proptest::option::of(2..20_u32),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (feed, give) = Given::new();
            let deliveries = events(&feed.layout, streams, each).await;
            let recorder = Arc::new(Recorder { expected: deliveries.len(), ..Recorder::default() });
            for (which, faults) in befalls {
                recorder.faults.lock().insert(which.get(&deliveries).event.position, faults);
            }
            let (asked, status, config) = (recorder.shutdown.subscribe(), ConsumerStatus::default(), config(attempts));
            let feeding = async {
                for (delivery, pause) in deliveries.iter().zip(pauses.iter().cycle()) {
                    give.send(Fed::Event(delivery.clone())).unwrap();
                    give.send(Fed::Watermark(delivery.checkpoint.clone())).unwrap();
                    tokio::time::sleep(Duration::from_millis(*pause)).await;
                }
            };
            let consumer = run(&*feed, Arc::<Recorder>::clone(&recorder), &config, &status, asked);
            let (stopped, ()) = tokio::join!(consumer, feeding);
            assert_eq!(stopped, Stopped::Shutdown);
            let mut by_part = BTreeMap::<Part, Vec<Position>>::new();
            for (part, position) in recorder.seen.lock().iter() {
                by_part.entry(part.clone()).or_default().push(*position);
            }
            let mut expected = BTreeMap::<Part, Vec<Position>>::new();
            for delivery in &deliveries {
                expected.entry(delivery.checkpoint.part.clone()).or_default().push(delivery.event.position);
            }
            assert_eq!(by_part, expected, "each once, in order");
            let stored = recorder.stored.lock().clone();
            for (part, positions) in expected {
                assert_eq!(stored.position_in(&part), positions[positions.len() - 1]);
            }
        });
    }
}
