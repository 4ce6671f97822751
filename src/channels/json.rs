//! Tolerant reading of the JSON of providers.
//!
//! **Invariant:** reading a field never fails: what is missing or of the wrong type is `None`, and a number may stand in
//! a string. JSON with an unknown field, a doubled key (the last one counts) or an id above 2^53 is read all the same,
//! which is why this is a view of a [`Value`] and no derived struct: that would refuse doubled keys, and one field of a
//! wrong type would cost the whole message.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// The name of a field, if it looks like one: whatever else stands there may be somebody's data.
pub(crate) fn printable(name: &str) -> &str {
    let like_a_name =
        name.len() <= 64 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if like_a_name && !name.is_empty() { name } else { "(a name that is not printed)" }
}

/// A JSON object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    pub(crate) fn of(value: &'a Value) -> Option<Self> {
        value.as_object().map(Self)
    }

    /// The field, unless it is absent or null.
    pub(crate) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// True when the field stands there and is neither null nor false.
    pub(crate) fn has(self, name: &str) -> bool {
        self.get(name).is_some_and(|value| *value != Value::Bool(false))
    }

    /// The names of all fields that are not null.
    pub(crate) fn names(self) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    pub(crate) fn object(self, name: &str) -> Option<Self> {
        self.get(name).and_then(Self::of)
    }

    /// The elements of a list; empty when there is none.
    pub(crate) fn list(self, name: &str) -> &'a [Value] {
        self.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The objects of a list.
    pub(crate) fn objects(self, name: &str) -> impl Iterator<Item = Self> {
        self.list(name).iter().filter_map(Self::of)
    }

    /// A text that is not empty.
    pub(crate) fn text(self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(crate) fn owned(self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(crate) fn flag(self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => text == "true",
            _ => false,
        }
    }

    /// A whole number, also in a string.
    pub(crate) fn int(self, name: &str) -> Option<i64> {
        self.get(name).and_then(int)
    }

    /// A number from 0, also in a string.
    pub(crate) fn count<N: TryFrom<i64>>(self, name: &str) -> Option<N> {
        self.int(name).and_then(|number| N::try_from(number).ok())
    }

    pub(crate) fn float(self, name: &str) -> Option<f64> {
        match self.get(name)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// A point in Unix time. Zero is what Telegram writes where it knows none.
    pub(crate) fn time(self, name: &str) -> Option<DateTime<Utc>> {
        self.int(name).and_then(time)
    }
}

/// A whole number, also in a string.
pub(crate) fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A point in Unix time after 1970.
pub(crate) fn time(seconds: i64) -> Option<DateTime<Utc>> {
    Some(seconds).filter(|seconds| *seconds > 0).and_then(|seconds| DateTime::from_timestamp(seconds, 0))
}
