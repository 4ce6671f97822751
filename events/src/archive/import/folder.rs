//! What is embedded, made in `import.partial` of the data folder.
//!
//! **Invariant:** nothing under `import.partial` is read by anybody else, and it goes with a failed import. The lock of the
//! log is held from beginning to end, so that no server starts meanwhile.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::archive::{ArchiveError, Place, Places};
use crate::blobs::Blobs;
use crate::blobs::folder::FolderBlobs;
use crate::checkpoints::CheckpointStore;
use crate::checkpoints::folder::FolderCheckpoints;
use crate::feed::Checkpoints;
use crate::ids::TenantId;
use crate::log::Imported;
use crate::log::embedded::{self, Import};
use crate::seal::KeyEncryptionKey;
use crate::seal::embedded::moving::KeysImport;

const LOG: &str = "log.db";
const KEYS: &str = "keys.db";
const BLOBS: &str = "blobs";
const CHECKPOINTS: &str = "checkpoints";
/// Read models of another log would be taken for those of this one.
const VIEWS: &str = "views.db";

/// The embedded engines being filled.
pub(super) struct Folder {
    data: PathBuf,
    partial: PathBuf,
    log: Option<Import>,
    keys: Option<KeysImport>,
    blobs: Option<FolderBlobs>,
    checkpoints: Option<FolderCheckpoints>,
    has_log: bool,
    _lock: File,
}

impl Folder {
    /// Refuses a folder with data; `None` where nothing is embedded.
    pub(super) async fn begin(places: &Places, kek: &KeyEncryptionKey) -> Result<Option<Self>, ArchiveError> {
        let Places { log, keys, blobs, checkpoints, folder: data } = places;
        let embedded = |place: &Place| matches!(place, Place::Embedded);
        if ![log, keys, blobs, checkpoints].into_iter().any(embedded) {
            return Ok(None);
        }
        fs::create_dir_all(data).map_err(ArchiveError::of(data))?;
        let lock = embedded::lock(&data.join(LOG)).map_err(embedded::ImportError::from)?;
        let taken = [(log, LOG), (log, VIEWS), (keys, KEYS), (blobs, BLOBS), (checkpoints, CHECKPOINTS)];
        for (_, name) in taken.into_iter().filter(|(place, _)| embedded(place)) {
            let path = data.join(name);
            if holds_something(&path).map_err(ArchiveError::of(&path))? {
                let remedy = "name another data_dir, or move away what is not needed";
                return Err(ArchiveError::NotEmpty { place: path.display().to_string(), remedy });
            }
        }
        let partial = data.join("import.partial");
        remove(&partial).map_err(ArchiveError::of(&partial))?;
        fs::create_dir(&partial).map_err(ArchiveError::of(&partial))?;
        let mut folder = Self {
            data: data.clone(),
            partial: partial.clone(),
            log: None,
            keys: None,
            blobs: None,
            checkpoints: None,
            has_log: embedded(log),
            _lock: lock,
        };
        if folder.has_log {
            folder.log = Some(Import::begin(&partial.join(LOG))?);
        }
        if embedded(keys) {
            folder.keys = Some(KeysImport::begin(&partial.join(KEYS), kek)?);
        }
        if embedded(blobs) {
            folder.blobs = Some(FolderBlobs::open(partial.join(BLOBS)).await?);
        }
        if embedded(checkpoints) {
            let path = partial.join(CHECKPOINTS);
            folder.checkpoints = Some(FolderCheckpoints::open(path.clone()).map_err(ArchiveError::of(&path))?);
        }
        Ok(Some(folder))
    }

    pub(super) fn event(&mut self, event: &Imported) -> Result<(), ArchiveError> {
        let log = self.log.as_mut().ok_or_else(super::unopened)?;
        Ok(log.take(event)?)
    }

    pub(super) fn keys(&self) -> Result<&KeysImport, ArchiveError> {
        self.keys.as_ref().ok_or_else(super::unopened)
    }

    pub(super) async fn blob(&self, tenant: &TenantId, sealed: Bytes) -> Result<(), ArchiveError> {
        let blobs = self.blobs.as_ref().ok_or_else(super::unopened)?;
        Ok(blobs.put(tenant, sealed).await.map(drop)?)
    }

    pub(super) async fn checkpoint(&self, consumer: &str, checkpoints: &Checkpoints) -> Result<(), ArchiveError> {
        let store = self.checkpoints.as_ref().ok_or_else(super::unopened)?;
        Ok(store.store(consumer, checkpoints).await?)
    }

    /// Makes everything durable and names all but the log.
    pub(super) fn name_what_a_log_needs(mut self) -> Result<Self, ArchiveError> {
        if let Some(log) = self.log.take() {
            log.finish()?;
        }
        if let Some(keys) = self.keys.take() {
            keys.finish()?;
        }
        (self.blobs, self.checkpoints) = (None, None);
        for name in [KEYS, BLOBS, CHECKPOINTS] {
            self.name(name)?;
        }
        Ok(self)
    }

    /// Names the log: from now on there is one.
    pub(super) fn name_the_log(self) -> Result<(), ArchiveError> {
        self.name(LOG)
    }

    fn name(&self, name: &str) -> Result<(), ArchiveError> {
        let (from, to) = (self.partial.join(name), self.data.join(name));
        if !from.exists() {
            return Ok(());
        }
        let named = || {
            if to.is_dir() {
                // It was seen to hold nothing, but for temporary files of blobs.
                remove(&to)?;
            }
            fs::rename(&from, &to)?;
            File::open(&self.data)?.sync_all()
        };
        named().map_err(ArchiveError::of(&to))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is open in it is closed first. What cannot be removed goes with the next import.
        (self.log, self.keys) = (None, None);
        let _ = remove(&self.partial);
    }
}

/// True for a file, and for a folder with anything but temporary files.
fn holds_something(path: &Path) -> io::Result<bool> {
    if !path.is_dir() {
        return path.try_exists();
    }
    for entry in fs::read_dir(path)? {
        if entry?.file_name() != ".tmp" {
            return Ok(true);
        }
    }
    Ok(false)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
