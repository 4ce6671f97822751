//! Design invariant 7: the same events in any cross-stream order, each delivered one to three times, give the same
//! rows.
//!
//! **Invariant:** first deliveries keep the order of their stream; everything else is shuffled.

use proptest::prelude::*;

use crate::store::sqlite::SqliteStore;
use crate::testing::history::{history, shuffled};
use crate::testing::{deliver, hash};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_interleaving_of_streams_delivered_one_to_three_times_gives_the_same_rows(
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..120),
        choices in prop::collection::vec(any::<u16>(), 64..256),
        batch in 1_usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (plain, mixed) = runtime.block_on(async {
            let story = history(&steps);
            let plain = story.store().await;
            let mixed = SqliteStore::in_memory().await.unwrap();
            for deliveries in shuffled(&story.events, &choices).chunks(batch) {
                deliver(&mixed, deliveries.iter().copied()).await;
            }
            (hash(&*plain).await, hash(&mixed).await)
        });
        prop_assert_eq!(plain, mixed);
    }
}

#[tokio::test]
async fn the_same_history_twice_is_the_same_as_once_and_another_history_is_not() {
    let steps: Vec<(u8, u8, u8)> = (0..117).map(|step| (step, step / 3, step / 7)).collect();
    let story = history(&steps);
    let once = story.store().await;
    let twice = story.store().await;
    deliver(&*twice, &story.events).await;
    assert_eq!(hash(&*once).await, hash(&*twice).await);
    let shorter = history(&steps[..116]).store().await;
    assert_ne!(hash(&*once).await, hash(&*shorter).await);
}
