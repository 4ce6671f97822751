//! Tells providers where to deliver.
//!
//! **Invariant:** asking again changes nothing at the provider; the answer is written down by whoever asked.

use std::sync::Arc;

use async_trait::async_trait;
use events::account::{AccountSettings, Credentials};
use events::ids::{AccountId, TenantId};
use graphql::{RegistrarError, WebhookAnswer, WebhookRegistrar};

use crate::accounts::Accounts;
use crate::channels::telegram::deliver::{BotApi, DeliveryError};
use crate::channels::telegram::webhook::WebhookConfig;

/// Updates that Telegram may send at once. **Source:** Bot API, `setWebhook`, `max_connections`: 1 to 100, 40 unless told.
const MAX_CONNECTIONS: u8 = 100;

/// Registers webhooks with the providers that have such a thing.
pub struct ProviderRegistrar {
    /// The accounts with their credentials.
    pub accounts: Arc<Accounts>,
    /// For calls of providers; follows no redirects.
    pub client: reqwest::Client,
    /// Base URL of the Bot API for accounts that set none.
    pub telegram_api: String,
    /// The address under which providers reach us.
    pub public_url: Option<String>,
}

#[async_trait]
impl WebhookRegistrar for ProviderRegistrar {
    async fn register(&self, tenant: &TenantId, account: AccountId) -> Result<WebhookAnswer, RegistrarError> {
        let not_ready = |reason: &str| RegistrarError::NotReady(reason.to_owned());
        let found = self.accounts.get_caught_up(account).await;
        let found = found.map_err(|error| RegistrarError::Unavailable(error.to_string()))?;
        let found = found.filter(|found| found.tenant == *tenant).ok_or_else(|| not_ready("no such account"))?;
        let public = self.public_url.as_deref().ok_or_else(|| not_ready("http.public_url is not configured"))?;
        let AccountSettings::Telegram { api_base } = &found.settings else {
            return Err(not_ready("this channel has no webhook to register: give the provider the address"));
        };
        let Some(Credentials::Telegram { bot_token }) = &found.credentials else {
            return Err(not_ready("the account has no bot token"));
        };
        let (number, secret) = found.secrets.last().ok_or_else(|| not_ready("the account has no secret"))?;
        let url = format!("{}/webhooks/telegram/{account}", public.trim_end_matches('/'));
        let base = api_base.as_deref().unwrap_or(&self.telegram_api);
        let bot = BotApi::new(self.client.clone(), base, bot_token).map_err(|error| not_ready(&error.to_string()))?;
        let config = WebhookConfig { url: url.clone(), secret: secret.value.clone(), max_connections: MAX_CONNECTIONS };
        match bot.set_webhook(&config).await {
            Ok(()) => Ok(WebhookAnswer::Registered { url, secret: *number }),
            Err(DeliveryError::Retry { reason, .. } | DeliveryError::Unknown { reason }) => {
                Err(RegistrarError::Unavailable(reason))
            }
            Err(error) => Ok(WebhookAnswer::Refused { url, reason: error.to_string() }),
        }
    }
}
