//! Reads of channel accounts.
//!
//! **Invariant:** at most [`MOST_ACCOUNTS`] per tenant are listed; nothing secret is there to be read.

use chrono::{DateTime, Utc};
use events::account::AccountSettings;
use events::ids::AccountId;
use events::values::Channel;
use events::viewer::Viewer;
use uuid::Uuid;

use crate::store::{Query, StoreError};
use crate::value::{Columns, Row, Value, values};
use crate::views::Views;

/// Most accounts of a tenant in one answer.
const MOST_ACCOUNTS: i64 = 1000;

/// A channel account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// Its id.
    pub account: AccountId,
    /// The channel it speaks.
    pub channel: Channel,
    /// What the tenant calls it.
    pub name: String,
    /// How it is set up.
    pub settings: AccountSettings,
    /// False while it takes no deliveries and sends nothing.
    pub enabled: bool,
    /// Why it is disabled.
    pub disabled_reason: Option<String>,
    /// The webhook address last asked for.
    pub webhook_url: Option<String>,
    /// The number of the secret that the provider sends.
    pub webhook_secret: Option<u32>,
    /// What the provider said when it refused the address.
    pub webhook_refusal: Option<String>,
    /// True when letopis has credentials for the provider.
    pub has_credentials: bool,
    /// Numbers of the secrets that prove deliveries now, and since when.
    pub live_secrets: Vec<(u32, DateTime<Utc>)>,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// The last revision applied.
    pub revision: u64,
}

const COLUMNS: &str = "SELECT account, channel, name, settings, enabled, disabled_reason, webhook_url, \
    webhook_secret, webhook_refusal, credentials, opened_at, revision FROM account";

fn account_of(row: Row) -> Result<AccountView, StoreError> {
    let mut row = Columns::from(row);
    Ok(AccountView {
        account: AccountId::new(row.id()?),
        channel: row.named()?,
        name: row.text()?,
        settings: row.json()?,
        enabled: row.flag()?,
        disabled_reason: row.opt_text()?,
        webhook_url: row.opt_text()?,
        webhook_secret: row.opt_small()?,
        webhook_refusal: row.opt_text()?,
        has_credentials: row.flag()?,
        opened_at: row.time()?,
        revision: row.count()?,
        live_secrets: Vec::new(),
    })
}

impl Views {
    /// All accounts of the viewer's tenant, by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn accounts(&self, viewer: &Viewer) -> Result<Vec<AccountView>, StoreError> {
        self.accounts_where("", Vec::new(), viewer).await
    }

    /// Some accounts of the viewer's tenant by id; what is not theirs is left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn accounts_by_ids(&self, viewer: &Viewer, ids: &[AccountId]) -> Result<Vec<AccountView>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        crate::views::check_ids(ids.len())?;
        let mut parameters = Vec::new();
        crate::store::padded(&mut parameters, ids);
        let list = crate::store::placeholders(2, ids.len());
        self.accounts_where(&format!(" AND account.account IN {list}"), parameters, viewer).await
    }

    async fn accounts_where(
        &self,
        condition: &str,
        more: Vec<Value>,
        viewer: &Viewer,
    ) -> Result<Vec<AccountView>, StoreError> {
        let mut parameters = values![&viewer.tenant].to_vec();
        parameters.extend(more);
        let accounts = format!("{COLUMNS} WHERE tenant = $1{condition} ORDER BY name, account LIMIT {MOST_ACCOUNTS}");
        let secrets = format!(
            "SELECT s.account, s.number, s.issued_at FROM account_secret s \
             JOIN account ON account.account = s.account WHERE account.tenant = $1{condition} AND s.live = 1 \
             ORDER BY s.account, s.number"
        );
        let queries = [Query::new(accounts, parameters.clone()), Query::new(secrets, parameters)];
        let [accounts, secrets] = self.snapshot(queries).await?;
        let mut accounts = accounts.into_iter().map(account_of).collect::<Result<Vec<_>, _>>()?;
        for row in secrets {
            let mut row = Columns::from(row);
            let (account, secret): (Uuid, _) = (row.id()?, (row.small()?, row.time()?));
            if let Some(view) = accounts.iter_mut().find(|view| view.account.uuid() == account) {
                view.live_secrets.push(secret);
            }
        }
        Ok(accounts)
    }
}
