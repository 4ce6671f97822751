//! Mail addresses, normalised as far as that is safe.
//!
//! **Invariant:** an [`EmailAddress`] is a bare `local@domain` with an ASCII, lower-case domain; two spellings that
//! any mail server could deliver to different people stay two addresses.

use std::fmt;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

/// Longest local part, in bytes. **Source:** RFC 5321, section 4.5.3.1.1.
const LONGEST_LOCAL_PART: usize = 64;
/// Longest address, in bytes. **Source:** RFC 5321, section 4.5.3.1.3 less the angle brackets (RFC erratum 1690).
const LONGEST_ADDRESS: usize = 254;

/// Why a text is not a mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmailAddressError {
    /// There is no `@` with something on both sides, or something around the bare address.
    #[error("not of the form local@domain")]
    Form,
    /// The part before the `@` is too long or not a dot-atom (RFC 5322, section 3.2.3; RFC 6532 for other scripts).
    #[error("malformed local part")]
    LocalPart,
    /// The part after the `@` is not the name of a host in the domain name system, or the whole is too long.
    #[error("malformed domain")]
    Domain,
}

/// A mail address, the form that the id of a contact point is derived from.
///
/// - The domain is mapped by IDNA (UTS 46, not transitional) to lower-case ASCII: `почта.рф` and `xn--80a1acny.xn--p1ai`
///   are the same.
/// - The local part is lower-cased. RFC 5321, section 2.4, leaves its case to the receiving host, yet it asks hosts not
///   to depend on it, and no provider of note does; people and address books do vary it. Kept apart, `Ivan@` and
///   `ivan@` would split one person in two, and an erasure would reach one half.
/// - Nothing else is touched: plus-tags and dots mean different mailboxes at most hosts, and merging two people is
///   worse than not merging one.
/// - Quoted local parts and address literals (`a@[192.0.2.1]`) are refused: no customer has them.
///
/// Whoever sends mail keeps the form that the source gave beside this one and writes to that.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress {
    text: Box<str>,
    at: usize,
}

impl EmailAddress {
    /// Reads a bare address; white space around it does not matter, a display name is refused.
    ///
    /// # Errors
    /// See [`EmailAddressError`].
    pub fn parse(text: &str) -> Result<Self, EmailAddressError> {
        let (local, domain) = text.trim().rsplit_once('@').ok_or(EmailAddressError::Form)?;
        if local.is_empty() || domain.is_empty() {
            return Err(EmailAddressError::Form);
        }
        let local = normal_local_part(local)?;
        let domain = normal_domain(domain)?;
        if local.len() + 1 + domain.len() > LONGEST_ADDRESS {
            return Err(EmailAddressError::Domain);
        }
        Ok(Self { at: local.len(), text: format!("{local}@{domain}").into() })
    }

    /// The normalised address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the `@`.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.text[..self.at]
    }

    /// The domain, in lower-case ASCII.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(..)")
    }
}

fn normal_local_part(local: &str) -> Result<String, EmailAddressError> {
    let atom = |atom: &str| !atom.is_empty() && atom.chars().all(is_atom_text);
    if !local.split('.').all(atom) {
        return Err(EmailAddressError::LocalPart);
    }
    let local = local.to_lowercase();
    if local.len() > LONGEST_LOCAL_PART { Err(EmailAddressError::LocalPart) } else { Ok(local) }
}

/// `atext` of RFC 5322, section 3.2.3, and letters of other scripts (RFC 6532, section 3.2).
fn is_atom_text(letter: char) -> bool {
    if letter.is_ascii() {
        letter.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(letter)
    } else {
        letter.is_alphanumeric()
    }
}

fn normal_domain(domain: &str) -> Result<String, EmailAddressError> {
    let ascii = Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .map_err(|_| EmailAddressError::Domain)?;
    let (_, top) = ascii.rsplit_once('.').ok_or(EmailAddressError::Domain)?;
    if top.bytes().all(|b| b.is_ascii_digit()) {
        return Err(EmailAddressError::Domain);
    }
    Ok(ascii.into_owned())
}

#[cfg(test)]
mod tests;
