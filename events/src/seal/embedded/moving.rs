//! The rows of `keys.db` as they stand, read and written for whoever moves a key store elsewhere.
//!
//! **Invariant:** reads are short, so that a running store can always empty its write-ahead log. Rows are written in one
//! transaction, into a file without any.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

use super::database::{self, Location};
use crate::seal::key_id::PageId;
use crate::seal::stored::OpenKeyStoreError;
use crate::seal::wrapped::{WrappedPage, WrappedSecret, WrappedSubjectKey};
use crate::seal::{KeyEncryptionKey, KeyId};

/// Rows read at a time; a page is 8 KiB.
const ROWS: i64 = 256;

/// A key store that is read row by row.
pub(crate) struct WrappedKeys(Connection);

impl WrappedKeys {
    /// Opens a store that another process may be using.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenKeyStoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(database::BUSY)?;
        database::check_format(&connection)?;
        Ok(Self(connection))
    }

    /// Both secrets.
    pub(crate) fn secrets(&self) -> Result<Vec<WrappedSecret>, OpenKeyStoreError> {
        let mut query = self.0.prepare("SELECT name, wrapped FROM secret ORDER BY name")?;
        let secrets = query.query_map((), |row| Ok(WrappedSecret { name: row.get(0)?, wrapped: row.get(1)? }))?;
        Ok(secrets.collect::<Result<_, _>>()?)
    }

    /// The next keys of subjects in order of id.
    pub(crate) fn subject_keys(&self, after: Option<KeyId>) -> Result<Vec<WrappedSubjectKey>, OpenKeyStoreError> {
        let query = "SELECT id, wrapped FROM subject_key WHERE id > ?1 ORDER BY id LIMIT ?2";
        let after = after.map_or_else(Vec::new, |id| id.0.as_bytes().to_vec());
        let mut query = self.0.prepare_cached(query)?;
        let keys = query.query_map(params![after, ROWS], |row| {
            let id = KeyId(uuid::Uuid::from_bytes(row.get(0)?));
            Ok(WrappedSubjectKey { id, wrapped: row.get(1)? })
        })?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// The next pages in their order.
    pub(crate) fn pages(&self, after: Option<PageId>) -> Result<Vec<WrappedPage>, OpenKeyStoreError> {
        let query = "SELECT run, page, wrapped FROM pool_page WHERE (run, page) > (?1, ?2) ORDER BY run, page LIMIT ?3";
        let (run, page) = after.map_or((-1, -1), |after| (i64::from(after.run), i64::from(after.page)));
        let mut query = self.0.prepare_cached(query)?;
        let pages = query.query_map(params![run, page, ROWS], |row| {
            Ok(WrappedPage { run: row.get(0)?, page: row.get(1)?, wrapped: row.get(2)? })
        })?;
        Ok(pages.collect::<Result<_, _>>()?)
    }
}

/// A key store that is being written row by row; dropped before its end, it leaves a file without keys.
pub(crate) struct KeysImport(Connection);

impl KeysImport {
    /// Begins in a new file.
    pub(crate) fn begin(path: &Path, kek: &KeyEncryptionKey) -> Result<Self, OpenKeyStoreError> {
        let location = Location { path: path.to_owned(), kek: kek.clone() };
        Ok(Self(location.begin_import()?))
    }

    pub(crate) fn secret(&self, WrappedSecret { name, wrapped }: &WrappedSecret) -> Result<(), OpenKeyStoreError> {
        let mut insert = self.0.prepare_cached("INSERT INTO secret (name, wrapped) VALUES (?1, ?2)")?;
        Ok(insert.execute(params![name, wrapped]).map(drop)?)
    }

    pub(crate) fn subject_key(&self, key: &WrappedSubjectKey) -> Result<(), OpenKeyStoreError> {
        let mut insert = self.0.prepare_cached("INSERT INTO subject_key (id, wrapped) VALUES (?1, ?2)")?;
        Ok(insert.execute(params![key.id.0.as_bytes().as_slice(), key.wrapped]).map(drop)?)
    }

    pub(crate) fn page(&self, page: &WrappedPage) -> Result<(), OpenKeyStoreError> {
        let mut insert = self.0.prepare_cached("INSERT INTO pool_page (run, page, wrapped) VALUES (?1, ?2, ?3)")?;
        Ok(insert.execute(params![page.run, page.page, page.wrapped]).map(drop)?)
    }

    /// Makes all of it durable, and the file whole without its write-ahead log.
    pub(crate) fn finish(self) -> Result<(), OpenKeyStoreError> {
        self.0.execute_batch("COMMIT")?;
        self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?;
        // The last connection to close removes the empty write-ahead log.
        Ok(self.0.close().map_err(|(_, error)| error)?)
    }
}
