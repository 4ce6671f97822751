//! What the answers of the Bot API, and their absence, mean for a message.
//!
//! **Invariant:** every outcome is one of [`DeliveryError`]; reasons are from closed lists, since the description in an
//! answer may quote the request and an error of the HTTP client prints the address with the token.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::DeliveryError;

/// What the descriptions of refusals say, as far as somebody can do something about it.
///
/// **Source:** descriptions as the public Bot API server writes them (`tdlib/telegram-bot-api`); they are no promise of
/// the Bot API, so nothing but the printed reason depends on them.
const KNOWN_REASONS: [&str; 20] = [
    "chat not found",
    "user not found",
    "message is too long",
    "message text is empty",
    "message caption is too long",
    "message to be replied not found",
    "message thread not found",
    "have no rights to send a message",
    "not enough rights",
    "group chat was deactivated",
    "PEER_ID_INVALID",
    "BUSINESS_CONNECTION_INVALID",
    "BUSINESS_PEER_USAGE_MISSING",
    "TOPIC_CLOSED",
    "VOICE_MESSAGES_FORBIDDEN",
    "IMAGE_PROCESS_FAILED",
    "PHOTO_INVALID_DIMENSIONS",
    "file is too big",
    "wrong file",
    "bad webhook",
];

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    result: Value,
    /// Absent, null and empty are the same to us: a refusal stays a refusal.
    description: Option<String>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

/// What an answer means.
pub(super) fn read(status: StatusCode, body: &[u8]) -> Result<Value, DeliveryError> {
    let answer = serde_json::from_slice::<Answer>(body).ok();
    match answer {
        Some(Answer { ok: true, result, .. }) if status.is_success() => Ok(result),
        Some(answer) if !answer.ok => Err(refusal(status, &answer)),
        _ => Err(without_answer(status)),
    }
}

/// The API itself says no, so the message was surely not taken.
fn refusal(status: StatusCode, answer: &Answer) -> DeliveryError {
    let parameters = answer.parameters.as_ref();
    if let Some(to) = parameters.and_then(|parameters| parameters.migrate_to_chat_id) {
        return DeliveryError::Migrated { to: to.to_string() };
    }
    let description = answer.description.as_deref().unwrap_or_default();
    let known = KNOWN_REASONS.into_iter().find(|known| description.contains(known));
    let reason = || known.map_or_else(|| format!("status {}", status.as_u16()), str::to_owned);
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            let after = parameters.and_then(|parameters| parameters.retry_after).map(Duration::from_secs);
            DeliveryError::Retry { after, reason: reason() }
        }
        StatusCode::FORBIDDEN => DeliveryError::Blocked,
        StatusCode::UNAUTHORIZED => DeliveryError::Refused { reason: "the token of the bot is not valid".into() },
        _ if status.is_server_error() => DeliveryError::Retry { after: None, reason: reason() },
        _ => DeliveryError::Refused { reason: reason() },
    }
}

/// Something that is not the API answered: a proxy or balancer before it. It says by its status whether the request
/// got through; on 504 it may have, and also when it claims success.
fn without_answer(status: StatusCode) -> DeliveryError {
    let reason = format!("status {} without an answer of the bot api", status.as_u16());
    match status {
        StatusCode::GATEWAY_TIMEOUT => DeliveryError::Unknown { reason },
        StatusCode::TOO_MANY_REQUESTS => DeliveryError::Retry { after: None, reason },
        _ if status.is_server_error() => DeliveryError::Retry { after: None, reason },
        _ if status.is_success() => DeliveryError::Unknown { reason },
        _ => DeliveryError::Refused { reason },
    }
}

/// What an error of the HTTP client means for a request that sends.
pub(super) fn not_sent(error: &reqwest::Error) -> DeliveryError {
    if error.is_connect() {
        DeliveryError::Retry { after: None, reason: "no connection".into() }
    } else if error.is_builder() {
        DeliveryError::Refused { reason: "no request can be made of it".into() }
    } else if error.is_timeout() {
        DeliveryError::Unknown { reason: "no answer in time".into() }
    } else {
        DeliveryError::Unknown { reason: "the connection broke off".into() }
    }
}

/// What an error of the HTTP client means for a request that only fetches: it can always be made again.
pub(super) fn not_fetched(error: &reqwest::Error) -> DeliveryError {
    let reason = if error.is_timeout() { "no answer in time" } else { "no connection" };
    DeliveryError::Retry { after: None, reason: reason.into() }
}

/// What the status of a file that cannot be fetched means.
pub(super) fn status_of_file(status: StatusCode) -> DeliveryError {
    let reason = format!("status {} for a file", status.as_u16());
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        DeliveryError::Retry { after: None, reason }
    } else {
        DeliveryError::Refused { reason }
    }
}
