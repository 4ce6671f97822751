//! What of one table is in memory only, and how it gets into the file.
//!
//! **Invariant:** a row is written with everything that was folded while it was held. Of a table in the order of its key
//! all rows are written together, in that order; of one in the order of arrival those that nobody looks for, or the older
//! half, as they came.

use rusqlite::{Connection, Statement, params_from_iter};

use super::held::{Held, Origin, hash_of};
use crate::projection::{RowOrder, Table};
use crate::store::StoreError;
use crate::store::own_tables::key_index;
use crate::store::sqlite::engine::value_of;
use crate::value::{Stored, Value};

/// Most parameters of a statement that inserts many rows.
const MOST_PARAMETERS: usize = 512;
/// Rows of a table that are written when nobody looks for one by its key: few, so that they stay in the processor's
/// cache until then.
const ROWS_NOT_LOOKED_FOR: usize = 512;

/// The rows of one table.
pub(super) struct Rows {
    pub(super) table: &'static Table,
    pub(super) columns: Vec<String>,
    /// The columns of the key.
    key: Box<[usize]>,
    young: Held,
    /// Of a table in the order of arrival: those that are written next.
    old: Held,
    /// True once a statement looked for a row by its key.
    looked_for: bool,
    /// True when the file may hold what memory does not.
    written: bool,
    /// True when the file finds rows by their key.
    indexed: bool,
}

/// Where a row is.
pub(super) enum Found {
    Young(usize),
    Old(usize),
    /// Nowhere.
    Absent,
    /// In a file that does not find it.
    Unknown,
}

impl Rows {
    /// None.
    pub(super) fn new(connection: &Connection, table: &'static Table) -> Result<Self, StoreError> {
        let statement = connection.prepare(&format!("SELECT * FROM {}", table.name))?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let key: Box<[usize]> =
            table.key.iter().filter_map(|name| columns.iter().position(|column| column == name)).collect();
        let held = || Held::new(columns.len(), key.clone());
        Ok(Self {
            table,
            young: held(),
            old: held(),
            looked_for: false,
            written: false,
            indexed: table.order == RowOrder::Key,
            columns,
            key,
        })
    }

    /// What they take in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.young.bytes() + self.old.bytes()
    }

    /// Adds a row whose key no other row has.
    pub(super) fn add(&mut self, values: impl Iterator<Item = Value>) {
        let row = self.young.push(values, Origin::Fresh);
        if self.looked_for {
            self.young.place(row);
        }
    }

    /// Adds a row that was looked for and is not held.
    pub(super) fn hold(&mut self, values: impl Iterator<Item = Value>, origin: Origin) -> usize {
        let row = self.young.push(values, origin);
        self.young.place(row);
        row
    }

    /// Finds a held row.
    fn held<'a>(&mut self, key: impl Iterator<Item = &'a Value> + Clone) -> Found {
        if !self.looked_for {
            self.looked_for = true;
            (0..self.young.len()).for_each(|row| self.young.place(row));
        }
        let hash = hash_of(key.clone());
        if let Some(row) = self.young.find(hash, key.clone()) {
            return Found::Young(row);
        }
        match self.old.find(hash, key) {
            Some(row) => Found::Old(row),
            None => Found::Absent,
        }
    }

    /// Finds a row, in the file where need be.
    pub(super) fn find<'a>(
        &mut self,
        connection: &Connection,
        key: impl Iterator<Item = &'a Value> + Clone,
    ) -> Result<Found, StoreError> {
        let found = self.held(key.clone());
        let unseen = match found {
            Found::Young(row) if self.young.origin(row) == Origin::Unseen => Some(row),
            Found::Absent if self.written => None,
            _ => return Ok(found),
        };
        if !self.indexed {
            return Ok(Found::Unknown);
        }
        let conditions: Vec<String> =
            self.table.key.iter().zip(1..).map(|(column, place)| format!("{column} = ${place}")).collect();
        let sql = format!("SELECT * FROM {} WHERE {}", self.table.name, conditions.join(" AND "));
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(key))?;
        let Some(row) = rows.next()? else {
            return Ok(unseen.map_or(Found::Absent, |row| {
                self.young.set_origin(row, Origin::Fresh);
                Found::Young(row)
            }));
        };
        let values = (0..self.columns.len()).map(|column| value_of(row.get_ref(column)?));
        let values: Vec<Value> = values.collect::<Result<_, StoreError>>()?;
        Ok(Found::Young(match unseen {
            Some(row) => {
                // The one in the file stands.
                values.into_iter().enumerate().for_each(|(column, value)| self.young.set(row, column, value));
                self.young.set_origin(row, Origin::Read);
                row
            }
            None => self.hold(values.into_iter(), Origin::Read),
        }))
    }

    /// Finds a row for an insert, which a row in the file does not need.
    pub(super) fn find_for_insert<'a>(&mut self, key: impl Iterator<Item = &'a Value> + Clone) -> Option<Origin> {
        match self.held(key) {
            Found::Absent if self.written => Some(Origin::Unseen),
            Found::Absent => Some(Origin::Fresh),
            _ => None,
        }
    }

    /// The rows among which a found one is.
    pub(super) fn of(&mut self, found: &Found) -> Option<(&mut Held, usize)> {
        match found {
            Found::Young(row) => Some((&mut self.young, *row)),
            Found::Old(row) => Some((&mut self.old, *row)),
            Found::Absent | Found::Unknown => None,
        }
    }

    /// True when the file does not find rows by their key.
    pub(super) fn is_unindexed(&self) -> bool {
        !self.indexed
    }

    /// The file may have been changed by others.
    pub(super) fn changed_in_file(&mut self) {
        self.written = true;
    }

    /// Writes rows that need not stay.
    pub(super) fn write_settled(&mut self, connection: &mut Connection, most_bytes: usize) -> Result<(), StoreError> {
        if self.indexed {
            return Ok(());
        }
        if !self.looked_for {
            return if self.young.len() < ROWS_NOT_LOOKED_FOR { Ok(()) } else { self.write(connection) };
        }
        if self.young.bytes() <= most_bytes / 8 {
            return Ok(());
        }
        // The older half is written and its memory used for younger ones.
        std::mem::swap(&mut self.young, &mut self.old);
        self.write_half(connection, false)
    }

    /// Writes what is held and holds nothing.
    pub(super) fn write(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        self.write_half(connection, true)?;
        self.write_half(connection, false)
    }

    /// Writes the older or the younger rows.
    fn write_half(&mut self, connection: &mut Connection, old: bool) -> Result<(), StoreError> {
        let held = if old { &mut self.old } else { &mut self.young };
        if held.len() > 0 {
            write(connection, self.table, &self.key, held)?;
            self.written = true;
        }
        Ok(())
    }

    /// Makes the index of the key, if the table is one that has it beside the rows.
    pub(super) fn index(&mut self, connection: &Connection) -> Result<(), StoreError> {
        if let (false, Some(index)) = (self.indexed, key_index(self.table)) {
            connection.execute_batch(&index)?;
        }
        self.indexed = true;
        Ok(())
    }
}

/// Writes rows and forgets them.
fn write(connection: &mut Connection, table: &Table, key: &[usize], held: &mut Held) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    let rows = match table.order {
        RowOrder::Key => sorted(held, key),
        RowOrder::Arrival => (0..held.len()).collect(),
    };
    for (verb, conflict, origin) in [
        ("INSERT", "", Origin::Fresh),
        ("INSERT", " ON CONFLICT DO NOTHING", Origin::Unseen),
        ("REPLACE", "", Origin::Changed),
    ] {
        let rows: Vec<&[Value]> =
            rows.iter().filter(|row| held.origin(**row) == origin).map(|row| held.row(*row)).collect();
        insert(&transaction, &format!("{verb} INTO {} VALUES ", table.name), conflict, &rows)?;
    }
    transaction.commit()?;
    held.clear();
    Ok(())
}

/// Inserts rows, many with one statement: SQLite then stays where it is in the tree.
fn insert(connection: &Connection, before: &str, after: &str, rows: &[&[Value]]) -> Result<(), StoreError> {
    let Some(width) = rows.first().map(|row| row.len()) else { return Ok(()) };
    let together = (MOST_PARAMETERS / width).max(1);
    let tuple = format!("({})", vec!["?"; width].join(", "));
    let text = |count: usize| format!("{before}{}{after}", vec![tuple.as_str(); count].join(", "));
    let mut chunks = rows.chunks_exact(together);
    if rows.len() >= together {
        let mut statement = connection.prepare_cached(&text(together))?;
        for chunk in chunks.by_ref() {
            run(&mut statement, chunk)?;
        }
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let mut statement = connection.prepare_cached(&text(1))?;
        for row in rest.chunks(1) {
            run(&mut statement, row)?;
        }
    }
    Ok(())
}

fn run(statement: &mut Statement<'_>, rows: &[&[Value]]) -> Result<(), StoreError> {
    // What is not bound is null.
    statement.clear_bindings();
    for (place, value) in rows.iter().flat_map(|row| row.iter()).enumerate() {
        if *value != Value::Null {
            statement.raw_bind_parameter(place + 1, value)?;
        }
    }
    statement.raw_execute()?;
    Ok(())
}

/// The rows in the order of their keys.
fn sorted(held: &Held, key: &[usize]) -> Vec<usize> {
    let leading = |row: &[Value]| {
        let part = match key.first().map(|column| row[*column].stored()) {
            Some(Stored::Text(text)) => text.as_bytes(),
            Some(Stored::Bytes(bytes)) => bytes,
            Some(Stored::Int(_) | Stored::Null) | None => &[],
        };
        let mut bytes = [0; 16];
        let count = part.len().min(16);
        bytes[..count].copy_from_slice(&part[..count]);
        u128::from_be_bytes(bytes)
    };
    // Almost all rows differ in the first bytes of their keys.
    let mut rows: Vec<(u128, usize)> = (0..held.len()).map(|row| (leading(held.row(row)), row)).collect();
    rows.sort_unstable_by(|one, other| {
        one.0.cmp(&other.0).then_with(|| {
            let [one, other] = [one.1, other.1].map(|row| held.row(row));
            key.iter().map(|column| one[*column].stored()).cmp(key.iter().map(|column| other[*column].stored()))
        })
    });
    rows.into_iter().map(|(_, row)| row).collect()
}
