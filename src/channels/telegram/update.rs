//! What an update is, and tolerant reading of its fields.
//!
//! **Invariant:** reading a field never fails: what is missing or of the wrong type is `None`, and a number may stand in
//! a string. Provider JSON with an unknown field, a doubled key or an id above 2^53 is read all the same, which is why
//! this is a view of a [`Value`] and no derived struct (a derived struct refuses doubled keys, and one field of a
//! wrong type would cost the whole message).

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::unrecognised;
use crate::channels::Unrecognised;

/// Every kind of update, as it is named in an update and in `allowed_updates`.
///
/// **Source:** Bot API 10.3, object `Update`.
pub const UPDATE_KINDS: [&str; 26] = [
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "guest_message",
    "message_reaction",
    "message_reaction_count",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "subscription",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
    "managed_bot",
];

/// An update: its id and its one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Update<'a> {
    pub(super) id: i64,
    pub(super) kind: &'static str,
    pub(super) body: Object<'a>,
}

impl<'a> Update<'a> {
    /// Finds the id and the one kind.
    pub(super) fn find(value: &'a Value) -> Result<Self, Unrecognised> {
        let fields = value.as_object().ok_or_else(|| unrecognised("not a JSON object"))?;
        let top = Object(fields);
        let id = top.int("update_id").ok_or_else(|| unrecognised("no update_id"))?;
        let mut found = UPDATE_KINDS.into_iter().filter_map(|kind| top.object(kind).map(|body| (kind, body)));
        match (found.next(), found.next()) {
            (Some((kind, body)), None) => Ok(Self { id, kind, body }),
            (Some((one, _)), Some((other, _))) => {
                Err(unrecognised(format!("more than one kind of update: {one}, {other}")))
            }
            (None, _) => Err(unrecognised(match fields.keys().find(|key| *key != "update_id") {
                Some(key) => format!("unknown kind of update: {}", printable(key)),
                None => "no kind of update".to_owned(),
            })),
        }
    }
}

/// The name of a field, if it looks like one: whatever else stands there may be somebody's data.
pub(super) fn printable(name: &str) -> &str {
    let like_a_name =
        name.len() <= 64 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if like_a_name && !name.is_empty() { name } else { "(a name that is not printed)" }
}

/// A JSON object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        value.as_object().map(Self)
    }

    /// The field, unless it is absent or null.
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// True when the field stands there and is neither null nor false.
    pub(super) fn has(self, name: &str) -> bool {
        self.get(name).is_some_and(|value| *value != Value::Bool(false))
    }

    /// The names of all fields that are not null.
    pub(super) fn names(self) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    pub(super) fn object(self, name: &str) -> Option<Self> {
        self.get(name).and_then(Self::of)
    }

    /// The elements of a list; empty when there is none.
    pub(super) fn list(self, name: &str) -> &'a [Value] {
        self.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The objects of a list.
    pub(super) fn objects(self, name: &str) -> impl Iterator<Item = Self> {
        self.list(name).iter().filter_map(Self::of)
    }

    /// A text that is not empty.
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn owned(self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(super) fn flag(self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => text == "true",
            _ => false,
        }
    }

    /// A whole number, also in a string.
    pub(super) fn int(self, name: &str) -> Option<i64> {
        self.get(name).and_then(int)
    }

    /// A number from 0, also in a string.
    pub(super) fn count<N: TryFrom<i64>>(self, name: &str) -> Option<N> {
        self.int(name).and_then(|number| N::try_from(number).ok())
    }

    pub(super) fn float(self, name: &str) -> Option<f64> {
        match self.get(name)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// A point in Unix time. Zero is what Telegram writes where it knows none.
    pub(super) fn time(self, name: &str) -> Option<DateTime<Utc>> {
        self.int(name).and_then(time)
    }
}

/// A whole number, also in a string.
pub(super) fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A point in Unix time after 1970.
pub(super) fn time(seconds: i64) -> Option<DateTime<Utc>> {
    Some(seconds).filter(|seconds| *seconds > 0).and_then(|seconds| DateTime::from_timestamp(seconds, 0))
}
