//! The state hash of a table: what two read models are compared by.
//!
//! **Invariant:** the hash covers every column of every row in key order and nothing else: not the file, not the
//! order of writing. Each value goes in with its type and length, so that no two states have the same bytes.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::projection::Table;
use crate::store::{StoreError, TableState};

/// Counts and hashes the rows of a table.
pub(super) fn of_table(connection: &Connection, table: &'static Table) -> Result<TableState, StoreError> {
    let sql = format!("SELECT * FROM {} ORDER BY {}", table.name, table.key.join(", "));
    let mut statement = connection.prepare(&sql)?;
    let width = statement.column_count();
    let mut rows = statement.query(())?;
    let mut hasher = blake3::Hasher::new();
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        for column in 0..width {
            let (kind, bytes): (u8, &[u8]) = match row.get_ref(column)? {
                ValueRef::Null => (0, &[]),
                ValueRef::Integer(value) => {
                    hasher.update(&[1]);
                    hasher.update(&value.to_le_bytes());
                    continue;
                }
                ValueRef::Text(text) => (2, text),
                ValueRef::Blob(bytes) => (3, bytes),
                ValueRef::Real(_) => return Err(StoreError::Corrupt("a column holds a fraction".to_owned())),
            };
            hasher.update(&[kind]);
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
    }
    Ok(TableState { table: table.name, rows: count, hash: hasher.finalize().to_hex().to_string() })
}
