//! The parts of a mail: multiparts taken apart into leaves, each body part or attachment.
//!
//! Header fields and their parameters are read by mail-parser; the splitting is our own, since mail-parser 0.11 takes a
//! boundary for one wherever its letters stand, and keeps enclosed messages as nested values whose depth the sender
//! chooses.
//!
//! **Invariant:** the order of attachments depends on the bytes alone and never changes for bytes once seen, since
//! events name attachments by their place; depth and number of parts are bounded.

use std::ops::Range;

use mail_parser::ContentType;

use super::headers::{self, Header};
use super::transfer;

/// Deepest nesting of multiparts; deeper ones are attachments as they stand. **Source:** as deep as Dovecot and most
/// filters go is 100; people's mail is under 10.
const DEEPEST: usize = 30;
/// Most leaves of a mail; the rest of it stays in the last leaf.
const MOST_LEAVES: usize = 2000;

/// What a leaf is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Plain text to be read.
    Plain,
    /// HTML to be read.
    Html,
    /// A file.
    Attachment,
}

/// How the body of a leaf was packed for transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transfer {
    AsIs,
    Base64,
    QuotedPrintable,
}

/// A part without parts.
#[derive(Debug, Clone)]
pub(crate) struct Leaf<'x> {
    /// What it is for.
    pub(crate) role: Role,
    /// Media type in lower case, `text/plain` where nothing is said.
    pub(crate) media_type: String,
    /// The charset label.
    pub(crate) charset: Option<String>,
    /// Its file name, as sent.
    pub(crate) file_name: Option<String>,
    /// True for a picture shown inside the text.
    pub(crate) inline: bool,
    /// The innermost `multipart/alternative` around it, as a number.
    pub(crate) alternative: Option<usize>,
    transfer: Transfer,
    body: &'x [u8],
}

/// A mail taken apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts<'x> {
    /// The leaves, in the order of the bytes.
    pub(crate) leaves: Vec<Leaf<'x>>,
    /// Lower-case media type of the whole, and its `report-type` parameter.
    pub(crate) whole: (String, Option<String>),
    /// True when boundaries or headers of parts had to be guessed.
    pub(crate) damaged: bool,
    alternatives: usize,
}

impl<'x> Parts<'x> {
    /// Takes a mail apart.
    pub(crate) fn of(data: &'x [u8], header: &Header<'x>) -> Self {
        let mut parts = Self::default();
        let content_type = header.content_type("Content-Type");
        let report = content_type.as_ref().and_then(|it| it.attribute("report-type").map(str::to_ascii_lowercase));
        parts.whole = (media_type(content_type.as_ref(), "text/plain"), report);
        parts.walk(
            &data[header.body.min(data.len())..],
            header,
            Around { depth: 0, default: "text/plain", alternative: None },
        );
        parts
    }

    /// The attachments, in the order that events number them.
    pub(crate) fn attachments(&self) -> impl Iterator<Item = &Leaf<'x>> {
        self.leaves.iter().filter(|leaf| leaf.role == Role::Attachment)
    }

    fn walk(&mut self, body: &'x [u8], header: &Header<'x>, around: Around) {
        let content_type = header.content_type("Content-Type");
        let media = media_type(content_type.as_ref(), around.default);
        if media.starts_with("multipart/") && around.depth < DEEPEST {
            let said = content_type.as_ref().and_then(|it| it.attribute("boundary")).unwrap_or_default();
            if let Some(pieces) = self.pieces(body, said) {
                let alternative = if media == "multipart/alternative" {
                    self.alternatives += 1;
                    Some(self.alternatives)
                } else {
                    around.alternative
                };
                let default = if media == "multipart/digest" { "message/rfc822" } else { "text/plain" };
                for piece in pieces {
                    let piece = &body[piece];
                    if self.leaves.len() >= MOST_LEAVES {
                        self.damaged = true;
                        return;
                    }
                    let part = headers::of_part(piece);
                    self.damaged |= part.damaged;
                    let inside = Around { depth: around.depth + 1, default, alternative };
                    self.walk(&piece[part.body.min(piece.len())..], &part, inside);
                }
                return;
            }
            self.damaged = true;
        }
        self.leaves.push(leaf(body, header, content_type.as_ref(), media, around));
    }

    /// Where the parts between boundaries are; `None` when no boundary can be found.
    fn pieces(&mut self, body: &[u8], said: &str) -> Option<Vec<Range<usize>>> {
        let said = said.trim_end().as_bytes();
        if !said.is_empty()
            && let Some((pieces, closed)) = split(body, said)
        {
            self.damaged |= !closed;
            return Some(pieces);
        }
        self.damaged = true;
        let guessed = likely_boundary(body)?;
        let (mut pieces, _) = split(body, guessed)?;
        if let Some(last) = pieces.last_mut().filter(|_| !said.is_empty()) {
            last.end = closing_line(body, last, said);
        }
        Some(pieces)
    }
}

/// What surrounds a part.
#[derive(Clone, Copy)]
struct Around {
    depth: usize,
    default: &'static str,
    alternative: Option<usize>,
}

/// Splits at lines that are `--boundary`; the second value is true when the closing `--boundary--` is there.
fn split(body: &[u8], boundary: &[u8]) -> Option<(Vec<Range<usize>>, bool)> {
    let mut pieces = Vec::new();
    let mut open: Option<usize> = None;
    let mut at = 0;
    while at < body.len() {
        let end = body[at..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |length| at + length + 1);
        let line = body[at..end].trim_ascii_end();
        if let Some(rest) = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary))
            && (rest.is_empty() || rest == b"--")
        {
            if let Some(start) = open.take() {
                pieces.push(start..without_line_break(body, start, at));
            }
            if rest == b"--" && !is_content_field(&body[end..]) {
                return (!pieces.is_empty()).then_some((pieces, true));
            }
            open = Some(end);
        }
        at = end;
    }
    let start = open?;
    pieces.push(start..body.len());
    Some((pieces, false))
}

/// Where the line that closes the named boundary stands in a piece; the end of the piece where there is none.
fn closing_line(body: &[u8], piece: &Range<usize>, boundary: &[u8]) -> usize {
    let closes = |line: &[u8]| {
        let inner = line.trim_ascii_end().strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary));
        inner == Some(b"--")
    };
    let mut at = piece.start;
    for line in body[piece.clone()].split_inclusive(|byte| *byte == b'\n') {
        if closes(line) {
            return without_line_break(body, piece.start, at);
        }
        at += line.len();
    }
    piece.end
}

/// The line break before a boundary belongs to the boundary. **Source:** RFC 2046, section 5.1.1.
fn without_line_break(body: &[u8], start: usize, end: usize) -> usize {
    let piece = &body[start..end];
    let piece = piece.strip_suffix(b"\n").unwrap_or(piece);
    let piece = piece.strip_suffix(b"\r").unwrap_or(piece);
    start + piece.len()
}

/// A line that begins with `--` and is followed by a `Content-` field: the boundary that the header failed to name.
fn likely_boundary(body: &[u8]) -> Option<&[u8]> {
    let mut lines = body.split(|byte| *byte == b'\n').take(1000).peekable();
    while let Some(line) = lines.next() {
        let boundary = line.trim_ascii_end().strip_prefix(b"--").filter(|it| !it.is_empty() && it.len() <= 200);
        let content = lines.peek().is_some_and(|next| is_content_field(next));
        if let Some(boundary) = boundary
            && content
        {
            return Some(boundary);
        }
    }
    None
}

/// True for a line that begins the header of a part. After a boundary that looks closing it tells that the boundary was
/// none: the boundaries of inner multiparts may be ours with dashes at the end.
fn is_content_field(line: &[u8]) -> bool {
    line.get(..8).is_some_and(|it| it.eq_ignore_ascii_case(b"content-"))
}

fn media_type(content_type: Option<&ContentType<'_>>, default: &str) -> String {
    let Some(it) = content_type else { return default.to_owned() };
    let Some(subtype) = it.subtype() else {
        return if it.ctype().eq_ignore_ascii_case("text") { "text/plain".to_owned() } else { default.to_owned() };
    };
    let clean = |text: &str| text.chars().filter(|letter| letter.is_ascii_graphic()).take(127).collect::<String>();
    format!("{}/{}", clean(it.ctype()), clean(subtype)).to_ascii_lowercase()
}

fn leaf<'x>(
    body: &'x [u8],
    header: &Header<'x>,
    content_type: Option<&ContentType<'_>>,
    media_type: String,
    around: Around,
) -> Leaf<'x> {
    let disposition = header.content_type("Content-Disposition");
    let disposed = disposition.as_ref().map(|it| it.ctype().to_ascii_lowercase());
    let file_name = disposition
        .as_ref()
        .and_then(|it| it.attribute("filename"))
        .or_else(|| content_type.and_then(|it| it.attribute("name")))
        .map(clean_name)
        .filter(|name| !name.is_empty());
    let readable = disposed.as_deref() != Some("attachment") && file_name.is_none();
    let role = match media_type.as_str() {
        "text/html" | "application/xhtml+xml" if readable => Role::Html,
        "text/plain" | "text/plane" | "text/x-plain" if readable => Role::Plain,
        media if media.starts_with("multipart/") => Role::Plain,
        _ => Role::Attachment,
    };
    let pictured = media_type.starts_with("image/");
    let inline = role == Role::Attachment
        && pictured
        && disposed.as_deref() != Some("attachment")
        && (header.has("Content-ID") || disposed.as_deref() == Some("inline"));
    let transfer = match header.token("Content-Transfer-Encoding").as_deref() {
        Some("base64") => Transfer::Base64,
        Some("quoted-printable") => Transfer::QuotedPrintable,
        _ => Transfer::AsIs,
    };
    let charset = content_type.and_then(|it| it.attribute("charset")).map(str::to_owned);
    Leaf { role, media_type, charset, file_name, inline, alternative: around.alternative, transfer, body }
}

fn clean_name(name: &str) -> String {
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(255).collect();
    name.trim().to_owned()
}

impl<'x> Leaf<'x> {
    /// The bytes as the sender had them; the second value is true when they were not packed as said.
    pub(crate) fn bytes(&self) -> (std::borrow::Cow<'x, [u8]>, bool) {
        match self.transfer {
            Transfer::AsIs => (self.body.into(), false),
            Transfer::QuotedPrintable => (transfer::quoted_printable(self.body).into(), false),
            Transfer::Base64 => {
                let undone = transfer::base64(self.body);
                (undone.bytes.into(), undone.damaged)
            }
        }
    }

    /// True for a message enclosed whole or as its header.
    pub(crate) fn is_enclosed_message(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            "message/rfc822" | "message/global" | "text/rfc822-headers" | "message/rfc822-headers"
        )
    }
}

#[cfg(test)]
mod tests;
