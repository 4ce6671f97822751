//! The channel accounts as intake and delivery need them: folded from the log, kept in memory.
//!
//! **Invariant:** holds secrets in memory only and shows them to nobody but the code that verifies and delivers.
//! It follows the log and is no basis for decisions on the account itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use events::DomainEvent;
use events::account::{AccountEvent, AccountSettings, Credentials, Secret};
use events::codec::Codec;
use events::envelope::{Category, Position, RecordedEvent};
use events::ids::{AccountId, TenantId};
use events::log::{EventLog, Filter, ReadError};
use events::values::Channel;
use futures::StreamExt;
use parking_lot::RwLock;
use tokio::sync::watch;

/// How long a caller waits for a change of theirs to arrive here.
const PATIENCE: Duration = Duration::from_secs(5);
/// Events read at a time at start.
const SLICE: usize = 1_000;

/// One account, as it is now.
#[derive(Debug, Clone)]
pub struct ChannelAccount {
    /// Its id.
    pub id: AccountId,
    /// Whose it is.
    pub tenant: TenantId,
    /// How it is set up.
    pub settings: AccountSettings,
    /// Its live secrets with their numbers, oldest first.
    pub secrets: Vec<(u32, Secret)>,
    /// What letopis shows to the provider.
    pub credentials: Option<Credentials>,
    /// True when it takes no deliveries and sends nothing.
    pub disabled: bool,
}

impl ChannelAccount {
    /// The channel it speaks.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        self.settings.channel()
    }
}

/// All accounts of all tenants.
pub struct Accounts {
    by_id: RwLock<HashMap<AccountId, Arc<ChannelAccount>>>,
    /// How far the follower has come.
    applied: watch::Sender<Position>,
    /// How far lookups of unknown accounts have searched; one searches at a time.
    searched: tokio::sync::Mutex<Position>,
    log: Arc<dyn EventLog>,
    codec: Codec,
}

impl Accounts {
    /// Reads all accounts there are.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn load(log: Arc<dyn EventLog>, codec: Codec) -> anyhow::Result<Arc<Self>> {
        let accounts = Self {
            by_id: RwLock::default(),
            applied: watch::Sender::new(Position::START),
            searched: tokio::sync::Mutex::new(Position::START),
            log,
            codec,
        };
        let mut after = Position::START;
        loop {
            let (events, searched) = accounts.log.read_all(after, &filter(), SLICE).await?;
            for event in events {
                accounts.apply(event).await?;
            }
            accounts.applied.send_replace(searched);
            if searched == after {
                return Ok(Arc::new(accounts));
            }
            after = searched;
        }
    }

    /// Follows the log; ends only with an error.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn follow(&self) -> anyhow::Result<()> {
        let after = *self.applied.borrow();
        let mut events = self.log.subscribe(after, filter());
        while let Some(event) = events.next().await {
            let event = event?;
            let position = event.position;
            self.apply(event).await?;
            self.applied.send_replace(position);
        }
        anyhow::bail!("the log's subscription ended")
    }

    /// The account with this id.
    #[must_use]
    pub fn get(&self, id: AccountId) -> Option<Arc<ChannelAccount>> {
        self.by_id.read().get(&id).cloned()
    }

    /// The account with this id, also when it was opened a moment ago.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn get_fresh(&self, id: AccountId) -> Result<Option<Arc<ChannelAccount>>, ReadError> {
        if let Some(account) = self.get(id) {
            return Ok(Some(account));
        }
        let mut searched = self.searched.lock().await;
        loop {
            let after = (*searched).max(*self.applied.borrow());
            let (events, reached) = self.log.read_all(after, &filter(), SLICE).await?;
            for event in events {
                // Applying twice is harmless: the follower applies the same events in the same order.
                self.apply(event).await.map_err(|error| ReadError::Unavailable(error.to_string()))?;
            }
            *searched = reached;
            if reached <= after {
                return Ok(self.get(id));
            }
        }
    }

    /// The account with this id as the log has it now, for whoever just changed it.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn get_caught_up(&self, id: AccountId) -> Result<Option<Arc<ChannelAccount>>, ReadError> {
        let after = *self.applied.borrow();
        let (events, _) = self.log.read_all(after, &filter(), SLICE).await?;
        let Some(last) = events.last() else { return Ok(self.get(id)) };
        let mut applied = self.applied.subscribe();
        let caught_up = applied.wait_for(|position| *position >= last.position);
        match tokio::time::timeout(PATIENCE, caught_up).await {
            Ok(_) => Ok(self.get(id)),
            Err(_) => Err(ReadError::Unavailable("accounts lag behind the log".to_owned())),
        }
    }

    async fn apply(&self, recorded: RecordedEvent) -> anyhow::Result<()> {
        let decoded = self.codec.decode_open(recorded).await?;
        let id = AccountId::new(decoded.recorded.stream.id);
        let DomainEvent::Account(event) = decoded.event else { return Ok(()) };
        let mut by_id = self.by_id.write();
        if let AccountEvent::Opened(opened) = event {
            let account = ChannelAccount {
                id,
                tenant: decoded.recorded.stream.tenant,
                settings: opened.settings,
                secrets: Vec::new(),
                credentials: None,
                disabled: false,
            };
            by_id.entry(id).or_insert_with(|| Arc::new(account));
            return Ok(());
        }
        let Some(account) = by_id.get_mut(&id) else { return Ok(()) };
        let account = Arc::make_mut(account);
        match event {
            AccountEvent::SettingsChanged(changed) => account.settings = changed.settings,
            AccountEvent::SecretIssued(issued) => {
                if let Some(secret) = issued.secret.into_value() {
                    account.secrets.retain(|(number, _)| *number != issued.number);
                    account.secrets.push((issued.number, secret));
                }
            }
            AccountEvent::SecretRevoked(revoked) => account.secrets.retain(|(number, _)| *number != revoked.number),
            AccountEvent::CredentialsReplaced(replaced) => account.credentials = replaced.credentials.into_value(),
            AccountEvent::Disabled(_) => account.disabled = true,
            AccountEvent::Enabled(_) => account.disabled = false,
            AccountEvent::Opened(_) | AccountEvent::WebhookRegistered(_) | AccountEvent::WebhookRefused(_) => {}
        }
        Ok(())
    }
}

fn filter() -> Filter {
    Filter { categories: vec![Category::Account] }
}
