//! Personal fields, encrypted per person; destroying a key erases what it sealed.
//!
//! **Invariant:** personal data reaches the log only as ciphertext. A [`Personal`] field in clear serialises to
//! `null`, and the codec refuses to encode an event that still has one. The associated data of every box is the
//! event's id, stream, type and stored version, so that a box cannot be moved to another event.
//!
//! Box format, stored for ever: `x1.<key id, 32 hex digits>.<base64url without padding of nonce and ciphertext>`,
//! where `x1` is XChaCha20-Poly1305 with a random 24-byte nonce (draft-irtf-cfrg-xchacha-03). Another algorithm gets
//! another mark.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::ids::{AccountId, ConversationId, Occupancy};

pub mod aead;
pub mod embedded;
mod kek;
pub(crate) mod key_id;
mod keys;
mod pool;
#[cfg(feature = "postgres")]
pub mod postgres;
mod sealer;
mod stored;
pub(crate) mod wrapped;

pub use kek::{KekError, KeyEncryptionKey};
pub use keys::{DataKey, KeyStore, KeyStoreError, StoredKey};
pub use pool::PoolConfig;
pub use sealer::{KEYS_KEPT_FOR, MOST_KEYS_KEPT, Sealer, SealerError};
pub use stored::OpenKeyStoreError;

/// Mark of XChaCha20-Poly1305 in a box.
const ALGORITHM: &str = "x1";

/// The id of a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Uuid);

/// Whose key seals a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeySubject {
    /// A person, as the holder of a contact point.
    Occupancy(Occupancy),
    /// A group chat.
    Conversation(ConversationId),
    /// A channel account: its secrets.
    Account(AccountId),
    /// A key of the field's own, from the pool: raw deliveries.
    Own,
}

/// Why a field could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The box is not of a form that this version knows.
    #[error("sealed field has an unknown form")]
    Malformed,
    /// The box was altered, moved to another event, or sealed with another key.
    #[error("sealed field does not open: altered, moved or sealed with another key")]
    Forged,
    /// What was inside is not what the field holds.
    #[error("sealed field holds something else than its type")]
    Content,
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system")]
    NoRandomness,
    /// The field is not in the state that the step needs.
    #[error("personal field is in the wrong state: {0}")]
    State(&'static str),
}

/// A value that can stand in a sealed field. Implement it for JSON types with [`personal_json!`].
pub trait PersonalValue: Sized {
    /// The bytes to seal.
    ///
    /// # Errors
    /// [`SealError::Content`] when the value has no such form.
    fn to_clear(&self) -> Result<Vec<u8>, SealError>;

    /// The value of opened bytes.
    ///
    /// # Errors
    /// [`SealError::Content`] when the bytes are not such a value.
    fn from_clear(clear: Vec<u8>) -> Result<Self, SealError>;
}

/// Implements [`PersonalValue`] as JSON for serde types.
macro_rules! personal_json {
    ($($value:ty),*) => {$(
        impl $crate::seal::PersonalValue for $value {
            fn to_clear(&self) -> Result<Vec<u8>, $crate::seal::SealError> {
                serde_json::to_vec(self).map_err(|_| $crate::seal::SealError::Content)
            }

            fn from_clear(clear: Vec<u8>) -> Result<Self, $crate::seal::SealError> {
                let json = simdutf8::basic::from_utf8(&clear).map_err(|_| $crate::seal::SealError::Content)?;
                serde_json::from_str(json).map_err(|_| $crate::seal::SealError::Content)
            }
        }
    )*};
}

pub(crate) use personal_json;

/// A personal field of an event.
#[derive(Clone, PartialEq)]
pub enum Personal<T> {
    /// In clear, to be sealed for this subject.
    Clear {
        /// Whose key will seal it.
        subject: KeySubject,
        /// What it says.
        value: T,
    },
    /// As stored.
    Sealed(SealedBox),
    /// Read from the log and opened.
    Opened(T),
    /// Its key was destroyed: nobody can read it any more.
    Erased,
}

impl<T> Personal<T> {
    /// A field in clear, to be sealed for `subject`.
    #[must_use]
    pub const fn new(subject: KeySubject, value: T) -> Self {
        Self::Clear { subject, value }
    }

    /// What it says; `None` while it is sealed and after it was erased.
    #[must_use]
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Clear { value, .. } | Self::Opened(value) => Some(value),
            Self::Sealed(_) | Self::Erased => None,
        }
    }

    /// Takes out what it says; `None` while it is sealed and after it was erased.
    #[must_use]
    pub fn into_value(self) -> Option<T> {
        match self {
            Self::Clear { value, .. } | Self::Opened(value) => Some(value),
            Self::Sealed(_) | Self::Erased => None,
        }
    }

    /// True when its key was destroyed.
    #[must_use]
    pub const fn is_erased(&self) -> bool {
        matches!(self, Self::Erased)
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear { .. } => "Personal(clear)",
            Self::Sealed(_) => "Personal(sealed)",
            Self::Opened(_) => "Personal(opened)",
            Self::Erased => "Personal(erased)",
        })
    }
}

impl<T> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Sealed(sealed) => serializer.serialize_str(&sealed.to_string()),
            Self::Clear { .. } | Self::Opened(_) | Self::Erased => serializer.serialize_none(),
        }
    }
}

impl<'de, T> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(PersonalVisitor(PhantomData))
    }
}

/// Reads a box from the text as it stands, without a copy.
struct PersonalVisitor<T>(PhantomData<T>);

impl<'de, T> Visitor<'de> for PersonalVisitor<T> {
    type Value = Personal<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sealed field or null")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(Personal::Erased)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(Personal::Erased)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        SealedBox::parse(text).map(Personal::Sealed).map_err(E::custom)
    }
}

/// Ciphertext with the id of its key.
#[derive(Debug, Clone)]
pub struct SealedBox {
    key: KeyId,
    sealed: Sealed,
}

/// Nonce, then ciphertext with tag. Most boxes that are read are never opened: they stay as they stand.
#[derive(Debug, Clone)]
enum Sealed {
    Bytes(Vec<u8>),
    /// In base64url without padding.
    Text(Box<str>),
}

impl SealedBox {
    /// Seals `clear` with `key`; it opens only with the same `associated` data.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`] when no nonce could be drawn.
    pub fn seal(key: &DataKey, clear: &[u8], associated: &[u8]) -> Result<Self, SealError> {
        let mut bytes = Vec::new();
        aead::seal(&key.bytes, clear, associated, &mut bytes)?;
        Ok(Self { key: key.id, sealed: Sealed::Bytes(bytes) })
    }

    /// Opens the box.
    ///
    /// # Errors
    /// [`SealError::Forged`] when the key, the bytes or the `associated` data are not those of the sealing;
    /// [`SealError::Malformed`] when they are no box at all.
    pub fn open(&self, key: &DataKey, associated: &[u8]) -> Result<Vec<u8>, SealError> {
        aead::open(&key.bytes, &self.bytes()?, associated)
    }

    /// The key it was sealed with.
    #[must_use]
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// A box whose nonce and ciphertext were stored apart from its key id: blobs.
    #[must_use]
    pub const fn from_parts(key: KeyId, bytes: Vec<u8>) -> Self {
        Self { key, sealed: Sealed::Bytes(bytes) }
    }

    /// Nonce and ciphertext.
    ///
    /// # Errors
    /// [`SealError::Malformed`] when the stored form is not base64url.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, SealError> {
        match &self.sealed {
            Sealed::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Sealed::Text(text) => {
                URL_SAFE_NO_PAD.decode(text.as_bytes()).map(Cow::Owned).map_err(|_| SealError::Malformed)
            }
        }
    }

    /// Reads the stored form; what is sealed is looked at when it is opened.
    ///
    /// # Errors
    /// [`SealError::Malformed`] when it is not such a form.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let mut parts = text.splitn(3, '.');
        let (Some(ALGORITHM), Some(key), Some(sealed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SealError::Malformed);
        };
        let key = KeyId(Uuid::try_parse(key).map_err(|_| SealError::Malformed)?);
        Ok(Self { key, sealed: Sealed::Text(sealed.into()) })
    }
}

impl PartialEq for SealedBox {
    fn eq(&self, other: &Self) -> bool {
        let sealed = match (&self.sealed, &other.sealed) {
            (Sealed::Text(one), Sealed::Text(other)) => one == other,
            _ => matches!((self.bytes(), other.bytes()), (Ok(one), Ok(other)) if one == other),
        };
        self.key == other.key && sealed
    }
}

impl Eq for SealedBox {}

impl fmt::Display for SealedBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}.{}.", self.key.0.simple())?;
        match &self.sealed {
            Sealed::Bytes(bytes) => f.write_str(&URL_SAFE_NO_PAD.encode(bytes)),
            Sealed::Text(text) => f.write_str(text),
        }
    }
}

/// A [`Personal`] field whose type is not known: what the codec and the sealer work on.
pub trait PersonalField: Send {
    /// Whose key must seal it; `None` unless it is in clear.
    fn subject(&self) -> Option<KeySubject>;

    /// The key it is sealed with; `None` unless it is sealed.
    fn key(&self) -> Option<KeyId>;

    /// The bytes that sealing would seal.
    ///
    /// # Errors
    /// [`SealError::State`] unless the field is in clear; [`SealError::Content`] when it has no such form.
    fn clear_bytes(&self) -> Result<Zeroizing<Vec<u8>>, SealError>;

    /// The bytes of what it says, in clear or opened.
    ///
    /// # Errors
    /// [`SealError::State`] while it is sealed and after it was erased; [`SealError::Content`] when the value has no
    /// such form.
    fn said_bytes(&self) -> Result<Zeroizing<Vec<u8>>, SealError>;

    /// Seals it.
    ///
    /// # Errors
    /// As [`PersonalField::clear_bytes`] and [`SealedBox::seal`].
    fn seal(&mut self, key: &DataKey, associated: &[u8]) -> Result<(), SealError>;

    /// Opens it with its key, or marks it erased when the key is gone.
    ///
    /// # Errors
    /// [`SealError::State`] unless it is sealed; else as [`SealedBox::open`].
    fn open(&mut self, key: Option<&DataKey>, associated: &[u8]) -> Result<(), SealError>;
}

impl<T: PersonalValue + Send> PersonalField for Personal<T> {
    fn subject(&self) -> Option<KeySubject> {
        match self {
            Self::Clear { subject, .. } => Some(*subject),
            Self::Sealed(_) | Self::Opened(_) | Self::Erased => None,
        }
    }

    fn key(&self) -> Option<KeyId> {
        match self {
            Self::Sealed(sealed) => Some(sealed.key),
            Self::Clear { .. } | Self::Opened(_) | Self::Erased => None,
        }
    }

    fn clear_bytes(&self) -> Result<Zeroizing<Vec<u8>>, SealError> {
        match self {
            Self::Clear { value, .. } => value.to_clear().map(Zeroizing::new),
            Self::Sealed(_) | Self::Opened(_) | Self::Erased => Err(SealError::State("not in clear")),
        }
    }

    fn said_bytes(&self) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let value = self.value().ok_or(SealError::State("sealed or erased"))?;
        value.to_clear().map(Zeroizing::new)
    }

    fn seal(&mut self, key: &DataKey, associated: &[u8]) -> Result<(), SealError> {
        let clear = self.clear_bytes()?;
        *self = Self::Sealed(SealedBox::seal(key, &clear, associated)?);
        Ok(())
    }

    fn open(&mut self, key: Option<&DataKey>, associated: &[u8]) -> Result<(), SealError> {
        let Self::Sealed(sealed) = &*self else { return Err(SealError::State("not sealed")) };
        *self = match key {
            Some(key) => Self::Opened(T::from_clear(sealed.open(key, associated)?)?),
            None => Self::Erased,
        };
        Ok(())
    }
}
