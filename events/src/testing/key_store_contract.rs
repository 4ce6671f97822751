//! What every adapter of [`KeyStore`] must do, clause by clause.
//!
//! **Invariant:** a clause uses the port only, so that the same text holds for every adapter.

#![expect(clippy::missing_panics_doc, reason = "a clause panics when the adapter breaks it: that is its use")]

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use crate::ids::{AccountId, ContactId, ConversationId, Occupancy};
use crate::seal::{DataKey, KeyId, KeyStore, KeyStoreError, KeySubject, StoredKey};

/// Keys taken from the pool in one clause: more than any adapter keeps in one page.
const MANY: usize = 1_000;

fn occupancy(contact: u128, number: u32) -> KeySubject {
    KeySubject::Occupancy(Occupancy { contact: ContactId::new(Uuid::from_u128(contact)), number })
}

async fn present(keys: &Arc<dyn KeyStore>, key: &DataKey) {
    assert_eq!(keys.key(key.id).await, Ok(StoredKey::Present(key.clone())));
}

/// A subject has one key, however often and however much at once it is asked for.
pub async fn a_subject_has_one_key(keys: Arc<dyn KeyStore>) {
    let asked = (0..32).map(|_| {
        let keys = Arc::clone(&keys);
        tokio::spawn(async move { keys.key_for(occupancy(1, 1)).await.expect("a key") })
    });
    let got: Vec<_> = futures::future::join_all(asked).await.into_iter().map(|key| key.expect("ran")).collect();
    assert!(got.iter().all(|key| *key == got[0]));
    present(&keys, &got[0]).await;
}

/// Different subjects have different keys: another occupancy, another kind with the same id.
pub async fn subjects_do_not_share_keys(keys: Arc<dyn KeyStore>) {
    let uuid = Uuid::from_u128(1);
    let subjects = [
        occupancy(1, 1),
        occupancy(1, 2),
        occupancy(2, 1),
        KeySubject::Conversation(ConversationId::new(uuid)),
        KeySubject::Account(AccountId::new(uuid)),
    ];
    let (mut ids, mut bytes) = (HashSet::new(), HashSet::new());
    for subject in subjects {
        let key = keys.key_for(subject).await.expect("a key");
        assert_ne!(*key.bytes, [0; 32]);
        assert!(ids.insert(key.id) && bytes.insert(*key.bytes), "{subject:?}");
    }
}

/// Every key from the pool is given out once, also to many at once, and can be read back by its id.
pub async fn a_key_of_its_own_is_given_out_once(keys: Arc<dyn KeyStore>) {
    let asked = (0..4).map(|_| {
        let keys = Arc::clone(&keys);
        tokio::spawn(async move {
            let mut got = Vec::new();
            for _ in 0..MANY / 4 {
                got.push(keys.key_for(KeySubject::Own).await.expect("a key"));
            }
            got
        })
    });
    let got: Vec<DataKey> =
        futures::future::join_all(asked).await.into_iter().flat_map(|keys| keys.expect("ran")).collect();
    let ids: HashSet<KeyId> = got.iter().map(|key| key.id).collect();
    let bytes: HashSet<[u8; 32]> = got.iter().map(|key| *key.bytes).collect();
    assert_eq!((ids.len(), bytes.len()), (MANY, MANY));
    for key in got.iter().step_by(97) {
        present(&keys, key).await;
    }
}

/// A destroyed subject key is gone for ever, and its subject gets no other.
pub async fn a_destroyed_subject_key_never_comes_back(keys: Arc<dyn KeyStore>) {
    let (gone, kept) = (keys.key_for(occupancy(1, 1)).await.expect("a key"), keys.key_for(occupancy(1, 2)).await);
    keys.destroy(gone.id).await.expect("destroyed");
    assert_eq!(keys.key(gone.id).await, Ok(StoredKey::Destroyed));
    assert_eq!(keys.key_for(occupancy(1, 1)).await, Err(KeyStoreError::Destroyed));
    assert_eq!(keys.key_for(occupancy(1, 2)).await, kept, "the next occupancy keeps its key");
}

/// A destroyed key of the pool is gone for ever; its neighbours are not.
pub async fn a_destroyed_key_of_the_pool_takes_no_other_along(keys: Arc<dyn KeyStore>) {
    let mut got = Vec::new();
    for _ in 0..10 {
        got.push(keys.key_for(KeySubject::Own).await.expect("a key"));
    }
    present(&keys, &got[4]).await;
    keys.destroy(got[4].id).await.expect("destroyed");
    keys.destroy(got[7].id).await.expect("destroyed");
    for (index, key) in got.iter().enumerate() {
        match index {
            4 | 7 => assert_eq!(keys.key(key.id).await, Ok(StoredKey::Destroyed)),
            _ => present(&keys, key).await,
        }
    }
}

/// Destroying a key again does nothing.
pub async fn destroying_again_does_nothing(keys: Arc<dyn KeyStore>) {
    for subject in [occupancy(1, 1), KeySubject::Own] {
        let key = keys.key_for(subject).await.expect("a key");
        for _ in 0..2 {
            assert_eq!(keys.destroy(key.id).await, Ok(()));
            assert_eq!(keys.key(key.id).await, Ok(StoredKey::Destroyed));
        }
    }
}

/// A key that the store never had is an error, not an erasure: a wrong store must not look like an erased person.
pub async fn an_unknown_key_is_an_error(keys: Arc<dyn KeyStore>) {
    let id = KeyId(Uuid::from_u128(0xdead_beef));
    assert!(matches!(keys.key(id).await, Err(KeyStoreError::Corrupt(_))));
    assert!(matches!(keys.destroy(id).await, Err(KeyStoreError::Corrupt(_))));
}

/// Many keys asked for together come in the order of their ids, each as if it were asked for alone: one that was
/// destroyed, or that the store never had, takes no other along.
pub async fn many_keys_come_in_their_order(keys: Arc<dyn KeyStore>) {
    let mut wanted = Vec::new();
    for number in 1..=3 {
        wanted.push(keys.key_for(occupancy(number, 1)).await.expect("a key").id);
        wanted.push(keys.key_for(KeySubject::Own).await.expect("a key").id);
    }
    keys.destroy(wanted[2]).await.expect("destroyed");
    keys.destroy(wanted[3]).await.expect("destroyed");
    wanted.insert(1, KeyId(Uuid::from_u128(0xdead_beef)));
    wanted.push(wanted[0]);
    let mut alone = Vec::new();
    for id in &wanted {
        alone.push(keys.key(*id).await);
    }
    assert_eq!(keys.keys(&wanted).await, alone);
    assert!(matches!(alone[1], Err(KeyStoreError::Corrupt(_))));
    assert_eq!(alone.iter().filter(|key| matches!(key, Ok(StoredKey::Present(_)))).count(), 5);
    assert_eq!(keys.keys(&[]).await, []);
}

/// The secret of the ids never changes.
pub async fn the_id_secret_never_changes(keys: Arc<dyn KeyStore>) {
    let secret = keys.id_secret().await.expect("a secret");
    assert_ne!(*secret, [0; 32]);
    assert_eq!(keys.id_secret().await, Ok(secret));
}

/// Runs every clause of the contract of [`KeyStore`]. Takes an expression of a future that gives
/// `(Arc<dyn KeyStore>, guard)`: a fresh store, and what must live as long as it does.
#[macro_export]
macro_rules! key_store_contract {
    ($fresh:expr) => {
        $crate::key_store_contract!(@each $fresh;
            a_subject_has_one_key,
            subjects_do_not_share_keys,
            a_key_of_its_own_is_given_out_once,
            a_destroyed_subject_key_never_comes_back,
            a_destroyed_key_of_the_pool_takes_no_other_along,
            destroying_again_does_nothing,
            an_unknown_key_is_an_error,
            many_keys_come_in_their_order,
            the_id_secret_never_changes
        );
    };
    (@each $fresh:expr; $($clause:ident),*) => {$(
        #[tokio::test]
        async fn $clause() {
            let (keys, _kept) = $fresh.await;
            $crate::testing::key_store_contract::$clause(keys).await;
        }
    )*};
}
