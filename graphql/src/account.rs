//! Channel accounts: the list, and everything that sets one up.
//!
//! **Invariant:** secrets and credentials go in and never come out, but for a secret that letopis made itself: it is
//! shown in the answer to the mutation that made it.

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Object, OneofObject, SimpleObject, Union};
use chrono::{DateTime, Utc};
use events::account::{Credentials, SmtpServer};
use events::values::{Channel, EmailAddress};
use projections::account::AccountView;

use crate::context::{Reading, id};
use crate::error::{Failure, Outcome};
use crate::guard::ADMINISTRATOR;
use crate::scalars::Token;

mod mutation;

pub(crate) use mutation::AccountMutation;

/// A way in which customers reach the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "Channel", remote = "Channel")]
pub(crate) enum ChannelName {
    /// Telegram Bot API.
    Telegram,
    /// The chat widget on the tenant's own site.
    Webchat,
    /// E-mail.
    Email,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "events::account::SmtpTls")]
pub(crate) enum SmtpTls {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS, refused when the server does not offer it.
    StartTls,
    /// None: only for a relay on the same host.
    None,
}

/// How a Telegram account is set up.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, InputObject)]
#[graphql(input_name = "TelegramSettingsInput")]
pub(crate) struct TelegramSettings {
    /// Base URL of the Bot API; the configured default when absent.
    pub api_base: Option<String>,
}

/// How a chat widget is set up.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, InputObject)]
#[graphql(input_name = "WebchatSettingsInput")]
pub(crate) struct WebchatSettings {
    /// Origins that may open the visitor's connection, as `https://host[:port]`.
    pub allowed_origins: Vec<String>,
}

/// How a mailbox is set up.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, InputObject)]
#[graphql(input_name = "EmailSettingsInput")]
pub(crate) struct EmailSettings {
    /// The address that customers write to and get answers from.
    pub address: String,
    /// The name shown beside it.
    pub display_name: Option<String>,
    /// Where answers are handed in.
    pub smtp: Smtp,
}

/// A server that takes mail to be sent.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, InputObject)]
#[graphql(name = "SmtpServer", input_name = "SmtpServerInput")]
pub(crate) struct Smtp {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
}

/// How an account is set up, by its channel. Nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, Union)]
pub(crate) enum AccountSettings {
    /// A Telegram bot.
    Telegram(TelegramSettings),
    /// A chat widget.
    Webchat(WebchatSettings),
    /// A mailbox.
    Email(EmailSettings),
}

/// How an account is set up: exactly one of the channels.
#[derive(Debug, Clone, OneofObject)]
pub(crate) enum AccountSettingsInput {
    /// A Telegram bot.
    Telegram(TelegramSettings),
    /// A chat widget on the tenant's own site.
    Webchat(WebchatSettings),
    /// A mailbox.
    Email(EmailSettings),
}

impl From<events::account::AccountSettings> for AccountSettings {
    fn from(settings: events::account::AccountSettings) -> Self {
        use events::account::AccountSettings as Stored;
        match settings {
            Stored::Telegram { api_base } => Self::Telegram(TelegramSettings { api_base }),
            Stored::Webchat { allowed_origins } => Self::Webchat(WebchatSettings { allowed_origins }),
            Stored::Email { address, display_name, smtp } => Self::Email(EmailSettings {
                address,
                display_name,
                smtp: Smtp { host: smtp.host, port: smtp.port, tls: smtp.tls.into() },
            }),
        }
    }
}

impl AccountSettingsInput {
    /// The settings as stored; `Err` says what is not well-formed.
    fn parse(self) -> Result<events::account::AccountSettings, &'static str> {
        use events::account::AccountSettings as Stored;
        match self {
            Self::Telegram(TelegramSettings { api_base }) => match &api_base {
                Some(base) if !is_origin_or_url(base) => Err("apiBase must be an http or https URL"),
                _ => Ok(Stored::Telegram { api_base }),
            },
            Self::Webchat(WebchatSettings { allowed_origins }) => {
                if allowed_origins.len() <= MAX_ORIGINS && allowed_origins.iter().all(|origin| is_origin(origin)) {
                    Ok(Stored::Webchat { allowed_origins })
                } else {
                    Err("allowedOrigins must be at most 100 of the form https://host[:port]")
                }
            }
            Self::Email(EmailSettings { address, display_name, smtp }) => {
                let address = EmailAddress::parse(&address).map_err(|_| "address must be an e-mail address")?;
                if smtp.host.is_empty() || smtp.port == 0 || smtp.host.contains(char::is_whitespace) {
                    return Err("smtp must name a host and a port");
                }
                let smtp = SmtpServer { host: smtp.host, port: smtp.port, tls: smtp.tls.into() };
                Ok(Stored::Email { address: address.as_str().to_owned(), display_name, smtp })
            }
        }
    }
}

/// Most origins of a chat widget.
const MAX_ORIGINS: usize = 100;

fn is_origin_or_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c == '@'))
}

fn is_origin(text: &str) -> bool {
    is_origin_or_url(text) && text.splitn(3, '/').nth(2).is_some_and(|host| !host.contains(['/', '?', '#']))
}

/// What letopis shows to the provider: exactly one of the channels.
#[derive(Clone, OneofObject)]
pub(crate) enum CredentialsInput {
    /// Of a Telegram bot.
    Telegram(TelegramCredentialsInput),
    /// Of a mail server.
    Email(EmailCredentialsInput),
}

/// Credentials of a Telegram bot.
#[derive(Clone, InputObject)]
pub(crate) struct TelegramCredentialsInput {
    /// The token that BotFather gave.
    pub bot_token: String,
}

/// Credentials of a mail server.
#[derive(Clone, InputObject)]
pub(crate) struct EmailCredentialsInput {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl From<CredentialsInput> for Credentials {
    fn from(input: CredentialsInput) -> Self {
        match input {
            CredentialsInput::Telegram(telegram) => Self::Telegram { bot_token: telegram.bot_token },
            CredentialsInput::Email(email) => Self::Email { username: email.username, password: email.password },
        }
    }
}

/// A channel account: one bot, one mailbox, one chat widget.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Account {
    /// The id, as `account-<uuid>`.
    pub id: ID,
    /// The channel that it speaks.
    pub channel: ChannelName,
    /// What the tenant calls it.
    pub name: String,
    /// False while it takes no deliveries and sends nothing.
    pub enabled: bool,
    #[graphql(skip)]
    view: AccountView,
}

impl From<AccountView> for Account {
    fn from(view: AccountView) -> Self {
        Self {
            id: view.account.to_string().into(),
            channel: view.channel.into(),
            name: view.name.clone(),
            enabled: view.enabled,
            view,
        }
    }
}

/// A secret that proves deliveries.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct LiveSecret {
    /// Its number within the account, from 1.
    pub number: u32,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
}

#[ComplexObject]
impl Account {
    /// How it is set up.
    #[graphql(guard = "ADMINISTRATOR")]
    async fn settings(&self) -> AccountSettings {
        self.view.settings.clone().into()
    }

    /// Why it is disabled, in the words of whoever did it.
    #[graphql(guard = "ADMINISTRATOR")]
    async fn disabled_reason(&self) -> Option<&str> {
        self.view.disabled_reason.as_deref()
    }

    /// True when letopis has credentials for the provider.
    #[graphql(guard = "ADMINISTRATOR")]
    async fn has_credentials(&self) -> bool {
        self.view.has_credentials
    }

    /// The secrets that prove deliveries now, two at most; the secrets themselves are never shown.
    #[graphql(guard = "ADMINISTRATOR")]
    async fn live_secrets(&self) -> Vec<LiveSecret> {
        self.view
            .live_secrets
            .iter()
            .map(|(number, issued_at)| LiveSecret { number: *number, issued_at: *issued_at })
            .collect()
    }

    /// The webhook address that the provider was last asked to call.
    #[graphql(guard = "ADMINISTRATOR")]
    async fn webhook_url(&self) -> Option<&str> {
        self.view.webhook_url.as_deref()
    }

    /// The number of the secret that the provider sends with each call.
    #[graphql(guard = "ADMINISTRATOR")]
    async fn webhook_secret(&self) -> Option<u32> {
        self.view.webhook_secret
    }

    /// What the provider said when it refused the webhook address.
    #[graphql(guard = "ADMINISTRATOR")]
    async fn webhook_refusal(&self) -> Option<&str> {
        self.view.webhook_refusal.as_deref()
    }

    /// When it was opened.
    async fn opened_at(&self) -> DateTime<Utc> {
        self.view.opened_at
    }
}

/// Queries of channel accounts.
#[derive(Default)]
pub(crate) struct AccountQuery;

#[Object]
impl AccountQuery {
    /// The channel accounts of the tenant, by name. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "20 * child_complexity + 1")]
    async fn accounts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<Vec<Account>> {
        let reading = Reading::after(ctx, after.as_ref()).await?;
        let accounts = reading.views().accounts(reading.viewer()).await.map_err(Failure::from)?;
        Ok(accounts.into_iter().map(Account::from).collect())
    }
}

/// One account of the viewer's tenant.
pub(crate) async fn find(reading: &Reading<'_>, account: &ID) -> Outcome<Option<Account>> {
    let account = id(account)?;
    let mut found = reading.views().accounts_by_ids(reading.viewer(), &[account]).await?;
    Ok(found.pop().map(Account::from))
}
