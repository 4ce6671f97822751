//! Mail that machines write: bounces, delay notices, complaints, automatic answers, lists.
//!
//! **Invariant:** a mail is a bounce only by what it carries (RFC 3464, RFC 5965) or, where it carries nothing, by a
//! machine's sender together with a machine's words; a customer who writes of undelivered parcels is none.

use events::conversation::content::{FailedRecipient, MessageMark};
use events::values::EmailAddress;

use super::headers::{self, Header};
use super::parts::Parts;

/// Most recipients of one report that are kept.
const MOST_RECIPIENTS: usize = 100;
/// How many lines of a bounce without structure are read.
const LINES_READ: usize = 200;

/// What kind of mail it is and what it reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// The kind of the delivery.
    pub(crate) kind: &'static str,
    /// What is special about it.
    pub(crate) marks: Vec<MessageMark>,
    /// What it says of each recipient.
    pub(crate) failed_recipients: Vec<FailedRecipient>,
    /// The host that reports.
    pub(crate) reporting_host: Option<String>,
    /// The header, at least, of the message of ours that it is about.
    pub(crate) original: Option<Vec<u8>>,
}

impl Report {
    /// True when it tells of a message of ours: a bounce, a delay, a complaint, a receipt.
    pub(crate) fn is_about_ours(&self) -> bool {
        !matches!(self.kind, "message" | "auto_reply")
    }
}

/// Finds out what kind of mail it is.
pub(crate) fn of(header: &Header<'_>, parts: &Parts<'_>, text: Option<&str>) -> Report {
    let mut report = structured(parts).or_else(|| by_words(header, text)).unwrap_or(Report {
        kind: "message",
        marks: Vec::new(),
        failed_recipients: Vec::new(),
        reporting_host: None,
        original: None,
    });
    if report.is_about_ours() {
        report.original = original(parts, text);
        if report.failed_recipients.is_empty() {
            let action = if report.kind == "delay_notice" { "delayed" } else { "failed" };
            let named = header.addresses("X-Failed-Recipients").0;
            report.failed_recipients = named
                .into_iter()
                .take(MOST_RECIPIENTS)
                .map(|named| recipient(named.address, Some(action), None))
                .collect();
        }
    }
    if is_automatic(header) {
        report.marks.push(MessageMark::AutoReply);
        if report.kind == "message" {
            report.kind = "auto_reply";
        }
    }
    let precedence = header.token("Precedence");
    if header.has_prefix("List-") || matches!(precedence.as_deref(), Some("bulk" | "list" | "junk")) {
        report.marks.push(MessageMark::Bulk);
    }
    report.marks.dedup();
    report
}

/// **Source:** RFC 3834, section 5, and the fields that autoresponders wrote before it.
fn is_automatic(header: &Header<'_>) -> bool {
    let says = |field: &str| header.token(field).is_some_and(|word| word != "no");
    says("Auto-Submitted")
        || says("X-Autoreply")
        || says("X-Autorespond")
        || matches!(header.token("Precedence").as_deref(), Some("auto_reply" | "auto-reply"))
}

/// A report by its parts. **Source:** RFC 3464 (delivery status), RFC 5965 (feedback), RFC 8098 (disposition).
fn structured(parts: &Parts<'_>) -> Option<Report> {
    let part = |media: &str| parts.leaves.iter().find(|leaf| leaf.media_type == media);
    let said = if parts.whole.0 == "multipart/report" { parts.whole.1.as_deref() } else { None };
    if let Some(leaf) = part("message/feedback-report") {
        let (bytes, _) = leaf.bytes();
        let fields = headers::of_part(&bytes);
        let complained = fields.addresses("Original-Rcpt-To").0;
        return Some(Report {
            kind: "complaint",
            marks: vec![MessageMark::Complaint],
            failed_recipients: complained.into_iter().map(|named| recipient(named.address, None, None)).collect(),
            reporting_host: typed(&fields, "Reporting-MTA"),
            original: None,
        });
    }
    if let Some(leaf) = part("message/delivery-status").or_else(|| part("message/global-delivery-status")) {
        return Some(delivery_status(&leaf.bytes().0));
    }
    if part("message/disposition-notification").is_some() || said == Some("disposition-notification") {
        return Some(bare("read_receipt", vec![MessageMark::AutoReply]));
    }
    match said {
        Some("feedback-report") => Some(bare("complaint", vec![MessageMark::Complaint])),
        Some("delivery-status") => Some(bare("bounce", vec![MessageMark::Bounce])),
        _ => None,
    }
}

fn bare(kind: &'static str, marks: Vec<MessageMark>) -> Report {
    Report { kind, marks, failed_recipients: Vec::new(), reporting_host: None, original: None }
}

/// Reads the groups of fields of a delivery status: one for the message, one for each recipient.
fn delivery_status(body: &[u8]) -> Report {
    let mut failed_recipients = Vec::new();
    let mut reporting_host = None;
    let mut rest = body;
    while !rest.trim_ascii().is_empty() && failed_recipients.len() < MOST_RECIPIENTS {
        let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        rest = &rest[blank..];
        let group = headers::of_part(rest);
        reporting_host = reporting_host.or_else(|| typed(&group, "Reporting-MTA"));
        if let Some(address) = typed(&group, "Final-Recipient").or_else(|| typed(&group, "Original-Recipient")) {
            let address = address.trim_matches(['<', '>']).to_owned();
            failed_recipients.push(recipient(address, group.token("Action").as_deref(), status_of(&group)));
        }
        let line = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        rest = &rest[group.body.max(if group.is_empty() { line } else { 1 }).min(rest.len())..];
    }
    let any = |action: &str| failed_recipients.iter().any(|it| it.action.as_deref() == Some(action));
    let tried_still =
        |it: &FailedRecipient| it.action.is_none() && it.status.as_deref().is_some_and(|it| it.starts_with('4'));
    let (kind, marks) = if any("failed") {
        ("bounce", vec![MessageMark::Bounce])
    } else if any("delayed") || (!failed_recipients.is_empty() && failed_recipients.iter().all(tried_still)) {
        ("delay_notice", vec![MessageMark::DelayNotice])
    } else if any("delivered") || any("relayed") || any("expanded") {
        ("delivery_report", vec![MessageMark::AutoReply])
    } else {
        ("bounce", vec![MessageMark::Bounce])
    };
    Report { kind, marks, failed_recipients, reporting_host, original: None }
}

fn recipient(address: String, action: Option<&str>, status: Option<String>) -> FailedRecipient {
    FailedRecipient { address, action: action.map(str::to_owned), status }
}

/// The value of a field of the form `type; value`, without the type.
fn typed(fields: &Header<'_>, name: &str) -> Option<String> {
    let (text, _) = fields.text(name)?;
    let value = text.split_once(';').map_or(text.as_str(), |(_, value)| value).trim();
    (!value.is_empty()).then(|| value.to_owned())
}

fn status_of(fields: &Header<'_>) -> Option<String> {
    let (text, _) = fields.text("Status")?;
    status_in(&text)
}

/// The first status code in a text. **Source:** RFC 3463, section 2: class 2, 4 or 5, two numbers of up to 3 digits.
fn status_in(text: &str) -> Option<String> {
    text.split(|letter: char| !letter.is_ascii_digit() && letter != '.').find_map(|word| {
        let mut numbers = word.trim_end_matches('.').split('.');
        let (class, subject, detail) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let short = |number: &str| (1..=3).contains(&number.len());
        let valid = matches!(class, "2" | "4" | "5") && short(subject) && short(detail) && numbers.next().is_none();
        valid.then(|| format!("{class}.{subject}.{detail}"))
    })
}

/// Words of machines in the subject of a bounce, in lower case.
const BOUNCE_WORDS: [&str; 17] = [
    "undeliver",
    "delivery status notification",
    "delivery failure",
    "delivery has failed",
    "delivery failed",
    "failure notice",
    "returned mail",
    "returned to sender",
    "delivery notification",
    "mail delivery",
    "delayed mail",
    "could not send",
    "delivery delayed",
    "не доставлен",
    "недоставлен",
    "невозможно доставить",
    "ошибка доставки",
];
/// Words of machines in the subject of a mere delay, in lower case.
const DELAY_WORDS: [&str; 6] =
    ["delayed", "delay", "still being retried", "warning: could not send", "отложен", "задерж"];

/// A bounce without structure: from a machine, in a machine's words.
fn by_words(header: &Header<'_>, text: Option<&str>) -> Option<Report> {
    let senders = ["From", "Sender"].iter().flat_map(|field| header.addresses(field).0);
    let daemon = senders.into_iter().any(|named| {
        let local = named.address.split('@').next().unwrap_or_default().to_ascii_lowercase();
        matches!(local.as_str(), "mailer-daemon" | "postmaster" | "mail-daemon" | "mailerdaemon" | "mail.daemon")
    });
    let no_return = header.raw("Return-Path").is_some_and(|value| value.trim_ascii() == b"<>");
    let subject = header.text("Subject").map(|(subject, _)| subject.to_lowercase()).unwrap_or_default();
    let bounce_words = BOUNCE_WORDS.iter().any(|words| subject.contains(words));
    let listed = header.has("X-Failed-Recipients");
    let is_bounce = if daemon { no_return || listed || bounce_words } else { no_return && (bounce_words || listed) };
    if !is_bounce {
        return None;
    }
    let delayed = DELAY_WORDS.iter().any(|words| subject.contains(words));
    let (kind, mark, action) = if delayed {
        ("delay_notice", MessageMark::DelayNotice, "delayed")
    } else {
        ("bounce", MessageMark::Bounce, "failed")
    };
    let mut report = bare(kind, vec![mark]);
    if !listed {
        let text = text.unwrap_or_default();
        let own_words: Vec<&str> = text.lines().take(LINES_READ).take_while(|line| !begins_original(line)).collect();
        let status = status_in(&own_words.join("\n"));
        for address in own_words.iter().flat_map(|line| addresses_in(line)) {
            let known = report.failed_recipients.iter().any(|it| it.address.eq_ignore_ascii_case(&address));
            if !known && report.failed_recipients.len() < 20 {
                report.failed_recipients.push(recipient(address, Some(action), status.clone()));
            }
        }
    }
    Some(report)
}

/// True for the line where a bounce begins to quote the original: its header or a ruler that says so.
fn begins_original(line: &str) -> bool {
    let line = line.trim_start_matches(['>', ' ', '\t']).to_ascii_lowercase();
    let header = ["from:", "received:", "message-id:", "return-path:", "date:", "subject:"];
    header.iter().any(|field| line.starts_with(field)) || (line.starts_with("--") && line.contains("original"))
}

fn addresses_in(line: &str) -> impl Iterator<Item = String> + '_ {
    line.split([' ', '\t', '<', '>', ',', ';', '(', ')', '"', '\'', ':', '[', ']'])
        .filter(|word| word.contains('@'))
        .filter_map(|word| EmailAddress::parse(word.trim_end_matches('.')).ok())
        .map(|address| address.as_str().to_owned())
}

/// The original message, as far as it came back: an enclosed message, or the fields of one quoted in the text.
fn original(parts: &Parts<'_>, text: Option<&str>) -> Option<Vec<u8>> {
    if let Some(leaf) = parts.leaves.iter().find(|leaf| leaf.is_enclosed_message()) {
        return Some(leaf.bytes().0.into_owned());
    }
    let threading = ["message-id:", "references:", "in-reply-to:", "reply-to:"];
    let mut fields = String::new();
    for line in text?.lines() {
        let line = line.trim_start_matches(['>', ' ', '\t']);
        if threading.iter().any(|field| line.get(..field.len()).is_some_and(|it| it.eq_ignore_ascii_case(field))) {
            fields.push_str(line);
            fields.push('\n');
        }
    }
    (!fields.is_empty()).then(|| fields.into_bytes())
}

#[cfg(test)]
mod tests;
