//! Reads the rows of a table in the order of its key, for its state hash.
//!
//! **Invariant:** rows are hashed as they are read; none is held.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::projection::Table;
use crate::store::row_hash::RowHash;
use crate::store::{StoreError, TableState};

/// Counts and hashes the rows of a table.
pub(super) fn of_table(connection: &Connection, table: &'static Table) -> Result<TableState, StoreError> {
    let sql = format!("SELECT * FROM {} ORDER BY {}", table.name, table.key.join(", "));
    let mut statement = connection.prepare(&sql)?;
    let width = statement.column_count();
    let mut rows = statement.query(())?;
    let mut hash = RowHash::default();
    while let Some(row) = rows.next()? {
        hash.row();
        for column in 0..width {
            match row.get_ref(column)? {
                ValueRef::Null => hash.null(),
                ValueRef::Integer(value) => hash.int(value),
                ValueRef::Text(text) => hash.text(text),
                ValueRef::Blob(bytes) => hash.bytes(bytes),
                ValueRef::Real(_) => return Err(StoreError::Corrupt("a column holds a fraction".to_owned())),
            }
        }
    }
    Ok(hash.state(table))
}
