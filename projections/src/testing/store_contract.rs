//! The clauses of the contract of [`ReadStore`].
//!
//! **Invariant:** a clause has a store of its own with nothing in it, and waits for what it says, never for a while.
#![expect(clippy::missing_panics_doc, reason = "a clause panics when the contract is broken: that is its work")]

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use events::envelope::Position;
use events::feed::{Checkpoint, Checkpoints, Part};
use events::ids::EventId;

use super::history::history;
use super::{Story, commit, deliver, hash, id, person, queued, received, second};
use crate::projection::{Changes, Erasure};
use crate::projector::{CONSUMER, apply_all};
use crate::store::{Commit, ParkedEvent, Query, ReadStore, StoreError, wait_for};
use crate::value::{Value, values};

/// Far longer than anything waited for takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A store to run the contract on, with what must live as long as it does.
pub struct StoreUnderTest {
    /// The store.
    pub store: Arc<dyn ReadStore>,
    /// The same read models as another process opens them, where several may.
    pub another: Option<Arc<dyn ReadStore>>,
    /// A folder, a schema: dropped after the stores.
    pub keep: Box<dyn Any + Send>,
}

/// Makes one test per clause of the contract of [`ReadStore`], so that a failure names its clause.
///
/// `read_store_contract!(one, factory)` is for a store that one process has, `read_store_contract!(shared, factory)` for
/// one that several have, and includes the other. `factory` is an expression whose value is a future of a fresh
/// [`StoreUnderTest`].
#[macro_export]
macro_rules! read_store_contract {
    (one, $factory:expr) => {
        $crate::read_store_clauses! { $factory;
            a_refused_statement_leaves_nothing_of_its_commit
            a_checkpoint_never_goes_back
            parts_and_consumers_have_checkpoints_of_their_own
            a_waiting_reader_is_woken_by_the_commit_it_waits_for
            all_queries_of_a_read_see_one_commit
            a_parked_event_is_kept_once_with_its_last_reason
            the_state_is_that_of_the_events_and_nothing_else
            events_delivered_again_change_nothing
            any_text_comes_back_as_it_went_in
            reads_are_counted_and_a_wrong_one_is_an_error
            what_is_erased_is_gone
        }
    };
    (shared, $factory:expr) => {
        $crate::read_store_contract! { one, $factory }
        $crate::read_store_clauses! { $factory;
            a_commit_is_heard_of_by_the_other_process
            two_processes_with_parts_of_their_own_both_count
            two_processes_that_write_the_same_rows_agree
            a_process_that_writes_late_undoes_nothing
        }
    };
}

/// One test per clause. Used by the contract macro only.
#[doc(hidden)]
#[macro_export]
macro_rules! read_store_clauses {
    ($factory:expr; $($clause:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $clause() {
            let under_test = $factory.await;
            Box::pin($crate::testing::store_contract::$clause(under_test)).await;
        }
    )*};
}

fn story() -> Story {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    story.add(conversation, received(200, 1, "hello"));
    story
}

/// A history in which most things happen.
fn long(steps: u8) -> Story {
    let steps: Vec<(u8, u8, u8)> = (0..steps).map(|step| (step, step / 3, step / 7)).collect();
    history(&steps)
}

async fn rows(store: &dyn ReadStore, sql: &'static str) -> Vec<Vec<Value>> {
    store.read(vec![Query::new(sql, [])]).await.expect("a read").pop().expect("an answer")
}

async fn at(store: &dyn ReadStore) -> Checkpoints {
    store.checkpoints(CONSUMER).await.expect("checkpoints")
}

async fn put(store: &dyn ReadStore, checkpoints: Checkpoints) {
    store.commit(Commit { checkpoints, ..commit(Changes::default(), Position::START) }).await.expect("a commit");
}

fn part(name: &str, offset: u64, position: u64) -> Checkpoint {
    Checkpoint { part: Part::named(name), offset, position: Position(position) }
}

/// Rows, checkpoint and what is published stay as they were.
pub async fn a_refused_statement_leaves_nothing_of_its_commit(test: StoreUnderTest) {
    let (store, story) = (&*test.store, story());
    deliver(store, &story.events[..3]).await;
    let before = hash(store).await;
    let mut changes = Changes::default();
    apply_all(&story.events[3], &mut changes);
    changes.push_sql("INSERT INTO account (account) VALUES ($1)", values![uuid::Uuid::nil()]);
    let refused = store.commit(commit(changes, Position(4))).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(hash(store).await, before);
    assert_eq!(at(store).await, Checkpoints::of_position(Position(3)));
    assert_eq!(*store.applied(CONSUMER).borrow(), Checkpoints::of_position(Position(3)));
    deliver(store, &story.events[3..]).await;
    assert_eq!(at(store).await, Checkpoints::of_position(Position(5)));
}

/// The greater position counts, then the greater offset.
pub async fn a_checkpoint_never_goes_back(test: StoreUnderTest) {
    let store = &*test.store;
    put(store, part("a/0", 10, 100).into()).await;
    put(store, part("a/0", 99, 90).into()).await;
    put(store, part("a/0", 9, 100).into()).await;
    assert_eq!(at(store).await, Checkpoints::from(part("a/0", 10, 100)));
    put(store, part("a/0", 11, 100).into()).await;
    assert_eq!(at(store).await, Checkpoints::from(part("a/0", 11, 100)));
    assert_eq!(*store.applied(CONSUMER).borrow(), at(store).await);
}

/// A commit moves only the parts that it names.
pub async fn parts_and_consumers_have_checkpoints_of_their_own(test: StoreUnderTest) {
    let store = &*test.store;
    let both = [part("a/0", 1, 10), part("a/1", 2, 20)];
    put(store, both.iter().collect()).await;
    put(store, part("a/1", 3, 30).into()).await;
    let other = Commit { consumer: "other".into(), ..commit(Changes::default(), Position(5)) };
    store.commit(other).await.expect("a commit");
    assert_eq!(at(store).await, [part("a/0", 1, 10), part("a/1", 3, 30)].iter().collect());
    assert_eq!(store.checkpoints("other").await, Ok(Checkpoints::of_position(Position(5))));
    assert_eq!(store.checkpoints("nobody").await, Ok(Checkpoints::start()));
    assert_eq!(*store.applied("other").borrow(), Checkpoints::of_position(Position(5)));
}

/// And one that waits for nothing is told where the read models are.
pub async fn a_waiting_reader_is_woken_by_the_commit_it_waits_for(test: StoreUnderTest) {
    let (store, whole) = (&*test.store, [Part::whole()]);
    put(store, Checkpoints::of_position(Position(5))).await;
    let stale = wait_for(store, CONSUMER, &whole, Position(6), Duration::ZERO).await;
    assert_eq!(stale, Err(StoreError::Stale { at: Position(5), wanted: Position(6) }));
    let waiting = wait_for(store, CONSUMER, &whole, Position(6), DEADLINE);
    let (reached, ()) = tokio::join!(waiting, put(store, Checkpoints::of_position(Position(6))));
    assert_eq!(reached, Ok(Position(6)));
}

/// While another task commits.
pub async fn all_queries_of_a_read_see_one_commit(test: StoreUnderTest) {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    for number in 0..150 {
        story.add(conversation, queued(200 + number, 1, "answer"));
    }
    let last = story.events.len() as u64;
    let store = Arc::clone(&test.store);
    let writer = tokio::spawn(async move {
        for events in story.events.chunks(3) {
            deliver(&*store, events).await;
        }
    });
    loop {
        let done = writer.is_finished();
        let entries = Query::new("SELECT count(*) FROM entry WHERE kind = 'queued'", []);
        let deliveries = Query::new("SELECT count(*) FROM delivery", []);
        let counts = test.store.read(vec![entries, deliveries]).await.expect("a read");
        assert_eq!(counts[0], counts[1], "an entry and its delivery are one commit, both queries one snapshot");
        if done {
            break;
        }
    }
    writer.await.expect("the writer");
    assert_eq!(*test.store.applied(CONSUMER).borrow(), Checkpoints::of_position(Position(last)));
}

/// Parked again, it is still one.
pub async fn a_parked_event_is_kept_once_with_its_last_reason(test: StoreUnderTest) {
    let store = &*test.store;
    for reason in ["first\0", "last\0"] {
        let parked = ParkedEvent {
            position: Position(7),
            tenant: "acme".into(),
            stream: "conversation-acme:x".into(),
            revision: 3,
            event: EventId::new(id(9)),
            event_type: "conversation.danced".into(),
            reason: reason.into(),
            recorded_at: second(1),
        };
        let parked = Commit { parked: vec![parked], ..commit(Changes::default(), Position(7)) };
        store.commit(parked).await.expect("a commit");
    }
    let found = rows(store, "SELECT position, stream, reason FROM parked").await;
    assert_eq!(found, [values![7_i64, "conversation-acme:x".to_owned(), "last\0".to_owned()]]);
}

/// The hash is that of SQLite in memory with the same events.
pub async fn the_state_is_that_of_the_events_and_nothing_else(test: StoreUnderTest) {
    let story = long(117);
    let whole = hash(&*story.store().await).await;
    for events in story.events.chunks(17) {
        assert_ne!(hash(&*test.store).await, whole);
        deliver(&*test.store, events).await;
    }
    let state = test.store.state(CONSUMER, crate::registry::tables().collect()).await.expect("a state");
    assert_eq!(state.hash(), whole);
    assert_eq!(state.checkpoints, Checkpoints::of_position(Position(story.events.len() as u64)));
    assert!(state.tables.iter().filter(|table| table.rows > 0).count() > 10, "most tables have rows: {state:?}");
}

/// Whole, in pieces and in another order of commits.
pub async fn events_delivered_again_change_nothing(test: StoreUnderTest) {
    let story = long(117);
    deliver(&*test.store, &story.events).await;
    let once = hash(&*test.store).await;
    // By themselves, in pieces, and several times in one commit.
    deliver(&*test.store, &story.events).await;
    for events in story.events.chunks(5).rev() {
        deliver(&*test.store, events.iter().chain(events)).await;
    }
    assert_eq!(hash(&*test.store).await, once);
}

/// It is found by its value and stands in the order of its bytes.
pub async fn any_text_comes_back_as_it_went_in(test: StoreUnderTest) {
    let store = &*test.store;
    let texts =
        ["", "\0", "\u{1}", "\0\u{1}\u{2}", "a\0b", "\u{1}\u{1}", "\u{1}\u{2}", "Ё", "я\u{10FFFF}", "B", "a", "'\\"];
    let mut changes = Changes::default();
    for (number, text) in texts.iter().enumerate() {
        let insert = "INSERT INTO conversation_tag (conversation, tag, tenant, active, revision) \
            VALUES ($1, $2, $3, 1, 0)";
        changes.push_sql(insert, values![id(number as u128), (*text).to_owned(), "acme"]);
    }
    store.commit(commit(changes, Position(1))).await.expect("a commit");
    let found = rows(store, "SELECT tag FROM conversation_tag ORDER BY conversation").await;
    assert_eq!(found.concat(), texts.map(|text| Value::from(text.to_owned())));
    let mut sorted = texts;
    sorted.sort_unstable();
    let found = rows(store, "SELECT tag FROM conversation_tag ORDER BY tag").await;
    assert_eq!(found.concat(), sorted.map(|text| Value::from(text.to_owned())), "texts are ordered by their bytes");
    for text in texts {
        let one = Query::new("SELECT count(*) FROM conversation_tag WHERE tag = $1", values![text.to_owned()]);
        assert_eq!(store.read(vec![one]).await.expect("a read"), [[[Value::Int(1)]]], "{text:?} is found");
    }
}

/// And harms no later one.
pub async fn reads_are_counted_and_a_wrong_one_is_an_error(test: StoreUnderTest) {
    let store = &*test.store;
    deliver(store, &story().events).await;
    let before = store.statements();
    let count = || Query::new("SELECT count(*) FROM entry", []);
    store.read(vec![count(), count()]).await.expect("a read");
    assert_eq!(store.statements(), before + 2);
    let wrong = store.read(vec![count(), Query::new("SELECT nonsense FROM entry", []), count()]).await;
    assert!(wrong.is_err(), "{wrong:?}");
    assert_eq!(store.read(vec![count()]).await.expect("a read"), [[[Value::Int(1)]]], "the store goes on");
}

/// Every erasing statement runs, and spares others.
pub async fn what_is_erased_is_gone(test: StoreUnderTest) {
    let store = &*test.store;
    let mut story = long(60);
    story.conversation(102, 3);
    deliver(store, &story.events).await;
    let mut changes = Changes::default();
    for (_, erasure) in crate::registry::erasures() {
        match erasure {
            Erasure::OfOccupancy(sql) => {
                changes.push_sql(sql, values![person(1).contact, person(1).number]);
            }
            Erasure::OfConversation(sql) => changes.push_sql(sql, values![id(101)]),
        }
    }
    let count = "SELECT (SELECT count(*) FROM occupancy WHERE normalised IS NOT NULL), \
        (SELECT count(*) FROM entry WHERE content IS NOT NULL)";
    let before = rows(store, count).await.concat();
    assert!(before[0] == Value::Int(3) && before[1] != Value::Int(0), "{before:?}");
    store.commit(commit(changes, Position(1))).await.expect("a commit");
    assert_eq!(rows(store, count).await, [[Value::Int(2), Value::Int(0)]]);
}

fn two(test: &StoreUnderTest) -> [Arc<dyn ReadStore>; 2] {
    [Arc::clone(&test.store), Arc::clone(test.another.as_ref().expect("a store of another process"))]
}

/// Both ways.
pub async fn a_commit_is_heard_of_by_the_other_process(test: StoreUnderTest) {
    let [one, other] = two(&test);
    for position in 1..20 {
        let (writer, reader) = if position % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let whole = [Part::whole()];
        let waiting = wait_for(&**reader, CONSUMER, &whole, Position(position), DEADLINE);
        let (reached, ()) = tokio::join!(waiting, put(&**writer, Checkpoints::of_position(Position(position))));
        assert_eq!(reached, Ok(Position(position)));
    }
}

/// Committing at once.
pub async fn two_processes_with_parts_of_their_own_both_count(test: StoreUnderTest) {
    let stores = two(&test);
    let (parts, last) = (["a/0", "a/1"], 40);
    let mut writers = Vec::new();
    for (store, name) in stores.iter().cloned().zip(parts) {
        writers.push(tokio::spawn(async move {
            for position in 1..=last {
                put(&*store, part(name, position, position).into()).await;
            }
        }));
    }
    for store in &stores {
        let reached = wait_for(&**store, CONSUMER, &parts.map(Part::named), Position(last), DEADLINE).await;
        assert_eq!(reached, Ok(Position(last)));
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    assert_eq!(at(&*stores[0]).await, parts.map(|name| part(name, last, last)).iter().collect());
}

/// As after a hand-over of which one of them does not know yet: none of the commits fails.
pub async fn two_processes_that_write_the_same_rows_agree(test: StoreUnderTest) {
    let (stores, story) = (two(&test), Arc::new(long(200)));
    let mut writers = Vec::new();
    for (number, store) in stores.into_iter().enumerate() {
        let story = Arc::clone(&story);
        writers.push(tokio::spawn(async move {
            // Batches of other sizes: the same rows in other company.
            for events in story.events.chunks(7 + 6 * number) {
                deliver(&*store, events).await;
            }
        }));
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    assert_eq!(hash(&*test.store).await, hash(&*story.store().await).await);
}

/// Neither rows nor checkpoint.
pub async fn a_process_that_writes_late_undoes_nothing(test: StoreUnderTest) {
    let ([one, other], story) = (two(&test), long(150));
    let third = story.events.len() / 3;
    deliver(&*one, &story.events[..third]).await;
    // The other takes over from there, and the first one sends what it still had.
    deliver(&*other, &story.events[third..]).await;
    let (whole, reached) = (hash(&*other).await, at(&*other).await);
    deliver(&*one, &story.events[third..2 * third]).await;
    assert_eq!((hash(&*one).await, at(&*one).await), (whole.clone(), reached));
    assert_eq!(whole, hash(&*story.store().await).await);
}
