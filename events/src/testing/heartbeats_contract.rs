//! What every adapter of [`Heartbeats`] must do, clause by clause.
//!
//! **Invariant:** a clause uses the port only and waits for nothing.
#![expect(clippy::missing_panics_doc, reason = "a clause panics when the adapter breaks it: that is its use")]

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::heartbeats::Heartbeats;
use crate::ids::TenantId;

/// Heartbeats as two processes have them.
pub struct HeartbeatsUnderTest {
    /// Of one process.
    pub one: Arc<dyn Heartbeats>,
    /// Of another, on the same engine.
    pub other: Arc<dyn Heartbeats>,
    /// A server: dropped last.
    pub keep: Box<dyn Any + Send>,
}

fn tenant(name: &str) -> TenantId {
    name.parse().expect("made up to fit")
}

/// What one process notes, the other sees; nobody else's life is noted by it.
pub async fn a_sign_of_life_is_seen_everywhere_and_is_one_persons(test: HeartbeatsUnderTest) {
    assert_eq!(test.other.ages().await, Ok([].into()));
    test.one.beat(&tenant("acme"), "olga").await.expect("noted");
    let ages = test.other.ages().await.expect("read");
    let age = ages.get(&(tenant("acme"), "olga".into())).expect("olga was seen");
    assert!(*age < Duration::from_secs(60), "{age:?}");
    assert_eq!(ages.len(), 1);
    test.other.beat(&tenant("globex"), "olga").await.expect("noted");
    let ages = test.one.ages().await.expect("read");
    assert!(ages.contains_key(&(tenant("globex"), "olga".into())));
    assert_eq!(ages.len(), 2);
}

/// The last sign counts.
pub async fn a_later_sign_takes_the_place_of_the_one_before(test: HeartbeatsUnderTest) {
    for _ in 0..3 {
        test.one.beat(&tenant("acme"), "olga").await.expect("noted");
    }
    assert_eq!(test.one.ages().await.expect("read").len(), 1);
}

/// Runs the contract on the heartbeats that the expression makes.
#[macro_export]
macro_rules! heartbeats_contract {
    ($fresh:expr) => {
        $crate::contract_tests! { heartbeats_contract, $fresh;
            a_sign_of_life_is_seen_everywhere_and_is_one_persons
            a_later_sign_takes_the_place_of_the_one_before
        }
    };
}
