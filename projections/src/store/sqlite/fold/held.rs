//! Rows in memory, found by their keys.
//!
//! **Invariant:** rows stay in the order in which they came. Those of one table have the same number of columns and lie
//! side by side in blocks: a row is neither an allocation of its own nor copied when there are more.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::value::Value;

/// Rows of a block.
const BLOCK_ROWS: usize = 256;
/// Blocks whose memory is kept when the rows go.
const KEPT_BLOCKS: usize = 16;

/// What is known about the row of a key in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The file does not have it.
    Fresh,
    /// Inserted without looking whether the file has one, which then stands.
    Unseen,
    /// Read from the file.
    Read,
    /// Read from the file and changed.
    Changed,
}

/// Rows of one table.
pub(super) struct Held {
    /// Columns of a row.
    width: usize,
    /// The columns of the key.
    key: Box<[usize]>,
    blocks: Vec<Vec<Value>>,
    origins: Vec<Origin>,
    places: HashTable<Place>,
    bytes: usize,
}

/// Where the row of a key is.
#[derive(Clone, Copy)]
struct Place {
    /// The hash of its key.
    hash: u64,
    row: usize,
}

impl Held {
    /// No rows.
    pub(super) fn new(width: usize, key: Box<[usize]>) -> Self {
        Self { width, key, blocks: Vec::new(), origins: Vec::new(), places: HashTable::new(), bytes: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.origins.len()
    }

    /// What they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a row that is not looked for by its key.
    pub(super) fn push(&mut self, values: impl Iterator<Item = Value>, origin: Origin) -> usize {
        let row = self.origins.len();
        let block = row / BLOCK_ROWS;
        if block == self.blocks.len() {
            self.blocks.push(Vec::with_capacity(BLOCK_ROWS * self.width));
        }
        let block = &mut self.blocks[block];
        let start = block.len();
        block.extend(values);
        debug_assert_eq!(block.len() - start, self.width, "columns of a row");
        self.bytes += std::mem::size_of_val(&block[start..]) + block[start..].iter().map(text_bytes).sum::<usize>();
        self.origins.push(origin);
        row
    }

    /// Lets a row be found by its key, which no other row has.
    pub(super) fn place(&mut self, row: usize) {
        let hash = hash_of(self.key.iter().map(|column| &self.row(row)[*column]));
        self.places.insert_unique(hash, Place { hash, row }, |place| place.hash);
        self.bytes += 2 * std::mem::size_of::<Place>();
    }

    /// The row with a key.
    pub(super) fn find<'a>(&self, hash: u64, key: impl Iterator<Item = &'a Value> + Clone) -> Option<usize> {
        let same = |place: &Place| {
            let row = self.row(place.row);
            place.hash == hash
                && self.key.iter().zip(key.clone()).all(|(column, value)| row[*column].stored() == value.stored())
        };
        self.places.find(hash, same).map(|place| place.row)
    }

    /// A row.
    pub(super) fn row(&self, row: usize) -> &[Value] {
        let start = row % BLOCK_ROWS * self.width;
        &self.blocks[row / BLOCK_ROWS][start..start + self.width]
    }

    /// What is known of a row.
    pub(super) fn origin(&self, row: usize) -> Origin {
        self.origins[row]
    }

    /// Says what is known of a row.
    pub(super) fn set_origin(&mut self, row: usize, origin: Origin) {
        self.origins[row] = origin;
    }

    /// Sets a column.
    pub(super) fn set(&mut self, row: usize, column: usize, value: Value) {
        self.bytes += text_bytes(&value);
        let place = row % BLOCK_ROWS * self.width + column;
        self.blocks[row / BLOCK_ROWS][place] = value;
        if self.origins[row] == Origin::Read {
            self.origins[row] = Origin::Changed;
        }
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.blocks.truncate(KEPT_BLOCKS);
        self.blocks.iter_mut().for_each(Vec::clear);
        self.origins.clear();
        self.places.clear();
        self.bytes = 0;
    }
}

/// The hash of a key.
pub(super) fn hash_of<'a>(key: impl Iterator<Item = &'a Value>) -> u64 {
    let mut hasher = FxBuildHasher.build_hasher();
    for value in key {
        value.stored().hash(&mut hasher);
    }
    hasher.finish()
}

/// What a value takes outside its row, in bytes.
pub(super) fn text_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) if text.is_heap_allocated() => text.capacity(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Null | Value::Int(_) | Value::Text(_) | Value::Name(_) | Value::Id(_) => 0,
    }
}
