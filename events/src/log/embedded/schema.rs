//! The file format of `log.db`, and how connections to it are opened.
//!
//! **Invariant:** the format is for ever: a change is a new `FORMAT` with a migration that keeps every event as it is. No
//! statement updates or deletes an event; triggers refuse it to everybody else too.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{Durability, OpenError};
use crate::envelope::Category;

/// Marks the file as a letopis log: `LETO` in ASCII. **Source:** sqlite.org/fileformat2.html, section 1.3.
const APPLICATION_ID: i32 = 0x4C45_544F;

/// The version of the format, kept in `user_version`. In format 1 ids had a unique index on `events`.
const FORMAT: i32 = 2;

/// The oldest SQLite without the WAL-reset race. **Source:** sqlite.org/wal.html, "The WAL-Reset Bug", fixed in 3.51.3.
const OLDEST_SQLITE: i32 = 3_051_003;

/// Bytes per page: at half a kilobyte per event, wider pages write fewer interior nodes and 4 KiB pages more.
pub(super) const PAGE_BYTES: u32 = 8192;

/// How long a connection waits for a lock that another process (a shell, a backup) holds.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Stream names and event types are interned so that the index stays narrow: bytes written per event are what bounds
/// batches. `category` repeats the stream's so that a filtered read skips a row before its payload. For ids see
/// [`super::event_ids`].
const TABLES: &str = "
CREATE TABLE streams (
    stream_no   INTEGER PRIMARY KEY,
    category    INTEGER NOT NULL,
    tenant      TEXT NOT NULL,
    id          BLOB NOT NULL,
    UNIQUE (id, tenant, category)
) STRICT;
CREATE TABLE event_types (
    type_no     INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE events (
    position    INTEGER PRIMARY KEY,
    stream_no   INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    category    INTEGER NOT NULL,
    type_no     INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    event_id    BLOB NOT NULL,
    digest      BLOB NOT NULL,
    metadata    TEXT NOT NULL,
    payload     BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_stream ON events (stream_no, revision);
CREATE TABLE recoveries (
    recovery_no INTEGER PRIMARY KEY,
    at          INTEGER NOT NULL,
    reason      TEXT NOT NULL
) STRICT;
CREATE TABLE space_probe (
    probe_no    INTEGER PRIMARY KEY,
    filler      BLOB NOT NULL
) STRICT;
";

/// The table of ids, since format 2.
const IDS: &str = "
CREATE TABLE event_ids (
    event_id    BLOB PRIMARY KEY,
    position    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE event_ids_reach (
    reach_no    INTEGER PRIMARY KEY CHECK (reach_no = 1),
    position    INTEGER NOT NULL
) STRICT;
INSERT INTO event_ids_reach VALUES (1, 0);
";

/// For people with a `sqlite3` shell; no code of ours reads it. Times are UTC.
const VIEW: &str = "
CREATE VIEW event_list AS
SELECT e.position,
       CASE s.category WHEN 1 THEN 'account' WHEN 2 THEN 'intake' WHEN 3 THEN 'contact' WHEN 4 THEN 'profile'
                       WHEN 5 THEN 'link' WHEN 6 THEN 'conversation' ELSE 'category ' || s.category END
           || '-' || s.tenant || ':' || lower(
           substr(hex(s.id), 1, 8) || '-' || substr(hex(s.id), 9, 4) || '-' || substr(hex(s.id), 13, 4) || '-'
           || substr(hex(s.id), 17, 4) || '-' || substr(hex(s.id), 21)) AS stream,
       e.revision, t.name AS type, e.version,
       strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch')
           || printf('.%06dZ', e.recorded_at % 1000000) AS recorded_at,
       lower(
           substr(hex(e.event_id), 1, 8) || '-' || substr(hex(e.event_id), 9, 4) || '-'
           || substr(hex(e.event_id), 13, 4) || '-' || substr(hex(e.event_id), 17, 4) || '-'
           || substr(hex(e.event_id), 21)) AS event_id,
       e.metadata, length(e.payload) AS payload_bytes, CAST(e.payload AS TEXT) AS payload
FROM events e JOIN streams s USING (stream_no) JOIN event_types t USING (type_no);
";

/// What may never be changed once written.
const APPEND_ONLY: [&str; 3] = ["events", "streams", "event_types"];

/// What may never be changed once written since format 2.
const APPEND_ONLY_IDS: [&str; 1] = ["event_ids"];

/// The number of a category in the file, for ever.
pub(super) const fn category_number(category: Category) -> i64 {
    match category {
        Category::Account => 1,
        Category::Intake => 2,
        Category::Contact => 3,
        Category::Profile => 4,
        Category::Link => 5,
        Category::Conversation => 6,
        Category::Calendar => 7,
        Category::Operator => 8,
        Category::Queue => 9,
        Category::Case => 10,
        Category::CaseType => 11,
        Category::CaseRegister => 12,
        Category::ServiceLevel => 13,
    }
}

/// The category with this number in the file.
pub(super) fn category_of(number: i64) -> Option<Category> {
    Category::ALL.into_iter().find(|category| category_number(*category) == number)
}

/// How much memory a connection may use for pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cache {
    pub(super) bytes: u64,
    pub(super) mapped_bytes: u64,
}

/// Opens the connection that writes, making or checking the file.
pub(super) fn open_writer(
    path: &Path,
    durability: Durability,
    cache: Cache,
    wal_limit_bytes: u64,
) -> Result<Connection, OpenError> {
    require_sqlite(rusqlite::version_number())?;
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let new = is_new(&connection, path)?;
    if new {
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    }
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(OpenError::NotALog { path: path.to_owned(), reason: format!("journal mode is {mode}, not WAL") });
    }
    set_up(&connection, cache)?;
    let synchronous = match durability {
        Durability::Synced => "FULL",
        Durability::Unsafe => "OFF",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", wal_limit_bytes.saturating_mul(2).cast_signed())?;
    if new {
        create(&mut connection)?;
    }
    migrate(&mut connection)?;
    check_format(&connection, path)?;
    Ok(connection)
}

/// Opens a connection that only reads. The file must be there and of a known format.
pub(super) fn open_reader(path: &Path, cache: Cache) -> Result<Connection, OpenError> {
    require_sqlite(rusqlite::version_number())?;
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    set_up(&connection, cache)?;
    connection.pragma_update(None, "query_only", true)?;
    check_format(&connection, path)?;
    Ok(connection)
}

/// Opens the connection of the checkpoint thread.
pub(super) fn open_checkpointer(path: &Path, durability: Durability) -> Result<Connection, OpenError> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", if durability == Durability::Synced { "FULL" } else { "OFF" })?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// Refuses a SQLite that can lose a WAL.
pub(super) fn require_sqlite(found: i32) -> Result<(), OpenError> {
    if found < OLDEST_SQLITE { Err(OpenError::SqliteTooOld { found, needed: OLDEST_SQLITE }) } else { Ok(()) }
}

fn set_up(connection: &Connection, cache: Cache) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    let kib = i64::try_from(cache.bytes / 1024).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -kib)?;
    connection.pragma_update(None, "mmap_size", i64::try_from(cache.mapped_bytes).unwrap_or(i64::MAX))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn is_new(connection: &Connection, path: &Path) -> Result<bool, OpenError> {
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(
        |error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => {
                OpenError::NotALog { path: path.to_owned(), reason: "not a SQLite database".into() }
            }
            _ => OpenError::from(error),
        },
    )?;
    Ok(objects == 0)
}

fn create(connection: &mut Connection) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    transaction.execute_batch(TABLES)?;
    transaction.execute_batch(VIEW)?;
    transaction.execute_batch(IDS)?;
    protect(&transaction, &APPEND_ONLY)?;
    protect(&transaction, &APPEND_ONLY_IDS)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    Ok(())
}

fn protect(connection: &Connection, tables: &[&str]) -> rusqlite::Result<()> {
    for table in tables {
        connection.execute_batch(&format!(
            "CREATE TRIGGER {table}_never_change BEFORE UPDATE ON {table}
             BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END;
             CREATE TRIGGER {table}_never_go BEFORE DELETE ON {table}
             BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END;"
        ))?;
    }
    Ok(())
}

/// Brings a log of format 1 to format 2: its ids move from the index into the table.
fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let found: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if application != APPLICATION_ID || found != 1 {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    transaction.execute_batch(IDS)?;
    transaction.execute_batch(
        "INSERT INTO event_ids SELECT event_id, position FROM events ORDER BY event_id;
         UPDATE event_ids_reach SET position = (SELECT coalesce(max(position), 0) FROM events);
         DROP INDEX events_by_id;",
    )?;
    protect(&transaction, &APPEND_ONLY_IDS)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    Ok(())
}

fn check_format(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION_ID {
        return Err(OpenError::NotALog { path: path.to_owned(), reason: "made by another program".into() });
    }
    let found: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == FORMAT { Ok(()) } else { Err(OpenError::UnknownFormat { found, known: FORMAT }) }
}
