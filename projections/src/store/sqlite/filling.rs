//! What of a fresh file is in memory only: rows, parked events and the checkpoints.
//!
//! **Invariant:** the checkpoints are written after everything that they stand for.

use events::feed::Checkpoints;
use rusqlite::Connection;

use super::engine::{put_checkpoints, put_parked};
use super::fold::Fold;
use crate::store::{Commit, StoreError};

/// Most bytes of rows that are held.
const MOST_BYTES: usize = 96 * 1024 * 1024;

/// A fresh file on its way.
pub(super) struct Filling {
    fold: Fold,
    reached: Option<(String, Checkpoints)>,
}

impl Filling {
    /// Nothing yet.
    pub(super) fn new(connection: &Connection) -> Result<Self, StoreError> {
        Ok(Self { fold: Fold::new(connection, MOST_BYTES)?, reached: None })
    }

    /// Folds a commit.
    pub(super) fn commit(&mut self, connection: &mut Connection, commit: &mut Commit) -> Result<(), StoreError> {
        self.fold.apply(connection, &mut commit.changes)?;
        put_parked(connection, &commit.consumer, &commit.parked)?;
        self.reached = Some((commit.consumer.clone().into_owned(), commit.checkpoints.clone()));
        Ok(())
    }

    /// Writes everything, and makes the indexes of keys.
    pub(super) fn write(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        self.fold.finish(connection)?;
        if let Some((consumer, checkpoints)) = &self.reached {
            put_checkpoints(connection, consumer, checkpoints)?;
        }
        Ok(())
    }
}
