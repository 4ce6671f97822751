//! Tests of the SQLite store.
//!
//! **Invariant:** every test makes its own events and store.

use std::sync::Arc;

use events::envelope::Position;
use events::feed::Checkpoints;
use events::viewer::Role;

use super::{SqliteConfig, SqliteStore};
use crate::projection::Changes;
use crate::projector::CONSUMER;
use crate::store::{Query, ReadStore, StoreError};
use crate::testing::store_contract::StoreUnderTest;
use crate::testing::{Story, commit, conversation_id, deliver, hash, received, viewer};
use crate::views::Views;

fn story() -> Story {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    story.add(conversation, received(200, 1, "hello"));
    story
}

/// A store in a file.
async fn under_test() -> StoreUnderTest {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("views.db"), &SqliteConfig::default()).await.unwrap();
    StoreUnderTest { store: Arc::new(store), another: None, keep: Box::new(folder) }
}

/// A store in memory.
async fn in_memory() -> StoreUnderTest {
    let store = SqliteStore::in_memory().await.unwrap();
    StoreUnderTest { store: Arc::new(store), another: None, keep: Box::new(()) }
}

mod file {
    crate::read_store_contract!(one, super::under_test());
}

mod memory {
    crate::read_store_contract!(one, super::in_memory());
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
