//! The form in which key stores keep keys: the same in every engine.
//!
//! **Invariant:** each box is bound to its row by its purpose: table, a zero byte, and the row's key in big-endian
//! bytes. It never changes, or no stored key would open again.

use zeroize::Zeroizing;

use super::key_id::PageId;
use super::{DataKey, KeyId, KeyStoreError, StoredKey};

/// What the box `check` holds: tells a wrong key-encryption key.
pub(super) const CHECK: &[u8] = b"letopis key store";
/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
/// Keys in a page: one for every value of a byte.
pub(super) const PAGE_SLOTS: usize = 256;
/// Bytes of a page.
pub(super) const PAGE_BYTES: usize = PAGE_SLOTS * KEY_BYTES;

/// A page in clear.
pub(super) type Page = Zeroizing<Vec<u8>>;

/// Why the key store was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenKeyStoreError {
    /// The keys in it were wrapped by another key-encryption key: configure that one.
    #[error("the key store was made with another key-encryption key")]
    WrongKey,
    /// A newer letopis made it.
    #[error("the key store has format {0}, which this release does not know")]
    Format(i64),
    /// It cannot be opened, read or written.
    #[error("cannot open the key store: {0}")]
    Unavailable(String),
    /// What is in it is damaged: stop.
    #[error("key store corrupt: {0}")]
    Corrupt(String),
}

/// Purpose of the box of a secret.
pub(super) fn secret_purpose(name: &str) -> Vec<u8> {
    [b"secret\0", name.as_bytes()].concat()
}

/// Purpose of the box of a subject's key.
pub(super) fn subject_purpose(id: KeyId) -> Vec<u8> {
    [b"subject_key\0".as_slice(), id.0.as_bytes()].concat()
}

/// Purpose of the box of a page.
pub(super) fn page_purpose(id: PageId) -> Vec<u8> {
    [b"pool_page\0".as_slice(), &id.run.to_be_bytes(), &id.page.to_be_bytes()].concat()
}

/// The key in these bytes; `None` when they are not 32.
pub(super) fn key_bytes(clear: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    clear.try_into().ok().map(Zeroizing::new)
}

/// The key in a slot; all zeros when it was destroyed.
pub(super) fn slot(page: &Page, slot: usize) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    bytes.copy_from_slice(&page[slot * KEY_BYTES..][..KEY_BYTES]);
    bytes
}

/// What is known of the key in a slot of a page.
pub(super) fn in_page(page: &Page, id: KeyId, number: u8) -> StoredKey {
    let bytes = slot(page, usize::from(number));
    if bytes.iter().all(|byte| *byte == 0) { StoredKey::Destroyed } else { StoredKey::Present(DataKey { id, bytes }) }
}

/// Destroys the key in a slot.
pub(super) fn clear_slot(page: &mut Page, number: u8) {
    page[usize::from(number) * KEY_BYTES..][..KEY_BYTES].fill(0);
}

/// The answer for a key that was never here.
pub(super) fn unknown(id: KeyId) -> KeyStoreError {
    KeyStoreError::Corrupt(format!("the store never had key {}", id.0))
}
