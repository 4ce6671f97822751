//! Transfer encodings, read as leniently as a person would.
//!
//! **Invariant:** total: what is not of the encoding is kept as it stands, and [`Undone::damaged`] says so.

/// Bytes out of a transfer encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undone {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// True when part of it was not of the encoding and stands as it came.
    pub(crate) damaged: bool,
}

/// Below this many letters a length that base64 cannot have means a word under the wrong label; above it, a file that
/// was cut off.
const SHORT_SEXTETS: usize = 72;

/// Undoes base64 (RFC 4648, section 4). White space and missing padding do not matter. From the first line on that is
/// not base64 (a footer that a list added, a text under the wrong label) the rest stands as it came; so does all of it
/// where what came before makes no whole bytes or no text either.
pub(crate) fn base64(text: &[u8]) -> Undone {
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u8);
    let (mut line_start, mut sextets) = (0, 0usize);
    while line_start < text.len() {
        let line_end =
            text[line_start..].iter().position(|b| *b == b'\n').map_or(text.len(), |end| line_start + end + 1);
        let line = text[line_start..line_end].trim_ascii();
        if !line.iter().all(|byte| sextet(*byte).is_some() || *byte == b'=') {
            if sextets % 4 == 1 || bytes.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace()) {
                return Undone { bytes: text.to_vec(), damaged: true };
            }
            bytes.extend_from_slice(&text[line_start..]);
            return Undone { bytes, damaged: true };
        }
        for byte in line {
            let Some(value) = sextet(*byte) else {
                (bits, held) = (0, 0);
                continue;
            };
            sextets += 1;
            bits = (bits << 6) | u32::from(value);
            held += 6;
            if held >= 8 {
                held -= 8;
                bytes.push(((bits >> held) & 0xff) as u8);
                bits &= (1 << held) - 1;
            }
        }
        line_start = line_end;
    }
    if sextets % 4 == 1 && sextets < SHORT_SEXTETS {
        return Undone { bytes: text.to_vec(), damaged: true };
    }
    Undone { bytes, damaged: false }
}

fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// Undoes quoted-printable (RFC 2045, section 6.7); a `=` that begins nothing stands as it is.
pub(crate) fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if *first != b'=' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        if let [high, low, after @ ..] = tail
            && let (Some(high), Some(low)) = (nibble(*high), nibble(*low))
        {
            bytes.push(high << 4 | low);
            rest = after;
            continue;
        }
        let blanks = tail.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
        match tail.get(blanks) {
            Some(b'\n') => rest = &tail[blanks + 1..],
            None => rest = &[],
            Some(_) => {
                bytes.push(b'=');
                rest = tail;
            }
        }
    }
    bytes
}

fn nibble(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_stands_missing_padding_and_breaks_at_the_first_foreign_line() {
        let cases: [(&[u8], &[u8], bool); 8] = [
            (b"SGVsbG8=", b"Hello", false),
            (b"SGVs\r\nbG8", b"Hello", false),
            (b"SGVsbG8=SGVsbG8=", b"HelloHello", false),
            (b"SGVsbG8=\n___\nlist footer here\n", b"Hello___\nlist footer here\n", true),
            (b"Hello", b"Hello", true),
            (b"Hello\n\n--x--", b"Hello\n\n--x--", true),
            (b"This is no base64 at all.", b"This is no base64 at all.", true),
            (b"", b"", false),
        ];
        for (text, bytes, damaged) in cases {
            assert_eq!(base64(text), Undone { bytes: bytes.to_vec(), damaged }, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn quoted_printable_keeps_what_is_not_of_it() {
        let cases: [(&[u8], &[u8]); 5] = [
            (b"caf=C3=A9", b"caf\xc3\xa9"),
            (b"soft=\r\nbreak= \nhere=", b"softbreakhere"),
            (b"a=b and 1=2", b"a=b and 1=2"),
            (b"low=c3=a9", b"low\xc3\xa9"),
            (b"=", b""),
        ];
        for (text, bytes) in cases {
            assert_eq!(quoted_printable(text), bytes, "{}", text.escape_ascii());
        }
    }
}
