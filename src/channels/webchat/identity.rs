//! Who a visitor is, proven by the site they visit.
//!
//! **Invariant:** an identity is proven by a live secret, is not expired, and can be signed in one way only: its parts
//! stand in lines, and no part may hold a line break.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use super::{Head, is_id};
use crate::channels::json::Object;

/// What stands before the parts, so that the secret of an account signs identities of this form only.
const FORM: &str = "letopis-webchat-1";

/// Longest value of a name, an address or a number, in bytes.
const MAX_VALUE: usize = 512;

/// How long an identity may be signed for. A longer one is refused: whoever gets hold of it writes as the visitor until
/// it expires.
pub const MAX_LIFETIME: TimeDelta = TimeDelta::days(31);

/// Who a visitor is, as the site says.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The site's id of them.
    pub id: String,
    /// Until when the signature counts, in Unix time.
    pub expires_at: i64,
    /// Their name.
    pub name: Option<String>,
    /// Their mail address, as the site has it.
    pub email: Option<String>,
    /// Their phone number, as the site has it.
    pub phone: Option<String>,
    /// Their language, as a BCP 47 tag.
    pub language: Option<String>,
    /// HMAC-SHA256 over [`Identity::signed`], in hex.
    pub signature: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// The identity in the field `visitor` of a body; `None` when it has no id or no signature, or a part that cannot be
    /// signed.
    pub(super) fn of(visitor: Object<'_>) -> Option<Self> {
        let identity = Self {
            id: visitor.owned("id")?,
            expires_at: visitor.int("expires_at")?,
            name: visitor.owned("name"),
            email: visitor.owned("email"),
            phone: visitor.owned("phone"),
            language: visitor.owned("language"),
            signature: visitor.owned("signature")?,
        };
        Some(identity).filter(Self::is_well_formed)
    }

    pub(super) fn is_well_formed(&self) -> bool {
        let values = [&self.name, &self.email, &self.phone, &self.language];
        let fits = |value: &String| value.len() <= MAX_VALUE && !value.chars().any(char::is_control);
        is_id(&self.id) && values.into_iter().flatten().all(fits)
    }

    /// What the site signs: the name of the form, the id, the time of expiry in decimal, name, mail address, phone number
    /// and language, each as in the body, joined by line feeds. What is absent is an empty line.
    #[must_use]
    pub fn signed(&self) -> String {
        let expires_at = self.expires_at.to_string();
        let value = |value: &'_ Option<String>| value.clone().unwrap_or_default();
        [
            FORM,
            &self.id,
            &expires_at,
            &value(&self.name),
            &value(&self.email),
            &value(&self.phone),
            &value(&self.language),
        ]
        .join("\n")
    }
}

/// Why a delivery is not from whom it says. All of them are answered with status 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// There is no identity, or not a whole one: the widget is at fault.
    #[error("the visitor is not signed")]
    NotSigned,
    /// The signature is not that of a live secret: the site is at fault, or somebody lies.
    #[error("the signature of the visitor is wrong")]
    WrongSignature,
    /// The widget shall ask the site for a fresh signature and try again.
    #[error("the signature of the visitor is expired")]
    Expired,
    /// The signature counts for longer than [`MAX_LIFETIME`]: the site is at fault.
    #[error("the signature of the visitor counts for too long")]
    TooLong,
}

/// Proves who the visitor of a delivery is, against the live secrets of the account, at the time `now`. The signature
/// is compared in constant time, and before the expiry, so that nobody learns from a guess whether it is expired.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify<S: AsRef<[u8]>>(body: &[u8], live_secrets: &[S], now: DateTime<Utc>) -> Result<Identity, VerifyError> {
    let identity = Head::read(body).and_then(|head| head.visitor).ok_or(VerifyError::NotSigned)?;
    let signature = hex::decode(&identity.signature).map_err(|_| VerifyError::WrongSignature)?;
    let signed = identity.signed();
    let mut proven = Choice::from(0);
    for secret in live_secrets.iter().map(AsRef::as_ref).filter(|secret| !secret.is_empty()) {
        // HMAC takes a key of any length, so no secret is passed over here.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { continue };
        mac.update(signed.as_bytes());
        proven |= mac.finalize().into_bytes().as_slice().ct_eq(&signature);
    }
    if !bool::from(proven) {
        return Err(VerifyError::WrongSignature);
    }
    let expires_at = DateTime::from_timestamp(identity.expires_at, 0).ok_or(VerifyError::TooLong)?;
    if expires_at <= now {
        Err(VerifyError::Expired)
    } else if expires_at - now > MAX_LIFETIME {
        Err(VerifyError::TooLong)
    } else {
        Ok(identity)
    }
}
