//! Leases in PostgreSQL: a row per name.
//!
//! **Invariant:** times are the server's (`clock_timestamp()`), so that the clocks of the processes play no part; each
//! step is one statement, which the row's lock puts in order. The term is never lowered, also not by a release.
//!
//! A fail-over to a standby that had not heard of a lease can give its name and term away twice: leases want
//! synchronous replication where the log has it.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::{Lease, LeaseError, Leases, check_name};
use crate::postgres::{Migrations, Postgres, PostgresError};

const MIGRATIONS: Migrations = Migrations {
    part: "leases",
    steps: &[(
        "V1__leases",
        "CREATE TABLE leases (
            name    text COLLATE \"C\" PRIMARY KEY,
            holder  text COLLATE \"C\",
            term    bigint NOT NULL,
            expires timestamptz NOT NULL
        )",
    )],
};

/// The time is taken when the row is locked, not when the statement began to wait for it.
const ACQUIRE: &str = "
INSERT INTO leases AS held (name, holder, term, expires)
VALUES ($1, $2, 1, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (name) DO UPDATE SET
    holder = excluded.holder,
    term = CASE WHEN held.holder = excluded.holder AND held.expires > clock_timestamp() THEN held.term
                ELSE held.term + 1 END,
    expires = clock_timestamp() + make_interval(secs => $3)
WHERE held.holder IS NULL OR held.holder = excluded.holder OR held.expires <= clock_timestamp()
RETURNING name, holder, term, expires";

const RENEW: &str = "
UPDATE leases SET expires = clock_timestamp() + make_interval(secs => $4)
WHERE name = $1 AND holder = $2 AND term = $3 RETURNING name, holder, term, expires";

const RELEASE: &str = "UPDATE leases SET holder = NULL WHERE name = $1 AND holder = $2 AND term = $3";

const HOLDER: &str = "
SELECT name, holder, term, expires FROM leases
WHERE name = $1 AND holder IS NOT NULL AND expires > clock_timestamp()";

/// Leases in PostgreSQL.
pub struct PostgresLeases(Postgres);

impl PostgresLeases {
    /// Opens the leases, making their table when it is not there.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn open(postgres: Postgres) -> Result<Self, PostgresError> {
        postgres.migrate(&MIGRATIONS).await?;
        Ok(Self(postgres))
    }

    async fn ask(&self, text: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Option<Lease>, LeaseError> {
        let asked = async {
            let client = self.0.client().await?;
            let statement = client.prepare_cached(text).await?;
            let row = client.query_opt(&statement, parameters).await?;
            row.as_ref().map(lease).transpose()
        };
        asked.await.map_err(|error: PostgresError| LeaseError::Unavailable(error.to_string()))
    }
}

fn lease(row: &Row) -> Result<Lease, PostgresError> {
    Ok(Lease {
        name: row.try_get(0)?,
        holder: row.try_get(1)?,
        term: row.try_get::<_, i64>(2)?.cast_unsigned(),
        expires: row.try_get(3)?,
    })
}

#[async_trait]
impl Leases for PostgresLeases {
    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, LeaseError> {
        check_name(name)?;
        check_name(holder)?;
        self.ask(ACQUIRE, &[&name, &holder, &ttl.as_secs_f64()]).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Option<Lease>, LeaseError> {
        let term = lease.term.cast_signed();
        self.ask(RENEW, &[&lease.name, &lease.holder, &term, &ttl.as_secs_f64()]).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.ask(RELEASE, &[&lease.name, &lease.holder, &lease.term.cast_signed()]).await.map(drop)
    }

    async fn holder_of(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        check_name(name)?;
        self.ask(HOLDER, &[&name]).await
    }
}
