//! What tests on the mock cluster share: brokers with a relay, a consumer's checkpoints, and who audits what comes.
//!
//! **Invariant:** what is waited for has a deadline that only ends a test that hangs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;

use crate::checkpoints::folder::FolderCheckpoints;
use crate::envelope::{Category, Position, Revision, StreamName};
use crate::feed::kafka::{KafkaConfig, KafkaFeed};
use crate::feed::{Checkpoints, Delivery, EventFeed, Fed, FeedError, Follower};
use crate::log::{EventLog as _, ExpectedRevision, Filter};
use crate::testing::kafka::{MockBrokers, RunningRelay, config_of_failing_mock, fresh_topics, memory_log};
use crate::testing::{MemoryLog, sample_events};

/// Checkpoints as a consumer stores them, shared by the members of its group.
#[derive(Default)]
pub(crate) struct Store(pub(crate) Mutex<Checkpoints>);

impl Store {
    pub(crate) fn at(position: Position) -> Self {
        Self(Mutex::new(Checkpoints::of_position(position)))
    }
}

#[async_trait::async_trait]
impl Follower for Store {
    async fn load(&self) -> Result<Checkpoints, FeedError> {
        Ok(self.0.lock().clone())
    }
}

pub(crate) type Feeding = BoxStream<'static, Result<Fed, FeedError>>;

/// A mock cluster with topics, a log, a relay that runs.
pub(crate) struct House {
    pub(crate) brokers: MockBrokers,
    pub(crate) config: KafkaConfig,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) checkpoints: Arc<FolderCheckpoints>,
    pub(crate) relay: RunningRelay,
    _folder: tempfile::TempDir,
}

impl House {
    pub(crate) async fn new() -> Self {
        let (brokers, topics, log) = (MockBrokers::start(), fresh_topics(), memory_log());
        brokers.make_topics(&topics);
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Arc::new(FolderCheckpoints::open(folder.path().to_owned()).unwrap());
        let config = config_of_failing_mock(&brokers.addresses, &topics);
        let relay = Self::relay(&config, &log, &checkpoints).await;
        Self { brokers, config, log, checkpoints, relay, _folder: folder }
    }

    pub(crate) async fn relay(
        config: &KafkaConfig,
        log: &Arc<MemoryLog>,
        checkpoints: &Arc<FolderCheckpoints>,
    ) -> RunningRelay {
        RunningRelay::start(config.clone(), Arc::<MemoryLog>::clone(log) as _, Arc::clone(checkpoints) as _, None).await
    }

    pub(crate) async fn append(&self, stream: &StreamName, events: usize) {
        self.log.append(stream, ExpectedRevision::Any, sample_events("e", events)).await.unwrap();
    }

    pub(crate) async fn published(&self) {
        let head = self.log.head().await.unwrap();
        self.relay.relay.published().wait_for(|at| *at >= head).await.unwrap();
    }

    /// As a member of the group of this consumer.
    pub(crate) async fn follow(&self, consumer: &str, stored: Arc<dyn Follower>) -> Feeding {
        // The topic in which the streams of these tests are: it is what the members share.
        let filter = Filter { categories: vec![Category::Conversation] };
        KafkaFeed::new(self.config.clone()).follow(consumer, stored, filter).await.unwrap()
    }
}

/// Waits, but not for ever.
pub(crate) async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), awaited).await.expect("something comes in time")
}

/// The next thing fed, within the deadline.
pub(crate) async fn next(feeding: &mut Feeding) -> Fed {
    let fed = in_time(feeding.next()).await;
    fed.expect("a feed does not end").expect("the feed goes on")
}

/// Takes events until every stream has come to its last revision; each revision comes in its order, once or again.
pub(crate) struct Audit(pub(crate) HashMap<StreamName, (Option<Revision>, Revision)>);

impl Audit {
    pub(crate) fn of<'a>(streams: impl IntoIterator<Item = &'a StreamName>, events: u64) -> Self {
        Self(streams.into_iter().map(|stream| (stream.clone(), (None, Revision(events - 1)))).collect())
    }

    pub(crate) fn take(&mut self, delivery: &Delivery) {
        let (last, _) = self.0.get_mut(&delivery.event.stream).expect("a stream of the test");
        let revision = delivery.event.revision;
        let expected = last.map_or(Revision(0), Revision::next);
        assert!(revision <= expected, "{revision:?} came before {expected:?}");
        *last = (*last).max(Some(revision));
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.0.values().all(|(last, end)| *last == Some(*end))
    }
}
