//! Taking over another log into a new file.
//!
//! **Invariant:** all or none: one transaction, into a file without events. Places and times are kept as they are; what
//! could not have been written by this engine is refused, positions with a gap among it. An event without a digest is
//! refused too: the file has no place for one that is not known.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::schema::{self, Cache, category_number};
use super::{Durability, OpenError};
use crate::envelope::{Position, StreamName};
use crate::log::{Imported, Misplaced, Order};

const INSERT: &str = "INSERT INTO events
    (position, stream_no, revision, category, type_no, version, recorded_at, event_id, digest, metadata, payload)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// The table of ids in order of id, so that each of its pages is written once.
const IDS: &str = "
    INSERT INTO event_ids SELECT event_id, position FROM events ORDER BY event_id;
    UPDATE event_ids_reach SET position = (SELECT coalesce(max(position), 0) FROM events);
    COMMIT;";

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There are events already: import into another folder.
    #[error("the log has events already")]
    NotEmpty,
    /// This engine could not have written these events.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// SQLite did not take them.
    #[error("writing what is imported: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// An import under way; dropped, it leaves the file without events.
pub(crate) struct Import {
    connection: Connection,
    order: Order,
    streams: HashMap<StreamName, i64>,
    types: HashMap<Arc<str>, i64>,
}

impl Import {
    /// Begins in a file that nobody else has open, made when it is not there.
    pub(crate) fn begin(path: &Path) -> Result<Self, ImportError> {
        let cache = Cache { bytes: 64 << 20, mapped_bytes: 0 };
        let connection = schema::open_writer(path, Durability::Synced, cache, u64::MAX >> 2)?;
        connection.execute_batch("BEGIN EXCLUSIVE")?;
        let there: bool = connection.query_row("SELECT EXISTS (SELECT 1 FROM events)", (), |row| row.get(0))?;
        if there {
            return Err(ImportError::NotEmpty);
        }
        Ok(Self { connection, order: Order::default(), streams: HashMap::new(), types: HashMap::new() })
    }

    /// Takes the next event.
    pub(crate) fn take(&mut self, Imported { event, digest }: &Imported) -> Result<(), ImportError> {
        let misplaced = |reason| Misplaced { position: event.position, reason };
        let next = Position(self.order.position.0 + 1);
        self.order.check(event)?;
        if event.position != next {
            return Err(misplaced("an embedded log has no gap between positions").into());
        }
        let digest = digest.ok_or_else(|| misplaced("its digest is not known"))?;
        let metadata = serde_json::to_string(&event.metadata);
        let metadata = metadata.map_err(|_| misplaced("its metadata cannot be written as JSON"))?;
        let (category, stream_no) = (category_number(event.stream.category), self.stream(&event.stream)?);
        let type_no = self.event_type(&event.event_type)?;
        self.connection.prepare_cached(INSERT)?.execute(params![
            event.position.0.cast_signed(),
            stream_no,
            event.revision.0.cast_signed(),
            category,
            type_no,
            event.version,
            event.recorded_at.timestamp_micros(),
            event.id.uuid().as_bytes().as_slice(),
            digest.as_slice(),
            metadata,
            event.payload.as_ref(),
        ])?;
        Ok(())
    }

    /// Makes all of it durable, and the file whole without its write-ahead log.
    pub(crate) fn finish(self) -> Result<(), ImportError> {
        self.connection.execute_batch(IDS)?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?;
        // The last connection to close removes the empty write-ahead log.
        self.connection.close().map_err(|(_, error)| error)?;
        Ok(())
    }

    fn stream(&mut self, stream: &StreamName) -> rusqlite::Result<i64> {
        if let Some(number) = self.streams.get(stream) {
            return Ok(*number);
        }
        let number = numbered(self.streams.len());
        let insert = "INSERT INTO streams (stream_no, category, tenant, id) VALUES (?1, ?2, ?3, ?4)";
        self.connection.prepare_cached(insert)?.execute(params![
            number,
            category_number(stream.category),
            stream.tenant.as_str(),
            stream.id.as_bytes().as_slice()
        ])?;
        self.streams.insert(stream.clone(), number);
        Ok(number)
    }

    fn event_type(&mut self, name: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some(number) = self.types.get(name) {
            return Ok(*number);
        }
        let number = numbered(self.types.len());
        self.connection
            .prepare_cached("INSERT INTO event_types VALUES (?1, ?2)")?
            .execute(params![number, name.as_ref()])?;
        self.types.insert(Arc::clone(name), number);
        Ok(number)
    }
}

/// The number after so many; SQLite cannot hold more rows than fit.
fn numbered(count: usize) -> i64 {
    i64::try_from(count).map_or(i64::MAX, |count| count + 1)
}
