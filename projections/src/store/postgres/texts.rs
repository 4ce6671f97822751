//! The SQL of PostgreSQL alone: many rows in one statement.
//!
//! **Invariant:** a text made here does to each of its rows what the common text of the statement does to one: same key,
//! same guard. A statement may not meet a row twice; whoever gathers rows keeps to that.

use crate::projection::Table;
use crate::registry;
use crate::statement::{Newer, columns};

/// A table with its texts.
pub(super) struct TableTexts {
    pub(super) table: &'static Table,
    /// In the order of `CREATE TABLE`.
    pub(super) columns: Vec<String>,
    /// Places of the key's columns, in the order of the key.
    pub(super) key: Vec<usize>,
    /// Inserts rows unless there is one of their key; a parameter per column, an array each.
    pub(super) insert: String,
    /// Reads the rows of keys and keeps others from changing them; a parameter per column of the key.
    pub(super) lock: String,
    /// Sets all columns of rows that are there; parameters as for `insert`.
    pub(super) replace: String,
    /// The beginning of `insert`, before what is done when a row is there.
    inserted: String,
}

/// Names and types of the columns of a `CREATE TABLE` text.
fn columns_of(create: &'static str) -> Vec<(&'static str, &'static str)> {
    let inside = create.split_once('(').map_or("", |(_, inside)| inside);
    let inside = inside.split("PRIMARY KEY").next().unwrap_or_default();
    let column = |text: &'static str| {
        let mut words = text.split_whitespace();
        Some((words.next()?, words.next()?.trim_end_matches(')')))
    };
    inside.split(',').filter_map(column).collect()
}

/// The text with texts ordered by their bytes, as SQLite orders them, whatever the database was made with.
pub(super) fn created(create: &str) -> String {
    create.replace(" TEXT", " TEXT COLLATE \"C\"")
}

impl TableTexts {
    fn of(table: &'static Table) -> Self {
        let all = columns_of(table.create);
        let name = table.name;
        let key: Vec<usize> =
            table.key.iter().filter_map(|key| all.iter().position(|(column, _)| column == key)).collect();
        let arrays = |places: &[usize]| {
            let array = |(place, number): (&usize, usize)| format!("${number}::{}[]", all[*place].1);
            let names = places.iter().map(|place| all[*place].0).collect::<Vec<_>>().join(", ");
            format!("unnest({}) AS u ({names})", places.iter().zip(1..).map(array).collect::<Vec<_>>().join(", "))
        };
        let every: Vec<usize> = (0..all.len()).collect();
        let names = all.iter().map(|(column, _)| *column).collect::<Vec<_>>().join(", ");
        let same = table.key.iter().map(|column| format!("t.{column} = u.{column}")).collect::<Vec<_>>().join(" AND ");
        let keys = table.key.iter().map(|column| format!("t.{column}")).collect::<Vec<_>>().join(", ");
        let sets = every.iter().filter(|place| !key.contains(place)).map(|place| all[*place].0);
        let sets = sets.map(|column| format!("{column} = u.{column}")).collect::<Vec<_>>().join(", ");
        let inserted = format!(
            "INSERT INTO {name} ({names}) SELECT {names} FROM {} ON CONFLICT ({}) ",
            arrays(&every),
            table.key.join(", ")
        );
        Self {
            table,
            columns: all.iter().map(|(column, _)| (*column).to_owned()).collect(),
            insert: format!("{inserted}DO NOTHING"),
            lock: format!(
                "SELECT t.* FROM {} JOIN {name} t ON {same} ORDER BY {keys} FOR NO KEY UPDATE OF t",
                arrays(&key)
            ),
            replace: format!("UPDATE {name} t SET {sets} FROM {} WHERE {same}", arrays(&every)),
            key,
            inserted,
        }
    }

    /// Inserts rows or changes those of their keys where they are newer; parameters as for `insert`.
    pub(super) fn upsert(&self, newer: &Newer) -> String {
        let name = self.table.name;
        let sets = columns(newer.sets).map(|column| format!("{column} = excluded.{column}"));
        let fills =
            columns(newer.fills).map(|column| format!("{column} = coalesce(excluded.{column}, {name}.{column})"));
        let of = |side: &str| columns(newer.by).map(|column| format!("{side}.{column}")).collect::<Vec<_>>().join(", ");
        let sets = sets.chain(fills).collect::<Vec<_>>().join(", ");
        format!("{}DO UPDATE SET {sets} WHERE ({}) > ({})", self.inserted, of("excluded"), of(name))
    }
}

/// Every table of every projection.
pub(super) fn tables() -> Vec<TableTexts> {
    registry::tables().map(TableTexts::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_name_every_column_with_its_type_and_guard_like_the_common_ones() {
        let all = tables();
        let table = all.iter().find(|table| table.table.name == "read_state").unwrap();
        assert_eq!(
            table.insert,
            "INSERT INTO read_state (conversation, operator, tenant, up_to, read_at, revision) \
             SELECT conversation, operator, tenant, up_to, read_at, revision FROM \
             unnest($1::BYTEA[], $2::TEXT[], $3::TEXT[], $4::BIGINT[], $5::BIGINT[], $6::BIGINT[]) AS u \
             (conversation, operator, tenant, up_to, read_at, revision) ON CONFLICT (conversation, operator) DO NOTHING"
        );
        let newer = Newer { by: "up_to, revision", sets: "up_to", fills: "read_at" };
        assert!(table.upsert(&newer).ends_with(
            "DO UPDATE SET up_to = excluded.up_to, read_at = coalesce(excluded.read_at, read_state.read_at) \
             WHERE (excluded.up_to, excluded.revision) > (read_state.up_to, read_state.revision)"
        ));
        assert_eq!(
            table.lock,
            "SELECT t.* FROM unnest($1::BYTEA[], $2::TEXT[]) AS u (conversation, operator) JOIN read_state t \
             ON t.conversation = u.conversation AND t.operator = u.operator \
             ORDER BY t.conversation, t.operator FOR NO KEY UPDATE OF t"
        );
        assert!(table.replace.starts_with("UPDATE read_state t SET tenant = u.tenant, up_to = u.up_to, "));
        let wide = all.iter().find(|table| table.table.name == "entry").unwrap();
        assert_eq!((wide.columns.len(), wide.key.as_slice()), (22, &[0, 1][..]));
    }
}
