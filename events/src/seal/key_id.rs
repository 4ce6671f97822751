//! Ids of data keys: which key a subject has, and where a key of the pool is kept.
//!
//! **Invariant:** a subject's key id follows from the subject alone, so that two who ask at once get the same key.
//!
//! Layout, stored for ever in every sealed box: a UUIDv8 (RFC 9562, section 5.8) whose first byte says which kind.
//!
//! - `73`: the key of a subject. The rest is BLAKE3, in key-derivation mode, of the subject's kind and ids.
//! - `70`: a key of the pool, `70SSRRRR-RRRR-8000-8000-0000PPPPPPPP`: slot, run and page in hexadecimal. A run is a
//!   random number drawn each time a pool is opened, so that a key store restored from a backup does not give ids out
//!   again that the log knows already.

use uuid::Uuid;

use super::{KeyId, KeySubject};

/// First byte of the id of a subject's key.
const SUBJECT: u8 = 0x73;
/// First byte of the id of a key of the pool.
const POOL: u8 = 0x70;
/// Context of the derivation; changing it would give every subject another key.
const CONTEXT: &str = "letopis 2026-11-22 id of the data key of a subject";

/// A page of pool keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PageId {
    /// The run that made it.
    pub(crate) run: u32,
    /// Its number within the run.
    pub(crate) page: u32,
}

/// Where a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a row of its own.
    Subject,
    /// In a slot of a page.
    Pool(PageId, u8),
}

/// The id of a subject's key; `None` for [`KeySubject::Own`], whose keys come from the pool.
pub(crate) fn of_subject(subject: KeySubject) -> Option<KeyId> {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    match subject {
        KeySubject::Occupancy(occupancy) => {
            hasher.update(b"o").update(occupancy.contact.uuid().as_bytes()).update(&occupancy.number.to_be_bytes());
        }
        KeySubject::Conversation(conversation) => {
            hasher.update(b"c").update(conversation.uuid().as_bytes());
        }
        KeySubject::Account(account) => {
            hasher.update(b"a").update(account.uuid().as_bytes());
        }
        KeySubject::Own => return None,
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    bytes[0] = SUBJECT;
    Some(KeyId(Uuid::new_v8(bytes)))
}

/// The id of the key in a slot of a page.
pub(crate) fn of_pool(page: PageId, slot: u8) -> KeyId {
    let mut bytes = [0; 16];
    bytes[0] = POOL;
    bytes[1] = slot;
    bytes[2..6].copy_from_slice(&page.run.to_be_bytes());
    bytes[12..].copy_from_slice(&page.page.to_be_bytes());
    KeyId(Uuid::new_v8(bytes))
}

/// Where the key with this id is kept; `None` when no key has such an id.
pub(crate) fn place(id: KeyId) -> Option<Place> {
    let [first, slot, r0, r1, r2, r3, .., p0, p1, p2, p3] = *id.0.as_bytes();
    match first {
        SUBJECT => Some(Place::Subject),
        POOL => {
            let page = PageId { run: u32::from_be_bytes([r0, r1, r2, r3]), page: u32::from_be_bytes([p0, p1, p2, p3]) };
            (of_pool(page, slot) == id).then_some(Place::Pool(page, slot))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AccountId, ContactId, ConversationId, Occupancy};

    #[test]
    fn the_id_of_a_subjects_key_never_changes() {
        let uuid = Uuid::from_u128(7);
        let ids = [
            KeySubject::Occupancy(Occupancy { contact: ContactId::new(uuid), number: 1 }),
            KeySubject::Conversation(ConversationId::new(uuid)),
            KeySubject::Account(AccountId::new(uuid)),
        ]
        .map(|subject| of_subject(subject).unwrap());
        let stored = [
            "73c6d32d-42c2-8577-9d2c-f69099961d56",
            "73fed2fc-ebbf-887e-a719-220e644cbee7",
            "73961a2b-998f-8fc4-8d9d-c731357bec9c",
        ];
        assert_eq!(ids.map(|id| id.0.to_string()), stored);
        assert!(ids.iter().all(|id| place(*id) == Some(Place::Subject) && id.0.get_version_num() == 8));
        assert_eq!(of_subject(KeySubject::Own), None);
    }

    #[test]
    fn the_id_of_a_pool_key_says_where_it_is() {
        let page = PageId { run: 0x0123_4567, page: 0x89ab_cdef };
        let id = of_pool(page, 0xfe);
        assert_eq!(id.0.to_string(), "70fe0123-4567-8000-8000-000089abcdef");
        assert_eq!(place(id), Some(Place::Pool(page, 0xfe)));
        assert_eq!(place(KeyId(Uuid::from_u128(id.0.as_u128() | 1 << 40))), None, "bits that no layout has");
        assert_eq!(place(KeyId(Uuid::nil())), None);
    }
}
