//! P15: from Kafka into the read models, beside a raw consumer and the log's own appends; and how fast the relay fills the
//! topics.
//!
//! **Invariant:** all take turns on the same topics and the same disk; every consumer is timed from the first event that it
//! has to the last one, so that joining a group does not count. What was stored is compared with a rebuild from the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use events::checkpoints::folder::FolderCheckpoints;
use events::consumer::{self, Batch, ConsumeError, ConsumerConfig, ConsumerStatus, Handler};
use events::envelope::{Category, Position};
use events::feed::kafka::{KafkaConfig, KafkaFeed, TopicSettings};
use events::feed::{Checkpoints, Delivery, EventFeed, LogFeed, Topics};
use events::log::Filter;
use events::relay::Relay;
use events::testing::fresh_uuid;
use letopis::clock::SystemClock;
use letopis::config::Config;
use letopis::engines::{Access, Engines};
use projections::projector::Projector;
use projections::rebuild::{Rebuild, Swap};
use projections::store::sqlite::{SqliteConfig, SqliteStore};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tokio::sync::watch;

use crate::appends::legs::{self, folder};
use crate::history;
use crate::machine::load;
use crate::report::{Gate, Report, rates, ratios, spread};

/// Names the brokers; nothing here runs without.
pub(crate) const BROKERS: &str = "LETOPIS_BENCH_KAFKA_BROKERS";

/// How much is run.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// Events in the topics.
    pub(crate) events: u64,
    /// Legs of each side.
    pub(crate) rounds: usize,
    /// Of a leg of appends.
    pub(crate) appends: Duration,
}

/// Partitions of each topic, as `kafka.partitions` has it by default.
fn partitions() -> u32 {
    Config::default().kafka.partitions
}

/// Runs it.
pub(crate) async fn run(brokers: &str, scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let data = folder();
    let config = Config { data_dir: data.path().to_owned(), ..Config::default() };
    let engines = Engines::open(&config, Access::Append, Arc::new(SystemClock)).await?;
    let written = history::write(&engines, scale.events).await?;
    let topics = Topics::new(&format!("bench{}", fresh_uuid().simple()), |_| partitions())?;
    let kafka = KafkaConfig::new(brokers, topics, std::collections::BTreeMap::new())?;
    let relayed = relay(&engines, &kafka, written, data.path()).await?;
    println!("     {written} events (load {:.1})", load());
    report.row("P15", "relay: log to acknowledged by Kafka", &rates(&[relayed]), "", Gate::None);

    let (mut raw, mut alone, mut stored, mut appended) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..scale.rounds {
        let (brokers, topics) = (brokers.to_owned(), kafka.topics().clone());
        raw.push(tokio::task::spawn_blocking(move || read(&brokers, &topics, written)).await??);
        alone.push(consume(&kafka, Arc::new(Counting), written).await?);
        let views = folder();
        let store = Arc::new(SqliteStore::open(&views.path().join("views.db"), &SqliteConfig::default()).await?);
        let projector = Projector::new(engines.codec.clone(), Arc::<SqliteStore>::clone(&store) as _);
        stored.push(consume(&kafka, Arc::new(projector), written).await?);
        if round == 0 {
            let hash = equal_to_a_rebuild(&engines, &kafka, &store, views.path(), written).await?;
            report.row("P15", "what was stored", &format!("state hash {hash}"), "equal to a rebuild", Gate::Met);
        }
        let place = folder();
        let log = Arc::new(legs::open(&place));
        let target = legs::Target::Log(Arc::clone(&log));
        appended.push(legs::drive(&target, 16, 100, scale.appends).await.events_per_second);
        log.close().await;
    }
    engines.log.close().await;
    report.row("P15", "raw consumer", &rates(&raw), "", Gate::None);
    report.row("P15", "embedded log, 16 in flight x 100 (P2)", &rates(&appended), "", Gate::None);
    report.row("P15", "the feed with a handler that stores nothing", &rates(&alone), "", Gate::None);
    report.row("P15", "the feed into all read models", &rates(&stored), "", Gate::None);
    let least: Vec<f64> = raw.iter().zip(&appended).map(|(raw, log)| raw.min(*log)).collect();
    let over = |rates: &[f64]| rates.iter().zip(&least).map(|(rate, least)| rate / least).collect::<Vec<_>>();
    report.row("P15", "the feed over min(raw, P2)", &ratios(&over(&alone)), "", Gate::None);
    let gate = Gate::when(spread(&over(&stored)).0 >= 0.7);
    report.row("P15", "into all read models over min(raw, P2)", &ratios(&over(&stored)), ">= 0.70", gate);
    Ok(())
}

fn per_second(events: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let events = events as f64;
    events / time.as_secs_f64()
}

/// Publishes the log; events per second from the first that is acknowledged to the last.
async fn relay(engines: &Engines, kafka: &KafkaConfig, written: u64, folder: &std::path::Path) -> anyhow::Result<f64> {
    let checkpoints = Arc::new(FolderCheckpoints::open(folder.join("relay"))?);
    let (stop, stopped) = watch::channel(false);
    let relay = Arc::new(Relay::new(kafka.clone(), checkpoints, stopped)?);
    relay.prepare(Some(TopicSettings { replication: 1, retention: Duration::from_secs(86_400) })).await?;
    let mut published = relay.published();
    let log = engines.event_log();
    let task = tokio::spawn(async move { relay.run(&LogFeed::new(log), &ConsumerStatus::default()).await });
    let first = published.wait_for(|at| *at > Position::START).await?.0;
    let start = Instant::now();
    published.wait_for(|at| at.0 >= written).await?;
    let rate = per_second(written - first, start.elapsed());
    // Every partition shows the end before anybody reads.
    tokio::time::sleep(events::relay::WATERMARK_EVERY * 5).await;
    stop.send_replace(true);
    task.await?;
    Ok(rate)
}

/// What the client library alone does: one loop over all partitions, each payload looked at.
fn read(brokers: &str, topics: &Topics, events: u64) -> anyhow::Result<f64> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("group.id", "raw").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create()?;
    let mut list = TopicPartitionList::new();
    for category in Category::ALL {
        for partition in 0..topics.partitions(category) {
            list.add_partition_offset(&topics.topic(category), i32::try_from(partition)?, Offset::Beginning)?;
        }
    }
    consumer.assign(&list)?;
    let (mut seen, mut bytes, mut start) = (0, 0, None);
    while seen < events {
        let record = consumer.poll(Duration::from_secs(10)).context("a record comes in time")??;
        // Watermarks have none.
        if let Some(payload) = record.payload() {
            start.get_or_insert_with(Instant::now);
            bytes += payload.len();
            seen += 1;
        }
    }
    ensure!(bytes > 0, "events have payloads");
    Ok(per_second(seen, start.context("something came")?.elapsed()))
}

/// Takes everything and keeps nothing.
struct Counting;

#[async_trait]
impl Handler for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn filter(&self) -> Filter {
        Filter::default()
    }

    async fn load_checkpoints(&self) -> Result<Checkpoints, ConsumeError> {
        Ok(Checkpoints::start())
    }

    async fn handle(&self, _batch: &Batch) -> Result<(), ConsumeError> {
        Ok(())
    }

    async fn park(&self, _delivery: &Delivery, reason: &str) -> Result<(), ConsumeError> {
        Err(ConsumeError::Halt(reason.to_owned()))
    }
}

/// Events per second from the first that was handled to the last.
async fn consume(kafka: &KafkaConfig, handler: Arc<dyn Handler>, events: u64) -> anyhow::Result<f64> {
    let (stop, stopped) = watch::channel(false);
    let (feed, status) = (KafkaFeed::new(kafka.clone()), Arc::new(ConsumerStatus::default()));
    // As the server has it for its read models.
    let config = ConsumerConfig { batch: 16_384, gather: Duration::from_millis(5), ..ConsumerConfig::default() };
    let told = Arc::clone(&status);
    let task = tokio::spawn(async move { consumer::run(&feed, handler, &config, &told, stopped).await });
    let handled = || status.counts()[0];
    let (mut first, mut start) = (0, None);
    while handled() < events {
        ensure!(!task.is_finished(), "the consumer ended: {:?}", status.state());
        if start.is_none() && handled() > 0 {
            (first, start) = (handled(), Some(Instant::now()));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let rate = per_second(handled() - first, start.context("something came")?.elapsed());
    stop.send_replace(true);
    task.await?;
    ensure!(status.counts()[3] == 0, "nothing is parked");
    Ok(rate)
}

/// The hash of the state that was stored, which is that of a rebuild from the log.
async fn equal_to_a_rebuild(
    engines: &Engines,
    kafka: &KafkaConfig,
    store: &SqliteStore,
    folder: &std::path::Path,
    events: u64,
) -> anyhow::Result<String> {
    let (log, feed) = (engines.event_log(), KafkaFeed::new(kafka.clone()));
    let path = folder.join("rebuilt.db");
    let (codec, layout) = (&engines.codec, feed.layout());
    let rebuild = Rebuild { log: &*log, codec, path: &path, live: Some(store), layout, swap: Swap::Never };
    let report = rebuild.run(&|_| ()).await?;
    ensure!(report.events == events && report.parked == 0, "not every event was folded: {report:?}");
    ensure!(report.cut.is_some() && report.differences.is_empty(), "differences: {:?}", report.differences);
    report.hash.context("a comparison makes a hash")
}
