//! One connection that reads: slices of the log, decoded.
//!
//! **Invariant:** a slice is bounded by events, bytes and rows looked at, and its statement is finished before the
//! slice is handed out. What does not decode is reported as corrupt with its position, never skipped.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use uuid::Uuid;

use super::OpenError;
use super::event_ids::EventIds;
use super::names::Names;
use super::schema::{self, Cache, category_number};
use crate::envelope::{Metadata, Position, RecordedEvent, Revision, StreamName};
use crate::ids::EventId;
use crate::log::{Direction, Filter, Imported, ReadError};

/// Most events in one slice.
pub(super) const SLICE_EVENTS: usize = 1024;

/// A slice ends after the event that takes its payloads over this.
const SLICE_BYTES: usize = 4 * 1024 * 1024;

/// Most rows that one slice looks at when a filter skips them.
const SLICE_ROWS: u64 = 16 * 1024;

const COLUMNS: &str = "position, stream_no, revision, type_no, version, recorded_at, event_id, metadata, payload";

/// A part of the log in order of position.
pub(super) struct Slice {
    pub(super) events: Vec<RecordedEvent>,
    /// Searched up to and including this.
    pub(super) searched: Position,
    /// The end of the log when the slice was read.
    pub(super) head: Position,
}

/// A read-only connection and what it remembers.
pub(super) struct Reader {
    connection: Connection,
    names: Names,
    /// The writer's ids; `None` when another process writes.
    ids: Option<Arc<EventIds>>,
}

/// A failure within a statement: of SQLite, or of decoding.
enum Failure {
    Sqlite(rusqlite::Error),
    Read(ReadError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Read(error) => error,
            Failure::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    Self::Corrupt { position: Position::START, reason: error.to_string() }
                }
                _ => Self::Unavailable(error.to_string()),
            },
        }
    }
}

impl Reader {
    /// Opens a connection to an existing log.
    pub(super) fn open(path: &Path, cache: Cache, ids: Option<Arc<EventIds>>) -> Result<Self, OpenError> {
        let connection = schema::open_reader(path, cache)?;
        let names = Names::default();
        Ok(Self { connection, names, ids })
    }

    /// Position of the last event.
    pub(super) fn head(&self) -> Result<Position, ReadError> {
        Ok(self.head_number().map(|head| Position(head.cast_unsigned())).map_err(Failure::from)?)
    }

    /// Changes whenever another connection commits. Much cheaper than looking.
    pub(super) fn data_version(&self) -> Result<i64, ReadError> {
        Ok(self
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(Failure::from)?)
    }

    /// Wanted events after `after` in order of position.
    pub(super) fn read_all(&mut self, after: Position, filter: &Filter, limit: usize) -> Result<Slice, ReadError> {
        Ok(self.read_all_inner(after, filter, limit)?)
    }

    fn read_all_inner(&mut self, after: Position, filter: &Filter, limit: usize) -> Result<Slice, Failure> {
        // The head is read first and bounds the slice: nothing before it can appear later, so two statements without
        // a transaction around them are as good as one snapshot.
        let head = Position(self.head_number()?.cast_unsigned());
        if after >= head {
            return Ok(Slice { events: Vec::new(), searched: after, head });
        }
        let limit = limit.min(SLICE_EVENTS);
        let rows = if filter.categories.is_empty() { SLICE_EVENTS as u64 } else { SLICE_ROWS };
        let until = Position(after.0.saturating_add(rows)).min(head);
        let wanted = if filter.categories.is_empty() {
            -1
        } else {
            filter.categories.iter().fold(0, |mask: i64, category| mask | 1 << category_number(*category))
        };
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events WHERE position > ?1 AND position <= ?2 AND (?3 >> category) & 1
             ORDER BY position LIMIT ?4"
        ))?;
        let rows = statement.query(params![sql(after.0), sql(until.0), wanted, sql(limit as u64)])?;
        let expected = limit.min(usize::try_from(until.0 - after.0).unwrap_or(limit));
        let (events, complete) = collect(&self.connection, &mut self.names, rows, expected)?;
        let searched = match events.last() {
            Some(last) if !complete || events.len() >= limit => last.position,
            _ => until,
        };
        Ok(Slice { events, searched, head })
    }

    /// Events after `after`, up to `until`, with the digests that they were appended with.
    pub(super) fn read_with_digests(&mut self, after: Position, until: Position) -> Result<Vec<Imported>, ReadError> {
        let limit = usize::try_from(until.0.saturating_sub(after.0)).unwrap_or(usize::MAX);
        let events = self.read_all_inner(after, &Filter::default(), limit)?.events;
        let last = events.last().map_or(after, |event| event.position);
        let digests = self.digests(after, last).map_err(Failure::from)?;
        Ok(events.into_iter().zip(digests).map(|(event, digest)| Imported { event, digest: Some(digest) }).collect())
    }

    fn digests(&self, after: Position, until: Position) -> rusqlite::Result<Vec<[u8; 16]>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT digest FROM events WHERE position > ?1 AND position <= ?2 ORDER BY position")?;
        let digests = statement.query_map([sql(after.0), sql(until.0)], |row| row.get(0))?;
        digests.collect()
    }

    /// Events of one stream from `from` (inclusive).
    pub(super) fn read_stream(
        &mut self,
        stream: &StreamName,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        Ok(self.read_stream_inner(stream, from, direction, limit)?)
    }

    fn read_stream_inner(
        &mut self,
        stream: &StreamName,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, Failure> {
        let number: Option<i64> = self
            .connection
            .prepare_cached("SELECT stream_no FROM streams WHERE id = ?1 AND tenant = ?2 AND category = ?3")?
            .query_row(
                params![stream.id.as_bytes().as_slice(), stream.tenant.as_str(), category_number(stream.category)],
                |row| row.get(0),
            )
            .optional()?;
        let Some(number) = number else { return Ok(Vec::new()) };
        self.names.remember(number, stream);
        let (text, from) = match direction {
            Direction::Forwards => (
                format!(
                    "SELECT {COLUMNS} FROM events WHERE stream_no = ?1 AND revision >= ?2 ORDER BY revision LIMIT ?3"
                ),
                from.map_or(0, |r| sql(r.0)),
            ),
            Direction::Backwards => (
                format!(
                    "SELECT {COLUMNS} FROM events WHERE stream_no = ?1 AND revision <= ?2 ORDER BY revision DESC LIMIT ?3"
                ),
                from.map_or(i64::MAX, |r| sql(r.0)),
            ),
        };
        let mut statement = self.connection.prepare_cached(&text)?;
        let rows = statement.query(params![number, from, sql(limit.min(SLICE_EVENTS) as u64)])?;
        let (events, _) = collect(&self.connection, &mut self.names, rows, 0)?;
        if let Some(pair) = events.windows(2).find(|pair| pair[0].revision.0.abs_diff(pair[1].revision.0) != 1) {
            let reason = "a revision of the stream is missing".into();
            return Err(Failure::Read(ReadError::Corrupt { position: pair[1].position, reason }));
        }
        Ok(events)
    }

    /// The event with this id.
    pub(super) fn find(&mut self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        Ok(self.find_inner(id)?)
    }

    fn find_inner(&mut self, id: EventId) -> Result<Option<RecordedEvent>, Failure> {
        // Memory before the table: an id goes from memory once the table has it. So does the place up to which the table
        // has all, when another process moves them.
        let gathered = self.ids.as_ref().and_then(|ids| ids.in_memory(id));
        let reach: i64 = match &self.ids {
            Some(_) => 0,
            None => self
                .connection
                .prepare_cached("SELECT position FROM event_ids_reach")?
                .query_row([], |row| row.get(0))?,
        };
        let blob = id.uuid().into_bytes();
        let found: Option<i64> = match gathered {
            Some(position) => Some(position),
            None => self
                .connection
                .prepare_cached("SELECT position FROM event_ids WHERE event_id = ?1")?
                .query_row([blob.as_slice()], |row| row.get(0))
                .optional()?,
        };
        let (sql, place) = match (found, &self.ids) {
            (Some(position), _) => {
                (format!("SELECT {COLUMNS} FROM events WHERE position = ?1 AND event_id = ?2"), position)
            }
            (None, Some(_)) => return Ok(None),
            // What the other process gathers is looked through.
            (None, None) => (format!("SELECT {COLUMNS} FROM events WHERE position > ?1 AND event_id = ?2"), reach),
        };
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query(params![place, blob.as_slice()])?;
        Ok(collect(&self.connection, &mut self.names, rows, 1)?.0.pop())
    }

    /// The last position not recorded after `micros` (microseconds since the Unix epoch): a binary search, because
    /// `recorded_at` never decreases with position.
    pub(super) fn position_at(&self, micros: i64) -> Result<Position, ReadError> {
        let search = || -> Result<i64, Failure> {
            let mut at = self.connection.prepare_cached(
                "SELECT position, recorded_at FROM events WHERE position >= ?1 ORDER BY position LIMIT 1",
            )?;
            // Everything up to `low` is not after the time; everything from `high` on is.
            let (mut low, mut high) = (0, self.head_number()? + 1);
            while low + 1 < high {
                let middle = low + (high - low) / 2;
                let (position, recorded_at): (i64, i64) =
                    at.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))?;
                if recorded_at <= micros {
                    low = position;
                } else {
                    high = middle;
                }
            }
            Ok(low)
        };
        Ok(Position(search()?.cast_unsigned()))
    }

    fn head_number(&self) -> rusqlite::Result<i64> {
        let head: Option<i64> =
            self.connection.prepare_cached("SELECT max(position) FROM events")?.query_row([], |row| row.get(0))?;
        Ok(head.unwrap_or(0))
    }
}

/// Decodes rows, about so many as expected, until they or the bytes of a slice run out; true when the rows did.
fn collect(
    connection: &Connection,
    names: &mut Names,
    mut rows: rusqlite::Rows<'_>,
    expected: usize,
) -> Result<(Vec<RecordedEvent>, bool), Failure> {
    let (mut events, mut bytes) = (Vec::with_capacity(expected), 0);
    while let Some(row) = rows.next()? {
        let event = decode(connection, names, row)?;
        bytes += event.payload.len();
        events.push(event);
        if bytes >= SLICE_BYTES {
            return Ok((events, false));
        }
    }
    Ok((events, true))
}

fn decode(connection: &Connection, names: &mut Names, row: &Row<'_>) -> Result<RecordedEvent, Failure> {
    let position = Position(row.get::<_, i64>(0)?.cast_unsigned());
    let corrupt = |reason: &str| Failure::Read(ReadError::Corrupt { position, reason: reason.to_owned() });
    let text = |column| row.get_ref(column).ok().and_then(|value| value.as_str().ok());
    let blob = |column| row.get_ref(column).ok().and_then(|value| value.as_blob().ok());
    let id = blob(6).and_then(|id| Uuid::from_slice(id).ok()).ok_or_else(|| corrupt("event id is not a UUID"))?;
    let metadata: Metadata = text(7)
        .and_then(|json| Metadata::from_json(json).ok())
        .ok_or_else(|| corrupt("metadata is not of a known form"))?;
    let recorded_at = DateTime::from_timestamp_micros(row.get(5)?).ok_or_else(|| corrupt("time out of range"))?;
    Ok(RecordedEvent {
        id: EventId::new(id),
        stream: names.stream(connection, row.get(1)?)?.ok_or_else(|| corrupt("stream is unknown"))?,
        revision: Revision(row.get::<_, i64>(2)?.cast_unsigned()),
        position,
        event_type: names.event_type(connection, row.get(3)?)?.ok_or_else(|| corrupt("event type is unknown"))?,
        version: row.get(4).map_err(|_| corrupt("schema version out of range"))?,
        metadata,
        recorded_at,
        payload: Bytes::copy_from_slice(blob(8).ok_or_else(|| corrupt("payload is not a blob"))?),
    })
}

/// A number as SQLite stores it; beyond its range nothing is found, which is right.
fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
