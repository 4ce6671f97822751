//! Cutting a long text into parts that the Bot API takes.
//!
//! **Invariant:** the parts joined are the text, no part is empty or longer than the limit, and no character is cut.

/// Longest text of a message, in UTF-16 code units.
///
/// **Source:** Bot API, `sendMessage`, parameter `text`: 1-4096 characters; Telegram counts UTF-16 code units, as the
/// offsets of entities do.
pub const MAX_TEXT_UNITS: usize = 4096;

/// Longest caption of a file, in UTF-16 code units.
///
/// **Source:** Bot API, `sendPhoto`, parameter `caption`: 0-1024 characters.
pub const MAX_CAPTION_UNITS: usize = 1024;

/// The length of a text as Telegram counts it.
#[must_use]
pub fn utf16_units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Cuts a text into parts of at most `limit` UTF-16 code units: behind a paragraph where one ends in the second half of
/// a part, else behind a line, a sentence, a word; where there is none of these, between characters, but not inside a
/// composed emoji or before an accent if that can be helped. A limit below 2 counts as 2, the length of one emoji.
#[must_use]
pub fn split_text(text: &str, limit: usize) -> Vec<&str> {
    let limit = limit.max(2);
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let window = &rest[..fitting(rest, limit)];
        let at = if window.len() == rest.len() { rest.len() } else { cut(window, rest) };
        let (part, left) = rest.split_at(at);
        parts.push(part);
        rest = left;
    }
    parts
}

/// How many bytes of the text fit into the limit, whole characters only.
fn fitting(text: &str, limit: usize) -> usize {
    let mut units = 0;
    let over = text.char_indices().find(|(_, letter)| {
        units += letter.len_utf16();
        units > limit
    });
    over.map_or(text.len(), |(at, _)| at)
}

/// Where to end the part that begins `text`: within `window`, which is what would fit.
fn cut(window: &str, text: &str) -> usize {
    let half = window.len() / 2;
    let behind = |pattern: &str| window.rfind(pattern).map(|at| at + pattern.len()).filter(|at| *at > half);
    let sentence = [". ", "! ", "? ", "… "].into_iter().filter_map(behind).max();
    let word = || window.char_indices().rfind(|(_, letter)| letter.is_whitespace()).map(|(at, l)| at + l.len_utf8());
    (behind("\n\n").or_else(|| behind("\n")).or(sentence).or_else(word))
        .or_else(|| {
            let ends = std::iter::once(window.len()).chain(window.char_indices().rev().map(|(at, _)| at));
            ends.into_iter().find(|at| *at > half && !glued(text, *at))
        })
        .filter(|at| *at > 0)
        .unwrap_or(window.len())
}

/// True when the characters before and behind this place are shown as one: joined, accented, with a skin tone.
fn glued(text: &str, at: usize) -> bool {
    let joins = |letter: char| matches!(letter, '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{300}'..='\u{36f}' | '\u{1f3fb}'..='\u{1f3ff}');
    text[at..].chars().next().is_some_and(joins) || text[..at].ends_with('\u{200d}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_text_stays_whole() {
        assert_eq!(split_text("привет", 4096), ["привет"]);
        assert!(split_text("", 4096).is_empty());
    }

    #[test]
    fn a_text_of_just_the_limit_stays_whole_and_one_more_is_cut() {
        let text = "я".repeat(4096);
        assert_eq!(split_text(&text, MAX_TEXT_UNITS).len(), 1);
        assert_eq!(split_text(&format!("{text}я"), MAX_TEXT_UNITS).len(), 2);
    }

    #[test]
    fn emoji_count_as_two_units() {
        let text = "😀".repeat(2048);
        assert_eq!(utf16_units(&text), 4096);
        assert_eq!(split_text(&text, MAX_TEXT_UNITS).len(), 1);
        assert_eq!(split_text(&"😀".repeat(2049), MAX_TEXT_UNITS).len(), 2);
    }

    #[test]
    fn cuts_stand_behind_paragraphs_lines_sentences_and_words() {
        assert_eq!(split_text("aaaa bb\n\ncc dd ee", 11), ["aaaa bb\n\n", "cc dd ee"]);
        assert_eq!(split_text("aaaa bb\ncc dd ee", 11), ["aaaa bb\n", "cc dd ee"]);
        assert_eq!(split_text("Да. Нет. Может быть", 12), ["Да. Нет. ", "Может быть"]);
        assert_eq!(split_text("один два три", 9), ["один два ", "три"]);
    }

    #[test]
    fn a_composed_emoji_is_not_torn() {
        let family = "👨\u{200d}👩\u{200d}👧";
        let text = format!("{}{family}{family}", "x".repeat(10));
        assert_eq!(split_text(&text, 20), [format!("{}{family}", "x".repeat(10)).as_str(), family]);
    }

    proptest! {
        #[test]
        fn the_parts_joined_are_the_text_and_none_is_too_long(text in "(\\PC|[ \n😀\u{200d}\u{301}]){0,300}", limit in 0_usize..40) {
            let parts = split_text(&text, limit);
            prop_assert_eq!(parts.concat(), text.clone());
            for part in parts {
                prop_assert!(!part.is_empty());
                prop_assert!(utf16_units(part) <= limit.max(2));
            }
        }

        #[test]
        fn words_shorter_than_half_a_part_are_never_cut(words in prop::collection::vec("[а-я]{1,9}", 1..60)) {
            let text = words.join(" ");
            for part in split_text(&text, 20) {
                for word in part.split_whitespace() {
                    prop_assert!(words.iter().any(|whole| whole == word), "{}", word);
                }
            }
        }
    }
}
