//! Tests of the embedded key store beyond the contract.
//!
//! **Invariant:** each test has a store of its own in a folder of its own.

use std::collections::HashSet;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::Connection;
use uuid::Uuid;

use super::*;
use crate::ids::{ContactId, Occupancy};

const SMALL: PoolConfig = PoolConfig { low_water_keys: 300, batch_pages: 2 };

fn kek(byte: u8) -> KeyEncryptionKey {
    KeyEncryptionKey::parse(&STANDARD.encode([byte; 32])).unwrap()
}

fn person(contact: u128) -> KeySubject {
    KeySubject::Occupancy(Occupancy { contact: ContactId::new(Uuid::from_u128(contact)), number: 1 })
}

async fn open(folder: &Path) -> EmbeddedKeyStore {
    EmbeddedKeyStore::open(folder.join("keys.db"), kek(1), SMALL).await.unwrap()
}

async fn fresh() -> (Arc<dyn KeyStore>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(open(folder.path()).await), folder)
}

crate::key_store_contract!(fresh());

/// Every byte that stands in the store's files.
fn all_bytes(folder: &Path) -> Vec<u8> {
    std::fs::read_dir(folder).unwrap().flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_wrong_key_encryption_key_is_refused_and_the_right_one_still_opens() {
    let folder = tempfile::tempdir().unwrap();
    let key = open(folder.path()).await.key_for(person(1)).await.unwrap();
    let wrong = EmbeddedKeyStore::open(folder.path().join("keys.db"), kek(2), SMALL).await;
    assert!(matches!(wrong, Err(OpenKeyStoreError::WrongKey)));
    assert_eq!(open(folder.path()).await.key_for(person(1)).await, Ok(key));
}

#[tokio::test]
async fn a_store_of_a_newer_release_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).await);
    Connection::open(folder.path().join("keys.db")).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let newer = EmbeddedKeyStore::open(folder.path().join("keys.db"), kek(1), SMALL).await;
    assert!(matches!(newer, Err(OpenKeyStoreError::Format(2))));
}

#[tokio::test]
async fn everything_given_out_survives_a_restart_and_nothing_is_given_out_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (mut given, mut ids) = (Vec::new(), HashSet::new());
    let mut secrets = HashSet::new();
    for _ in 0..3 {
        let store = open(folder.path()).await;
        secrets.insert(*store.id_secret().await.unwrap());
        given.push(store.key_for(person(given.len() as u128)).await.unwrap());
        for _ in 0..600 {
            let key = store.key_for(KeySubject::Own).await.unwrap();
            assert!(ids.insert(key.id), "given out twice");
            given.push(key);
        }
    }
    assert_eq!(secrets.len(), 1);
    let store = open(folder.path()).await;
    for key in given {
        assert_eq!(store.key(key.id).await, Ok(StoredKey::Present(key)));
    }
}

#[tokio::test]
async fn two_processes_give_out_different_keys() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(folder.path()).await, open(folder.path()).await);
    assert_eq!(one.key_for(person(1)).await, other.key_for(person(1)).await);
    let mut ids = HashSet::new();
    for _ in 0..600 {
        for store in [&one, &other] {
            assert!(ids.insert(store.key_for(KeySubject::Own).await.unwrap().id));
        }
    }
}

#[tokio::test]
async fn destruction_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let (subject, own) = (store.key_for(person(1)).await.unwrap(), store.key_for(KeySubject::Own).await.unwrap());
    let neighbour = store.key_for(KeySubject::Own).await.unwrap();
    store.destroy(subject.id).await.unwrap();
    store.destroy(own.id).await.unwrap();
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(store.key(subject.id).await, Ok(StoredKey::Destroyed));
    assert_eq!(store.key_for(person(1)).await, Err(KeyStoreError::Destroyed));
    assert_eq!(store.key(own.id).await, Ok(StoredKey::Destroyed));
    assert_eq!(store.key(neighbour.id).await, Ok(StoredKey::Present(neighbour)));
}

#[tokio::test]
async fn no_file_holds_a_key_in_clear_or_the_box_of_a_destroyed_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let (subject, own) = (store.key_for(person(1)).await.unwrap(), store.key_for(KeySubject::Own).await.unwrap());
    let database = Connection::open(folder.path().join("keys.db")).unwrap();
    let boxed: Vec<u8> = database.query_row("SELECT wrapped FROM subject_key", (), |row| row.get(0)).unwrap();
    let Some(Place::Pool(page, _)) = key_id::place(own.id) else { panic!("a key of the pool") };
    let query = "SELECT wrapped FROM pool_page WHERE run = ?1 AND page = ?2";
    let paged: Vec<u8> = database.query_row(query, [page.run, page.page], |row| row.get(0)).unwrap();
    drop(database);
    let before = all_bytes(folder.path());
    assert!(contains(&before, &boxed), "a key is on disk, wrapped, when it is given out");
    assert!(contains(&before, &paged[..200]), "and so is its page");
    store.destroy(subject.id).await.unwrap();
    store.destroy(own.id).await.unwrap();
    let after = all_bytes(folder.path());
    for gone in [&subject.bytes[..], &own.bytes[..], &boxed[..], &paged[..200]] {
        assert!(!contains(&after, gone));
    }
    assert!(!contains(&before, &subject.bytes[..]) && !contains(&before, &own.bytes[..]));
}

#[tokio::test]
async fn a_box_moved_to_another_row_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let (one, other) = (store.key_for(person(1)).await.unwrap(), store.key_for(person(2)).await.unwrap());
    let database = Connection::open(folder.path().join("keys.db")).unwrap();
    let copy = "UPDATE subject_key SET wrapped = (SELECT wrapped FROM subject_key WHERE id = ?1) WHERE id = ?2";
    database.execute(copy, [one.id.0.as_bytes().as_slice(), other.id.0.as_bytes().as_slice()]).unwrap();
    assert!(matches!(store.key(other.id).await, Err(KeyStoreError::Corrupt(_))));
    assert_eq!(store.key(one.id).await, Ok(StoredKey::Present(one)));
}

#[tokio::test]
async fn a_failed_commit_is_told_and_the_store_works_again_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let config = PoolConfig { low_water_keys: 0, batch_pages: 1 };
    let store = EmbeddedKeyStore::open(folder.path().join("keys.db"), kek(1), config).await.unwrap();
    let database = Connection::open(folder.path().join("keys.db")).unwrap();
    for table in ["subject_key", "pool_page"] {
        let fail = format!(
            "CREATE TRIGGER fail_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ROLLBACK, 'disk full'); END"
        );
        database.execute_batch(&fail).unwrap();
    }
    assert!(matches!(store.key_for(person(1)).await, Err(KeyStoreError::Unavailable(_))));
    assert!(matches!(store.key_for(KeySubject::Own).await, Err(KeyStoreError::Unavailable(_))));
    assert!(matches!(store.key_for(KeySubject::Own).await, Err(KeyStoreError::Unavailable(_))));
    database.execute_batch("DROP TRIGGER fail_subject_key; DROP TRIGGER fail_pool_page").unwrap();
    let (subject, own) = (store.key_for(person(1)).await.unwrap(), store.key_for(KeySubject::Own).await.unwrap());
    assert_eq!(store.key(subject.id).await, Ok(StoredKey::Present(subject)));
    assert_eq!(store.key(own.id).await, Ok(StoredKey::Present(own)));
}

#[tokio::test]
async fn an_empty_pool_waits_for_its_refill() {
    let folder = tempfile::tempdir().unwrap();
    let config = PoolConfig { low_water_keys: 0, batch_pages: 1 };
    let store = EmbeddedKeyStore::open(folder.path().join("keys.db"), kek(1), config).await.unwrap();
    let keys = futures::future::join_all((0..1_000).map(|_| store.key_for(KeySubject::Own))).await;
    let ids: HashSet<KeyId> = keys.into_iter().map(|key| key.unwrap().id).collect();
    assert_eq!(ids.len(), 1_000);
}

#[tokio::test]
async fn taking_from_a_full_pool_commits_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = PoolConfig { low_water_keys: 1, batch_pages: 40 };
    let store = EmbeddedKeyStore::open(folder.path().join("keys.db"), kek(1), config).await.unwrap();
    store.key_for(KeySubject::Own).await.unwrap();
    let database = Connection::open(folder.path().join("keys.db")).unwrap();
    let version = || database.query_row("PRAGMA data_version", (), |row| row.get::<_, i64>(0)).unwrap();
    let before = version();
    for _ in 0..10_000 {
        store.key_for(KeySubject::Own).await.unwrap();
    }
    assert_eq!(version(), before, "another connection committed");
}

#[tokio::test]
async fn a_taker_who_gives_up_while_waiting_does_not_stop_the_refills() {
    let folder = tempfile::tempdir().unwrap();
    let config = PoolConfig { low_water_keys: 0, batch_pages: 1 };
    let store = EmbeddedKeyStore::open(folder.path().join("keys.db"), kek(1), config).await.unwrap();
    for _ in 0..3 {
        let mut asked = store.key_for(KeySubject::Own);
        assert!(futures::poll!(&mut asked).is_pending(), "the pool is empty");
        drop(asked);
        for _ in 0..256 {
            store.key_for(KeySubject::Own).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt_not_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.db"), [b'x'; 8192]).unwrap();
    let opened = EmbeddedKeyStore::open(folder.path().join("keys.db"), kek(1), SMALL).await;
    assert!(matches!(opened, Err(OpenKeyStoreError::Corrupt(_))));
}

#[test]
fn a_page_read_before_a_destruction_is_not_kept_after_it() {
    let (pages, id) = (Pages::new(), key_id::PageId { run: 1, page: 1 });
    let page = Arc::new(Zeroizing::new(vec![7; crate::seal::stored::PAGE_BYTES]));
    let before = pages.destructions();
    pages.keep(id, Arc::clone(&page), before);
    assert!(pages.get(id).is_some());
    pages.forget(&[id]);
    pages.keep(id, Arc::clone(&page), before);
    assert!(pages.get(id).is_none());
    pages.keep(id, page, pages.destructions());
    assert!(pages.get(id).is_some());
}
