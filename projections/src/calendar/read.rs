//! Reads of calendars.
//!
//! **Invariant:** at most [`MOST_CALENDARS`] per tenant are listed.

use chrono::{DateTime, Utc};
use events::calendar::WorkingHours;
use events::ids::CalendarId;
use events::viewer::Viewer;

use crate::store::{Query, StoreError};
use crate::value::{Columns, Row, Value, values};
use crate::views::Views;

/// Most calendars of a tenant in one answer.
const MOST_CALENDARS: i64 = 1000;

/// A calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarView {
    /// Its id.
    pub calendar: CalendarId,
    /// What the tenant calls it.
    pub name: String,
    /// When the team works.
    pub hours: WorkingHours,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// The last revision applied.
    pub revision: u64,
}

fn calendar_of(row: Row) -> Result<CalendarView, StoreError> {
    let mut row = Columns::from(row);
    Ok(CalendarView {
        calendar: CalendarId::new(row.id()?),
        name: row.text()?,
        hours: row.json()?,
        opened_at: row.time()?,
        revision: row.count()?,
    })
}

impl Views {
    /// All calendars of the viewer's tenant, by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn calendars(&self, viewer: &Viewer) -> Result<Vec<CalendarView>, StoreError> {
        self.calendars_where("", Vec::new(), viewer).await
    }

    /// Some calendars of the viewer's tenant by id; what is not theirs is left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn calendars_by_ids(&self, viewer: &Viewer, ids: &[CalendarId]) -> Result<Vec<CalendarView>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        crate::views::check_ids(ids.len())?;
        let mut parameters = Vec::new();
        crate::store::padded(&mut parameters, ids);
        let list = crate::store::placeholders(2, ids.len());
        self.calendars_where(&format!(" AND calendar IN {list}"), parameters, viewer).await
    }

    async fn calendars_where(
        &self,
        condition: &str,
        more: Vec<Value>,
        viewer: &Viewer,
    ) -> Result<Vec<CalendarView>, StoreError> {
        let mut parameters = values![&viewer.tenant].to_vec();
        parameters.extend(more);
        let text = format!(
            "SELECT calendar, name, hours, opened_at, revision FROM calendar WHERE tenant = $1{condition} \
             ORDER BY name, calendar LIMIT {MOST_CALENDARS}"
        );
        let [rows] = self.snapshot([Query::new(text, parameters)]).await?;
        rows.into_iter().map(calendar_of).collect()
    }
}
