//! The projection trait: a pure fold from decoded events to changes of rows.
//!
//! **Invariant:** no clock, no reads, no effects. A row is written from one stream only and carries the revision last
//! applied to it; each statement is guarded by it, so that an event delivered again or late changes nothing
//! (design invariant 7).

use events::codec::Decoded;
use events::envelope::Category;

use crate::statement::Statement;
use crate::store::StoreError;
use crate::value::Value;

/// A fold from events to rows.
pub trait Projection: Send + Sync {
    /// Stable name.
    fn name(&self) -> &'static str;

    /// Grows whenever the tables or their meaning change; then the read models are rebuilt.
    fn version(&self) -> u32;

    /// The tables it writes.
    fn tables(&self) -> &'static [Table];

    /// The categories of the streams it reads.
    fn categories(&self) -> &'static [Category];

    /// Adds to `changes` what the event changes. A personal field that is not open counts as erased.
    fn apply(&self, event: &Decoded, changes: &mut Changes);
}

/// A table of a projection: its form and what is personal in it.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// `CREATE TABLE` in the common part of SQLite and PostgreSQL. A table in the order of its key names its primary key;
    /// one in the order of arrival gets a unique index of it from the store, which a rebuild makes after the rows.
    pub create: &'static str,
    /// The columns that no two rows have alike, in their order: the order of the state hash.
    pub key: &'static [&'static str],
    /// How its rows lie in the file.
    pub order: RowOrder,
    /// `CREATE INDEX` statements, made last in a rebuild.
    pub indexes: &'static [&'static str],
    /// What is personal in it and how it is erased.
    pub personal: PersonalColumns,
}

/// How the rows of a table lie in the file of an engine that knows both; PostgreSQL keeps them as they arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// In the tree of their key: for small rows, and rows that are read by the first columns of the key.
    Key,
    /// As they arrive, with an index of the key beside them: for wide rows with random keys, of which every one would
    /// have a page of its own written, and often one above it.
    Arrival,
}

/// What is personal in a table, and how it is masked and erased (design invariant 13).
#[derive(Debug)]
pub enum PersonalColumns {
    /// Nothing personal: pseudonymous ids, times, states.
    None,
    /// Personal columns.
    Columns {
        /// Their names.
        columns: &'static [&'static str],
        /// Who sees them in full, and how others see them.
        masked: Masking,
        /// The statements that erase them.
        erased: &'static [Erasure],
    },
}

/// Who sees a personal column in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masking {
    /// Addresses inside are masked for an agent ([`crate::mask`]).
    Addresses,
    /// Everybody who may see the row: an agent cannot work without it.
    Open,
}

/// A statement that erases the personal columns of one person or conversation.
#[derive(Debug)]
pub enum Erasure {
    /// `$1` is the contact point, `$2` the number of the occupancy.
    OfOccupancy(&'static str),
    /// `$1` is the conversation: a group whose last customer is erased.
    OfConversation(&'static str),
}

/// What a step of [`Changes`] does.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// What projections do.
    Row(&'static Statement),
    /// Any SQL text: erasures. Parameters are written `$1`, `$2`, … in the order in which they first appear, which
    /// both engines number alike.
    Sql(&'static str),
}

impl Step {
    /// The text.
    #[must_use]
    pub fn sql(self) -> &'static str {
        match self {
            Self::Row(statement) => statement.sql(),
            Self::Sql(sql) => sql,
        }
    }
}

/// Changes of rows: statements with their parameters, in order.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Each with the number of its parameters.
    steps: Vec<(Step, usize)>,
    parameters: Vec<Value>,
}

impl Changes {
    /// Room for the changes of about so many events.
    #[must_use]
    pub fn with_capacity(events: usize) -> Self {
        Self { steps: Vec::with_capacity(events * 2), parameters: Vec::with_capacity(events * 16) }
    }

    /// Adds a statement.
    pub fn push<const N: usize>(&mut self, statement: &'static Statement, parameters: [Value; N]) {
        debug_assert_eq!(N, statement.parameters(), "parameters of {statement:?}");
        self.steps.push((Step::Row(statement), N));
        self.parameters.extend(parameters);
    }

    /// Adds a statement that no projection makes.
    pub fn push_sql<const N: usize>(&mut self, sql: &'static str, parameters: [Value; N]) {
        self.steps.push((Step::Sql(sql), N));
        self.parameters.extend(parameters);
    }

    /// How many statements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The statements with their parameters, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Step, &[Value])> {
        let mut start = 0;
        self.steps.iter().map(move |(step, count)| {
            let parameters = &self.parameters[start..start + count];
            start += count;
            (*step, parameters)
        })
    }

    /// Takes the statements in order, with parameters that may be taken, and leaves room for others.
    pub(crate) fn drain(
        &mut self,
        mut act: impl FnMut(Step, &mut [Value]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut rest = self.parameters.as_mut_slice();
        for (step, count) in self.steps.drain(..) {
            let (parameters, others) = std::mem::take(&mut rest).split_at_mut(count);
            rest = others;
            act(step, parameters)?;
        }
        self.parameters.clear();
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
