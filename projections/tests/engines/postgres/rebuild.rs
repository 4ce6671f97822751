//! Rebuilds beside live read models that go on, and what becomes of their processes at the swap.
//!
//! **Invariant:** every test makes its own events, log and schema.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use events::clock::FixedClock;
use events::codec::Codec;
use events::envelope::Position;
use events::feed::{Checkpoint, Checkpoints, Layout, Topics};
use events::log::{EventLog, Filter};
use events::testing::MemoryLog;
use events::viewer::Role;
use projections::Views;
use projections::projection::Changes;
use projections::projector::{CONSUMER, apply_all};
use projections::rebuild::{Difference, PostgresRebuild, RebuildError, RebuildReport, Swap};
use projections::store::postgres::PostgresStore;
use projections::store::{Commit, Query, ReadStore, StoreError};
use projections::testing::{
    MemoryKeys, Story, append, codec, commit, conversation_id, deliver, hash, id, received, second, viewer,
};
use projections::value::Value;

use super::Schema;

struct House {
    schema: Schema,
    story: Story,
    log: MemoryLog,
    codec: Codec,
}

impl House {
    async fn new() -> Self {
        let mut story = Story::default();
        story.account();
        for number in 0..20 {
            let conversation = story.conversation(100 + number, 1 + number);
            story.add(conversation, received(200 + number, 1 + number, "hello"));
        }
        let log = MemoryLog::new(Arc::new(FixedClock::new(second(0))));
        let codec = codec(&Arc::new(MemoryKeys::default()));
        append(&story, &log, &codec).await;
        let recorded = log.read_all(Position::START, &Filter::default(), 1000).await.unwrap().0;
        for (decoded, recorded) in story.events.iter_mut().zip(recorded) {
            decoded.recorded = recorded;
        }
        Self { schema: Schema::fresh(), story, log, codec }
    }

    async fn live(&self, events: usize) -> Arc<PostgresStore> {
        let store = self.schema.store().await;
        deliver(&*store, &self.story.events[..events]).await;
        store
    }

    fn last(&self) -> Position {
        self.story.events.last().unwrap().recorded.position
    }

    async fn rebuild(
        &self,
        live: Option<&PostgresStore>,
        swap: Swap,
        layout: &Layout,
    ) -> Result<RebuildReport, RebuildError> {
        let (log, codec, config) = (&self.log, &self.codec, &self.schema.config);
        PostgresRebuild { log, codec, config, live, layout, swap }.run(&|_| {}).await
    }

    async fn rebuilt(&self, live: Option<&PostgresStore>, swap: Swap) -> RebuildReport {
        self.rebuild(live, swap, &Layout::whole()).await.unwrap()
    }

    /// True when nothing is left beside the live schema.
    async fn is_alone(&self) -> bool {
        let sql = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE $1 || '\\_%'";
        let client = self.schema.stranger().await.client;
        client.query_one(sql, &[&self.schema.config.schema]).await.unwrap().get::<_, i64>(0) == 0
    }
}

#[tokio::test]
async fn a_rebuild_gives_the_same_hash_at_the_cut_and_goes_on_to_the_head() {
    let house = House::new().await;
    let all = house.story.events.len();
    let live = house.live(all - 7).await;
    let at_cut = hash(&*live).await;
    let report = house.rebuilt(Some(&live), Swap::IfEqual).await;
    assert_eq!(report.cut, Some(house.story.events[all - 8].recorded.position));
    assert_eq!((report.hash, report.differences.len(), report.swapped), (Some(at_cut), 0, true));
    assert_eq!((report.events, report.parked), (all as u64, 0));
    let whole = house.story.store().await;
    assert_eq!(hash(&*live).await, hash(&*whole).await, "the rest of the log is in it, too");
    let parts = [events::feed::Part::whole()];
    let patience = std::time::Duration::from_secs(60);
    projections::store::wait_for(&*live, CONSUMER, &parts, house.last(), patience).await.unwrap();
    let views = Views::new(live);
    assert!(views.conversation(&viewer(Role::Operator), conversation_id(119)).await.unwrap().is_some());
    assert!(house.is_alone().await);
}

#[tokio::test]
async fn read_models_whose_feed_comes_in_parts_are_compared_part_by_part() {
    let house = House::new().await;
    let layout = Layout::of_topics(Topics::new("letopis", |_| 3).unwrap());
    let store = house.schema.store().await;
    let (mut at, mut changes, mut held) = (Checkpoints::start(), Changes::default(), 0);
    for (index, part) in layout.parts().iter().enumerate() {
        let of_part = || house.story.events.iter().filter(|event| layout.part_of(&event.recorded.stream) == *part);
        let count = of_part().count().saturating_sub(index % 3);
        of_part().take(count).for_each(|event| apply_all(event, &mut changes));
        let position = of_part().take(count).last().map_or(Position::START, |event| event.recorded.position);
        at.add(&Checkpoint { part: part.clone(), offset: count as u64, position });
        held += count;
    }
    assert!(held < house.story.events.len());
    store.commit(Commit { checkpoints: at, ..commit(changes, Position::START) }).await.unwrap();
    let report = house.rebuild(Some(&store), Swap::IfEqual, &layout).await.unwrap();
    assert_eq!((report.differences, report.swapped), (Vec::new(), true));
    assert_eq!(report.events, house.story.events.len() as u64);
    assert_eq!(hash(&*store).await, hash(&*house.story.store().await).await);
}

#[tokio::test]
async fn a_row_that_differs_is_named_and_the_live_tables_stay() {
    let house = House::new().await;
    let live = house.live(house.story.events.len()).await;
    let mut damage = Changes::default();
    damage.push_sql("DELETE FROM entry WHERE conversation = $1", [Value::from(id(100))]);
    live.commit(commit(damage, house.last())).await.unwrap();
    let damaged = hash(&*live).await;
    let report = house.rebuilt(Some(&live), Swap::IfEqual).await;
    assert_eq!(report.differences, [Difference { table: "entry", live_rows: 19, rebuilt_rows: 20 }]);
    assert!(!report.swapped && house.is_alone().await);
    assert_eq!(hash(&*live).await, damaged);
    assert!(house.rebuilt(Some(&live), Swap::Always).await.swapped);
    assert_eq!(hash(&*live).await, hash(&*house.story.store().await).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_go_on_reading_and_writing_through_a_swap() {
    let house = House::new().await;
    let all = house.story.events.len();
    // Two processes with statements prepared on every connection; the second one is behind and writes on.
    let (one, other) = (house.live(all / 2).await, house.schema.store().await);
    let stop = Arc::new(AtomicBool::new(false));
    let reading = {
        let (store, stop) = (Arc::clone(&one), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut least = 0;
            while !stop.load(Ordering::Relaxed) {
                let count = || Query::new("SELECT count(*) FROM entry", []);
                let counts = store.read(vec![count(), count()]).await.unwrap().concat().concat();
                let Value::Int(entries) = counts[0] else { panic!("{counts:?}") };
                assert!(entries >= least && counts[0] == counts[1], "{counts:?} after {least}: reads go back");
                least = entries;
            }
        })
    };
    let writing = {
        let (store, events) = (Arc::clone(&other), house.story.events[all / 2..].to_vec());
        tokio::spawn(async move {
            for event in &events {
                deliver(&*store, [event]).await;
            }
        })
    };
    for _ in 0..4 {
        let report = house.rebuilt(Some(&one), Swap::IfEqual).await;
        assert_eq!((report.differences, report.swapped), (Vec::new(), true));
    }
    writing.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    reading.await.unwrap();
    assert_eq!(hash(&*other).await, hash(&*house.story.store().await).await);
    assert_eq!(one.checkpoints(CONSUMER).await.unwrap().greatest(), house.last());
    let sql = "SELECT count(*) FROM pg_indexes WHERE schemaname = $1";
    let indexes = async || -> i64 {
        house.schema.stranger().await.client.query_one(sql, &[&house.schema.config.schema]).await.unwrap().get(0)
    };
    let fresh = Schema::fresh();
    let _made = fresh.store().await;
    let made: i64 = fresh.stranger().await.client.query_one(sql, &[&fresh.config.schema]).await.unwrap().get(0);
    assert_eq!(indexes().await, made, "rebuilt tables have the indexes of made ones");
}

#[tokio::test]
async fn tables_of_another_release_and_no_tables_at_all_are_replaced() {
    let house = House::new().await;
    let stranger = format!("CREATE SCHEMA {0}; CREATE TABLE {0}.events (x INT)", house.schema.config.schema);
    house.schema.run(&stranger).await;
    assert!(house.rebuilt(None, Swap::Always).await.swapped);
    let store = house.schema.store().await;
    let whole = hash(&*house.story.store().await).await;
    assert_eq!(hash(&*store).await, whole);
    house
        .schema
        .run(
            "UPDATE projection SET version = 1; CREATE TABLE gone (x INT); \
        INSERT INTO read_model VALUES ('gone'); DROP TABLE reaction; DELETE FROM entry",
        )
        .await;
    assert!(matches!(PostgresStore::open(&house.schema.config).await, Err(StoreError::Outdated { .. })));
    let report = house.rebuilt(None, Swap::Always).await;
    assert_eq!((report.cut, report.hash, report.swapped), (None, None, true));
    // The process that had them open goes on: its release is that of the tables again.
    assert_eq!(hash(&*store).await, whole);
    store.commit(commit(Changes::default(), Position(1_000))).await.unwrap();
    let left = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename IN ('gone', 'events')";
    let left = store.read(vec![Query::new(left, [])]).await.unwrap();
    assert_eq!(left, [[[Value::Int(1)]]], "a table that is not the read models' stays");
}

#[tokio::test]
async fn live_read_models_that_are_ahead_of_the_log_are_not_replaced() {
    let house = House::new().await;
    let live = house.live(house.story.events.len()).await;
    let ahead = Position(house.last().0 + 1_000);
    live.commit(commit(Changes::default(), ahead)).await.unwrap();
    let rebuilt = house.rebuild(Some(&live), Swap::Always, &Layout::whole()).await;
    assert!(matches!(rebuilt, Err(RebuildError::NeverCaughtUp)), "{rebuilt:?}");
    assert_eq!(live.checkpoints(CONSUMER).await, Ok(Checkpoints::of_position(ahead)));
}

#[tokio::test]
async fn one_rebuild_runs_at_a_time() {
    let house = House::new().await;
    let live = house.live(house.story.events.len()).await;
    let layout = Layout::whole();
    let run = || house.rebuild(Some(&live), Swap::IfEqual, &layout);
    let (one, other) = tokio::join!(run(), run());
    let refused = |result: &Result<RebuildReport, RebuildError>| matches!(result, Err(RebuildError::Store(StoreError::Unavailable(reason))) if reason.contains("another rebuild"));
    assert!(refused(&one) ^ refused(&other), "{one:?} {other:?}");
    assert!(one.is_ok() ^ other.is_ok(), "{one:?} {other:?}");
    assert_eq!(hash(&*live).await, hash(&*house.story.store().await).await);
}
