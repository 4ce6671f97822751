//! Channel accounts: which bots, mailboxes and chat widgets a tenant has, and the secrets that prove deliveries.
//!
//! **Invariant:** at most two secrets of an account are live, so that one can be rotated without losing a delivery;
//! secrets and credentials are sealed under the account's own key.

use serde::{Deserialize, Serialize};

use crate::seal::{Personal, personal_json};
use crate::values::Channel;
use crate::vocabulary::vocabulary;

vocabulary! {
    /// What happens to a channel account.
    AccountEvent {
        /// The account exists from here on.
        Opened(AccountOpened) = "account.opened", 1;
        /// Its settings are replaced.
        SettingsChanged(AccountSettingsChanged) = "account.settings_changed", 1;
        /// Deliveries may be proven with this secret.
        SecretIssued(SecretIssued) = "account.secret_issued", 1, sealed secret;
        /// The secret proves nothing any more.
        SecretRevoked(SecretRevoked) = "account.secret_revoked", 1;
        /// How letopis proves itself to the provider is replaced.
        CredentialsReplaced(CredentialsReplaced) = "account.credentials_replaced", 1, sealed credentials;
        /// The provider accepted our webhook address.
        WebhookRegistered(WebhookRegistered) = "account.webhook_registered", 1;
        /// The provider refused our webhook address.
        WebhookRefused(WebhookRefused) = "account.webhook_refused", 1;
        /// The account takes no deliveries and sends nothing.
        Disabled(AccountDisabled) = "account.disabled", 1;
        /// The account works again.
        Enabled(AccountEnabled) = "account.enabled", 1;
    }
}

/// The account exists from here on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountOpened {
    /// The channel it speaks.
    pub channel: Channel,
    /// What the tenant calls it.
    pub name: String,
    /// How it is set up.
    pub settings: AccountSettings,
}

/// How an account is set up, by channel. Nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "channel", rename_all = "snake_case")]
pub enum AccountSettings {
    /// A Telegram bot.
    Telegram {
        /// Base URL of the Bot API; the configured default when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        api_base: Option<String>,
    },
    /// A chat widget on the tenant's own site.
    Webchat {
        /// Origins that may open the visitor's WebSocket, as `https://host[:port]`.
        allowed_origins: Vec<String>,
    },
    /// A mailbox.
    Email {
        /// The address that customers write to and get answers from.
        address: String,
        /// The name shown beside it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        display_name: Option<String>,
        /// Where answers are handed in.
        smtp: SmtpServer,
    },
}

impl AccountSettings {
    /// The channel these settings are for.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Telegram { .. } => Channel::Telegram,
            Self::Webchat { .. } => Channel::Webchat,
            Self::Email { .. } => Channel::Email,
        }
    }
}

/// A mail submission server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmtpServer {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
}

/// How an SMTP connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// TLS from the first byte (RFC 8314, section 3.3).
    Implicit,
    /// STARTTLS, refused when the server does not offer it (RFC 3207).
    StartTls,
    /// None: only for a relay on the same host.
    None,
}

/// The settings are replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountSettingsChanged {
    /// What the tenant calls it now.
    pub name: String,
    /// How it is set up now.
    pub settings: AccountSettings,
}

/// A secret is issued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecretIssued {
    /// Its number within the account, from 1.
    pub number: u32,
    /// The secret itself.
    pub secret: Personal<Secret>,
}

/// A shared secret: Telegram's `secret_token`, the HMAC key of the chat widget, the token of the mail hook.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The secret as text.
    pub value: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A secret is revoked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecretRevoked {
    /// Its number.
    pub number: u32,
}

/// Credentials are replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CredentialsReplaced {
    /// The new credentials.
    pub credentials: Personal<Credentials>,
}

/// What letopis shows to the provider.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "channel", rename_all = "snake_case")]
pub enum Credentials {
    /// The token that BotFather gave.
    Telegram {
        /// `<bot id>:<secret>`.
        bot_token: String,
    },
    /// The SMTP login.
    Email {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

personal_json!(Secret, Credentials);

/// The webhook is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WebhookRegistered {
    /// The address that the provider calls.
    pub url: String,
    /// The number of the secret that it sends.
    pub secret: u32,
}

/// The webhook could not be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WebhookRefused {
    /// The address that we asked for.
    pub url: String,
    /// What the provider said.
    pub reason: String,
}

/// The account is disabled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountDisabled {
    /// Why, in the words of whoever did it.
    pub reason: String,
}

/// The account is enabled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountEnabled {}
