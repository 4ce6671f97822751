//! Opening, closing, reopening and looking in from another process.

use futures::StreamExt;

use super::*;
use crate::testing::log_contract::{append, follow, head, ids, in_time, new_ids, read};
use crate::testing::{event_with_id, fresh_stream, fresh_tenant, sample_event, sample_events};

fn open(config: &EmbeddedLogConfig) -> EmbeddedLog {
    EmbeddedLog::open(config.clone(), clock()).expect("the log opens")
}

fn refusal(result: Result<EmbeddedLog, OpenError>) -> OpenError {
    result.err().expect("the log is refused")
}

#[tokio::test]
async fn a_reopened_log_goes_on_where_it_was() {
    let folder = folder();
    let stream = fresh_stream(&fresh_tenant());
    let events = sample_events("before", 3);
    let clock = clock();
    let log = EmbeddedLog::open(config(&folder), clock.clone()).unwrap();
    clock.advance(chrono::Duration::seconds(10));
    let first = append(&log, &stream, events.clone()).await;
    log.close().await;
    drop(log);
    clock.advance(chrono::Duration::seconds(-5));
    let log = EmbeddedLog::open(config(&folder), clock).unwrap();
    assert_eq!(head(&log).await, first.position);
    let again = append(&log, &stream, events.clone()).await;
    assert_eq!(again, Appended { repeated: true, ..first });
    let second = append(&log, &stream, sample_events("after", 1)).await;
    assert_eq!((second.first_revision, second.position), (Revision(3), Position(4)));
    let all = read(&log, &stream).await;
    assert!(all.windows(2).all(|pair| pair[0].recorded_at <= pair[1].recorded_at), "also when the clock went back");
}

#[tokio::test]
async fn a_refused_append_does_not_move_the_time_of_the_log() {
    let folder = folder();
    let clock = clock();
    let log = EmbeddedLog::open(config(&folder), clock.clone()).unwrap();
    let stream = fresh_stream(&fresh_tenant());
    let refused = log.append(&stream, ExpectedRevision::Exact(Revision(0)), sample_events("refused", 1)).await;
    assert!(matches!(refused, Err(AppendError::Conflict { .. })), "{refused:?}");
    clock.advance(chrono::Duration::seconds(-1));
    append(&log, &stream, sample_events("made", 1)).await;
    assert_eq!(read(&log, &stream).await[0].recorded_at, clock.now());
}

#[tokio::test]
async fn a_log_that_was_dropped_without_closing_has_everything() {
    let folder = folder();
    let stream = fresh_stream(&fresh_tenant());
    let events = sample_events("dropped", 50);
    let log = open(&config(&folder));
    append(&log, &stream, events.clone()).await;
    drop(log);
    assert_eq!(ids(&read(&open(&config(&folder)), &stream).await), new_ids(&events));
    assert!(!folder.path().join("log.db-wal").exists(), "the last to close has moved the WAL into the file");
}

#[tokio::test]
async fn closing_writes_what_waits_and_refuses_what_comes() {
    let folder = folder();
    let log = Arc::new(open(&config(&folder)));
    let stream = fresh_stream(&fresh_tenant());
    let pushed: Vec<_> = (0..200)
        .map(|_| {
            let (log, stream) = (Arc::clone(&log), stream.clone());
            tokio::spawn(async move { log.append(&stream, ExpectedRevision::Any, sample_events("w", 1)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let mut tail = log.subscribe(Position::START, Filter::default());
    log.close().await;
    let mut made = 0;
    for append in pushed {
        match append.await.unwrap() {
            Ok(_) => made += 1,
            Err(AppendError::Unavailable { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    let refused = log.append(&stream, ExpectedRevision::Any, sample_events("late", 1)).await;
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
    assert!(matches!(log.head().await, Err(ReadError::Unavailable(_))));
    assert!(matches!(log.health(), LogHealth::Halted { .. }));
    let end = in_time(async { while let Some(Ok(_)) = tail.next().await {} });
    end.await;
    let reopened = open(&config(&folder));
    assert_eq!(read(&reopened, &stream).await.len(), made);
}

#[tokio::test]
async fn a_second_writer_is_refused_until_the_first_closes() {
    let folder = folder();
    let first = open(&config(&folder));
    let refused = refusal(EmbeddedLog::open(config(&folder), clock()));
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    first.close().await;
    open(&config(&folder));
}

#[test]
fn a_file_that_is_no_log_is_refused_and_left_alone() {
    let folder = folder();
    let path = config(&folder).path;
    std::fs::write(&path, "certainly no database, but long enough to be looked at".repeat(100)).unwrap();
    let refused = refusal(EmbeddedLog::open(config(&folder), clock()));
    assert!(matches!(refused, OpenError::NotALog { .. }), "{refused}");
    std::fs::remove_file(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE addresses (name TEXT)").unwrap();
    drop(other);
    let refused = refusal(EmbeddedLog::open(config(&folder), clock()));
    assert!(matches!(refused, OpenError::NotALog { .. }), "{refused}");
}

#[test]
fn a_newer_format_and_an_older_sqlite_are_refused() {
    let folder = folder();
    drop(open(&config(&folder)));
    let shell = rusqlite::Connection::open(config(&folder).path).unwrap();
    shell.pragma_update(None, "user_version", 3).unwrap();
    drop(shell);
    let refused = refusal(EmbeddedLog::open(config(&folder), clock()));
    assert!(matches!(refused, OpenError::UnknownFormat { found: 3, known: 2 }), "{refused}");
    let refused = schema::require_sqlite(3_051_002).unwrap_err();
    assert!(matches!(refused, OpenError::SqliteTooOld { .. }), "{refused}");
    assert!(schema::require_sqlite(rusqlite::version_number()).is_ok());
}

#[tokio::test]
async fn nobody_can_change_or_delete_an_event() {
    let folder = folder();
    let log = open(&config(&folder));
    append(&log, &fresh_stream(&fresh_tenant()), sample_events("kept", 2)).await;
    let shell = rusqlite::Connection::open(config(&folder).path).unwrap();
    for forbidden in [
        "UPDATE events SET payload = x'00'",
        "DELETE FROM events WHERE position = 1",
        "UPDATE streams SET tenant = 'other'",
        "DELETE FROM event_types",
    ] {
        let error = shell.execute(forbidden, []).expect_err(forbidden);
        assert!(error.to_string().contains("append-only"), "{error}");
    }
    assert_eq!(head(&log).await, Position(2));
}

#[tokio::test]
async fn an_operator_reads_the_log_with_a_sqlite_shell() {
    let folder = folder();
    let log = open(&config(&folder));
    let stream = fresh_stream(&"acme".parse().unwrap());
    let event = sample_event("seen");
    append(&log, &stream, vec![event.clone()]).await;
    let shell = rusqlite::Connection::open(config(&folder).path).unwrap();
    let row = shell
        .query_row("SELECT stream, revision, type, recorded_at, event_id, payload FROM event_list", [], |row| {
            let texts: [String; 5] = [row.get(0)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
            Ok((texts, row.get::<_, i64>(1)?))
        })
        .unwrap();
    let expected = [
        stream.to_string(),
        "conversation.sampled".into(),
        "2026-01-01T00:00:00.000000Z".into(),
        event.id.uuid().to_string(),
        "{\"text\":\"seen\"}".into(),
    ];
    assert_eq!(row, (expected, 0));
}

#[tokio::test]
async fn the_stored_form_of_an_event_is_for_ever() {
    let folder = folder();
    let log = open(&config(&folder));
    let mut event = event_with_id(EventId::new(uuid::Uuid::from_u128(5)), "stored");
    event.metadata = crate::testing::rich_metadata();
    append(&log, &fresh_stream(&"acme".parse().unwrap()), vec![event.clone()]).await;
    let shell = rusqlite::Connection::open(config(&folder).path).unwrap();
    let (numbers, id, digest, metadata, payload) = shell
        .query_row("SELECT * FROM events", [], |row| {
            let numbers: Vec<i64> = (0..7).map(|column| row.get(column)).collect::<Result<_, _>>()?;
            let (id, digest): ([u8; 16], [u8; 16]) = (row.get(7)?, row.get(8)?);
            Ok((numbers, id, digest, row.get::<_, String>(9)?, row.get::<_, Vec<u8>>(10)?))
        })
        .unwrap();
    // Position, stream, revision, category, type, version, recorded at.
    assert_eq!(numbers, [1, 1, 0, 6, 1, 1, 1_767_225_600_000_000]);
    assert_eq!((id, digest, payload), (*event.id.uuid().as_bytes(), event.digest, event.payload.to_vec()));
    assert_eq!(
        metadata,
        "{\"actor\":{\"kind\":\"customer\",\"id\":\"00000000-0000-0000-0000-000000000001\"},\
         \"command\":\"00000000-0000-0000-0000-000000000002\",\
         \"causation\":\"00000000-0000-0000-0000-000000000003\",\
         \"correlation\":\"00000000-0000-0000-0000-000000000004\",\"occurred_at\":1767225600123456,\
         \"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\",\
         \"seen_at\":{\"position\":9,\"role\":\"operator\",\"mask_policy\":1}}"
    );
    let numbers = crate::envelope::Category::ALL.map(schema::category_number);
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    assert!(
        crate::envelope::Category::ALL.iter().all(|c| schema::category_of(schema::category_number(*c)) == Some(*c))
    );
}

#[tokio::test]
async fn a_file_synced_on_commit_says_so() {
    for (durability, expected) in [(Durability::Synced, 2), (Durability::Unsafe, 0)] {
        let folder = folder();
        let connection =
            schema::open_writer(&config(&folder).path, durability, Cache { bytes: 1 << 20, mapped_bytes: 0 }, 1 << 20)
                .unwrap();
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(pragma("synchronous"), expected);
        assert_eq!((pragma("page_size"), pragma("cell_size_check"), pragma("wal_autocheckpoint")), (8192, 1, 0));
    }
}

#[tokio::test]
async fn a_reader_maps_as_much_of_the_file_as_it_is_told() {
    let folder = folder();
    drop(open(&config(&folder)));
    for (mapped_bytes, expected) in [(0, 0), (1 << 20, 1 << 20), (u64::MAX, 0x7fff_0000)] {
        let connection = schema::open_reader(&config(&folder).path, Cache { bytes: 1 << 20, mapped_bytes }).unwrap();
        let found: i64 = connection.pragma_query_value(None, "mmap_size", |row| row.get(0)).unwrap();
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_log_follows_the_writer_and_takes_no_appends() {
    let folder = folder();
    let writer = open(&config(&folder));
    let tenant = fresh_tenant();
    let stream = fresh_stream(&tenant);
    let before = sample_events("before", 3);
    append(&writer, &stream, before.clone()).await;
    let other = EmbeddedLog::open_read_only(config(&folder)).unwrap();
    assert_eq!(ids(&read(&other, &stream).await), new_ids(&before));
    let events = other.subscribe(Position::START, Filter::default());
    let after = sample_events("after", 40);
    for event in after.clone() {
        append(&writer, &stream, vec![event]).await;
    }
    let seen = follow(events, &tenant, 43).await;
    assert_eq!(ids(&seen), new_ids(&[before, after].concat()));
    let refused = other.append(&stream, ExpectedRevision::Any, sample_events("x", 1)).await;
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
    assert!(matches!(other.health(), LogHealth::Halted { .. }));
    other.close().await;
}

#[tokio::test]
async fn a_missing_log_is_not_made_by_opening_it_read_only() {
    let folder = folder();
    assert!(EmbeddedLog::open_read_only(config(&folder)).is_err());
    assert!(!config(&folder).path.exists());
}

#[tokio::test]
async fn an_append_larger_than_the_buffer_is_invalid() {
    let folder = folder();
    let config = EmbeddedLogConfig { waiting_append_bytes: 1000, ..config(&folder) };
    let log = open(&config);
    let event = event_with_id(sample_event("x").id, &"x".repeat(1000));
    let refused = log.append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, vec![event]).await;
    assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
}

#[tokio::test]
async fn a_log_of_format_1_becomes_one_of_format_2_and_still_knows_every_id() {
    let folder = folder();
    let stream = fresh_stream(&fresh_tenant());
    let events = sample_events("old", 10);
    let log = open(&config(&folder));
    let first = append(&log, &stream, events.clone()).await;
    log.close().await;
    drop(log);
    let file = rusqlite::Connection::open(folder.path().join("log.db")).unwrap();
    file.execute_batch(
        "DROP TABLE event_ids; DROP TABLE event_ids_reach;
         CREATE UNIQUE INDEX events_by_id ON events (event_id); PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(file);
    let refused = refusal(EmbeddedLog::open_read_only(config(&folder)));
    assert!(matches!(refused, OpenError::UnknownFormat { found: 1, .. }), "{refused}");
    let log = open(&config(&folder));
    let again = append(&log, &stream, events.clone()).await;
    assert_eq!(again, Appended { repeated: true, ..first });
    for event in &events {
        assert_eq!(log.find(event.id).await.unwrap().map(|found| found.id), Some(event.id));
    }
    append(&log, &stream, sample_events("new", 10)).await;
    assert_eq!(read(&log, &stream).await.len(), 20);
}
