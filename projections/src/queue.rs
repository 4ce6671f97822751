//! Queues: by which rules conversations wait for operators.
//!
//! **Invariant:** a row shows the rules of now; what waits in a queue stands with the conversations.

use events::codec::{Decoded, DomainEvent};
use events::envelope::Category;
use events::queue::QueueEvent;

use crate::projection::{Changes, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::Set::Number;
use crate::statement::Statement;
use crate::value::{json, values};

mod read;

pub use read::{QueueLoad, QueueOnDuty, QueueView};

/// Folds queue streams.
#[derive(Debug)]
pub struct QueueProjection;

const TABLES: &[Table] = &[Table {
    name: "queue",
    create: "CREATE TABLE queue (queue BYTEA NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL, rules TEXT NOT NULL, \
        closed SMALLINT NOT NULL, opened_at BIGINT NOT NULL, revision BIGINT NOT NULL, position BIGINT NOT NULL, \
        PRIMARY KEY (queue))",
    key: &["queue"],
    order: RowOrder::Key,
    indexes: &["CREATE INDEX queue_of_tenant ON queue (tenant, name)"],
    personal: PersonalColumns::None,
}];

static OPENED: Statement =
    Statement::insert("queue", "queue, tenant, name, rules, opened_at, revision, position", &[("closed", Number(0))]);
static CHANGED: Statement = Statement::update("queue", "name, rules, revision, position", &[("closed", Number(0))]);
static CLOSED: Statement = Statement::update("queue", "revision, position", &[("closed", Number(1))]);

impl Projection for QueueProjection {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Queue]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::Queue(queue_event) = &event.event else { return };
        let at = &event.recorded;
        let (queue, revision, position) = (at.stream.id, at.revision, at.position);
        match queue_event {
            QueueEvent::Opened(opened) => {
                let (name, rules) = (opened.name.clone(), json(&opened.rules));
                changes.push(&OPENED, values![queue, at.tenant(), name, rules, at.recorded_at, revision, position]);
            }
            QueueEvent::Changed(changed) => {
                let (name, rules) = (changed.name.clone(), json(&changed.rules));
                changes.push(&CHANGED, values![name, rules, revision, position, queue]);
            }
            QueueEvent::Closed(_) => changes.push(&CLOSED, values![revision, position, queue]),
        }
    }
}

#[cfg(test)]
mod tests;
