//! The tables of `keys.db`, and the wrapping of what stands in them.
//!
//! **Invariant:** no key stands in the file in clear, and what is destroyed is overwritten (`secure_delete`) and gone
//! from the write-ahead log once [`Database::forget`] returned.
//!
//! Format 1, stored for ever (`user_version`):
//! - `secret(name, wrapped)`: `check` (a fixed text, to tell a wrong key-encryption key) and `id_secret` (32 bytes).
//! - `subject_key(id, wrapped)`: 32 bytes under the 16 bytes of the key id; null once destroyed.
//! - `pool_page(run, page, wrapped)`: 256 slots of 32 bytes in one box; a slot of zeros is a destroyed key.
//!
//! For the boxes see [`stored`](crate::seal::stored).

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use zeroize::Zeroizing;

use crate::seal::kek::KeyEncryptionKey;
use crate::seal::key_id::PageId;
use crate::seal::stored::{
    CHECK, KEY_BYTES, OpenKeyStoreError, PAGE_BYTES, Page, key_bytes, page_purpose, secret_purpose, subject_purpose,
};
use crate::seal::{KeyId, KeyStoreError, SealError};

/// The version of the tables.
const FORMAT: i64 = 1;
/// How long to wait for another process that writes.
pub(super) const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS secret (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS subject_key (id BLOB PRIMARY KEY, wrapped BLOB) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS pool_page (
        run INTEGER NOT NULL, page INTEGER NOT NULL, wrapped BLOB NOT NULL, PRIMARY KEY (run, page)
    ) STRICT;
";

impl From<rusqlite::Error> for OpenKeyStoreError {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) { Self::Corrupt(error.to_string()) } else { Self::Unavailable(error.to_string()) }
    }
}

impl From<rusqlite::Error> for KeyStoreError {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) { Self::Corrupt(error.to_string()) } else { Self::Unavailable(error.to_string()) }
    }
}

/// True when the file itself is damaged, so that no retry can help.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Where the tables are and what opens them.
#[derive(Clone)]
pub(super) struct Location {
    pub(super) path: PathBuf,
    pub(super) kek: KeyEncryptionKey,
}

/// An open connection.
pub(super) struct Database {
    connection: Connection,
    kek: KeyEncryptionKey,
}

/// A row of `subject_key`.
pub(super) enum SubjectRow {
    Present(Zeroizing<[u8; KEY_BYTES]>),
    Destroyed,
    Absent,
}

impl Location {
    /// Makes the file and its tables when they are not there, checks the key-encryption key and gives the id secret.
    pub(super) fn prepare(&self) -> Result<Zeroizing<[u8; KEY_BYTES]>, OpenKeyStoreError> {
        make_private(&self.path).map_err(|error| OpenKeyStoreError::Unavailable(error.to_string()))?;
        let mut database = self.connect()?;
        let transaction = database.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        make_tables(&transaction)?;
        match secret(&transaction, &self.kek, "check", || Ok(CHECK.to_vec())) {
            Ok(check) if *check == CHECK => {}
            Ok(_) => return Err(OpenKeyStoreError::Corrupt("check value".into())),
            Err(OpenKeyStoreError::Corrupt(_)) => return Err(OpenKeyStoreError::WrongKey),
            Err(error) => return Err(error),
        }
        let id_secret = secret(&transaction, &self.kek, "id_secret", || Ok(random::<KEY_BYTES>()?.to_vec()))?;
        transaction.commit()?;
        key_bytes(&id_secret).ok_or_else(|| OpenKeyStoreError::Corrupt("id secret".into()))
    }

    /// Makes the file and its tables, and begins the transaction that fills them with rows from elsewhere.
    pub(super) fn begin_import(&self) -> Result<Connection, OpenKeyStoreError> {
        make_private(&self.path).map_err(|error| OpenKeyStoreError::Unavailable(error.to_string()))?;
        let connection = self.connect()?.connection;
        connection.execute_batch("BEGIN EXCLUSIVE")?;
        make_tables(&connection)?;
        Ok(connection)
    }

    pub(super) fn connect(&self) -> Result<Database, rusqlite::Error> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        Ok(Database { connection, kek: self.kek.clone() })
    }
}

impl Database {
    /// Runs `work` in one transaction and commits it.
    pub(super) fn commit<T>(
        &mut self,
        work: impl FnOnce(&Self) -> Result<T, rusqlite::Error>,
    ) -> Result<T, rusqlite::Error> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let done = work(self).and_then(|done| self.connection.execute_batch("COMMIT").map(|()| done));
        if done.is_err() && !self.connection.is_autocommit() {
            // The caller drops the connection, which rolls back as well.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        done
    }

    /// Empties the write-ahead log, so that what was overwritten does not survive there.
    pub(super) fn forget(&self) -> Result<(), KeyStoreError> {
        let busy: bool = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0))?;
        if busy { Err(KeyStoreError::Unavailable("write-ahead log is being read".into())) } else { Ok(()) }
    }

    pub(super) fn subject_key(&self, id: KeyId) -> Result<Result<SubjectRow, KeyStoreError>, rusqlite::Error> {
        let mut query = self.connection.prepare_cached("SELECT wrapped FROM subject_key WHERE id = ?1")?;
        let row: Option<Option<Vec<u8>>> =
            query.query_row([id.0.as_bytes().as_slice()], |row| row.get(0)).optional()?;
        Ok(match row {
            None => Ok(SubjectRow::Absent),
            Some(None) => Ok(SubjectRow::Destroyed),
            Some(Some(wrapped)) => self
                .kek
                .unwrap(&subject_purpose(id), &wrapped)
                .ok()
                .and_then(|clear| key_bytes(&clear))
                .map(SubjectRow::Present)
                .ok_or_else(|| KeyStoreError::Corrupt(format!("key {} does not unwrap", id.0))),
        })
    }

    pub(super) fn insert_subject_key(&self, id: KeyId, bytes: &[u8]) -> Result<(), rusqlite::Error> {
        let wrapped = self.kek.wrap(&subject_purpose(id), bytes).map_err(sealing)?;
        let mut insert = self.connection.prepare_cached("INSERT INTO subject_key (id, wrapped) VALUES (?1, ?2)")?;
        insert.execute(params![id.0.as_bytes().as_slice(), wrapped]).map(drop)
    }

    pub(super) fn destroy_subject_key(&self, id: KeyId) -> Result<(), rusqlite::Error> {
        let mut update = self.connection.prepare_cached("UPDATE subject_key SET wrapped = NULL WHERE id = ?1")?;
        update.execute([id.0.as_bytes().as_slice()]).map(drop)
    }

    pub(super) fn run_exists(&self, run: u32) -> Result<bool, rusqlite::Error> {
        let query = "SELECT EXISTS (SELECT 1 FROM pool_page WHERE run = ?1)";
        self.connection.query_row(query, [run], |row| row.get(0))
    }

    pub(super) fn page(&self, id: PageId) -> Result<Result<Option<Page>, KeyStoreError>, rusqlite::Error> {
        let mut query = self.connection.prepare_cached("SELECT wrapped FROM pool_page WHERE run = ?1 AND page = ?2")?;
        let row: Option<Vec<u8>> = query.query_row([id.run, id.page], |row| row.get(0)).optional()?;
        let Some(wrapped) = row else { return Ok(Ok(None)) };
        let page = self.kek.unwrap(&page_purpose(id), &wrapped).ok().filter(|page| page.len() == PAGE_BYTES);
        Ok(page
            .map(Some)
            .ok_or_else(|| KeyStoreError::Corrupt(format!("page {} of run {} does not unwrap", id.page, id.run))))
    }

    pub(super) fn insert_page(&self, id: PageId, page: &[u8]) -> Result<(), rusqlite::Error> {
        let wrapped = self.kek.wrap(&page_purpose(id), page).map_err(sealing)?;
        let mut insert =
            self.connection.prepare_cached("INSERT INTO pool_page (run, page, wrapped) VALUES (?1, ?2, ?3)")?;
        insert.execute(params![id.run, id.page, wrapped]).map(drop)
    }

    pub(super) fn replace_page(&self, id: PageId, page: &[u8]) -> Result<(), rusqlite::Error> {
        let wrapped = self.kek.wrap(&page_purpose(id), page).map_err(sealing)?;
        let mut update =
            self.connection.prepare_cached("UPDATE pool_page SET wrapped = ?3 WHERE run = ?1 AND page = ?2")?;
        update.execute(params![id.run, id.page, wrapped]).map(drop)
    }
}

/// Refuses a file that a newer release made.
pub(super) fn check_format(connection: &Connection) -> Result<(), OpenKeyStoreError> {
    match connection.query_row("PRAGMA user_version", (), |row| row.get(0))? {
        FORMAT => Ok(()),
        other => Err(OpenKeyStoreError::Format(other)),
    }
}

fn make_tables(connection: &Connection) -> Result<(), OpenKeyStoreError> {
    let format = connection.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    if format != 0 && format != FORMAT {
        return Err(OpenKeyStoreError::Format(format));
    }
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "user_version", FORMAT)?;
    Ok(())
}

/// `N` random bytes.
pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, rusqlite::Error> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(|_| sealing(SealError::NoRandomness))?;
    Ok(bytes)
}

/// A failure to seal ends the transaction that it happens in, like one of the database.
fn sealing(error: SealError) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error.into())
}

fn secret(
    connection: &Connection,
    kek: &KeyEncryptionKey,
    name: &str,
    fresh: impl FnOnce() -> Result<Vec<u8>, rusqlite::Error>,
) -> Result<Zeroizing<Vec<u8>>, OpenKeyStoreError> {
    let purpose = secret_purpose(name);
    let row: Option<Vec<u8>> =
        connection.query_row("SELECT wrapped FROM secret WHERE name = ?1", [name], |row| row.get(0)).optional()?;
    if let Some(wrapped) = row {
        return kek.unwrap(&purpose, &wrapped).map_err(|error| OpenKeyStoreError::Corrupt(format!("{name}: {error}")));
    }
    let clear = Zeroizing::new(fresh()?);
    let wrapped = kek.wrap(&purpose, &clear).map_err(sealing)?;
    connection.execute("INSERT INTO secret (name, wrapped) VALUES (?1, ?2)", params![name, wrapped])?;
    Ok(clear)
}

/// Makes the file before SQLite does, so that nobody else can read it; SQLite gives its companions the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_connection_syncs_each_commit_and_overwrites_what_it_deletes_in_files_of_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let kek = KeyEncryptionKey::generate(&folder.path().join("kek")).unwrap();
        let location = Location { path: folder.path().join("keys.db"), kek };
        location.prepare().unwrap();
        let mut database = location.connect().unwrap();
        let id = KeyId(uuid::Uuid::from_u128(1));
        database.commit(|database| database.insert_subject_key(id, &[7; KEY_BYTES])).unwrap();
        let asked = |name: &str| -> String {
            let query = format!("SELECT CAST(\"{name}\" AS TEXT) FROM pragma_{name}");
            database.connection.query_row(&query, (), |row| row.get(0)).unwrap()
        };
        assert_eq!(asked("journal_mode"), "wal");
        assert_eq!(asked("synchronous"), "2", "FULL: https://sqlite.org/pragma.html#pragma_synchronous");
        assert_eq!(asked("secure_delete"), "1", "ON: https://sqlite.org/pragma.html#pragma_secure_delete");
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "nobody else may read or write");
        }
    }
}
