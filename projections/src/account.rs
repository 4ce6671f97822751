//! Channel accounts: settings, webhook, which secrets live.
//!
//! **Invariant:** secrets and credentials never reach the read models: only the numbers of live secrets do.

use events::account::AccountEvent;
use events::codec::{Decoded, DomainEvent};
use events::envelope::Category;

use crate::projection::{Changes, PersonalColumns, Projection, Table};
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
        indexes: &["CREATE INDEX account_of_tenant ON account (tenant, name)"],
        personal: PersonalColumns::None,
    },
    Table {
        name: "account_secret",
        create: "CREATE TABLE account_secret (account BYTEA NOT NULL, number BIGINT NOT NULL, live SMALLINT NOT NULL, \
            issued_at BIGINT NOT NULL, revision BIGINT NOT NULL, PRIMARY KEY (account, number))",
        key: &["account", "number"],
        indexes: &[],
        personal: PersonalColumns::None,
    },
];

const OPENED: &str = "INSERT INTO account (account, tenant, channel, name, settings, enabled, credentials, opened_at, \
    revision, position) VALUES ($1, $2, $3, $4, $5, 1, 0, $6, $7, $8) ON CONFLICT (account) DO NOTHING";
const SETTINGS: &str = "UPDATE account SET name = $1, settings = $2, revision = $3, position = $4 \
    WHERE account = $5 AND revision < $3";
const SECRET_ISSUED: &str = "INSERT INTO account_secret (account, number, live, issued_at, revision) \
    VALUES ($1, $2, 1, $3, $4) ON CONFLICT (account, number) DO UPDATE SET live = excluded.live, \
    issued_at = excluded.issued_at, revision = excluded.revision WHERE excluded.revision > account_secret.revision";
const SECRET_REVOKED: &str = "UPDATE account_secret SET live = 0, revision = $1 \
    WHERE account = $2 AND number = $3 AND revision < $1";
const CREDENTIALS: &str = "UPDATE account SET credentials = 1, revision = $1, position = $2 \
    WHERE account = $3 AND revision < $1";
const REGISTERED: &str = "UPDATE account SET webhook_url = $1, webhook_secret = $2, webhook_refusal = NULL, \
    revision = $3, position = $4 WHERE account = $5 AND revision < $3";
const REFUSED: &str = "UPDATE account SET webhook_url = $1, webhook_refusal = $2, revision = $3, position = $4 \
    WHERE account = $5 AND revision < $3";
const ENABLED: &str = "UPDATE account SET enabled = $1, disabled_reason = $2, revision = $3, position = $4 \
    WHERE account = $5 AND revision < $3";

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
                OPENED,
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
                .push(SETTINGS, values![changed.name.clone(), json(&changed.settings), revision, position, account]),
            AccountEvent::SecretIssued(issued) => {
                changes.push(SECRET_ISSUED, values![account, issued.number, at.recorded_at, revision]);
            }
            AccountEvent::SecretRevoked(revoked) => {
                changes.push(SECRET_REVOKED, values![revision, account, revoked.number]);
            }
            AccountEvent::CredentialsReplaced(_) => changes.push(CREDENTIALS, values![revision, position, account]),
            AccountEvent::WebhookRegistered(webhook) => {
                changes.push(REGISTERED, values![webhook.url.clone(), webhook.secret, revision, position, account])
            }
            AccountEvent::WebhookRefused(webhook) => {
                changes.push(REFUSED, values![webhook.url.clone(), webhook.reason.clone(), revision, position, account])
            }
            AccountEvent::Disabled(disabled) => {
                changes.push(ENABLED, values![false, disabled.reason.clone(), revision, position, account]);
            }
            AccountEvent::Enabled(_) => {
                changes.push(ENABLED, values![true, None::<String>, revision, position, account]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
