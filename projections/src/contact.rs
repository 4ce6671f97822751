//! Contact points: who held them when, their addresses, which accounts may not write to them.
//!
//! **Invariant:** a row per occupancy, never one per contact point: the person behind it changes (design
//! invariant 5).

use events::codec::{Decoded, DomainEvent};
use events::contact::ContactEvent;
use events::envelope::Category;

use crate::projection::{Changes, Erasure, Masking, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::{Newer, Statement};
use crate::value::{name, values};

mod read;

pub use read::{BlockView, OccupancyView};
pub(crate) use read::{OCCUPANCY_COLUMNS, occupancy_of};

/// Folds contact streams.
#[derive(Debug)]
pub struct ContactProjection;

const TABLES: &[Table] = &[
    Table {
        name: "occupancy",
        create: "CREATE TABLE occupancy (contact BYTEA NOT NULL, number BIGINT NOT NULL, tenant TEXT NOT NULL, \
            kind TEXT NOT NULL, account BYTEA NOT NULL, normalised TEXT, source_form TEXT, occupied_at BIGINT NOT NULL, \
            vacated_at BIGINT, vacated_reason TEXT, revision BIGINT NOT NULL, position BIGINT NOT NULL, \
            PRIMARY KEY (contact, number))",
        key: &["contact", "number"],
        order: RowOrder::Key,
        indexes: &[],
        personal: PersonalColumns::Columns {
            columns: &["normalised", "source_form"],
            masked: Masking::Addresses,
            erased: &[Erasure::OfOccupancy(
                "UPDATE occupancy SET normalised = NULL, source_form = NULL WHERE contact = $1 AND number = $2",
            )],
        },
    },
    Table {
        name: "contact_block",
        create: "CREATE TABLE contact_block (contact BYTEA NOT NULL, number BIGINT NOT NULL, account BYTEA NOT NULL, \
            tenant TEXT NOT NULL, blocked SMALLINT NOT NULL, since BIGINT NOT NULL, revision BIGINT NOT NULL, \
            PRIMARY KEY (contact, number, account))",
        key: &["contact", "number", "account"],
        order: RowOrder::Key,
        indexes: &[],
        personal: PersonalColumns::None,
    },
];

static OCCUPIED: Statement = Statement::insert(
    "occupancy",
    "contact, number, tenant, kind, account, normalised, source_form, occupied_at, revision, position",
    &[],
);
static VACATED: Statement = Statement::update("occupancy", "vacated_at, vacated_reason, revision, position", &[]);
static BLOCK: Statement = Statement::upsert(
    "contact_block",
    "contact, number, account, tenant, blocked, since, revision",
    &[],
    Newer { by: "revision", sets: "blocked, since, revision", fills: "" },
);

impl Projection for ContactProjection {
    fn name(&self) -> &'static str {
        "contact"
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Contact]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::Contact(contact_event) = &event.event else { return };
        let at = &event.recorded;
        let (contact, revision) = (at.stream.id, at.revision);
        let mut block = |number: u32, account: events::ids::AccountId, blocked: bool| {
            let since = at.metadata.occurred_at;
            changes.push(&BLOCK, values![contact, number, account, at.tenant(), blocked, since, revision]);
        };
        match contact_event {
            ContactEvent::Occupied(occupied) => {
                let address = occupied.address.value();
                changes.push(
                    &OCCUPIED,
                    values![
                        contact,
                        occupied.occupancy,
                        at.tenant(),
                        occupied.kind.as_str(),
                        occupied.account,
                        address.map(|address| address.normalised.clone()),
                        address.map(|address| address.source_form.clone()),
                        at.recorded_at,
                        revision,
                        at.position,
                    ],
                );
            }
            ContactEvent::Vacated(vacated) => changes.push(
                &VACATED,
                values![at.recorded_at, name(&vacated.reason), revision, at.position, contact, vacated.occupancy],
            ),
            ContactEvent::Blocked(blocked) => block(blocked.occupancy, blocked.account, true),
            ContactEvent::Unblocked(unblocked) => block(unblocked.occupancy, unblocked.account, false),
        }
    }
}
