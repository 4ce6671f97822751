//! Type names to payload bytes and back: the only place where event JSON is made.
//!
//! **Invariant:** what is encoded holds no personal data in clear; what was ever encoded decodes for ever.

use crate::account::AccountEvent;
use crate::calendar::CalendarEvent;
use crate::case::{CaseEvent, CaseRegisterEvent};
use crate::case_type::CaseTypeEvent;
use crate::contact::ContactEvent;
use crate::conversation::ConversationEvent;
use crate::envelope::{Category, Metadata, NewEvent, RecordedEvent, StreamName};
use crate::ids::{EventId, IdHasher};
use crate::intake::IntakeEvent;
use crate::link::LinkEvent;
use crate::operator::OperatorEvent;
use crate::profile::ProfileEvent;
use crate::queue::QueueEvent;
use crate::seal::{DataKey, KeySubject, PersonalField, SealError, Sealer, SealerError};
use crate::service_level::ServiceLevelEvent;
use crate::upcast::{UpcastError, upcast};
use crate::vocabulary::EventType;

/// Any event of letopis: the closed union of all streams.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "events are moved a few times each; a box would cost more")]
pub enum DomainEvent {
    /// Of a channel account.
    Account(AccountEvent),
    /// Of raw deliveries.
    Intake(IntakeEvent),
    /// Of a contact point.
    Contact(ContactEvent),
    /// Of a profile.
    Profile(ProfileEvent),
    /// Of a pair of occupancies.
    Link(LinkEvent),
    /// Of a conversation.
    Conversation(ConversationEvent),
    /// Of a calendar.
    Calendar(CalendarEvent),
    /// Of an operator.
    Operator(OperatorEvent),
    /// Of a queue.
    Queue(QueueEvent),
    /// Of a case.
    Case(CaseEvent),
    /// Of a type of cases.
    CaseType(CaseTypeEvent),
    /// Of a register of cases.
    CaseRegister(CaseRegisterEvent),
    /// Of a service level.
    ServiceLevel(ServiceLevelEvent),
}

/// Why an event could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Sealing or opening failed.
    #[error(transparent)]
    Seal(#[from] SealerError),
    /// The type is not in the vocabulary: the event was written by a newer letopis.
    #[error("unknown event type {0}")]
    UnknownType(String),
    /// The payload could not be lifted to the current version.
    #[error("{event_type} v{version}: {source}")]
    Upcast {
        /// The type of the event.
        event_type: String,
        /// Its stored version.
        version: u16,
        /// What is wrong.
        source: UpcastError,
    },
    /// The payload is not of the form of its type.
    #[error("malformed payload of {0}")]
    Malformed(String),
    /// A personal field would have been written in clear.
    #[error("personal field of {0} is not sealed")]
    NotSealed(&'static str),
}

macro_rules! for_each_subject {
    ($self:expr, $event:ident => $body:expr) => {
        match $self {
            DomainEvent::Account($event) => $body,
            DomainEvent::Intake($event) => $body,
            DomainEvent::Contact($event) => $body,
            DomainEvent::Profile($event) => $body,
            DomainEvent::Link($event) => $body,
            DomainEvent::Conversation($event) => $body,
            DomainEvent::Calendar($event) => $body,
            DomainEvent::Operator($event) => $body,
            DomainEvent::Queue($event) => $body,
            DomainEvent::Case($event) => $body,
            DomainEvent::CaseType($event) => $body,
            DomainEvent::CaseRegister($event) => $body,
            DomainEvent::ServiceLevel($event) => $body,
        }
    };
}

macro_rules! subjects {
    ($($variant:ident($event:ident)),*) => {$(
        impl From<$event> for DomainEvent {
            fn from(event: $event) -> Self {
                Self::$variant(event)
            }
        }

        impl TryFrom<DomainEvent> for $event {
            type Error = DomainEvent;

            fn try_from(event: DomainEvent) -> Result<Self, DomainEvent> {
                match event {
                    DomainEvent::$variant(event) => Ok(event),
                    other => Err(other),
                }
            }
        }
    )*};
}

subjects!(
    Account(AccountEvent),
    Intake(IntakeEvent),
    Contact(ContactEvent),
    Profile(ProfileEvent),
    Link(LinkEvent),
    Conversation(ConversationEvent),
    Calendar(CalendarEvent),
    Operator(OperatorEvent),
    Queue(QueueEvent),
    Case(CaseEvent),
    CaseType(CaseTypeEvent),
    CaseRegister(CaseRegisterEvent),
    ServiceLevel(ServiceLevelEvent)
);

impl DomainEvent {
    /// Every event type there is, subject by subject.
    pub fn types() -> impl Iterator<Item = (Category, &'static EventType)> {
        [
            (Category::Account, AccountEvent::TYPES),
            (Category::Intake, IntakeEvent::TYPES),
            (Category::Contact, ContactEvent::TYPES),
            (Category::Profile, ProfileEvent::TYPES),
            (Category::Link, LinkEvent::TYPES),
            (Category::Conversation, ConversationEvent::TYPES),
            (Category::Calendar, CalendarEvent::TYPES),
            (Category::Operator, OperatorEvent::TYPES),
            (Category::Queue, QueueEvent::TYPES),
            (Category::Case, CaseEvent::TYPES),
            (Category::CaseType, CaseTypeEvent::TYPES),
            (Category::CaseRegister, CaseRegisterEvent::TYPES),
            (Category::ServiceLevel, ServiceLevelEvent::TYPES),
        ]
        .into_iter()
        .flat_map(|(category, types)| types.iter().map(move |row| (category, row)))
    }

    /// The stable type name.
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        for_each_subject!(self, event => event.event_type())
    }

    /// The current schema version of its payload.
    #[must_use]
    pub const fn version(&self) -> u16 {
        for_each_subject!(self, event => event.version())
    }

    /// The category of the streams it may stand in.
    #[must_use]
    pub const fn category(&self) -> Category {
        match self {
            Self::Account(_) => Category::Account,
            Self::Intake(_) => Category::Intake,
            Self::Contact(_) => Category::Contact,
            Self::Profile(_) => Category::Profile,
            Self::Link(_) => Category::Link,
            Self::Conversation(_) => Category::Conversation,
            Self::Calendar(_) => Category::Calendar,
            Self::Operator(_) => Category::Operator,
            Self::Queue(_) => Category::Queue,
            Self::Case(_) => Category::Case,
            Self::CaseType(_) => Category::CaseType,
            Self::CaseRegister(_) => Category::CaseRegister,
            Self::ServiceLevel(_) => Category::ServiceLevel,
        }
    }

    /// The personal part, if the type has one.
    pub fn personal(&mut self) -> Option<&mut dyn PersonalField> {
        for_each_subject!(self, event => event.personal())
    }

    fn to_json(&self) -> Result<Vec<u8>, CodecError> {
        for_each_subject!(self, event => event.to_json())
            .map_err(|_| CodecError::Malformed(self.event_type().to_owned()))
    }
}

/// An event read from the log and decoded. Its personal part is sealed until [`Codec::open`] opened it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The envelope; its payload is that of the log.
    pub recorded: RecordedEvent,
    /// The event.
    pub event: DomainEvent,
}

/// Encodes with sealing, decodes with upcasting and opening.
#[derive(Clone)]
pub struct Codec {
    sealer: Sealer,
    hasher: IdHasher,
}

impl Codec {
    /// A codec that seals with `sealer` and digests with `hasher`.
    #[must_use]
    pub const fn new(sealer: Sealer, hasher: IdHasher) -> Self {
        Self { sealer, hasher }
    }

    /// The sealer it uses.
    #[must_use]
    pub const fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The hasher that derives ids.
    #[must_use]
    pub const fn hasher(&self) -> &IdHasher {
        &self.hasher
    }

    /// Makes the keys that these events will be sealed with, together: one after the other each new person would wait
    /// for a sync of the key store. A key that cannot be had is asked for again by whoever encodes, and told of there.
    pub async fn make_keys(&self, events: impl Iterator<Item = &mut DomainEvent>) {
        let subjects = events.filter_map(|event| event.personal()?.subject());
        let unknown = subjects.filter(|subject| *subject != KeySubject::Own && !self.sealer.knows(*subject));
        let subjects: std::collections::HashSet<KeySubject> = unknown.collect();
        futures::future::join_all(subjects.into_iter().map(|subject| self.sealer.key_for(subject))).await;
    }

    /// Seals and encodes an event for `stream`.
    ///
    /// # Errors
    /// See [`CodecError`].
    pub async fn encode(
        &self,
        id: EventId,
        stream: &StreamName,
        metadata: Metadata,
        mut event: DomainEvent,
    ) -> Result<NewEvent, CodecError> {
        let (event_type, version) = (event.event_type(), event.version());
        let open_part = event.to_json()?;
        let clear = match event.personal() {
            Some(field) => field.clear_bytes().map_err(SealerError::from)?,
            None => Vec::new().into(),
        };
        let digest = self.hasher.digest(
            "payload",
            &[id.uuid().as_bytes(), event_type.as_bytes(), &version.to_le_bytes(), &open_part, &clear],
        );
        let payload = match event.personal() {
            Some(field) => {
                self.sealer.seal(field, &associated(id, stream, event_type, version)).await?;
                if field.key().is_none() {
                    return Err(CodecError::NotSealed(event_type));
                }
                event.to_json()?
            }
            None => open_part,
        };
        Ok(NewEvent { id, event_type: event_type.into(), version, digest, metadata, payload: payload.into() })
    }

    /// Decodes an event; its personal part stays sealed.
    ///
    /// # Errors
    /// See [`CodecError`].
    pub fn decode(&self, recorded: RecordedEvent) -> Result<Decoded, CodecError> {
        let event = self.decode_payload(&recorded)?;
        Ok(Decoded { recorded, event })
    }

    /// Decodes the payload of an event; its personal part stays sealed.
    ///
    /// # Errors
    /// See [`CodecError`].
    pub fn decode_payload(&self, recorded: &RecordedEvent) -> Result<DomainEvent, CodecError> {
        let event_type = recorded.event_type.as_ref();
        let current = current_version(recorded.stream.category, event_type)
            .ok_or_else(|| CodecError::UnknownType(event_type.to_owned()))?;
        let lifted = upcast(event_type, recorded.version, current, &recorded.payload).map_err(|source| {
            CodecError::Upcast { event_type: event_type.to_owned(), version: recorded.version, source }
        })?;
        let json = simdutf8::basic::from_utf8(lifted.as_deref().unwrap_or(&recorded.payload))
            .map_err(|_| CodecError::Malformed(event_type.to_owned()))?;
        let event = match recorded.stream.category {
            Category::Account => AccountEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::Account)),
            Category::Intake => IntakeEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::Intake)),
            Category::Contact => ContactEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::Contact)),
            Category::Profile => ProfileEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::Profile)),
            Category::Link => LinkEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::Link)),
            Category::Conversation => {
                ConversationEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::Conversation))
            }
            Category::Calendar => CalendarEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::Calendar)),
            Category::Operator => OperatorEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::Operator)),
            Category::Queue => QueueEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::Queue)),
            Category::Case => CaseEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::Case)),
            Category::CaseType => CaseTypeEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::CaseType)),
            Category::CaseRegister => {
                CaseRegisterEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::CaseRegister))
            }
            Category::ServiceLevel => {
                ServiceLevelEvent::from_json(event_type, json).map(|e| e.map(DomainEvent::ServiceLevel))
            }
        };
        event
            .ok_or_else(|| CodecError::UnknownType(event_type.to_owned()))?
            .map_err(|_| CodecError::Malformed(event_type.to_owned()))
    }

    /// Opens the personal part of a decoded event; after an erasure it becomes [`crate::seal::Personal::Erased`].
    ///
    /// # Errors
    /// See [`SealerError`].
    pub async fn open(&self, decoded: &mut Decoded) -> Result<(), SealerError> {
        let recorded = &decoded.recorded;
        let associated = associated(recorded.id, &recorded.stream, &recorded.event_type, recorded.version);
        match decoded.event.personal() {
            Some(field) => self.sealer.open(field, &associated).await,
            None => Ok(()),
        }
    }

    /// Opens the personal part of a decoded event with its key; without one it becomes
    /// [`crate::seal::Personal::Erased`].
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn open_with(&self, decoded: &mut Decoded, key: Option<&DataKey>) -> Result<(), SealError> {
        let recorded = &decoded.recorded;
        let associated = associated(recorded.id, &recorded.stream, &recorded.event_type, recorded.version);
        match decoded.event.personal() {
            Some(field) => field.open(key, &associated),
            None => Ok(()),
        }
    }

    /// Decodes an event and opens its personal part.
    ///
    /// # Errors
    /// See [`CodecError`].
    pub async fn decode_open(&self, recorded: RecordedEvent) -> Result<Decoded, CodecError> {
        let mut decoded = self.decode(recorded)?;
        self.open(&mut decoded).await?;
        Ok(decoded)
    }
}

fn current_version(category: Category, event_type: &str) -> Option<u16> {
    let types = match category {
        Category::Account => AccountEvent::TYPES,
        Category::Intake => IntakeEvent::TYPES,
        Category::Contact => ContactEvent::TYPES,
        Category::Profile => ProfileEvent::TYPES,
        Category::Link => LinkEvent::TYPES,
        Category::Conversation => ConversationEvent::TYPES,
        Category::Calendar => CalendarEvent::TYPES,
        Category::Operator => OperatorEvent::TYPES,
        Category::Queue => QueueEvent::TYPES,
        Category::Case => CaseEvent::TYPES,
        Category::CaseType => CaseTypeEvent::TYPES,
        Category::CaseRegister => CaseRegisterEvent::TYPES,
        Category::ServiceLevel => ServiceLevelEvent::TYPES,
    };
    types.iter().find(|row| row.name == event_type).map(|row| row.version)
}

/// What a box is bound to: a box of one event does not open in another.
fn associated(id: EventId, stream: &StreamName, event_type: &str, version: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(160);
    bytes.extend_from_slice(id.uuid().as_bytes());
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(stream.category.as_str().as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(stream.tenant.as_str().as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(stream.id.as_bytes());
    bytes.extend_from_slice(event_type.as_bytes());
    bytes
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
