//! Streams and types by their numbers, as one connection remembers them.
//!
//! **Invariant:** the writer gives the numbers and nobody from outside can choose them; they never change, so that what is
//! remembered stays right. Memory is bounded.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::schema::category_of;
use crate::envelope::StreamName;
use crate::ids::TenantId;

/// Names of streams that are remembered since there were as many the last time, beside those before.
const STREAM_NAMES: usize = 32 * 1024;

/// Streams read together when one comes up for the first time: numbers are given in the order of first events, so that
/// whoever reads the log from its start needs those next.
const STREAMS_AHEAD: i64 = 64;

/// What is remembered.
#[derive(Default)]
pub(super) struct Names {
    streams: FxHashMap<i64, StreamName>,
    older: FxHashMap<i64, StreamName>,
    /// The highest number that was read.
    highest: i64,
    types: FxHashMap<i64, Arc<str>>,
    tenants: FxHashMap<Box<str>, TenantId>,
}

impl Names {
    /// Remembers a stream.
    pub(super) fn remember(&mut self, number: i64, stream: &StreamName) {
        if self.streams.len() >= STREAM_NAMES {
            self.older = std::mem::take(&mut self.streams);
            self.tenants.clear();
        }
        self.streams.entry(number).or_insert_with(|| stream.clone());
    }

    /// The stream with a number; `None` when there is none, or its row is damaged.
    pub(super) fn stream(&mut self, connection: &Connection, number: i64) -> rusqlite::Result<Option<StreamName>> {
        if let Some(name) = self.streams.get(&number) {
            return Ok(Some(name.clone()));
        }
        if let Some(name) = self.older.remove(&number) {
            self.remember(number, &name);
            return Ok(Some(name));
        }
        let last = if number > self.highest { number.saturating_add(STREAMS_AHEAD) } else { number };
        let mut statement = connection.prepare_cached(
            "SELECT stream_no, category, tenant, id FROM streams WHERE stream_no BETWEEN ?1 AND ?2 ORDER BY stream_no",
        )?;
        let mut rows = statement.query([number, last])?;
        let mut found = None;
        while let Some(row) = rows.next()? {
            let at: i64 = row.get(0)?;
            self.highest = self.highest.max(at);
            // A damaged row is no stream, and no reason not to find another.
            let columns = (row.get(1), row.get::<_, Box<str>>(2), row.get::<_, [u8; 16]>(3));
            let (Ok(category), Ok(tenant), Ok(id)) = columns else { continue };
            let tenant = match self.tenants.get(&tenant) {
                Some(known) => Some(known.clone()),
                None => tenant.parse::<TenantId>().ok().inspect(|parsed| {
                    self.tenants.insert(tenant, parsed.clone());
                }),
            };
            let Some((category, tenant)) = category_of(category).zip(tenant) else { continue };
            let name = StreamName::new(category, tenant, Uuid::from_bytes(id));
            self.remember(at, &name);
            found = found.or_else(|| (at == number).then_some(name));
        }
        Ok(found)
    }

    /// The type with a number; `None` when there is none.
    pub(super) fn event_type(&mut self, connection: &Connection, number: i64) -> rusqlite::Result<Option<Arc<str>>> {
        if let Some(name) = self.types.get(&number) {
            return Ok(Some(Arc::clone(name)));
        }
        let name: Option<Arc<str>> = connection
            .prepare_cached("SELECT name FROM event_types WHERE type_no = ?1")?
            .query_row([number], |row| row.get(0))
            .optional()?;
        if let Some(name) = &name {
            self.types.insert(number, Arc::clone(name));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Category;
    use crate::log::embedded::schema::category_number;

    /// A table of streams with these rows.
    fn streams(rows: &str) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let table = "CREATE TABLE streams (stream_no INTEGER PRIMARY KEY, category INTEGER, tenant TEXT, id BLOB);";
        connection.execute_batch(&format!("{table}{rows}")).unwrap();
        connection
    }

    fn name(number: i64) -> StreamName {
        let tenant = if number % 2 == 0 { "acme" } else { "globex" };
        let id = Uuid::from_u128(u128::from(number.cast_unsigned()) << 64);
        StreamName::new(
            Category::ALL[usize::try_from(number).unwrap() % Category::ALL.len()],
            tenant.parse().unwrap(),
            id,
        )
    }

    #[test]
    fn each_stream_keeps_its_name_in_any_order_and_when_there_are_more_than_are_remembered() {
        let connection = streams("");
        let count = i64::try_from(STREAM_NAMES).unwrap() * 2 + 5_000;
        let mut insert = connection.prepare("INSERT INTO streams VALUES (?1, ?2, ?3, ?4)").unwrap();
        for number in 1..=count {
            let name = name(number);
            let category = category_number(name.category);
            insert.execute((number, category, name.tenant.as_str(), name.id.as_bytes().as_slice())).unwrap();
        }
        let mut names = Names::default();
        // From the start, then back and forth: from memory, from the older half, and read again one by one.
        let jumps = (1..=count).map(|step| step * 7_919 % count + 1);
        for number in (1..=count).chain(jumps).chain((1..=count).rev().step_by(3)) {
            assert_eq!(names.stream(&connection, number).unwrap(), Some(name(number)), "{number}");
            assert!(names.streams.len() + names.older.len() <= 2 * STREAM_NAMES + 64);
        }
        assert_eq!(names.stream(&connection, count + 1).unwrap(), None);
    }

    #[test]
    fn a_stream_that_comes_later_is_found_then() {
        let connection = streams("INSERT INTO streams VALUES (1, 1, 'acme', zeroblob(16))");
        let mut names = Names::default();
        assert!(names.stream(&connection, 1).unwrap().is_some());
        assert_eq!(names.stream(&connection, 2).unwrap(), None);
        connection.execute("INSERT INTO streams VALUES (2, 2, 'acme', zeroblob(16))", ()).unwrap();
        assert!(names.stream(&connection, 2).unwrap().is_some());
    }

    #[test]
    fn a_damaged_stream_is_none_and_hides_no_other() {
        let connection = streams(
            "INSERT INTO streams VALUES (1, 1, 'acme', zeroblob(16)), (2, 1, 'acme', zeroblob(15)),
                     (3, 99, 'acme', zeroblob(16)), (4, 1, 'No Slug', zeroblob(16)), (5, 1, 'acme', zeroblob(16))",
        );
        let mut names = Names::default();
        for (number, known) in [(1, true), (2, false), (3, false), (4, false), (5, true)] {
            assert_eq!(names.stream(&connection, number).unwrap().is_some(), known, "{number}");
        }
    }
}
