//! E-mail: mails handed in by a hook as they came (RFC 5322), answers sent through the tenant's own SMTP server.
//!
//! A mail server, a pipe or a provider's raw mode posts the bytes of one mail; the hook proves itself by a shared secret
//! in `Authorization: Bearer <secret>` or `X-Letopis-Secret: <secret>`.
//!
//! **Invariant:** [`normalise`] is pure and total, and answers are threaded by ids and our own token, never by subject.

use chrono::{DateTime, TimeDelta, Utc};
use events::contact::ContactAddress;
use events::conversation::ConversationKind;
use events::conversation::content::{
    Attachment, AttachmentLocation, MailHeaders, MessageContent, MessageKind, MessageMark, OutsideThread,
};
use events::profile::Attribute;
use events::values::{ContactKind, EmailAddress};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{Happening, Interaction, Normalised, Party, Peek, Thread, Unrecognised};
use headers::{Header, Named};
use parts::{Leaf, Parts, Role};
use report::Report;
use text::Reading;

mod charset;
pub mod deliver;
mod headers;
mod parts;
pub mod reply;
mod report;
mod text;
mod thread;
mod transfer;

pub use thread::OwnMailbox;

/// How much of a mail the peek looks at, in bytes: headers of real mail are under 64 KiB.
const PEEKED_BYTES: usize = 128 * 1024;
/// How far ahead of our clock a sender's clock is believed.
const CLOCKS_AHEAD: TimeDelta = TimeDelta::days(1);
/// Seconds since 1970 of 1990-01-01: an earlier date is a clock that was never set.
const EARLIEST_DATE: i64 = 631_152_000;
/// The host of senders that a mail does not name. **Source:** `.invalid` never resolves (RFC 2606, section 2).
const UNKNOWN_HOST: &str = "unknown.invalid";
/// Fields of which a mail without a sender has at least one; other bytes with a colon in them are no mail.
const MAIL_FIELDS: [&str; 7] = ["Subject", "Date", "To", "Message-ID", "MIME-Version", "Content-Type", "Received"];

/// The secret that a hook presents: the token of `Authorization: Bearer`, else `X-Letopis-Secret`. The values are those
/// of the header fields, as received.
#[must_use]
pub fn presented_secret<'r>(authorization: Option<&'r [u8]>, own_header: Option<&'r [u8]>) -> Option<&'r [u8]> {
    let bearer = authorization.and_then(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
    });
    bearer.or(own_header.map(<[u8]>::trim_ascii))
}

/// True when the presented secret is one of the live ones. The time taken tells nothing of the secrets: digests are
/// compared, all of them, in constant time.
#[must_use]
pub fn verify<S: AsRef<[u8]>>(presented: Option<&[u8]>, live: &[S]) -> bool {
    let Some(presented) = presented.filter(|presented| !presented.is_empty()) else { return false };
    let presented = Sha256::digest(presented);
    let mut proven = Choice::from(0);
    for secret in live.iter().map(AsRef::as_ref).filter(|secret| !secret.is_empty()) {
        proven |= Sha256::digest(secret).ct_eq(&presented);
    }
    proven.into()
}

/// Looks at the header of a mail: Message-ID, the thread's key and Date.
///
/// The key is the one that [`normalise`] finds, or the token of an answer as `conversation-<uuid>`; a bounce is the
/// exception, whose thread may stand in its body only.
#[must_use]
pub fn peek(body: &[u8]) -> Peek {
    let header = headers::of_mail(&body[..body.len().min(PEEKED_BYTES)]);
    let conversation = thread::conversation_among(&header, &thread::RECIPIENT_FIELDS, thread::token_of_any);
    Peek {
        delivery_id: thread::own_id(&header),
        conversation_key: conversation.map(|it| it.to_string()).or_else(|| thread::root_id(&header)),
        occurred_at: header.date("Date"),
    }
}

/// What a mail says, in our words. `received_at` is when the delivery was taken in: it stands where the Date field is
/// missing, malformed, before 1990 or more than a day ahead.
///
/// # Errors
/// [`Unrecognised`] when the bytes have no fields of a mail.
pub fn normalise(body: &[u8], own: &OwnMailbox, received_at: DateTime<Utc>) -> Result<Normalised, Unrecognised> {
    let header = headers::of_mail(body);
    if header.is_empty() {
        return Err(Unrecognised { reason: "no header fields".to_owned() });
    }
    let parts = Parts::of(body, &header);
    let mut reading = text::read(&parts);
    reading.damaged |= header.damaged || parts.damaged;
    let report = report::of(&header, &parts, reading.text.as_deref());
    let sender = match sender(body, &header, own, &report, &mut reading)? {
        Sender::Other(party, named) => (party, named),
        Sender::Nobody(party, named) => {
            reading.damaged = true;
            (party, named)
        }
        Sender::Own => return Ok(Normalised { kind: "own".to_owned(), interactions: Vec::new() }),
    };
    let occurred_at = header
        .date("Date")
        .filter(|date| date.timestamp() >= EARLIEST_DATE && *date <= received_at + CLOCKS_AHEAD)
        .unwrap_or(received_at);
    let outside_id = thread::own_id(&header).unwrap_or_else(|| thread::hash_id(body));
    let subject = header.text("Subject");
    reading.guessed |= subject.as_ref().is_some_and(|(_, guessed)| *guessed);
    let subject = subject.map(|(subject, _)| subject);
    let thread = found_thread(&header, own, &report, &outside_id, subject.as_deref(), &sender.1);
    let in_reply_to = header.ids("In-Reply-To");
    let references = header.ids("References");
    let reply_to = in_reply_to.first().or(references.last()).cloned();
    let mail = mail_headers(&header, in_reply_to, references, &report, &mut reading);
    let attachments = parts.attachments().zip(0..).map(|(leaf, index)| attachment(leaf, index)).collect();
    let kind = report.kind.to_owned();
    let mut marks = report.marks;
    marks.extend(reading.damaged.then_some(MessageMark::Damaged));
    marks.extend(reading.guessed.then_some(MessageMark::GuessedCharset));
    let content = MessageContent {
        outside_id: Some(outside_id.clone()),
        subject,
        text: reading.text,
        html: reading.html,
        attachments,
        mail: Some(mail),
        ..MessageContent::default()
    };
    let what = Happening::Message { outside_id, kind: MessageKind::Email, marks, reply_to, album: None, content };
    let interaction = Interaction { thread: Some(thread), party: Some(sender.0), occurred_at, what };
    Ok(Normalised { kind, interactions: vec![interaction] })
}

/// The bytes of the attachment that [`AttachmentLocation::RawDelivery`] names, unpacked; `None` where the mail has no
/// such attachment. The same bytes of a mail number their attachments the same for ever.
#[must_use]
pub fn attachment_bytes(body: &[u8], index: u32) -> Option<Vec<u8>> {
    let header = headers::of_mail(body);
    let parts = Parts::of(body, &header);
    let leaf = parts.attachments().nth(usize::try_from(index).ok()?)?;
    Some(leaf.bytes().0.into_owned())
}

enum Sender {
    /// Somebody else.
    Other(Party, Named),
    /// A mail without a sender.
    Nobody(Party, Named),
    /// The mailbox itself.
    Own,
}

/// Who wrote. A mail that names nobody is shown all the same, under an address that is made from its hash: so two such
/// mails do not become one person, and nothing can be sent to it. A form on a tenant's site often writes in the mailbox's own name and names the customer in Reply-To; mail
/// from ourselves without such is no customer's.
fn sender(
    body: &[u8],
    header: &Header<'_>,
    own: &OwnMailbox,
    report: &Report,
    reading: &mut Reading,
) -> Result<Sender, Unrecognised> {
    let mut own_seen = false;
    for field in ["From", "Reply-To", "Sender", "Resent-From", "Return-Path"] {
        let (addresses, guessed) = header.addresses(field);
        for named in addresses {
            let Ok(address) = EmailAddress::parse(&named.address) else { continue };
            if own.is_own(&named.address) {
                own_seen = true;
                continue;
            }
            if own_seen && !matches!(field, "From" | "Reply-To") {
                continue;
            }
            reading.guessed |= guessed;
            return Ok(Sender::Other(party(&address, &named), named));
        }
    }
    if own_seen && !report.is_about_ours() {
        return Ok(Sender::Own);
    }
    let stands_in = if report.is_about_ours() {
        let host = report.reporting_host.as_deref().unwrap_or(UNKNOWN_HOST);
        [format!("mailer-daemon@{host}"), format!("mailer-daemon@{UNKNOWN_HOST}")]
    } else {
        let nobody = format!("unknown-{}@{UNKNOWN_HOST}", &thread::hash_id(body)["sha256:".len()..][..32]);
        [nobody.clone(), nobody]
    };
    let a_mail = MAIL_FIELDS.iter().any(|field| header.has(field));
    let parsed = stands_in.into_iter().find_map(|it| Some((EmailAddress::parse(&it).ok()?, it)));
    let Some((address, written)) = parsed.filter(|_| a_mail) else {
        return Err(Unrecognised { reason: "no fields of a mail".to_owned() });
    };
    let named = Named { name: None, address: written };
    let party = party(&address, &named);
    Ok(if report.is_about_ours() { Sender::Other(party, named) } else { Sender::Nobody(party, named) })
}

fn party(address: &EmailAddress, named: &Named) -> Party {
    let name = named.name.clone().filter(|name| !name.contains('@') || !name.eq_ignore_ascii_case(&named.address));
    Party {
        kind: ContactKind::Email,
        address: ContactAddress { normalised: address.as_str().to_owned(), source_form: named.address.clone() },
        attributes: name.map(|name| (Attribute::DisplayName, name)).into_iter().collect(),
    }
}

fn found_thread(
    header: &Header<'_>,
    own: &OwnMailbox,
    report: &Report,
    outside_id: &str,
    subject: Option<&str>,
    sender: &Named,
) -> Thread {
    let lead = |address: &str| own.conversation_in(address);
    let original = report.original.as_deref().map(headers::of_mail);
    let conversation = thread::conversation_among(header, &thread::RECIPIENT_FIELDS, lead).or_else(|| {
        original.as_ref().and_then(|original| thread::conversation_among(original, &["Reply-To", "From"], lead))
    });
    let key = thread::ancestor_id(header)
        .or_else(|| original.as_ref().and_then(thread::root_id))
        .unwrap_or_else(|| outside_id.to_owned());
    let answers_to = header.addresses("Reply-To").0.into_iter().map(|named| named.address).find(|it| !own.is_own(it));
    let reply_address = answers_to.unwrap_or_else(|| sender.address.clone());
    Thread {
        kind: ConversationKind::Direct,
        outside: OutsideThread {
            key: key.clone(),
            topic: None,
            title: subject.map(reply::without_prefixes).filter(|title| !title.is_empty()).map(str::to_owned),
            reply_address: Some(reply_address).filter(|it| !report.is_about_ours() && !it.ends_with(UNKNOWN_HOST)),
            business_connection: None,
        },
        key,
        conversation,
    }
}

fn mail_headers(
    header: &Header<'_>,
    in_reply_to: Vec<String>,
    references: Vec<String>,
    report: &Report,
    reading: &mut Reading,
) -> MailHeaders {
    let mut written = |field: &str| -> Vec<String> {
        let (addresses, guessed) = header.addresses(field);
        reading.guessed |= guessed;
        addresses.iter().map(Named::as_written).collect()
    };
    let reply_to = written("Reply-To").into_iter().next();
    let from = written("From").into_iter().next();
    MailHeaders {
        message_id: thread::own_id(header),
        in_reply_to,
        references,
        reply_to: reply_to.filter(|reply_to| Some(reply_to) != from.as_ref()),
        from,
        to: written("To"),
        cc: written("Cc"),
        failed_recipients: report.failed_recipients.clone(),
    }
}

fn attachment(leaf: &Leaf<'_>, index: u32) -> Attachment {
    debug_assert!(leaf.role == Role::Attachment, "only attachments are numbered");
    let kind = match leaf.media_type.split('/').next() {
        Some("image") => MessageKind::Photo,
        Some("video") => MessageKind::Video,
        Some("audio") => MessageKind::Audio,
        _ => MessageKind::Document,
    };
    Attachment {
        kind,
        file_name: leaf.file_name.clone(),
        media_type: Some(leaf.media_type.clone()),
        size_bytes: u64::try_from(leaf.bytes().0.len()).ok(),
        dimensions: None,
        duration_s: None,
        inline: leaf.inline,
        location: AttachmentLocation::RawDelivery { index },
    }
}

#[cfg(test)]
mod tests;
