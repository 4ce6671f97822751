//! The key store in PostgreSQL.
//!
//! **Invariant:** what one process destroyed, made or found out is looked at from another one.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use events::ids::ConversationId;
use events::seal::postgres::PostgresKeyStore;
use events::seal::{
    DataKey, KeyEncryptionKey, KeyId, KeyStore, KeyStoreError, KeySubject, OpenKeyStoreError, PoolConfig, StoredKey,
};
use events::testing::fresh_uuid;

use super::Schema;

/// Refills often, so that refills are tested.
const SMALL: PoolConfig = PoolConfig { low_water_keys: 64, batch_pages: 1 };

fn kek(byte: u8) -> KeyEncryptionKey {
    KeyEncryptionKey::parse(&STANDARD.encode([byte; 32])).unwrap()
}

async fn open(schema: &Schema) -> Arc<PostgresKeyStore> {
    Arc::new(PostgresKeyStore::open(schema.another(), kek(1), SMALL).await.expect("the key store opens"))
}

async fn fresh() -> (Arc<dyn KeyStore>, Schema) {
    let schema = Schema::fresh();
    (open(&schema).await, schema)
}

events::key_store_contract!(fresh());

fn conversation() -> KeySubject {
    KeySubject::Conversation(ConversationId::new(fresh_uuid()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_open_it_at_once_agree_on_the_id_secret() {
    let schema = Schema::fresh();
    let opened = futures::future::join_all((0..6).map(|_| open(&schema))).await;
    let mut secrets = HashSet::new();
    for store in &opened {
        secrets.insert(*store.id_secret().await.unwrap());
    }
    assert_eq!(secrets.len(), 1);
    assert_eq!(*open(&schema).await.id_secret().await.unwrap(), *secrets.iter().next().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_of_the_pool_is_given_out_by_two_processes() {
    let schema = Schema::fresh();
    let stores = futures::future::join_all((0..3).map(|_| open(&schema))).await;
    let takers = (0..12).map(|n| {
        let store = Arc::clone(&stores[n % 3]);
        tokio::spawn(async move {
            let mut keys = Vec::new();
            for _ in 0..200 {
                keys.push(store.key_for(KeySubject::Own).await.unwrap());
            }
            keys
        })
    });
    let keys: Vec<DataKey> =
        futures::future::join_all(takers).await.into_iter().flat_map(|keys| keys.unwrap()).collect();
    assert_eq!(keys.iter().map(|key| key.id).collect::<HashSet<_>>().len(), 2_400);
    assert_eq!(keys.iter().map(|key| *key.bytes).collect::<HashSet<_>>().len(), 2_400);
    let later = open(&schema).await;
    let ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
    let found = later.keys(&ids).await;
    assert!(keys.into_iter().zip(found).all(|(key, found)| found == Ok(StoredKey::Present(key))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_make_one_key_for_a_subject() {
    let schema = Schema::fresh();
    let (one, other) = tokio::join!(open(&schema), open(&schema));
    for _ in 0..20 {
        let subject = conversation();
        let (a, b) = tokio::join!(one.key_for(subject), other.key_for(subject));
        assert_eq!(a.unwrap(), b.unwrap());
    }
}

#[tokio::test]
async fn what_one_process_destroyed_is_gone_for_the_other() {
    let schema = Schema::fresh();
    let (one, other) = (open(&schema).await, open(&schema).await);
    let subject = conversation();
    let (key, own, kept) = (
        one.key_for(subject).await.unwrap(),
        one.key_for(KeySubject::Own).await.unwrap(),
        one.key_for(KeySubject::Own).await.unwrap(),
    );
    one.destroy(key.id).await.unwrap();
    // Two keys of one page, by two processes at once: neither destruction undoes the other.
    let third = one.key_for(KeySubject::Own).await.unwrap();
    let (a, b) = tokio::join!(one.destroy(own.id), other.destroy(third.id));
    assert_eq!((a, b), (Ok(()), Ok(())));
    assert_eq!(other.key(key.id).await, Ok(StoredKey::Destroyed));
    assert_eq!(other.key_for(subject).await, Err(KeyStoreError::Destroyed));
    let later = open(&schema).await;
    assert_eq!(
        later.keys(&[own.id, third.id, kept.id]).await,
        [Ok(StoredKey::Destroyed), Ok(StoredKey::Destroyed), Ok(StoredKey::Present(kept))]
    );
}

#[tokio::test]
async fn a_store_wrapped_by_another_key_is_refused_and_left_alone() {
    let schema = Schema::fresh();
    let store = open(&schema).await;
    let (key, secret) = (store.key_for(conversation()).await.unwrap(), store.id_secret().await.unwrap());
    let wrong = PostgresKeyStore::open(schema.another(), kek(2), SMALL).await.map(drop);
    assert_eq!(wrong, Err(OpenKeyStoreError::WrongKey));
    let again = open(&schema).await;
    assert_eq!(again.key(key.id).await, Ok(StoredKey::Present(key)));
    assert_eq!(again.id_secret().await.unwrap(), secret);
}

#[tokio::test]
async fn a_store_that_lost_its_check_or_its_secret_is_never_made_anew() {
    let schema = Schema::fresh();
    open(&schema).await.key_for(conversation()).await.unwrap();
    let stranger = schema.stranger().await;
    for lost in ["id_secret", "check"] {
        let delete = "DELETE FROM secret WHERE name = $1";
        assert_eq!(stranger.client.execute(delete, &[&lost]).await.unwrap(), 1);
        let opened = PostgresKeyStore::open(schema.another(), kek(1), SMALL).await.map(drop);
        assert!(matches!(opened, Err(OpenKeyStoreError::Corrupt(_))), "{lost}: {opened:?}");
    }
}

#[tokio::test]
async fn a_key_moved_to_another_row_is_corrupt() {
    let schema = Schema::fresh();
    let store = open(&schema).await;
    let (one, other) = (store.key_for(conversation()).await.unwrap(), store.key_for(conversation()).await.unwrap());
    let copy = "UPDATE subject_key SET wrapped = (SELECT wrapped FROM subject_key WHERE id = $1) WHERE id = $2";
    schema.stranger().await.client.execute(copy, &[&one.id.0, &other.id.0]).await.unwrap();
    assert!(matches!(store.key(other.id).await, Err(KeyStoreError::Corrupt(_))));
    assert_eq!(store.key(one.id).await, Ok(StoredKey::Present(one)));
}

#[tokio::test]
async fn a_failed_refill_is_told_and_the_pool_fills_again_afterwards() {
    let schema = Schema::fresh();
    let config = PoolConfig { low_water_keys: 0, batch_pages: 1 };
    let store = PostgresKeyStore::open(schema.another(), kek(1), config).await.unwrap();
    let stranger = schema.stranger().await;
    stranger.client.batch_execute("ALTER TABLE pool_page RENAME TO gone").await.unwrap();
    for _ in 0..2 {
        assert!(matches!(store.key_for(KeySubject::Own).await, Err(KeyStoreError::Unavailable(_))));
    }
    stranger.client.batch_execute("ALTER TABLE gone RENAME TO pool_page").await.unwrap();
    let keys = futures::future::join_all((0..600).map(|_| store.key_for(KeySubject::Own))).await;
    let ids: HashSet<KeyId> = keys.into_iter().map(|key| key.unwrap().id).collect();
    assert_eq!(ids.len(), 600);
}

#[tokio::test]
async fn no_key_stands_in_the_tables_in_clear() {
    let schema = Schema::fresh();
    let store = open(&schema).await;
    let keys = [store.key_for(conversation()).await.unwrap(), store.key_for(KeySubject::Own).await.unwrap()];
    let rows = "SELECT wrapped FROM subject_key UNION ALL SELECT wrapped FROM pool_page
                UNION ALL SELECT wrapped FROM secret";
    for row in schema.stranger().await.client.query(rows, &[]).await.unwrap() {
        let wrapped: Vec<u8> = row.get(0);
        assert!(keys.iter().all(|key| !wrapped.windows(32).any(|window| window == key.bytes.as_slice())));
    }
}
