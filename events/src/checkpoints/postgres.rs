//! Checkpoints in PostgreSQL: a row per consumer and part.
//!
//! **Invariant:** within a part the greater position stays, whichever process writes last.

use async_trait::async_trait;
use tokio_postgres::Client;

use super::CheckpointStore;
use crate::consumer::ConsumeError;
use crate::envelope::Position;
use crate::feed::{Checkpoint, Checkpoints, Part};
use crate::postgres::{Migrations, Postgres, PostgresError};

pub(crate) const MIGRATIONS: Migrations = Migrations {
    part: "checkpoints",
    steps: &[(
        "V1__reactor_checkpoint",
        "CREATE TABLE reactor_checkpoint (
            consumer text COLLATE \"C\" NOT NULL,
            part     text COLLATE \"C\" NOT NULL,
            place    bigint NOT NULL,
            position bigint NOT NULL,
            PRIMARY KEY (consumer, part)
        )",
    )],
};

const LOAD: &str = "SELECT part, place, position FROM reactor_checkpoint WHERE consumer = $1";

/// In the order of the parts, so that two processes that store the same ones never wait for each other.
const STORE: &str = "
INSERT INTO reactor_checkpoint AS stored (consumer, part, place, position)
SELECT $1, part, place, position FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS given (part, place, position)
ORDER BY part COLLATE \"C\"
ON CONFLICT (consumer, part) DO UPDATE SET place = excluded.place, position = excluded.position
WHERE (excluded.position, excluded.place) > (stored.position, stored.place)";

/// Checkpoints in PostgreSQL.
pub struct PostgresCheckpoints(Postgres);

impl PostgresCheckpoints {
    /// Opens the checkpoints, making their table when it is not there.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn open(postgres: Postgres) -> Result<Self, PostgresError> {
        postgres.migrate(&MIGRATIONS).await?;
        Ok(Self(postgres))
    }

    /// Names of the consumers that have one, in order.
    pub(crate) async fn names(&self) -> Result<Vec<String>, PostgresError> {
        let client = self.0.client().await?;
        let names = "SELECT DISTINCT consumer FROM reactor_checkpoint ORDER BY consumer";
        client.query(names, &[]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    async fn read(&self, consumer: &str) -> Result<Checkpoints, PostgresError> {
        let client = self.0.client().await?;
        let statement = client.prepare_cached(LOAD).await?;
        let mut checkpoints = Checkpoints::start();
        for row in client.query(&statement, &[&consumer]).await? {
            checkpoints.add(&Checkpoint {
                part: Part::named(row.try_get(0)?),
                offset: row.try_get::<_, i64>(1)?.unsigned_abs(),
                position: Position(row.try_get::<_, i64>(2)?.unsigned_abs()),
            });
        }
        Ok(checkpoints)
    }

    async fn write(&self, consumer: &str, checkpoints: &Checkpoints) -> Result<(), PostgresError> {
        let (parts, places, positions) = columns(checkpoints);
        let client = self.0.client().await?;
        let statement = client.prepare_cached(STORE).await?;
        client.execute(&statement, &[&consumer, &parts, &places, &positions]).await?;
        Ok(())
    }
}

/// True when there are none.
pub(crate) async fn is_empty(client: &Client) -> Result<bool, PostgresError> {
    let there = client.query_one("SELECT EXISTS (SELECT 1 FROM reactor_checkpoint)", &[]).await?;
    Ok(!there.try_get::<_, bool>(0)?)
}

/// Stores within a transaction, for whoever moves checkpoints here.
pub(crate) async fn store_within(
    client: &Client,
    consumer: &str,
    checkpoints: &Checkpoints,
) -> Result<(), PostgresError> {
    let (parts, places, positions) = columns(checkpoints);
    client.execute(STORE, &[&consumer, &parts, &places, &positions]).await?;
    Ok(())
}

fn columns(checkpoints: &Checkpoints) -> (Vec<String>, Vec<i64>, Vec<i64>) {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let (mut parts, mut places, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    for checkpoint in checkpoints.iter() {
        parts.push(checkpoint.part.as_str().to_owned());
        places.push(number(checkpoint.offset));
        positions.push(number(checkpoint.position.0));
    }
    (parts, places, positions)
}

fn retry(error: PostgresError) -> ConsumeError {
    ConsumeError::Retry(format!("checkpoints: {error}"))
}

#[async_trait]
impl CheckpointStore for PostgresCheckpoints {
    async fn load(&self, consumer: &str) -> Result<Checkpoints, ConsumeError> {
        self.read(consumer).await.map_err(retry)
    }

    async fn store(&self, consumer: &str, checkpoints: &Checkpoints) -> Result<(), ConsumeError> {
        self.write(consumer, checkpoints).await.map_err(retry)
    }
}
