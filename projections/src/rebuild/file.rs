//! The file that is rebuilt beside the live one.
//!
//! **Invariant:** nothing of an earlier rebuild is in it, and nothing is left beside the live file but one that failed.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use events::envelope::Position;

use super::{Place, RebuildError};
use crate::projection::Changes;
use crate::projector::CONSUMER;
use crate::registry;
use crate::store::sqlite::{Bulk, SqliteStore, swap_files};
use crate::store::{Commit, ReadStore, State, StoreError};

/// A file on its way.
pub(super) struct Beside<'a> {
    /// The live file.
    path: &'a Path,
    live: Option<&'a SqliteStore>,
    fresh: PathBuf,
    bulk: Bulk,
    /// True when it has its indexes and is closed by [`Bulk::close`] only.
    finished: bool,
}

impl<'a> Beside<'a> {
    /// Starts with nothing.
    pub(super) fn start(path: &'a Path, live: Option<&'a SqliteStore>) -> Result<Self, RebuildError> {
        let fresh = beside(path);
        remove(&fresh)?;
        let bulk = Bulk::start(&fresh, true)?;
        Ok(Self { path, live, fresh, bulk, finished: false })
    }
}

#[async_trait]
impl Place for Beside<'_> {
    async fn live(&self) -> Result<Option<State>, StoreError> {
        match self.live {
            Some(live) => Ok(Some(live.state(CONSUMER, registry::tables().collect()).await?)),
            None => Ok(None),
        }
    }

    async fn commit(&self, commit: Commit) -> Result<Changes, StoreError> {
        self.bulk.commit(commit).await
    }

    async fn state(&self) -> Result<State, StoreError> {
        self.bulk.state().await
    }

    async fn finish(&self) -> Result<(), StoreError> {
        self.bulk.finish().await
    }

    async fn put_in_place(&mut self) -> Result<Option<Position>, RebuildError> {
        if self.finished {
            self.bulk.close().await?;
        }
        self.finished = true;
        let Some(live) = self.live else {
            swap_files(&self.fresh, self.path)
                .map_err(|source| RebuildError::File { path: self.path.to_owned(), source })?;
            return Ok(None);
        };
        let behind = live.replace_with(self.fresh.clone(), CONSUMER).await?;
        if behind.is_some() {
            self.bulk = Bulk::start(&self.fresh, false)?;
        }
        Ok(behind)
    }

    async fn remove(&mut self) -> Result<(), RebuildError> {
        remove(&self.fresh)
    }
}

/// The file beside the live one.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".rebuild");
    PathBuf::from(name)
}

/// Removes a rebuilt file and what SQLite puts beside it.
fn remove(path: &Path) -> Result<(), RebuildError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(RebuildError::File { path: PathBuf::from(name), source });
            }
            _ => {}
        }
    }
    Ok(())
}
