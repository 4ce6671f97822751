//! What Kafka no longer holds: a consumer that needs it is told, whoever does not goes on.
//!
//! **Invariant:** records are gone at an offset that the test names, not by time.

use std::sync::Arc;
use std::time::Duration;

use events::checkpoints::folder::FolderCheckpoints;
use events::envelope::{Category, StreamName};
use events::feed::kafka::{KafkaConfig, KafkaFeed};
use events::feed::{Checkpoint, Checkpoints, Delivery, EventFeed, Fed, FeedError, Part};
use events::log::{EventLog, ExpectedRevision, Filter};
use events::testing::kafka::{RunningRelay, config, forget, fresh_topics, memory_log};
use events::testing::{MemoryLog, fresh_stream, fresh_tenant, sample_events};
use futures::StreamExt;

async fn relay(config: &KafkaConfig, log: &Arc<dyn EventLog>, folder: &tempfile::TempDir) -> RunningRelay {
    let checkpoints = Arc::new(FolderCheckpoints::open(folder.path().to_owned()).unwrap());
    let settings = super::settings(&crate::server(super::BROKERS));
    RunningRelay::start(config.clone(), Arc::clone(log), checkpoints, Some(settings)).await
}

/// Events of one stream in Kafka, and how they were delivered to one who followed from the beginning.
struct History {
    config: KafkaConfig,
    log: Arc<dyn EventLog>,
    stream: StreamName,
    part: Part,
    deliveries: Vec<Delivery>,
    relay: RunningRelay,
    folder: tempfile::TempDir,
}

impl History {
    /// Ten events, and the watermark behind them: nothing more is written.
    async fn new() -> Self {
        let brokers = crate::server(super::BROKERS);
        let (config, log) = (config(&brokers, &fresh_topics()), memory_log());
        let folder = tempfile::tempdir().unwrap();
        let relay = relay(&config, &(Arc::<MemoryLog>::clone(&log) as _), &folder).await;
        let stream = fresh_stream(&fresh_tenant());
        let part = KafkaFeed::new(config.clone()).layout().part_of(&stream);
        let mut history = Self { config, log, stream, part, deliveries: Vec::new(), relay, folder };
        history.append(10).await;
        history.deliveries = history.follow("first", Checkpoints::start()).await.unwrap();
        assert_eq!(revisions(&history.deliveries), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        history
    }

    async fn append(&self, events: usize) {
        self.log.append(&self.stream, ExpectedRevision::Any, sample_events("e", events)).await.unwrap();
    }

    /// What comes to this consumer until the watermark at the log's end, or the error with which it ends.
    async fn follow(&self, consumer: &str, stored: Checkpoints) -> Result<Vec<Delivery>, FeedError> {
        let head = self.log.head().await.unwrap();
        let filter = Filter { categories: vec![Category::Conversation] };
        let feed = KafkaFeed::new(self.config.clone());
        let mut feeding = feed.follow(consumer, Arc::new(stored), filter).await?;
        let mut deliveries = Vec::new();
        loop {
            let fed = tokio::time::timeout(Duration::from_secs(120), feeding.next()).await.expect("something comes");
            match fed.expect("it ends with an error") {
                Ok(Fed::Event(delivery)) => deliveries.push(delivery),
                Ok(Fed::Watermark(mark)) if mark.part == self.part && mark.position >= head => return Ok(deliveries),
                Ok(Fed::Watermark(_) | Fed::Revoked(_)) => {}
                Err(error) => {
                    assert!(feeding.next().await.is_none(), "nothing comes after an error");
                    return Err(error);
                }
            }
        }
    }

    /// That of the event with this revision.
    fn checkpoint(&self, revision: usize) -> &Checkpoint {
        &self.deliveries[revision].checkpoint
    }

    /// Forgets what came before the event with this revision.
    async fn forget_before(&self, revision: usize) {
        forget(&self.config, &self.part, Some(self.checkpoint(revision).offset)).await;
    }

    #[track_caller]
    fn check_gap(&self, followed: Result<Vec<Delivery>, FeedError>) {
        let gap = followed.expect_err("what it needs is gone");
        assert_eq!(gap, FeedError::Gap { part: self.part.clone() });
        assert!(gap.to_string().contains(self.part.as_str()), "{gap}");
    }
}

fn revisions(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.event.revision.0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_retention_has_overtaken_is_told_in_which_part() {
    let history = History::new().await;
    history.forget_before(6).await;
    // Two events that it had not seen are gone.
    history.check_gap(history.follow("overtaken", history.checkpoint(3).clone().into()).await);
    // By position, as after a rebuild, it is no other.
    let position = Checkpoints::of_position(history.checkpoint(3).position);
    history.check_gap(history.follow("rebuilt", position).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_whose_next_record_is_left_goes_on() {
    let history = History::new().await;
    for (gone, consumer) in [(3, "own-record-left"), (4, "next-record-left")] {
        history.forget_before(gone).await;
        let followed = history.follow(consumer, history.checkpoint(3).clone().into()).await.unwrap();
        assert_eq!(revisions(&followed), [4, 5, 6, 7, 8, 9], "{consumer}");
    }
    // After a rebuild that went further, the first record that is left shows that nothing is missing.
    let position = Checkpoints::of_position(history.checkpoint(4).position);
    let followed = history.follow("rebuilt", position).await.unwrap();
    assert_eq!(revisions(&followed), [5, 6, 7, 8, 9]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_consumer_of_a_part_whose_beginning_is_gone_is_told() {
    let history = History::new().await;
    history.forget_before(1).await;
    history.check_gap(history.follow("fresh", Checkpoints::start()).await);
    forget(&history.config, &history.part, None).await;
    history.check_gap(history.follow("fresh-where-nothing-is-left", Checkpoints::start()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_left_the_next_relay_shows_what_was_missed() {
    let mut history = History::new().await;
    forget(&history.config, &history.part, None).await;
    let waiting = history.follow("waiting", history.checkpoint(9).clone().into()).await.unwrap_err();
    assert!(matches!(&waiting, FeedError::Unavailable(reason) if reason.contains("is empty")), "{waiting}");
    // The first record of a relay is a watermark where the log had been published to.
    let fresh = relay(&history.config, &history.log, &history.folder).await;
    std::mem::replace(&mut history.relay, fresh).stop().await;
    history.append(1).await;
    let followed = history.follow("complete", history.checkpoint(9).clone().into()).await.unwrap();
    assert_eq!(revisions(&followed), [10]);
    history.check_gap(history.follow("overtaken", history.checkpoint(3).clone().into()).await);
}
