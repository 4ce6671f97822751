//! The decider of channel accounts.
//!
//! **Invariant:** at most two secrets are live and never fewer than one once one was issued, so that a rotation never
//! leaves a moment in which deliveries cannot be proven.

use std::collections::BTreeSet;

use events::account::{
    AccountDisabled, AccountEnabled, AccountEvent, AccountOpened, AccountSettings, AccountSettingsChanged, Credentials,
    CredentialsReplaced, Secret, SecretIssued, SecretRevoked, WebhookRefused, WebhookRegistered,
};
use events::envelope::{Category, Revision};
use events::ids::AccountId;
use events::seal::{KeySubject, Personal};
use events::values::Channel;

use crate::decider::Decider;

/// Secrets that may be live at once.
pub const MAX_LIVE_SECRETS: usize = 2;
/// Shortest secret, in characters: 128 bits as hex digits.
pub const MIN_SECRET_CHARS: usize = 32;
/// Longest secret, in characters. **Source:** Telegram Bot API, `setWebhook`, parameter `secret_token`: 1 to 256.
pub const MAX_SECRET_CHARS: usize = 256;
/// Longest reason, in characters: of a disabled account and of a refused webhook.
pub const MAX_REASON_CHARS: usize = 200;
/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 100;

/// The rules of channel accounts.
pub struct AccountDecider;

/// What is known of a channel account.
#[derive(Debug, Default, PartialEq)]
pub struct Account {
    opened: Option<Opened>,
    live: BTreeSet<u32>,
    last_secret: u32,
    disabled: bool,
}

#[derive(Debug, PartialEq)]
struct Opened {
    name: String,
    settings: AccountSettings,
}

impl Account {
    /// The channel, once the account exists.
    #[must_use]
    pub fn channel(&self) -> Option<Channel> {
        self.opened.as_ref().map(|opened| opened.settings.channel())
    }

    /// How it is set up, once the account exists.
    #[must_use]
    pub fn settings(&self) -> Option<&AccountSettings> {
        self.opened.as_ref().map(|opened| &opened.settings)
    }

    /// The number of the newest secret; 0 before the first.
    #[must_use]
    pub const fn last_secret(&self) -> u32 {
        self.last_secret
    }
}

/// A wish about a channel account.
#[derive(Debug, Clone, PartialEq)]
pub enum AccountCommand {
    /// Open the account.
    Open {
        /// What the tenant calls it.
        name: String,
        /// How it is set up.
        settings: AccountSettings,
    },
    /// Replace name and settings.
    ChangeSettings {
        /// What the tenant calls it from here on.
        name: String,
        /// How it is set up from here on.
        settings: AccountSettings,
    },
    /// Add a live secret.
    IssueSecret {
        /// The account, to seal the secret with its key.
        account: AccountId,
        /// The secret.
        secret: Secret,
    },
    /// Take a secret out of use.
    RevokeSecret {
        /// Its number.
        number: u32,
    },
    /// Replace what letopis shows to the provider.
    ReplaceCredentials {
        /// The account, to seal the credentials with its key.
        account: AccountId,
        /// The credentials.
        credentials: Credentials,
    },
    /// Note that the provider took our webhook.
    RecordWebhook {
        /// The address it calls.
        url: String,
        /// The number of the secret that it sends.
        secret: u32,
    },
    /// Note that the provider refused our webhook.
    RecordRefusal {
        /// The address we asked for.
        url: String,
        /// What it said.
        reason: String,
    },
    /// Stop taking deliveries and sending.
    Disable {
        /// Why.
        reason: String,
    },
    /// Go on.
    Enable,
}

/// Why a wish about an account is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountRejection {
    /// There is no such account.
    #[error("account does not exist")]
    NotOpen,
    /// It exists already with another set-up.
    #[error("account exists already")]
    AlreadyOpen,
    /// The settings or credentials are of another channel.
    #[error("settings are of another channel than the account")]
    OtherChannel,
    /// The name is empty or too long.
    #[error("account name must have 1 to {MAX_NAME_CHARS} characters")]
    BadName,
    /// The reason is too long.
    #[error("reason must have at most {MAX_REASON_CHARS} characters")]
    BadReason,
    /// Two secrets are live: revoke one first.
    #[error("{MAX_LIVE_SECRETS} secrets are live already: revoke one first")]
    TooManySecrets,
    /// The secret is too short, too long or has characters that a header cannot carry.
    #[error("secret must have {MIN_SECRET_CHARS} to {MAX_SECRET_CHARS} characters of A-Z, a-z, 0-9, _ and -")]
    BadSecret,
    /// No such secret is live.
    #[error("no live secret has this number")]
    NoSuchSecret,
    /// It is the only live secret: issue another first.
    #[error("this is the only live secret: issue another first")]
    LastSecret,
}

impl Decider for AccountDecider {
    const CATEGORY: Category = Category::Account;
    const READS_PERSONAL: bool = false;
    type Event = AccountEvent;
    type Command = AccountCommand;
    type State = Account;
    type Rejection = AccountRejection;

    fn decide(state: &Account, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountRejection> {
        if let AccountCommand::Open { name, settings } = command {
            return open(state, name, settings);
        }
        let opened = state.opened.as_ref().ok_or(AccountRejection::NotOpen)?;
        let channel = opened.settings.channel();
        Ok(match command {
            AccountCommand::Open { .. } => return Err(AccountRejection::AlreadyOpen),
            AccountCommand::ChangeSettings { name, settings } => {
                check_name(&name)?;
                if settings.channel() != channel {
                    return Err(AccountRejection::OtherChannel);
                }
                if opened.name == name && opened.settings == settings {
                    vec![]
                } else {
                    vec![AccountSettingsChanged { name, settings }.into()]
                }
            }
            AccountCommand::IssueSecret { account, secret } => {
                if state.live.len() >= MAX_LIVE_SECRETS {
                    return Err(AccountRejection::TooManySecrets);
                }
                check_secret(&secret)?;
                let secret = Personal::new(KeySubject::Account(account), secret);
                vec![SecretIssued { number: state.last_secret + 1, secret }.into()]
            }
            AccountCommand::RevokeSecret { number } => {
                if !state.live.contains(&number) {
                    let was_live = (1..=state.last_secret).contains(&number);
                    return if was_live { Ok(vec![]) } else { Err(AccountRejection::NoSuchSecret) };
                }
                if state.live.len() == 1 {
                    return Err(AccountRejection::LastSecret);
                }
                vec![SecretRevoked { number }.into()]
            }
            AccountCommand::ReplaceCredentials { account, credentials } => {
                if credentials_channel(&credentials) != channel {
                    return Err(AccountRejection::OtherChannel);
                }
                let credentials = Personal::new(KeySubject::Account(account), credentials);
                vec![CredentialsReplaced { credentials }.into()]
            }
            AccountCommand::RecordWebhook { url, secret } => vec![WebhookRegistered { url, secret }.into()],
            AccountCommand::RecordRefusal { url, reason } => {
                let reason = reason.chars().take(MAX_REASON_CHARS).collect();
                vec![WebhookRefused { url, reason }.into()]
            }
            AccountCommand::Disable { .. } if state.disabled => vec![],
            AccountCommand::Disable { reason } if reason.chars().count() > MAX_REASON_CHARS => {
                return Err(AccountRejection::BadReason);
            }
            AccountCommand::Disable { reason } => vec![AccountDisabled { reason }.into()],
            AccountCommand::Enable if state.disabled => vec![AccountEnabled {}.into()],
            AccountCommand::Enable => vec![],
        })
    }

    fn evolve(state: &mut Account, event: &AccountEvent, _revision: Revision) {
        match event {
            AccountEvent::Opened(opened) => {
                state.opened = Some(Opened { name: opened.name.clone(), settings: opened.settings.clone() });
            }
            AccountEvent::SettingsChanged(changed) => {
                state.opened = Some(Opened { name: changed.name.clone(), settings: changed.settings.clone() });
            }
            AccountEvent::SecretIssued(issued) => {
                state.live.insert(issued.number);
                state.last_secret = issued.number;
            }
            AccountEvent::SecretRevoked(revoked) => {
                state.live.remove(&revoked.number);
            }
            AccountEvent::CredentialsReplaced(_)
            | AccountEvent::WebhookRegistered(_)
            | AccountEvent::WebhookRefused(_) => {}
            AccountEvent::Disabled(_) => state.disabled = true,
            AccountEvent::Enabled(_) => state.disabled = false,
        }
    }
}

fn open(state: &Account, name: String, settings: AccountSettings) -> Result<Vec<AccountEvent>, AccountRejection> {
    check_name(&name)?;
    match &state.opened {
        None => Ok(vec![AccountOpened { channel: settings.channel(), name, settings }.into()]),
        Some(opened) if opened.name == name && opened.settings == settings => Ok(vec![]),
        Some(_) => Err(AccountRejection::AlreadyOpen),
    }
}

fn check_name(name: &str) -> Result<(), AccountRejection> {
    let fits = !name.trim().is_empty() && name.chars().count() <= MAX_NAME_CHARS;
    if fits { Ok(()) } else { Err(AccountRejection::BadName) }
}

fn check_secret(secret: &Secret) -> Result<(), AccountRejection> {
    let value = &secret.value;
    let fits = (MIN_SECRET_CHARS..=MAX_SECRET_CHARS).contains(&value.len());
    let carried = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if fits && carried { Ok(()) } else { Err(AccountRejection::BadSecret) }
}

const fn credentials_channel(credentials: &Credentials) -> Channel {
    match credentials {
        Credentials::Telegram { .. } => Channel::Telegram,
        Credentials::Email { .. } => Channel::Email,
    }
}

#[cfg(test)]
mod tests;
