//! Tables as they are made, and what of other releases is refused.
//!
//! **Invariant:** what is compared with is what SQLite makes of the same texts.

use events::feed::Checkpoints;
use events::postgres::PostgresConfig;
use projections::projection::RowOrder;
use projections::projector::CONSUMER;
use projections::registry;
use projections::store::postgres::PostgresStore;
use projections::store::{ReadStore, StoreError};
use projections::testing::{Story, commit, deliver, hash};

use super::Schema;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_once_make_the_tables_once() {
    let schema = Schema::fresh();
    let opened = futures::future::join_all((0..6).map(|_| PostgresStore::open(&schema.config))).await;
    for store in opened {
        assert_eq!(store.unwrap().checkpoints(CONSUMER).await, Ok(Checkpoints::start()));
    }
}

#[tokio::test]
async fn every_text_is_ordered_by_its_bytes_and_every_table_has_its_key_and_indexes() {
    let schema = Schema::fresh();
    let _store = schema.store().await;
    let client = schema.stranger().await.client;
    let sql = "SELECT table_name || '.' || column_name FROM information_schema.columns \
        WHERE table_schema = $1 AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'";
    let others: Vec<String> =
        client.query(sql, &[&schema.config.schema]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(others, Vec::<String>::new());
    let sql = "SELECT indexname FROM pg_indexes WHERE schemaname = $1";
    let indexes: Vec<String> =
        client.query(sql, &[&schema.config.schema]).await.unwrap().iter().map(|row| row.get(0)).collect();
    for table in registry::tables() {
        let of_key = if table.order == RowOrder::Key { "pkey" } else { "key" };
        assert!(indexes.contains(&format!("{}_{of_key}", table.name)), "{}: {indexes:?}", table.name);
        for index in table.indexes {
            let name = index.split_whitespace().nth(2).unwrap();
            assert!(indexes.iter().any(|index| index == name), "{name}");
        }
    }
}

#[tokio::test]
async fn what_was_committed_is_there_for_who_opens_it_later_with_its_position() {
    let (schema, mut story) = (Schema::fresh(), Story::default());
    story.conversation(100, 1);
    let before = {
        let store = schema.store().await;
        deliver(&*store, &story.events).await;
        hash(&*store).await
    };
    let store = schema.store().await;
    assert_eq!(hash(&*store).await, before);
    assert_eq!(*store.applied(CONSUMER).borrow(), store.checkpoints(CONSUMER).await.unwrap());
    assert!(!store.applied(CONSUMER).borrow().is_empty());
}

#[tokio::test]
async fn tables_of_another_release_are_refused_by_who_opens_them_and_by_who_had_them_open() {
    let schema = Schema::fresh();
    let store = schema.store().await;
    schema.run("UPDATE projection SET version = 99 WHERE name = 'timeline'").await;
    let outdated = |result: Result<(), StoreError>| {
        let Err(StoreError::Outdated { found, needed }) = result else { panic!("{result:?}") };
        assert!(found.contains("timeline 99") && needed.contains("timeline 4"), "{found}, {needed}");
    };
    outdated(PostgresStore::open(&schema.config).await.map(drop));
    outdated(store.commit(commit(Default::default(), events::envelope::Position(1))).await);
    assert_eq!(store.checkpoints(CONSUMER).await, Ok(Checkpoints::start()), "nothing of it was written");
}

#[tokio::test]
async fn a_schema_without_its_tables_stops_a_consumer_instead_of_parking_events() {
    let schema = Schema::fresh();
    let store = schema.store().await;
    schema.run("DROP TABLE checkpoint").await;
    let written = store.commit(commit(Default::default(), events::envelope::Position(1))).await;
    assert!(matches!(written, Err(StoreError::Corrupt(_))), "{written:?}");
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable() {
    let config = PostgresConfig::new("postgres://postgres@127.0.0.1:1/postgres");
    let opened = PostgresStore::open(&config).await.map(drop);
    assert!(matches!(opened, Err(StoreError::Unavailable(_))), "{opened:?}");
}
