//! The doors of the shop: its channel accounts, opened by mutation, and the webhooks behind which they are.
//!
//! **Invariant:** deliveries are proven as each channel demands; what the server did not take is an error.

use anyhow::Context;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::catalogue::Shop;
use super::desk::Desk;
use super::fake_provider::FakeProvider;
use super::people::Way;
use crate::channels::telegram::SECRET_HEADER;

/// The token of the demo's bot, which no real bot has.
const BOT_TOKEN: &str = "1000000007:demo-token-of-no-real-bot";

/// A raw delivery.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) way: Way,
    pub(super) body: Vec<u8>,
    /// How often the provider sends it.
    pub(super) copies: u8,
}

/// One account.
struct Door {
    url: String,
    secret: String,
}

/// The accounts of the demo.
pub(super) struct Doors {
    client: reqwest::Client,
    telegram: Door,
    webchat: Door,
    email: Door,
}

impl Doors {
    /// Opens the accounts.
    ///
    /// # Errors
    /// A mutation fails.
    pub(super) async fn open(
        client: reqwest::Client,
        server: &str,
        administrator: &Desk,
        shop: &Shop,
        provider: &FakeProvider,
    ) -> anyhow::Result<Self> {
        let smtp = provider.addresses.smtp;
        let telegram = json!({ "telegram": { "apiBase": provider.api_base() } });
        let webchat = json!({ "webchat": { "allowedOrigins": [server] } });
        let email = json!({ "email": {
            "address": shop.mailbox,
            "displayName": shop.mailbox_name,
            "smtp": { "host": smtp.ip().to_string(), "port": smtp.port(), "tls": "NONE" },
        } });
        let (bot, telegram) = open(administrator, server, "telegram", telegram).await?;
        let credentials = json!({ "telegram": { "botToken": BOT_TOKEN } });
        let input = json!({ "account": bot, "credentials": credentials, "idempotencyKey": "demo-bot-token" });
        administrator.change("replaceAccountCredentials", input, "").await?;
        let input = json!({ "account": bot, "idempotencyKey": "demo-webhook" });
        administrator.change("registerWebhook", input, "").await?;
        let (_, webchat) = open(administrator, server, "webchat", webchat).await?;
        let (_, email) = open(administrator, server, "email", email).await?;
        Ok(Self { client, telegram, webchat, email })
    }

    /// Posts a delivery, as often as the provider would.
    ///
    /// # Errors
    /// The server did not take it.
    pub(super) async fn post(&self, delivery: &Delivery) -> anyhow::Result<()> {
        for _ in 0..delivery.copies {
            let request = match delivery.way {
                Way::Telegram => {
                    let request = self.client.post(&self.telegram.url).header(SECRET_HEADER, &self.telegram.secret);
                    request.header("content-type", "application/json").body(delivery.body.clone())
                }
                Way::Webchat => {
                    let request = self.client.post(&self.webchat.url).header("content-type", "application/json");
                    request.body(signed(&delivery.body, &self.webchat.secret)?)
                }
                Way::Email => {
                    let request = self.client.post(&self.email.url).bearer_auth(&self.email.secret);
                    request.header("content-type", "message/rfc822").body(delivery.body.clone())
                }
            };
            let answer = request.send().await?;
            let status = answer.status();
            anyhow::ensure!(status.is_success(), "a delivery was answered with {status}");
        }
        Ok(())
    }
}

async fn open(desk: &Desk, server: &str, channel: &str, settings: Value) -> anyhow::Result<(Value, Door)> {
    let key = |step: &str| format!("demo-{channel}-{step}");
    let input = json!({ "name": format!("Demo {channel}"), "settings": settings, "idempotencyKey": key("open") });
    let account = desk.change("openAccount", input, "changed { id }").await?["changed"]["id"].take();
    let input = json!({ "account": account, "idempotencyKey": key("secret") });
    let issued = desk.change("issueAccountSecret", input, "secret").await?;
    let secret = issued["secret"].as_str().context("letopis made no secret")?.to_owned();
    let url = format!("{server}/webhooks/{channel}/{}", account.as_str().context("an account without id")?);
    Ok((account, Door { url, secret }))
}

/// Signs the visitor of a delivery, as the site of the chat widget does. The form is that of `docs/webchat.md`.
fn signed(body: &[u8], secret: &str) -> anyhow::Result<Vec<u8>> {
    let mut body: Value = serde_json::from_slice(body)?;
    let visitor = &body["visitor"];
    let part = |name: &str| match &visitor[name] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let lines = ["id", "expires_at", "name", "email", "phone", "language"].map(part);
    let text = format!("letopis-webchat-1\n{}", lines.join("\n"));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(text.as_bytes());
    body["visitor"]["signature"] = hex::encode(mac.finalize().into_bytes()).into();
    Ok(serde_json::to_vec(&body)?)
}
