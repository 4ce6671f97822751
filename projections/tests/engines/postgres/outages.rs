//! Connections that are cut, readers that hang, callers that go away.
//!
//! **Invariant:** nothing is waited for but what must come.

use std::sync::Arc;
use std::time::Duration;

use events::envelope::Position;
use events::feed::{Checkpoints, Part};
use projections::projection::Changes;
use projections::projector::CONSUMER;
use projections::store::{Query, ReadStore, StoreError, wait_for};
use projections::testing::{Story, commit, deliver, hash};

use super::Schema;

const DEADLINE: Duration = Duration::from_secs(60);

/// Ends every connection of the stores of this schema.
async fn cut(schema: &Schema) {
    let stranger = schema.stranger().await;
    let sql = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
        WHERE application_name = $1 AND pid <> pg_backend_pid()";
    assert!(!stranger.client.query(sql, &[&schema.config.schema]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_connections_are_cut_hears_of_commits_again() {
    let schema = Schema::fresh();
    let (reader, writer) = (schema.store().await, schema.store().await);
    writer.commit(commit(Changes::default(), Position(1))).await.unwrap();
    cut(&schema).await;
    // What was in flight may fail; the consumer tries again.
    let committed = async {
        while writer.commit(commit(Changes::default(), Position(2))).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, committed).await.unwrap();
    assert_eq!(wait_for(&*reader, CONSUMER, &[Part::whole()], Position(2), DEADLINE).await, Ok(Position(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_which_nobody_was_told_is_found_out() {
    let schema = Schema::fresh();
    let store = schema.store().await;
    let sql = "INSERT INTO checkpoint (consumer, part, place, position) VALUES ('projections', '', 9, 9)";
    schema.run(sql).await;
    assert_eq!(wait_for(&*store, CONSUMER, &[Part::whole()], Position(9), DEADLINE).await, Ok(Position(9)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_go_away_half_way_leave_no_transaction_and_no_rows_behind() {
    let schema = Schema::fresh();
    let store = schema.store().await;
    let mut story = Story::default();
    for number in 0..40 {
        story.conversation(100 + number, 1 + number);
    }
    // A stranger keeps the commits waiting, so that all are under way when they are given up.
    let mut stranger = schema.stranger().await;
    let lock = stranger.client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE conversation IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for _ in 0..8 {
        let under_way = deliver(&*store, &story.events);
        assert!(tokio::time::timeout(Duration::from_millis(50), under_way).await.is_err());
        let read = store.read(vec![Query::new("SELECT count(*) FROM conversation", [])]);
        assert!(tokio::time::timeout(Duration::from_millis(50), read).await.is_err());
    }
    lock.rollback().await.unwrap();
    assert_eq!(store.checkpoints(CONSUMER).await, Ok(Checkpoints::start()));
    deliver(&*store, &story.events).await;
    assert_eq!(hash(&*store).await, hash(&*story.store().await).await);
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state LIKE 'idle in%'";
    let count: i64 = schema.stranger().await.client.query_one(idle, &[&schema.config.schema]).await.unwrap().get(0);
    assert_eq!(count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_waits_too_long_is_ended_and_the_pool_stays_bounded() {
    let schema = Schema::fresh();
    let store = schema.store().await;
    let slow = || Query::new("SELECT CAST(pg_sleep(0.05) AS TEXT)", []);
    let reads = futures::future::join_all((0..40).map(|_| store.read(vec![slow()]))).await;
    assert!(reads.iter().all(Result::is_ok));
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()";
    let count: i64 = schema.stranger().await.client.query_one(sql, &[&schema.config.schema]).await.unwrap().get(0);
    assert!(count <= 5, "{count} connections: four of the pool and the listener's");
    let stuck = store.read(vec![Query::new("SELECT set_config('statement_timeout', '1', true)", []), slow()]).await;
    assert!(matches!(&stuck, Err(StoreError::Unavailable(reason)) if reason.contains("57014")), "{stuck:?}");
    let shown = store.read(vec![Query::new("SELECT current_setting('statement_timeout')", [])]).await.unwrap();
    assert_eq!(shown, [[["30s".to_owned().into()]]]);
}

#[tokio::test]
async fn statements_of_many_texts_do_not_pile_up() {
    let schema = Schema::fresh();
    let store = Arc::clone(&schema.store().await);
    for number in 0..1200 {
        store.read(vec![Query::new(format!("SELECT {number}"), [])]).await.unwrap();
    }
    let held = "SELECT count(*) FROM pg_prepared_statements";
    let held = store.read(vec![Query::new(held, [])]).await.unwrap().concat().concat();
    let projections::value::Value::Int(held) = held[0] else { panic!("{held:?}") };
    assert!(held < 600, "{held} statements are prepared");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_wait_for_each_other_in_a_circle_both_go_through() {
    let schema = Schema::fresh();
    let stores = [schema.store().await, schema.store().await];
    let mut story = Story::default();
    let ids = [story.conversation(100, 1), story.conversation(101, 2)];
    deliver(&*stores[0], &story.events).await;
    let circle = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let deadlocks = async || -> i64 { schema.stranger().await.client.query_one(circle, &[]).await.unwrap().get(0) };
    let before = deadlocks().await;
    let mut committed = 0_u64;
    // Statements of any kind run in the order given: here in opposite orders, with time between.
    let commit_in = async |store: usize, position: u64| {
        let mut changes = Changes::default();
        for conversation in if store == 0 { [ids[0], ids[1]] } else { [ids[1], ids[0]] } {
            changes.push_sql(
                "UPDATE conversation SET episode = episode + 1 WHERE conversation = $1",
                [conversation.into()],
            );
            changes.push_sql(
                "UPDATE participant SET active = active WHERE conversation = $1 AND pg_sleep(0.2) IS NULL",
                [conversation.into()],
            );
        }
        stores[store].commit(commit(changes, Position(position))).await.unwrap();
    };
    let met = async {
        while deadlocks().await == before {
            tokio::join!(commit_in(0, 100), commit_in(1, 100));
            committed += 2;
            // The server counts a little later.
            schema.run("SELECT pg_stat_force_next_flush()").await;
        }
    };
    tokio::time::timeout(DEADLINE, met).await.unwrap();
    let episodes = stores[0].read(vec![Query::new("SELECT DISTINCT episode FROM conversation", [])]).await.unwrap();
    assert_eq!(episodes, [[[projections::value::Value::from(1 + committed)]]], "each commit counts once in both rows");
}
