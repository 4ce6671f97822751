//! The PostgreSQL log: the strict contract, several processes at once, slow transactions, cut connections, import.
//!
//! **Invariant:** a slow transaction is one that the test holds open, never a pause.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use events::clock::{Clock, FixedClock};
use events::envelope::{NewEvent, Position, RecordedEvent, Revision, StreamName};
use events::log::postgres::{ImportError, Imported, PostgresLog, PostgresLogConfig};
use events::log::{AppendError, Direction, EventLog, ExpectedRevision, Filter, LogHealth, ReadError};
use events::postgres::{Dedicated, Postgres};
use events::testing::{LogUnderTest, fresh_stream, fresh_tenant, fresh_uuid, sample_event, sample_events, sample_time};
use futures::StreamExt;

use super::{Schema, until};

mod outages;

async fn open(postgres: Postgres) -> PostgresLog {
    let clock = Arc::new(FixedClock::new(sample_time()));
    open_with(postgres, PostgresLogConfig::default(), clock).await
}

async fn open_with(postgres: Postgres, config: PostgresLogConfig, clock: Arc<dyn Clock>) -> PostgresLog {
    PostgresLog::open(postgres, config, clock).await.expect("the log opens")
}

async fn fresh() -> LogUnderTest {
    let schema = Schema::fresh();
    let clock = Arc::new(FixedClock::new(sample_time()));
    let log = open_with(schema.postgres.clone(), PostgresLogConfig::default(), clock.clone()).await;
    LogUnderTest::new(Arc::new(log), schema).with_clock(clock)
}

/// The contract of the port.
mod contract {
    events::event_log_contract!(strict, super::fresh());
}

/// The log as two processes have it: each with its own pool, writer, listener and clock.
async fn two_processes() -> (Schema, [Arc<PostgresLog>; 2]) {
    let schema = Schema::fresh();
    let (one, other) = tokio::join!(open(schema.another()), open(schema.another()));
    (schema, [Arc::new(one), Arc::new(other)])
}

/// The next `count` events of a subscription from the start.
async fn follow(log: &PostgresLog, count: usize) -> Vec<RecordedEvent> {
    let events = log.subscribe(Position::START, Filter::default()).take(count);
    let events = tokio::time::timeout(Duration::from_secs(120), events.collect::<Vec<_>>());
    events.await.expect("events come").into_iter().map(|event| event.expect("the subscription goes on")).collect()
}

async fn everything(log: &PostgresLog) -> Vec<RecordedEvent> {
    log.read_all(Position::START, &Filter::default(), usize::MAX).await.expect("the log can be read").0
}

/// Inserts an event as a stranger would who knows the table, and leaves the transaction open.
async fn insert_and_hold(stranger: &Dedicated, position: i64, stream: &StreamName) {
    stranger.client.batch_execute("BEGIN").await.unwrap();
    insert_with_id(stranger, position, stream, fresh_uuid()).await;
}

async fn insert_with_id(stranger: &Dedicated, position: i64, stream: &StreamName, id: uuid::Uuid) {
    let metadata = serde_json::to_string(&events::testing::sample_metadata()).unwrap();
    let insert = "INSERT INTO events (position, recorded_at, revision, stream_id, event_id, category, version, tenant,
                      type, metadata, payload)
                  VALUES ($1, 0, 0, $2, $3, 6, 1, $4, 'conversation.sampled', $5, '{}')";
    let tenant = stream.tenant.as_str();
    stranger.client.execute(insert, &[&position, &stream.id, &id, &tenant, &metadata]).await.unwrap();
}

/// Waits until so many sessions wait for the turn of this schema's log.
async fn until_waiting_for_the_turn(watcher: &Dedicated, count: i64) {
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND classid = 1279611983 AND objid = 'events'::regclass::oid";
    until("sessions wait for the turn", async || {
        watcher.client.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_transaction_never_lets_a_later_position_be_seen_before_its_own() {
    let (schema, logs) = two_processes().await;
    let (stranger, watcher) = (schema.stranger().await, schema.stranger().await);
    let tenant = fresh_tenant();
    for log in &logs {
        log.append(&fresh_stream(&tenant), ExpectedRevision::Any, sample_events("before", 1)).await.unwrap();
    }
    let slow = fresh_stream(&tenant);
    insert_and_hold(&stranger, 3, &slow).await;
    let appends: Vec<_> = logs
        .iter()
        .map(|log| {
            let (log, stream) = (Arc::clone(log), fresh_stream(&tenant));
            tokio::spawn(async move { log.append(&stream, ExpectedRevision::Any, sample_events("after", 2)).await })
        })
        .collect();
    until_waiting_for_the_turn(&watcher, 2).await;
    for log in &logs {
        assert_eq!(log.head().await, Ok(Position(2)), "nothing that is not committed, and nothing behind it");
        assert_eq!(everything(log).await.len(), 2);
    }
    stranger.client.batch_execute("COMMIT").await.unwrap();
    let mut made: Vec<u64> = Vec::new();
    for append in appends {
        made.push(append.await.unwrap().expect("made after the slow one").position.0);
    }
    made.sort_unstable();
    assert_eq!(made, [5, 7], "two and two, behind the slow one");
    for log in &logs {
        let events = follow(log, 7).await;
        let positions: Vec<u64> = events.iter().map(|event| event.position.0).collect();
        assert_eq!(positions, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(events[2].stream, slow);
        assert!(events.is_sorted_by_key(|event| event.position));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_transaction_that_rolls_back_leaves_no_gap() {
    let schema = Schema::fresh();
    let log = Arc::new(open(schema.another()).await);
    let (stranger, watcher) = (schema.stranger().await, schema.stranger().await);
    let tenant = fresh_tenant();
    insert_and_hold(&stranger, 1, &fresh_stream(&tenant)).await;
    let append = {
        let (log, stream) = (Arc::clone(&log), fresh_stream(&tenant));
        tokio::spawn(async move { log.append(&stream, ExpectedRevision::NoStream, sample_events("x", 1)).await })
    };
    until_waiting_for_the_turn(&watcher, 1).await;
    stranger.client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(append.await.unwrap().unwrap().position, Position(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_does_not_come_is_told_and_the_next_try_is_made() {
    let schema = Schema::fresh();
    let config = PostgresLogConfig { turn_timeout: Duration::from_millis(50), ..PostgresLogConfig::default() };
    let clock = Arc::new(FixedClock::new(sample_time()));
    let log = open_with(schema.another(), config, clock).await;
    let stranger = schema.stranger().await;
    let stream = fresh_stream(&fresh_tenant());
    insert_and_hold(&stranger, 1, &fresh_stream(&fresh_tenant())).await;
    let events = sample_events("waits", 1);
    let refused = log.append(&stream, ExpectedRevision::NoStream, events.clone()).await;
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
    stranger.client.batch_execute("ROLLBACK").await.unwrap();
    let made = retried(&log, &stream, events).await;
    assert_eq!((made.position, made.repeated), (Position(1), false));
}

/// Appends again and again, as a caller does who is told that the log is unavailable.
async fn retried(log: &PostgresLog, stream: &StreamName, events: Vec<NewEvent>) -> events::log::Appended {
    let trying = async {
        loop {
            match log.append(stream, ExpectedRevision::Any, events.clone()).await {
                Err(AppendError::Unavailable { retry_after, .. }) => tokio::time::sleep(retry_after).await,
                other => break other.expect("the append is made in the end"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), trying).await.expect("the log recovers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_the_same_streams_leave_no_gap_and_followers_see_one_order() {
    const APPENDS: usize = 150;
    let (_schema, logs) = two_processes().await;
    let tenant = fresh_tenant();
    let streams: Arc<[StreamName]> = (0..5).map(|_| fresh_stream(&tenant)).collect();
    let followers: Vec<_> = logs
        .iter()
        .map(|log| {
            let log = Arc::clone(log);
            tokio::spawn(async move { follow(&log, 2 * APPENDS * 2).await })
        })
        .collect();
    let writers: Vec<_> = (0..2 * APPENDS)
        .map(|n| {
            let (log, streams) = (Arc::clone(&logs[n % 2]), Arc::clone(&streams));
            tokio::spawn(async move {
                let stream = &streams[n % streams.len()];
                log.append(stream, ExpectedRevision::Any, sample_events(&format!("{n}"), 2)).await.unwrap()
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut seen = Vec::new();
    for follower in followers {
        seen.push(follower.await.unwrap());
    }
    assert_eq!(seen[0], seen[1], "the same events in the same order");
    assert_eq!(seen[0], everything(&logs[0]).await);
    let positions: Vec<u64> = seen[0].iter().map(|event| event.position.0).collect();
    assert_eq!(positions, (1..=4 * APPENDS as u64).collect::<Vec<_>>());
    for stream in streams.iter() {
        let revisions: Vec<_> =
            seen[0].iter().filter(|event| event.stream == *stream).map(|event| event.revision.0).collect();
        assert_eq!(revisions, (0..revisions.len() as u64).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_of_two_processes_wins_each_revision() {
    let (_schema, logs) = two_processes().await;
    let stream = fresh_stream(&fresh_tenant());
    for round in 0..20_u64 {
        let expected =
            round.checked_sub(1).map_or(ExpectedRevision::NoStream, |r| ExpectedRevision::Exact(Revision(r)));
        let (one, other) = tokio::join!(
            logs[0].append(&stream, expected, sample_events("one", 1)),
            logs[1].append(&stream, expected, sample_events("other", 1))
        );
        let conflicts = [&one, &other].iter().filter(|r| matches!(r, Err(AppendError::Conflict { .. }))).count();
        assert_eq!((conflicts, [&one, &other].iter().filter(|r| r.is_ok()).count()), (1, 1), "{one:?} {other:?}");
    }
}

#[tokio::test]
async fn recorded_at_never_goes_back_whatever_the_clocks_of_the_processes_say() {
    let schema = Schema::fresh();
    let (early, late) = (sample_time(), sample_time() + chrono::Duration::hours(1));
    let one = open_with(schema.another(), PostgresLogConfig::default(), Arc::new(FixedClock::new(late))).await;
    let other = open_with(schema.another(), PostgresLogConfig::default(), Arc::new(FixedClock::new(early))).await;
    let stream = fresh_stream(&fresh_tenant());
    for log in [&other, &one, &other] {
        log.append(&stream, ExpectedRevision::Any, sample_events("x", 1)).await.unwrap();
    }
    let times: Vec<_> = everything(&one).await.iter().map(|event| event.recorded_at).collect();
    assert_eq!(times, [early, late, late]);
    assert_eq!(one.position_at(early).await, Ok(Position(1)));
    assert_eq!(one.position_at(late).await, Ok(Position(3)));
}

#[tokio::test]
async fn a_repetition_in_another_process_is_recognised() {
    let (_schema, logs) = two_processes().await;
    let (stream, events) = (fresh_stream(&fresh_tenant()), sample_events("again", 3));
    let first = logs[0].append(&stream, ExpectedRevision::NoStream, events.clone()).await.unwrap();
    let second = logs[1].append(&stream, ExpectedRevision::NoStream, events).await.unwrap();
    assert!(second.repeated);
    assert_eq!((second.first_revision, second.position), (first.first_revision, first.position));
}

#[tokio::test]
async fn the_table_refuses_to_change_or_lose_an_event_to_everybody() {
    let schema = Schema::fresh();
    let log = open(schema.another()).await;
    log.append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, sample_events("x", 1)).await.unwrap();
    let stranger = schema.stranger().await;
    for statement in ["UPDATE events SET payload = ''", "DELETE FROM events", "TRUNCATE events"] {
        assert!(stranger.client.batch_execute(statement).await.is_err(), "{statement}");
    }
    assert_eq!(everything(&log).await.len(), 1);
}

fn imported(log: Vec<RecordedEvent>) -> impl futures::Stream<Item = Result<Imported, ReadError>> {
    futures::stream::iter(log.into_iter().map(|event| Ok(event.into())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imported_log_is_the_same_and_goes_on_after_its_last_position() {
    let (source, target) = (Schema::fresh(), Schema::fresh());
    let clock = Arc::new(FixedClock::new(sample_time()));
    let old = open_with(source.another(), PostgresLogConfig::default(), clock.clone()).await;
    let tenant = fresh_tenant();
    let streams: Vec<_> = (0..7).map(|_| fresh_stream(&tenant)).collect();
    for n in 0..40 {
        clock.advance(chrono::Duration::seconds(1));
        let events = sample_events(&format!("{n}"), 1 + n % 30);
        old.append(&streams[n % 7], ExpectedRevision::Any, events).await.unwrap();
    }
    // As a log has them whose positions do not grow by one.
    let mut events = everything(&old).await;
    events.iter_mut().for_each(|event| event.position = Position(event.position.0 * 10));
    let last = events.last().unwrap().clone();
    let new = open(target.another()).await;
    let follower = new.subscribe(Position::START, Filter::default());
    assert_eq!(new.import(imported(events.clone())).await, Ok(last.position));
    assert_eq!(everything(&new).await, events);
    let followed: Vec<_> = follower.take(events.len()).map(|event| event.unwrap()).collect().await;
    assert_eq!(followed, events);
    for event in events.iter().step_by(29) {
        assert_eq!(new.position_at(event.recorded_at).await, Ok(last_recorded_at(&events, event.recorded_at)));
        assert_eq!(new.find(event.id).await, Ok(Some(event.clone())));
    }
    let again = NewEvent { id: last.id, event_type: last.event_type.clone(), ..sample_event("whatever") };
    let appended = new.append(&last.stream, ExpectedRevision::Any, vec![again]).await.unwrap();
    assert_eq!((appended.repeated, appended.position), (true, last.position));
    let next =
        new.append(&last.stream, ExpectedRevision::Exact(last.revision), sample_events("next", 1)).await.unwrap();
    assert_eq!(next.position, Position(last.position.0 + 1));
    assert_eq!(new.import(imported(events)).await, Err(ImportError::NotEmpty));
}

fn last_recorded_at(events: &[RecordedEvent], time: DateTime<chrono::Utc>) -> Position {
    events.iter().rfind(|event| event.recorded_at <= time).map_or(Position::START, |event| event.position)
}

#[tokio::test]
async fn an_import_that_no_log_could_have_written_or_that_breaks_off_leaves_nothing() {
    let (source, target) = (Schema::fresh(), Schema::fresh());
    let old = open(source.another()).await;
    let stream = fresh_stream(&fresh_tenant());
    old.append(&stream, ExpectedRevision::Any, sample_events("x", 3)).await.unwrap();
    let events = everything(&old).await;
    let new = open(target.another()).await;
    let change = |at: usize, change: fn(&mut RecordedEvent)| {
        let mut changed = events.clone();
        change(&mut changed[at]);
        changed
    };
    for broken in [
        change(1, |event| event.position = Position(1)),
        change(2, |event| event.revision = Revision(3)),
        change(1, |event| event.recorded_at -= chrono::Duration::seconds(1)),
        change(0, |event| event.position = Position::START),
    ] {
        let refused = new.import(imported(broken)).await;
        assert!(matches!(refused, Err(ImportError::Invalid { .. })), "{refused:?}");
    }
    let mut twice = events.clone();
    twice[2].id = twice[1].id;
    assert!(matches!(new.import(imported(twice)).await, Err(ImportError::Postgres(_))));
    let broken_off = imported(events[..2].to_vec())
        .chain(futures::stream::iter([Err(ReadError::Unavailable("file ends early".into()))]));
    assert!(matches!(new.import(broken_off).await, Err(ImportError::Source(_))));
    assert_eq!(everything(&new).await, []);
    assert_eq!(new.import(imported(events.clone())).await, Ok(Position(3)));
    assert_eq!(new.read_stream(&stream, None, Direction::Backwards, 9).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_closed_log_says_so() {
    let schema = Schema::fresh();
    let log = open(schema.another()).await;
    let stream = fresh_stream(&fresh_tenant());
    log.append(&stream, ExpectedRevision::Any, sample_events("x", 1)).await.unwrap();
    let mut events = log.subscribe(Position(1), Filter::default());
    log.close().await;
    assert!(matches!(log.health(), LogHealth::Halted { .. }));
    let refused = log.append(&stream, ExpectedRevision::Any, sample_events("y", 1)).await;
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })));
    assert!(matches!(events.next().await, Some(Err(ReadError::Unavailable(_)))));
    assert!(events.next().await.is_none());
}
