//! Channel accounts: settings, webhook, which secrets live.
//!
//! **Invariant:** secrets and credentials never reach the read models: only the numbers of live secrets do.

use events::account::AccountEvent;
use events::codec::{Decoded, DomainEvent};
use events::envelope::Category;

use crate::projection::{Changes, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::Set::{Null, Number};
use crate::statement::{Newer, Statement};
use crate::value::{json, values};

mod read;

pub use read::AccountView;

/// Folds account streams.
#[derive(Debug)]
pub struct AccountProjection;

const TABLES: &[Table] = &[
    Table {
        name: "account",
        create: "CREATE TABLE account (account BYTEA NOT NULL, tenant TEXT NOT NULL, channel TEXT NOT NULL, \
            name TEXT NOT NULL, settings TEXT NOT NULL, enabled SMALLINT NOT NULL, disabled_reason TEXT, \
            webhook_url TEXT, webhook_secret BIGINT, webhook_refusal TEXT, credentials SMALLINT NOT NULL, \
            opened_at BIGINT NOT NULL, revision BIGINT NOT NULL, position BIGINT NOT NULL, PRIMARY KEY (account))",
        key: &["account"],
        order: RowOrder::Key,
        indexes: &["CREATE INDEX account_of_tenant ON account (tenant, name)"],
        personal: PersonalColumns::None,
    },
    Table {
        name: "account_secret",
        create: "CREATE TABLE account_secret (account BYTEA NOT NULL, number BIGINT NOT NULL, live SMALLINT NOT NULL, \
            issued_at BIGINT NOT NULL, revision BIGINT NOT NULL, PRIMARY KEY (account, number))",
        key: &["account", "number"],
        order: RowOrder::Key,
        indexes: &[],
        personal: PersonalColumns::None,
    },
];

static OPENED: Statement = Statement::insert(
    "account",
    "account, tenant, channel, name, settings, opened_at, revision, position",
    &[("enabled", Number(1)), ("credentials", Number(0))],
);
static SETTINGS: Statement = Statement::update("account", "name, settings, revision, position", &[]);
static SECRET_ISSUED: Statement = Statement::upsert(
    "account_secret",
    "account, number, issued_at, revision",
    &[("live", Number(1))],
    Newer { by: "revision", sets: "live, issued_at, revision", fills: "" },
);
static SECRET_REVOKED: Statement = Statement::update("account_secret", "revision", &[("live", Number(0))]);
static CREDENTIALS: Statement = Statement::update("account", "revision, position", &[("credentials", Number(1))]);
static REGISTERED: Statement =
    Statement::update("account", "webhook_url, webhook_secret, revision, position", &[("webhook_refusal", Null)]);
static REFUSED: Statement = Statement::update("account", "webhook_url, webhook_refusal, revision, position", &[]);
static ENABLED: Statement = Statement::update("account", "enabled, disabled_reason, revision, position", &[]);

impl Projection for AccountProjection {
    fn name(&self) -> &'static str {
        "account"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Account]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::Account(account_event) = &event.event else { return };
        let at = &event.recorded;
        let (account, revision, position) = (at.stream.id, at.revision, at.position);
        match account_event {
            AccountEvent::Opened(opened) => changes.push(
                &OPENED,
                values![
                    account,
                    at.tenant(),
                    opened.channel.as_str(),
                    opened.name.clone(),
                    json(&opened.settings),
                    at.recorded_at,
                    revision,
                    position,
                ],
            ),
            AccountEvent::SettingsChanged(changed) => changes
                .push(&SETTINGS, values![changed.name.clone(), json(&changed.settings), revision, position, account]),
            AccountEvent::SecretIssued(issued) => {
                changes.push(&SECRET_ISSUED, values![account, issued.number, at.recorded_at, revision]);
            }
            AccountEvent::SecretRevoked(revoked) => {
                changes.push(&SECRET_REVOKED, values![revision, account, revoked.number]);
            }
            AccountEvent::CredentialsReplaced(_) => changes.push(&CREDENTIALS, values![revision, position, account]),
            AccountEvent::WebhookRegistered(webhook) => {
                changes.push(&REGISTERED, values![webhook.url.clone(), webhook.secret, revision, position, account])
            }
            AccountEvent::WebhookRefused(webhook) => changes
                .push(&REFUSED, values![webhook.url.clone(), webhook.reason.clone(), revision, position, account]),
            AccountEvent::Disabled(disabled) => {
                changes.push(&ENABLED, values![false, disabled.reason.clone(), revision, position, account]);
            }
            AccountEvent::Enabled(_) => {
                changes.push(&ENABLED, values![true, None::<String>, revision, position, account]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
