//! Types of cases: what a tenant keeps about each kind of matter.
//!
//! **Invariant:** a row shows the rules of now; values that cases hold stay as they were taken.

use events::case_type::CaseTypeEvent;
use events::codec::{Decoded, DomainEvent};
use events::envelope::Category;

use crate::projection::{Changes, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::Set::Number;
use crate::statement::Statement;
use crate::value::{json, values};

mod read;

pub use read::CaseTypeView;

/// Folds streams of types of cases.
#[derive(Debug)]
pub struct CaseTypeProjection;

const TABLES: &[Table] = &[Table {
    name: "case_type",
    create: "CREATE TABLE case_type (case_type BYTEA NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL, \
        rules TEXT NOT NULL, closed SMALLINT NOT NULL, opened_at BIGINT NOT NULL, revision BIGINT NOT NULL, \
        position BIGINT NOT NULL, PRIMARY KEY (case_type))",
    key: &["case_type"],
    order: RowOrder::Key,
    indexes: &["CREATE INDEX case_type_of_tenant ON case_type (tenant, name)"],
    personal: PersonalColumns::None,
}];

static OPENED: Statement = Statement::insert(
    "case_type",
    "case_type, tenant, name, rules, opened_at, revision, position",
    &[("closed", Number(0))],
);
static CHANGED: Statement = Statement::update("case_type", "name, rules, revision, position", &[("closed", Number(0))]);
static CLOSED: Statement = Statement::update("case_type", "revision, position", &[("closed", Number(1))]);

impl Projection for CaseTypeProjection {
    fn name(&self) -> &'static str {
        "case_type"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::CaseType]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::CaseType(type_event) = &event.event else { return };
        let at = &event.recorded;
        let (id, revision, position) = (at.stream.id, at.revision, at.position);
        match type_event {
            CaseTypeEvent::Opened(opened) => {
                let (name, rules) = (opened.name.clone(), json(&opened.rules));
                changes.push(&OPENED, values![id, at.tenant(), name, rules, at.recorded_at, revision, position]);
            }
            CaseTypeEvent::Changed(changed) => {
                let (name, rules) = (changed.name.clone(), json(&changed.rules));
                changes.push(&CHANGED, values![name, rules, revision, position, id]);
            }
            CaseTypeEvent::Closed(_) => changes.push(&CLOSED, values![revision, position, id]),
        }
    }
}

#[cfg(test)]
mod tests;
