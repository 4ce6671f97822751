//! One member of a consumer group: a thread that polls Kafka and hands over what came.
//!
//! **Invariant:** the thread polls for as long as it is followed, whatever the consumer does, so that the group never
//! takes it for dead; what the consumer has not taken is bounded. Checkpoints are loaded when a partition is assigned,
//! not before: another process may have moved on meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::KafkaConfig;
use super::coverage::Coverage;
use super::place::{Partition, Probe};
use super::record::{self, Record};
use super::topics::{self, TopicError};
use super::trouble::Trouble;
use crate::envelope::{Category, Position};
use crate::feed::{Checkpoint, Delivery, Fed, FeedError, Follower, Part};
use crate::log::Filter;

/// Records handed over together at most.
const CHUNK: usize = 256;
/// Bytes of payloads handed over together, but for the last: what waits is bounded by them, too.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that wait for the consumer; then the thread keeps the next one and asks for no more. As many events as the read
/// models take together.
const WAITING: usize = 64;
/// How long a poll waits for the next record.
const POLL: Duration = Duration::from_millis(50);
/// Pauses before brokers are asked again: a leader is elected within a second or two.
const ASK_AGAIN: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1_000),
];
/// How long the consumer may hold the thread up before partitions are paused and polled for the group's sake alone.
const HOLD: Duration = Duration::from_secs(1);
/// A process that says nothing for so long has left the group: how soon its partitions are taken over.
const SESSION_MS: &str = "10000";
/// While enough is fetched ahead, a partition is looked at again after so long: in a backlog what is fetched ahead is taken
/// in much less than the default of a second, and then nothing would come.
const FULL_MS: &str = "10";
/// Bytes of records fetched ahead, in KiB, for all partitions together.
const FETCHED_AHEAD_KIB: &str = "16384";

type Chunk = Vec<Result<Tagged, FeedError>>;

/// What came, with the assignment that it came by.
struct Tagged {
    fed: Fed,
    assignment: u64,
}

/// The parts that this member has, each with the number of its assignment.
type Owned = Arc<Mutex<HashMap<Part, u64>>>;

/// Follows the topics of the wanted categories as a member of the consumer's group, once brokers answer and the topics are
/// what they should be.
pub(super) async fn follow(
    config: Arc<KafkaConfig>,
    consumer: &str,
    follower: Arc<dyn Follower>,
    filter: &Filter,
    members: Arc<watch::Sender<usize>>,
) -> Result<BoxStream<'static, Result<Fed, FeedError>>, FeedError> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let owned = Owned::default();
    let member = Member {
        categories: config.topics().wanted(filter),
        group: format!("{}.{consumer}", config.topics().prefix()),
        config,
        follower,
        owned: Arc::clone(&owned),
        runtime: Handle::current(),
    };
    members.send_modify(|members| *members += 1);
    let counted = Counted(members);
    let (begin, begun) = oneshot::channel();
    std::thread::Builder::new()
        .name("kafka-feed".to_owned())
        .spawn(move || {
            let _counted = counted;
            member.run(&sender, begin);
        })
        .map_err(|error| FeedError::Unavailable(format!("no thread: {error}")))?;
    begun.await.unwrap_or_else(|_| Err(FeedError::Unavailable("the thread of a consumer ended".to_owned())))?;
    let still_owned = move |chunk: Chunk| {
        let owned = owned.lock();
        let kept: Vec<_> = chunk.into_iter().filter_map(|came| keep(&owned, came)).collect();
        futures::stream::iter(kept)
    };
    let chunks = futures::stream::unfold(receiver, |mut receiver| async move {
        let chunk = receiver.recv().await?;
        Some((chunk, receiver))
    });
    Ok(chunks.flat_map(still_owned).boxed())
}

/// A thread that is a member, until it has left.
struct Counted(Arc<watch::Sender<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|members| *members -= 1);
    }
}

/// Drops what came by an assignment that is over: whoever has the part now gets it, too.
fn keep(owned: &HashMap<Part, u64>, came: Result<Tagged, FeedError>) -> Option<Result<Fed, FeedError>> {
    match came {
        Err(error) => Some(Err(error)),
        Ok(Tagged { fed, assignment }) => {
            let part = match &fed {
                Fed::Event(delivery) => &delivery.checkpoint.part,
                Fed::Watermark(checkpoint) => &checkpoint.part,
                Fed::Revoked(_) => return Some(Ok(fed)),
            };
            (owned.get(part) == Some(&assignment)).then_some(Ok(fed))
        }
    }
}

struct Member {
    config: Arc<KafkaConfig>,
    group: String,
    categories: Vec<Category>,
    follower: Arc<dyn Follower>,
    owned: Owned,
    runtime: Handle,
}

/// What the callbacks of the client need and leave behind.
struct Context {
    config: Arc<KafkaConfig>,
    follower: Arc<dyn Follower>,
    owned: Owned,
    runtime: Handle,
    left: Mutex<Left>,
    trouble: Trouble,
}

#[derive(Default)]
struct Left {
    assignments: u64,
    /// How often partitions were given or taken, none of them included.
    rebalances: u64,
    /// Parts by topic and partition.
    parts: HashMap<(String, i32), Assigned>,
    revoked: Vec<Part>,
    failed: Option<FeedError>,
}

/// A part that this member has.
#[derive(Clone)]
struct Assigned {
    part: Part,
    assignment: u64,
    /// Up to here the part was handled before: what a relay that was replaced wrote again is not handed over.
    handled: Position,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, _facility: &str, message: &str) {
        log(level, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Each is tried again by librdkafka; what lasts shows as lag.
        tracing::debug!(%error, "kafka client");
        self.trouble.hear(&error, reason);
    }
}

/// What librdkafka has to say: names of brokers and topics, no records.
pub(crate) fn log(level: RDKafkaLogLevel, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::warn!(message, "librdkafka");
        }
        _ => tracing::debug!(message, "librdkafka"),
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let result = match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, list),
            other => Err(FeedError::Unavailable(format!("rebalance: {}", RDKafkaErrorCode::from(other)))),
        };
        let mut left = self.left.lock();
        left.rebalances += 1;
        left.failed = result.err().or_else(|| left.failed.take());
    }
}

fn unavailable(error: &KafkaError) -> FeedError {
    FeedError::Unavailable(error.to_string())
}

impl Context {
    /// Takes partitions over, each from where its checkpoint is now.
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> Result<(), FeedError> {
        let mut with_offsets = TopicPartitionList::new();
        if list.count() > 0 {
            let stored = self.runtime.block_on(self.follower.load())?;
            let probe = Probe::new(&self.config)?;
            for element in list.elements() {
                let partition = Partition { topic: element.topic(), number: element.partition() };
                let part = Part::named(&format!("{}/{}", partition.topic, partition.number));
                let offset = patiently(|| probe.begin(partition, &part, &stored))?;
                let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
                with_offsets
                    .add_partition_offset(partition.topic, partition.number, offset)
                    .map_err(|error| unavailable(&error))?;
                let mut left = self.left.lock();
                left.assignments += 1;
                let assignment = left.assignments;
                let assigned = Assigned { part: part.clone(), assignment, handled: stored.position_in(&part) };
                left.parts.insert((partition.topic.to_owned(), partition.number), assigned);
                self.owned.lock().insert(part, assignment);
            }
        }
        consumer.incremental_assign(&with_offsets).map_err(|error| unavailable(&error))
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> Result<(), FeedError> {
        {
            let mut left = self.left.lock();
            for element in list.elements() {
                if let Some(gone) = left.parts.remove(&(element.topic().to_owned(), element.partition())) {
                    self.owned.lock().remove(&gone.part);
                    left.revoked.push(gone.part);
                }
            }
        }
        // Whoever has it next finds it running, this one included.
        consumer.resume(list).and_then(|()| consumer.incremental_unassign(list)).map_err(|error| unavailable(&error))
    }
}

impl Member {
    /// Tells whether it could begin, then follows.
    fn run(self, sender: &mpsc::Sender<Chunk>, begin: oneshot::Sender<Result<(), FeedError>>) {
        // Nobody to tell when the consumer has gone.
        match self.begin() {
            Ok(consumer) => {
                let _ = begin.send(Ok(()));
                if let Err(error) = self.poll(&consumer, sender) {
                    let _ = sender.blocking_send(vec![Err(error)]);
                }
            }
            Err(error) => {
                let _ = begin.send(Err(error));
            }
        }
    }

    fn begin(&self) -> Result<BaseConsumer<Context>, FeedError> {
        let consumer = self.consumer()?;
        self.check(&consumer)?;
        // What was heard before a broker answered is over.
        while consumer.poll(Duration::ZERO).is_some() {}
        consumer.context().trouble.is_over();
        let names: Vec<String> = self.categories.iter().map(|category| self.config.topics().topic(*category)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| unavailable(&error))?;
        Ok(consumer)
    }

    fn consumer(&self) -> Result<BaseConsumer<Context>, FeedError> {
        let mut client = self.config.client_with(&[
            ("session.timeout.ms", SESSION_MS),
            ("heartbeat.interval.ms", "3000"),
            ("queued.max.messages.kbytes", FETCHED_AHEAD_KIB),
            ("fetch.queue.backoff.ms", FULL_MS),
        ]);
        for (key, value) in [
            ("group.id", self.group.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("partition.assignment.strategy", "cooperative-sticky"),
        ] {
            client.set(key, value);
        }
        let context = Context {
            config: Arc::clone(&self.config),
            follower: Arc::clone(&self.follower),
            owned: Arc::clone(&self.owned),
            runtime: self.runtime.clone(),
            left: Mutex::default(),
            trouble: Trouble::default(),
        };
        client.create_with_context(context).map_err(|error| unavailable(&error))
    }

    fn poll(&self, consumer: &BaseConsumer<Context>, sender: &mpsc::Sender<Chunk>) -> Result<(), FeedError> {
        let mut held = BTreeSet::new();
        let mut coverage = Coverage::new(Arc::clone(&self.config), self.group.clone(), &self.categories);
        while !sender.is_closed() {
            self.pause_held(consumer, &mut held)?;
            let rebalances = consumer.context().left.lock().rebalances;
            coverage.check(rebalances)?;
            let chunk = self.gather(consumer)?;
            if let Some(reason) = consumer.context().trouble.all_away() {
                return Err(FeedError::Unavailable(reason));
            }
            if !chunk.is_empty() && self.hand_over(consumer, sender, chunk)? {
                // Every partition was paused and taken up again.
                held.clear();
            }
        }
        Ok(())
    }

    /// Pauses the partitions that the follower holds, and takes up those that it holds no more.
    fn pause_held(&self, consumer: &BaseConsumer<Context>, paused: &mut BTreeSet<Part>) -> Result<(), FeedError> {
        let held = self.follower.held();
        if held == *paused {
            return Ok(());
        }
        let list = |parts: &mut dyn Iterator<Item = &Part>| {
            let mut list = TopicPartitionList::new();
            let left = consumer.context().left.lock();
            for part in parts {
                // Those that are another's now are not paused here.
                let of_part = left.parts.iter().find(|(_, assigned)| assigned.part == *part);
                if let Some(((topic, number), _)) = of_part {
                    list.add_partition(topic, *number);
                }
            }
            list
        };
        consumer.pause(&list(&mut held.difference(paused))).map_err(|error| unavailable(&error))?;
        consumer.resume(&list(&mut paused.difference(&held))).map_err(|error| unavailable(&error))?;
        *paused = held;
        Ok(())
    }

    /// Asks for the topics, patiently, but once only where brokers do not let this client in.
    fn check(&self, consumer: &BaseConsumer<Context>) -> Result<(), FeedError> {
        let trouble = &consumer.context().trouble;
        patiently(|| {
            let Err(error) = topics::check(consumer.client(), self.config.topics(), &self.categories) else {
                return Ok(Ok(()));
            };
            // Why is told by polling only.
            while consumer.poll(POLL).is_some() {}
            let error = match trouble.explain(error) {
                error @ TopicError::Partitions { .. } => FeedError::Corrupt(error.to_string()),
                error => FeedError::Unavailable(error.to_string()),
            };
            if trouble.is_refusal() { Ok(Err(error)) } else { Err(error) }
        })?
    }

    /// What has come by now, after waiting for the first.
    fn gather(&self, consumer: &BaseConsumer<Context>) -> Result<Chunk, FeedError> {
        let mut chunk = Vec::new();
        let (mut wait, mut bytes) = (POLL, 0);
        while chunk.len() < CHUNK && bytes < CHUNK_BYTES {
            let polled = consumer.poll(wait);
            wait = Duration::ZERO;
            let mut left = consumer.context().left.lock();
            chunk.extend(left.revoked.drain(..).map(|part| Ok(Tagged { fed: Fed::Revoked(part), assignment: 0 })));
            if let Some(error) = left.failed.take() {
                return Err(error);
            }
            match polled {
                None => break,
                Some(Err(error)) => {
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
                        consumer.context().trouble.hear(&error, "");
                    }
                    passing(&error)?;
                }
                Some(Ok(message)) => {
                    bytes += message.payload_len();
                    let key = (message.topic().to_owned(), message.partition());
                    let Some(assigned) = left.parts.get(&key).cloned() else { continue };
                    chunk.extend(tagged(&message, assigned)?.map(Ok));
                }
            }
        }
        Ok(chunk)
    }

    /// Waits until the consumer takes the chunk, and keeps polling for the group meanwhile. True when that took so long
    /// that all partitions were paused and taken up again.
    fn hand_over(
        &self,
        consumer: &BaseConsumer<Context>,
        sender: &mpsc::Sender<Chunk>,
        chunk: Chunk,
    ) -> Result<bool, FeedError> {
        let reserve = || self.runtime.block_on(async { tokio::time::timeout(HOLD, sender.reserve()).await });
        let (mut paused, mut ever) = (false, false);
        let permit = loop {
            match reserve() {
                Ok(Ok(permit)) => break Some(permit),
                // The consumer has gone.
                Ok(Err(_)) => break None,
                Err(_elapsed) => {
                    if !paused {
                        let all = consumer.assignment().map_err(|error| unavailable(&error))?;
                        consumer.pause(&all).map_err(|error| unavailable(&error))?;
                        (paused, ever) = (true, true);
                    }
                    // Partitions that are paused give nothing; those assigned meanwhile are paused with the next look.
                    if let Some(polled) = consumer.poll(Duration::ZERO) {
                        match polled {
                            Err(error) => passing(&error)?,
                            Ok(message) => rewind(consumer, &message)?,
                        }
                        paused = false;
                    }
                }
            }
        };
        if ever {
            let all = consumer.assignment().map_err(|error| unavailable(&error))?;
            consumer.resume(&all).map_err(|error| unavailable(&error))?;
        }
        if let Some(permit) = permit {
            permit.send(chunk);
        }
        Ok(ever)
    }
}

/// Asks brokers again that are on the move, a few times.
fn patiently<T>(ask: impl Fn() -> Result<T, FeedError>) -> Result<T, FeedError> {
    let mut again = ASK_AGAIN.iter();
    loop {
        match (ask(), again.next()) {
            (Err(FeedError::Unavailable(_)), Some(pause)) => std::thread::sleep(*pause),
            (answer, _) => return answer,
        }
    }
}

/// A record that came where there is no room: it is fetched again later.
fn rewind(consumer: &BaseConsumer<Context>, message: &impl Message) -> Result<(), FeedError> {
    let back = consumer.seek(message.topic(), message.partition(), Offset::Offset(message.offset()), HOLD);
    back.map_err(|error| unavailable(&error))
}

/// What a record is to the consumer.
fn tagged(message: &impl Message, assigned: Assigned) -> Result<Option<Tagged>, FeedError> {
    let Assigned { part, assignment, handled } = assigned;
    let offset = message.offset().unsigned_abs();
    let record = record::read(message).map_err(|error| FeedError::Corrupt(format!("{part} at {offset}: {error}")))?;
    let fed = match record {
        Record::Event(event) if event.position <= handled => return Ok(None),
        Record::Event(event) => {
            let checkpoint = Checkpoint { part, offset, position: event.position };
            Fed::Event(Delivery { event, checkpoint })
        }
        Record::Watermark(watermark) => Fed::Watermark(Checkpoint { part, offset, position: watermark.position }),
        Record::Foreign => {
            tracing::warn!(%part, offset, "a record that the relay did not write is left out");
            return Ok(None);
        }
    };
    Ok(Some(Tagged { fed, assignment }))
}

/// Errors that librdkafka gets over by itself pass; others end the following, to begin anew from the checkpoints.
fn passing(error: &KafkaError) -> Result<(), FeedError> {
    let code = match error {
        KafkaError::MessageConsumptionFatal(code) => return Err(FeedError::Unavailable(format!("fatal: {code}"))),
        other => other.rdkafka_error_code(),
    };
    match code {
        // Retention has overtaken a partition, or it was made anew; a topic has gone; the group has given this member up.
        Some(
            RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::PollExceeded
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::Fatal,
        ) => Err(unavailable(error)),
        _ => {
            tracing::debug!(%error, "kafka feed");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
