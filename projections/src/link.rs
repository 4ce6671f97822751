//! Links between occupancies, as edges to walk along when a profile is read.
//!
//! **Invariant:** both directions of an edge are written from the one stream of the pair; a link taken back stays as
//! an inactive edge, so that reads as of an earlier time find its stream.

use events::codec::{Decoded, DomainEvent};
use events::envelope::Category;
use events::ids::Occupancy;
use events::link::LinkEvent;

use crate::projection::{Changes, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::{Newer, Statement};
use crate::value::{Value, name, values};

mod read;

pub use read::LinkView;
pub(crate) use read::{MOST_MEMBERS, components, links_of_rows, links_query};

/// Folds link streams.
#[derive(Debug)]
pub struct LinkProjection;

const TABLES: &[Table] = &[Table {
    name: "link_edge",
    create: "CREATE TABLE link_edge (contact BYTEA NOT NULL, number BIGINT NOT NULL, other_contact BYTEA NOT NULL, \
        other_number BIGINT NOT NULL, tenant TEXT NOT NULL, link BYTEA NOT NULL, active SMALLINT NOT NULL, basis TEXT, \
        reason TEXT, since BIGINT NOT NULL, revision BIGINT NOT NULL, position BIGINT NOT NULL, \
        PRIMARY KEY (contact, number, other_contact, other_number))",
    key: &["contact", "number", "other_contact", "other_number"],
    order: RowOrder::Key,
    indexes: &[],
    personal: PersonalColumns::None,
}];

static EDGE: Statement = Statement::upsert(
    "link_edge",
    "contact, number, other_contact, other_number, tenant, link, active, basis, reason, since, \
        revision, position",
    &[],
    Newer { by: "revision", sets: "active, reason, since, revision, position", fills: "basis" },
);

impl Projection for LinkProjection {
    fn name(&self) -> &'static str {
        "link"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Link]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::Link(link_event) = &event.event else { return };
        let at = &event.recorded;
        let (one, other, active, basis, reason) = match link_event {
            LinkEvent::Linked(linked) => (linked.one, linked.other, true, name(&linked.basis), Value::Null),
            LinkEvent::Unlinked(unlinked) => {
                (unlinked.one, unlinked.other, false, Value::Null, unlinked.reason.clone().into())
            }
        };
        let mut edge = |from: Occupancy, to: Occupancy| {
            changes.push(
                &EDGE,
                values![
                    from.contact,
                    from.number,
                    to.contact,
                    to.number,
                    at.tenant(),
                    at.stream.id,
                    active,
                    basis.clone(),
                    reason.clone(),
                    at.recorded_at,
                    at.revision,
                    at.position,
                ],
            );
        };
        edge(one, other);
        edge(other, one);
    }
}
