//! Web chat: the contract between a chat widget on a tenant's site and letopis. `docs/webchat.md` says it for those who
//! write the widget.
//!
//! **Invariant:** a visitor can write as themselves only: the site's signature proves who they are, threads and
//! deliveries are named below the visitor's id, and nothing unsigned makes an attribute of a contact. The signature
//! does not cover the rest of the body: what a visitor says is what their browser sent.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::channels::json::Object;
use crate::channels::{Peek, Unrecognised};

pub mod attachment;
pub mod frames;
pub mod identity;
mod normalise;

pub use attachment::attachment;
pub use identity::{Identity, VerifyError, verify};
pub use normalise::normalise;

/// Longest id of a visitor, a thread or a delivery, in characters.
const MAX_ID: usize = 128;

/// Finds what it can, without a tree where no key is doubled. The id of the delivery is the client's below that of the
/// visitor, so that nobody can take another visitor's id first.
#[must_use]
pub fn peek(body: &[u8]) -> Peek {
    let Some(head) = Head::read(body) else {
        return Peek::default();
    };
    let visitor = head.visitor.map(|visitor| visitor.id);
    let delivery_id = visitor.as_ref().zip(head.id).map(|(visitor, id)| format!("{visitor}/{id}"));
    Peek { delivery_id, conversation_key: visitor, occurred_at: head.sent_at }
}

/// What verifying and peeking need of a body.
struct Head {
    id: Option<String>,
    sent_at: Option<DateTime<Utc>>,
    visitor: Option<Identity>,
}

#[derive(Deserialize)]
struct Fast<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    sent_at: Cow<'a, str>,
    #[serde(borrow)]
    visitor: FastVisitor<'a>,
}

#[derive(Deserialize)]
struct FastVisitor<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    expires_at: i64,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    email: Cow<'a, str>,
    #[serde(borrow, default)]
    phone: Cow<'a, str>,
    #[serde(borrow, default)]
    language: Cow<'a, str>,
    #[serde(borrow)]
    signature: Cow<'a, str>,
}

impl Head {
    /// Reads a body. One that is not quite of the expected form (a doubled key, a null) is read as a tree, so that it is
    /// understood in the same way as by the normaliser.
    fn read(body: &[u8]) -> Option<Self> {
        let Ok(fast) = serde_json::from_slice::<Fast<'_>>(body) else {
            let value: Value = serde_json::from_slice(body).ok()?;
            return Some(Self::of(Object::of(&value)?));
        };
        let visitor = fast.visitor;
        let some = |text: Cow<'_, str>| Some(text.into_owned()).filter(|text| !text.is_empty());
        let identity = Identity {
            id: visitor.id.into_owned(),
            expires_at: visitor.expires_at,
            name: some(visitor.name),
            email: some(visitor.email),
            phone: some(visitor.phone),
            language: some(visitor.language),
            signature: visitor.signature.into_owned(),
        };
        Some(Self {
            id: Some(fast.id.into_owned()).filter(|id| is_id(id)),
            sent_at: time(&fast.sent_at),
            visitor: Some(identity).filter(Identity::is_well_formed),
        })
    }

    fn of(body: Object<'_>) -> Self {
        Self {
            id: body.owned("id").filter(|id| is_id(id)),
            sent_at: body.text("sent_at").and_then(time),
            visitor: body.object("visitor").and_then(Identity::of),
        }
    }
}

/// The key of a thread of the visitor: their own, or one that the widget names. `None` when the name is no id.
#[must_use]
pub fn thread_key(visitor: &Identity, name: Option<&str>) -> Option<String> {
    match name {
        None => Some(visitor.id.clone()),
        Some(name) => is_id(name).then(|| format!("{}/{name}", visitor.id)),
    }
}

/// The id of a visitor, a thread, a delivery or a message: 1 to 128 of `A-Z`, `a-z`, `0-9` and `._~@:+=-`. It can hold
/// no `/`, which divides the parts of keys.
fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~@:+=-".contains(&b))
}

/// A point in time as RFC 3339 writes it.
fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

fn unrecognised(reason: impl Into<String>) -> Unrecognised {
    Unrecognised { reason: reason.into() }
}

#[cfg(test)]
mod tests;
