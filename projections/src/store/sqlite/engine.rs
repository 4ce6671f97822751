//! One connection of a store and what is done on it.
//!
//! **Invariant:** an engine opens its connection when it is first used and again when another file was put in place;
//! a failed transaction is rolled back before the next job.

use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use events::envelope::Position;
use events::feed::Checkpoints;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags, ToSql, params_from_iter};
use rustc_hash::FxHashMap;

use super::Shared;
use super::filling::Filling;
use crate::projection::{Changes, RowOrder, Table};
use crate::registry;
use crate::store::own_tables::{
    CHECKPOINTS, OWN_TABLES, PARK, PUT_CHECKPOINT, check_versions, checkpoint_of, checkpoint_row, key_index,
    parked_row, versions,
};
use crate::store::{Commit, ParkedEvent, Query, State, StoreError};
use crate::value::{Row, Stored, Value};

/// How long a connection waits for a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the writer lets readers hold up the end of a long write-ahead log.
const RESTART_PATIENCE: Duration = Duration::from_millis(20);

/// Statements kept prepared per connection: more than there are texts.
const PREPARED: usize = 512;

/// Where the rows are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In a file.
    File(PathBuf),
    /// In the memory of this connection.
    Memory,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reads.
    Read,
    /// Reads and writes.
    Write,
    /// Moves the write-ahead log into the file, beside the writer.
    Checkpoint,
    /// Fills a fresh file as fast as it goes: nothing survives a crash, indexes come last.
    Bulk,
}

/// One connection.
pub(crate) struct Engine {
    place: Place,
    mode: Mode,
    cache_kib: u32,
    shared: Arc<Shared>,
    open: Option<(Connection, u64)>,
    /// What is not written yet while a fresh file is filled.
    filling: Option<Filling>,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // Messages of SQLite name tables and columns, never values.
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(text),
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted,
            ) => Self::Unavailable(text),
            _ => Self::Refused(text),
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.stored() {
            Stored::Null => ValueRef::Null,
            Stored::Int(value) => ValueRef::Integer(value),
            Stored::Text(text) => ValueRef::Text(text.as_bytes()),
            Stored::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

pub(super) fn value_of(value: ValueRef<'_>) -> Result<Value, StoreError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Text(text) => Value::Text(
            std::str::from_utf8(text).map_err(|_| StoreError::Corrupt("text is not UTF-8".to_owned()))?.into(),
        ),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.into()),
        ValueRef::Real(_) => return Err(StoreError::Corrupt("a column holds a fraction".to_owned())),
    })
}

impl Engine {
    /// An engine that opens its connection when it is first used.
    pub(crate) fn new(place: Place, mode: Mode, cache_kib: u32, shared: Arc<Shared>) -> Self {
        Self { place, mode, cache_kib, shared, open: None, filling: None }
    }

    /// The connection, opened where need be.
    pub(super) fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if self.open.as_ref().is_some_and(|(_, opened)| *opened != generation) && matches!(self.place, Place::File(_)) {
            self.open = None;
        }
        if self.open.is_none() {
            let connection = self.connect()?;
            if self.mode == Mode::Bulk {
                self.filling = Some(Filling::new(&connection)?);
            }
            self.open = Some((connection, generation));
        }
        match &mut self.open {
            Some((connection, _)) => Ok(connection),
            None => Err(StoreError::Unavailable("no connection".to_owned())),
        }
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let mut connection = match &self.place {
            Place::Memory => Connection::open_in_memory()?,
            Place::File(path) => {
                let flags = match self.mode {
                    Mode::Read => OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
                    Mode::Checkpoint => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
                    Mode::Write | Mode::Bulk => {
                        OpenFlags::SQLITE_OPEN_READ_WRITE
                            | OpenFlags::SQLITE_OPEN_CREATE
                            | OpenFlags::SQLITE_OPEN_NO_MUTEX
                    }
                };
                Connection::open_with_flags(path, flags)?
            }
        };
        connection.set_prepared_statement_cache_capacity(PREPARED);
        connection.execute_batch(&format!("PRAGMA cache_size = -{}; PRAGMA temp_store = MEMORY;", self.cache_kib))?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        match self.mode {
            // Neither of a replaced file may remove the write-ahead log of the new one when it closes.
            Mode::Read => {
                connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            }
            Mode::Checkpoint => {
                connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
                connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;")?;
            }
            Mode::Write => {
                connection.execute_batch(
                    "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                     PRAGMA secure_delete = ON; PRAGMA journal_size_limit = 67108864;",
                )?;
                let shared = Arc::clone(&self.shared);
                // Takes the place of the checkpoints that SQLite makes inside a commit.
                connection.wal_hook(Some(move |_: &mut Wal, pages: std::ffi::c_int| {
                    shared.wal.has(u64::try_from(pages).unwrap_or(0));
                    Ok(())
                }))?;
            }
            // Indexes are sorted in the page cache as far as it goes, then in a temporary file.
            Mode::Bulk => connection.execute_batch(
                "PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
                 PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = FILE;",
            )?,
        }
        if matches!(self.mode, Mode::Write | Mode::Bulk) {
            prepare_tables(&connection, self.mode)?;
        }
        Ok(connection)
    }

    /// How far each consumer has come.
    pub(crate) fn applied(&mut self) -> Result<Vec<(String, Checkpoints)>, StoreError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached("SELECT DISTINCT consumer FROM checkpoint")?;
        let names: Vec<String> = statement.query_map((), |row| row.get(0))?.collect::<Result<_, _>>()?;
        let of = |name: String| checkpoints_of(connection, &name).map(|checkpoints| (name, checkpoints));
        names.into_iter().map(of).collect()
    }

    /// How far a consumer has come.
    pub(crate) fn checkpoints(&mut self, consumer: &str) -> Result<Checkpoints, StoreError> {
        checkpoints_of(self.connection()?, consumer)
    }

    /// Commits in one transaction; while a fresh file is filled, folds in memory and commits later. Gives back what
    /// held the changes, empty.
    pub(crate) fn commit(&mut self, mut commit: Commit) -> Result<Changes, StoreError> {
        self.connection()?;
        if let (Some((connection, _)), Some(filling)) = (&mut self.open, &mut self.filling) {
            filling.commit(connection, &mut commit)?;
            return Ok(commit.changes);
        }
        let transaction = self.connection()?.transaction()?;
        {
            // Texts are static: their address finds the statement without hashing some hundred bytes of SQL each time.
            let mut prepared: FxHashMap<usize, CachedStatement<'_>> = FxHashMap::default();
            commit.changes.drain(|step, parameters| {
                let sql = step.sql();
                let statement = match prepared.entry(sql.as_ptr().addr()) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => entry.insert(transaction.prepare_cached(sql)?),
                };
                statement.execute(params_from_iter(&*parameters))?;
                Ok(())
            })?;
        }
        put_parked(&transaction, &commit.consumer, &commit.parked)?;
        put_checkpoints(&transaction, &commit.consumer, &commit.checkpoints)?;
        transaction.commit()?;
        self.restart_wal_when_long()?;
        Ok(commit.changes)
    }

    /// Moves what is in the write-ahead log into the file, as far as that keeps nobody waiting.
    pub(crate) fn write_back(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        // A connection that is opened while another file is put in place could write into the one that goes.
        let _no_swap = shared.swapping.lock();
        Ok(self.connection()?.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))?)
    }

    /// Begins the write-ahead log anew once it is long. Readers that hold it up are waited for a moment, then it grows
    /// on.
    fn restart_wal_when_long(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        if !shared.wal.is_too_long() {
            return Ok(());
        }
        let connection = self.connection()?;
        connection.busy_timeout(RESTART_PATIENCE)?;
        let busy = connection.query_row("PRAGMA wal_checkpoint(RESTART)", (), |row| row.get::<_, i64>(0));
        connection.busy_timeout(BUSY_TIMEOUT)?;
        shared.wal.restarted(busy? == 0);
        Ok(())
    }

    /// Runs queries in one snapshot.
    pub(crate) fn read(&mut self, queries: &[Query]) -> Result<Vec<Vec<Row>>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let transaction = self.connection()?.transaction()?;
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            shared.statements.fetch_add(1, Ordering::Relaxed);
            let mut statement = transaction.prepare_cached(&query.sql)?;
            let width = statement.column_count();
            let mut rows = statement.query(params_from_iter(&query.parameters))?;
            let mut answer = Vec::new();
            while let Some(row) = rows.next()? {
                let values: Result<Row, StoreError> = (0..width).map(|column| value_of(row.get_ref(column)?)).collect();
                answer.push(values?);
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Row counts and hashes, in one snapshot.
    pub(crate) fn state(&mut self, consumer: &str, tables: &[&'static Table]) -> Result<State, StoreError> {
        self.write_filling()?;
        let transaction = self.connection()?.transaction()?;
        let checkpoints = checkpoints_of(&transaction, consumer)?;
        let tables =
            tables.iter().map(|table| super::state::of_table(&transaction, table)).collect::<Result<_, _>>()?;
        Ok(State { checkpoints, tables })
    }

    /// Writes what was folded in memory, and makes the indexes of keys: rows are read in their order.
    fn write_filling(&mut self) -> Result<(), StoreError> {
        self.connection()?;
        match (&mut self.open, &mut self.filling) {
            (Some((connection, _)), Some(filling)) => filling.write(connection),
            _ => Ok(()),
        }
    }

    /// Makes the indexes of a bulk-loaded file, brings it to the disk and closes it.
    pub(crate) fn finish_bulk(&mut self) -> Result<(), StoreError> {
        self.write_filling()?;
        let connection = self.connection()?;
        for table in registry::tables() {
            for index in table.indexes {
                connection.execute_batch(index)?;
            }
        }
        connection.execute_batch("PRAGMA optimize; PRAGMA locking_mode = NORMAL; PRAGMA journal_mode = WAL;")?;
        self.open = None;
        if let Place::File(path) = &self.place {
            let synced = std::fs::File::open(path).and_then(|file| file.sync_all());
            synced.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        }
        Ok(())
    }

    /// Closes the connection; what was written is then in the file itself.
    pub(crate) fn close(&mut self) -> Result<(), StoreError> {
        self.connection()?.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?;
        self.open = None;
        Ok(())
    }

    /// Puts `rebuilt` in the place of this engine's file unless it is behind.
    pub(crate) fn replace_with(&mut self, rebuilt: &Path, consumer: &str) -> Result<Option<Position>, StoreError> {
        let Place::File(path) = self.place.clone() else {
            return Err(StoreError::Invalid("a store in memory has no file"));
        };
        let live = checkpoints_of(self.connection()?, consumer)?.greatest();
        // Opened for writing, so that closing it leaves nothing of its own beside the file.
        let fresh = Connection::open_with_flags(rebuilt, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let fresh = checkpoints_of(&fresh, consumer)?.least();
        if fresh < live {
            return Ok(Some(live));
        }
        self.connection()?.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?;
        let shared = Arc::clone(&self.shared);
        let _no_checkpoint = shared.swapping.lock();
        self.open = None;
        swap_files(rebuilt, &path).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let generation = self.shared.generation.load(Ordering::Acquire) + 1;
        self.open = Some((self.connect()?, generation));
        self.shared.generation.store(generation, Ordering::Release);
        Ok(None)
    }
}

/// Puts the file `from` in the place of `to`. The write-ahead log of `to` must not be found beside the new file.
pub(crate) fn swap_files(from: &Path, to: &Path) -> std::io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        let mut beside = to.as_os_str().to_owned();
        beside.push(suffix);
        match std::fs::remove_file(PathBuf::from(beside)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(from, to)?;
    match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

pub(super) fn put_parked(connection: &Connection, consumer: &str, events: &[ParkedEvent]) -> Result<(), StoreError> {
    for parked in events {
        connection.prepare_cached(PARK)?.execute(params_from_iter(parked_row(consumer, parked)))?;
    }
    Ok(())
}

pub(super) fn put_checkpoints(
    connection: &Connection,
    consumer: &str,
    checkpoints: &Checkpoints,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(PUT_CHECKPOINT)?;
    for checkpoint in checkpoints.iter() {
        statement.execute(params_from_iter(checkpoint_row(consumer, &checkpoint)))?;
    }
    Ok(())
}

fn checkpoints_of(connection: &Connection, consumer: &str) -> Result<Checkpoints, StoreError> {
    let mut statement = connection.prepare_cached(CHECKPOINTS)?;
    let rows = statement
        .query_map([consumer], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))?;
    let mut checkpoints = Checkpoints::start();
    for row in rows {
        let (part, place, position) = row?;
        checkpoints.add(&checkpoint_of(&part, place, position));
    }
    Ok(checkpoints)
}

/// What follows `CREATE TABLE` for the order of the rows.
pub(super) const fn layout(table: &Table) -> &'static str {
    match table.order {
        RowOrder::Key => " WITHOUT ROWID",
        RowOrder::Arrival => "",
    }
}

/// Makes the tables of a fresh file, or checks that an old one has those of this release.
fn prepare_tables(connection: &Connection, mode: Mode) -> Result<(), StoreError> {
    let known: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_master WHERE name = 'projection'", (), |row| row.get(0))?;
    if known == 0 {
        let mut script = "BEGIN;".to_owned();
        for table in OWN_TABLES {
            script.extend([table, " WITHOUT ROWID;"]);
        }
        for table in registry::tables() {
            script.push_str(table.create);
            script.push_str(layout(table));
            script.push(';');
            if mode == Mode::Write {
                script.extend(key_index(table));
                script.extend(table.indexes.iter().flat_map(|index| [index, ";"]));
            }
        }
        script.push_str("COMMIT;");
        connection.execute_batch(&script)?;
        for version in versions() {
            connection.execute("INSERT INTO projection (name, version) VALUES ($1, $2)", version)?;
        }
        return Ok(());
    }
    let mut statement = connection.prepare("SELECT name, version FROM projection")?;
    let rows = statement.query_map((), |row| Ok(format!("{} {}", row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    check_versions(rows.collect::<Result<_, _>>()?)
}
