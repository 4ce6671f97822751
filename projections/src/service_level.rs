//! Service levels: what is promised to customers.
//!
//! **Invariant:** a row shows the rules of now; clocks are counted from the events.

use events::codec::{Decoded, DomainEvent};
use events::envelope::Category;
use events::service_level::ServiceLevelEvent;

use crate::projection::{Changes, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::Set::Number;
use crate::statement::Statement;
use crate::value::{json, values};

mod read;

pub use read::ServiceLevelView;

/// Folds streams of service levels.
#[derive(Debug)]
pub struct ServiceLevelProjection;

const TABLES: &[Table] = &[Table {
    name: "service_level",
    create: "CREATE TABLE service_level (service_level BYTEA NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL, \
        rules TEXT NOT NULL, closed SMALLINT NOT NULL, opened_at BIGINT NOT NULL, revision BIGINT NOT NULL, \
        position BIGINT NOT NULL, PRIMARY KEY (service_level))",
    key: &["service_level"],
    order: RowOrder::Key,
    indexes: &["CREATE INDEX service_level_of_tenant ON service_level (tenant, name)"],
    personal: PersonalColumns::None,
}];

static OPENED: Statement = Statement::insert(
    "service_level",
    "service_level, tenant, name, rules, opened_at, revision, position",
    &[("closed", Number(0))],
);
static CHANGED: Statement =
    Statement::update("service_level", "name, rules, revision, position", &[("closed", Number(0))]);
static CLOSED: Statement = Statement::update("service_level", "revision, position", &[("closed", Number(1))]);

impl Projection for ServiceLevelProjection {
    fn name(&self) -> &'static str {
        "service_level"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::ServiceLevel]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::ServiceLevel(level_event) = &event.event else { return };
        let at = &event.recorded;
        let (id, revision, position) = (at.stream.id, at.revision, at.position);
        match level_event {
            ServiceLevelEvent::Opened(opened) => {
                let (name, rules) = (opened.name.clone(), json(&opened.rules));
                changes.push(&OPENED, values![id, at.tenant(), name, rules, at.recorded_at, revision, position]);
            }
            ServiceLevelEvent::Changed(changed) => {
                let (name, rules) = (changed.name.clone(), json(&changed.rules));
                changes.push(&CHANGED, values![name, rules, revision, position, id]);
            }
            ServiceLevelEvent::Closed(_) => changes.push(&CLOSED, values![revision, position, id]),
        }
    }
}

#[cfg(test)]
mod tests;
