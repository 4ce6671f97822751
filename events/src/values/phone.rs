//! Phone numbers in E.164, whatever way a customer wrote them.
//!
//! **Invariant:** a [`PhoneNumber`] is `+` and 8 to 15 digits of a number that may exist by the numbering plan of its
//! country; equal numbers are equal texts, so that the id of a contact point can be derived from them.

use std::fmt;
use std::str::FromStr;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat};

use crate::ids::ParseIdError;

/// Longest text that is looked at, in characters: the longest number with every separator is far shorter.
const LONGEST_TEXT: usize = 64;

/// The country whose numbers may be written without a country code, as its ISO 3166-1 alpha-2 code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region(rlibphonenumber::Region);

impl Region {
    /// Russia.
    pub const RU: Self = Self(rlibphonenumber::Region::RU);
    /// Kazakhstan; it shares the country code 7 with Russia.
    pub const KZ: Self = Self(rlibphonenumber::Region::KZ);
    /// Belarus.
    pub const BY: Self = Self(rlibphonenumber::Region::BY);
    /// Uzbekistan.
    pub const UZ: Self = Self(rlibphonenumber::Region::UZ);
    /// The United States.
    pub const US: Self = Self(rlibphonenumber::Region::US);
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_region_str().as_str())
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({self})")
    }
}

impl FromStr for Region {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let upper_case = text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase());
        upper_case
            .then(|| rlibphonenumber::Region::from_code(text).ok())
            .flatten()
            .filter(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(*region).is_some())
            .map(Self)
            .ok_or(ParseIdError { expected: "region: ISO 3166-1 alpha-2 code with a numbering plan, as RU" })
    }
}

/// Why a text is not a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneNumberError {
    /// It holds something else than digits, separators and one leading `+`: letters, an extension, two numbers.
    #[error("not written as one phone number")]
    Form,
    /// No numbering plan has such a number: too short, too long, a short code, an unknown country or area.
    #[error("no such number in any numbering plan")]
    NoSuchNumber,
}

/// A phone number in E.164 (ITU-T E.164, 11/2010): `+`, country code, national number.
///
/// Extensions are refused, not cut off: whoever picks up at an extension is not who has the number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneNumber(Box<str>);

impl PhoneNumber {
    /// Reads a number as people write them. `default_region` says whose it is when there is no country code.
    ///
    /// **Source:** numbering plans of Google's libphonenumber, as compiled into `rlibphonenumber`.
    ///
    /// # Errors
    /// See [`PhoneNumberError`].
    pub fn parse(text: &str, default_region: Region) -> Result<Self, PhoneNumberError> {
        let dialled = dialled(text)?;
        let number =
            PHONE_NUMBER_UTIL.parse(&dialled, Some(default_region.0)).map_err(|_| PhoneNumberError::NoSuchNumber)?;
        if !number.is_valid() {
            return Err(PhoneNumberError::NoSuchNumber);
        }
        Ok(Self(number.format_as(PhoneNumberFormat::E164).into()))
    }

    /// The number in E.164.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(..)")
    }
}

/// What would be dialled: an optional `+` and digits. libphonenumber itself would skip leading words and turn letters
/// into digits, which makes numbers out of prose.
fn dialled(text: &str) -> Result<String, PhoneNumberError> {
    let text = text.trim();
    if text.chars().count() > LONGEST_TEXT {
        return Err(PhoneNumberError::Form);
    }
    let mut dialled = String::with_capacity(16);
    for letter in text.chars() {
        match letter {
            '0'..='9' => dialled.push(letter),
            '+' | '\u{ff0b}' if dialled.is_empty() => dialled.push('+'),
            '(' | ')' | '-' | '.' | '/' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
            space if space.is_whitespace() => {}
            _ => return Err(PhoneNumberError::Form),
        }
    }
    if dialled.is_empty() { Err(PhoneNumberError::Form) } else { Ok(dialled) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_as_people_write_them_become_e164() {
        let cases = [
            ("+7 912 345-67-89", Region::RU, "+79123456789"),
            ("8 (912) 345-67-89", Region::RU, "+79123456789"),
            ("89123456789", Region::RU, "+79123456789"),
            ("79123456789", Region::RU, "+79123456789"),
            ("9123456789", Region::RU, "+79123456789"),
            ("\u{a0}8\u{a0}(495)\u{a0}123\u{2013}45\u{2013}67 ", Region::RU, "+74951234567"),
            ("8 (701) 234-56-78", Region::KZ, "+77012345678"),
            ("8 (701) 234-56-78", Region::RU, "+77012345678"),
            ("+7 (701) 234 56 78", Region::RU, "+77012345678"),
            ("8 (727) 250 12 34", Region::KZ, "+77272501234"),
            ("8-800-200-06-00", Region::RU, "+78002000600"),
            ("8 (912) 345-67-89", Region::KZ, "+79123456789"),
            ("+998 90 123 45 67", Region::RU, "+998901234567"),
            ("90 123 45 67", Region::UZ, "+998901234567"),
            ("+375 (29) 123-45-67", Region::RU, "+375291234567"),
            ("8 029 123 45 67", Region::BY, "+375291234567"),
            ("+1 (202) 456-1111", Region::RU, "+12024561111"),
            ("(202) 456-1111", Region::US, "+12024561111"),
            ("8 10 1 202 456 1111", Region::RU, "+12024561111"),
            ("\u{ff0b}79123456789", Region::US, "+79123456789"),
        ];
        for (text, region, expected) in cases {
            let parsed = PhoneNumber::parse(text, region);
            assert_eq!(parsed.as_ref().map(PhoneNumber::as_str), Ok(expected), "{text} in {region}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let long = "1".repeat(200);
        let form =
            ["", "   ", "+", "звоните мне", "1-800-FLOWERS", "+7 912 345-67-89 доб. 12", "+7 912 345-67-89,12", &long];
        for text in form {
            let refused = PhoneNumber::parse(text, Region::RU);
            assert!(refused.is_err(), "{text}");
        }
        assert_eq!(PhoneNumber::parse("1-800-FLOWERS", Region::US), Err(PhoneNumberError::Form));
        for text in
            ["112", "900", "03", "0611", "+7", "+7 912 345-67-8", "+7 912 345-67-890", "+999 123 456 789", "0000000000"]
        {
            assert_eq!(PhoneNumber::parse(text, Region::RU), Err(PhoneNumberError::NoSuchNumber), "{text}");
        }
        assert_eq!(PhoneNumber::parse("79123456789 79123456780", Region::RU), Err(PhoneNumberError::NoSuchNumber));
    }

    #[test]
    fn a_region_is_an_upper_case_code_with_a_numbering_plan() {
        assert_eq!("KZ".parse(), Ok(Region::KZ));
        assert_eq!(Region::KZ.to_string(), "KZ");
        for bad in ["", "kz", "R", "RUS", "ZZ", "001", "яя"] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_does_not_show_in_debug_output() {
        let number = PhoneNumber::parse("+79123456789", Region::RU).unwrap();
        assert!(!format!("{number:?}").contains("912"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_number_or_refused(
            text in "\\PC*",
            digits in "[+0-9() -]{0,24}",
            russian in "(8|\\+7|7) ?\\(?[3-9][0-9]{2}\\)? ?[0-9]{3}-?[0-9]{4}",
        ) {
            for text in [text, digits, russian] {
                if let Ok(number) = PhoneNumber::parse(&text, Region::RU) {
                    let e164 = number.as_str();
                    prop_assert!(e164.starts_with('+') && (8..=16).contains(&e164.len()), "{}", e164);
                    prop_assert!(e164[1..].bytes().all(|b| b.is_ascii_digit()));
                    prop_assert_eq!(PhoneNumber::parse(e164, Region::US), Ok(number.clone()), "its own form parses to itself");
                }
            }
        }
    }
}
