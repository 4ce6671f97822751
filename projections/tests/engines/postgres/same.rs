//! The same events in SQLite and PostgreSQL: the same rows, and the same answers to every read.
//!
//! **Invariant:** histories are those of the property test of SQLite: any cross-stream order, each event delivered one to
//! three times, in commits of any size.

use std::sync::Arc;

use events::clock::FixedClock;
use events::codec::Codec;
use events::envelope::Position;
use events::log::{EventLog, Filter};
use events::testing::MemoryLog;
use projections::Views;
use projections::store::ReadStore;
use projections::testing::history::{history, shuffled};
use projections::testing::surface::{self, Surface};
use projections::testing::{MemoryKeys, Story, append, codec, deliver, hash, second};
use proptest::prelude::*;

use super::Schema;

async fn surface(store: Arc<dyn ReadStore>, log: &Arc<dyn EventLog>, codec: &Codec) -> Surface {
    surface::read(&Views::new(store), log, codec).await
}

/// A log with the story, whose places and times the story then has.
async fn log(story: &mut Story) -> (Arc<dyn EventLog>, Codec) {
    let keys = Arc::new(MemoryKeys::default());
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(Arc::new(FixedClock::new(second(0)))));
    append(story, &*log, &codec(&keys)).await;
    let recorded = log.read_all(Position::START, &Filter::default(), 10_000).await.unwrap().0;
    for (decoded, recorded) in story.events.iter_mut().zip(recorded) {
        decoded.recorded.position = recorded.position;
    }
    (log, codec(&keys))
}

async fn check(steps: &[(u8, u8, u8)], choices: &[u16], batch: usize) {
    let mut story = history(steps);
    let (log, codec) = log(&mut story).await;
    let plain = story.store().await;
    let schema = Schema::fresh();
    let mixed = schema.store().await;
    for deliveries in shuffled(&story.events, choices).chunks(batch) {
        deliver(&*mixed, deliveries.iter().copied()).await;
    }
    assert_eq!(hash(&*plain).await, hash(&*mixed).await, "state hashes");
    let (plain, mixed) = (surface(plain, &log, &codec).await, surface(mixed, &log, &codec).await);
    assert_eq!(plain.lines().len(), mixed.lines().len());
    for (plain, mixed) in plain.lines().iter().zip(mixed.lines()) {
        assert_eq!(plain, mixed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn any_interleaving_delivered_one_to_three_times_reads_the_same_in_both(
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..120),
        choices in prop::collection::vec(any::<u16>(), 64..256),
        batch in 1_usize..60,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&steps, &choices, batch));
    }
}

#[tokio::test]
async fn a_history_with_everything_in_it_reads_the_same_in_both() {
    let steps: Vec<(u8, u8, u8)> = (0..234).map(|step| (step, step / 3, step / 7)).collect();
    check(&steps, &[0, 1, 2, 3, 5, 8, 13, 21], 50).await;
}
