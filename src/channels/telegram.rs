//! Telegram: how the Bot API proves, words and takes messages.
//!
//! **Invariant:** verify, peek and normalise are pure; only [`deliver`] touches the network. A forum topic is a
//! conversation of its own, and so is a chat that the bot answers on behalf of a business account.
//!
//! **Source:** Telegram Bot API, <https://core.telegram.org/bots/api>, up to version 10.3 of 24 August 2026.

use chrono::{DateTime, Utc};
use serde_json::Value;
use subtle::{Choice, ConstantTimeEq};

use crate::channels::{Normalised, Unrecognised};

mod content;
pub mod deliver;
mod files;
mod happenings;
mod message;
mod normalise;
mod peek;
mod rich;
pub mod split;
mod thread;
mod update;
pub mod webhook;

pub use peek::peek;
pub use update::UPDATE_KINDS;

/// The header that carries the secret of the webhook.
///
/// **Source:** Bot API, `setWebhook`, parameter `secret_token`.
pub const SECRET_HEADER: &str = "X-Telegram-Bot-Api-Secret-Token";

/// True when the value of [`SECRET_HEADER`] is one of the live secrets. The time taken tells the length of a secret at
/// most. An empty secret never proves anything.
#[must_use]
pub fn verify<S: AsRef<[u8]>>(header: Option<&[u8]>, live_secrets: &[S]) -> bool {
    let Some(header) = header.filter(|header| !header.is_empty()) else {
        return false;
    };
    let mut proven = Choice::from(0);
    for secret in live_secrets {
        proven |= secret.as_ref().ct_eq(header);
    }
    proven.into()
}

/// What an update says, in our words. `received_at` stands in where Telegram tells no time: for pressed buttons,
/// votes, queries and deletions.
///
/// # Errors
/// [`Unrecognised`] for what is no update, an update of a kind that we do not know, and one whose parts that we cannot
/// do without (the chat, the id of the message) are missing.
pub fn normalise(body: &[u8], received_at: DateTime<Utc>) -> Result<Normalised, Unrecognised> {
    let value: Value = serde_json::from_slice(body).map_err(|_| unrecognised("not JSON"))?;
    let update = update::Update::find(&value)?;
    let interactions = normalise::interactions(&update, received_at)?;
    Ok(Normalised { kind: update.kind.to_owned(), interactions })
}

fn unrecognised(reason: impl Into<String>) -> Unrecognised {
    Unrecognised { reason: reason.into() }
}

#[cfg(test)]
mod tests;
