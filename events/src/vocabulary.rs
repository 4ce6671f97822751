//! The macro that declares one subject's events: their type names, schema versions and personal fields.
//!
//! **Invariant:** an event type name is used once; the version is that of the current payload struct, older ones are
//! lifted by [`crate::upcast`] before they get here.

use crate::seal::PersonalField;

/// What every payload struct can tell.
pub trait Payload {
    /// The personal part of the payload, if the event type has one.
    fn personal(&mut self) -> Option<&mut dyn PersonalField> {
        None
    }
}

/// One row of the table of event types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventType {
    /// The stable name, `<category>.<past tense verb>`.
    pub name: &'static str,
    /// The current schema version.
    pub version: u16,
    /// True when the payload has a sealed personal part.
    pub personal: bool,
}

/// Declares the closed union of a subject's events. `sealed field` names the personal field of the payload struct.
macro_rules! vocabulary {
    (
        $(#[$doc:meta])*
        $union:ident {
            $($(#[$vdoc:meta])* $variant:ident($payload:ident) = $name:literal, $version:literal $(, sealed $field:ident)?;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $union {
            $($(#[$vdoc])* $variant($payload),)*
        }

        $(
            impl $crate::vocabulary::Payload for $payload {
                $(
                    fn personal(&mut self) -> Option<&mut dyn $crate::seal::PersonalField> {
                        Some(&mut self.$field)
                    }
                )?
            }

            impl From<$payload> for $union {
                fn from(payload: $payload) -> Self {
                    Self::$variant(payload)
                }
            }
        )*

        impl $union {
            /// Every event type of the subject.
            pub const TYPES: &'static [$crate::EventType] = &[
                $($crate::EventType {
                    name: $name,
                    version: $version,
                    personal: vocabulary!(@sealed $($field)?),
                },)*
            ];

            /// The stable type name.
            #[must_use]
            pub const fn event_type(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// The schema version of the payload.
            #[must_use]
            pub const fn version(&self) -> u16 {
                match self { $(Self::$variant(_) => $version,)* }
            }

            pub(crate) fn personal(&mut self) -> Option<&mut dyn $crate::seal::PersonalField> {
                match self { $(Self::$variant(payload) => $crate::vocabulary::Payload::personal(payload),)* }
            }

            pub(crate) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
                match self { $(Self::$variant(payload) => serde_json::to_vec(payload),)* }
            }

            /// `None` when the type is not one of this subject's.
            pub(crate) fn from_json(event_type: &str, json: &str) -> Option<serde_json::Result<Self>> {
                match event_type {
                    $($name => Some(serde_json::from_str(json).map(Self::$variant)),)*
                    _ => None,
                }
            }
        }
    };
    (@sealed $field:ident) => { true };
    (@sealed) => { false };
}

pub(crate) use vocabulary;
