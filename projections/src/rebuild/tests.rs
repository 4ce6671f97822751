//! Tests of rebuilds.
//!
//! **Invariant:** every test makes its own events and store.

use std::path::PathBuf;
use std::sync::Arc;

use events::clock::FixedClock;
use events::envelope::{Category, Position};
use events::feed::{Checkpoint, Checkpoints, Layout, Topics};
use events::log::EventLog;
use events::testing::MemoryLog;
use events::viewer::Role;
use parking_lot::Mutex;

use super::{Difference, Progress, Rebuild, RebuildReport, Swap};
use crate::projection::Changes;
use crate::store::sqlite::{SqliteConfig, SqliteStore};
use crate::store::{Commit, Query, ReadStore};
use crate::testing::{
    MemoryKeys, Story, append, codec, commit, conversation_id, deliver, hash, id, received, second, viewer,
};
use crate::value::values;
use crate::views::Views;

struct House {
    _folder: tempfile::TempDir,
    path: PathBuf,
    story: Story,
    log: MemoryLog,
    keys: Arc<MemoryKeys>,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut story = Story::default();
        story.account();
        for number in 0..20 {
            let conversation = story.conversation(100 + number, 1 + number);
            story.add(conversation, received(200 + number, 1 + number, "hello"));
        }
        let keys = Arc::new(MemoryKeys::default());
        let log = MemoryLog::new(Arc::new(FixedClock::new(second(0))));
        append(&story, &log, &codec(&keys)).await;
        // What the log says is what the live read models must hold: its own times and ids.
        let mut recorded = log.read_all(Position::START, &events::log::Filter::default(), 1000).await.unwrap().0;
        for (decoded, recorded) in story.events.iter_mut().zip(recorded.drain(..)) {
            decoded.recorded = recorded;
        }
        Self { path: folder.path().join("views.db"), _folder: folder, story, log, keys }
    }

    async fn live(&self, events: usize) -> SqliteStore {
        let store = SqliteStore::open(&self.path, &SqliteConfig::default()).await.unwrap();
        deliver(&store, &self.story.events[..events]).await;
        store
    }

    async fn rebuild(&self, live: Option<&SqliteStore>, swap: Swap) -> RebuildReport {
        let codec = codec(&self.keys);
        let rebuild = Rebuild { log: &self.log, codec: &codec, path: &self.path, live, layout: &Layout::whole(), swap };
        rebuild.run(&|_| {}).await.unwrap()
    }
}

#[tokio::test]
async fn a_rebuild_gives_the_same_hash_at_the_cut_and_goes_on_to_the_head() {
    let house = House::new().await;
    let all = house.story.events.len();
    let live = house.live(all - 7).await;
    let at_cut = hash(&live).await;
    let report = house.rebuild(Some(&live), Swap::IfEqual).await;
    assert_eq!(report.cut, Some(house.story.events[all - 8].recorded.position));
    assert_eq!((report.hash, report.differences.len(), report.swapped), (Some(at_cut), 0, true));
    assert_eq!((report.events, report.parked), (all as u64, 0));
    let whole = house.story.store().await;
    assert_eq!(hash(&live).await, hash(&*whole).await, "the swapped file holds the rest of the log, too");
    let views = Views::new(Arc::new(live));
    assert_eq!(views.position(), report.position);
    assert!(views.conversation(&viewer(Role::Operator), conversation_id(119)).await.unwrap().is_some());
}

#[tokio::test]
async fn read_models_whose_feed_comes_in_parts_are_compared_part_by_part() {
    let house = House::new().await;
    let layout = Layout::of_topics(Topics::new("letopis", |_| 3).unwrap());
    let store = SqliteStore::open(&house.path, &SqliteConfig::default()).await.unwrap();
    // Each part is at another place: the events of a stream up to there are in the store, the others are not.
    let (mut at, mut held) = (Checkpoints::start(), Vec::new());
    for (index, part) in layout.parts().iter().enumerate() {
        let of_part = || house.story.events.iter().filter(|event| layout.part_of(&event.recorded.stream) == *part);
        let count = of_part().count().saturating_sub(index % 3);
        held.extend(of_part().take(count).cloned());
        let position = of_part().take(count).last().map_or(Position::START, |event| event.recorded.position);
        at.add(&Checkpoint { part: part.clone(), offset: count as u64, position });
    }
    assert!(
        held.len() < house.story.events.len()
            && held.iter().any(|event| event.recorded.stream.category == Category::Conversation)
    );
    let mut changes = Changes::default();
    held.iter().for_each(|event| crate::projector::apply_all(event, &mut changes));
    store.commit(Commit { checkpoints: at, ..commit(changes, Position::START) }).await.unwrap();
    let codec = codec(&house.keys);
    let rebuild = Rebuild {
        log: &house.log,
        codec: &codec,
        path: &house.path,
        live: Some(&store),
        layout: &layout,
        swap: Swap::IfEqual,
    };
    let report = rebuild.run(&|_| {}).await.unwrap();
    assert_eq!(
        (report.differences, report.swapped, report.events),
        (Vec::new(), true, house.story.events.len() as u64)
    );
    assert_eq!(hash(&store).await, hash(&*house.story.store().await).await);
    let head = house.story.events.last().unwrap().recorded.position;
    assert_eq!(
        Views::filled_by(Arc::new(store), layout).position(),
        head,
        "a rebuilt store has reached it in every part"
    );
}

#[tokio::test]
async fn a_row_that_differs_is_named_and_the_live_file_stays() {
    let house = House::new().await;
    let all = house.story.events.len();
    let live = house.live(all).await;
    let mut damage = Changes::default();
    damage.push_sql("DELETE FROM entry WHERE conversation = $1", values![id(100)]);
    live.commit(commit(damage, house.story.events[all - 1].recorded.position)).await.unwrap();
    let damaged = hash(&live).await;
    let report = house.rebuild(Some(&live), Swap::IfEqual).await;
    assert_eq!(report.differences, [Difference { table: "entry", live_rows: 19, rebuilt_rows: 20 }]);
    assert!(!report.swapped);
    assert_eq!(hash(&live).await, damaged);
    let report = house.rebuild(Some(&live), Swap::Always).await;
    assert!(report.swapped);
    assert_eq!(hash(&live).await, hash(&*house.story.store().await).await);
}

#[tokio::test]
async fn without_a_live_file_one_is_made_and_opens_with_its_indexes() {
    let house = House::new().await;
    let report = house.rebuild(None, Swap::Always).await;
    assert_eq!((report.cut, report.swapped), (None, true));
    let store = SqliteStore::open(&house.path, &SqliteConfig::default()).await.unwrap();
    assert_eq!(report.hash, None, "there was nothing to compare with");
    assert_eq!(hash(&store).await, hash(&*house.story.store().await).await);
    let indexes = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name";
    let of = |store: Arc<SqliteStore>| async move { store.read(vec![Query::new(indexes, [])]).await.unwrap() };
    assert_eq!(of(Arc::new(store)).await, of(house.story.store().await).await);
}

#[tokio::test]
async fn a_comparison_leaves_nothing_behind_and_tells_its_progress() {
    let house = House::new().await;
    let live = house.live(house.story.events.len()).await;
    let told: Mutex<Vec<Progress>> = Mutex::default();
    let codec = codec(&house.keys);
    let rebuild = Rebuild {
        log: &house.log,
        codec: &codec,
        path: &house.path,
        live: Some(&live),
        layout: &Layout::whole(),
        swap: Swap::Never,
    };
    let report = rebuild.run(&|progress| told.lock().push(progress)).await.unwrap();
    assert!(!report.swapped);
    assert_eq!(told.lock().last().unwrap().position, report.position);
    assert!(!super::file::beside(&house.path).exists());
}
