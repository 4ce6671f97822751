//! Appends to the embedded log beside a bare SQLite group commit, in one run on one disk.
//!
//! **Invariant:** both sides make the same promise: every answered append is committed with `synchronous=FULL`, has
//! two unique indexes and a checked revision. They take turns (A-B-A-B) in fresh folders; the ratio is of rounds next
//! to each other. The probe's event is one 512-byte payload; the log's is 450 bytes of payload and its metadata.
//!
//! `cargo bench -p events --bench append`; `LETOPIS_BENCH_SECONDS` (default 2) per leg, `LETOPIS_BENCH_ROUNDS` (5),
//! `LETOPIS_BENCH_ONLY` (for example `64x1`) for one load alone.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use events::envelope::{Position, Revision, StreamName};
use events::log::embedded::EmbeddedLog;
use events::log::{EventLog, ExpectedRevision, Filter};

mod legs;

use legs::probe::Probe;
use legs::{Target, drive, event, folder, open, stream_name};

/// How many workers, and how many events each appends at a time.
const LOADS: [(u64, u64); 5] = [(1, 1), (16, 1), (64, 1), (256, 1), (16, 100)];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let seconds = from_environment("LETOPIS_BENCH_SECONDS", 2);
    let rounds = from_environment("LETOPIS_BENCH_ROUNDS", 5);
    println!("appends, {seconds} s per leg, {rounds} rounds A-B; ratio = log / bare, median (min-max)");
    let only = std::env::var("LETOPIS_BENCH_ONLY").ok();
    for (workers, batch) in LOADS {
        if only.as_ref().is_some_and(|only| *only != format!("{workers}x{batch}")) {
            continue;
        }
        runtime.block_on(compare(workers, batch, Duration::from_secs(seconds), rounds));
    }
    if only.is_none() {
        runtime.block_on(long_stream());
        runtime.block_on(read_back());
    }
}

async fn compare(workers: u64, batch: u64, time: Duration, rounds: u64) {
    let (mut log, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let folder = folder();
        let opened = Arc::new(open(&folder));
        log.push(drive(&Target::Log(Arc::clone(&opened)), workers, batch, time).await);
        opened.close().await;
        let folder = self::folder();
        bare.push(drive(&Target::Bare(Arc::new(Probe::open(folder.path()))), workers, batch, time).await);
    }
    let mut ratios: Vec<f64> = log.iter().zip(&bare).map(|(a, b)| a.events_per_second / b.events_per_second).collect();
    ratios.sort_by(f64::total_cmp);
    println!("{workers} in flight x {batch}:");
    for (name, legs) in [("log ", &mut log), ("bare", &mut bare)] {
        legs.sort_by(|a, b| a.events_per_second.total_cmp(&b.events_per_second));
        let (low, mid, high) = (&legs[0], &legs[legs.len() / 2], &legs[legs.len() - 1]);
        println!(
            "  {name} {:>8.0} ev/s ({:.0}-{:.0}), p50 {:.2} ms, p99 {:.2} ms",
            mid.events_per_second,
            low.events_per_second,
            high.events_per_second,
            mid.p50.as_secs_f64() * 1e3,
            mid.p99.as_secs_f64() * 1e3
        );
    }
    println!("  ratio {:.2} ({:.2}-{:.2})", ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]);
}

/// What an append costs as its stream grows.
async fn long_stream() {
    println!("one stream, one append in flight:");
    let folder = folder();
    let log = open(&folder);
    let stream = stream_name(1);
    let mut length = 0;
    for size in [100, 1_000, 10_000, 100_000] {
        while length < size {
            let count = (size - length).min(500);
            append_to(&log, &stream, length, count).await;
            length += count;
        }
        let mut latencies = Vec::new();
        for _ in 0..1000 {
            let sent = Instant::now();
            append_to(&log, &stream, length, 1).await;
            latencies.push(sent.elapsed());
            length += 1;
        }
        latencies.sort();
        println!(
            "  at {size:>6} events: p50 {:.3} ms, p99 {:.3} ms",
            latencies[500].as_secs_f64() * 1e3,
            latencies[990].as_secs_f64() * 1e3
        );
    }
    log.close().await;
}

async fn append_to(log: &EmbeddedLog, stream: &StreamName, length: u64, count: u64) {
    let expected = match length.checked_sub(1) {
        None => ExpectedRevision::NoStream,
        Some(last) => ExpectedRevision::Exact(Revision(last)),
    };
    let events = (0..count).map(|_| event()).collect();
    log.append(stream, expected, events).await.expect("the log takes the append");
}

/// How fast the log reads back, decoding included, with one reader.
async fn read_back() {
    let folder = folder();
    let log = open(&folder);
    for turn in 0..200 {
        append_to(&log, &stream_name(turn), 0, 1000).await;
    }
    let (start, mut after, mut count) = (Instant::now(), Position::START, 0);
    loop {
        let (events, searched) = log.read_all(after, &Filter::default(), 1000).await.expect("the log can be read");
        if events.is_empty() {
            break;
        }
        count += events.len();
        after = searched;
    }
    println!("read back {count} events: {:.0} ev/s", count as f64 / start.elapsed().as_secs_f64());
    log.close().await;
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
