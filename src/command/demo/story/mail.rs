//! Mails as mail servers would hand them in.
//!
//! **Invariant:** each mail has a Message-ID of its own; the old Russian charsets are written as old mailers did.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use encoding_rs::Encoding;

use super::super::doors::Delivery;
use super::super::people::{Customer, Way};

/// One mail to be written.
pub(super) struct Letter {
    pub(super) id: String,
    pub(super) from: Customer,
    pub(super) to: String,
    pub(super) at: DateTime<Utc>,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) charset: &'static Encoding,
    /// Further header lines, each with its end.
    pub(super) header: String,
}

impl Letter {
    /// The mail as bytes.
    pub(super) fn delivery(&self) -> Delivery {
        let (text, charset, _) = self.charset.encode(&self.text);
        let head = format!(
            "From: {} <{}>\r\nTo: {}\r\nSubject: {}\r\nDate: {}\r\nMessage-ID: <{}>\r\n{}MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset={}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
            self.word(&self.from.name()),
            self.from.email,
            self.to,
            self.word(&self.subject),
            self.at.to_rfc2822(),
            self.id,
            self.header,
            charset.name(),
        );
        let mut body = head.into_bytes();
        body.extend(text.split_inclusive(|byte| *byte == b'\n').flat_map(|line| match line.strip_suffix(b"\n") {
            Some(line) => [line, b"\r\n"].concat(),
            None => line.to_vec(),
        }));
        body.extend(b"\r\n");
        Delivery { way: Way::Email, body, copies: 1 }
    }

    /// **Source:** RFC 2047; subjects of the demo fit into one encoded word.
    fn word(&self, text: &str) -> String {
        if text.is_ascii() {
            return text.to_owned();
        }
        let (bytes, charset, _) = self.charset.encode(text);
        format!("=?{}?B?{}?=", charset.name(), STANDARD.encode(bytes))
    }
}

/// A mail server's word that a mail of ours did not reach the customer. `original` is that mail.
pub(super) fn bounce(to: &str, failed: &Customer, at: DateTime<Utc>, original: &str) -> Delivery {
    let head = original.split("\r\n\r\n").next().unwrap_or_default();
    let address = &failed.email;
    let body = format!(
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example.net\r\nTo: {to}\r\n\
         Subject: Undelivered Mail Returned to Sender\r\nDate: {date}\r\nMessage-ID: <bounce.{number}@mx.example.net>\r\n\
         Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b1\"\r\n\r\n\
         --b1\r\nContent-Type: text/plain\r\n\r\n<{address}>: mailbox is full\r\n\r\n\
         --b1\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; mx.example.net\r\n\r\n\
         Final-Recipient: rfc822; {address}\r\nAction: failed\r\nStatus: 5.2.2\r\n\r\n\
         --b1\r\nContent-Type: text/rfc822-headers\r\n\r\n{head}\r\n\r\n--b1--\r\n",
        date = at.to_rfc2822(),
        number = failed.number,
    );
    Delivery { way: Way::Email, body: body.into_bytes(), copies: 1 }
}

/// The value of a header field of a mail, unfolded.
pub(super) fn field<'a>(mail: &'a str, name: &str) -> Option<&'a str> {
    let head = mail.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The address in the value of a header field.
pub(super) fn address(value: &str) -> Option<&str> {
    match value.split_once('<') {
        Some((_, rest)) => rest.split_once('>').map(|(address, _)| address),
        None => Some(value.trim()),
    }
}
