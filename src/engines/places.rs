//! Where the configured engines keep their data, for whoever moves it.
//!
//! **Invariant:** the key-encryption key of a target is never made: it comes from where the data comes from.

use anyhow::Context;
use events::archive::{Place, Places};
use events::seal::KeyEncryptionKey;

use crate::config::{Config, Keeping, LogEngine};

/// Where log, keys, blobs and checkpoints are.
///
/// # Errors
/// An engine keeps its data where an archive can neither be made nor read.
pub fn places(config: &Config) -> anyhow::Result<Places> {
    #[cfg(feature = "postgres")]
    let server = super::postgres::connect(config)?;
    let in_server = || -> anyhow::Result<Place> {
        #[cfg(feature = "postgres")]
        return Ok(Place::Postgres(server.clone().context("postgres.url is not set")?));
        #[cfg(not(feature = "postgres"))]
        anyhow::bail!("this letopis is built without PostgreSQL")
    };
    let kept = |engine| match engine {
        Keeping::Embedded => Ok(Place::Embedded),
        Keeping::Postgres => in_server(),
    };
    let log = match config.log.engine {
        LogEngine::Embedded => Place::Embedded,
        LogEngine::Postgres => in_server()?,
        LogEngine::Eventstore => anyhow::bail!(
            "log.engine is eventstore: that server gives events positions and times of its own, so that an archive \
             cannot be imported there; back it up with its own tools. export and import work with embedded and postgres"
        ),
    };
    // As `Engines::checkpoints` decides.
    let checkpoints = if config.postgres.url.is_empty() { Place::Embedded } else { in_server()? };
    Ok(Places {
        log,
        keys: kept(config.keys.engine)?,
        blobs: kept(config.blobs.engine)?,
        checkpoints,
        folder: config.data_dir.clone(),
    })
}

/// The key-encryption key for engines that are to be filled; also makes the data folder, for its owner alone.
///
/// # Errors
/// There is none, or the folder cannot be made.
pub fn key_of_target(config: &Config) -> anyhow::Result<KeyEncryptionKey> {
    super::make_private(&config.data_dir)
        .with_context(|| format!("data folder {} cannot be made", config.data_dir.display()))?;
    super::key_encryption_key(config, true)
        .context("an import needs the key-encryption key that the archive's keys were wrapped with")
}
