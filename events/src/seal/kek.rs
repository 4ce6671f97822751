//! The key-encryption key: what wraps every key in a key store.
//!
//! **Invariant:** it is never written anywhere but into the file that [`KeyEncryptionKey::generate`] makes, and a box
//! opens only for the row it was wrapped for.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{SealError, aead};

/// First byte of a wrapped key, stored for ever: XChaCha20-Poly1305 with a random 24-byte nonce, then the nonce, then
/// ciphertext and tag.
const XCHACHA20: u8 = 1;

/// Why there is no key-encryption key.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// The text is not base64 (RFC 4648, section 4) of 32 bytes.
    #[error("key-encryption key is not base64 of 32 bytes")]
    Malformed,
    /// The environment does not have the variable, or it is not text.
    #[error("no key-encryption key in environment variable {0}")]
    NoVariable(String),
    /// The file cannot be read, or not be made; a file that exists is never overwritten.
    #[error("key-encryption key file")]
    File(#[source] io::Error),
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system")]
    NoRandomness,
}

/// A 256-bit key that wraps data keys. Whoever loses it loses everything that is sealed.
#[derive(Clone)]
pub struct KeyEncryptionKey(Arc<Zeroizing<[u8; 32]>>);

impl KeyEncryptionKey {
    /// The key written as base64; white space around it does not matter.
    ///
    /// # Errors
    /// [`KekError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, KekError> {
        let decoded = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| KekError::Malformed)?);
        let bytes = decoded.as_slice().try_into().map_err(|_| KekError::Malformed)?;
        Ok(Self(Arc::new(Zeroizing::new(bytes))))
    }

    /// The key in an environment variable.
    ///
    /// # Errors
    /// [`KekError::NoVariable`], [`KekError::Malformed`].
    pub fn from_env(variable: &str) -> Result<Self, KekError> {
        let text = std::env::var(variable).map_err(|_| KekError::NoVariable(variable.to_owned()))?;
        Self::parse(&Zeroizing::new(text))
    }

    /// The key in a file.
    ///
    /// # Errors
    /// [`KekError::File`], [`KekError::Malformed`].
    pub fn from_file(path: &Path) -> Result<Self, KekError> {
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(KekError::File)?);
        Self::parse(&text)
    }

    /// Makes a fresh key and writes it to a new file that only its owner can read.
    ///
    /// # Errors
    /// [`KekError::File`], also when the file exists; [`KekError::NoRandomness`].
    pub fn generate(path: &Path) -> Result<Self, KekError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(|_| KekError::NoRandomness)?;
        let mut text = Zeroizing::new(STANDARD.encode(*bytes));
        text.push('\n');
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(KekError::File)?;
        Ok(Self(Arc::new(bytes)))
    }

    /// Wraps `clear`; it unwraps only with the same `purpose`.
    pub(super) fn wrap(&self, purpose: &[u8], clear: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut wrapped = vec![XCHACHA20];
        aead::seal(&self.0, clear, purpose, &mut wrapped)?;
        Ok(wrapped)
    }

    /// Unwraps what [`Self::wrap`] wrapped.
    pub(super) fn unwrap(&self, purpose: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let Some((&XCHACHA20, rest)) = wrapped.split_first() else { return Err(SealError::Malformed) };
        aead::open(&self.0, rest, purpose).map(Zeroizing::new)
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEncryptionKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_generated_key_is_its_owners_alone_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        let made = KeyEncryptionKey::generate(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(KeyEncryptionKey::generate(&path), Err(KekError::File(_))));
        let read = KeyEncryptionKey::from_file(&path).unwrap();
        assert_eq!(*read.unwrap(b"p", &made.wrap(b"p", b"clear").unwrap()).unwrap(), b"clear");
    }

    #[test]
    fn only_base64_of_32_bytes_is_a_key() {
        assert!(KeyEncryptionKey::parse(&format!(" {}\n", STANDARD.encode([7; 32]))).is_ok());
        for text in ["", "secret", &STANDARD.encode([7; 31]), &STANDARD.encode([7; 33]), &"é".repeat(22)] {
            assert!(matches!(KeyEncryptionKey::parse(text), Err(KekError::Malformed)), "{text}");
        }
        assert!(matches!(KeyEncryptionKey::from_env("LETOPIS_NO_SUCH_VARIABLE"), Err(KekError::NoVariable(_))));
        assert!(matches!(KeyEncryptionKey::from_file(Path::new("/nonexistent/kek")), Err(KekError::File(_))));
    }

    #[test]
    fn a_wrapped_key_opens_for_its_own_row_only() {
        let kek = KeyEncryptionKey::parse(&STANDARD.encode([7; 32])).unwrap();
        let wrapped = kek.wrap(b"row 1", b"clear").unwrap();
        assert_eq!(kek.unwrap(b"row 2", &wrapped), Err(SealError::Forged));
        assert_eq!(kek.unwrap(b"row 1", &[]), Err(SealError::Malformed));
        assert_eq!(kek.unwrap(b"row 1", &wrapped[..10]), Err(SealError::Malformed));
    }
}
