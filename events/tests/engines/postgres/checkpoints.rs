//! The contract of checkpoints.

use std::sync::Arc;

use events::checkpoints::CheckpointStore;
use events::checkpoints::postgres::PostgresCheckpoints;

use super::Schema;

events::checkpoint_store_contract!(async {
    let schema = Schema::fresh();
    let store = PostgresCheckpoints::open(schema.postgres.clone()).await.expect("the table is made");
    (Arc::new(store) as Arc<dyn CheckpointStore>, schema)
});
