//! Rows folded in memory while a fresh file is filled, from changes in the order of the log, each once.
//!
//! **Invariant:** a statement means here what its SQL text means: both follow from one [`Statement`], and a property
//! test holds them together. Memory is bounded: what is held is written when it grows over its bound. Afterwards a row
//! that is not held may be in the file. Where the file finds it by its key it is read from there before anything depends
//! on it; where it does not yet, the statement waits until it does, with all later ones about that row.

use rusqlite::{Connection, params_from_iter};
use rustc_hash::FxHashMap;

use self::held::{Held, Origin, text_bytes};
use self::rows::{Found, Rows};
use crate::projection::{Changes, Step};
use crate::registry;
use crate::statement::Statement;
use crate::store::StoreError;
use crate::store::plan::{Act, Plan, RowInMemory};
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
        match held {
            Some((held, place)) => plan.act.change(&mut HeldRow { held, place }, parameters),
            None => {
                if let Some(row) = plan.act.made() {
                    rows.hold(row.iter().map(|source| source.take(parameters)), Origin::Fresh);
                }
            }
        }
        Ok(())
    }

    fn plan(&self, statement: &'static Statement) -> Result<Plan, StoreError> {
        Plan::of(statement, self.tables.iter().map(|rows| (rows.table.name, rows.columns.as_slice())))
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

/// A row that is held.
struct HeldRow<'a> {
    held: &'a mut Held,
    place: usize,
}

impl RowInMemory for HeldRow<'_> {
    fn values(&self) -> &[Value] {
        self.held.row(self.place)
    }

    fn set(&mut self, column: usize, value: Value) {
        self.held.set(self.place, column, value);
    }
}

#[cfg(test)]
mod tests;
