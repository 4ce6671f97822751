//! What every adapter of [`Leases`] must do, clause by clause.
//!
//! **Invariant:** a clause uses the port only, and lets leases run out by what the adapter's tests hand in: no clause
//! waits for time to pass.

#![expect(clippy::missing_panics_doc, reason = "a clause panics when the adapter breaks it: that is its use")]

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::lease::{Lease, LeaseError, Leases};

/// Long enough for none to run out by itself.
const LONG: Duration = Duration::from_secs(3600);

/// Makes the lease with a name run out.
type RunOut = Box<dyn Fn(String) -> BoxFuture<'static, ()> + Send + Sync>;

/// Leases as two processes have them.
pub struct LeasesUnderTest {
    one: Arc<dyn Leases>,
    other: Arc<dyn Leases>,
    run_out: RunOut,
    /// A folder, a server: dropped last.
    _keep: Box<dyn Any + Send>,
}

impl LeasesUnderTest {
    /// Leases of two processes; `run_out` makes what `one` holds run out: its time is over, or, where time plays no
    /// part, its process ends.
    #[must_use]
    pub fn new(
        one: Arc<dyn Leases>,
        other: Arc<dyn Leases>,
        keep: impl Any + Send,
        run_out: impl Fn(String) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        Self { one, other, run_out: Box::new(run_out), _keep: Box::new(keep) }
    }
}

async fn take(leases: &Arc<dyn Leases>, name: &str, holder: &str) -> Lease {
    leases.acquire(name, holder, LONG).await.expect("leases can be asked").expect("the name is free")
}

/// Of many who ask at once one gets it, and until it lets go nobody else does.
pub async fn a_name_has_one_holder_at_a_time(test: LeasesUnderTest) {
    let asked = (0..16).map(|n| {
        let leases = Arc::clone(if n % 2 == 0 { &test.one } else { &test.other });
        tokio::spawn(async move { leases.acquire("relay", &format!("holder-{n}"), LONG).await.expect("asked") })
    });
    let got: Vec<Lease> =
        futures::future::join_all(asked).await.into_iter().filter_map(|lease| lease.expect("ran")).collect();
    assert_eq!(got.len(), 1);
    for leases in [&test.one, &test.other] {
        assert_eq!(leases.acquire("relay", "late", LONG).await, Ok(None));
        let holder = leases.holder_of("relay").await.expect("asked").expect("held");
        assert_eq!((&holder.holder, holder.term), (&got[0].holder, got[0].term));
    }
}

/// Whoever holds it and asks again has the same lease.
pub async fn asking_again_gives_the_same_term(test: LeasesUnderTest) {
    let first = take(&test.one, "relay", "a").await;
    let again = take(&test.one, "relay", "a").await;
    assert_eq!((again.term, &again.holder), (first.term, &first.holder));
    assert!(again.expires >= first.expires);
}

/// A lease that ran out is taken by the next, with a higher term, and no more renewed.
pub async fn a_lease_that_ran_out_is_taken_over_and_not_renewed(test: LeasesUnderTest) {
    let first = take(&test.one, "relay", "a").await;
    assert_eq!(test.other.acquire("relay", "b", LONG).await, Ok(None));
    (test.run_out)("relay".into()).await;
    assert_eq!(test.other.holder_of("relay").await, Ok(None));
    let second = take(&test.other, "relay", "b").await;
    assert!(second.term > first.term);
    assert_eq!(test.one.renew(&first, LONG).await, Ok(None));
    test.one.release(&first).await.expect("releasing what another holds does nothing");
    let holder = test.one.holder_of("relay").await.expect("asked").expect("held");
    assert_eq!((holder.holder, holder.term), (second.holder, second.term));
}

/// Whoever lost it and takes it again has another term: it may have acted in between, and others too.
pub async fn the_same_holder_gets_a_higher_term_after_a_lapse(test: LeasesUnderTest) {
    let mut terms = HashSet::new();
    for _ in 0..3 {
        assert!(terms.insert(take(&test.one, "relay", "a").await.term));
        (test.run_out)("relay".into()).await;
    }
}

/// Renewing keeps the term.
pub async fn a_renewed_lease_keeps_its_term(test: LeasesUnderTest) {
    let first = take(&test.one, "relay", "a").await;
    let renewed = test.one.renew(&first, LONG * 2).await.expect("asked").expect("still held");
    assert_eq!((&renewed.name, &renewed.holder, renewed.term), (&first.name, &first.holder, first.term));
    assert!(renewed.expires >= first.expires);
    assert_eq!(test.other.acquire("relay", "b", LONG).await, Ok(None));
}

/// A release lets the next in at once; what was released is not renewed.
pub async fn a_release_lets_the_next_in_at_once(test: LeasesUnderTest) {
    let first = take(&test.one, "relay", "a").await;
    test.one.release(&first).await.expect("released");
    assert_eq!(test.one.renew(&first, LONG).await, Ok(None));
    assert_eq!(test.other.holder_of("relay").await, Ok(None));
    let second = take(&test.other, "relay", "b").await;
    assert!(second.term > first.term);
    test.other.release(&second).await.expect("released");
    assert!(take(&test.one, "relay", "a").await.term > second.term);
}

/// Names have nothing to do with each other.
pub async fn names_are_independent(test: LeasesUnderTest) {
    let relay = take(&test.one, "relay", "a").await;
    let notary = take(&test.other, "notary", "b").await;
    test.one.release(&relay).await.expect("released");
    assert_eq!(test.one.acquire("notary", "a", LONG).await, Ok(None));
    assert!(test.other.renew(&notary, LONG).await.expect("asked").is_some());
    assert_eq!(test.one.holder_of("relay").await, Ok(None));
    assert_eq!(test.one.holder_of("never").await, Ok(None));
}

/// What could not be a file name is refused everywhere.
pub async fn a_bad_name_is_refused(test: LeasesUnderTest) {
    let long = "x".repeat(65);
    for name in ["", ".", "..", "../x", "a/b", "a b", "имя", &long] {
        assert_eq!(test.one.acquire(name, "a", LONG).await, Err(LeaseError::Invalid), "{name:?}");
        assert_eq!(test.one.acquire("relay", name, LONG).await, Err(LeaseError::Invalid), "{name:?}");
        assert_eq!(test.one.holder_of(name).await, Err(LeaseError::Invalid), "{name:?}");
    }
}

/// Makes one test per clause of the contract of [`Leases`]. Takes an expression of a future of a fresh
/// [`LeasesUnderTest`].
#[macro_export]
macro_rules! lease_contract {
    ($fresh:expr) => {
        $crate::contract_tests! { lease_contract, $fresh;
            a_name_has_one_holder_at_a_time
            asking_again_gives_the_same_term
            a_lease_that_ran_out_is_taken_over_and_not_renewed
            the_same_holder_gets_a_higher_term_after_a_lapse
            a_renewed_lease_keeps_its_term
            a_release_lets_the_next_in_at_once
            names_are_independent
            a_bad_name_is_refused
        }
    };
}
