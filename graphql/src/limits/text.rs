//! Limits on the text of a query, before it is parsed.
//!
//! **Invariant:** what the parser descends into is bounded: it recurses once per open bracket, and a stack that
//! overflows ends the process.

use super::MAX_TEXT_BYTES;

/// Most brackets open at once. [`super::MAX_RECURSION`] levels of selections with arguments of the deepest input.
const MAX_OPEN: usize = 64;

/// Refuses a text that is too long or nested too deep.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_TEXT_BYTES {
        return Err("query text is too long");
    }
    let mut rest = text.as_bytes();
    let mut open = 0_usize;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'{' | b'[' | b'(' => open += 1,
            b'}' | b']' | b')' => open = open.saturating_sub(1),
            b'#' => rest = after_line(rest),
            b'"' => rest = after_string(rest),
            _ => {}
        }
        if open > MAX_OPEN {
            return Err("query is nested too deep");
        }
    }
    Ok(())
}

fn after_line(text: &[u8]) -> &[u8] {
    text.iter().position(|byte| matches!(byte, b'\n' | b'\r')).map_or(&[], |end| &text[end..])
}

/// What follows a string whose opening quote is gone already. **Source:** GraphQL specification of October 2021,
/// section 2.9.4.
fn after_string(text: &[u8]) -> &[u8] {
    if let Some(mut rest) = text.strip_prefix(b"\"\"") {
        loop {
            if let Some(after) = rest.strip_prefix(b"\\\"\"\"") {
                rest = after;
            } else if let Some(after) = rest.strip_prefix(b"\"\"\"") {
                return after;
            } else if let Some((_, tail)) = rest.split_first() {
                rest = tail;
            } else {
                return rest;
            }
        }
    }
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        match byte {
            b'"' => return tail,
            b'\\' => rest = tail.split_first().map_or(&[], |(_, after)| after),
            // Not a string then: the parser will say so, and what follows counts.
            b'\n' | b'\r' => return rest,
            _ => rest = tail,
        }
    }
    rest
}
