//! Rows folded in memory while a fresh file is filled: each is written once, in the order of its key.
//!
//! **Invariant:** a statement means here what its SQL text means: both follow from one [`Statement`], and a property
//! test holds them together. Memory is bounded: what is held is written when it grows over its bound. Afterwards a row
//! that is not held may be in the file, and is read from there before anything depends on it.

use rusqlite::{Connection, params_from_iter};
use rustc_hash::FxHashMap;

use super::engine::value_of;
use crate::projection::{Changes, Step, Table};
use crate::registry;
use crate::statement::{Kind, Set, Statement, columns};
use crate::store::StoreError;
use crate::value::Value;

/// What a held row and its place in the map take beside its values, in bytes.
const ROW_OVERHEAD: usize = 96;

/// Rows that are not written yet.
pub(super) struct Fold {
    tables: Vec<Rows>,
    /// By the address of the statement.
    plans: FxHashMap<usize, Plan>,
    /// The key of the row that a statement touches, made anew for each.
    key: Vec<u8>,
    most_bytes: usize,
}

/// The rows of one table.
struct Rows {
    table: &'static Table,
    columns: Vec<String>,
    held: FxHashMap<Box<[u8]>, Held>,
    held_bytes: usize,
    /// True once rows were written: then the file may hold what memory does not.
    written: bool,
}

/// A row.
struct Held {
    values: Box<[Value]>,
    origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The file does not have it.
    Fresh,
    /// Inserted without looking whether the file has one, which then stands.
    Unseen,
    /// Read from the file.
    Read,
    /// Read from the file and changed.
    Changed,
}

/// A statement with its columns found.
struct Plan {
    table: usize,
    /// Where the values of the key come from.
    key: Vec<Source>,
    act: Act,
}

enum Act {
    Insert(Vec<Source>),
    Upsert { row: Vec<Source>, by: Vec<usize>, sets: Vec<usize>, fills: Vec<usize> },
    Update { sets: Vec<(usize, Source)>, revision: (usize, Source) },
    Fill { column: (usize, Source), revision: (usize, Source) },
}

/// Where a value comes from.
#[derive(Debug, Clone)]
enum Source {
    /// A parameter that is needed again.
    Given(usize),
    /// A parameter that is not: it may be taken.
    Taken(usize),
    Fixed(Value),
}

impl Source {
    fn of(set: Set) -> Self {
        match set {
            Set::Given(place) => Self::Given(place - 1),
            Set::Text(text) => Self::Fixed(Value::Name(text)),
            Set::Number(number) => Self::Fixed(Value::Int(number)),
            Set::Null => Self::Fixed(Value::Null),
        }
    }

    fn look<'a>(&'a self, parameters: &'a [Value]) -> &'a Value {
        match self {
            Self::Given(place) | Self::Taken(place) => parameters.get(*place).unwrap_or(&Value::Null),
            Self::Fixed(value) => value,
        }
    }

    fn take(&self, parameters: &mut [Value]) -> Value {
        match self {
            Self::Taken(place) => parameters.get_mut(*place).map_or(Value::Null, std::mem::take),
            Self::Given(_) | Self::Fixed(_) => self.look(parameters).clone(),
        }
    }
}

/// Marks the last use of each parameter, so that its value moves into the row.
fn mark_last_uses<'a>(sources: impl DoubleEndedIterator<Item = &'a mut Source>) {
    let mut used = Vec::new();
    for source in sources.rev() {
        if let Source::Given(place) = *source
            && !used.contains(&place)
        {
            used.push(place);
            *source = Source::Taken(place);
        }
    }
}

impl Fold {
    /// Nothing held; `most_bytes` bounds what is.
    pub(super) fn new(connection: &Connection, most_bytes: usize) -> Result<Self, StoreError> {
        let rows = |table: &'static Table| {
            let statement = connection.prepare(&format!("SELECT * FROM {}", table.name))?;
            let columns = statement.column_names().map(str::to_owned).collect();
            Ok(Rows { table, columns, held: FxHashMap::default(), held_bytes: 0, written: false })
        };
        let tables = registry::tables().map(rows).collect::<Result<_, StoreError>>()?;
        Ok(Self { tables, plans: FxHashMap::default(), key: Vec::new(), most_bytes })
    }

    /// Carries out changes.
    pub(super) fn apply(&mut self, connection: &mut Connection, changes: &mut Changes) -> Result<(), StoreError> {
        changes.drain(|step, parameters| match step {
            Step::Row(statement) => self.step(connection, statement, parameters),
            Step::Sql(sql) => {
                self.write(connection)?;
                connection.prepare_cached(sql)?.execute(params_from_iter(&*parameters))?;
                // It may have changed any row.
                self.tables.iter_mut().for_each(|rows| rows.written = true);
                Ok(())
            }
        })?;
        self.write_largest(connection)
    }

    /// Writes the tables that hold most until the rest is within the bound: rows that many events change stay longest.
    fn write_largest(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        while self.tables.iter().map(|rows| rows.held_bytes).sum::<usize>() > self.most_bytes {
            let Some(rows) = self.tables.iter_mut().max_by_key(|rows| rows.held_bytes) else { return Ok(()) };
            let transaction = connection.transaction()?;
            rows.write(&transaction)?;
            transaction.commit()?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        connection: &Connection,
        statement: &'static Statement,
        parameters: &mut [Value],
    ) -> Result<(), StoreError> {
        let address = std::ptr::from_ref(statement).addr();
        if !self.plans.contains_key(&address) {
            let plan = self.plan(statement)?;
            self.plans.insert(address, plan);
        }
        let Some(plan) = self.plans.get(&address) else { return Ok(()) };
        let rows = &mut self.tables[plan.table];
        let key = &mut self.key;
        key.clear();
        for source in &plan.key {
            encode(key, source.look(parameters));
        }
        if rows.written && !matches!(plan.act, Act::Insert(_)) {
            rows.see(connection, key, &plan.key, parameters)?;
        }
        match &plan.act {
            Act::Insert(row) => {
                if !rows.held.contains_key(key.as_slice()) {
                    let origin = if rows.written { Origin::Unseen } else { Origin::Fresh };
                    rows.hold(key, row.iter().map(|source| source.take(parameters)), origin);
                }
            }
            Act::Upsert { row, by, sets, fills } => match rows.held.get_mut(key.as_slice()) {
                None => {
                    rows.hold(key, row.iter().map(|source| source.take(parameters)), Origin::Fresh);
                }
                Some(held) => {
                    let given = by.iter().map(|column| row[*column].look(parameters));
                    if greater(given, by.iter().map(|column| &held.values[*column])) {
                        // In the order of this list, which is not that of the row: nothing is taken.
                        for column in sets {
                            let value = row[*column].look(parameters).clone();
                            rows.held_bytes += text_bytes(&value);
                            held.values[*column] = value;
                        }
                        for column in fills {
                            let value = row[*column].look(parameters).clone();
                            if value != Value::Null {
                                rows.held_bytes += text_bytes(&value);
                                held.values[*column] = value;
                            }
                        }
                        held.changed();
                    }
                }
            },
            Act::Update { sets, revision: (column, revision) } => {
                if let Some(held) = rows.held.get_mut(key.as_slice())
                    && greater([revision.look(parameters)].into_iter(), [&held.values[*column]].into_iter())
                {
                    for (column, source) in sets {
                        let value = source.take(parameters);
                        rows.held_bytes += text_bytes(&value);
                        held.values[*column] = value;
                    }
                    held.changed();
                }
            }
            Act::Fill { column: (column, source), revision: (revision_column, revision) } => {
                if let Some(held) = rows.held.get_mut(key.as_slice())
                    && held.values[*column] == Value::Null
                    && greater([revision.look(parameters)].into_iter(), [&held.values[*revision_column]].into_iter())
                {
                    let value = source.take(parameters);
                    rows.held_bytes += text_bytes(&value);
                    held.values[*column] = value;
                    held.changed();
                }
            }
        }
        Ok(())
    }

    fn plan(&self, statement: &'static Statement) -> Result<Plan, StoreError> {
        let unknown = || StoreError::Refused(format!("{} has no such table or column", statement.table));
        let table = self.tables.iter().position(|rows| rows.table.name == statement.table).ok_or_else(unknown)?;
        let all = &self.tables[table].columns;
        let place = |name: &str| all.iter().position(|column| column == name).ok_or_else(unknown);
        let places = |list| columns(list).map(place).collect::<Result<Vec<usize>, StoreError>>();
        let row = || {
            let mut row: Vec<Source> = all.iter().map(|column| Source::of(statement.source(column))).collect();
            mark_last_uses(row.iter_mut());
            row
        };
        let act = match statement.kind {
            Kind::Insert => Act::Insert(row()),
            Kind::Upsert(newer) => Act::Upsert {
                row: row(),
                by: places(newer.by)?,
                sets: places(newer.sets)?,
                fills: places(newer.fills)?,
            },
            Kind::Update => {
                let mut sets = Vec::new();
                for (column, set) in statement.sets() {
                    sets.push((place(column)?, Source::of(set)));
                }
                mark_last_uses(sets.iter_mut().map(|(_, source)| source));
                Act::Update { sets, revision: (place("revision")?, Source::of(statement.source("revision"))) }
            }
            Kind::Fill => {
                let (column, set) = statement.sets().next().ok_or_else(unknown)?;
                let revision = (place("revision")?, Source::of(statement.source("revision")));
                Act::Fill { column: (place(column)?, Source::of(set)), revision }
            }
        };
        Ok(Plan { table, key: statement.key().map(|(_, set)| Source::of(set)).collect(), act })
    }

    /// Writes what is held and holds nothing.
    pub(super) fn write(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        let transaction = connection.transaction()?;
        for rows in &mut self.tables {
            rows.write(&transaction)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

impl Held {
    fn changed(&mut self) {
        if self.origin == Origin::Read {
            self.origin = Origin::Changed;
        }
    }
}

impl Rows {
    /// Holds a row.
    fn hold(&mut self, key: &[u8], values: impl Iterator<Item = Value>, origin: Origin) {
        let values: Box<[Value]> = values.collect();
        let texts: usize = values.iter().map(text_bytes).sum();
        self.held_bytes += ROW_OVERHEAD + key.len() + std::mem::size_of_val(&*values) + texts;
        self.held.insert(key.into(), Held { values, origin });
    }

    /// Makes sure that the row of a key is held, if there is one in the file.
    fn see(
        &mut self,
        connection: &Connection,
        key: &[u8],
        sources: &[Source],
        parameters: &[Value],
    ) -> Result<(), StoreError> {
        if self.held.get(key).is_some_and(|held| held.origin != Origin::Unseen) {
            return Ok(());
        }
        let conditions: Vec<String> =
            self.table.key.iter().zip(1..).map(|(column, place)| format!("{column} = ${place}")).collect();
        let sql = format!("SELECT * FROM {} WHERE {}", self.table.name, conditions.join(" AND "));
        let mut statement = connection.prepare_cached(&sql)?;
        let mut found = statement.query(params_from_iter(sources.iter().map(|source| source.look(parameters))))?;
        match found.next()? {
            Some(row) => {
                let values: Vec<Value> =
                    (0..self.columns.len()).map(|column| value_of(row.get_ref(column)?)).collect::<Result<_, _>>()?;
                self.hold(key, values.into_iter(), Origin::Read);
            }
            None => {
                if let Some(held) = self.held.get_mut(key) {
                    held.origin = Origin::Fresh;
                }
            }
        }
        Ok(())
    }

    /// Writes what is held, in the order of the keys, and holds nothing.
    fn write(&mut self, connection: &Connection) -> Result<(), StoreError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let unwritten = self.held.drain().filter(|(_, held)| held.origin != Origin::Read);
        let mut rows: Vec<(u128, Box<[u8]>, Held)> = unwritten.map(|(key, held)| (leading(&key), key, held)).collect();
        rows.sort_unstable_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        let places: Vec<String> = (1..=self.columns.len()).map(|place| format!("${place}")).collect();
        let into = format!("INTO {} VALUES ({})", self.table.name, places.join(", "));
        let mut insert = connection.prepare(&format!("INSERT {into}"))?;
        let mut unless = connection.prepare(&format!("INSERT {into} ON CONFLICT DO NOTHING"))?;
        let mut replace = connection.prepare(&format!("REPLACE {into}"))?;
        for (_, _, held) in &rows {
            let statement = match held.origin {
                Origin::Fresh => &mut insert,
                Origin::Unseen => &mut unless,
                Origin::Read | Origin::Changed => &mut replace,
            };
            statement.execute(params_from_iter(held.values.iter()))?;
        }
        self.written = true;
        self.held_bytes = 0;
        Ok(())
    }
}

/// The bytes of a key: equal for equal values only, and in the order of keys where their parts have one length.
fn encode(key: &mut Vec<u8>, value: &Value) {
    let (kind, bytes): (u8, &[u8]) = match value {
        Value::Null => (0, &[]),
        Value::Int(value) => {
            key.push(1);
            // The sign turned, so that negative numbers come first.
            key.extend_from_slice(&(value.cast_unsigned() ^ (1 << 63)).to_be_bytes());
            return;
        }
        Value::Text(text) => (2, text.as_bytes()),
        Value::Name(text) => (2, text.as_bytes()),
        Value::Shared(text) => (2, text.as_bytes()),
        Value::Id(id) => (3, id.as_bytes()),
        Value::Bytes(bytes) => (3, bytes),
    };
    key.push(kind);
    key.extend_from_slice(&(bytes.len() as u64).to_be_bytes()[4..]);
    key.extend_from_slice(bytes);
}

/// The bytes behind the kind and length of the first part of a key: they decide the order of almost all keys of a table
/// whose first part has one length, and make only others come in another order than that of the table.
fn leading(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let rest = key.get(5..).unwrap_or_default();
    let count = rest.len().min(16);
    bytes[..count].copy_from_slice(&rest[..count]);
    u128::from_be_bytes(bytes)
}

/// Compares numbers column by column, as SQL compares rows; what is not a number is not greater.
fn greater<'a>(one: impl Iterator<Item = &'a Value>, other: impl Iterator<Item = &'a Value>) -> bool {
    for pair in one.zip(other) {
        match pair {
            (Value::Int(one), Value::Int(other)) if one == other => {}
            (Value::Int(one), Value::Int(other)) => return one > other,
            _ => return false,
        }
    }
    false
}

fn text_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.capacity(),
        Value::Bytes(bytes) => bytes.capacity(),
        Value::Null | Value::Int(_) | Value::Name(_) | Value::Shared(_) | Value::Id(_) => 0,
    }
}

#[cfg(test)]
mod tests;
