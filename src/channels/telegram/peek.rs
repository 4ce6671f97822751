//! The tolerant look before the append: delivery id, what orders it, when it happened.
//!
//! **Invariant:** it never fails and builds no tree: each field is looked at once as it passes by. The conversation key
//! is the chat id, or the user id where there is no chat: never finer than the thread of a conversation, so that
//! deliveries of one thread stay in order.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::update::UPDATE_KINDS;
use crate::channels::Peek;
use crate::channels::json::time;

/// Finds what it can.
#[must_use]
pub fn peek(body: &[u8]) -> Peek {
    let Ok(top) = serde_json::from_slice::<Top>(body) else {
        return Peek::default();
    };
    let Some(update_id) = top.update_id else {
        return Peek::default();
    };
    let occurred_at = top.scope.edited.or(top.scope.date).and_then(time);
    Peek { delivery_id: Some(update_id.to_string()), conversation_key: top.scope.key(), occurred_at }
}

#[derive(Default)]
struct Top {
    update_id: Option<i64>,
    scope: Scope,
}

/// What the peek wants of any object, taken from whichever field it stands in.
#[derive(Default)]
struct Scope {
    id: Option<String>,
    chat: Option<String>,
    user: Option<String>,
    date: Option<i64>,
    edited: Option<i64>,
}

impl Scope {
    fn key(self) -> Option<String> {
        self.chat.or(self.user).or_else(|| self.id.map(|id| format!("poll/{id}")))
    }
}

impl<'de> Deserialize<'de> for Top {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Top;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an update")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Top, A::Error> {
                let mut top = Top::default();
                while let Some(Key(key)) = map.next_key()? {
                    if key == "update_id" {
                        top.update_id = map.next_value::<Loose>()?.number();
                    } else if UPDATE_KINDS.contains(&&*key) {
                        top.scope = map.next_value::<Option<Scope>>()?.unwrap_or(top.scope);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(top)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScopeFields)
    }
}

struct ScopeFields;

impl<'de> Visitor<'de> for ScopeFields {
    type Value = Scope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scope, A::Error> {
        let mut scope = Scope::default();
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                "id" => scope.id = map.next_value::<Loose>()?.text(),
                "chat" => scope.chat = map.next_value::<Scope>()?.id,
                "from" | "user" | "voter_chat" => scope.user = map.next_value::<Scope>()?.id,
                "date" => scope.date = map.next_value::<Loose>()?.number(),
                "edit_date" => scope.edited = map.next_value::<Loose>()?.number(),
                // The message under a pressed button: its chat counts, its date does not.
                "message" => scope.chat = map.next_value::<Scope>()?.chat.or(scope.chat),
                // A boost: its dates count, and its user where there is no chat.
                "boost" => {
                    let boost: Scope = map.next_value()?;
                    scope.date = boost.date.or(scope.date);
                }
                "add_date" | "remove_date" => scope.date = map.next_value::<Loose>()?.number(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(scope)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scope, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scope::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scope, E> {
        Ok(Scope::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scope, E> {
        Ok(Scope::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Scope, E> {
        Ok(Scope::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scope, E> {
        Ok(Scope::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Scope, E> {
        Ok(Scope::default())
    }

    fn visit_unit<E>(self) -> Result<Scope, E> {
        Ok(Scope::default())
    }
}

/// The name of a field, borrowed from the body where it holds no escapes.
struct Key<'de>(std::borrow::Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl<'de> Visitor<'de> for Name {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(name.into()))
            }

            fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(name.to_owned().into()))
            }
        }

        deserializer.deserialize_str(Name)
    }
}

/// An id or a time: a number, or a number in a string.
enum Loose {
    Number(i64),
    Text(String),
    Other,
}

impl Loose {
    fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Other => None,
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) => Some(text).filter(|text| !text.is_empty()),
            Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Loose;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Loose, E> {
                Ok(Loose::Number(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Loose, E> {
                Ok(i64::try_from(number).map_or(Loose::Other, Loose::Number))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Loose, E> {
                Ok(Loose::Other)
            }

            fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
                Ok(Loose::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Loose, E> {
                Ok(Loose::Other)
            }

            fn visit_unit<E>(self) -> Result<Loose, E> {
                Ok(Loose::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Loose::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Loose, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Loose::Other)
            }
        }

        deserializer.deserialize_any(Any)
    }
}
