//! Blobs in PostgreSQL.
//!
//! **Invariant:** damage is made by hand in the table, as a disk would make it.

use std::sync::Arc;

use bytes::Bytes;
use events::blobs::postgres::PostgresBlobs;
use events::blobs::{BlobError, Blobs};

use super::Schema;

async fn fresh() -> (Arc<dyn Blobs>, Schema) {
    let schema = Schema::fresh();
    let blobs = PostgresBlobs::open(schema.another()).await.expect("blobs open");
    (Arc::new(blobs), schema)
}

events::blobs_contract!(fresh());

#[tokio::test]
async fn a_damaged_blob_is_told_and_healed_by_the_next_put() {
    let (blobs, schema) = fresh().await;
    let tenant = "acme".parse().unwrap();
    let hash = blobs.put(&tenant, Bytes::from_static(b"sealed")).await.unwrap();
    schema.stranger().await.client.batch_execute("UPDATE blobs SET sealed = 'sealeD'").await.unwrap();
    assert_eq!(blobs.get(&tenant, &hash).await, Err(BlobError::Corrupt(hash.clone())));
    blobs.put(&tenant, Bytes::from_static(b"sealed")).await.unwrap();
    assert_eq!(blobs.get(&tenant, &hash).await, Ok(Bytes::from_static(b"sealed")));
}

#[tokio::test]
async fn a_server_that_does_not_take_it_is_unavailable() {
    let (blobs, schema) = fresh().await;
    schema.stranger().await.client.batch_execute("DROP TABLE blobs").await.unwrap();
    let put = blobs.put(&"acme".parse().unwrap(), Bytes::from_static(b"sealed")).await;
    assert!(matches!(put, Err(BlobError::Unavailable(_))), "{put:?}");
}
