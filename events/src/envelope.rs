//! The envelope around every payload: who, what, when, why and where in the log.
//!
//! **Invariant:** nothing in the envelope is personal data in clear; ids of contact points are keyed hashes. Order
//! is by revision within a stream and by position within a log, never by a clock.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use compact_str::{CompactString, ToCompactString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{CommandId, ContactId, EventId, ParseIdError, TenantId};

mod usual;

/// Place of an event in its stream, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Place of an event in the whole log: grows with every append, not necessarily by one; comparable within one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before the first event of any log.
    pub const START: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a stream is about: the first part of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// A channel account.
    Account,
    /// Raw deliveries.
    Intake,
    /// A contact point.
    Contact,
    /// Attributes of one person.
    Profile,
    /// A pair of occupancies.
    Link,
    /// A conversation.
    Conversation,
    /// A calendar: when a team works.
    Calendar,
    /// An operator.
    Operator,
    /// A queue of conversations.
    Queue,
    /// A case: a matter of a customer.
    Case,
    /// A type of cases.
    CaseType,
    /// The register that numbers a tenant's cases.
    CaseRegister,
    /// A service level.
    ServiceLevel,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 13] = [
        Self::Account,
        Self::Intake,
        Self::Contact,
        Self::Profile,
        Self::Link,
        Self::Conversation,
        Self::Calendar,
        Self::Operator,
        Self::Queue,
        Self::Case,
        Self::CaseType,
        Self::CaseRegister,
        Self::ServiceLevel,
    ];

    /// The name in stream and topic names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Intake => "intake",
            Self::Contact => "contact",
            Self::Profile => "profile",
            Self::Link => "link",
            Self::Conversation => "conversation",
            Self::Calendar => "calendar",
            Self::Operator => "operator",
            Self::Queue => "queue",
            Self::Case => "case",
            Self::CaseType => "casetype",
            Self::CaseRegister => "caseregister",
            Self::ServiceLevel => "servicelevel",
        }
    }
}

impl FromStr for Category {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|category| category.as_str() == text)
            .ok_or(ParseIdError { expected: "stream category" })
    }
}

/// The name of a stream: `<category>-<tenant>:<uuid>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName {
    /// What the stream is about.
    pub category: Category,
    /// Whose it is.
    pub tenant: TenantId,
    /// The id of the thing, without its prefix.
    pub id: Uuid,
}

impl StreamName {
    /// The stream of one thing of a tenant.
    #[must_use]
    pub const fn new(category: Category, tenant: TenantId, id: Uuid) -> Self {
        Self { category, tenant, id }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}:{}", self.category.as_str(), self.tenant, self.id.hyphenated())
    }
}

impl FromStr for StreamName {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (category, rest) = text.split_once('-')?;
            let (tenant, id) = rest.rsplit_once(':')?;
            Some(Self { category: category.parse().ok()?, tenant: tenant.parse().ok()?, id: Uuid::parse_str(id).ok()? })
        };
        parse().ok_or(ParseIdError { expected: "stream name: <category>-<tenant>:<uuid>" })
    }
}

impl TryFrom<String> for StreamName {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StreamName> for String {
    fn from(stream: StreamName) -> Self {
        stream.to_string()
    }
}

/// Who made something happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Actor {
    /// A customer, known by a contact point.
    Customer(ContactId),
    /// A person of the contact centre, by the id of their token.
    Operator(CompactString),
    /// An LLM agent, by name.
    Agent(CompactString),
    /// A part of letopis or of a provider, by name: a reactor, a channel, the command line.
    System(CompactString),
}

impl Actor {
    /// The kind in lower case: `customer`, `operator`, `agent` or `system`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Customer(_) => "customer",
            Self::Operator(_) => "operator",
            Self::Agent(_) => "agent",
            Self::System(_) => "system",
        }
    }

    /// The id within the kind.
    #[must_use]
    pub fn id(&self) -> CompactString {
        match self {
            Self::Customer(contact) => contact.to_compact_string(),
            Self::Operator(id) | Self::Agent(id) | Self::System(id) => id.clone(),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.id())
    }
}

/// What the actor had on the screen when it acted: shows later what they could have seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenAt {
    /// The read position of the answer that they acted on.
    pub position: Position,
    /// The role they saw it in.
    pub role: Arc<str>,
    /// The version of the mask policy in force.
    pub mask_policy: u32,
}

/// What a caller wished, as a keyed digest ([`IdHasher::digest`](crate::ids::IdHasher::digest)): tells a command sent
/// again from another one under the same id, and nothing about what either said. Stored as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Wish([u8; 16]);

impl Wish {
    /// The wish with this digest.
    #[must_use]
    pub const fn new(digest: [u8; 16]) -> Self {
        Self(digest)
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Wish {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digest = [0; 16];
        hex::decode_to_slice(text, &mut digest)
            .map_err(|_| ParseIdError { expected: "wish: 32 hexadecimal digits" })?;
        Ok(Self(digest))
    }
}

impl TryFrom<String> for Wish {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Wish> for String {
    fn from(wish: Wish) -> Self {
        wish.to_string()
    }
}

/// Everything about an event that is not its payload and not its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Who made it happen.
    pub actor: Actor,
    /// The command that wrote it; absent for raw intake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandId>,
    /// The event that led to the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<EventId>,
    /// The same for everything that follows from one outside cause, from webhook to delivery.
    pub correlation: Uuid,
    /// When it happened by the provider's clock; ours where there is no provider.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub occurred_at: DateTime<Utc>,
    /// W3C trace context of the request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<Arc<str>>,
    /// What the actor saw when they acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<SeenAt>,
    /// What the caller of the command wished; absent where the command follows from its cause, and in old events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<Wish>,
}

impl Metadata {
    /// Reads the JSON text that serialising it gives.
    ///
    /// # Errors
    /// Those of the JSON and its form.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        // Every event that is read has one: the usual ones are read where they stand.
        usual::read(text).map_or_else(|| serde_json::from_str(text), Ok)
    }
}

/// An event on its way into the log: encoded, its personal fields sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id; appending the same id again is the same event.
    pub id: EventId,
    /// Its type, `<category>.<past tense verb>`: a public contract.
    pub event_type: Arc<str>,
    /// The schema version of the payload, from 1.
    pub version: u16,
    /// Keyed digest of the payload in clear (sealing is randomised, so ciphertexts cannot be compared): tells the
    /// same event sent again from another event under the same id.
    pub digest: [u8; 16],
    /// Who, when and why.
    pub metadata: Metadata,
    /// The payload: JSON in UTF-8 with sealed personal fields. Opaque to the log.
    pub payload: Bytes,
}

/// An event in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its id.
    pub id: EventId,
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Its place in the stream.
    pub revision: Revision,
    /// Its place in the log.
    pub position: Position,
    /// Its type.
    pub event_type: Arc<str>,
    /// The schema version of the payload.
    pub version: u16,
    /// Who, when and why.
    pub metadata: Metadata,
    /// When the log took it, by our clock, in microseconds; never less than that of an earlier position.
    pub recorded_at: DateTime<Utc>,
    /// The payload as stored.
    pub payload: Bytes,
}

impl RecordedEvent {
    /// Whose event it is.
    #[must_use]
    pub const fn tenant(&self) -> &TenantId {
        &self.stream.tenant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_name_parses_back_also_with_dashes_in_the_tenant() {
        let name = StreamName::new(Category::Conversation, "acme-2".parse().unwrap(), Uuid::from_u128(7));
        assert_eq!(name.to_string(), "conversation-acme-2:00000000-0000-0000-0000-000000000007");
        assert_eq!(name.to_string().parse(), Ok(name));
        assert!("conversation-acme".parse::<StreamName>().is_err());
        assert!("nonsense-acme:00000000-0000-0000-0000-000000000007".parse::<StreamName>().is_err());
    }

    #[test]
    fn a_wish_is_stored_as_hexadecimal_digits_and_an_absent_one_not_at_all() {
        let old = crate::testing::rich_metadata();
        let text = serde_json::to_string(&old).unwrap();
        assert!(!text.contains("wish"), "{text}");
        assert_eq!(serde_json::from_str::<Metadata>(&text).unwrap(), old);
        let new = Metadata { wish: Some(Wish::new([0xab; 16])), ..old };
        let value = serde_json::to_value(&new).unwrap();
        assert_eq!(value["wish"], "ab".repeat(16));
        assert_eq!(serde_json::from_value::<Metadata>(value).unwrap(), new);
        assert!("ab".parse::<Wish>().is_err());
    }
}
