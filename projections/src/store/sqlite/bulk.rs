//! A file that is filled beside the live one.
//!
//! **Invariant:** until it is finished a crash may leave it unusable: whoever rebuilds starts from nothing.

use std::path::Path;
use std::sync::Arc;

use super::Shared;
use super::engine::{Engine, Mode, Place};
use super::threads::Threads;
use crate::projection::Changes;
use crate::projector::CONSUMER;
use crate::registry;
use crate::store::{Commit, State, StoreError};

/// Page cache while a file is filled, in KiB.
const CACHE_KIB: u32 = 128 * 1024;

/// The writer of a rebuilt file.
pub(crate) struct Bulk(Threads);

impl Bulk {
    /// Starts on a fresh file, without indexes; or goes on with a finished one.
    pub(crate) fn start(path: &Path, fresh: bool) -> Result<Self, StoreError> {
        let mode = if fresh { Mode::Bulk } else { Mode::Write };
        let engine = Engine::new(Place::File(path.to_owned()), mode, CACHE_KIB, Arc::new(Shared::default()));
        Ok(Self(Threads::spawn("views-rebuild", vec![engine], 2)?))
    }

    /// Writes a slice; gives back what held its changes, empty. Into a fresh file slices come in the order of the log, each
    /// event once.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Changes, StoreError> {
        self.0.run(move |engine| engine.commit(commit)).await
    }

    /// Counts and hashes its tables.
    pub(crate) async fn state(&self) -> Result<State, StoreError> {
        self.0.run(|engine| engine.state(CONSUMER, &registry::tables().collect::<Vec<_>>())).await
    }

    /// Makes the indexes, brings the file to the disk and closes it.
    pub(crate) async fn finish(&self) -> Result<(), StoreError> {
        self.0.run(Engine::finish_bulk).await
    }

    /// Closes the file.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        self.0.run(Engine::close).await
    }
}
