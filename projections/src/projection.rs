//! The projection trait: a pure fold from decoded events to changes of rows.
//!
//! **Invariant:** no clock, no reads, no effects. A row is written from one stream only and carries the revision last
//! applied to it; each statement is guarded by it, so that an event delivered again or late changes nothing
//! (design invariant 7).

use events::codec::Decoded;
use events::envelope::Category;

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
    /// `CREATE TABLE` in the common part of SQLite and PostgreSQL; every table has a primary key.
    pub create: &'static str,
    /// The columns of the primary key, in its order: the order of the state hash.
    pub key: &'static [&'static str],
    /// `CREATE INDEX` statements, made last in a rebuild.
    pub indexes: &'static [&'static str],
    /// What is personal in it and how it is erased.
    pub personal: PersonalColumns,
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

/// A statement with its parameters in a [`Changes`].
#[derive(Debug, Clone)]
struct Change {
    sql: &'static str,
    parameters: usize,
}

/// Changes of rows: static SQL texts with parameters, in order. Parameters are written `$1`, `$2`, … in the order in
/// which they first appear, which both engines number alike.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    changes: Vec<Change>,
    parameters: Vec<Value>,
}

impl Changes {
    /// Room for the changes of about so many events.
    #[must_use]
    pub fn with_capacity(events: usize) -> Self {
        Self { changes: Vec::with_capacity(events * 4), parameters: Vec::with_capacity(events * 40) }
    }

    /// Adds a statement.
    pub fn push<const N: usize>(&mut self, sql: &'static str, parameters: [Value; N]) {
        self.changes.push(Change { sql, parameters: N });
        self.parameters.extend(parameters);
    }

    /// How many statements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The statements with their parameters, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[Value])> {
        let mut start = 0;
        self.changes.iter().map(move |change| {
            let parameters = &self.parameters[start..start + change.parameters];
            start += change.parameters;
            (change.sql, parameters)
        })
    }
}

#[cfg(test)]
mod tests;
