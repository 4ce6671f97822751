//! What every adapter of [`Blobs`] must do, clause by clause.
//!
//! **Invariant:** a clause uses the port only, so that the same text holds for every adapter.

#![expect(clippy::missing_panics_doc, reason = "a clause panics when the adapter breaks it: that is its use")]

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::blobs::{BlobError, Blobs, get_opened, put_sealed};
use crate::ids::{AccountId, TenantId};
use crate::seal::{KeySubject, Sealer};
use crate::testing::memory_keys::MemoryKeyStore;

fn tenant(name: &str) -> TenantId {
    name.parse().expect("a literal slug")
}

/// What is put can be got back, under the BLAKE3 hash of its bytes.
pub async fn what_is_put_can_be_got(blobs: Arc<dyn Blobs>) {
    for bytes in [Bytes::new(), Bytes::from_static(b"sealed"), Bytes::from(vec![7; 3_000_000])] {
        let hash = blobs.put(&tenant("acme"), bytes.clone()).await.expect("stored");
        assert_eq!(hash, blake3::hash(&bytes).to_hex().to_string());
        assert_eq!(blobs.get(&tenant("acme"), &hash).await, Ok(bytes));
    }
}

/// The same bytes can be put again, also at once, and are one blob: one removal removes them.
pub async fn the_same_bytes_are_one_blob(blobs: Arc<dyn Blobs>) {
    let bytes = Bytes::from_static(b"the same");
    let acme = tenant("acme");
    let puts = futures::future::join_all((0..8).map(|_| blobs.put(&acme, bytes.clone()))).await;
    let hash = blobs.put(&acme, bytes.clone()).await.expect("stored again");
    assert!(puts.iter().all(|put| put.as_ref() == Ok(&hash)));
    blobs.remove(&acme, &hash).await.expect("removed");
    assert_eq!(blobs.get(&acme, &hash).await, Err(BlobError::NotFound(hash)));
}

/// A tenant cannot get or remove what another put.
pub async fn tenants_do_not_share_blobs(blobs: Arc<dyn Blobs>) {
    let bytes = Bytes::from_static(b"of acme");
    let hash = blobs.put(&tenant("acme"), bytes.clone()).await.expect("stored");
    assert_eq!(blobs.get(&tenant("other"), &hash).await, Err(BlobError::NotFound(hash.clone())));
    blobs.remove(&tenant("other"), &hash).await.expect("nothing to remove");
    assert_eq!(blobs.get(&tenant("acme"), &hash).await, Ok(bytes));
}

/// What is not there is not found, and removing it does nothing.
pub async fn what_is_not_there_is_not_found(blobs: Arc<dyn Blobs>) {
    let hash = "0".repeat(64);
    assert_eq!(blobs.get(&tenant("acme"), &hash).await, Err(BlobError::NotFound(hash.clone())));
    assert_eq!(blobs.remove(&tenant("acme"), &hash).await, Ok(()));
}

/// A text that is no hash finds nothing, whatever it says.
pub async fn a_text_that_is_no_hash_finds_nothing(blobs: Arc<dyn Blobs>) {
    let hash = blobs.put(&tenant("acme"), Bytes::from_static(b"sealed")).await.expect("stored");
    let upwards = format!("../{}/{hash}", &hash[..2]);
    let shouted = hash.to_uppercase();
    let padded = format!("{hash}/");
    for text in ["", ".", "..", "/etc/passwd", "../../../../etc/passwd", &upwards, &shouted, &padded, "\0", "хэш"] {
        if text == hash {
            continue;
        }
        let got = blobs.get(&tenant("acme"), text).await;
        assert!(matches!(got, Err(BlobError::NotFound(_))), "{text:?}");
        assert_eq!(blobs.remove(&tenant("acme"), text).await, Ok(()), "{text:?}");
    }
    assert!(blobs.get(&tenant("acme"), &hash).await.is_ok(), "still there");
}

/// What is sealed into a blob opens again, and is erased with its key.
pub async fn a_sealed_blob_opens_until_its_key_is_destroyed(blobs: Arc<dyn Blobs>) {
    let sealer = Sealer::new(Arc::new(MemoryKeyStore::default()));
    let acme = tenant("acme");
    let subject = KeySubject::Account(AccountId::new(Uuid::from_u128(1)));
    let clear = b"a picture of somebody".as_slice();
    let blob = put_sealed(&*blobs, &sealer, &acme, subject, clear, None).await.expect("stored");
    assert_eq!(blob.size_bytes, clear.len() as u64);
    let stored = blobs.get(&acme, &blob.hash).await.expect("stored");
    assert!(!stored.windows(7).any(|window| window == b"picture"), "stored sealed");
    assert_eq!(get_opened(&*blobs, &sealer, &acme, &blob).await.as_deref(), Ok(clear));
    sealer.destroy(blob.key).await.expect("destroyed");
    assert_eq!(get_opened(&*blobs, &sealer, &acme, &blob).await, Err(BlobError::Erased(blob.hash)));
}

/// Runs every clause of the contract of [`Blobs`]. Takes an expression of a future that gives
/// `(Arc<dyn Blobs>, guard)`: fresh blobs, and what must live as long as they do.
#[macro_export]
macro_rules! blobs_contract {
    ($fresh:expr) => {
        $crate::blobs_contract!(@each $fresh;
            what_is_put_can_be_got,
            the_same_bytes_are_one_blob,
            tenants_do_not_share_blobs,
            what_is_not_there_is_not_found,
            a_text_that_is_no_hash_finds_nothing,
            a_sealed_blob_opens_until_its_key_is_destroyed
        );
    };
    (@each $fresh:expr; $($clause:ident),*) => {$(
        #[tokio::test]
        async fn $clause() {
            let (blobs, _kept) = $fresh.await;
            $crate::testing::blobs_contract::$clause(blobs).await;
        }
    )*};
}
