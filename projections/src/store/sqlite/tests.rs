//! Tests of the SQLite store.
//!
//! **Invariant:** every test makes its own events and store.

use std::sync::Arc;
use std::time::Duration;

use events::envelope::Position;
use events::feed::{Checkpoints, Part};
use events::viewer::Role;

use super::{SqliteConfig, SqliteStore};
use crate::projection::Changes;
use crate::projector::CONSUMER;
use crate::store::{Query, ReadStore, StoreError, wait_for};
use crate::testing::{Story, commit, conversation_id, deliver, hash, queued, received, viewer};
use crate::value::values;
use crate::views::Views;

fn story() -> Story {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    story.add(conversation, received(200, 1, "hello"));
    story
}

#[tokio::test]
async fn a_statement_that_fails_leaves_rows_and_checkpoint_as_they_were() {
    let story = story();
    let store = SqliteStore::in_memory().await.unwrap();
    deliver(&store, &story.events[..3]).await;
    let before = hash(&store).await;
    let mut changes = Changes::default();
    crate::projector::apply_all(&story.events[3], &mut changes);
    changes.push_sql("INSERT INTO account (account) VALUES ($1)", values![uuid::Uuid::nil()]);
    let refused = store.commit(commit(changes, Position(4))).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(hash(&store).await, before);
    assert_eq!(store.checkpoints(CONSUMER).await.unwrap(), Checkpoints::of_position(Position(3)));
    assert_eq!(*store.applied(CONSUMER).borrow(), Checkpoints::of_position(Position(3)));
    deliver(&store, &story.events[3..]).await;
    assert_eq!(store.checkpoints(CONSUMER).await.unwrap(), Checkpoints::of_position(Position(5)));
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again_with_its_position() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.db");
    let story = story();
    let before = {
        let store = SqliteStore::open(&path, &SqliteConfig::default()).await.unwrap();
        deliver(&store, &story.events).await;
        hash(&store).await
    };
    let store = SqliteStore::open(&path, &SqliteConfig::default()).await.unwrap();
    assert_eq!(hash(&store).await, before);
    assert_eq!(*store.applied(CONSUMER).borrow(), Checkpoints::of_position(Position(5)));
}

#[tokio::test]
async fn a_file_of_another_version_is_refused_with_both_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.db");
    drop(SqliteStore::open(&path, &SqliteConfig::default()).await.unwrap());
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute("UPDATE projection SET version = 99 WHERE name = 'timeline'", ()).unwrap();
    drop(other);
    let Err(StoreError::Outdated { found, needed }) =
        SqliteStore::open(&path, &SqliteConfig::default()).await.map(drop)
    else {
        panic!("opened");
    };
    assert!(found.contains("timeline 99") && needed.contains("timeline 4"));
}

#[tokio::test]
async fn a_reader_that_waits_for_a_position_is_woken_by_the_commit_that_reaches_it() {
    let story = story();
    let store = story.store().await;
    let stale = wait_for(&*store, CONSUMER, &[Part::whole()], Position(6), Duration::ZERO).await;
    assert_eq!(stale, Err(StoreError::Stale { at: Position(5), wanted: Position(6) }));
    let whole = [Part::whole()];
    let waiting = wait_for(&*store, CONSUMER, &whole, Position(6), Duration::from_secs(30));
    let (reached, done) = tokio::join!(waiting, store.commit(commit(Changes::default(), Position(6))));
    done.unwrap();
    assert_eq!(reached, Ok(Position(6)));
}

#[tokio::test]
async fn readers_see_another_file_once_it_is_put_in_place_and_an_older_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [live_path, fresh_path] = ["views.db", "fresh.db"].map(|name| folder.path().join(name));
    let story = story();
    let live = SqliteStore::open(&live_path, &SqliteConfig::default()).await.unwrap();
    deliver(&live, &story.events[..4]).await;
    let make = async |count: usize| {
        let _ = std::fs::remove_file(&fresh_path);
        let store = SqliteStore::open(&fresh_path, &SqliteConfig::default()).await.unwrap();
        deliver(&store, &story.events[..count]).await;
        drop(store);
    };
    make(3).await;
    assert_eq!(live.replace_with(fresh_path.clone(), CONSUMER).await.unwrap(), Some(Position(4)));
    make(5).await;
    assert_eq!(live.replace_with(fresh_path.clone(), CONSUMER).await.unwrap(), None);
    let live = Arc::new(live);
    let views = Views::new(live.clone());
    let found = views.conversation(&viewer(Role::Operator), conversation_id(100)).await.unwrap().unwrap();
    assert!(found.last_message.is_some());
    assert_eq!(views.position(), Position(5));
    // The store goes on writing to the new file.
    live.commit(commit(Changes::default(), Position(6))).await.unwrap();
    let [rows] =
        live.read(vec![Query::new("SELECT count(*) FROM conversation", [])]).await.unwrap().try_into().unwrap();
    assert_eq!(rows, [[crate::value::Value::Int(1)]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_beside_the_writer_never_sees_half_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    for number in 0..300 {
        story.add(conversation, queued(200 + number, 1, "answer"));
    }
    let store = Arc::new(SqliteStore::open(&folder.path().join("views.db"), &SqliteConfig::default()).await.unwrap());
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for events in story.events.chunks(3) {
                deliver(&store, events).await;
            }
        })
    };
    loop {
        let done = writer.is_finished();
        let entries = Query::new("SELECT count(*) FROM entry WHERE kind = 'queued'", []);
        let deliveries = Query::new("SELECT count(*) FROM delivery", []);
        let [entries, deliveries] = store.read(vec![entries, deliveries]).await.unwrap().try_into().unwrap();
        assert_eq!(entries, deliveries, "an entry and its delivery are one commit, both queries one snapshot");
        if done {
            break;
        }
    }
    writer.await.unwrap();
    assert_eq!(*store.applied(CONSUMER).borrow(), Checkpoints::of_position(Position(304)));
}
