//! The header of a mail or of one of its parts: found field by field, tolerant of what real mail does wrong.
//!
//! **Invariant:** scanning is bounded by [`MOST_FIELDS`] and the given slice, never fails, and never reads beyond the
//! header; a field's value is the bytes as received, folds included.

use chrono::{DateTime, Utc};
use mail_parser::parsers::MessageStream;
use mail_parser::{Addr, ContentType, HeaderValue};

use super::charset;

/// Most fields that a header may have before the rest is taken for text; real mail has under 200.
const MOST_FIELDS: usize = 2000;
/// Longest value that is looked at, in bytes; long lists of recipients reach tens of thousands.
const LONGEST_VALUE: usize = 128 * 1024;
/// Longest field name that is believed, in bytes.
const LONGEST_NAME: usize = 76;
/// Most addresses that are read out of the fields of one name: they go into an event, which has to stay small.
const MOST_ADDRESSES: usize = 200;
/// Most ids that are kept of the fields of one name: the first and the latest.
const MOST_IDS: usize = 100;
/// Most ids that are looked at.
const MOST_IDS_READ: usize = 2000;
/// Longest id, in bytes. **Source:** a line may have 998 (RFC 5322, section 2.1.1).
const LONGEST_ID: usize = 998;
/// Longest subject or other text, in letters.
const LONGEST_TEXT: usize = 2000;
/// Longest name or address, in letters.
const LONGEST_ENTRY: usize = 320;

/// One field, as received.
#[derive(Debug, Clone, Copy)]
struct Field<'x> {
    name: &'x [u8],
    value: &'x [u8],
    /// Where the value begins in the scanned slice.
    start: usize,
}

/// A header and where the body begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Header<'x> {
    fields: Vec<Field<'x>>,
    /// Offset of the body in the scanned slice.
    pub(crate) body: usize,
    /// True when the end of the header, or a line in it, had to be guessed.
    pub(crate) damaged: bool,
}

/// An address with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// The name shown beside it.
    pub(crate) name: Option<String>,
    /// The bare address, as written.
    pub(crate) address: String,
}

impl Named {
    /// `name <address>`, for the record.
    pub(crate) fn as_written(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} <{}>", self.address),
            None => self.address.clone(),
        }
    }
}

/// Finds the header of a whole mail: blank lines and the `From ` line of an mbox file before it are skipped.
pub(crate) fn of_mail(data: &[u8]) -> Header<'_> {
    let mut start = data.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0).count();
    if data[start..].starts_with(b"\xef\xbb\xbf") {
        start += 3;
    }
    while data[start..].starts_with(b"From ") || data[start..].starts_with(b">From ") {
        start = line_end(data, start);
    }
    let mut skipped = false;
    while start < data.len() && colon(&data[start..line_end(data, start)]).is_none() {
        let next = line_end(data, start);
        if !header_goes_on(&data[next..]) {
            break;
        }
        skipped = true;
        start = next;
    }
    let mut header = scan(data, start);
    header.damaged |= skipped;
    header
}

/// Finds the header of a part: it may be empty, then the part begins with a blank line.
pub(crate) fn of_part(data: &[u8]) -> Header<'_> {
    scan(data, 0)
}

fn scan(data: &[u8], start: usize) -> Header<'_> {
    let mut header = Header { body: data.len(), ..Header::default() };
    let mut at = start;
    while at < data.len() {
        let end = line_end(data, at);
        let line = &data[at..end];
        if line.trim_ascii().is_empty() {
            header.body = end;
            return header;
        }
        let folded = matches!(line[0], b' ' | b'\t') && !header.fields.is_empty();
        if folded {
            extend_last(&mut header, data, end);
        } else if let Some(colon) = colon(line)
            && header.fields.len() < MOST_FIELDS
        {
            let start = at + colon + 1;
            header.fields.push(Field { name: line[..colon].trim_ascii(), value: &data[start..end], start });
        } else if header.fields.last().is_some_and(|last| last.value.trim_ascii_end().ends_with(b";")) {
            header.damaged = true;
            extend_last(&mut header, data, end);
        } else if !header.fields.is_empty() && header_goes_on(&data[end..]) {
            header.damaged = true;
        } else {
            header.damaged = true;
            header.body = at;
            return header;
        }
        at = end;
    }
    header
}

/// Lengthens the last field up to `end`.
fn extend_last<'x>(header: &mut Header<'x>, data: &'x [u8], end: usize) {
    if let Some(last) = header.fields.last_mut() {
        last.value = &data[last.start..end];
    }
}

/// True when the next line is a field that only headers have: then the odd line before it belongs to the header.
fn header_goes_on(data: &[u8]) -> bool {
    let next = &data[..line_end(data, 0)];
    let known: [&[u8]; 11] = [
        b"from",
        b"to",
        b"cc",
        b"date",
        b"subject",
        b"message-id",
        b"mime-version",
        b"content-type",
        b"content-transfer-encoding",
        b"content-disposition",
        b"received",
    ];
    colon(next).is_some_and(|colon| known.iter().any(|name| name.eq_ignore_ascii_case(next[..colon].trim_ascii())))
}

/// Where the colon after a field name stands, if the line begins with one. **Source:** RFC 5322, section 3.6.8, and
/// the obsolete blanks before the colon of section 4.5.
fn colon(line: &[u8]) -> Option<usize> {
    let colon = line.iter().take(LONGEST_NAME).position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    let plain = !name.is_empty() && name.iter().all(|byte| (33..=126).contains(byte));
    plain.then_some(colon)
}

fn line_end(data: &[u8], at: usize) -> usize {
    data[at..].iter().position(|byte| *byte == b'\n').map_or(data.len(), |length| at + length + 1)
}

impl<'x> Header<'x> {
    /// True when there is no field at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The bytes of the first field of this name; names compare without case.
    pub(crate) fn raw(&self, name: &str) -> Option<&'x [u8]> {
        self.all_raw(name).next()
    }

    /// The bytes of every field of this name, in order.
    pub(crate) fn all_raw<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'x [u8]> + 'h {
        self.fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| &field.value[..field.value.len().min(LONGEST_VALUE)])
    }

    /// True when a field of this name is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// True when a field's name begins with this.
    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        self.fields.iter().any(|field| {
            field.name.get(..prefix.len()).is_some_and(|name| name.eq_ignore_ascii_case(prefix.as_bytes()))
        })
    }

    /// The text of a field, encoded words decoded and folds undone; the second value is true when letters were guessed.
    pub(crate) fn text(&self, name: &str) -> Option<(String, bool)> {
        let (line, guessed) = prepared(self.raw(name)?);
        let text = match MessageStream::new(&line).parse_unstructured() {
            HeaderValue::Text(text) => text.trim().chars().take(LONGEST_TEXT).collect(),
            _ => String::new(),
        };
        (!text.is_empty()).then_some((text, guessed))
    }

    /// A field of plain words, in lower case, without comments: `auto-generated`, `bulk`.
    pub(crate) fn token(&self, name: &str) -> Option<String> {
        let value = String::from_utf8_lossy(self.raw(name)?);
        let word = value.split([';', '(', ' ', '\t', '\r', '\n']).find(|word| !word.is_empty())?;
        Some(word.to_ascii_lowercase())
    }

    /// The addresses of every field of this name; the second value is true when letters were guessed.
    pub(crate) fn addresses(&self, name: &str) -> (Vec<Named>, bool) {
        let mut found = Vec::new();
        let mut any_guessed = false;
        for raw in self.all_raw(name) {
            let (line, guessed) = prepared(raw);
            any_guessed |= guessed;
            if let HeaderValue::Address(addresses) = MessageStream::new(&line).parse_address() {
                let room = MOST_ADDRESSES - found.len();
                found.extend(addresses.iter().filter_map(named).take(room));
            }
            if found.len() >= MOST_ADDRESSES {
                break;
            }
        }
        (found, any_guessed)
    }

    /// The message ids of a field, without angle brackets, in order and each once.
    pub(crate) fn ids(&self, name: &str) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        for raw in self.all_raw(name) {
            let text = String::from_utf8_lossy(raw);
            let bracketed: Vec<&str> =
                text.split('<').skip(1).filter_map(|rest| rest.split_once('>').map(|(id, _)| id)).collect();
            let bare = || text.split([' ', '\t', '\r', '\n', ',']).filter(|word| word.contains('@')).collect();
            let candidates: Vec<&str> = if bracketed.is_empty() { bare() } else { bracketed };
            let room = MOST_IDS_READ - ids.len();
            for candidate in candidates.into_iter().take(room) {
                let id: String =
                    candidate.chars().filter(|letter| !letter.is_whitespace() && !letter.is_control()).collect();
                if !id.is_empty() && id.len() <= LONGEST_ID && !ids.contains(&id) {
                    ids.push(id);
                }
            }
            if ids.len() >= MOST_IDS_READ {
                break;
            }
        }
        if ids.len() > MOST_IDS {
            ids.drain(1..=ids.len() - MOST_IDS);
        }
        ids
    }

    /// A moment, if the field parses and is a day that exists.
    pub(crate) fn date(&self, name: &str) -> Option<DateTime<Utc>> {
        let (line, _) = prepared(self.raw(name)?);
        let HeaderValue::DateTime(date) = MessageStream::new(&line).parse_date() else { return None };
        let date = date.is_valid().then_some(date)?;
        DateTime::from_timestamp(date.to_timestamp(), 0)
    }

    /// A field with parameters: `Content-Type`, `Content-Disposition`.
    pub(crate) fn content_type(&self, name: &str) -> Option<ContentType<'static>> {
        let (line, _) = prepared(self.raw(name)?);
        match MessageStream::new(&line).parse_content_type().into_owned() {
            HeaderValue::ContentType(content_type) => Some(content_type),
            _ => None,
        }
    }
}

/// A value as mail-parser wants it: in UTF-8, encoded words made plain, ending in one line break.
fn prepared(raw: &[u8]) -> (Vec<u8>, bool) {
    let (folded, guessed) = charset::plain_header(raw.trim_ascii());
    let mut line = Vec::with_capacity(folded.len() + 1);
    for (place, byte) in folded.iter().enumerate() {
        let next_is_blank = folded.get(place + 1).is_some_and(|next| next.is_ascii_whitespace());
        match byte {
            b'\r' | b'\n' if next_is_blank => {}
            0 | b'\r' | b'\n' => line.push(b' '),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    (line, guessed)
}

fn named(addr: &Addr<'_>) -> Option<Named> {
    let clean = |text: &str| {
        let plain = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
        let text: String = plain.take(LONGEST_ENTRY).collect();
        text.trim().trim_matches(['"', '\'']).trim().to_owned()
    };
    let address = addr.address.as_deref().map(clean).unwrap_or_default();
    let name = addr.name.as_deref().map(clean).filter(|name| !name.is_empty() && *name != address);
    (!address.is_empty()).then_some(Named { name, address })
}

#[cfg(test)]
mod tests;
