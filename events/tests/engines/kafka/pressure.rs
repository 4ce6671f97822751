//! A consumer that does not take what comes, for longer than the feed waits for it.
//!
//! **Invariant:** every event comes once, in the order of its stream; time passes only where a thread is to be held up.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use events::checkpoints::folder::FolderCheckpoints;
use events::envelope::{Category, Revision, StreamName};
use events::feed::kafka::{KafkaConfig, KafkaFeed};
use events::feed::{Checkpoints, EventFeed, Fed, FeedError, Follower};
use events::log::{EventLog, ExpectedRevision, Filter};
use events::testing::kafka::{RunningRelay, config, forget, fresh_topics, memory_log};
use events::testing::{MemoryLog, fresh_stream, fresh_tenant, sample_events};
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;

/// More than the feed keeps for a consumer that does not take it.
const EVENTS: usize = 38_400;
const STREAMS: usize = 12;
/// Longer than the feed waits before it pauses partitions.
const HELD: Duration = Duration::from_millis(2_500);

type Feeding = BoxStream<'static, Result<Fed, FeedError>>;

/// What a consumer has stored, and how often the feed asked for it: when it takes parts over.
#[derive(Default)]
struct Store {
    checkpoints: Mutex<Checkpoints>,
    asked: AtomicUsize,
}

#[async_trait]
impl Follower for Store {
    async fn load(&self) -> Result<Checkpoints, FeedError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.checkpoints.lock().clone())
    }
}

/// Many events in Kafka.
struct Flood {
    config: KafkaConfig,
    log: Arc<dyn EventLog>,
    store: Arc<Store>,
    /// The last revision of each stream that was taken.
    taken: HashMap<StreamName, Revision>,
    _relay: RunningRelay,
    _folder: tempfile::TempDir,
}

impl Flood {
    async fn new() -> Self {
        let brokers = crate::server(super::BROKERS);
        let (config, log) = (config(&brokers, &fresh_topics()), memory_log());
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Arc::new(FolderCheckpoints::open(folder.path().to_owned()).unwrap());
        let settings = Some(super::settings(&brokers));
        let relay =
            RunningRelay::start(config.clone(), Arc::<MemoryLog>::clone(&log) as _, checkpoints, settings).await;
        let tenant = fresh_tenant();
        for _ in 0..STREAMS {
            let events = sample_events("e", EVENTS / STREAMS);
            log.append(&fresh_stream(&tenant), ExpectedRevision::Any, events).await.unwrap();
        }
        let head = log.head().await.unwrap();
        relay.relay.published().wait_for(|at| *at >= head).await.unwrap();
        Self { config, log, store: Arc::default(), taken: HashMap::new(), _relay: relay, _folder: folder }
    }

    /// A member of the group.
    async fn follow(&self) -> Feeding {
        let filter = Filter { categories: vec![Category::Conversation] };
        KafkaFeed::new(self.config.clone()).follow("pressed", Arc::clone(&self.store) as _, filter).await.unwrap()
    }

    /// Waits until parts were taken over so often.
    async fn asked(&self, times: usize) {
        let asking = async {
            while self.store.asked.load(Ordering::SeqCst) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), asking).await.expect("parts are taken over");
    }

    /// Takes what comes next and stores how far it is.
    async fn take(&mut self, feeding: &mut Feeding) -> Result<(), FeedError> {
        let fed = tokio::time::timeout(Duration::from_secs(60), feeding.next()).await.expect("something comes");
        if let Fed::Event(delivery) = fed.expect("it ends with an error")? {
            self.store.checkpoints.lock().add(&delivery.checkpoint);
            let event = delivery.event;
            let expected = self.taken.get(&event.stream).map_or(Revision(0), |last| last.next());
            assert_eq!(event.revision, expected, "{}", event.stream);
            self.taken.insert(event.stream, expected);
        }
        Ok(())
    }

    fn all_are_taken(&self) -> bool {
        let last = Revision((EVENTS / STREAMS - 1) as u64);
        self.taken.len() == STREAMS && self.taken.values().all(|taken| *taken == last)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_takes_nothing_stays_in_its_group_and_then_gets_all_in_order() {
    let mut flood = Flood::new().await;
    let mut one = flood.follow().await;
    flood.asked(1).await;
    tokio::time::sleep(HELD).await;
    // Another joins and gets a part, which the first has to give up, though nobody takes anything from it.
    let mut other = flood.follow().await;
    tokio::time::timeout(Duration::from_secs(60), other.next()).await.expect("the first lets go").unwrap().unwrap();
    let before = flood.store.asked.load(Ordering::SeqCst);
    drop(other);
    flood.asked(before + 1).await;
    tokio::time::sleep(HELD).await;
    while !flood.all_are_taken() {
        flood.take(&mut one).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_removes_while_a_consumer_takes_nothing_is_a_gap() {
    let mut flood = Flood::new().await;
    let mut one = flood.follow().await;
    flood.asked(1).await;
    tokio::time::sleep(HELD).await;
    let parts = KafkaFeed::new(flood.config.clone()).layout().parts().to_vec();
    for part in parts.iter().filter(|part| part.as_str().contains(".conversation/")) {
        forget(&flood.config, part, None).await;
    }
    // Every part gets a watermark behind it.
    flood.log.append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, sample_events("e", 1)).await.unwrap();
    // What waited comes; then the feed breaks, and shows the gap when it is followed again.
    let mut broken = 0;
    let gap = loop {
        match flood.take(&mut one).await {
            Ok(()) => {}
            Err(FeedError::Unavailable(_)) => {
                broken += 1;
                one = flood.follow().await;
            }
            Err(gap) => break gap,
        }
    };
    assert!(matches!(&gap, FeedError::Gap { part } if parts.contains(part)), "{gap}");
    assert!(broken > 0 && !flood.all_are_taken());
}
