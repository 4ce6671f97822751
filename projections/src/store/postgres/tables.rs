//! Makes the tables of the read models in their schema, or checks that those there are of this release.
//!
//! **Invariant:** processes that start at once make them once. Tables of another release are left as they are: read models
//! are not migrated but rebuilt. Table `read_model` names what belongs to the read models, so that a rebuild never touches
//! another table of the schema.

use events::postgres::Postgres;
use tokio_postgres::{Client, GenericClient, Row};

use super::texts::created;
use crate::projection::Table;
use crate::registry;
use crate::store::StoreError;
use crate::store::own_tables::{OWN_TABLES, check_versions, key_index, versions};

/// Reads the versions of what is there.
pub(super) const VERSIONS: &str = "SELECT name, version FROM projection";

/// The table that is never exchanged: it says of which release the others are, and is locked by whoever must not see
/// them exchanged.
pub(super) const GATE: &str = "projection";

/// The other tables of the store itself, which go with those of the projections.
pub(super) const OWN_EXCHANGED: [&str; 2] = ["checkpoint", "parked"];

/// Names of the tables that the read models are made of, but for the gate and for itself.
const READ_MODEL: &str = "CREATE TABLE read_model (name TEXT NOT NULL, PRIMARY KEY (name))";

/// Whether indexes are made with the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Indexes {
    /// All.
    Now,
    /// Those that no statement of a projection needs are made later, by [`index`].
    Later,
}

/// Refuses what is not of this release.
pub(super) fn check(rows: Vec<Row>) -> Result<(), StoreError> {
    let version = |row: &Row| Ok(format!("{} {}", row.try_get::<_, String>(0)?, row.try_get::<_, i64>(1)?));
    check_versions(rows.iter().map(version).collect::<Result<_, tokio_postgres::Error>>()?)
}

/// Every table that is exchanged: those of the projections and of the store itself.
pub(super) fn exchanged() -> impl Iterator<Item = &'static str> {
    registry::tables().map(|table| table.name).chain(OWN_EXCHANGED)
}

/// Makes the tables where there are none, else checks them.
pub(super) async fn prepare(postgres: &Postgres, indexes: Indexes) -> Result<(), StoreError> {
    let mut connection = postgres.connect().await?;
    let transaction = connection.client.transaction().await?;
    let schema = postgres.schema();
    transaction.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", &[&lock_name(schema)]).await?;
    if is_there(&transaction, schema).await? {
        return check(transaction.query(VERSIONS, &[]).await?);
    }
    // Asked first: the statement needs a right even where there is nothing to make.
    if transaction.query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&schema]).await?.is_none() {
        transaction.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
    }
    let mut script = format!("{};", created(READ_MODEL));
    for text in OWN_TABLES {
        script.extend([&created(text), ";"]);
    }
    for table in registry::tables() {
        script.extend([&created(table.create), ";"]);
        script.extend(key_index(table));
        if indexes == Indexes::Now {
            script.extend(table.indexes.iter().flat_map(|index| [index, ";"]));
        }
    }
    transaction.batch_execute(&script).await?;
    describe(&transaction).await?;
    Ok(transaction.commit().await?)
}

/// Makes the indexes that were left for later, and has the planner know the tables.
pub(super) async fn index(client: &Client) -> Result<(), StoreError> {
    let indexes: Vec<&str> = registry::tables().flat_map(|table: &Table| table.indexes).copied().collect();
    client.batch_execute(&indexes.join(";")).await?;
    Ok(client.batch_execute(&format!("ANALYZE {}", exchanged().collect::<Vec<_>>().join(", "))).await?)
}

/// Writes down of which release the tables are and which there are.
pub(super) async fn describe(client: &impl GenericClient) -> Result<(), StoreError> {
    client.batch_execute("DELETE FROM projection; DELETE FROM read_model").await?;
    for (name, version) in versions() {
        let version = i64::from(version);
        client.execute("INSERT INTO projection (name, version) VALUES ($1, $2)", &[&name, &version]).await?;
    }
    for name in exchanged() {
        client.execute("INSERT INTO read_model (name) VALUES ($1)", &[&name]).await?;
    }
    Ok(())
}

/// True when there are read models in the schema.
pub(super) async fn is_there(client: &impl GenericClient, schema: &str) -> Result<bool, StoreError> {
    let found = "SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = $2";
    Ok(client.query_opt(found, &[&schema, &GATE]).await?.is_some())
}

/// The advisory lock of those who make or exchange the tables of a schema.
pub(super) fn lock_name(schema: &str) -> String {
    format!("letopis read models {schema}")
}
