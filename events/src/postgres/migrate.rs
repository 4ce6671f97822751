//! Migrations: tables that are made, and changed when a release changes them.
//!
//! **Invariant:** a migration that was ever released is never edited, only followed by another. Processes that start at
//! once take turns by an advisory lock, so that each migration is applied once.

use std::error::Error as _;

use refinery::error::Kind;
use refinery::{Migration, Runner};
use tokio_postgres::Client;

use super::PostgresError;

/// Advisory lock of those who migrate, database-wide: `LETM` in ASCII, twice.
const LOCK: i64 = 0x4C45_544D_4C45_544D;

/// The migrations of one part, in order.
pub struct Migrations {
    /// The part: its history is kept in table `<part>_migrations`, so that parts can live in different databases.
    pub part: &'static str,
    /// Names, `V1__what_it_does` and so on, with their SQL. Unqualified names are in the configured schema.
    pub steps: &'static [(&'static str, &'static str)],
}

impl Migrations {
    /// Applies what has not been applied. The lock goes with the connection, which the caller drops.
    pub(super) async fn apply(&self, client: &mut Client, schema: &str) -> Result<(), PostgresError> {
        let mut steps = Vec::with_capacity(self.steps.len());
        for (name, sql) in self.steps {
            steps.push(Migration::unapplied(name, sql).map_err(of_refinery)?);
        }
        client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
        // Asked first: the statement below needs the right to make schemas even where there is nothing to make.
        let there = client.query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&schema]).await?;
        if there.is_none() {
            client.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
        }
        let mut runner = Runner::new(&steps);
        runner.set_migration_table_name(format!("{}_migrations", self.part));
        runner.run_async(client).await.map_err(of_refinery)?;
        Ok(())
    }
}

fn of_refinery(error: refinery::Error) -> PostgresError {
    match error.kind() {
        Kind::MissingVersion(step) => {
            PostgresError::Refused(format!("the tables are of a newer release: {step} is not known here"))
        }
        Kind::Connection(..) => {
            let reason = error.to_string();
            let cause = error.source().and_then(|cause| cause.downcast_ref::<tokio_postgres::Error>());
            match cause {
                Some(cause) if !cause.is_closed() && cause.as_db_error().is_some() => PostgresError::Refused(reason),
                _ => PostgresError::Unavailable(reason),
            }
        }
        _ => PostgresError::Refused(error.to_string()),
    }
}
