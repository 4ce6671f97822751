//! The read-model store port: rows and checkpoints committed together, bounded reads, state hashes.
//!
//! **Invariant:** a commit is one transaction: the rows, the parked events and the checkpoints, or none of them. Reads
//! never see half a commit. The applied position is published only after the commit.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use events::envelope::Position;
use events::feed::{Checkpoints, Part};
use tokio::sync::watch;

use crate::projection::{Changes, Table};
use crate::value::{Row, Value};

mod applied;
mod own_tables;
mod plan;
#[cfg(feature = "postgres")]
pub mod postgres;
mod row_hash;
pub mod sqlite;

/// Why the store did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Back off and try again.
    #[error("read models unavailable: {0}")]
    Unavailable(String),
    /// This statement will fail again: park the event that made it.
    #[error("read models refuse a statement: {0}")]
    Refused(String),
    /// The file is damaged or holds something else than it should: rebuild.
    #[error("read models corrupt: {0}")]
    Corrupt(String),
    /// The file was written by another version of a projection: rebuild.
    #[error("read models are those of {found} while this release needs {needed}: rebuild them")]
    Outdated {
        /// Names and versions in the file.
        found: String,
        /// Names and versions of this release.
        needed: String,
    },
    /// The read model has not reached the position in the time given.
    #[error("read model is at position {at}, behind {wanted}")]
    Stale {
        /// Where it is.
        at: Position,
        /// Where the caller wanted it.
        wanted: Position,
    },
    /// The caller asked for something impossible: a cursor of another list, more than the maximum.
    #[error("invalid read: {0}")]
    Invalid(&'static str),
}

/// An event that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Its place in the log.
    pub position: Position,
    /// Whose it is.
    pub tenant: String,
    /// Its stream.
    pub stream: String,
    /// Its place in the stream.
    pub revision: u64,
    /// Its id.
    pub event: events::ids::EventId,
    /// Its type.
    pub event_type: String,
    /// Why it could not be applied, without personal data.
    pub reason: String,
    /// When the log took the event.
    pub recorded_at: DateTime<Utc>,
}

/// What is committed in one transaction.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The stable name of the consumer whose checkpoints move.
    pub consumer: Cow<'static, str>,
    /// The rows.
    pub changes: Changes,
    /// Events that could not be applied.
    pub parked: Vec<ParkedEvent>,
    /// How far the consumer has come with this: only the parts that moved.
    pub checkpoints: Checkpoints,
}

/// A statement that reads. Parameters as in [`Changes`].
#[derive(Debug, Clone)]
pub struct Query {
    /// The text.
    pub sql: Cow<'static, str>,
    /// Its parameters.
    pub parameters: Vec<Value>,
}

impl Query {
    /// A query with these parameters.
    pub fn new(sql: impl Into<Cow<'static, str>>, parameters: impl Into<Vec<Value>>) -> Self {
        Self { sql: sql.into(), parameters: parameters.into() }
    }
}

/// The state of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    /// The table.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// BLAKE3 over its rows in key order, in hex.
    pub hash: String,
}

/// The state of read models at one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The checkpoints of the consumer in the same snapshot.
    pub checkpoints: Checkpoints,
    /// Each table.
    pub tables: Vec<TableState>,
}

impl State {
    /// One hash over all tables, in hex.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for table in &self.tables {
            hasher.update(table.table.as_bytes());
            hasher.update(&[0]);
            hasher.update(table.hash.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// The store of read models.
#[async_trait]
pub trait ReadStore: Send + Sync {
    /// Commits rows, parked events and checkpoints in one transaction, then publishes how far the consumer has come. A
    /// checkpoint that is less than the stored one of its part takes nothing back.
    ///
    /// # Errors
    /// See [`StoreError`]; after an error nothing of it is there.
    async fn commit(&self, commit: Commit) -> Result<(), StoreError>;

    /// How far a consumer has come.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn checkpoints(&self, consumer: &str) -> Result<Checkpoints, StoreError>;

    /// Runs the queries in one snapshot and returns the rows of each.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Vec<Row>>, StoreError>;

    /// How far a consumer has come, now and whenever it moves, in whichever process.
    fn applied(&self, consumer: &str) -> watch::Receiver<Checkpoints>;

    /// Row counts and hashes of tables and the checkpoints of `consumer`, in one snapshot.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn state(&self, consumer: &str, tables: Vec<&'static Table>) -> Result<State, StoreError>;

    /// How many reading statements were run since the store was opened: for tests and metrics.
    fn statements(&self) -> u64;
}

/// Waits until `consumer` has applied everything up to `wanted` in all of these parts, at most for `patience`; returns the
/// position that it has reached in them.
///
/// # Errors
/// [`StoreError::Stale`] when it did not get there in time.
pub async fn wait_for(
    store: &dyn ReadStore,
    consumer: &str,
    parts: &[Part],
    wanted: Position,
    patience: Duration,
) -> Result<Position, StoreError> {
    let mut applied = store.applied(consumer);
    let reached = tokio::time::timeout(patience, applied.wait_for(|at| at.reached(parts) >= wanted)).await;
    match reached {
        Ok(Ok(at)) => Ok(at.reached(parts)),
        Ok(Err(_)) => Err(StoreError::Unavailable("the store is closed".to_owned())),
        Err(_) => Err(StoreError::Stale { at: store.applied(consumer).borrow().reached(parts), wanted }),
    }
}

/// `($1, $2, …)` from `first` on for a list of `count` values, rounded up to a power of two so that few texts exist.
/// [`padded`] fills the list accordingly.
pub(crate) fn placeholders(first: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 6 + 2);
    text.push('(');
    for index in 0..count.next_power_of_two() {
        if index > 0 {
            text.push(',');
        }
        text.push('$');
        text.push_str(&(first + index).to_string());
    }
    text.push(')');
    text
}

/// Adds the values to `parameters`, the last one repeated until their number is a power of two.
pub(crate) fn padded<T: Copy + Into<Value>>(parameters: &mut Vec<Value>, values: &[T]) {
    parameters.extend(values.iter().map(|value| (*value).into()));
    if let Some(last) = values.last() {
        for _ in values.len()..values.len().next_power_of_two() {
            parameters.push((*last).into());
        }
    }
}
