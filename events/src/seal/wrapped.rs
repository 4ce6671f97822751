//! Rows of a key store as they stand, for whoever moves one elsewhere.
//!
//! **Invariant:** a key is never opened on the way: the same key-encryption key opens it there. What was destroyed is
//! moved as destroyed.

use super::key_id::PageId;
use super::stored::{CHECK, OpenKeyStoreError, secret_purpose};
use super::{KeyEncryptionKey, KeyId};

/// Names of the secrets that every key store has.
const SECRETS: [&str; 2] = ["check", "id_secret"];

/// A secret of the installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrappedSecret {
    /// `check` or `id_secret`.
    pub(crate) name: String,
    /// The box.
    pub(crate) wrapped: Vec<u8>,
}

/// The key of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrappedSubjectKey {
    /// Its id.
    pub(crate) id: KeyId,
    /// The box; `None` when the key was destroyed.
    pub(crate) wrapped: Option<Vec<u8>>,
}

/// A page of 256 keys of the pool, those that were destroyed among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrappedPage {
    /// The run that made it.
    pub(crate) run: u32,
    /// Its number within the run.
    pub(crate) page: u32,
    /// The box.
    pub(crate) wrapped: Vec<u8>,
}

impl WrappedPage {
    /// Its place among pages.
    pub(crate) const fn place(&self) -> PageId {
        PageId { run: self.run, page: self.page }
    }
}

/// Checks that these are the secrets of a key store and that this key opens them.
pub(crate) fn check(secrets: &[WrappedSecret], kek: &KeyEncryptionKey) -> Result<(), OpenKeyStoreError> {
    for name in SECRETS {
        let missing = || OpenKeyStoreError::Corrupt(format!("{name} is missing"));
        let secret = secrets.iter().find(|secret| secret.name == name).ok_or_else(missing)?;
        let clear = kek.unwrap(&secret_purpose(name), &secret.wrapped).map_err(|_| OpenKeyStoreError::WrongKey)?;
        if name == "check" && *clear != CHECK {
            return Err(OpenKeyStoreError::Corrupt("check value".into()));
        }
    }
    Ok(())
}
