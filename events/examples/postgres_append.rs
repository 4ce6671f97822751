//! Appends to the PostgreSQL log, beside the plainest thing that the same server can do: one INSERT and COMMIT per
//! event.
//!
//! **Invariant:** both sides write rows of the same columns with the same indexes, as many in flight, in the same
//! database, in turns of a few seconds. Everything is in a schema that is dropped at the end.
//!
//! `postgres_append postgres://user@host/database [seconds] [rounds]`
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use events::clock::FixedClock;
use events::envelope::NewEvent;
use events::log::postgres::{PostgresLog, PostgresLogConfig};
use events::log::{EventLog, ExpectedRevision};
use events::postgres::{Postgres, PostgresConfig};
use events::testing::{fresh_stream, fresh_tenant, fresh_uuid, sample_event, sample_metadata, sample_time};
use tokio_postgres::Client;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes of a payload: a message, sealed.
const PAYLOAD_BYTES: usize = 450;

/// A table like that of the log, without its triggers; positions come from a sequence.
const BARE: &str = "
CREATE TABLE bare (LIKE events INCLUDING ALL);
CREATE SEQUENCE bare_position;
ALTER TABLE bare ALTER COLUMN position SET DEFAULT nextval('bare_position')";

const INSERT: &str = "
INSERT INTO bare (recorded_at, revision, stream_id, event_id, category, version, tenant, type, digest, metadata, payload)
VALUES (0, 0, $1, $2, 6, 1, $3, 'conversation.sampled', $4, $5, $6)";

/// The turn of the log taken by each connection for its one row: what the order would cost without groups.
const TURN: &str = "SELECT pg_advisory_xact_lock(1)";

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("which server? postgres://user@host/database")?;
    let seconds = Duration::from_secs(arguments.next().map_or(Ok(5), |text| text.parse())?);
    let rounds: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let mut config = PostgresConfig::new(url);
    config.schema = format!("bench_{}", fresh_uuid().simple());
    let postgres = Postgres::new(&config)?;
    let measured = measure(&postgres, seconds, rounds).await;
    let end = postgres.connect().await?;
    end.client.batch_execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", config.schema)).await?;
    measured
}

async fn measure(postgres: &Postgres, seconds: Duration, rounds: usize) -> Outcome<()> {
    let one = open(postgres).await?;
    let other = open(postgres).await?;
    let admin = postgres.connect().await?;
    admin.client.batch_execute(BARE).await?;
    println!("events/s, p50 and p99 in ms; {PAYLOAD_BYTES} B of payload, turns of {} s", seconds.as_secs());
    for round in 1..=rounds {
        println!("round {round}");
        for callers in [1, 16, 64] {
            let bare = bare(postgres, callers, None, seconds).await?;
            print(&format!("bare INSERT, {callers} connections"), &bare);
            let log = append(&[Arc::clone(&one)], callers, seconds).await?;
            print(&format!("log, {callers} callers ({:.2} of bare)", log.per_second / bare.per_second), &log);
        }
        print("log, two processes of 32 callers", &append(&[Arc::clone(&one), Arc::clone(&other)], 64, seconds).await?);
        print("bare INSERT in turns, 64 connections", &bare_in_turns(postgres, 64, seconds).await?);
    }
    Ok(())
}

async fn open(postgres: &Postgres) -> Outcome<Arc<PostgresLog>> {
    let clock = Arc::new(FixedClock::new(sample_time()));
    Ok(Arc::new(PostgresLog::open(postgres.clone(), PostgresLogConfig::default(), clock).await?))
}

struct Measured {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn print(name: &str, measured: &Measured) {
    println!("{name:<50} {:>8.0} {:>8.2} {:>8.2}", measured.per_second, measured.p50_ms, measured.p99_ms);
}

fn event() -> NewEvent {
    NewEvent { payload: Bytes::from(vec![b'x'; PAYLOAD_BYTES]), ..sample_event("bench") }
}

/// Does `work` again and again in `callers` tasks until the time is over.
async fn run<F>(works: Vec<F>, seconds: Duration) -> Outcome<Measured>
where
    F: AsyncCaller,
{
    let over = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let tasks: Vec<_> = works
        .into_iter()
        .map(|mut work| {
            let over = Arc::clone(&over);
            tokio::spawn(async move {
                let mut took = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    work.once().await?;
                    took.push(begun.elapsed());
                }
                Outcome::Ok(took)
            })
        })
        .collect();
    tokio::time::sleep(seconds).await;
    over.store(true, Ordering::Relaxed);
    let mut took: Vec<Duration> = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    let elapsed = start.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let count = u32::try_from(took.len())?;
    Ok(Measured { per_second: f64::from(count) / elapsed, p50_ms: at(50), p99_ms: at(99) })
}

/// Something done again and again.
trait AsyncCaller: Send + 'static {
    fn once(&mut self) -> impl Future<Output = Outcome<()>> + Send;
}

struct Appender(Arc<PostgresLog>);

impl AsyncCaller for Appender {
    async fn once(&mut self) -> Outcome<()> {
        let stream = fresh_stream(&fresh_tenant());
        self.0.append(&stream, ExpectedRevision::NoStream, vec![event()]).await?;
        Ok(())
    }
}

async fn append(logs: &[Arc<PostgresLog>], callers: usize, seconds: Duration) -> Outcome<Measured> {
    run((0..callers).map(|n| Appender(Arc::clone(&logs[n % logs.len()]))).collect(), seconds).await
}

struct Inserter {
    client: Client,
    insert: tokio_postgres::Statement,
    turn: Option<tokio_postgres::Statement>,
}

impl AsyncCaller for Inserter {
    async fn once(&mut self) -> Outcome<()> {
        let stream = fresh_stream(&fresh_tenant());
        let event = event();
        let metadata = serde_json::to_string(&sample_metadata())?;
        let (id, tenant, digest) = (event.id.uuid(), stream.tenant.as_str(), event.digest.as_slice());
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&stream.id, &id, &tenant, &digest, &metadata, &event.payload.as_ref()];
        match &self.turn {
            None => drop(self.client.execute(&self.insert, &row).await?),
            Some(turn) => {
                // Sent together, so that the turn is not held for round trips.
                let (begun, taken, inserted, committed) = futures::join!(
                    self.client.batch_execute("BEGIN"),
                    self.client.query(turn, &[]),
                    self.client.execute(&self.insert, &row),
                    self.client.batch_execute("COMMIT"),
                );
                begun?;
                taken?;
                inserted?;
                committed?;
            }
        }
        Ok(())
    }
}

async fn bare(postgres: &Postgres, callers: usize, turn: Option<&str>, seconds: Duration) -> Outcome<Measured> {
    let mut works = Vec::with_capacity(callers);
    for _ in 0..callers {
        let client = postgres.connect().await?.client;
        let insert = client.prepare(INSERT).await?;
        let turn = match turn {
            Some(turn) => Some(client.prepare(turn).await?),
            None => None,
        };
        works.push(Inserter { client, insert, turn });
    }
    run(works, seconds).await
}

async fn bare_in_turns(postgres: &Postgres, callers: usize, seconds: Duration) -> Outcome<Measured> {
    bare(postgres, callers, Some(TURN), seconds).await
}
