//! Parsed values of the domain: what is inside is known to be well-formed.
//!
//! **Invariant:** the only way to one of these values is its parser; the form that the source gave is kept by whoever
//! needs it, beside the value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::ParseIdError;

mod email_address;
mod phone;

pub use email_address::{EmailAddress, EmailAddressError};
pub use phone::{PhoneNumber, PhoneNumberError, Region};

/// A way in which customers reach us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Telegram Bot API.
    Telegram,
    /// The chat widget on the tenant's own site.
    Webchat,
    /// E-mail.
    Email,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 3] = [Self::Telegram, Self::Webchat, Self::Email];

    /// The name in paths, events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Telegram => "telegram",
            Self::Webchat => "webchat",
            Self::Email => "email",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Channel {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|channel| channel.as_str() == text)
            .ok_or(ParseIdError { expected: "channel: telegram, webchat or email" })
    }
}

/// What kind of contact point it is: with the normalised value this makes its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactKind {
    /// A phone number; normalised: E.164.
    Phone,
    /// A mail address; normalised by [`EmailAddress`].
    Email,
    /// A Telegram user; normalised: the user id in decimal.
    TelegramUser,
    /// A Telegram chat that writes in its own name (channels, anonymous administrators); the chat id in decimal.
    TelegramChat,
    /// A visitor of a chat widget; normalised: `<account uuid>/<visitor id>`, since each site counts its own visitors.
    WebchatVisitor,
}

impl ContactKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Phone, Self::Email, Self::TelegramUser, Self::TelegramChat, Self::WebchatVisitor];

    /// The name in events and ids.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Email => "email",
            Self::TelegramUser => "telegram_user",
            Self::TelegramChat => "telegram_chat",
            Self::WebchatVisitor => "webchat_visitor",
        }
    }
}

impl FromStr for ContactKind {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(ParseIdError { expected: "kind of contact point" })
    }
}
