//! Makes the channel accounts of a lane in a fresh data folder, before the server opens it.
//!
//! **Invariant:** accounts are made by commands through the one write path, as everybody's are.

use std::path::Path;
use std::sync::Arc;

use events::account::{AccountSettings, Secret, SmtpServer, SmtpTls};
use events::clock::{Clock, IdGenerator};
use events::envelope::Actor;
use events::ids::{AccountId, CommandId};
use letopis::clock::{SystemClock, SystemIds};
use letopis::config::Config;
use letopis::engines::{Access, Engines};
use models::account::{AccountCommand, AccountDecider};
use models::command::Origin;
use models::handler::Handler;

/// The secret of every account of a lane.
pub(crate) const SECRET: &str = "lane-secret-0123456789abcdef-0123456789";

/// Nothing listens there: what a lane sends to a provider fails at once and stays on this machine.
const NOWHERE: &str = "http://127.0.0.1:1";

/// The accounts of a lane.
pub(crate) struct Accounts {
    /// A Telegram bot.
    pub(crate) telegram: AccountId,
    /// A mailbox.
    pub(crate) email: AccountId,
}

impl Accounts {
    /// Makes them.
    pub(crate) async fn open(config: &Config) -> Self {
        let engines = Engines::open(config, Access::Append, Arc::new(SystemClock)).await.expect("the engines open");
        let handler = Handler::new(engines.event_log(), engines.codec.clone());
        let accounts = Self { telegram: AccountId::new(SystemIds.next()), email: AccountId::new(SystemIds.next()) };
        open(&handler, accounts.telegram, AccountSettings::Telegram { api_base: Some(NOWHERE.to_owned()) }).await;
        let smtp = SmtpServer { host: "127.0.0.1".to_owned(), port: 1, tls: SmtpTls::None };
        let address = "desk@lane.invalid".to_owned();
        open(&handler, accounts.email, AccountSettings::Email { address, display_name: None, smtp }).await;
        engines.log.close().await;
        accounts
    }
}

async fn open(handler: &Handler, account: AccountId, settings: AccountSettings) {
    let secret = Secret { value: SECRET.to_owned() };
    for command in
        [AccountCommand::Open { name: "lane".to_owned(), settings }, AccountCommand::IssueSecret { account, secret }]
    {
        let origin = Origin {
            id: CommandId::new(SystemIds.next()),
            tenant: "lane".parse().expect("a valid tenant"),
            actor: Actor::System("lane".into()),
            causation: None,
            correlation: SystemIds.next(),
            occurred_at: SystemClock.now(),
            traceparent: None,
            seen_at: None,
            wish: None,
        };
        handler.handle::<AccountDecider>(account.uuid(), &origin, command).await.expect("the account is made");
    }
}

/// The configuration of a server on this data folder, on any free port of this machine.
pub(crate) fn config(data: &Path) -> Config {
    let mut config = Config { data_dir: data.to_owned(), ..Config::default() };
    config.http.listen = ([127, 0, 0, 1], 0).into();
    config.telegram.api_base = NOWHERE.to_owned();
    config
}

/// A client that talks to this machine only.
pub(crate) fn client() -> reqwest::Client {
    let timeout = std::time::Duration::from_secs(60);
    reqwest::Client::builder().no_proxy().timeout(timeout).build().expect("a client can be made")
}
