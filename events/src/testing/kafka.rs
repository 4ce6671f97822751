//! A relay and a feed over Kafka brokers, for the contract suite: real ones, or librdkafka's mock cluster.
//!
//! **Invariant:** every test has topics of its own, so that shared brokers serve many.
#![expect(clippy::missing_panics_doc, reason = "what cannot be started fails the test that needs it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc as sync;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{FeedUnderTest, MemoryLog, fresh_uuid, sample_time};
use crate::checkpoints::CheckpointStore;
use crate::checkpoints::folder::FolderCheckpoints;
use crate::clock::FixedClock;
use crate::consumer::ConsumerStatus;
use crate::envelope::Category;
use crate::feed::kafka::{KafkaConfig, KafkaFeed, TopicSettings};
use crate::feed::{LogFeed, Part, Topics};
use crate::log::EventLog;
use crate::relay::Relay;

/// Partitions of each topic in tests.
pub const PARTITIONS: u32 = 3;

/// The mock cluster, as `act` is given it.
pub type Mock = MockCluster<'static, DefaultProducerContext>;

type Job = Box<dyn FnOnce(&Mock) + Send>;

/// librdkafka's mock cluster on a thread of its own: it may not be handed from one to another.
pub struct MockBrokers {
    jobs: sync::Sender<Job>,
    /// `host:port,…`
    pub addresses: String,
}

impl MockBrokers {
    /// A cluster of three.
    #[must_use]
    pub fn start() -> Self {
        let (jobs, todo) = sync::channel::<Job>();
        let (told, addresses) = sync::channel();
        std::thread::spawn(move || {
            let cluster = MockCluster::new(3).expect("a mock cluster starts");
            let _ = told.send(cluster.bootstrap_servers());
            for job in todo {
                job(&cluster);
            }
        });
        Self { jobs, addresses: addresses.recv().expect("the cluster runs") }
    }

    /// Does something to the cluster, and returns when it is done.
    pub fn act(&self, act: impl FnOnce(&Mock) + Send + 'static) {
        let (told, done) = sync::channel();
        let job = move |cluster: &Mock| {
            act(cluster);
            let _ = told.send(());
        };
        self.jobs.send(Box::new(job)).expect("the cluster runs");
        done.recv().expect("the cluster runs");
    }

    /// Makes the topics, which the mock cluster does not by request.
    pub fn make_topics(&self, topics: &Topics) {
        let names: Vec<String> = Category::ALL.into_iter().map(|category| topics.topic(category)).collect();
        let parked = topics.parked();
        self.act(move |cluster| {
            for name in names {
                let partitions = i32::try_from(PARTITIONS).expect("few");
                cluster.create_topic(&name, partitions, 3).expect("a topic is made");
            }
            cluster.create_topic(&parked, 1, 3).expect("a topic is made");
        });
    }
}

/// Topics that no other test has.
#[must_use]
pub fn fresh_topics() -> Topics {
    Topics::new(&format!("t{}", fresh_uuid().simple()), |_| PARTITIONS).expect("a good prefix")
}

/// The configuration of clients of these brokers.
#[must_use]
pub fn config(addresses: &str, topics: &Topics) -> KafkaConfig {
    KafkaConfig::new(addresses, topics.clone(), BTreeMap::new()).expect("librdkafka takes it")
}

/// The same for a mock cluster that fails requests: it looks at no sequence numbers but those of transactions
/// (`rd_kafka_mock_validate_records`), so that order holds only with one request on its way at a time. Brokers do look.
#[must_use]
pub fn config_of_failing_mock(addresses: &str, topics: &Topics) -> KafkaConfig {
    let one = BTreeMap::from([("max.in.flight.requests.per.connection".to_owned(), "1".to_owned())]);
    KafkaConfig::new(addresses, topics.clone(), one).expect("librdkafka takes it")
}

/// A relay that runs.
pub struct RunningRelay {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// The relay.
    pub relay: Arc<Relay>,
    /// How far it is.
    pub status: Arc<ConsumerStatus>,
}

impl RunningRelay {
    /// Publishes `log` until it is dropped; makes the topics where the brokers take that.
    pub async fn start(
        config: KafkaConfig,
        log: Arc<dyn EventLog>,
        checkpoints: Arc<dyn CheckpointStore>,
        settings: Option<TopicSettings>,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let relay = Arc::new(Relay::new(config, checkpoints, stopped).expect("a producer is made"));
        relay.prepare(settings).await.expect("the topics are there");
        let status = Arc::new(ConsumerStatus::default());
        let (running, told) = (Arc::clone(&relay), Arc::clone(&status));
        let task = tokio::spawn(async move {
            running.run(&LogFeed::new(log), &told).await;
        });
        Self { stop, task, relay, status }
    }

    /// Stops it and waits for its end.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        (&mut self.task).await.expect("the relay ends");
    }
}

impl Drop for RunningRelay {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Makes brokers forget the records of a part before this offset, or all that there are, as retention does.
pub async fn forget(config: &KafkaConfig, part: &Part, before: Option<u64>) {
    let (topic, partition) = part.as_str().rsplit_once('/').expect("a part of Kafka is a topic and a partition");
    let before = before.map_or(Offset::End, |before| Offset::Offset(i64::try_from(before).expect("an offset")));
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition.parse().expect("a number"), before).expect("an offset");
    let admin: AdminClient<_> = config.client().create().expect("a client is made");
    let forgotten = admin.delete_records(&list, &AdminOptions::new()).await.expect("brokers answer");
    forgotten.elements().iter().for_each(|element| element.error().expect("the records go"));
}

/// A log in memory.
#[must_use]
pub fn memory_log() -> Arc<MemoryLog> {
    Arc::new(MemoryLog::new(Arc::new(FixedClock::new(sample_time()))))
}

/// A log in memory, a relay and a feed on these brokers.
pub async fn relayed(config: KafkaConfig, settings: Option<TopicSettings>) -> FeedUnderTest {
    let log = memory_log();
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoints = Arc::new(FolderCheckpoints::open(folder.path().to_owned()).expect("a folder"));
    let relay = RunningRelay::start(config.clone(), Arc::<MemoryLog>::clone(&log) as _, checkpoints, settings).await;
    FeedUnderTest::new(log, Arc::new(KafkaFeed::new(config)), (relay, folder))
}
