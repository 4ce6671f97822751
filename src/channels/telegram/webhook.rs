//! The webhook of a bot: set, deleted, looked at.
//!
//! **Invariant:** Telegram is asked for every kind of update that we know, also for those it leaves out unless asked
//! (`message_reaction`, `message_reaction_count`, `chat_member`).

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

use super::UPDATE_KINDS;
use super::deliver::{BotApi, DeliveryError};
use crate::channels::json::time;

/// What Telegram is told about where to send updates.
#[derive(Clone)]
pub struct WebhookConfig {
    /// Our address; `https` on port 443, 80, 88 or 8443.
    pub url: String,
    /// The secret that comes back in [`super::SECRET_HEADER`]: 1 to 256 of `A-Z`, `a-z`, `0-9`, `_` and `-`.
    pub secret: String,
    /// How many updates Telegram may send at once, from 1 to 100.
    pub max_connections: u8,
}

impl std::fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookConfig")
            .field("url", &self.url)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// What Telegram knows about the webhook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WebhookInfo {
    /// Where updates go; empty when there is no webhook.
    pub url: String,
    /// How many updates wait.
    #[serde(default)]
    pub pending_update_count: u64,
    /// When the last update could not be handed over, in Unix time.
    pub last_error_date: Option<i64>,
    /// Why.
    pub last_error_message: Option<String>,
    /// How many updates Telegram may send at once.
    pub max_connections: Option<u32>,
    /// The kinds asked for.
    #[serde(default)]
    pub allowed_updates: Vec<String>,
}

impl WebhookInfo {
    /// When the last update could not be handed over.
    #[must_use]
    pub fn last_error_at(&self) -> Option<DateTime<Utc>> {
        self.last_error_date.and_then(time)
    }
}

impl BotApi {
    /// Sets the webhook, for all kinds of updates.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn set_webhook(&self, config: &WebhookConfig) -> Result<(), DeliveryError> {
        let body = json!({
            "url": config.url,
            "secret_token": config.secret,
            "max_connections": config.max_connections.clamp(1, 100),
            "allowed_updates": UPDATE_KINDS,
        });
        self.call("setWebhook", &body).await.map(|_| ())
    }

    /// Deletes the webhook; updates that wait are kept for 24 hours.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn delete_webhook(&self) -> Result<(), DeliveryError> {
        self.call("deleteWebhook", &json!({})).await.map(|_| ())
    }

    /// What Telegram knows about the webhook.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn webhook_info(&self) -> Result<WebhookInfo, DeliveryError> {
        let info = self.call("getWebhookInfo", &json!({})).await?;
        serde_json::from_value(info).map_err(|_| DeliveryError::Unknown { reason: "an answer of another form".into() })
    }
}
