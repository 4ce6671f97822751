//! Calendars: when teams work.
//!
//! **Invariant:** a row shows the hours of now; what counted earlier is in the events.

use events::calendar::CalendarEvent;
use events::codec::{Decoded, DomainEvent};
use events::envelope::Category;

use crate::projection::{Changes, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::Statement;
use crate::value::{json, values};

mod read;

pub use read::CalendarView;

/// Folds calendar streams.
#[derive(Debug)]
pub struct CalendarProjection;

const TABLES: &[Table] = &[Table {
    name: "calendar",
    create: "CREATE TABLE calendar (calendar BYTEA NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL, \
        hours TEXT NOT NULL, opened_at BIGINT NOT NULL, revision BIGINT NOT NULL, position BIGINT NOT NULL, \
        PRIMARY KEY (calendar))",
    key: &["calendar"],
    order: RowOrder::Key,
    indexes: &["CREATE INDEX calendar_of_tenant ON calendar (tenant, name)"],
    personal: PersonalColumns::None,
}];

static OPENED: Statement =
    Statement::insert("calendar", "calendar, tenant, name, hours, opened_at, revision, position", &[]);
static CHANGED: Statement = Statement::update("calendar", "name, hours, revision, position", &[]);

impl Projection for CalendarProjection {
    fn name(&self) -> &'static str {
        "calendar"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Calendar]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::Calendar(calendar_event) = &event.event else { return };
        let at = &event.recorded;
        let (calendar, revision, position) = (at.stream.id, at.revision, at.position);
        match calendar_event {
            CalendarEvent::Opened(opened) => changes.push(
                &OPENED,
                values![
                    calendar,
                    at.tenant(),
                    opened.name.clone(),
                    json(&opened.hours),
                    at.recorded_at,
                    revision,
                    position,
                ],
            ),
            CalendarEvent::Changed(changed) => changes
                .push(&CHANGED, values![changed.name.clone(), json(&changed.hours), revision, position, calendar]),
        }
    }
}

#[cfg(test)]
mod tests;
