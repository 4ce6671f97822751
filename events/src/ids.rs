//! Typed ids, and stable ids of outside addresses by keyed hash.
//!
//! **Invariant:** the id of a thing that already has an outside address (a phone number, a chat, a delivery) is
//! derived from that address and never searched for, so that two first messages at once cannot make two people
//! (design invariant 5). The hashes are keyed, yet they remain pseudonyms of the address: whoever holds the key and
//! guesses an address can confirm the guess.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An id or name that does not have the form it should have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {expected}")]
pub struct ParseIdError {
    /// What was expected, with its form.
    pub expected: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix before the UUID in the printed form.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps a UUID that is known to belong to this kind of thing: one freshly made or derived.
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bare UUID, as stored in events and streams.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(concat!($prefix, "-"))
                    .and_then(|uuid| Uuid::parse_str(uuid).ok())
                    .map(Self)
                    .ok_or(ParseIdError { expected: concat!($prefix, "-<uuid>") })
            }
        }
    )*};
}

ids! {
    /// One event in the log.
    EventId = "event";
    /// One command; the same id twice is the same command.
    CommandId = "command";
    /// A channel account of a tenant: one bot, one mailbox, one chat widget.
    AccountId = "account";
    /// The raw deliveries of one outside conversation of one account.
    IntakeId = "intake";
    /// A contact point: a phone number, an e-mail address, a messenger account.
    ContactId = "contact";
    /// The person behind one occupancy of a contact point.
    ProfileId = "profile";
    /// A pair of occupancies that may be linked.
    LinkId = "link";
    /// A conversation: one outside thread of one account.
    ConversationId = "conversation";
    /// A message in a conversation.
    MessageId = "message";
    /// A calendar of working hours.
    CalendarId = "calendar";
    /// An operator.
    OperatorId = "operator";
    /// A queue of conversations.
    QueueId = "queue";
    /// A case.
    CaseId = "case";
    /// A type of cases.
    CaseTypeId = "casetype";
    /// The register of a tenant's cases.
    CaseRegisterId = "caseregister";
    /// A service level.
    ServiceLevelId = "servicelevel";
}

/// A tenant: the organisation that owns the data. A slug of 1 to 63 of `a-z`, `0-9` and `-`, not starting with `-`
/// (the form of a DNS label, RFC 1123), so that it can stand in stream and topic names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(CompactString);

impl TenantId {
    /// The slug.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The slug as it is kept: a short one without an allocation.
    #[must_use]
    pub const fn as_compact(&self) -> &CompactString {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TenantId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (1..=63).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(ParseIdError { expected: "tenant: 1 to 63 of a-z, 0-9 and -, not starting with -" })
        }
    }
}

impl TryFrom<String> for TenantId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TenantId> for String {
    fn from(tenant: TenantId) -> Self {
        tenant.0.into_string()
    }
}

/// The contact point at one time: its id and the number of the occupancy, from 1. A phone number that passes to
/// another person gets a new occupancy with a new key and a new profile (design invariant 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Occupancy {
    /// The contact point.
    pub contact: ContactId,
    /// Which occupancy of it, from 1.
    pub number: u32,
}

impl fmt::Display for Occupancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.contact, self.number)
    }
}

/// Derives ids from outside addresses: BLAKE3 keyed hash over the length-prefixed parts, truncated to a UUIDv8
/// (RFC 9562, section 5.8). The key lives in the key store.
#[derive(Clone)]
pub struct IdHasher(Arc<zeroize::Zeroizing<[u8; 32]>>);

impl fmt::Debug for IdHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdHasher(..)")
    }
}

impl IdHasher {
    /// A hasher with the installation's secret key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self(Arc::new(zeroize::Zeroizing::new(key)))
    }

    /// The UUIDv8 of `parts` within `domain`; equal parts give equal ids, in this installation only.
    #[must_use]
    pub fn derive(&self, domain: &str, parts: &[&[u8]]) -> Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.hash(domain, parts).as_bytes()[..16]);
        Uuid::new_v8(bytes)
    }

    /// A 128-bit keyed digest of `parts` within `domain`.
    #[must_use]
    pub fn digest(&self, domain: &str, parts: &[&[u8]]) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.hash(domain, parts).as_bytes()[..16]);
        bytes
    }

    fn hash(&self, domain: &str, parts: &[&[u8]]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in std::iter::once(&domain.as_bytes()).chain(parts) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize()
    }

    /// The contact point with this normalised value.
    #[must_use]
    pub fn contact(&self, tenant: &TenantId, kind: &str, normalised: &str) -> ContactId {
        ContactId(self.derive("contact", &[tenant.0.as_bytes(), kind.as_bytes(), normalised.as_bytes()]))
    }

    /// The profile of one occupancy.
    #[must_use]
    pub fn profile(&self, occupancy: Occupancy) -> ProfileId {
        ProfileId(self.derive("profile", &[occupancy.contact.0.as_bytes(), &occupancy.number.to_le_bytes()]))
    }

    /// The link between two occupancies; the order does not matter.
    #[must_use]
    pub fn link(&self, one: Occupancy, other: Occupancy) -> LinkId {
        let (a, b) = if one <= other { (one, other) } else { (other, one) };
        LinkId(self.derive(
            "link",
            &[a.contact.0.as_bytes(), &a.number.to_le_bytes(), b.contact.0.as_bytes(), &b.number.to_le_bytes()],
        ))
    }

    /// The conversation of this outside thread of an account.
    #[must_use]
    pub fn conversation(&self, account: AccountId, thread: &str) -> ConversationId {
        ConversationId(self.derive("conversation", &[account.0.as_bytes(), thread.as_bytes()]))
    }

    /// The operator with this name in their token.
    #[must_use]
    pub fn operator(&self, tenant: &TenantId, name: &str) -> OperatorId {
        OperatorId(self.derive("operator", &[tenant.as_str().as_bytes(), name.as_bytes()]))
    }

    /// The register of a tenant's cases.
    #[must_use]
    pub fn case_register(&self, tenant: &TenantId) -> CaseRegisterId {
        CaseRegisterId(self.derive("caseregister", &[tenant.as_str().as_bytes()]))
    }

    /// The message with this outside id in a conversation.
    #[must_use]
    pub fn message(&self, conversation: ConversationId, outside_id: &str) -> MessageId {
        MessageId(self.derive("message", &[conversation.0.as_bytes(), outside_id.as_bytes()]))
    }

    /// The intake stream of this conversation key of an account.
    #[must_use]
    pub fn intake(&self, account: AccountId, conversation_key: &str) -> IntakeId {
        IntakeId(self.derive("intake", &[account.0.as_bytes(), conversation_key.as_bytes()]))
    }

    /// The raw event of this delivery of an account.
    #[must_use]
    pub fn delivery(&self, account: AccountId, delivery_id: &str) -> EventId {
        EventId(self.derive("delivery", &[account.0.as_bytes(), delivery_id.as_bytes()]))
    }
}

/// Namespace of the command ids that reactors derive, a fixed random UUID.
const REACTOR_NAMESPACE: Uuid = Uuid::from_u128(0x6c65_746f_7069_7300_8000_7265_6163_746f);

impl CommandId {
    /// The command that `reactor` issues because of `cause`, the `ordinal`-th of it: UUIDv5 (RFC 9562, section 5.5),
    /// so that handling the same event again issues the same command (design invariant 8).
    #[must_use]
    pub fn of_reactor(reactor: &str, cause: EventId, ordinal: u32) -> Self {
        let mut name = reactor.as_bytes().to_vec();
        name.push(0);
        name.extend_from_slice(cause.0.as_bytes());
        name.extend_from_slice(&ordinal.to_le_bytes());
        Self(Uuid::new_v5(&REACTOR_NAMESPACE, &name))
    }

    /// The command that a caller repeats with the same idempotency key.
    #[must_use]
    pub fn of_caller(tenant: &TenantId, actor: &str, operation: &str, key: &str) -> Self {
        let name = [tenant.as_str(), actor, operation, key].join("\0");
        Self(Uuid::new_v5(&REACTOR_NAMESPACE, name.as_bytes()))
    }

    /// The id of the `index`-th event that this command writes.
    #[must_use]
    pub fn event(self, index: u32) -> EventId {
        EventId(Uuid::new_v5(&self.0, &index.to_le_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_its_kind_and_parses_back() {
        let id = ConversationId::new(Uuid::from_u128(7));
        assert_eq!(id.to_string(), "conversation-00000000-0000-0000-0000-000000000007");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("message-00000000-0000-0000-0000-000000000007".parse::<ConversationId>().is_err());
    }

    #[test]
    fn a_tenant_is_a_dns_label() {
        for good in ["a", "acme", "acme-2"] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        let long = "x".repeat(64);
        for bad in ["", "-a", "Acme", "a:b", "ромашка", &long] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn derived_ids_differ_by_key_domain_and_part_boundaries() {
        let hasher = IdHasher::new([1; 32]);
        let ab = hasher.derive("d", &[b"ab", b"c"]);
        assert_eq!(ab, hasher.derive("d", &[b"ab", b"c"]));
        assert_ne!(ab, hasher.derive("d", &[b"a", b"bc"]));
        assert_ne!(ab, hasher.derive("e", &[b"ab", b"c"]));
        assert_ne!(ab, IdHasher::new([2; 32]).derive("d", &[b"ab", b"c"]));
        assert_eq!(ab.get_version_num(), 8);
    }

    #[test]
    fn a_link_is_the_same_from_both_sides() {
        let hasher = IdHasher::new([1; 32]);
        let a = Occupancy { contact: ContactId::new(Uuid::from_u128(1)), number: 1 };
        let b = Occupancy { contact: ContactId::new(Uuid::from_u128(2)), number: 1 };
        assert_eq!(hasher.link(a, b), hasher.link(b, a));
    }
}
