//! From the log to Kafka: the only publisher.
//!
//! **Invariant:** events of a partition are written in the order of the log, and none is left out: what Kafka does not
//! acknowledge is waited for, not given up, for the next event of its stream must not overtake it. The checkpoint is
//! stored after the acknowledgement. The acknowledgement is not the point of durability; the log is (design
//! invariant 11). One relay runs per log at a time, by a lease; should an old one wake up late, consumers tell its repeats
//! by their revisions.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use tokio::sync::{OnceCell, watch};

use crate::checkpoints::CheckpointStore;
use crate::consumer::{self, Batch, ConsumeError, ConsumerConfig, ConsumerStatus, Ended, Handler, Stopped};
use crate::envelope::{Category, Position};
use crate::feed::kafka::place::{Partition, Probe};
use crate::feed::kafka::record::{Watermark, headers, watermark_headers};
use crate::feed::kafka::topics;
use crate::feed::kafka::trouble::Trouble;
use crate::feed::kafka::{KafkaConfig, TopicError, TopicSettings};
use crate::feed::{Checkpoints, Delivery, EventFeed, FeedError};
use crate::log::{EventLog, Filter};

/// Stable name: it keys the checkpoint.
pub const NAME: &str = "relay";

/// While positions move, every partition gets a watermark so often (design §4).
pub const WATERMARK_EVERY: Duration = Duration::from_millis(100);

/// While nothing moves: retention must not empty a partition, for a consumer that begins there finds its place by a record.
const WATERMARK_AT_REST: Duration = Duration::from_secs(3600);

/// How often, and after what pause, topics that were made are looked for: ten seconds in all.
const LOOKS: u32 = 100;
/// See [`LOOKS`].
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Pauses of a relay that cannot begin: soon at first, for brokers that are busy or just starting. After the last one
/// another process may try.
const TRY_AGAIN: [Duration; 8] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(10),
    Duration::from_secs(10),
    Duration::from_secs(10),
];

/// Most events that wait for their acknowledgement.
const IN_FLIGHT: usize = 4_096;

/// While events keep coming, they are written so often at most: whatever few they are, a write costs every partition that
/// it touches a batch of records, and every consumer a fetch.
const GATHER: Duration = Duration::from_millis(10);

/// A batch that is not acknowledged is told of so often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The largest event in bytes, headers aside, that is written; larger ones are parked. Logs take none above
/// [`crate::log::LARGEST_PAYLOAD`]: these come from a log of before there was a limit.
///
/// **Source:** Kafka's default `message.max.bytes` of 1,048,588, less room for headers and framing.
const LARGEST_PAYLOAD: usize = 1_000_000;

/// Publishes a log.
pub struct Relay {
    config: KafkaConfig,
    checkpoints: Arc<dyn CheckpointStore>,
    producer: Mutex<Arc<Producing>>,
    /// Everything up to here is acknowledged, or parked, and the checkpoint says so.
    published: watch::Sender<Position>,
    /// Nothing beyond this was handed to a producer. Held while watermarks that say so are handed over.
    sent: Mutex<Position>,
    shutdown: watch::Receiver<bool>,
}

/// A producer, and whether brokers know it.
struct Producing {
    client: FutureProducer<Context>,
    trouble: Arc<Trouble>,
    /// Every partition has a record of it.
    introduced: OnceCell<()>,
}

struct Context(Arc<Trouble>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, _facility: &str, message: &str) {
        crate::feed::kafka::log(level, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "kafka producer");
        self.0.hear(&error, reason);
    }
}

impl Relay {
    /// A relay with its producer. `shutdown` lets it leave what is not acknowledged.
    ///
    /// # Errors
    /// The configuration is not what librdkafka takes.
    pub fn new(
        config: KafkaConfig,
        checkpoints: Arc<dyn CheckpointStore>,
        shutdown: watch::Receiver<bool>,
    ) -> Result<Self, TopicError> {
        let producer = producer(&config)?;
        let published = watch::Sender::new(Position::START);
        let (producer, sent) = (Mutex::new(Arc::new(producer)), Mutex::default());
        Ok(Self { config, checkpoints, producer, published, sent, shutdown })
    }

    /// A relay whose topics are as configured. Where it cannot begin, `status` tells why, and how late Kafka is meanwhile,
    /// and it is tried again. `None` when it is to stop, or when another process may try.
    pub async fn start(
        config: &KafkaConfig,
        settings: Option<TopicSettings>,
        log: &dyn EventLog,
        checkpoints: &Arc<dyn CheckpointStore>,
        status: &ConsumerStatus,
        mut shutdown: watch::Receiver<bool>,
    ) -> Option<Arc<Self>> {
        let _ended = Ended(status);
        for pause in TRY_AGAIN {
            let asked = shutdown.clone();
            let begin = async {
                let relay = Self::new(config.clone(), Arc::clone(checkpoints), asked)?;
                relay.prepare(settings).await?;
                Ok::<_, TopicError>(relay)
            };
            let begun = tokio::select! {
                biased;
                _ = shutdown.wait_for(|asked| *asked) => return None,
                begun = begin => begun,
            };
            match begun {
                Ok(relay) => return Some(Arc::new(relay)),
                Err(error) => {
                    tracing::error!(%error, "the relay cannot be started");
                    tell_late(log, &**checkpoints, status, error.to_string()).await;
                }
            }
            tokio::select! {
                biased;
                _ = shutdown.wait_for(|asked| *asked) => return None,
                () = tokio::time::sleep(pause) => {}
            }
        }
        None
    }

    /// Makes the topics that are missing, where `settings` are given, and checks that all are as configured.
    ///
    /// # Errors
    /// See [`TopicError`]. Where no broker lets the relay in, it says why.
    pub async fn prepare(&self, settings: Option<TopicSettings>) -> Result<(), TopicError> {
        // What keeps the client out that makes topics keeps the producer out, too, which connects when it is made.
        self.make_and_check(settings).await.map_err(|error| self.producer().trouble.explain(error))
    }

    async fn make_and_check(&self, settings: Option<TopicSettings>) -> Result<(), TopicError> {
        if let Some(settings) = settings {
            topics::make(&self.config.client(), self.config.topics(), &settings).await?;
        }
        let mut looks = 0;
        loop {
            let (producer, topics) = (self.producer(), self.config.topics().clone());
            let check = move || topics::check(producer.client.client(), &topics, &Category::ALL);
            let checked = tokio::task::spawn_blocking(check).await;
            match checked.map_err(|error| TopicError::Unavailable(error.to_string()))? {
                // Brokers know of a topic that was just made a moment later.
                Err(TopicError::Missing(_)) if settings.is_some() && looks < LOOKS => {
                    looks += 1;
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                checked => return checked,
            }
        }
    }

    /// Publishes what `feed` brings, which is that of the log itself, until shutdown.
    pub async fn run(self: Arc<Self>, feed: &dyn EventFeed, status: &ConsumerStatus) -> Stopped {
        let config = ConsumerConfig { batch: IN_FLIGHT, gather: GATHER, ..ConsumerConfig::default() };
        tokio::select! {
            stopped = consumer::run(feed, Arc::clone(&self) as _, &config, status, self.shutdown.clone()) => stopped,
            never = self.mark() => never,
        }
    }

    /// Everything up to here is in Kafka, now and whenever it moves.
    #[must_use]
    pub fn published(&self) -> watch::Receiver<Position> {
        self.published.subscribe()
    }

    fn producer(&self) -> Arc<Producing> {
        Arc::clone(&self.producer.lock())
    }

    /// A producer whose records brokers number in every partition.
    ///
    /// A broker takes records from a producer that it does not know whatever their sequence number is (KIP-360, "Improve
    /// reliability of idempotent/transactional producer"). Where the first request to a partition fails, as right after
    /// a topic was made, and the second, on its way already, does not, the first is out of sequence when it is sent
    /// again, and librdkafka holds it for written ("implicitly acked by subsequent batch success"): it would be lost. So
    /// every partition has one record alone before the first that others follow. A broker forgets a producer after
    /// `producer.id.expiration.ms`, a day by default; watermarks come each hour.
    async fn introduced(&self) -> Result<Arc<Producing>, ConsumeError> {
        let producer = self.producer();
        let introduce = async || {
            let position = *self.published.borrow();
            let marks = self.watermarks(&producer.client, position).map_err(|error| self.failed(&error))?;
            self.acknowledged(marks).await
        };
        producer.introduced.get_or_try_init(introduce).await?;
        Ok(producer)
    }

    /// Writes watermarks: the published position to every partition.
    async fn mark(&self) -> ! {
        let mut published = self.published.subscribe();
        let mut marked = None;
        loop {
            let position = *published.borrow_and_update();
            if position > Position::START || marked.is_none() {
                if self.mark_all(position).await {
                    marked = Some(position);
                }
                tokio::time::sleep(WATERMARK_EVERY).await;
            }
            if marked == Some(*published.borrow()) {
                // Until it moves, or for so long.
                let _ = tokio::time::timeout(WATERMARK_AT_REST, published.changed()).await;
            }
        }
    }

    /// True when every partition has acknowledged it.
    async fn mark_all(&self, position: Position) -> bool {
        if position == Position::START {
            return true;
        }
        let Ok(producer) = self.introduced().await else { return false };
        let marked = match self.watermarks(&producer.client, position) {
            Ok(marks) => self.acknowledged(marks).await,
            Err(error) => Err(self.failed(&error)),
        };
        marked.is_ok()
    }

    /// A watermark to every partition, on its way.
    fn watermarks(
        &self,
        client: &FutureProducer<Context>,
        position: Position,
    ) -> Result<Vec<DeliveryFuture>, KafkaError> {
        let topics = self.config.topics();
        let mut waiting = Vec::new();
        let sent = self.sent.lock();
        let watermark = Watermark { position, sent: position.max(*sent) };
        for category in Category::ALL {
            let topic = topics.topic(category);
            for partition in 0..topics.partitions(category) {
                let record = FutureRecord::<(), ()>::to(&topic)
                    .partition(i32::try_from(partition).unwrap_or(i32::MAX))
                    .headers(watermark_headers(watermark));
                waiting.push(client.send_result(record).map_err(|(error, _)| error)?);
            }
        }
        Ok(waiting)
    }

    /// Writes events and waits for their acknowledgements.
    async fn publish(&self, batch: &Batch) -> Result<(), ConsumeError> {
        let (producer, topics) = (self.introduced().await?, self.config.topics());
        let last = batch.events().map(|event| event.position).max().unwrap_or_default();
        {
            let mut sent = self.sent.lock();
            *sent = last.max(*sent);
        }
        let mut waiting = Vec::new();
        for event in batch.events() {
            if event.payload.len() > LARGEST_PAYLOAD {
                return Err(ConsumeError::Park(format!("{} bytes are too many for Kafka", event.payload.len())));
            }
            let topic = topics.topic(event.stream.category);
            let key = event.stream.to_string();
            let mut record = FutureRecord::to(&topic)
                .key(key.as_bytes())
                .partition(i32::try_from(topics.partition_of(&event.stream)).unwrap_or(i32::MAX))
                // Its time is that of writing: retention counts from it, and history would be gone at once.
                .headers(headers(event))
                .payload(event.payload.as_ref());
            // The queue of librdkafka is larger than a batch; what watermarks take of it is soon sent.
            loop {
                match producer.client.send_result(record) {
                    Ok(acknowledged) => break waiting.push(acknowledged),
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        record = back;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    Err((error, _)) => return Err(self.failed(&error)),
                }
            }
        }
        self.acknowledged(waiting).await
    }

    /// Waits until all of them are acknowledged.
    async fn acknowledged(&self, waiting: Vec<DeliveryFuture>) -> Result<(), ConsumeError> {
        let all = futures::future::join_all(waiting);
        let mut errors = Vec::new();
        for acknowledged in self.unless_shut_down(all).await? {
            match acknowledged {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => errors.push(error),
                Err(_) => return Err(ConsumeError::Retry("the producer has gone".to_owned())),
            }
        }
        // The one that was refused takes those behind it along: it is what is told.
        match errors.iter().find(|error| is_refusal(error)).or(errors.first()) {
            Some(error) => Err(self.failed(error)),
            None => Ok(()),
        }
    }

    /// Waits for as long as it takes, but tells of it, and leaves when it is to stop: what is not acknowledged then is
    /// written again by the next relay, from the checkpoint.
    async fn unless_shut_down<T>(&self, future: impl Future<Output = T>) -> Result<T, ConsumeError> {
        let mut shutdown = self.shutdown.clone();
        tokio::pin!(future);
        loop {
            tokio::select! {
                biased;
                done = &mut future => return Ok(done),
                _ = shutdown.wait_for(|asked| *asked) => {
                    return Err(ConsumeError::Retry("stopped before Kafka acknowledged".to_owned()));
                }
                () = tokio::time::sleep(TELL_EVERY) => {
                    tracing::warn!(waited_s = TELL_EVERY.as_secs(), "Kafka has not acknowledged; the relay waits");
                }
            }
        }
    }

    /// What a failed write means. After an error that may leave a gap the producer is of no more use, for whatever comes
    /// next: a new one begins with the batch again.
    fn failed(&self, error: &KafkaError) -> ConsumeError {
        match producer(&self.config) {
            Ok(fresh) => *self.producer.lock() = Arc::new(fresh),
            Err(error) => tracing::warn!(%error, "no new producer"),
        }
        if is_refusal(error) { ConsumeError::Park(error.to_string()) } else { ConsumeError::Retry(error.to_string()) }
    }

    /// From where to publish: the checkpoint, but no later than what every partition holds. Topics that were made anew
    /// hold nothing, whatever the checkpoint says, and a broker that lost power may have lost what it acknowledged.
    async fn begin(&self, stored: Position) -> Result<Position, ConsumeError> {
        let config = self.config.clone();
        let held = tokio::task::spawn_blocking(move || {
            let (probe, topics) = (Probe::new(&config)?, config.topics());
            let mut least = None;
            for category in Category::ALL {
                let topic = topics.topic(category);
                for number in 0..topics.partitions(category) {
                    let number = i32::try_from(number).unwrap_or(i32::MAX);
                    let held = probe.holds(Partition { topic: &topic, number })?;
                    least = least.into_iter().chain(held).min();
                }
            }
            Ok::<_, FeedError>(least)
        });
        match held.await {
            Ok(Ok(held)) => Ok(stored.min(held.unwrap_or(stored))),
            Ok(Err(FeedError::Corrupt(reason))) => Err(ConsumeError::Halt(reason)),
            Ok(Err(error)) => Err(ConsumeError::Retry(error.to_string())),
            Err(error) => Err(ConsumeError::Retry(error.to_string())),
        }
    }
}

/// True for what brokers refuse for good because of the record.
fn is_refusal(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| {
        matches!(
            code,
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::MessageBatchTooLarge
        )
    })
}

/// Tells why nothing is published, and since when something waits for it.
async fn tell_late(log: &dyn EventLog, checkpoints: &dyn CheckpointStore, status: &ConsumerStatus, reason: String) {
    // What cannot be read now is told the next time.
    let stored = checkpoints.load(NAME).await.ok();
    let oldest = match &stored {
        Some(stored) => log.read_all(stored.least(), &Filter::default(), 1).await.ok(),
        None => None,
    };
    let oldest = oldest.and_then(|(events, _)| events.first().map(|event| event.recorded_at));
    status.cannot_begin(reason, stored.as_ref(), oldest);
}

/// A producer that keeps order and gives nothing up.
fn producer(config: &KafkaConfig) -> Result<Producing, TopicError> {
    // Records of a few events are handed over in less than a millisecond, and go together.
    let mut client: ClientConfig = config.client_with(&[("compression.type", "lz4"), ("linger.ms", "1")]);
    for (key, value) in [
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("enable.gapless.guarantee", "true"),
        // Never: an event that is given up may be overtaken by the next one of its stream.
        ("message.timeout.ms", "0"),
        // As the topics take.
        ("message.max.bytes", "1048588"),
    ] {
        client.set(key, value);
    }
    let trouble = Arc::new(Trouble::default());
    let client = client.create_with_context(Context(Arc::clone(&trouble)));
    let client = client.map_err(|error: KafkaError| TopicError::Unavailable(error.to_string()))?;
    Ok(Producing { client, trouble, introduced: OnceCell::new() })
}

#[async_trait]
impl Handler for Relay {
    fn name(&self) -> &str {
        NAME
    }

    fn filter(&self) -> Filter {
        Filter::default()
    }

    async fn load_checkpoints(&self) -> Result<Checkpoints, ConsumeError> {
        let stored = self.checkpoints.load(NAME).await?.least();
        let begin = self.begin(stored).await?;
        if begin < stored {
            tracing::info!(stored = stored.0, from = begin.0, "the topics do not show all of it: published again");
        }
        self.published.send_replace(begin);
        Ok(Checkpoints::of_position(begin))
    }

    async fn handle(&self, batch: &Batch) -> Result<(), ConsumeError> {
        self.publish(batch).await?;
        let checkpoints = batch.checkpoints();
        self.checkpoints.store(NAME, &checkpoints).await?;
        self.published.send_modify(|at| *at = checkpoints.greatest().max(*at));
        Ok(())
    }

    /// The event's headers and the reason go to the topic of parked events, without its payload: that stays in the log.
    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), ConsumeError> {
        let topic = self.config.topics().parked();
        let key = delivery.event.stream.to_string();
        let reason = Header { key: "letopis_reason", value: Some(reason) };
        let record = FutureRecord::<[u8], ()>::to(&topic)
            .key(key.as_bytes())
            .headers(OwnedHeaders::clone(&headers(&delivery.event)).insert(reason));
        let sent = self.producer().client.send_result(record).map_err(|(error, _)| error);
        let parked = match sent {
            Ok(acknowledged) => self.acknowledged(vec![acknowledged]).await,
            Err(error) => Err(self.failed(&error)),
        };
        // Not even its headers, perhaps: without them it would never go on.
        parked.or_else(|error| match error {
            ConsumeError::Park(reason) => {
                tracing::error!(reason, "what is parked is not in the topic of parked events either");
                Ok(())
            }
            error => Err(error),
        })?;
        let position = delivery.checkpoint.position;
        self.checkpoints.store(NAME, &delivery.checkpoint.clone().into()).await?;
        self.published.send_modify(|at| *at = position.max(*at));
        Ok(())
    }
}
