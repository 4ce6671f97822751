//! Letters from bytes: labelled charsets, missing labels and wrong ones.
//!
//! **Invariant:** decoding is total and pure: any bytes under any label give a text, and [`Decoded::guessed`] says
//! when the label did not decide alone.

use std::borrow::Cow;

use encoding_rs::{Encoding, KOI8_R, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1251, WINDOWS_1252};
use mail_parser::decoders::charsets::map::charset_decoder;

/// A text and how sure it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded<'x> {
    /// The text.
    pub(crate) text: Cow<'x, str>,
    /// True when the label was missing, unknown or wrong and letters outside ASCII are there.
    pub(crate) guessed: bool,
}

/// Longest sample that a guess looks at, in bytes: enough for letter frequencies, and it bounds the work.
const SAMPLE_BYTES: usize = 16 * 1024;

/// How much better than the label another charset has to fit before the label is not believed, in points per letter
/// (see [`fit`]): high, since a label is right far more often than wrong.
const LABEL_TRUST: f64 = 25.0;

/// Decodes bytes under the label that came with them.
pub(crate) fn decode<'x>(bytes: &'x [u8], label: Option<&str>) -> Decoded<'x> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes)
        && (encoding == UTF_8 || encoding == UTF_16LE || encoding == UTF_16BE)
    {
        let (text, _) = encoding.decode_without_bom_handling(&bytes[mark..]);
        return Decoded { text, guessed: false };
    }
    let label = label.map(|label| label.trim().trim_matches(['"', '\'']).to_ascii_lowercase());
    let labelled = label.as_deref().and_then(by_label);
    if let Some(encoding) = labelled
        && !encoding.is_ascii_compatible()
    {
        let (text, _) = encoding.decode_without_bom_handling(bytes);
        return Decoded { text, guessed: false };
    }
    if labelled.is_none()
        && let Some(decoder) = label.as_deref().filter(|label| !says_nothing(label)).and_then(rare_decoder)
    {
        return Decoded { text: Cow::Owned(decoder(bytes)), guessed: false };
    }
    let seven_bit = bytes.is_ascii() && !bytes.contains(&0x1b);
    if seven_bit && let Ok(text) = std::str::from_utf8(bytes) {
        return Decoded { text: Cow::Borrowed(text), guessed: false };
    }
    match labelled {
        Some(encoding) if encoding == UTF_8 => match std::str::from_utf8(bytes) {
            Ok(text) => Decoded { text: Cow::Borrowed(text), guessed: false },
            Err(_) => guess(bytes),
        },
        Some(encoding) => labelled_otherwise(bytes, encoding),
        None => guess(bytes),
    }
}

/// Decodes bytes that came without any label: UTF-8 where it is, else what fits best.
pub(crate) fn guess(bytes: &[u8]) -> Decoded<'_> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Decoded { text: Cow::Borrowed(text), guessed: !text.is_ascii() };
    }
    if mostly_utf8(bytes) {
        return Decoded { text: without_broken_letters(bytes), guessed: true };
    }
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let mut best = (WINDOWS_1251, f64::MIN);
    for encoding in [WINDOWS_1251, KOI8_R, WINDOWS_1252] {
        let score = fit(&encoding.decode_without_bom_handling(sample).0);
        if score > best.1 {
            best = (encoding, score);
        }
    }
    Decoded { text: best.0.decode_without_bom_handling(bytes).0, guessed: true }
}

/// Decodes under a one- or two-byte label, unless another charset fits far better.
fn labelled_otherwise<'x>(bytes: &'x [u8], encoding: &'static Encoding) -> Decoded<'x> {
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let (as_labelled, malformed) = encoding.decode_without_bom_handling(sample);
    let labelled_score = if malformed { f64::MIN } else { fit(&as_labelled) };
    if let Ok(text) = std::str::from_utf8(bytes)
        && fit(text) > labelled_score
    {
        return Decoded { text: Cow::Borrowed(text), guessed: true };
    }
    if encoding.is_single_byte() {
        for other in [WINDOWS_1251, KOI8_R] {
            if other != encoding
                && fit(&other.decode_without_bom_handling(sample).0) > labelled_score.max(-1e6) + LABEL_TRUST
                && letters(sample) >= 8
            {
                return Decoded { text: other.decode_without_bom_handling(bytes).0, guessed: true };
            }
        }
    }
    let (text, malformed) = encoding.decode_without_bom_handling(bytes);
    Decoded { text, guessed: malformed }
}

/// The encoding of a label; `None` for labels that say nothing.
///
/// **Source:** the labels of the WHATWG Encoding Standard, and spellings that Russian mailers use beside them.
fn by_label(label: &str) -> Option<&'static Encoding> {
    if says_nothing(label) {
        return None;
    }
    let known = match label {
        "cp-1251" | "win-1251" | "win1251" | "windows1251" | "cp1251u" => "windows-1251",
        "koi8r" | "koi-8" | "koi8-rus" | "koi-8-r" => "koi8-r",
        "utf" | "utf-8mb4" | "utf8mb4" | "utf_8" => "utf-8",
        label => label.split('*').next().unwrap_or(label),
    };
    Encoding::for_label_no_replacement(known.as_bytes())
}

/// Labels that a mailer writes when it does not know: 8-bit letters under them are unlabelled.
fn says_nothing(label: &str) -> bool {
    matches!(
        label,
        "" | "us-ascii"
            | "ascii"
            | "us"
            | "ansi_x3.4-1968"
            | "unknown-8bit"
            | "x-unknown"
            | "unknown"
            | "default"
            | "8bit"
            | "binary"
            | "none"
            | "_iso-2022-jp$esc"
    )
}

/// Charsets that the web does not know and mail does: UTF-7 above all.
fn rare_decoder(label: &str) -> Option<fn(&[u8]) -> String> {
    charset_decoder(label.as_bytes())
}

/// How many bytes are outside ASCII.
fn letters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| !byte.is_ascii()).count()
}

/// True for UTF-8 with a few broken places: a letter cut in the middle by a header limit.
fn mostly_utf8(bytes: &[u8]) -> bool {
    let (mut whole, mut broken) = (0usize, 0usize);
    for chunk in bytes.utf8_chunks() {
        whole += chunk.valid().chars().filter(|letter| !letter.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    whole >= 1 && whole >= broken * 2
}

fn without_broken_letters(bytes: &[u8]) -> Cow<'_, str> {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Cow::Owned(text)
}

/// Frequency of the Russian letters а to я in running text, per mille, `ё` counted as `е`.
///
/// **Source:** Национальный корпус русского языка, letter frequencies, rounded.
const PER_MILLE: [u8; 32] = [
    80, 16, 45, 17, 30, 85, 9, 16, 74, 12, 35, 44, 32, 67, 110, 28, 47, 55, 63, 26, 3, 10, 5, 14, 7, 4, 1, 19, 17, 3,
    6, 20,
];

/// How well a text fits as Russian or western European text: points per letter outside ASCII, higher is better.
/// Frequent Cyrillic letters score; a capital after a small letter, scripts mixed within a word, accented letters in
/// rows, line-drawing and control characters cost.
fn fit(text: &str) -> f64 {
    let (mut points, mut counted) = (0.0_f64, 0.0_f64);
    let mut before: Option<char> = None;
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        if !letter.is_ascii() {
            counted += 1.0;
            points += letter_points(letter, before, rest.peek().copied());
        }
        before = Some(letter);
    }
    if counted > 0.0 { points / counted } else { 0.0 }
}

fn letter_points(letter: char, before: Option<char>, after: Option<char>) -> f64 {
    let latin = |other: Option<char>| other.is_some_and(|other| other.is_ascii_alphabetic());
    let small = letter.to_lowercase().next().unwrap_or(letter);
    match small {
        'а'..='я' | 'ё' => {
            let place = if small == 'ё' { 5 } else { (u32::from(small) - u32::from('а')) as usize };
            let mut points = f64::from(PER_MILLE.get(place).copied().unwrap_or(0));
            if latin(before) || latin(after) {
                points -= 90.0;
            }
            let after_small = before.is_some_and(|before| before.is_lowercase() && !before.is_ascii());
            if small != letter && after_small {
                points -= 90.0;
            }
            if matches!(small, 'ъ' | 'ь' | 'ы') && before.is_none_or(|before| !before.is_alphabetic()) {
                points -= 90.0;
            }
            if before.is_some_and(|before| PAIRS.contains(&pair(before, letter))) {
                points += 25.0;
            }
            points
        }
        'і' | 'ї' | 'є' | 'ґ' | 'ў' => 10.0,
        '«' | '»' | '–' | '—' | '“' | '”' | '„' | '…' | '№' | '\u{a0}' | '’' | '‘' | '•' | '€' | '©' | '®' | '™' => {
            20.0
        }
        'à'..='ö' | 'ø'..='ÿ' | 'ß' => {
            let beside_accent =
                |other: Option<char>| other.is_some_and(|other| !other.is_ascii() && other.is_alphabetic());
            if beside_accent(before) || beside_accent(after) {
                -40.0
            } else if latin(before) || latin(after) {
                45.0
            } else {
                -10.0
            }
        }
        '\u{80}'..='\u{9f}' | char::REPLACEMENT_CHARACTER => -200.0,
        '\u{2500}'..='\u{25ff}' | '\u{2219}' | '\u{2320}' | '\u{2321}' | '\u{2248}'..='\u{2265}' => -90.0,
        letter if letter.is_alphabetic() => 0.0,
        _ => -30.0,
    }
}

/// Frequent pairs of letters in Russian, each as [`pair`] packs it.
const PAIRS: [(char, char); 32] = [
    ('с', 'т'),
    ('н', 'о'),
    ('т', 'о'),
    ('н', 'а'),
    ('е', 'н'),
    ('о', 'в'),
    ('н', 'и'),
    ('р', 'а'),
    ('в', 'о'),
    ('к', 'о'),
    ('п', 'р'),
    ('е', 'т'),
    ('р', 'о'),
    ('п', 'о'),
    ('р', 'е'),
    ('о', 'с'),
    ('о', 'р'),
    ('а', 'л'),
    ('л', 'и'),
    ('н', 'е'),
    ('о', 'л'),
    ('о', 'м'),
    ('е', 'р'),
    ('в', 'а'),
    ('т', 'ь'),
    ('з', 'а'),
    ('в', 'е'),
    ('р', 'и'),
    ('о', 'т'),
    ('и', 'в'),
    ('о', 'д'),
    ('т', 'а'),
];

fn pair(first: char, second: char) -> (char, char) {
    let small = |letter: char| letter.to_lowercase().next().unwrap_or(letter);
    (small(first), small(second))
}

/// Makes a header's raw value plain: runs of encoded words (RFC 2047) become one word in UTF-8 each, since mailers cut
/// letters between two words and lie about charsets; bytes outside ASCII become UTF-8. The second value is true when
/// letters were guessed.
pub(crate) fn plain_header(value: &[u8]) -> (Vec<u8>, bool) {
    let mut plain = Vec::with_capacity(value.len());
    let mut guessed = false;
    let mut rest = value;
    while !rest.is_empty() {
        let start = find(rest, b"=?").unwrap_or(rest.len());
        let (text, tail) = rest.split_at(start);
        if text.is_ascii() {
            plain.extend_from_slice(text);
        } else {
            let decoded = guess(text);
            guessed |= std::str::from_utf8(text).is_err();
            plain.extend_from_slice(decoded.text.as_bytes());
        }
        rest = tail;
        if rest.is_empty() {
            break;
        }
        let Some((mut word, mut after)) = encoded_word(rest) else {
            plain.extend_from_slice(b"=?");
            rest = &rest[2..];
            continue;
        };
        let mut run = String::new();
        while let Some((next, further)) = encoded_word(trim_space(after)) {
            after = further;
            if next.charset == word.charset {
                word.bytes.extend_from_slice(&next.bytes);
            } else {
                guessed |= push_word(&mut run, &word);
                word = next;
            }
        }
        guessed |= push_word(&mut run, &word);
        plain.extend_from_slice(b"=?utf-8?B?");
        plain.extend_from_slice(base64(run.as_bytes()).as_bytes());
        plain.extend_from_slice(b"?=");
        rest = after;
    }
    (plain, guessed)
}

/// Longest encoded word that is read, in bytes. RFC 2047, section 2, allows 75; mailers write whole names. It bounds the
/// work on hostile headers.
const LONGEST_WORD: usize = 4000;

struct Word {
    charset: String,
    bytes: Vec<u8>,
}

fn push_word(run: &mut String, word: &Word) -> bool {
    let decoded = decode(&word.bytes, Some(&word.charset));
    run.extend(decoded.text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }));
    decoded.guessed
}

/// Reads one encoded word at the start; the second value is what follows it.
fn encoded_word(text: &[u8]) -> Option<(Word, &[u8])> {
    let inner = text.strip_prefix(b"=?")?;
    let charset_end = inner.iter().take(64).position(|byte| *byte == b'?')?;
    let charset = std::str::from_utf8(&inner[..charset_end]).ok().filter(|charset| charset.len() > 1)?;
    let [letter, b'?', payload @ ..] = &inner[charset_end + 1..] else { return None };
    let end = find(&payload[..payload.len().min(LONGEST_WORD)], b"?=")?;
    let (payload, after) = (&payload[..end], &payload[end + 2..]);
    let bytes = match letter {
        b'b' | b'B' => super::transfer::base64(payload).bytes,
        b'q' | b'Q' => {
            let spaced: Vec<u8> = payload.iter().map(|byte| if *byte == b'_' { b' ' } else { *byte }).collect();
            super::transfer::quoted_printable(&spaced)
        }
        _ => return None,
    };
    let charset = charset.split('*').next().unwrap_or(charset).to_ascii_lowercase();
    Some((Word { charset, bytes }, after))
}

fn trim_space(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    &text[spaces..]
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Where a short needle starts.
pub(crate) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests;
