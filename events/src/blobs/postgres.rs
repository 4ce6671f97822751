//! Blobs in PostgreSQL: a row per tenant and hash.
//!
//! **Invariant:** a put is one statement, whole and durable once it is answered; what is read is checked against its
//! hash. For bodies and media of some megabytes; whoever keeps many large ones is better served by an object store.

use async_trait::async_trait;
use bytes::Bytes;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::{BlobError, Blobs};
use crate::ids::TenantId;
use crate::postgres::{Migrations, Postgres, PostgresError};

/// Ciphertext does not get smaller: hence stored as it is.
pub(crate) const MIGRATIONS: Migrations = Migrations {
    part: "blobs",
    steps: &[(
        "V1__blobs",
        "CREATE TABLE blobs (
            tenant text COLLATE \"C\" NOT NULL,
            hash   bytea NOT NULL CHECK (octet_length(hash) = 32),
            sealed bytea NOT NULL,
            PRIMARY KEY (tenant, hash)
        );
        ALTER TABLE blobs ALTER COLUMN sealed SET STORAGE EXTERNAL",
    )],
};

/// What stands there is compared rather than trusted: a put is the one chance to heal a damaged row.
const PUT: &str = "
INSERT INTO blobs AS there (tenant, hash, sealed) VALUES ($1, $2, $3)
ON CONFLICT (tenant, hash) DO UPDATE SET sealed = excluded.sealed WHERE there.sealed <> excluded.sealed";

const GET: &str = "SELECT sealed FROM blobs WHERE tenant = $1 AND hash = $2";

const REMOVE: &str = "DELETE FROM blobs WHERE tenant = $1 AND hash = $2";

const NAMES: &str = "SELECT tenant, hash FROM blobs WHERE (tenant, hash) > ($1, $2) ORDER BY tenant, hash LIMIT $3";

/// Blobs in PostgreSQL.
pub struct PostgresBlobs(Postgres);

impl PostgresBlobs {
    /// Opens the blobs, making their table when it is not there.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn open(postgres: Postgres) -> Result<Self, PostgresError> {
        postgres.migrate(&MIGRATIONS).await?;
        Ok(Self(postgres))
    }

    /// Tenant and hash of the next `limit` blobs in their order: for whoever moves them elsewhere.
    pub(crate) async fn names(
        &self,
        after: Option<(TenantId, String)>,
        limit: usize,
    ) -> Result<Vec<(TenantId, String)>, PostgresError> {
        let (tenant, hash) = after.unzip();
        let (tenant, hash) = (tenant.as_ref().map_or("", TenantId::as_str), hash.as_deref().and_then(parse));
        let hash = hash.as_ref().map_or(&[][..], |hash| hash.as_bytes());
        let client = self.0.client().await?;
        let statement = client.prepare_cached(NAMES).await?;
        let rows = client.query(&statement, &[&tenant, &hash, &i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
        let name = |row: &tokio_postgres::Row| {
            let tenant = row
                .try_get::<_, &str>(0)?
                .parse()
                .map_err(|_| PostgresError::Corrupt("a blob's tenant is not a slug".into()))?;
            Ok((tenant, hex::encode(row.try_get::<_, &[u8]>(1)?)))
        };
        rows.iter().map(name).collect()
    }

    async fn execute(&self, text: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<(), PostgresError> {
        let client = self.0.client().await?;
        let statement = client.prepare_cached(text).await?;
        client.execute(&statement, parameters).await?;
        Ok(())
    }

    async fn read(&self, tenant: &TenantId, hash: &blake3::Hash) -> Result<Option<Vec<u8>>, PostgresError> {
        let client = self.0.client().await?;
        let statement = client.prepare_cached(GET).await?;
        let row = client.query_opt(&statement, &[&tenant.as_str(), &hash.as_bytes().as_slice()]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }
}

/// True when there are none.
pub(crate) async fn is_empty(client: &Client) -> Result<bool, PostgresError> {
    let there = client.query_one("SELECT EXISTS (SELECT 1 FROM blobs)", &[]).await?;
    Ok(!there.try_get::<_, bool>(0)?)
}

/// Puts sealed bytes within a transaction, for whoever moves blobs here.
pub(crate) async fn put_within(client: &Client, tenant: &TenantId, sealed: &[u8]) -> Result<(), PostgresError> {
    let hash = blake3::hash(sealed);
    client.execute(PUT, &[&tenant.as_str(), &hash.as_bytes().as_slice(), &sealed]).await?;
    Ok(())
}

#[async_trait]
impl Blobs for PostgresBlobs {
    async fn put(&self, tenant: &TenantId, sealed: Bytes) -> Result<String, BlobError> {
        let hash = blake3::hash(&sealed);
        let put = self.execute(PUT, &[&tenant.as_str(), &hash.as_bytes().as_slice(), &sealed.as_ref()]).await;
        put.map_err(|error| unavailable(&error))?;
        Ok(hash.to_hex().to_string())
    }

    async fn get(&self, tenant: &TenantId, hash: &str) -> Result<Bytes, BlobError> {
        let Some(wanted) = parse(hash) else {
            return Err(BlobError::NotFound("under a text that is no hash".into()));
        };
        match self.read(tenant, &wanted).await {
            Ok(Some(sealed)) if blake3::hash(&sealed) == wanted => Ok(sealed.into()),
            Ok(Some(_)) | Err(PostgresError::Corrupt(_)) => Err(BlobError::Corrupt(hash.to_owned())),
            Ok(None) => Err(BlobError::NotFound(hash.to_owned())),
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn remove(&self, tenant: &TenantId, hash: &str) -> Result<(), BlobError> {
        let Some(hash) = parse(hash) else { return Ok(()) };
        let removed = self.execute(REMOVE, &[&tenant.as_str(), &hash.as_bytes().as_slice()]).await;
        removed.map_err(|error| unavailable(&error))
    }
}

/// The hash written in small hex digits, the only way that a put writes it.
fn parse(text: &str) -> Option<blake3::Hash> {
    blake3::Hash::from_hex(text).ok().filter(|hash| hash.to_hex().as_str() == text)
}

fn unavailable(error: &PostgresError) -> BlobError {
    BlobError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hash_as_it_is_written_is_one() {
        let hash = blake3::hash(b"sealed").to_hex().to_string();
        assert!(parse(&hash).is_some());
        for text in ["", "..", &hash[1..], &hash.to_uppercase(), &format!("{hash}0")] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
