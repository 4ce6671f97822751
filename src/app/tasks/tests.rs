//! What a process shows of work that cannot begin.
//!
//! **Invariant:** no broker but librdkafka's mock cluster is asked.

use events::checkpoints::folder::FolderCheckpoints;
use events::clock::FixedClock;
use events::feed::Topics;
use events::log::ExpectedRevision;
use events::testing::kafka::{self, MockBrokers, PARTITIONS};
use events::testing::memory_leases::MemoryLeases;
use events::testing::{MemoryLog, fresh_stream, fresh_tenant, sample_events, sample_time};

use super::*;

/// What a test waits at most for what must happen; it is reached only when the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_relay_that_cannot_begin_is_late_until_it_is_to_stop() {
    let brokers = MockBrokers::start();
    let topics = kafka::fresh_topics();
    brokers.make_topics(&topics);
    let others = Topics::new(topics.prefix(), |_| PARTITIONS + 1).unwrap();
    let clock = Arc::new(FixedClock::new(sample_time()));
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(Arc::<FixedClock>::clone(&clock)));
    log.append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, sample_events("e", 3)).await.unwrap();
    clock.advance(chrono::TimeDelta::seconds(60));
    let folder = tempfile::tempdir().unwrap();
    let checkpoints: Arc<dyn CheckpointStore> = Arc::new(FolderCheckpoints::open(folder.path().to_owned()).unwrap());
    let leases = Arc::new(MemoryLeases::new(Arc::<FixedClock>::clone(&clock)));
    let feed = Arc::new(LogFeed::new(Arc::clone(&log)));
    let mut tasks = Tasks::new(feed, clock, leases, "one".to_owned());
    tasks.relay(Arc::clone(&log), kafka::config(&brokers.addresses, &others), None, &checkpoints);
    let (lag, head) = (Arc::clone(&tasks.lags[0]), log.head().await.unwrap());
    assert_eq!((lag.positions(head), lag.seconds()), (0, 0.0), "it may be another's");
    let late = async {
        while lag.positions(head) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, late).await.expect("it is told that nothing is published");
    assert_eq!((lag.positions(head), lag.seconds()), (head.0, 60.0));
    tasks.stop_reactors.send_replace(true);
    for task in tasks.reactors {
        tokio::time::timeout(PATIENCE, task).await.expect("it stops").unwrap();
    }
    assert_eq!((lag.positions(head), lag.seconds()), (0, 0.0));
}
