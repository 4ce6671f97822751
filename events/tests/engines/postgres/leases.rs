//! Leases in PostgreSQL.
//!
//! **Invariant:** a lease runs out when the row says so, not when a test has waited long enough.

use std::sync::Arc;
use std::time::Duration;

use events::lease::postgres::PostgresLeases;
use events::lease::{LeaseError, Leases};
use events::testing::lease_contract::LeasesUnderTest;

use super::{Schema, until};

async fn fresh() -> LeasesUnderTest {
    let schema = Schema::fresh();
    let one = PostgresLeases::open(schema.another()).await.expect("leases open");
    let other = PostgresLeases::open(schema.another()).await.expect("leases open");
    let postgres = schema.another();
    LeasesUnderTest::new(Arc::new(one), Arc::new(other), schema, move |name| {
        let postgres = postgres.clone();
        Box::pin(async move {
            let run_out = "UPDATE leases SET expires = clock_timestamp() WHERE name = $1";
            let changed = postgres.client().await.unwrap().execute(run_out, &[&name]).await.unwrap();
            assert_eq!(changed, 1);
        })
    })
}

events::lease_contract!(fresh());

#[tokio::test]
async fn a_lease_runs_out_by_the_clock_of_the_server() {
    let schema = Schema::fresh();
    let leases = PostgresLeases::open(schema.another()).await.unwrap();
    let first = leases.acquire("relay", "a", Duration::from_millis(100)).await.unwrap().unwrap();
    let mut second = None;
    until("the lease runs out", async || {
        second = leases.acquire("relay", "b", Duration::from_secs(9)).await.unwrap();
        second.is_some()
    })
    .await;
    assert_eq!(second.map(|lease| lease.term), Some(first.term + 1));
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable() {
    let schema = Schema::fresh();
    let leases = PostgresLeases::open(schema.another()).await.unwrap();
    schema.stranger().await.client.batch_execute("DROP TABLE leases").await.unwrap();
    assert!(matches!(leases.holder_of("relay").await, Err(LeaseError::Unavailable(_))));
}
