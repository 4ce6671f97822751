//! Which conversation a mail belongs to: our token in an address, else the ids that mail threads by.
//!
//! The token is the conversation's id (32 hexadecimal digits) after a plus in our own address:
//! `support+0f3c…@example.com`. Answers carry it in Reply-To, so it comes back even where a mailer cuts References. It
//! is out of band of the thread's key: an id cannot be turned back into the key that it was derived from. Whoever
//! takes the id must see that the conversation exists and belongs to the account, and fall back to the key otherwise.
//! Conversation ids are keyed hashes of 122 bits; a customer can only know the token of a thread they have answers of.
//!
//! **Invariant:** a key depends on the bytes of the mail alone, never on its subject; the forms of token and key are
//! stored in mailboxes and streams and stay for ever.

use events::ids::ConversationId;
use events::values::EmailAddress;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::headers::Header;

/// Length of a token: a UUID in hexadecimal digits without hyphens.
const TOKEN_LENGTH: usize = 32;
/// Longest local part, in bytes. **Source:** RFC 5321, section 4.5.3.1.1.
const LONGEST_LOCAL_PART: usize = 64;
/// Longest id that stands in a key as it is, in bytes; longer ones are hashed. **Source:** a header line may have 998
/// bytes (RFC 5322, section 2.1.1); ids of real mailers stay under 200.
const LONGEST_ID: usize = 250;

/// Fields that say whom a mail was delivered to, the most reliable first.
pub(crate) const RECIPIENT_FIELDS: [&str; 8] =
    ["Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Forwarded-To", "To", "Cc", "Bcc"];

/// The mailbox of a channel account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnMailbox {
    address: EmailAddress,
}

impl OwnMailbox {
    /// The mailbox with this address.
    #[must_use]
    pub const fn new(address: EmailAddress) -> Self {
        Self { address }
    }

    /// Its address, without token.
    #[must_use]
    pub const fn address(&self) -> &EmailAddress {
        &self.address
    }

    /// The address that leads answers back to a conversation; `None` where the local part leaves no room for a token.
    #[must_use]
    pub fn address_of(&self, conversation: ConversationId) -> Option<String> {
        let local = self.address.local_part();
        let room = local.len() + 1 + TOKEN_LENGTH <= LONGEST_LOCAL_PART;
        room.then(|| format!("{local}+{}@{}", conversation.uuid().simple(), self.address.domain()))
    }

    /// The conversation whose token an address of ours carries.
    #[must_use]
    pub fn conversation_in(&self, address: &str) -> Option<ConversationId> {
        let address = EmailAddress::parse(address).ok()?;
        let (local, token) = address.local_part().rsplit_once('+')?;
        if address.domain() != self.address.domain() || local != self.address.local_part() {
            return None;
        }
        token_value(token)
    }

    /// True for the mailbox itself, with or without a token.
    #[must_use]
    pub fn is_own(&self, address: &str) -> bool {
        EmailAddress::parse(address).is_ok_and(|address| address == self.address)
            || self.conversation_in(address).is_some()
    }
}

/// The conversation whose token stands after the last plus of any address; for the peek, which knows no account.
pub(crate) fn token_of_any(address: &str) -> Option<ConversationId> {
    let (local, _) = address.rsplit_once('@')?;
    token_value(local.rsplit_once('+')?.1)
}

fn token_value(token: &str) -> Option<ConversationId> {
    let plain = token.len() == TOKEN_LENGTH && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| Uuid::try_parse(token).ok().map(ConversationId::new)).flatten()
}

/// The first conversation that an address in these fields leads to.
pub(crate) fn conversation_among(
    header: &Header<'_>,
    fields: &[&str],
    lead: impl Fn(&str) -> Option<ConversationId>,
) -> Option<ConversationId> {
    fields.iter().flat_map(|field| header.addresses(field).0).find_map(|named| lead(&named.address))
}

/// The ids that a mail threads by, best first: the first of References, the first of In-Reply-To, its own.
pub(crate) fn root_id(header: &Header<'_>) -> Option<String> {
    ancestor_id(header).or_else(|| own_id(header))
}

/// The first of References, else the first of In-Reply-To.
pub(crate) fn ancestor_id(header: &Header<'_>) -> Option<String> {
    ["References", "In-Reply-To"].iter().find_map(|field| header.ids(field).into_iter().next()).map(bounded)
}

/// The mail's own id.
pub(crate) fn own_id(header: &Header<'_>) -> Option<String> {
    header.ids("Message-ID").into_iter().next().map(bounded)
}

/// What stands for an id where there is none: a hash of the whole mail.
pub(crate) fn hash_id(body: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(body)))
}

fn bounded(id: String) -> String {
    if id.len() <= LONGEST_ID { id } else { hash_id(id.as_bytes()) }
}

#[cfg(test)]
mod tests;
