//! Drafts in PostgreSQL.
//!
//! **Invariant:** a draft ends when the row says so, not when a test has waited long enough.

use std::sync::Arc;

use events::drafts::postgres::PostgresDrafts;
use events::testing::drafts_contract::DraftsUnderTest;

use super::Schema;

async fn fresh() -> DraftsUnderTest {
    let schema = Schema::fresh();
    let one = PostgresDrafts::open(schema.another()).await.expect("drafts open");
    let other = PostgresDrafts::open(schema.another()).await.expect("drafts open");
    let postgres = schema.another();
    DraftsUnderTest::new(Arc::new(one), Arc::new(other), schema, move || {
        let postgres = postgres.clone();
        Box::pin(async move {
            let run_out = "UPDATE draft SET expires = clock_timestamp()";
            postgres.client().await.unwrap().execute(run_out, &[]).await.unwrap();
        })
    })
}

events::drafts_contract!(fresh());
