//! What projections do to rows, described once: the SQL text and the meaning in memory follow from it.
//!
//! **Invariant:** a statement touches one row, the one of its key, and changes nothing that was written by the same
//! or a later event (design invariant 7). There are five kinds and no others, so that a rebuild can fold rows in
//! memory and write each once.

use std::sync::OnceLock;

use crate::registry;

/// Where the value of a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// The parameter of this place, from 1.
    Given(usize),
    /// This text.
    Text(&'static str),
    /// This number.
    Number(i64),
    /// Nothing.
    Null,
}

/// When and how a row that is there gives way to the one given. Columns are listed with commas between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newer {
    /// Only if the columns given here, taken together, are greater than those of the row.
    pub by: &'static str,
    /// Columns that are set.
    pub sets: &'static str,
    /// Columns that are set if what is given is not null.
    pub fills: &'static str,
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Adds a row that belongs to one event alone: no other has one of its key. Delivered again to live read models it
    /// changes nothing; a rebuild reads each event once.
    Add,
    /// Adds a row unless there is one of its key.
    Insert,
    /// Adds a row, or changes the one of its key if this is newer.
    Upsert(Newer),
    /// Changes the row of the key, if there is one and its `revision` is less than the one given.
    Update,
    /// The same for one column that holds nothing; the revision stays as it is. Not an update of all columns, since that
    /// would write the indexes of this one anew each time.
    Fill,
}

/// A change of one row of a table.
#[derive(Debug)]
pub struct Statement {
    pub(crate) table: &'static str,
    pub(crate) kind: Kind,
    /// The columns of the first parameters, in their order.
    given: &'static str,
    /// The others.
    fixed: &'static [(&'static str, Set)],
    sql: OnceLock<String>,
}

/// The columns of a list.
pub(crate) fn columns(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.split(',').map(str::trim).filter(|column| !column.is_empty())
}

impl Statement {
    /// Adds a row that belongs to one event alone: no other event has one of its key. `given` lists the columns of the
    /// parameters with commas between them, `fixed` the others.
    #[must_use]
    pub const fn add(table: &'static str, given: &'static str, fixed: &'static [(&'static str, Set)]) -> Self {
        Self { table, kind: Kind::Add, given, fixed, sql: OnceLock::new() }
    }

    /// Adds a row unless there is one of its key.
    #[must_use]
    pub const fn insert(table: &'static str, given: &'static str, fixed: &'static [(&'static str, Set)]) -> Self {
        Self { table, kind: Kind::Insert, given, fixed, sql: OnceLock::new() }
    }

    /// Adds a row, or changes the one of its key if this is newer.
    #[must_use]
    pub const fn upsert(
        table: &'static str,
        given: &'static str,
        fixed: &'static [(&'static str, Set)],
        newer: Newer,
    ) -> Self {
        Self { table, kind: Kind::Upsert(newer), given, fixed, sql: OnceLock::new() }
    }

    /// Changes the row of the key that follows the columns given among the parameters, if its revision is less than
    /// the one given.
    #[must_use]
    pub const fn update(table: &'static str, given: &'static str, fixed: &'static [(&'static str, Set)]) -> Self {
        Self { table, kind: Kind::Update, given, fixed, sql: OnceLock::new() }
    }

    /// Sets the first column given in the row of the key that follows the columns given among the parameters, if it holds
    /// nothing and the revision of the row is less than the one given.
    #[must_use]
    pub const fn fill(table: &'static str, given: &'static str) -> Self {
        Self { table, kind: Kind::Fill, given, fixed: &[], sql: OnceLock::new() }
    }

    /// Every column that it writes, with where its value comes from.
    pub(crate) fn sets(&self) -> impl Iterator<Item = (&'static str, Set)> {
        let given = columns(self.given).zip(1..).map(|(column, place)| (column, Set::Given(place)));
        given.chain(self.fixed.iter().copied())
    }

    /// The columns of the key, with where their values come from.
    pub(crate) fn key(&self) -> impl Iterator<Item = (&'static str, Set)> {
        let first = columns(self.given).count() + 1;
        let key = registry::tables().find(|table| table.name == self.table).map_or(&[][..], |table| table.key);
        key.iter().zip(first..).map(move |(column, place)| match self.kind {
            Kind::Update | Kind::Fill => (*column, Set::Given(place)),
            Kind::Add | Kind::Insert | Kind::Upsert(_) => (*column, self.source(column)),
        })
    }

    /// Where the value of a column comes from.
    pub(crate) fn source(&self, column: &str) -> Set {
        self.sets().find(|(name, _)| *name == column).map_or(Set::Null, |(_, set)| set)
    }

    /// How many parameters it takes.
    pub(crate) fn parameters(&self) -> usize {
        let given = columns(self.given).count();
        match self.kind {
            Kind::Update | Kind::Fill => given + self.key().count(),
            Kind::Add | Kind::Insert | Kind::Upsert(_) => given,
        }
    }

    /// The text, the same for SQLite and PostgreSQL. Parameters are numbered in the order in which they first appear.
    pub(crate) fn sql(&self) -> &str {
        self.sql.get_or_init(|| self.text())
    }

    fn text(&self) -> String {
        let table = self.table;
        let value = |set: Set| match set {
            Set::Given(place) => format!("${place}"),
            Set::Text(text) => format!("'{text}'"),
            Set::Number(number) => number.to_string(),
            Set::Null => "NULL".to_owned(),
        };
        let list = |items: Vec<String>, between: &str| items.join(between);
        let insert = || {
            let names: Vec<&str> = self.sets().map(|(column, _)| column).collect();
            let values = list(self.sets().map(|(_, set)| value(set)).collect(), ", ");
            let key: Vec<&str> = self.key().map(|(column, _)| column).collect();
            format!("INSERT INTO {table} ({}) VALUES ({values}) ON CONFLICT ({})", names.join(", "), key.join(", "))
        };
        match self.kind {
            Kind::Add | Kind::Insert => format!("{} DO NOTHING", insert()),
            Kind::Upsert(newer) => {
                let sets = columns(newer.sets).map(|column| format!("{column} = excluded.{column}"));
                let fills = columns(newer.fills)
                    .map(|column| format!("{column} = coalesce(excluded.{column}, {table}.{column})"));
                let of = |side: &str| list(columns(newer.by).map(|column| format!("{side}.{column}")).collect(), ", ");
                format!(
                    "{} DO UPDATE SET {} WHERE ({}) > ({})",
                    insert(),
                    list(sets.chain(fills).collect(), ", "),
                    of("excluded"),
                    of(table)
                )
            }
            Kind::Update | Kind::Fill => {
                let set = |(column, set): (&str, Set)| format!("{column} = {}", value(set));
                let (sets, empty) = match self.kind {
                    Kind::Fill => {
                        let first: Vec<(&str, Set)> = self.sets().take(1).collect();
                        let empty = first.iter().map(|(column, _)| format!(" AND {column} IS NULL")).collect();
                        (first.into_iter().map(set).collect(), empty)
                    }
                    _ => (self.sets().map(set).collect(), String::new()),
                };
                let key = self.key().map(set).collect();
                // In front of the key, whose parameters are the last: engines number them as they come.
                let revision = value(self.source("revision"));
                format!(
                    "UPDATE {table} SET {} WHERE revision < {revision} AND {}{empty}",
                    list(sets, ", "),
                    list(key, " AND ")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_read_as_the_sql_that_they_are() {
        static INSERT: Statement = Statement::insert(
            "participant",
            "conversation, contact, number, since",
            &[("active", Set::Number(1)), ("revision", Set::Given(4))],
        );
        assert_eq!(
            INSERT.sql(),
            "INSERT INTO participant (conversation, contact, number, since, active, revision) \
             VALUES ($1, $2, $3, $4, 1, $4) ON CONFLICT (conversation, contact, number) DO NOTHING"
        );
        static UPSERT: Statement = Statement::upsert(
            "read_state",
            "conversation, operator, up_to, revision",
            &[],
            Newer { by: "up_to, revision", sets: "up_to", fills: "revision" },
        );
        assert_eq!(
            UPSERT.sql(),
            "INSERT INTO read_state (conversation, operator, up_to, revision) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (conversation, operator) DO UPDATE SET up_to = excluded.up_to, \
             revision = coalesce(excluded.revision, read_state.revision) \
             WHERE (excluded.up_to, excluded.revision) > (read_state.up_to, read_state.revision)"
        );
        static UPDATE: Statement =
            Statement::update("occupancy", "kind, revision", &[("account", Set::Text("x")), ("normalised", Set::Null)]);
        assert_eq!(
            UPDATE.sql(),
            "UPDATE occupancy SET kind = $1, revision = $2, account = 'x', normalised = NULL \
             WHERE revision < $2 AND contact = $3 AND number = $4"
        );
        static FILL: Statement = Statement::fill("occupancy", "vacated_at, revision");
        assert_eq!(
            FILL.sql(),
            "UPDATE occupancy SET vacated_at = $1 WHERE revision < $2 AND contact = $3 AND number = $4 \
             AND vacated_at IS NULL"
        );
        assert_eq!((INSERT.parameters(), UPSERT.parameters(), UPDATE.parameters(), FILL.parameters()), (4, 4, 4, 4));
    }
}
