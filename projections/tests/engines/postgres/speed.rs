//! How fast events are committed, beside SQLite with the same events.
//!
//! **Invariant:** a figure is printed and held against a bound that is far off: a statement per row would break it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use events::clock::FixedClock;
use events::envelope::Position;
use events::feed::{Checkpoints, Layout, Part};
use events::ids::MessageId;
use events::testing::MemoryLog;
use projections::projection::Changes;
use projections::projector::CONSUMER;
use projections::projector::apply_all;
use projections::rebuild::{PostgresRebuild, Rebuild, Swap};
use projections::store::sqlite::{SqliteConfig, SqliteStore};
use projections::store::{ReadStore, wait_for};
use projections::testing::{MemoryKeys, Story, append, codec, commit, hash, id, queued, received, second};

use super::Schema;

/// Events of a commit.
const EVENTS: usize = 4096;
/// Commits of each store.
const COMMITS: usize = 6;

/// Customers who write and are answered, a few messages each, as a feed brings them after an outage.
fn story() -> Story {
    let mut story = Story::default();
    let mut number = 0;
    while story.events.len() < EVENTS * COMMITS {
        let customer = 1 + number;
        let conversation = story.conversation(0x10_0000 + number, customer);
        for turn in 0..6 {
            let message = 0x1000_0000 + 20 * number + turn;
            story.add(conversation, received(message, customer, "Здравствуйте, где мой заказ? Жду уже неделю."));
            story.add(conversation, queued(message + 10, customer, "Проверяю, минуту."));
            let message = MessageId::new(id(message + 10));
            let delivered = events::conversation::MessageDelivered { message, parts: 1 };
            story.add(conversation, events::conversation::ConversationEvent::from(delivered));
        }
        number += 1;
    }
    story
}

async fn took(store: &dyn ReadStore, story: &Story) -> Duration {
    let mut took = Duration::ZERO;
    for events in story.events.chunks(EVENTS).take(COMMITS) {
        let mut changes = Changes::with_capacity(events.len());
        events.iter().for_each(|event| apply_all(event, &mut changes));
        let commit = commit(changes, events.last().unwrap().recorded.position);
        let begun = Instant::now();
        store.commit(commit).await.unwrap();
        took += begun.elapsed();
    }
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_thousands_of_events_costs_no_round_trip_for_each() {
    let (schema, folder, story) = (Schema::fresh(), tempfile::tempdir().unwrap(), story());
    let sqlite = SqliteStore::open(&folder.path().join("views.db"), &SqliteConfig::default()).await.unwrap();
    let postgres = schema.store().await;
    let (plain, server) = (took(&sqlite, &story).await, took(&*postgres, &story).await);
    let per_second = |took: Duration| (EVENTS * COMMITS) as f64 / took.as_secs_f64();
    println!(
        "events/s in commits of {EVENTS}: SQLite {:.0}, PostgreSQL {:.0}, ratio {:.2}",
        per_second(plain),
        per_second(server),
        per_second(server) / per_second(plain)
    );
    assert_eq!(hash(&sqlite).await, hash(&*postgres).await);
    assert!(!Checkpoints::is_empty(&postgres.checkpoints(CONSUMER).await.unwrap()));
    assert!(per_second(server) > 1_500.0, "a commit of {EVENTS} events takes too long");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_hears_of_a_commit_long_before_it_would_look() {
    let schema = Schema::fresh();
    let (writer, reader) = (schema.store().await, schema.store().await);
    let mut took = Vec::new();
    for position in 1..=100 {
        let whole = [Part::whole()];
        let heard = async {
            wait_for(&*reader, CONSUMER, &whole, Position(position), Duration::from_secs(60)).await.unwrap();
            Instant::now()
        };
        let committed = async {
            writer.commit(commit(Changes::default(), Position(position))).await.unwrap();
            Instant::now()
        };
        let (heard, committed) = tokio::join!(heard, committed);
        took.push(heard.saturating_duration_since(committed));
    }
    took.sort_unstable();
    println!("heard after the commit came back: median {:?}, 95th {:?}, last {:?}", took[50], took[95], took[99]);
    assert!(took[50] < Duration::from_millis(250), "a store looks for itself each second: this was not heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_folds_thousands_of_events_a_second() {
    let (schema, folder, story) = (Schema::fresh(), tempfile::tempdir().unwrap(), story());
    let log = MemoryLog::new(Arc::new(FixedClock::new(second(0))));
    let codec = codec(&Arc::new(MemoryKeys::default()));
    append(&story, &log, &codec).await;
    let (path, layout, swap) = (folder.path().join("views.db"), Layout::whole(), Swap::Always);
    let begun = Instant::now();
    let of_file = Rebuild { log: &log, codec: &codec, path: &path, live: None, layout: &layout, swap };
    of_file.run(&|_| {}).await.unwrap();
    let plain = begun.elapsed();
    let begun = Instant::now();
    let config = &schema.config;
    let of_schema = PostgresRebuild { log: &log, codec: &codec, config, live: None, layout: &layout, swap };
    let report = of_schema.run(&|_| {}).await.unwrap();
    let server = begun.elapsed();
    let per_second = |took: Duration| report.events as f64 / took.as_secs_f64();
    println!("events/s of a rebuild: SQLite {:.0}, PostgreSQL {:.0}", per_second(plain), per_second(server));
    let sqlite = SqliteStore::open(&path, &SqliteConfig::default()).await.unwrap();
    assert_eq!(hash(&sqlite).await, hash(&*schema.store().await).await);
    assert!(per_second(server) > 1_000.0, "a rebuild takes too long");
}
