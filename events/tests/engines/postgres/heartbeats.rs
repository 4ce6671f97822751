//! Heartbeats in PostgreSQL.
//!
//! **Invariant:** ages are told by the clock of the server.

use std::sync::Arc;
use std::time::Duration;

use events::heartbeats::postgres::PostgresHeartbeats;
use events::heartbeats::{HeartbeatError, Heartbeats};
use events::testing::heartbeats_contract::HeartbeatsUnderTest;

use super::Schema;

async fn fresh() -> HeartbeatsUnderTest {
    let schema = Schema::fresh();
    let one = PostgresHeartbeats::open(schema.another()).await.expect("heartbeats open");
    let other = PostgresHeartbeats::open(schema.another()).await.expect("heartbeats open");
    HeartbeatsUnderTest { one: Arc::new(one), other: Arc::new(other), keep: Box::new(schema) }
}

events::heartbeats_contract!(fresh());

#[tokio::test]
async fn an_age_is_told_by_the_server_and_a_server_that_is_away_is_unavailable() {
    let schema = Schema::fresh();
    let heartbeats = PostgresHeartbeats::open(schema.another()).await.unwrap();
    let tenant = "acme".parse().unwrap();
    heartbeats.beat(&tenant, "olga").await.unwrap();
    let stranger = schema.stranger().await.client;
    stranger.batch_execute("UPDATE heartbeat SET seen_at = seen_at - interval '1 hour'").await.unwrap();
    let age = heartbeats.ages().await.unwrap()[&(tenant, "olga".into())];
    assert!(age >= Duration::from_secs(3600) && age < Duration::from_secs(3700), "{age:?}");
    stranger.batch_execute("DROP TABLE heartbeat").await.unwrap();
    assert!(matches!(heartbeats.ages().await, Err(HeartbeatError::Unavailable(_))));
}
