//! Full disks, full buffers, damaged files, and the bounds of the WAL.

use std::time::Duration;

use super::*;
use crate::testing::log_contract::{append, head, in_time, read};
use crate::testing::{fresh_stream, fresh_tenant, sample_event, sample_events};

fn open(config: &EmbeddedLogConfig) -> EmbeddedLog {
    EmbeddedLog::open(config.clone(), clock()).expect("the log opens")
}

/// Tries again and again until the log takes it, as a caller does who is told to come back.
async fn append_in_the_end(log: &EmbeddedLog, stream: &StreamName, events: &[NewEvent]) -> Appended {
    in_time(async {
        loop {
            match log.append(stream, ExpectedRevision::Any, events.to_vec()).await {
                Ok(appended) => return appended,
                Err(AppendError::Unavailable { .. }) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_halts_the_log_and_nothing_acknowledged_is_lost() {
    let folder = folder();
    let log = open(&config(&folder));
    let stream = fresh_stream(&fresh_tenant());
    append(&log, &stream, sample_events("fits", 10)).await;
    log.limit_pages_for_tests(Some(40));
    let (mut acknowledged, mut refused) = (10, None);
    while refused.is_none() {
        let events = vec![sample_event(&"x".repeat(20_000)), sample_event("small")];
        match log.append(&stream, ExpectedRevision::Any, events.clone()).await {
            Ok(_) => acknowledged += 2,
            Err(AppendError::Unavailable { reason, retry_after }) => {
                assert!(reason.contains("full"), "{reason}");
                assert!(retry_after > Duration::ZERO);
                refused = Some(events);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(acknowledged < 100, "forty pages hold less than that");
    assert!(matches!(log.health(), LogHealth::Halted { .. }));
    let at_once = log.append(&stream, ExpectedRevision::Any, sample_events("halted", 1)).await;
    assert!(matches!(at_once, Err(AppendError::Unavailable { .. })), "{at_once:?}");
    assert_eq!(read(&log, &stream).await.len(), acknowledged, "a halted log can still be read");

    log.limit_pages_for_tests(None);
    let refused = refused.expect("the disk was full");
    let made = append_in_the_end(&log, &stream, &refused).await;
    assert_eq!(log.health(), LogHealth::Writable);
    assert_eq!(made.position, head(&log).await);
    let events = read(&log, &stream).await;
    assert_eq!(events.len(), acknowledged + 2);
    assert!(events.iter().enumerate().all(|(n, event)| event.revision == Revision(n as u64)));
    log.close().await;
    let shell = rusqlite::Connection::open(config(&folder).path).unwrap();
    let check: String = shell.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let recoveries: i64 = shell.query_row("SELECT count(*) FROM recoveries", [], |row| row.get(0)).unwrap();
    assert!(recoveries >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stays_full_keeps_the_log_halted() {
    let folder = folder();
    let log = open(&config(&folder));
    let stream = fresh_stream(&fresh_tenant());
    log.limit_pages_for_tests(Some(20));
    while log.append(&stream, ExpectedRevision::Any, vec![sample_event(&"x".repeat(20_000))]).await.is_ok() {}
    let Some(queue) = &log.queue else { panic!("the log writes") };
    let before = queue.halts();
    // At least two failed attempts to reopen later it has still not said that it takes appends.
    in_time(async {
        while queue.halts() < before + 3 {
            assert!(matches!(log.health(), LogHealth::Halted { .. }));
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(matches!(log.health(), LogHealth::Halted { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_outlives_a_halt() {
    let folder = folder();
    let log = open(&config(&folder));
    let tenant = fresh_tenant();
    let stream = fresh_stream(&tenant);
    let events = log.subscribe(Position::START, Filter::default());
    append(&log, &stream, sample_events("before", 1)).await;
    log.limit_pages_for_tests(Some(20));
    let mut acknowledged = 1;
    while log.append(&stream, ExpectedRevision::Any, vec![sample_event(&"x".repeat(20_000))]).await.is_ok() {
        acknowledged += 1;
    }
    log.limit_pages_for_tests(None);
    append_in_the_end(&log, &stream, &sample_events("after", 1)).await;
    let seen = crate::testing::log_contract::follow(events, &tenant, acknowledged + 1).await;
    assert_eq!(seen, read(&log, &stream).await);
}

#[test]
fn a_full_buffer_refuses_with_a_time_to_come_back() {
    let queue = Queue::new(2, 1000);
    let push = |size_bytes| {
        let stream = fresh_stream(&"acme".parse().unwrap());
        let append = Append { stream, expected: ExpectedRevision::Any, events: Vec::new() };
        let (answer, answered) = oneshot::channel();
        queue.push(Request { append, size_bytes, answer }).map(|()| answered)
    };
    let full = |result: Result<_, AppendError>| matches!(result, Err(AppendError::Unavailable { retry_after, .. }) if retry_after > Duration::ZERO);
    let mut first = push(600).unwrap();
    assert!(full(push(600)), "too many bytes");
    push(100).unwrap();
    assert!(full(push(1)), "too many requests");
    let mut group = Vec::new();
    assert!(queue.take(&mut group));
    assert_eq!(group.len(), 2);
    assert!(first.try_recv().is_err(), "not answered before the commit");
    let mut third = push(1000).unwrap();
    queue.halt("disk full", Duration::from_secs(1));
    assert!(matches!(third.try_recv(), Ok(Err(AppendError::Unavailable { .. }))), "a halt answers those who wait");
    assert!(full(push(1)));
    queue.resume();
    push(1).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wal_stays_bounded_while_events_stream_in() {
    let folder = folder();
    let config = EmbeddedLogConfig { checkpoint_every_bytes: 256 << 10, wal_limit_bytes: 1 << 20, ..config(&folder) };
    let log = open(&config);
    let stream = fresh_stream(&fresh_tenant());
    let mut longest = 0;
    for _ in 0..40 {
        append(&log, &stream, vec![sample_event(&"x".repeat(200_000))]).await;
        longest = longest.max(std::fs::metadata(folder.path().join("log.db-wal")).unwrap().len());
    }
    assert!(longest < 4 << 20, "the WAL grew to {longest} bytes for 8 MB of events");
    assert_eq!(read(&log, &stream).await.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_never_ends_delays_the_checkpoint_but_not_the_appends() {
    let folder = folder();
    let config = EmbeddedLogConfig { checkpoint_every_bytes: 256 << 10, wal_limit_bytes: 1 << 20, ..config(&folder) };
    let log = open(&config);
    let stream = fresh_stream(&fresh_tenant());
    append(&log, &stream, sample_events("first", 1)).await;
    let stuck = rusqlite::Connection::open(&config.path).unwrap();
    stuck.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    for _ in 0..20 {
        append(&log, &stream, vec![sample_event(&"x".repeat(200_000))]).await;
    }
    stuck.execute_batch("COMMIT").unwrap();
    drop(stuck);
    for _ in 0..20 {
        append(&log, &stream, vec![sample_event(&"x".repeat(200_000))]).await;
    }
    let Some(queue) = &log.queue else { panic!("the log writes") };
    assert_eq!(queue.health(), LogHealth::Writable);
    assert_eq!(read(&log, &stream).await.len(), 41);
}

#[tokio::test]
async fn what_does_not_decode_is_reported_with_its_position() {
    let folder = folder();
    let log = open(&config(&folder));
    let stream = fresh_stream(&fresh_tenant());
    append(&log, &stream, sample_events("good", 3)).await;
    let vandal = rusqlite::Connection::open(config(&folder).path).unwrap();
    vandal.execute_batch("DROP TRIGGER events_never_change; DROP TRIGGER events_never_go").unwrap();
    vandal.execute("UPDATE events SET metadata = '{' WHERE position = 2", []).unwrap();
    let read = log.read_all(Position::START, &Filter::default(), 10).await;
    assert!(matches!(read, Err(ReadError::Corrupt { position: Position(2), .. })), "{read:?}");
    vandal.execute("DELETE FROM events WHERE position = 2", []).unwrap();
    let read = log.read_stream(&stream, None, Direction::Forwards, 10).await;
    assert!(matches!(read, Err(ReadError::Corrupt { position: Position(3), .. })), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_streams_changes_nothing_but_the_time() {
    let folder = folder();
    let log = open(&EmbeddedLogConfig { remembered_streams: 2, ..config(&folder) });
    let tenant = fresh_tenant();
    let streams: Vec<_> = (0..10).map(|_| fresh_stream(&tenant)).collect();
    for round in 0..5u64 {
        for stream in &streams {
            let expected = match round {
                0 => ExpectedRevision::NoStream,
                _ => ExpectedRevision::Exact(Revision(round - 1)),
            };
            let made = log.append(stream, expected, sample_events("r", 1)).await;
            assert_eq!(made.map(|appended| appended.last_revision), Ok(Revision(round)));
        }
    }
}
