//! What the legs of an append benchmark have in common: the log, the bare probe, and the workers that append.
//!
//! **Invariant:** a worker appends to streams of its own, in order, so that every revision that it expects is right.
//! The benchmark of the whole server takes this file in, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use events::clock::FixedClock;
use events::envelope::{Actor, Category, Metadata, NewEvent, Revision, StreamName};
use events::ids::{CommandId, EventId};
use events::log::embedded::{EmbeddedLog, EmbeddedLogConfig};
use events::log::{EventLog, ExpectedRevision};
use tempfile::TempDir;
use uuid::Uuid;

#[path = "probe.rs"]
pub(crate) mod probe;

use probe::Probe;

/// Streams per worker.
const STREAMS: u64 = 50;

/// Payload of the log's events, in bytes.
const PAYLOAD_BYTES: usize = 450;

/// What is measured: our log or the probe.
#[derive(Clone)]
pub(crate) enum Target {
    Log(Arc<EmbeddedLog>),
    Bare(Arc<Probe>),
}

/// One leg: events per second and latencies.
pub(crate) struct Leg {
    pub(crate) events_per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Something that appends durably.
pub(crate) trait Appends: Clone + Send + 'static {
    /// Appends `count` events to a stream that stands before `revision` and waits until they are durable.
    fn append(&self, stream: u64, revision: u64, count: u64) -> impl Future<Output = ()> + Send;
}

impl Appends for Target {
    async fn append(&self, stream: u64, revision: u64, count: u64) {
        match self {
            Self::Log(log) => {
                let expected = match revision.checked_sub(1) {
                    None => ExpectedRevision::NoStream,
                    Some(last) => ExpectedRevision::Exact(Revision(last)),
                };
                let events = (0..count).map(|_| event()).collect();
                log.append(&stream_name(stream), expected, events).await.expect("the log takes the append");
            }
            Self::Bare(probe) => probe.append(stream.cast_signed(), revision.cast_signed(), count).await,
        }
    }
}

/// Closed loop: each worker appends, waits for the answer and appends again.
pub(crate) async fn drive(target: &impl Appends, workers: u64, batch: u64, time: Duration) -> Leg {
    let start = Instant::now();
    let tasks: Vec<_> = (0..workers)
        .map(|worker| {
            let target = target.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut turn = 0;
                while start.elapsed() < time {
                    let (stream, revision) = (worker * STREAMS + turn % STREAMS, turn / STREAMS * batch);
                    let sent = Instant::now();
                    target.append(stream, revision, batch).await;
                    latencies.push(sent.elapsed());
                    turn += 1;
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("no worker panics"));
    }
    let elapsed = start.elapsed();
    latencies.sort();
    let events = latencies.len() as f64 * batch as f64;
    Leg {
        events_per_second: events / elapsed.as_secs_f64(),
        p50: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
    }
}

pub(crate) fn open(folder: &TempDir) -> EmbeddedLog {
    let clock = FixedClock::new(chrono::DateTime::from_timestamp_micros(1_767_225_600_000_000).unwrap_or_default());
    EmbeddedLog::open(EmbeddedLogConfig::new(folder.path().join("log.db")), Arc::new(clock)).expect("the log opens")
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on the disk of the build")
}

pub(crate) fn stream_name(number: u64) -> StreamName {
    let tenant = "acme".parse().expect("a valid tenant");
    StreamName::new(Category::Conversation, tenant, Uuid::from_u128(scatter(number)))
}

pub(crate) fn event() -> NewEvent {
    let id = fresh_id();
    NewEvent {
        id: EventId::new(id),
        event_type: "conversation.message_received".into(),
        version: 1,
        digest: *id.as_bytes(),
        metadata: Metadata {
            actor: Actor::System("telegram".into()),
            command: Some(CommandId::new(id)),
            causation: None,
            correlation: id,
            occurred_at: chrono::DateTime::from_timestamp_micros(1_767_225_600_000_000).unwrap_or_default(),
            traceparent: None,
            seen_at: None,
            wish: None,
        },
        payload: Bytes::from_static(&[b'x'; PAYLOAD_BYTES]),
    }
}

/// An id that was not before, scattered like a hash.
pub(crate) fn fresh_id() -> Uuid {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    Uuid::from_u128(scatter(NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// `SplitMix64`, twice. **Source:** Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
fn scatter(seed: u64) -> u128 {
    let mix = |seed: u64| {
        let z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    u128::from(mix(seed.wrapping_mul(2).wrapping_add(1))) << 64 | u128::from(mix(seed.wrapping_mul(2).wrapping_add(2)))
}
