//! Opens the embedded engines: log, key store and blobs in the data folder.
//!
//! **Invariant:** a key store without its key-encryption key is never opened and never made anew beside an old one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use events::blobs::Blobs;
use events::blobs::folder::FolderBlobs;
use events::clock::Clock;
use events::codec::Codec;
use events::ids::IdHasher;
use events::log::EventLog;
use events::log::embedded::{Durability, EmbeddedLog, EmbeddedLogConfig};
use events::seal::embedded::{EmbeddedKeyStore, KeyEncryptionKey, PoolConfig};
use events::seal::{KeyStore, Sealer};

use crate::config::{Config, LogDurability};

/// Environment variable with the key-encryption key.
pub const KEK_VARIABLE: &str = "LETOPIS_KEK";

/// The engines of one process.
pub struct Engines {
    /// The log.
    pub log: Arc<EmbeddedLog>,
    /// The blobs.
    pub blobs: Arc<dyn Blobs>,
    /// Seals, opens and decodes.
    pub codec: Codec,
}

/// Who else may work in the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// This process appends; no other may.
    Append,
    /// This process only reads; another may append.
    Read,
    /// This process makes the read models anew from all of the log; no other may append.
    Rebuild,
}

impl Engines {
    /// Opens the engines in `config.data_dir`.
    ///
    /// # Errors
    /// The folder cannot be used, the key does not fit, or another process appends.
    pub async fn open(config: &Config, access: Access, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        if access == Access::Append {
            make_private(&config.data_dir)
                .with_context(|| format!("data folder {} cannot be made", config.data_dir.display()))?;
        }
        let keys_file = config.data_file("keys.db");
        anyhow::ensure!(
            keys_file.exists() || !config.data_file("log.db").exists(),
            "there is a log in {} but no keys.db: restore it, a new one would open nothing and derive other ids",
            config.data_dir.display()
        );
        anyhow::ensure!(
            access == Access::Append || keys_file.exists(),
            "there is no data in {}: is data_dir right?",
            config.data_dir.display()
        );
        let kek = key_encryption_key(config, keys_file.exists())?;
        let mut log_config = EmbeddedLogConfig::new(config.data_file("log.db"));
        log_config.durability = match config.log.durability {
            LogDurability::Synced => Durability::Synced,
            LogDurability::Unsafe => Durability::Unsafe,
        };
        if access == Access::Rebuild {
            log_config.mapped_bytes = u64::MAX;
        }
        // The log is opened first: its lock keeps a second writer away from the other files, too.
        let log = Arc::new(match access {
            Access::Append | Access::Rebuild => EmbeddedLog::open(log_config, clock)?,
            Access::Read => EmbeddedLog::open_read_only(log_config)?,
        });
        let pool = match access {
            Access::Append => PoolConfig::default(),
            Access::Read | Access::Rebuild => PoolConfig { low_water_keys: 0, ..PoolConfig::default() },
        };
        let keys = EmbeddedKeyStore::open(keys_file, kek, pool).await.context("key store cannot be opened")?;
        let keys: Arc<dyn KeyStore> = Arc::new(keys);
        let hasher = IdHasher::new(*keys.id_secret().await?);
        let blobs = FolderBlobs::open(config.data_file("blobs")).await.context("blobs cannot be opened")?;
        Ok(Self { log, blobs: Arc::new(blobs), codec: Codec::new(Sealer::new(keys), hasher) })
    }

    /// The log as its port.
    #[must_use]
    pub fn event_log(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.log) as Arc<dyn EventLog>
    }
}

/// Makes the data folder for its owner alone: read models hold names and texts in clear.
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if folder.exists() {
        let mode = std::fs::metadata(folder)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(data_dir = %folder.display(), "others may read the data folder: chmod 700 it");
        }
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn key_encryption_key(config: &Config, store_exists: bool) -> anyhow::Result<KeyEncryptionKey> {
    if std::env::var_os(KEK_VARIABLE).is_some() {
        return KeyEncryptionKey::from_env(KEK_VARIABLE).context(KEK_VARIABLE);
    }
    let own: PathBuf = config.data_file("kek");
    let file = config.keys.kek_file.as_ref().unwrap_or(&own);
    if file.exists() {
        return KeyEncryptionKey::from_file(file).with_context(|| format!("{}", file.display()));
    }
    anyhow::ensure!(
        !store_exists,
        "the key-encryption key {} is missing: restore it, without it nothing personal can be read",
        file.display()
    );
    let made = KeyEncryptionKey::generate(file).with_context(|| format!("{}", file.display()))?;
    tracing::warn!(kek_file = %file.display(), "made a key-encryption key: keep a copy of it apart from the data");
    Ok(made)
}
