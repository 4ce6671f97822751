//! The state hash of a table: what two read models are compared by, also across engines.
//!
//! **Invariant:** the hash covers every column of every row in key order and nothing else: not the file, not the
//! order of writing. Each value goes in with its type and length, so that no two states have the same bytes.

use crate::projection::Table;
use crate::store::TableState;

/// Counts and hashes rows, which come in the order of their key, bytes compared as bytes.
#[derive(Default)]
pub(super) struct RowHash {
    hasher: blake3::Hasher,
    rows: u64,
}

impl RowHash {
    /// The columns of one more row follow.
    pub(super) fn row(&mut self) {
        self.rows += 1;
    }

    /// A column that holds nothing.
    pub(super) fn null(&mut self) {
        self.of(0, &[]);
    }

    /// A number.
    pub(super) fn int(&mut self, value: i64) {
        self.hasher.update(&[1]);
        self.hasher.update(&value.to_le_bytes());
    }

    /// A text.
    pub(super) fn text(&mut self, text: &[u8]) {
        self.of(2, text);
    }

    /// Bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.of(3, bytes);
    }

    fn of(&mut self, kind: u8, bytes: &[u8]) {
        self.hasher.update(&[kind]);
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }

    /// The state of the table whose rows these were.
    pub(super) fn state(&self, table: &'static Table) -> TableState {
        TableState { table: table.name, rows: self.rows, hash: self.hasher.finalize().to_hex().to_string() }
    }
}
