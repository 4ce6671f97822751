//! Rows folded in memory while a fresh file is filled, from changes in the order of the log, each once.
//!
//! **Invariant:** a statement means here what its SQL text means: both follow from one [`Statement`], and a property
//! test holds them together. Memory is bounded: what is held is written when it grows over its bound. Afterwards a row
//! that is not held may be in the file. Where the file finds it by its key it is read from there before anything depends
//! on it; where it does not yet, the statement waits until it does, with all later ones about that row.

use rusqlite::{Connection, params_from_iter};
use rustc_hash::FxHashMap;

use self::held::{Origin, text_bytes};
use self::rows::{Found, Rows};
use crate::projection::{Changes, Step};
use crate::registry;
use crate::statement::{Kind, Set, Statement, columns};
use crate::store::StoreError;
use crate::value::Value;

mod held;
mod rows;

/// What a statement that waits takes beside its parameters, in bytes.
const LATE_OVERHEAD: usize = 48;

/// Rows that are not written yet.
pub(super) struct Fold {
    tables: Vec<Rows>,
    /// By the address of the statement.
    plans: FxHashMap<usize, Plan>,
    /// Statements about rows that are in the file already, where nothing finds them yet.
    late: Vec<(&'static Statement, Box<[Value]>)>,
    late_bytes: usize,
    most_bytes: usize,
}

/// A statement with its columns found.
struct Plan {
    table: usize,
    /// Where the values of the key come from.
    key: Vec<Source>,
    act: Act,
}

enum Act {
    Add(Vec<Source>),
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
        let tables = registry::tables().map(|table| Rows::new(connection, table)).collect::<Result<_, _>>()?;
        Ok(Self { tables, plans: FxHashMap::default(), late: Vec::new(), late_bytes: 0, most_bytes })
    }

    /// Carries out changes.
    pub(super) fn apply(&mut self, connection: &mut Connection, changes: &mut Changes) -> Result<(), StoreError> {
        changes.drain(|step, parameters| match step {
            Step::Row(statement) => self.step(connection, statement, parameters),
            Step::Sql(sql) => {
                self.write(connection)?;
                connection.prepare_cached(sql)?.execute(params_from_iter(&*parameters))?;
                // It may have changed any row.
                self.tables.iter_mut().for_each(Rows::changed_in_file);
                Ok(())
            }
        })?;
        if self.late_bytes > self.most_bytes / 4 {
            self.write_late(connection)?;
        }
        self.write_largest(connection)
    }

    /// Writes what need not stay, then the tables that hold most until the rest is within the bound: rows that many
    /// events change stay longest.
    fn write_largest(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        for rows in &mut self.tables {
            rows.write_settled(connection, self.most_bytes)?;
        }
        while self.tables.iter().map(Rows::bytes).sum::<usize>() > self.most_bytes {
            let Some(rows) = self.tables.iter_mut().max_by_key(|rows| rows.bytes()) else { return Ok(()) };
            rows.write(connection)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        connection: &mut Connection,
        statement: &'static Statement,
        parameters: &mut [Value],
    ) -> Result<(), StoreError> {
        let address = std::ptr::from_ref(statement).addr();
        if !self.plans.contains_key(&address) {
            let plan = self.plan(statement)?;
            if matches!(plan.act, Act::Insert(_) | Act::Upsert { .. }) && self.tables[plan.table].is_unindexed() {
                // Whether there is a row decides what is done: the file has to tell.
                self.write(connection)?;
                self.tables[plan.table].index(connection)?;
            }
            self.plans.insert(address, plan);
        }
        let Some(plan) = self.plans.get(&address) else { return Ok(()) };
        let rows = &mut self.tables[plan.table];
        if let Act::Add(row) = &plan.act {
            rows.add(row.iter().map(|source| source.take(parameters)));
            return Ok(());
        }
        let key = plan.key.iter().map(|source| source.look(parameters));
        if let Act::Insert(row) = &plan.act {
            if let Some(origin) = rows.find_for_insert(key) {
                rows.hold(row.iter().map(|source| source.take(parameters)), origin);
            }
            return Ok(());
        }
        let found = rows.find(connection, key)?;
        if let Found::Unknown = found {
            self.late_bytes += LATE_OVERHEAD + std::mem::size_of_val(parameters);
            self.late_bytes += parameters.iter().map(text_bytes).sum::<usize>();
            self.late.push((statement, parameters.iter_mut().map(std::mem::take).collect()));
            return Ok(());
        }
        let held = rows.of(&found);
        match (&plan.act, held) {
            (Act::Upsert { row, .. }, None) => {
                rows.hold(row.iter().map(|source| source.take(parameters)), Origin::Fresh);
            }
            (Act::Upsert { row, by, sets, fills }, Some((held, place))) => {
                let given = by.iter().map(|column| row[*column].look(parameters));
                if greater(given, by.iter().map(|column| &held.row(place)[*column])) {
                    // In the order of this list, which is not that of the row: nothing is taken.
                    for column in sets {
                        held.set(place, *column, row[*column].look(parameters).clone());
                    }
                    for column in fills {
                        let value = row[*column].look(parameters).clone();
                        if value != Value::Null {
                            held.set(place, *column, value);
                        }
                    }
                }
            }
            (Act::Update { sets, revision: (column, revision) }, Some((held, place)))
                if greater([revision.look(parameters)].into_iter(), [&held.row(place)[*column]].into_iter()) =>
            {
                for (column, source) in sets {
                    held.set(place, *column, source.take(parameters));
                }
            }
            (Act::Fill { column: (column, source), revision: (revision_column, revision) }, Some((held, place))) => {
                let row = held.row(place);
                if row[*column] == Value::Null
                    && greater([revision.look(parameters)].into_iter(), [&row[*revision_column]].into_iter())
                {
                    held.set(place, *column, source.take(parameters));
                }
            }
            _ => {}
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
            Kind::Add => Act::Add(row()),
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
        for rows in &mut self.tables {
            rows.write(connection)?;
        }
        self.write_late(connection)
    }

    /// Carries out what came too late for its row.
    fn write_late(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        if self.late.is_empty() {
            return Ok(());
        }
        for rows in &mut self.tables {
            if self.late.iter().any(|(statement, _)| statement.table == rows.table.name) {
                rows.write(connection)?;
                rows.index(connection)?;
            }
        }
        let transaction = connection.transaction()?;
        for (statement, parameters) in self.late.drain(..) {
            transaction.prepare_cached(statement.sql())?.execute(params_from_iter(parameters.iter()))?;
        }
        transaction.commit()?;
        self.late_bytes = 0;
        Ok(())
    }

    /// Writes what is held and makes the indexes of keys that are missing.
    pub(super) fn finish(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        self.write(connection)?;
        self.tables.iter_mut().try_for_each(|rows| rows.index(connection))
    }
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

#[cfg(test)]
mod tests;
