//! One life of the writer's connection: what it knows of the file, and how a group of appends becomes one
//! transaction.
//!
//! **Invariant:** an append is checked before its first insert, so that a refused one leaves nothing behind and does
//! not disturb its group. After any error the session is not used again: whoever holds it drops it with its
//! connection and caches.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::event_ids::EventIds;
use super::schema::category_number;
use super::streams::{StreamCache, StreamState};
use crate::envelope::{NewEvent, Position, Revision, StreamName};
use crate::ids::EventId;
use crate::log::{AppendError, Appended, ExpectedRevision};

/// Why a session ended: the transaction in progress is lost and the file must be looked at anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// SQLite could not do it: disk full, IO error, lock held by another.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The caches and the file disagree.
    #[error("log file and memory disagree: {0}")]
    Inconsistent(&'static str),
}

/// An event ready to be written; what can be done outside the writer thread has been done.
#[derive(Debug)]
pub(super) struct EncodedEvent {
    pub(super) event: NewEvent,
    /// [`crate::envelope::Metadata`] as JSON.
    pub(super) metadata: String,
}

/// An append to make.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) stream: StreamName,
    pub(super) expected: ExpectedRevision,
    /// Never empty, ids all different.
    pub(super) events: Vec<EncodedEvent>,
}

/// Where an event with some id is already.
struct Found {
    position: i64,
    stream_no: i64,
    revision: u64,
    type_no: i64,
    digest: [u8; 16],
}

/// The writer's statements and what it knows of the file.
pub(super) struct Session<'c> {
    connection: &'c Connection,
    ids: Arc<EventIds>,
    /// Events of the transaction in progress.
    added: usize,
    begin: CachedStatement<'c>,
    commit: CachedStatement<'c>,
    insert: CachedStatement<'c>,
    locate: CachedStatement<'c>,
    look: CachedStatement<'c>,
    find_stream: CachedStatement<'c>,
    last_revision: CachedStatement<'c>,
    insert_stream: CachedStatement<'c>,
    insert_type: CachedStatement<'c>,
    streams: StreamCache<StreamState>,
    types: HashMap<Arc<str>, i64>,
    head: i64,
    last_stream_no: i64,
    last_type_no: i64,
    /// Of the last event, in microseconds since the Unix epoch.
    last_recorded_at: i64,
    /// What the events of the group in progress get: its clock, but never before the last event.
    recorded_at: i64,
}

impl<'c> Session<'c> {
    /// Reads where the log stands and prepares the statements. `ids` has been loaded from the same file.
    pub(super) fn start(connection: &'c Connection, stream_cache: usize, ids: Arc<EventIds>) -> rusqlite::Result<Self> {
        let maximum = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
        let head = maximum("SELECT max(position) FROM events")?.unwrap_or(0);
        // The last one is the greatest: they never decrease with position.
        let last_recorded_at = connection
            .query_row("SELECT recorded_at FROM events WHERE position = ?1", [head], |row| row.get(0))
            .optional()?
            .unwrap_or(i64::MIN);
        let mut types = HashMap::new();
        let mut all = connection.prepare("SELECT name, type_no FROM event_types")?;
        for row in all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))? {
            let (name, number): (Arc<str>, i64) = row?;
            types.insert(name, number);
        }
        drop(all);
        Ok(Self {
            connection,
            ids,
            added: 0,
            begin: connection.prepare_cached("BEGIN IMMEDIATE")?,
            commit: connection.prepare_cached("COMMIT")?,
            insert: connection.prepare_cached("INSERT INTO events VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)")?,
            locate: connection.prepare_cached("SELECT position FROM event_ids WHERE event_id = ?1")?,
            look: connection
                .prepare_cached("SELECT stream_no, revision, type_no, digest FROM events WHERE position = ?1")?,
            find_stream: connection
                .prepare_cached("SELECT stream_no FROM streams WHERE id = ?1 AND tenant = ?2 AND category = ?3")?,
            last_revision: connection.prepare_cached("SELECT max(revision) FROM events WHERE stream_no = ?1")?,
            insert_stream: connection.prepare_cached("INSERT INTO streams VALUES (?1, ?2, ?3, ?4)")?,
            insert_type: connection.prepare_cached("INSERT INTO event_types VALUES (?1, ?2)")?,
            streams: StreamCache::new(stream_cache),
            last_stream_no: maximum("SELECT max(stream_no) FROM streams")?.unwrap_or(0),
            last_type_no: types.values().copied().max().unwrap_or(0),
            types,
            head,
            last_recorded_at,
            recorded_at: last_recorded_at,
        })
    }

    /// Position of the last event written, committed or in this transaction.
    pub(super) fn head(&self) -> Position {
        Position(self.head.cast_unsigned())
    }

    /// When the events of the last group were recorded, in microseconds since the Unix epoch.
    pub(super) const fn recorded_at(&self) -> i64 {
        self.recorded_at
    }

    /// Opens the transaction of a group; `now` is the clock in microseconds since the Unix epoch.
    pub(super) fn begin(&mut self, now: i64) -> Result<(), SessionError> {
        self.begin.execute([])?;
        self.added = 0;
        self.recorded_at = self.last_recorded_at.max(now);
        Ok(())
    }

    /// Makes the group durable.
    pub(super) fn commit(&mut self) -> Result<(), SessionError> {
        self.ids.move_some(self.connection, self.added)?;
        self.commit.execute([])?;
        self.ids.committed();
        Ok(())
    }

    /// Makes one append within the transaction, or refuses it and leaves the transaction as it was. The outer error
    /// ends the session.
    pub(super) fn append(&mut self, append: &Append) -> Result<Result<Appended, AppendError>, SessionError> {
        let state = self.state_of(&append.stream)?;
        let fits = match append.expected {
            ExpectedRevision::Any => true,
            ExpectedRevision::NoStream => state.is_none(),
            ExpectedRevision::Exact(expected) => state.is_some_and(|state| state.last == expected.0),
        };
        if !fits || self.any_present(&append.events)? {
            return self.settle(append, state, fits);
        }
        let (stream_no, first) = match state {
            Some(state) => (state.number, state.last + 1),
            None => (self.make_stream(&append.stream)?, 0),
        };
        let mut revision = first;
        for encoded in &append.events {
            self.insert(append, stream_no, revision, encoded)?;
            revision += 1;
        }
        self.streams.put(&append.stream, StreamState { number: stream_no, last: revision - 1 });
        Ok(Ok(Appended {
            first_revision: Revision(first),
            last_revision: Revision(revision - 1),
            position: self.head(),
            repeated: false,
        }))
    }

    /// Decides an append that cannot simply be made: a repetition, a conflict or a taken id.
    fn settle(
        &mut self,
        append: &Append,
        state: Option<StreamState>,
        fits: bool,
    ) -> Result<Result<Appended, AppendError>, SessionError> {
        let mut found = Vec::with_capacity(append.events.len());
        for encoded in &append.events {
            found.push(self.find(encoded.event.id)?);
        }
        let taken = |index: usize| Ok(Err(AppendError::IdTaken(append.events[index].event.id)));
        let Some(first_present) = found.iter().position(Option::is_some) else {
            if fits {
                return Err(SessionError::Inconsistent("an id was there and is not"));
            }
            let actual = state.map(|state| Revision(state.last));
            return Ok(Err(AppendError::Conflict { expected: append.expected, actual }));
        };
        if found.iter().any(Option::is_none) {
            return taken(first_present);
        }
        let found: Vec<Found> = found.into_iter().flatten().collect();
        let (first, last) = match (found.first(), found.last()) {
            (Some(first), Some(last)) => (first, last),
            _ => return Err(SessionError::Inconsistent("an append without events reached the writer")),
        };
        for (index, (old, encoded)) in found.iter().zip(&append.events).enumerate() {
            let same = state.is_some_and(|state| state.number == old.stream_no)
                && old.revision == first.revision + index as u64
                && self.types.get(&encoded.event.event_type) == Some(&old.type_no)
                && old.digest == encoded.event.digest;
            if !same {
                return taken(index);
            }
        }
        Ok(Ok(Appended {
            first_revision: Revision(first.revision),
            last_revision: Revision(last.revision),
            position: Position(last.position.cast_unsigned()),
            repeated: true,
        }))
    }

    fn insert(&mut self, append: &Append, stream_no: i64, revision: u64, e: &EncodedEvent) -> rusqlite::Result<()> {
        let type_no = match self.types.get(&e.event.event_type) {
            Some(number) => *number,
            None => {
                let number = self.last_type_no + 1;
                self.insert_type.execute(params![number, e.event.event_type.as_ref()])?;
                self.types.insert(Arc::clone(&e.event.event_type), number);
                self.last_type_no = number;
                number
            }
        };
        self.insert.execute(params![
            self.head + 1,
            stream_no,
            revision.cast_signed(),
            category_number(append.stream.category),
            type_no,
            e.event.version,
            self.recorded_at,
            e.event.id.uuid().as_bytes().as_slice(),
            e.event.digest.as_slice(),
            e.metadata,
            e.event.payload.as_ref(),
        ])?;
        self.head += 1;
        self.added += 1;
        self.ids.add(e.event.id, self.head);
        self.last_recorded_at = self.recorded_at;
        Ok(())
    }

    fn any_present(&mut self, events: &[EncodedEvent]) -> rusqlite::Result<bool> {
        for encoded in events {
            if self.locate(encoded.event.id)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where the event with this id is.
    fn locate(&mut self, id: EventId) -> rusqlite::Result<Option<i64>> {
        if let Some(position) = self.ids.in_memory(id) {
            return Ok(Some(position));
        }
        if self.ids.all_in_memory() {
            return Ok(None);
        }
        self.locate.query_row([id.uuid().as_bytes().as_slice()], |row| row.get(0)).optional()
    }

    fn find(&mut self, id: EventId) -> Result<Option<Found>, SessionError> {
        let Some(position) = self.locate(id)? else { return Ok(None) };
        let found = self.look.query_row([position], |row| {
            Ok(Found {
                position,
                stream_no: row.get(0)?,
                revision: row.get::<_, i64>(1)?.cast_unsigned(),
                type_no: row.get(2)?,
                digest: row.get(3)?,
            })
        });
        found.optional()?.map_or(Err(SessionError::Inconsistent("an id without an event")), |found| Ok(Some(found)))
    }

    fn state_of(&mut self, stream: &StreamName) -> Result<Option<StreamState>, SessionError> {
        if let Some(state) = self.streams.get(stream) {
            return Ok(Some(state));
        }
        let number: Option<i64> = self
            .find_stream
            .query_row(
                params![stream.id.as_bytes().as_slice(), stream.tenant.as_str(), category_number(stream.category)],
                |row| row.get(0),
            )
            .optional()?;
        let Some(number) = number else { return Ok(None) };
        let last: Option<i64> = self.last_revision.query_row([number], |row| row.get(0))?;
        let Some(last) = last else {
            return Err(SessionError::Inconsistent("a stream without events"));
        };
        let state = StreamState { number, last: last.cast_unsigned() };
        self.streams.put(stream, state);
        Ok(Some(state))
    }

    fn make_stream(&mut self, stream: &StreamName) -> rusqlite::Result<i64> {
        let number = self.last_stream_no + 1;
        let category = category_number(stream.category);
        let id = stream.id.as_bytes().as_slice();
        self.insert_stream.execute(params![number, category, stream.tenant.as_str(), id])?;
        self.last_stream_no = number;
        Ok(number)
    }
}
