//! Mails that we write: answers that find their way back into their conversation.
//!
//! **Invariant:** the same message always has the same Message-ID (`<message uuid@our domain>`), so that a mail sent
//! twice after an unknown outcome is one mail to whoever compares ids; nothing from outside can break out of a header.

use chrono::{DateTime, Utc};
use events::ids::{ConversationId, MessageId};
use events::values::EmailAddress;
use lettre::address::Envelope;
use lettre::message::header::{self, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};

use super::thread::OwnMailbox;

/// Most ids in References: the root and the latest. **Source:** RFC 5322, section 3.6.4, sets no limit; RFC 5537,
/// section 3.4.4, trims in the same way and keeps at least these.
const MOST_REFERENCES: usize = 12;
/// Longest id that is repeated to others, in bytes: a line may have 998 (RFC 5322, section 2.1.1).
const LONGEST_ID: usize = 250;
/// Prefixes by which mailers mark answers: English, Russian, German, Scandinavian, Polish. In lower case.
const REPLY_PREFIXES: [&str; 8] = ["re", "отв", "ответ", "на", "aw", "antw", "sv", "odp"];

/// A message of ours that goes out as a mail.
#[derive(Debug, Clone, PartialEq)]
pub struct OutgoingMail {
    /// Our message; its id makes the Message-ID.
    pub message: MessageId,
    /// The conversation that answers to it belong to.
    pub conversation: ConversationId,
    /// Where it goes, as the customer wrote it.
    pub to: String,
    /// The subject of the thread, with or without prefixes.
    pub subject: Option<String>,
    /// What it says.
    pub text: String,
    /// The key of the thread: the id of its first mail, or a hash where that had none.
    pub thread_key: String,
    /// Message-ID of the mail that it answers; `None` for the first mail of a thread.
    pub in_reply_to: Option<String>,
    /// References of the mail that it answers, oldest first.
    pub references: Vec<String>,
    /// When it was written.
    pub written_at: DateTime<Utc>,
    /// Who wrote it.
    pub author: Author,
    /// Files.
    pub files: Vec<OutgoingFile>,
}

/// Who wrote a mail of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// A person.
    Person,
    /// A machine: other machines are told not to answer (RFC 3834, section 3.1.7).
    Machine,
}

/// A file that goes out with a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingFile {
    /// Its name.
    pub name: String,
    /// Its media type (RFC 6838).
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A mail as it goes over the wire.
#[derive(Clone)]
pub struct ComposedMail {
    pub(super) envelope: Envelope,
    pub(super) bytes: Vec<u8>,
    /// Message-ID, without angle brackets.
    pub message_id: String,
}

impl std::fmt::Debug for ComposedMail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ComposedMail").field("message_id", &self.message_id).finish_non_exhaustive()
    }
}

/// Why a mail cannot be written at all: trying again does not help. It names no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// Nobody can be written to at this address.
    #[error("the recipient's address is malformed")]
    Recipient,
    /// The mailbox's own address or name cannot stand in a mail.
    #[error("the mailbox's own address is malformed")]
    Sender,
    /// The parts do not make a mail.
    #[error("the mail cannot be put together")]
    Parts,
}

/// Message-ID of a message of ours, without angle brackets.
#[must_use]
pub fn message_id_of(message: MessageId, own: &OwnMailbox) -> String {
    format!("{}@{}", message.uuid().hyphenated(), own.address().domain())
}

/// Writes a mail of ours.
///
/// # Errors
/// See [`ComposeError`].
pub fn compose(
    own: &OwnMailbox,
    display_name: Option<&str>,
    mail: &OutgoingMail,
) -> Result<ComposedMail, ComposeError> {
    let to = recipient(&mail.to)?;
    let from: Address = own.address().as_str().parse().map_err(|_| ComposeError::Sender)?;
    let name = display_name.map(one_line).filter(|name| !name.is_empty());
    let message_id = message_id_of(mail.message, own);
    let subject = mail.subject.as_deref().map(one_line).unwrap_or_default();
    let subject = if mail.in_reply_to.is_some() { reply_subject(&subject) } else { subject };
    let mut builder = Message::builder()
        .from(Mailbox::new(name.clone(), from.clone()))
        .to(Mailbox::new(None, to.clone()))
        .date(mail.written_at.into())
        .message_id(Some(format!("<{message_id}>")))
        .subject(subject);
    if let Some(address) = own.address_of(mail.conversation) {
        let address: Address = address.parse().map_err(|_| ComposeError::Sender)?;
        builder = builder.reply_to(Mailbox::new(name, address));
    }
    if let Some(answered) = mail.in_reply_to.as_deref().filter(|id| is_plain_id(id)) {
        builder = builder.in_reply_to(format!("<{answered}>"));
    }
    let references = references(mail);
    if !references.is_empty() {
        builder = builder.references(references);
    }
    if mail.author == Author::Machine {
        let name = HeaderName::new_from_ascii_str("Auto-Submitted");
        builder = builder.raw_header(HeaderValue::new(name, "auto-replied".to_owned()));
    }
    let text = SinglePart::plain(mail.text.clone());
    let message = if mail.files.is_empty() {
        builder.singlepart(text)
    } else {
        let mut parts = MultiPart::mixed().singlepart(text);
        for file in &mail.files {
            parts = parts.singlepart(attached(file));
        }
        builder.multipart(parts)
    };
    let message = message.map_err(|_| ComposeError::Parts)?;
    let envelope = Envelope::new(Some(from), vec![to]).map_err(|_| ComposeError::Parts)?;
    Ok(ComposedMail { envelope, bytes: message.formatted(), message_id })
}

/// The address to write to: the local part as the customer wrote it, the domain in ASCII, so that only addresses with
/// other letters before the `@` need a server that speaks SMTPUTF8 (RFC 6531).
fn recipient(written: &str) -> Result<Address, ComposeError> {
    let parsed = EmailAddress::parse(written).map_err(|_| ComposeError::Recipient)?;
    if parsed.domain().ends_with(".invalid") {
        return Err(ComposeError::Recipient);
    }
    let local = written.trim().rsplit_once('@').map_or(parsed.local_part(), |(local, _)| local);
    Address::new(local, parsed.domain()).map_err(|_| ComposeError::Recipient)
}

fn attached(file: &OutgoingFile) -> SinglePart {
    let media_type = header::ContentType::parse(&file.media_type)
        .or_else(|_| header::ContentType::parse("application/octet-stream"))
        .unwrap_or(header::ContentType::TEXT_PLAIN);
    Attachment::new(one_line(&file.name)).body(file.bytes.clone(), media_type)
}

/// The root of the thread, then the latest ids up to the mail that is answered.
fn references(mail: &OutgoingMail) -> String {
    let mut ids: Vec<&str> = Vec::new();
    let chain = mail.references.iter().map(String::as_str).chain(mail.in_reply_to.as_deref());
    for id in std::iter::once(mail.thread_key.as_str()).chain(chain) {
        if is_plain_id(id) {
            ids.retain(|known| *known != id || known == &mail.thread_key);
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    if ids.len() > MOST_REFERENCES {
        ids.drain(1..=ids.len() - MOST_REFERENCES);
    }
    ids.iter().map(|id| format!("<{id}>")).collect::<Vec<_>>().join(" ")
}

/// True for an id that can be repeated in a header as it is.
fn is_plain_id(id: &str) -> bool {
    let graphic = id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'<' && byte != b'>');
    graphic && id.contains('@') && id.len() <= LONGEST_ID
}

/// The subject of an answer: `Re:` once, whatever stood before.
#[must_use]
pub fn reply_subject(subject: &str) -> String {
    format!("Re: {}", without_prefixes(subject)).trim_end().to_owned()
}

/// A subject without the marks of answers before it: `Re:`, `Re[2]:`, `Отв:`.
#[must_use]
pub fn without_prefixes(subject: &str) -> &str {
    let mut rest = subject.trim();
    while let Some((prefix, after)) = rest.split_once([':', '：']) {
        let word = prefix.trim_end();
        let letters = word.trim_end_matches(|letter: char| letter.is_ascii_digit() || "[](){}^* ".contains(letter));
        let counted = letters.len() == word.len() || word.chars().count() - letters.chars().count() <= 6;
        if !counted || !REPLY_PREFIXES.contains(&letters.to_lowercase().as_str()) {
            break;
        }
        rest = after.trim_start();
    }
    rest
}

fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    line.trim().to_owned()
}

#[cfg(test)]
pub(super) mod tests;
