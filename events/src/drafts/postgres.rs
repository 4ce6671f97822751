//! Drafts in PostgreSQL: a row per conversation in which somebody is replying.
//!
//! **Invariant:** times are the server's; each step is one statement, which the row's lock puts in order. The table is
//! unlogged: after a crash of the server nobody is replying.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{DraftError, Drafts, Replied};
use crate::postgres::{Migrations, Postgres, PostgresError};

const MIGRATIONS: Migrations = Migrations {
    part: "drafts",
    steps: &[(
        "V1__drafts",
        "CREATE UNLOGGED TABLE draft (
            tenant       text COLLATE \"C\" NOT NULL,
            conversation uuid NOT NULL,
            operator     text COLLATE \"C\" NOT NULL,
            expires      timestamptz NOT NULL,
            PRIMARY KEY (conversation, tenant)
        )",
    )],
};

/// Another's draft that has not ended stays: then the row does not change, and the last part tells whose it is.
const HOLD: &str = "
WITH taken AS (
    INSERT INTO draft AS held (tenant, conversation, operator, expires)
    VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
    ON CONFLICT (conversation, tenant) DO UPDATE SET operator = excluded.operator, expires = excluded.expires
    WHERE held.operator = excluded.operator OR held.expires <= clock_timestamp()
    RETURNING operator
)
SELECT operator FROM taken
UNION ALL SELECT operator FROM draft WHERE tenant = $1 AND conversation = $2 AND NOT EXISTS (SELECT 1 FROM taken)";

const RELEASE: &str = "DELETE FROM draft WHERE tenant = $1 AND conversation = $2 AND operator = $3";

const HOLDER: &str =
    "SELECT operator FROM draft WHERE tenant = $1 AND conversation = $2 AND expires > clock_timestamp()";

/// Drafts in PostgreSQL.
pub struct PostgresDrafts(Postgres);

impl PostgresDrafts {
    /// Opens them, making their table when it is not there.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn open(postgres: Postgres) -> Result<Self, PostgresError> {
        postgres.migrate(&MIGRATIONS).await?;
        Ok(Self(postgres))
    }

    async fn take(
        &self,
        (tenant, conversation): Replied<'_>,
        operator: &str,
        ttl: Duration,
    ) -> Result<Option<String>, PostgresError> {
        let client = self.0.client().await?;
        let statement = client.prepare_cached(HOLD).await?;
        let row = client
            .query_opt(&statement, &[&tenant.as_str(), &conversation.uuid(), &operator, &ttl.as_secs_f64()])
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    async fn drop_of(&self, (tenant, conversation): Replied<'_>, operator: &str) -> Result<(), PostgresError> {
        let client = self.0.client().await?;
        let statement = client.prepare_cached(RELEASE).await?;
        client.execute(&statement, &[&tenant.as_str(), &conversation.uuid(), &operator]).await?;
        Ok(())
    }

    async fn read(&self, (tenant, conversation): Replied<'_>) -> Result<Option<String>, PostgresError> {
        let client = self.0.client().await?;
        let statement = client.prepare_cached(HOLDER).await?;
        let row = client.query_opt(&statement, &[&tenant.as_str(), &conversation.uuid()]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }
}

fn unavailable(error: PostgresError) -> DraftError {
    DraftError::Unavailable(error.to_string())
}

#[async_trait]
impl Drafts for PostgresDrafts {
    async fn hold(&self, of: Replied<'_>, operator: &str, ttl: Duration) -> Result<Arc<str>, DraftError> {
        let holder = self.take(of, operator, ttl).await.map_err(unavailable)?;
        // Whoever let go in between left it to us: the next call takes it.
        Ok(holder.map_or_else(|| operator.into(), Into::into))
    }

    async fn release(&self, of: Replied<'_>, operator: &str) -> Result<(), DraftError> {
        self.drop_of(of, operator).await.map_err(unavailable)
    }

    async fn holder(&self, of: Replied<'_>) -> Result<Option<Arc<str>>, DraftError> {
        Ok(self.read(of).await.map_err(unavailable)?.map(Into::into))
    }
}
