//! Making an archive of what the engines hold.
//!
//! **Invariant:** reads only. What events need is read after them, so that an archive made beside a running server is whole
//! as of its cut; what happens after the cut is not in it.

use std::path::Path;

use super::write::ArchiveWriter;
use super::{ArchiveError, Contents, Place, Places, Progress, Record};
use crate::blobs::folder::FolderBlobs;
use crate::blobs::{BlobError, Blobs};
use crate::checkpoints::CheckpointStore;
use crate::checkpoints::folder::FolderCheckpoints;
use crate::envelope::Position;
use crate::feed::{Checkpoint, Checkpoints, Part};
use crate::ids::TenantId;
use crate::log::embedded::{EmbeddedLog, EmbeddedLogConfig};
use crate::log::{EventLog, Imported, ReadError};
use crate::seal::embedded::moving::WrappedKeys;
use crate::seal::key_id::PageId;
use crate::seal::wrapped::{WrappedPage, WrappedSecret, WrappedSubjectKey};
use crate::seal::{KeyId, OpenKeyStoreError};

/// Names of blobs asked for at a time.
const NAMES: usize = 256;

/// The log that is read.
enum Log {
    Embedded(Box<EmbeddedLog>),
    #[cfg(feature = "postgres")]
    Postgres(crate::postgres::Postgres),
}

/// The key store that is read.
enum Keys {
    Embedded(WrappedKeys),
    #[cfg(feature = "postgres")]
    Postgres(crate::postgres::Postgres),
}

/// The blobs that are read.
enum AnyBlobs {
    Embedded(FolderBlobs),
    #[cfg(feature = "postgres")]
    Postgres(crate::blobs::postgres::PostgresBlobs),
}

/// Makes an archive of everything up to the present end of the log; answers what is in it and where the log ends by then,
/// which is further if somebody appended meanwhile. Writes the file on the caller's thread: for a command that does nothing
/// else.
///
/// # Errors
/// See [`ArchiveError`]; then there is no file.
pub async fn export(
    places: &Places,
    path: &Path,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(Contents, Position), ArchiveError> {
    let log = Log::open(places)?;
    let keys = Keys::open(places)?;
    let cut = log.head().await?;
    let mut archive = ArchiveWriter::create(path, cut)?;
    for secret in keys.secrets().await? {
        archive.add(&Record::Secret(secret))?;
    }
    let mut after = Position::START;
    while after < cut {
        let events = log.read(after, cut).await?;
        let Some(last) = events.last().map(|last| last.event.position) else {
            return Err(ReadError::Corrupt { position: after, reason: "the log ends before its head".into() }.into());
        };
        for event in events {
            if event.event.position <= cut {
                archive.add(&Record::Event(Box::new(event)))?;
            }
        }
        after = last;
        progress(Progress { doing: "events", done: after.0.min(cut.0), of: Some(cut.0) });
    }
    export_keys(&keys, &mut archive, progress).await?;
    export_blobs(&AnyBlobs::open(places).await?, &mut archive, progress).await?;
    export_checkpoints(places, cut, &mut archive).await?;
    let contents = archive.finish()?;
    Ok((contents, log.head().await?))
}

async fn export_keys(
    keys: &Keys,
    archive: &mut ArchiveWriter,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), ArchiveError> {
    let (mut after, mut done) = (None, 0);
    loop {
        let found = keys.subject_keys(after).await?;
        let Some(last) = found.last() else { break };
        (after, done) = (Some(last.id), done + found.len() as u64);
        for key in found {
            archive.add(&Record::SubjectKey(key))?;
        }
        progress(Progress { doing: "keys", done, of: None });
    }
    let (mut after, mut done) = (None, 0);
    loop {
        let found = keys.pages(after).await?;
        let Some(last) = found.last() else { return Ok(()) };
        (after, done) = (Some(last.place()), done + found.len() as u64);
        for page in found {
            archive.add(&Record::Page(page))?;
        }
        progress(Progress { doing: "pages of keys", done, of: None });
    }
}

async fn export_blobs(
    blobs: &AnyBlobs,
    archive: &mut ArchiveWriter,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), ArchiveError> {
    let (mut after, mut done) = (None, 0);
    loop {
        let names = blobs.names(after).await?;
        let Some(last) = names.last() else { return Ok(()) };
        after = Some(last.clone());
        for (tenant, hash) in names {
            match blobs.port().get(&tenant, &hash).await {
                Ok(sealed) => archive.add(&Record::Blob { tenant, sealed })?,
                // Removed since it was named.
                Err(BlobError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
            done += 1;
        }
        progress(Progress { doing: "blobs", done, of: None });
    }
}

async fn export_checkpoints(places: &Places, cut: Position, archive: &mut ArchiveWriter) -> Result<(), ArchiveError> {
    let (store, names): (Box<dyn CheckpointStore>, _) = match &places.checkpoints {
        Place::Embedded => {
            let folder = places.folder.join("checkpoints");
            if !folder.is_dir() {
                return Ok(());
            }
            let store = FolderCheckpoints::open(folder.clone()).map_err(ArchiveError::of(&folder))?;
            let names = store.names().map_err(ArchiveError::of(&folder))?;
            (Box::new(store), names)
        }
        #[cfg(feature = "postgres")]
        Place::Postgres(postgres) => {
            let store = crate::checkpoints::postgres::PostgresCheckpoints::open(postgres.clone()).await?;
            let names = store.names().await?;
            (Box::new(store), names)
        }
    };
    for consumer in names {
        for checkpoint in store.load(&consumer).await?.iter() {
            let Some(checkpoint) = cut_to(cut, checkpoint) else { continue };
            let (consumer, checkpoints) = (consumer.clone(), Checkpoints::from(checkpoint));
            archive.add(&Record::Checkpoint { consumer, checkpoints })?;
        }
    }
    Ok(())
}

/// What a consumer has done of the events that are in the archive. A record of a topic that is beyond them says nothing of
/// where in the topic the cut is: then there is none, and the consumer looks at its events again.
fn cut_to(cut: Position, checkpoint: Checkpoint) -> Option<Checkpoint> {
    if checkpoint.position <= cut {
        Some(checkpoint)
    } else {
        (checkpoint.part == Part::whole()).then(|| Checkpoint::of_position(cut))
    }
}

impl Log {
    fn open(places: &Places) -> Result<Self, ArchiveError> {
        Ok(match &places.log {
            Place::Embedded => {
                let config = EmbeddedLogConfig::new(places.folder.join("log.db"));
                let log = EmbeddedLog::open_read_only(config).map_err(crate::log::embedded::ImportError::from)?;
                Self::Embedded(Box::new(log))
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(postgres) => Self::Postgres(postgres.clone()),
        })
    }

    async fn head(&self) -> Result<Position, ReadError> {
        match self {
            Self::Embedded(log) => log.head().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => crate::log::postgres::head(postgres).await,
        }
    }

    /// The next events; those of a server may be later than `until`.
    async fn read(&self, after: Position, until: Position) -> Result<Vec<Imported>, ReadError> {
        match self {
            Self::Embedded(log) => log.read_with_digests(after, until).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => crate::log::postgres::read_with_digests(postgres, after).await,
        }
    }
}

impl Keys {
    fn open(places: &Places) -> Result<Self, OpenKeyStoreError> {
        Ok(match &places.keys {
            Place::Embedded => Self::Embedded(WrappedKeys::open(&places.folder.join("keys.db"))?),
            #[cfg(feature = "postgres")]
            Place::Postgres(postgres) => Self::Postgres(postgres.clone()),
        })
    }

    async fn secrets(&self) -> Result<Vec<WrappedSecret>, OpenKeyStoreError> {
        match self {
            Self::Embedded(keys) => keys.secrets(),
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => Ok(crate::seal::postgres::moving::secrets(postgres).await?),
        }
    }

    async fn subject_keys(&self, after: Option<KeyId>) -> Result<Vec<WrappedSubjectKey>, OpenKeyStoreError> {
        match self {
            Self::Embedded(keys) => keys.subject_keys(after),
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => Ok(crate::seal::postgres::moving::subject_keys(postgres, after).await?),
        }
    }

    async fn pages(&self, after: Option<PageId>) -> Result<Vec<WrappedPage>, OpenKeyStoreError> {
        match self {
            Self::Embedded(keys) => keys.pages(after),
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => Ok(crate::seal::postgres::moving::pages(postgres, after).await?),
        }
    }
}

impl AnyBlobs {
    async fn open(places: &Places) -> Result<Self, ArchiveError> {
        Ok(match &places.blobs {
            Place::Embedded => Self::Embedded(FolderBlobs::open(places.folder.join("blobs")).await?),
            #[cfg(feature = "postgres")]
            Place::Postgres(postgres) => {
                Self::Postgres(crate::blobs::postgres::PostgresBlobs::open(postgres.clone()).await?)
            }
        })
    }

    async fn names(&self, after: Option<(TenantId, String)>) -> Result<Vec<(TenantId, String)>, ArchiveError> {
        match self {
            Self::Embedded(blobs) => Ok(blobs.names(after, NAMES).await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(blobs) => Ok(blobs.names(after, NAMES).await?),
        }
    }

    fn port(&self) -> &dyn Blobs {
        match self {
            Self::Embedded(blobs) => blobs,
            #[cfg(feature = "postgres")]
            Self::Postgres(blobs) => blobs,
        }
    }
}
