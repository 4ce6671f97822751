//! The engines in PostgreSQL.
//!
//! **Invariant:** one pool per process serves all of them, but for keys that lie in a database of their own.

use std::sync::Arc;

use anyhow::Context;
use events::blobs::Blobs;
use events::blobs::postgres::PostgresBlobs;
use events::checkpoints::CheckpointStore;
use events::checkpoints::postgres::PostgresCheckpoints;
use events::clock::Clock;
use events::drafts::Drafts;
use events::drafts::postgres::PostgresDrafts;
use events::heartbeats::Heartbeats;
use events::heartbeats::postgres::PostgresHeartbeats;
use events::lease::Leases;
use events::lease::postgres::PostgresLeases;
use events::log::postgres::{PostgresLog, PostgresLogConfig};
use events::postgres::{Postgres, PostgresConfig};
use events::seal::KeyStore;
use events::seal::embedded::{KeyEncryptionKey, PoolConfig};
use events::seal::postgres::PostgresKeyStore;
use projections::store::postgres::PostgresStore;

use super::Log;
use crate::config::Config;

/// How the server is reached; `None` where none is configured.
fn config(config: &Config) -> Option<PostgresConfig> {
    of(&config.postgres)
}

fn of(postgres: &crate::config::PostgresConfig) -> Option<PostgresConfig> {
    (!postgres.url.is_empty()).then(|| PostgresConfig {
        password_file: postgres.password_file.clone(),
        ca_file: postgres.ca_file.clone(),
        pool_size: postgres.pool_size,
        schema: postgres.schema.clone(),
        ..PostgresConfig::new(postgres.url.reveal())
    })
}

/// The pool; `None` where no server is configured.
pub(super) fn connect(all: &Config) -> anyhow::Result<Option<Postgres>> {
    config(all).map(|config| Postgres::new(&config)).transpose().context("postgres")
}

fn server(postgres: Option<&Postgres>) -> anyhow::Result<Postgres> {
    postgres.cloned().context("postgres.url is not set")
}

/// Where the read models are: in a schema of their own, which a rebuild swaps.
///
/// # Errors
/// No server is configured.
pub fn of_views(all: &Config) -> anyhow::Result<PostgresConfig> {
    let config = config(all).context("postgres.url is not set")?;
    Ok(PostgresConfig { schema: format!("{}_views", config.schema), ..config })
}

pub(super) async fn views(config: &Config) -> anyhow::Result<PostgresStore> {
    Ok(PostgresStore::open(&of_views(config)?).await?)
}

pub(super) async fn log(postgres: Option<&Postgres>, clock: Arc<dyn Clock>) -> anyhow::Result<Log> {
    let log = PostgresLog::open(server(postgres)?, PostgresLogConfig::default(), clock).await;
    Ok(Log::Postgres(Arc::new(log.context("the log in PostgreSQL cannot be opened")?)))
}

/// Where the keys are: a server of their own, or that of the others.
pub(super) fn of_keys(
    own: Option<&crate::config::PostgresConfig>,
    postgres: Option<&Postgres>,
) -> anyhow::Result<Postgres> {
    match own.map(|own| of(own).context("keys.postgres.url is not set")) {
        Some(own) => Postgres::new(&own?).context("keys.postgres"),
        None => server(postgres),
    }
}

pub(super) async fn has_keys(server: &Postgres) -> anyhow::Result<bool> {
    PostgresKeyStore::is_made(server).await.context("the key store in PostgreSQL cannot be read")
}

pub(super) async fn keys(
    server: Postgres,
    kek: KeyEncryptionKey,
    pool: PoolConfig,
) -> anyhow::Result<Arc<dyn KeyStore>> {
    let keys = PostgresKeyStore::open(server, kek, pool).await;
    Ok(Arc::new(keys.context("the key store in PostgreSQL cannot be opened")?))
}

pub(super) async fn blobs(postgres: Option<&Postgres>) -> anyhow::Result<Arc<dyn Blobs>> {
    Ok(Arc::new(PostgresBlobs::open(server(postgres)?).await.context("blobs in PostgreSQL cannot be opened")?))
}

pub(super) async fn checkpoints(postgres: &Postgres) -> anyhow::Result<Arc<dyn CheckpointStore>> {
    Ok(Arc::new(PostgresCheckpoints::open(postgres.clone()).await.context("checkpoints in PostgreSQL")?))
}

pub(super) async fn leases(postgres: &Postgres) -> anyhow::Result<Arc<dyn Leases>> {
    Ok(Arc::new(PostgresLeases::open(postgres.clone()).await.context("leases in PostgreSQL")?))
}

pub(super) async fn heartbeats(postgres: &Postgres) -> anyhow::Result<Arc<dyn Heartbeats>> {
    Ok(Arc::new(PostgresHeartbeats::open(postgres.clone()).await.context("heartbeats in PostgreSQL")?))
}

pub(super) async fn drafts(postgres: &Postgres) -> anyhow::Result<Arc<dyn Drafts>> {
    Ok(Arc::new(PostgresDrafts::open(postgres.clone()).await.context("drafts in PostgreSQL")?))
}
