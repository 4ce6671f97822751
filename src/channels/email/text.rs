//! What a mail says: its text and its HTML, out of the parts that are to be read.
//!
//! **Invariant:** the text is plain and bounded: no control characters but line break and tab, no more than
//! [`crate::channels::LONGEST_TEXT`] bytes; what had to be left out is told by [`Reading::damaged`].

use mail_parser::decoders::html::add_html_token;

use super::charset;
use super::headers;
use super::parts::{Leaf, Parts, Role};
use crate::channels::cut;

/// Longest HTML that goes into an event, in bytes; longer HTML is left out, since half of it cannot be shown.
const LONGEST_HTML: usize = 256 * 1024;
/// How deep an enclosed message is looked for text, where nothing else has any.
const DEEPEST_ENCLOSED: usize = 3;

/// What a mail says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The text: plain parts, and HTML parts without a plain one reduced to text.
    pub(crate) text: Option<String>,
    /// The HTML, as received.
    pub(crate) html: Option<String>,
    /// True when letters were guessed.
    pub(crate) guessed: bool,
    /// True when something could not be read or did not fit.
    pub(crate) damaged: bool,
}

/// Reads the parts that are to be read.
pub(crate) fn read(parts: &Parts<'_>) -> Reading {
    read_to(parts, 0)
}

fn read_to(parts: &Parts<'_>, depth: usize) -> Reading {
    let mut reading = Reading::default();
    let mut texts: Vec<String> = Vec::new();
    let mut htmls: Vec<String> = Vec::new();
    let with_plain: Vec<usize> = parts
        .leaves
        .iter()
        .filter(|leaf| leaf.role == Role::Plain && !leaf.bytes().0.trim_ascii().is_empty())
        .filter_map(|leaf| leaf.alternative)
        .collect();
    for leaf in &parts.leaves {
        match leaf.role {
            Role::Plain => texts.push(tidy(&letters(leaf, &mut reading))),
            Role::Html => {
                let html = letters(leaf, &mut reading);
                if !leaf.alternative.is_some_and(|group| with_plain.contains(&group)) {
                    texts.push(tidy(&html_to_text(&html)));
                }
                htmls.push(html);
            }
            Role::Attachment => {}
        }
    }
    let join = |pieces: Vec<String>| {
        let pieces: Vec<String> = pieces.into_iter().filter(|piece| !piece.trim().is_empty()).collect();
        (!pieces.is_empty()).then(|| pieces.join("\n\n"))
    };
    reading.text = join(texts).or_else(|| elsewhere(parts, depth, &mut reading));
    reading.html = join(htmls);
    reading.damaged |= cut(&mut reading.text);
    if reading.html.as_ref().is_some_and(|html| html.len() > LONGEST_HTML) {
        reading.html = None;
        reading.damaged = true;
    }
    reading
}

/// Text where no part is there to be read: other text parts without a file name, a report, an enclosed message.
fn elsewhere(parts: &Parts<'_>, depth: usize, reading: &mut Reading) -> Option<String> {
    let readable = |leaf: &&Leaf<'_>| {
        leaf.file_name.is_none() && leaf.media_type.starts_with("text/") || leaf.media_type == "message/delivery-status"
    };
    for leaf in parts.leaves.iter().filter(readable) {
        let text = letters(leaf, reading);
        let text = tidy(&if leaf.media_type.contains("html") { html_to_text(&text) } else { text });
        if !text.is_empty() {
            return Some(text);
        }
    }
    if depth < DEEPEST_ENCLOSED {
        for leaf in parts.leaves.iter().filter(|leaf| leaf.is_enclosed_message()) {
            let (bytes, _) = leaf.bytes();
            let enclosed = read_to(&Parts::of(&bytes, &headers::of_mail(&bytes)), depth + 1);
            if enclosed.text.is_some() {
                reading.guessed |= enclosed.guessed;
                return enclosed.text;
            }
        }
    }
    None
}

/// The letters of a part that is text.
pub(crate) fn letters(leaf: &Leaf<'_>, reading: &mut Reading) -> String {
    let (bytes, damaged) = leaf.bytes();
    let decoded = charset::decode(&bytes, leaf.charset.as_deref());
    reading.damaged |= damaged;
    reading.guessed |= decoded.guessed;
    decoded.text.into_owned()
}

/// Line breaks as `\n`, no other control characters but tabs, no blanks at line ends.
pub(crate) fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for line in text.split('\n') {
        tidied.extend(line.trim_end().chars().filter(|letter| !letter.is_control() || *letter == '\t'));
        tidied.push('\n');
    }
    tidied.trim_matches('\n').trim_end().to_owned()
}

/// Elements that begin and end a line.
const BLOCKS: [&str; 24] = [
    "address",
    "article",
    "blockquote",
    "br",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "header",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "section",
    "tr",
    "ul",
];
/// Elements whose content nobody sees.
const HIDDEN: [&str; 5] = ["head", "script", "style", "template", "title"];

/// Reduces HTML to its text: blocks become lines, list items get a dash, cells a blank; entities are decoded, comments
/// and invisible elements dropped. It is for reading and searching, not for showing in place of the HTML.
pub(crate) fn html_to_text(html: &str) -> String {
    let mut out = Lines::default();
    let mut rest = html;
    let mut head_seen = false;
    let mut tags_end = true;
    while let Some(open) = rest.find('<') {
        out.push_text(&rest[..open]);
        let tag = &rest[open..];
        if let Some(comment) = tag.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let begins_tag = tag[1..].starts_with(|letter: char| letter.is_ascii_alphabetic() || "/!?".contains(letter));
        let end = if begins_tag && tags_end { tag.find('>') } else { None };
        tags_end &= end.is_some() || !begins_tag;
        let Some(end) = end else {
            out.push_text("<");
            rest = &tag[1..];
            continue;
        };
        let inner = &tag[1..end];
        rest = &tag[end + 1..];
        let closing = inner.starts_with('/');
        let name: String = inner
            .trim_start_matches('/')
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .take(12)
            .collect::<String>()
            .to_ascii_lowercase();
        let hidden = HIDDEN.contains(&name.as_str()) && !(name == "head" && head_seen);
        head_seen |= name == "head";
        if !closing && !inner.ends_with('/') && hidden {
            rest = after_closing(rest, &name);
        } else if BLOCKS.contains(&name.as_str()) {
            out.line_break(name == "br");
            if name == "li" && !closing {
                out.push_text("- ");
            }
        } else if matches!(name.as_str(), "td" | "th") {
            out.push_text(" ");
        }
    }
    out.push_text(rest);
    out.text
}

/// What follows the closing tag of an invisible element; the next visible part where it is never closed.
fn after_closing<'t>(rest: &'t str, name: &str) -> &'t str {
    let mut at = 0;
    while let Some(found) = rest[at..].find("</") {
        let after = &rest[at + found + 2..];
        if after.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name)) {
            return after.split_once('>').map_or("", |(_, after)| after);
        }
        if name == "head" && after.get(..4).is_some_and(|it| it.eq_ignore_ascii_case("html")) {
            return after;
        }
        at += found + 2;
    }
    if name == "head" {
        rest.find("<body").or_else(|| rest.find("<BODY")).map_or(rest, |body| &rest[body..])
    } else {
        ""
    }
}

#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    /// Adds text: runs of white space become one blank, entities become letters.
    fn push_text(&mut self, text: &str) {
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            if letter == '&'
                && let Some(end) = rest.bytes().take(12).position(|byte| byte == b';')
                && rest[1..end].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'#')
            {
                let mut entity = String::new();
                add_html_token(&mut entity, &rest.as_bytes()[..=end], false);
                for letter in entity.chars() {
                    self.push(letter);
                }
                rest = &rest[end + 1..];
                continue;
            }
            self.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }

    fn push(&mut self, letter: char) {
        if !letter.is_whitespace() {
            self.text.push(letter);
        } else if !self.text.is_empty() && !self.text.ends_with([' ', '\n']) {
            self.text.push(' ');
        }
    }

    /// Ends the line; an explicit break may leave one empty line, blocks leave none.
    fn line_break(&mut self, explicit: bool) {
        let kept = self.text.trim_end_matches(' ').len();
        self.text.truncate(kept);
        let fresh = self.text.is_empty() || self.text.ends_with('\n');
        if !fresh || (explicit && !self.text.is_empty() && !self.text.ends_with("\n\n")) {
            self.text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests;
