//! Heartbeats in PostgreSQL: a row per operator.
//!
//! **Invariant:** times are the server's, so that the clocks of the processes play no part. The table is unlogged: after
//! a crash of the server nothing is known of anybody, which does as little harm as a restart.

use std::time::Duration;

use async_trait::async_trait;

use super::{Ages, HeartbeatError, Heartbeats};
use crate::ids::TenantId;
use crate::postgres::{Migrations, Postgres, PostgresError};

const MIGRATIONS: Migrations = Migrations {
    part: "heartbeats",
    steps: &[(
        "V1__heartbeats",
        "CREATE UNLOGGED TABLE heartbeat (
            tenant   text COLLATE \"C\",
            operator text COLLATE \"C\",
            seen_at  timestamptz NOT NULL,
            PRIMARY KEY (tenant, operator)
        )",
    )],
};

const BEAT: &str = "
INSERT INTO heartbeat (tenant, operator, seen_at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (tenant, operator) DO UPDATE SET seen_at = clock_timestamp()";

const AGES: &str = "
SELECT tenant, operator, extract(epoch FROM clock_timestamp() - seen_at)::double precision FROM heartbeat";

/// Heartbeats in PostgreSQL.
pub struct PostgresHeartbeats(Postgres);

impl PostgresHeartbeats {
    /// Opens them, making their table when it is not there.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn open(postgres: Postgres) -> Result<Self, PostgresError> {
        postgres.migrate(&MIGRATIONS).await?;
        Ok(Self(postgres))
    }

    async fn write(&self, tenant: &TenantId, operator: &str) -> Result<(), PostgresError> {
        let client = self.0.client().await?;
        let statement = client.prepare_cached(BEAT).await?;
        client.execute(&statement, &[&tenant.as_str(), &operator]).await?;
        Ok(())
    }

    async fn read(&self) -> Result<Ages, PostgresError> {
        let client = self.0.client().await?;
        let statement = client.prepare_cached(AGES).await?;
        let mut ages = Ages::new();
        for row in client.query(&statement, &[]).await? {
            let (tenant, operator, age): (String, String, f64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            // Written by `beat` only, so a tenant it is.
            if let Ok(tenant) = tenant.parse() {
                let age = Duration::try_from_secs_f64(age).unwrap_or_default();
                ages.insert((tenant, operator.into()), age);
            }
        }
        Ok(ages)
    }
}

#[async_trait]
impl Heartbeats for PostgresHeartbeats {
    async fn beat(&self, tenant: &TenantId, operator: &str) -> Result<(), HeartbeatError> {
        self.write(tenant, operator).await.map_err(|error| HeartbeatError::Unavailable(error.to_string()))
    }

    async fn ages(&self) -> Result<Ages, HeartbeatError> {
        self.read().await.map_err(|error| HeartbeatError::Unavailable(error.to_string()))
    }
}
