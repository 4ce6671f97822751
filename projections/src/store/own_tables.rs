//! The tables of the store itself, the same in every engine: checkpoints, versions, parked events.
//!
//! **Invariant:** a checkpoint that is less than the stored one of its part changes nothing.

use events::envelope::Position;
use events::feed::{Checkpoint, Part};

use crate::projection::{RowOrder, Table};
use crate::registry;
use crate::store::{ParkedEvent, StoreError};
use crate::value::{Value, values};

/// Name and version of the store's own tables, kept among those of the projections.
pub(super) const OWN: (&str, u32) = ("store", 2);

/// `CREATE TABLE` statements in the common part of SQLite and PostgreSQL.
pub(super) const OWN_TABLES: [&str; 3] = [
    "CREATE TABLE checkpoint (consumer TEXT NOT NULL, part TEXT NOT NULL, place BIGINT NOT NULL, \
        position BIGINT NOT NULL, PRIMARY KEY (consumer, part))",
    "CREATE TABLE projection (name TEXT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (name))",
    "CREATE TABLE parked (consumer TEXT NOT NULL, position BIGINT NOT NULL, tenant TEXT NOT NULL, \
        stream TEXT NOT NULL, revision BIGINT NOT NULL, event BYTEA NOT NULL, event_type TEXT NOT NULL, \
        reason TEXT NOT NULL, recorded_at BIGINT NOT NULL, PRIMARY KEY (consumer, position))",
];

pub(super) const PUT_CHECKPOINT: &str = "INSERT INTO checkpoint (consumer, part, place, position) \
    VALUES ($1, $2, $3, $4) \
    ON CONFLICT (consumer, part) DO UPDATE SET place = excluded.place, position = excluded.position \
    WHERE (excluded.position, excluded.place) > (checkpoint.position, checkpoint.place)";

pub(super) const CHECKPOINTS: &str = "SELECT part, place, position FROM checkpoint WHERE consumer = $1";

pub(super) const PARK: &str = "INSERT INTO parked \
    (consumer, position, tenant, stream, revision, event, event_type, reason, recorded_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (consumer, position) DO UPDATE SET reason = excluded.reason";

/// The parameters of [`PARK`].
pub(super) fn parked_row(consumer: &str, parked: &ParkedEvent) -> [Value; 9] {
    values![
        consumer.to_owned(),
        parked.position,
        parked.tenant.clone(),
        parked.stream.clone(),
        parked.revision,
        parked.event,
        parked.event_type.clone(),
        parked.reason.clone(),
        parked.recorded_at,
    ]
}

/// The parameters of [`PUT_CHECKPOINT`].
pub(super) fn checkpoint_row(consumer: &str, checkpoint: &Checkpoint) -> [Value; 4] {
    values![consumer.to_owned(), checkpoint.part.as_str().to_owned(), checkpoint.offset, checkpoint.position]
}

/// A row of [`CHECKPOINTS`].
pub(super) fn checkpoint_of(part: &str, place: i64, position: i64) -> Checkpoint {
    let (part, offset) = (Part::named(part), place.unsigned_abs());
    Checkpoint { part, offset, position: Position(position.unsigned_abs()) }
}

/// What follows the tables: the statement that makes the index of the key of a table whose rows lie beside it.
pub(super) fn key_index(table: &Table) -> Option<String> {
    let index = || format!("CREATE UNIQUE INDEX {0}_key ON {0} ({1});", table.name, table.key.join(", "));
    (table.order == RowOrder::Arrival).then(index)
}

/// Names and versions of everything in a store of this release.
pub(super) fn versions() -> impl Iterator<Item = (&'static str, u32)> {
    registry::PROJECTIONS.iter().map(|projection| (projection.name(), projection.version())).chain([OWN])
}

/// Compares the versions that a store holds, `name version` each, with those of this release.
pub(super) fn check_versions(mut found: Vec<String>) -> Result<(), StoreError> {
    let mut needed: Vec<String> = versions().map(|(name, version)| format!("{name} {version}")).collect();
    found.sort_unstable();
    needed.sort_unstable();
    if found == needed {
        Ok(())
    } else {
        Err(StoreError::Outdated { found: found.join(", "), needed: needed.join(", ") })
    }
}
