//! Opens the configured engines: log, feed, key store, blobs, leases and checkpoints.
//!
//! **Invariant:** a key store without its key-encryption key is never opened, and none is made anew beside a log that has
//! events, wherever that log is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use events::blobs::Blobs;
use events::blobs::folder::FolderBlobs;
use events::checkpoints::CheckpointStore;
use events::checkpoints::folder::FolderCheckpoints;
use events::clock::Clock;
use events::codec::Codec;
use events::drafts::{Drafts, MemoryDrafts};
use events::envelope::Position;
use events::feed::{EventFeed, Layout, LogFeed};
use events::heartbeats::{Heartbeats, MemoryHeartbeats};
use events::ids::IdHasher;
use events::lease::Leases;
use events::lease::file::FileLeases;
use events::log::embedded::{Durability, EmbeddedLog, EmbeddedLogConfig};
use events::log::{EventLog, Filter};
use events::seal::embedded::{EmbeddedKeyStore, KeyEncryptionKey, PoolConfig};
use events::seal::{KeyStore, Sealer};

use projections::store::ReadStore;
use projections::store::sqlite::{SqliteConfig, SqliteStore};

use crate::config::{Config, FeedEngine, Keeping, LogDurability, LogEngine};

#[cfg(feature = "eventstore")]
mod eventstore;
#[cfg(feature = "kafka")]
pub mod kafka;
mod places;
#[cfg(feature = "postgres")]
pub mod postgres;

pub use places::{key_of_target, places};

/// Environment variable with the key-encryption key.
pub const KEK_VARIABLE: &str = "LETOPIS_KEK";

/// The engines of one process.
pub struct Engines {
    /// The log.
    pub log: Log,
    /// The blobs.
    pub blobs: Arc<dyn Blobs>,
    /// Seals, opens and decodes.
    pub codec: Codec,
    #[cfg(feature = "postgres")]
    postgres: Option<events::postgres::Postgres>,
}

/// A log of whichever engine.
pub enum Log {
    /// In the data folder.
    Embedded(Arc<EmbeddedLog>),
    /// In `PostgreSQL`.
    #[cfg(feature = "postgres")]
    Postgres(Arc<events::log::postgres::PostgresLog>),
    /// In EventStoreDB or KurrentDB.
    #[cfg(feature = "eventstore")]
    Eventstore(Arc<events::log::eventstore::EventStoreLog>),
}

impl Log {
    /// The embedded one, if it is.
    #[must_use]
    pub fn embedded(&self) -> Option<&Arc<EmbeddedLog>> {
        match self {
            Self::Embedded(log) => Some(log),
            #[cfg(any(feature = "postgres", feature = "eventstore"))]
            _ => None,
        }
    }

    /// Finishes what was taken and closes it.
    pub async fn close(&self) {
        match self {
            Self::Embedded(log) => log.close().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(log) => log.close().await,
            // Every append is answered by the server.
            #[cfg(feature = "eventstore")]
            Self::Eventstore(_) => {}
        }
    }

    /// As its port.
    #[must_use]
    pub fn port(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Embedded(log) => Arc::clone(log) as _,
            #[cfg(feature = "postgres")]
            Self::Postgres(log) => Arc::clone(log) as _,
            #[cfg(feature = "eventstore")]
            Self::Eventstore(log) => Arc::clone(log) as _,
        }
    }
}

/// What this process does with the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It appends; no other may.
    Append,
    /// It only reads; another may append.
    Read,
    /// It makes the read models anew from all of the log; no other may append.
    Rebuild,
}

impl Engines {
    /// Opens the configured engines.
    ///
    /// # Errors
    /// The folder cannot be used, a server cannot be reached, the key does not fit, or another process appends.
    pub async fn open(config: &Config, access: Access, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        if access == Access::Append {
            make_private(&config.data_dir)
                .with_context(|| format!("data folder {} cannot be made", config.data_dir.display()))?;
        }
        #[cfg(feature = "postgres")]
        let postgres = postgres::connect(config)?;
        let keys_file = config.data_file("keys.db");
        if config.keys.engine == Keeping::Embedded {
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
        }
        let kek = key_encryption_key(config, keys_file.exists())?;
        // The log is opened first: the lock of an embedded one keeps a second writer away from the other files, too.
        let log = match config.log.engine {
            LogEngine::Embedded => Log::Embedded(Arc::new(embedded_log(config, access, clock)?)),
            #[cfg(feature = "postgres")]
            LogEngine::Postgres => postgres::log(postgres.as_ref(), clock).await?,
            #[cfg(feature = "eventstore")]
            LogEngine::Eventstore => eventstore::log(config)?,
            #[cfg(not(all(feature = "postgres", feature = "eventstore")))]
            other => anyhow::bail!("this letopis is built without log.engine = {other:?}"),
        };
        let pool = match access {
            Access::Append => PoolConfig::default(),
            Access::Read | Access::Rebuild => PoolConfig { low_water_keys: 0, ..PoolConfig::default() },
        };
        let keys: Arc<dyn KeyStore> = match config.keys.engine {
            Keeping::Embedded => {
                may_be_made(keys_file.exists(), &log).await?;
                let keys = EmbeddedKeyStore::open(keys_file, kek, pool).await.context("key store cannot be opened")?;
                Arc::new(keys)
            }
            #[cfg(feature = "postgres")]
            Keeping::Postgres => {
                let server = postgres::of_keys(config.keys.postgres.as_ref(), postgres.as_ref())?;
                may_be_made(postgres::has_keys(&server).await?, &log).await?;
                postgres::keys(server, kek, pool).await?
            }
            #[cfg(not(feature = "postgres"))]
            Keeping::Postgres => anyhow::bail!("this letopis is built without keys.engine = postgres"),
        };
        let hasher = IdHasher::new(*keys.id_secret().await?);
        let blobs: Arc<dyn Blobs> = match config.blobs.engine {
            Keeping::Embedded => {
                let blobs = FolderBlobs::open(config.data_file("blobs")).await.context("blobs cannot be opened")?;
                Arc::new(blobs)
            }
            #[cfg(feature = "postgres")]
            Keeping::Postgres => postgres::blobs(postgres.as_ref()).await?,
            #[cfg(not(feature = "postgres"))]
            Keeping::Postgres => anyhow::bail!("this letopis is built without blobs.engine = postgres"),
        };
        let codec = Codec::new(Sealer::new(keys), hasher);
        Ok(Self {
            log,
            blobs,
            codec,
            #[cfg(feature = "postgres")]
            postgres,
        })
    }

    /// The log as its port.
    #[must_use]
    pub fn event_log(&self) -> Arc<dyn EventLog> {
        self.log.port()
    }

    /// The feed that consumers follow.
    ///
    /// # Errors
    /// The configuration of Kafka cannot be used.
    pub fn feed(&self, config: &Config) -> anyhow::Result<Arc<dyn EventFeed>> {
        match config.feed.engine {
            #[cfg(feature = "kafka")]
            FeedEngine::Embedded => Ok(Arc::new(LogFeed::after_topics(self.event_log(), kafka::topics(config)?))),
            #[cfg(not(feature = "kafka"))]
            FeedEngine::Embedded => Ok(Arc::new(LogFeed::new(self.event_log()))),
            #[cfg(feature = "kafka")]
            FeedEngine::Kafka => Ok(Arc::new(events::feed::kafka::KafkaFeed::new(kafka::config(config)?))),
            #[cfg(not(feature = "kafka"))]
            FeedEngine::Kafka => anyhow::bail!("this letopis is built without feed.engine = kafka"),
        }
    }

    /// The read models: kept by this process, or read as another keeps them.
    ///
    /// # Errors
    /// They are of another version or damaged, or the server cannot be used.
    pub async fn views(&self, config: &Config, keeps: bool) -> anyhow::Result<Arc<dyn ReadStore>> {
        let rebuild = "read models cannot be opened: `letopis rebuild` makes them anew";
        match config.views.engine {
            Keeping::Embedded => {
                anyhow::ensure!(keeps, "embedded read models are read by the process that keeps them");
                let store = SqliteStore::open(&config.data_file("views.db"), &SqliteConfig::default()).await;
                Ok(Arc::new(store.context(rebuild)?))
            }
            #[cfg(feature = "postgres")]
            Keeping::Postgres => Ok(Arc::new(postgres::views(config).await.context(rebuild)?)),
            #[cfg(not(feature = "postgres"))]
            Keeping::Postgres => anyhow::bail!("this letopis is built without views.engine = postgres"),
        }
    }

    /// Where reactors and the relay keep how far they have come: in `PostgreSQL` where that is configured, else in the data
    /// folder.
    ///
    /// # Errors
    /// The server or the folder cannot be used.
    pub async fn checkpoints(&self, config: &Config) -> anyhow::Result<Arc<dyn CheckpointStore>> {
        #[cfg(feature = "postgres")]
        if let Some(postgres) = &self.postgres {
            return postgres::checkpoints(postgres).await;
        }
        Ok(Arc::new(FolderCheckpoints::open(config.data_file("checkpoints")).context("checkpoints")?))
    }

    /// Who does what only one may do: a row in `PostgreSQL` where that is configured, else a lock in the data folder.
    ///
    /// # Errors
    /// The server cannot be used.
    #[cfg_attr(not(feature = "postgres"), expect(clippy::unused_async, reason = "it asks a server with the feature"))]
    pub async fn leases(&self, config: &Config) -> anyhow::Result<Arc<dyn Leases>> {
        #[cfg(feature = "postgres")]
        if let Some(postgres) = &self.postgres {
            return postgres::leases(postgres).await;
        }
        Ok(Arc::new(FileLeases::new(config.data_file("leases"))))
    }

    /// Who is replying: a row in `PostgreSQL` where that is configured, else in memory.
    ///
    /// # Errors
    /// The server cannot be used.
    #[cfg_attr(not(feature = "postgres"), expect(clippy::unused_async, reason = "it asks a server with the feature"))]
    pub async fn drafts(&self, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Drafts>> {
        #[cfg(feature = "postgres")]
        if let Some(postgres) = &self.postgres {
            return postgres::drafts(postgres).await;
        }
        Ok(Arc::new(MemoryDrafts::new(clock)))
    }

    /// Who was there last: a row in `PostgreSQL` where that is configured, else in memory.
    ///
    /// # Errors
    /// The server cannot be used.
    #[cfg_attr(not(feature = "postgres"), expect(clippy::unused_async, reason = "it asks a server with the feature"))]
    pub async fn heartbeats(&self, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Heartbeats>> {
        #[cfg(feature = "postgres")]
        if let Some(postgres) = &self.postgres {
            return postgres::heartbeats(postgres).await;
        }
        Ok(Arc::new(MemoryHeartbeats::new(clock)))
    }
}

/// In which parts the configured feed comes.
///
/// # Errors
/// The configuration of Kafka cannot be used.
pub fn layout(config: &Config) -> anyhow::Result<Layout> {
    match config.feed.engine {
        FeedEngine::Embedded => Ok(Layout::whole()),
        #[cfg(feature = "kafka")]
        FeedEngine::Kafka => Ok(Layout::of_topics(kafka::topics(config)?)),
        #[cfg(not(feature = "kafka"))]
        FeedEngine::Kafka => anyhow::bail!("this letopis is built without feed.engine = kafka"),
    }
}

/// A key store is never made beside a log that has events: it would open none of them and derive other ids.
async fn may_be_made(is_there: bool, log: &Log) -> anyhow::Result<()> {
    if is_there {
        return Ok(());
    }
    let (log, everything) = (log.port(), Filter::default());
    let head = log.head().await.context("the log cannot be read, and whether keys may be made depends on it")?;
    let mut searched = Position::START;
    while searched < head {
        let (events, reached) = log.read_all(searched, &everything, 1).await?;
        anyhow::ensure!(
            events.is_empty(),
            "the log has events, but keys.engine names a place without their keys: configure the place where they are, or \
             restore it"
        );
        if reached <= searched {
            break;
        }
        searched = reached;
    }
    Ok(())
}

fn embedded_log(config: &Config, access: Access, clock: Arc<dyn Clock>) -> anyhow::Result<EmbeddedLog> {
    let mut log = EmbeddedLogConfig::new(config.data_file("log.db"));
    log.durability = match config.log.durability {
        LogDurability::Synced => Durability::Synced,
        LogDurability::Unsafe => Durability::Unsafe,
    };
    if access == Access::Rebuild {
        log.mapped_bytes = u64::MAX;
    }
    Ok(match access {
        Access::Append | Access::Rebuild => EmbeddedLog::open(log, clock)?,
        Access::Read => EmbeddedLog::open_read_only(log)?,
    })
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
    anyhow::ensure!(
        config.keys.engine == Keeping::Embedded,
        "there is no key-encryption key {}: every process needs the same one; make it once with \
         `head -c 32 /dev/urandom | base64` and name it as keys.kek_file or {KEK_VARIABLE}",
        file.display()
    );
    let made = KeyEncryptionKey::generate(file).with_context(|| format!("{}", file.display()))?;
    tracing::warn!(kek_file = %file.display(), "made a key-encryption key: keep a copy of it apart from the data");
    Ok(made)
}

#[cfg(all(test, feature = "eventstore"))]
mod tests;
