//! Statements with their columns found: what they mean for a row that is in memory.
//!
//! **Invariant:** a statement means here what its SQL text means: both follow from one [`Statement`], and property tests
//! hold them together.

use crate::statement::{Kind, Set, Statement, columns};
use crate::store::StoreError;
use crate::value::Value;

/// A statement with its columns found.
pub(super) struct Plan {
    /// Which table, among all.
    pub(super) table: usize,
    /// Where the values of the key come from.
    pub(super) key: Vec<Source>,
    /// What it does.
    pub(super) act: Act,
}

/// What a statement does, with places of columns in the row.
pub(super) enum Act {
    Add(Vec<Source>),
    Insert(Vec<Source>),
    Upsert { row: Vec<Source>, by: Vec<usize>, sets: Vec<usize>, fills: Vec<usize> },
    Update { sets: Vec<(usize, Source)>, revision: (usize, Source) },
    Fill { column: (usize, Source), revision: (usize, Source) },
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
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

    /// The value.
    pub(super) fn look<'a>(&'a self, parameters: &'a [Value]) -> &'a Value {
        match self {
            Self::Given(place) | Self::Taken(place) => parameters.get(*place).unwrap_or(&Value::Null),
            Self::Fixed(value) => value,
        }
    }

    /// The value, moved where nothing else of the statement needs it.
    pub(super) fn take(&self, parameters: &mut [Value]) -> Value {
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

/// A row in memory.
pub(super) trait RowInMemory {
    /// Its values.
    fn values(&self) -> &[Value];

    /// Sets a column.
    fn set(&mut self, column: usize, value: Value);
}

impl Plan {
    /// Finds the columns of a statement. `tables` gives name and columns of each table.
    pub(super) fn of<'a>(
        statement: &'static Statement,
        mut tables: impl Iterator<Item = (&'static str, &'a [String])>,
    ) -> Result<Self, StoreError> {
        let unknown = || StoreError::Refused(format!("{} has no such table or column", statement.table));
        let found = tables.by_ref().enumerate().find(|(_, (name, _))| *name == statement.table);
        let (table, (_, all)) = found.ok_or_else(unknown)?;
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
        Ok(Self { table, key: statement.key().map(|(_, set)| Source::of(set)).collect(), act })
    }
}

impl Act {
    /// What becomes of the row of the key, which is there.
    pub(super) fn change(&self, row: &mut impl RowInMemory, parameters: &mut [Value]) {
        match self {
            Self::Add(_) | Self::Insert(_) => {}
            Self::Upsert { row: given, by, sets, fills } => {
                let newer = by.iter().map(|column| given[*column].look(parameters));
                if greater(newer, by.iter().map(|column| &row.values()[*column])) {
                    // In the order of this list, which is not that of the row: nothing is taken.
                    for column in sets {
                        row.set(*column, given[*column].look(parameters).clone());
                    }
                    for column in fills {
                        let value = given[*column].look(parameters).clone();
                        if value != Value::Null {
                            row.set(*column, value);
                        }
                    }
                }
            }
            Self::Update { sets, revision: (column, revision) } => {
                if greater([revision.look(parameters)].into_iter(), [&row.values()[*column]].into_iter()) {
                    for (column, source) in sets {
                        row.set(*column, source.take(parameters));
                    }
                }
            }
            Self::Fill { column: (column, source), revision: (revision_column, revision) } => {
                let values = row.values();
                if values[*column] == Value::Null
                    && greater([revision.look(parameters)].into_iter(), [&values[*revision_column]].into_iter())
                {
                    row.set(*column, source.take(parameters));
                }
            }
        }
    }

    /// The row that is made where there is none of the key.
    pub(super) fn made(&self) -> Option<&[Source]> {
        match self {
            Self::Add(row) | Self::Insert(row) | Self::Upsert { row, .. } => Some(row),
            Self::Update { .. } | Self::Fill { .. } => None,
        }
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
