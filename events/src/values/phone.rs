//! Phone numbers in E.164, whatever way a customer wrote them.
//!
//! **Invariant:** a [`PhoneNumber`] is `+` and at most 15 digits of a number that may exist by the numbering plan of its
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
mod tests;
