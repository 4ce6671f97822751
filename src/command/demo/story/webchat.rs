//! Deliveries as the shop's chat widget would post them, but for the signature.
//!
//! **Invariant:** follows `docs/webchat.md`; ids are used once.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::doors::Delivery;
use super::super::people::{Customer, Way};

/// What a visitor lets the site tell of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Name,
    NameAndEmail,
    NameAndPhone,
}

/// A delivery of this type; `says` are its further fields.
pub(super) fn delivery(id: &str, kind: &str, from: &Customer, told: Told, at: DateTime<Utc>, says: &Value) -> Delivery {
    let mut visitor = json!({
        "id": from.visitor(),
        "expires_at": (at + TimeDelta::days(7)).timestamp(),
        "name": from.name(),
        "language": from.tongue.tag(),
    });
    match told {
        Told::Name => {}
        Told::NameAndEmail => visitor["email"] = from.email.as_str().into(),
        Told::NameAndPhone => visitor["phone"] = from.phone.as_str().into(),
    }
    let mut body = json!({
        "id": id,
        "type": kind,
        "sent_at": at.to_rfc3339_opts(SecondsFormat::Secs, true),
        "visitor": visitor,
    });
    if let (Some(body), Some(says)) = (body.as_object_mut(), says.as_object()) {
        body.extend(says.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    Delivery { way: Way::Webchat, body: body.to_string().into_bytes(), copies: 1 }
}
