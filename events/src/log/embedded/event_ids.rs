//! Which ids the log has and where: the newest in memory, the others in a table sorted by id.
//!
//! **Invariant:** every event up to `reach` stands in the table `event_ids`, every later one in memory, so that an id that
//! is in neither is not in the log. What is in memory follows from the file: it is read anew whenever a session begins.
//!
//! Ids are random, so that a unique index over all events has a page to write for almost every event: half of all that
//! the log wrote. Here they are gathered in memory, some hundred thousand at a time, and then moved into the table in
//! their order, a few with each group: then many go to one page. (The idea is that of the first level of a log-structured
//! merge-tree: O'Neil et al., "The Log-Structured Merge-Tree", Acta Informatica 33, 1996.)

use std::collections::BTreeMap;
use std::ops::Bound;

use parking_lot::RwLock;
use rusqlite::{Connection, TransactionBehavior, params};

use crate::ids::EventId;

/// Ids moved to the table for each event that a group adds: at two, a full memory is moved before the next is full.
const MOVED_PER_EVENT: usize = 2;

/// The ids that are not in the table yet, or not known to be.
pub(super) struct EventIds {
    /// So many are gathered before they are moved.
    gathered: usize,
    memory: RwLock<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Added since the last ones were set aside; those of the transaction in progress included.
    recent: BTreeMap<u128, i64>,
    /// Being moved.
    moving: Option<Moving>,
    /// Every event up to this position stands in the table.
    reach: i64,
}

struct Moving {
    ids: BTreeMap<u128, i64>,
    /// Those up to this one are in the table, as far as the transaction in progress commits.
    moved_up_to: Option<u128>,
    /// The greatest position among them.
    reach: i64,
}

impl EventIds {
    /// Nothing known yet; `gathered` ids are moved together.
    pub(super) fn new(gathered: usize) -> Self {
        Self { gathered: gathered.max(1), memory: RwLock::default() }
    }

    /// Reads anew what the table does not have. What is more than is gathered is moved at once, so that neither memory nor
    /// the next opening grows with the number of restarts.
    pub(super) fn load(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut reach: i64 = transaction.query_row("SELECT position FROM event_ids_reach", [], |row| row.get(0))?;
        let mut recent = BTreeMap::new();
        {
            let mut later = transaction.prepare("SELECT event_id, position FROM events WHERE position > ?1")?;
            let mut rows = later.query([reach])?;
            while let Some(row) = rows.next()? {
                recent.insert(u128::from_be_bytes(row.get(0)?), row.get(1)?);
            }
        }
        if recent.len() >= self.gathered {
            insert(&transaction, &recent)?;
            reach = recent.values().copied().max().unwrap_or(reach);
            transaction.execute("UPDATE event_ids_reach SET position = ?1", [reach])?;
            recent.clear();
        }
        transaction.commit()?;
        *self.memory.write() = Memory { recent, moving: None, reach };
        Ok(())
    }

    /// The position of an event that the table need not have. That of the transaction in progress is among them.
    pub(super) fn in_memory(&self, id: EventId) -> Option<i64> {
        let (memory, id) = (self.memory.read(), id.uuid().as_u128());
        memory.recent.get(&id).or_else(|| memory.moving.as_ref()?.ids.get(&id)).copied()
    }

    /// True when the table is empty, so that nobody need look there.
    pub(super) fn all_in_memory(&self) -> bool {
        let memory = self.memory.read();
        memory.reach == 0 && memory.moving.is_none()
    }

    /// An event was written in the transaction in progress.
    pub(super) fn add(&self, id: EventId, position: i64) {
        self.memory.write().recent.insert(id.uuid().as_u128(), position);
    }

    /// Moves some ids into the table, within the transaction that adds `added` events. Nobody else changes what is in
    /// memory, and whoever looks for an id does not wait for the disk.
    pub(super) fn move_some(&self, connection: &Connection, added: usize) -> rusqlite::Result<()> {
        {
            let mut memory = self.memory.write();
            if memory.moving.is_none() && memory.recent.len() >= self.gathered {
                let ids = std::mem::take(&mut memory.recent);
                let reach = ids.values().copied().max().unwrap_or(memory.reach);
                memory.moving = Some(Moving { ids, moved_up_to: None, reach });
            }
        }
        let moved_up_to = {
            let memory = self.memory.read();
            let Some(moving) = &memory.moving else { return Ok(()) };
            let after = moving.moved_up_to.map_or(Bound::Unbounded, Bound::Excluded);
            let next = moving.ids.range((after, Bound::Unbounded)).take(added * MOVED_PER_EVENT);
            let moved_up_to = insert(connection, next)?.or(moving.moved_up_to);
            if moving.ids.last_key_value().map(|(id, _)| *id) == moved_up_to {
                connection.prepare_cached("UPDATE event_ids_reach SET position = ?1")?.execute([moving.reach])?;
            }
            moved_up_to
        };
        if let Some(moving) = &mut self.memory.write().moving {
            moving.moved_up_to = moved_up_to;
        }
        Ok(())
    }

    /// The transaction was committed: what the table has from now on can go.
    pub(super) fn committed(&self) {
        let mut memory = self.memory.write();
        let last = |moving: &Moving| moving.ids.last_key_value().map(|(id, _)| *id);
        let done = memory.moving.as_ref().is_some_and(|moving| last(moving) == moving.moved_up_to);
        if done && let Some(moving) = memory.moving.take() {
            memory.reach = moving.reach;
        }
    }
}

/// Puts ids into the table, in their order; gives the last one.
fn insert<'a>(
    connection: &Connection,
    ids: impl IntoIterator<Item = (&'a u128, &'a i64)>,
) -> rusqlite::Result<Option<u128>> {
    // One that was moved before a restart is there already.
    let mut insert = connection.prepare_cached("INSERT INTO event_ids VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    let mut last = None;
    for (id, position) in ids {
        insert.execute(params![id.to_be_bytes().as_slice(), position])?;
        last = Some(*id);
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: i64) -> EventId {
        // Spread, as digests are.
        EventId::new(Uuid::from_u128(
            u128::from(number.cast_unsigned()).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835),
        ))
    }

    fn file() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE events (position INTEGER PRIMARY KEY, event_id BLOB NOT NULL) STRICT;
                 CREATE TABLE event_ids (event_id BLOB PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;
                 CREATE TABLE event_ids_reach (position INTEGER NOT NULL) STRICT;
                 INSERT INTO event_ids_reach VALUES (0);",
            )
            .unwrap();
        connection
    }

    fn write(file: &Connection, ids: &EventIds, positions: std::ops::RangeInclusive<i64>) {
        let added = positions.clone().count();
        for position in positions {
            file.execute(
                "INSERT INTO events VALUES (?1, ?2)",
                params![position, id(position).uuid().as_bytes().as_slice()],
            )
            .unwrap();
            ids.add(id(position), position);
        }
        ids.move_some(file, added).unwrap();
    }

    fn position(file: &Connection, ids: &EventIds, wanted: EventId) -> Option<i64> {
        ids.in_memory(wanted).or_else(|| {
            let sql = "SELECT position FROM event_ids WHERE event_id = ?1";
            file.query_row(sql, [wanted.uuid().as_bytes().as_slice()], |row| row.get(0)).ok()
        })
    }

    #[test]
    fn every_id_is_found_at_each_step_and_after_a_restart_at_each() {
        for groups in 0..40 {
            let (mut file, ids) = (file(), EventIds::new(10));
            ids.load(&mut file).unwrap();
            for group in 0..groups {
                write(&file, &ids, group * 3 + 1..=group * 3 + 3);
                ids.committed();
            }
            let again = EventIds::new(10);
            again.load(&mut file).unwrap();
            for place in 1..=groups * 3 {
                assert_eq!(position(&file, &ids, id(place)), Some(place), "after {groups} groups");
                assert_eq!(position(&file, &again, id(place)), Some(place), "reopened after {groups} groups");
            }
            assert_eq!(position(&file, &ids, id(groups * 3 + 1)), None);
            assert_eq!(ids.all_in_memory(), groups < 4);
        }
    }

    #[test]
    fn what_was_not_committed_is_forgotten_when_the_file_is_read_again() {
        let (mut file, ids) = (file(), EventIds::new(4));
        ids.load(&mut file).unwrap();
        write(&file, &ids, 1..=6);
        ids.committed();
        file.execute_batch("BEGIN").unwrap();
        write(&file, &ids, 7..=12);
        assert_eq!(ids.in_memory(id(12)), Some(12));
        file.execute_batch("ROLLBACK").unwrap();
        ids.load(&mut file).unwrap();
        assert_eq!(position(&file, &ids, id(12)), None);
        for place in 1..=6 {
            assert_eq!(position(&file, &ids, id(place)), Some(place));
        }
        write(&file, &ids, 7..=7);
        ids.committed();
        assert_eq!(position(&file, &ids, id(7)), Some(7));
    }

    #[test]
    fn neither_memory_nor_an_opening_grows_with_the_number_of_restarts() {
        let mut file = file();
        for restart in 0..20 {
            let ids = EventIds::new(100);
            ids.load(&mut file).unwrap();
            assert!(ids.memory.read().recent.len() < 100, "after {restart} restarts");
            // Never enough for a move to end.
            for position in restart * 60 + 1..=restart * 60 + 60 {
                assert_eq!(self::position(&file, &ids, id(position)), None);
                write(&file, &ids, position..=position);
                ids.committed();
            }
            for place in 1..=restart * 60 + 60 {
                assert_eq!(position(&file, &ids, id(place)), Some(place));
            }
        }
    }

    #[test]
    fn memory_stays_bounded() {
        let (mut file, ids) = (file(), EventIds::new(100));
        ids.load(&mut file).unwrap();
        for position in 1..=5_000 {
            write(&file, &ids, position..=position);
            ids.committed();
            let memory = ids.memory.read();
            assert!(memory.recent.len() <= 100, "{} gathered", memory.recent.len());
        }
        let in_table: i64 = file.query_row("SELECT count(*) FROM event_ids", [], |row| row.get(0)).unwrap();
        assert!(in_table >= 4_800, "{in_table} in the table");
    }
}
