//! Lists of cases by what is to be done with them.
//!
//! **Invariant:** a page costs six statements, whatever the filters and however many cases.

use events::case::CaseStatus;
use events::ids::{CaseId, CaseTypeId, Occupancy};
use events::viewer::Viewer;

use super::CaseView;
use crate::conversation::Assignee;
use crate::store::{Query, StoreError};
use crate::value::Value;
use crate::views::{Cursor, Page, PageRequest, Views, check_ids};

/// Which cases are wanted; all conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaseFilter {
    /// Only with one of these; any when empty.
    pub statuses: Vec<CaseStatus>,
    /// Only somebody's, or nobody's.
    pub assignee: Option<Assignee>,
    /// Only of this type.
    pub case_type: Option<CaseTypeId>,
    /// Only of this priority or above.
    pub least_priority: Option<u8>,
    /// Only those about one of these: at most 1000.
    pub customers: Vec<Occupancy>,
    /// Also those for which another stands.
    pub merged: bool,
}

/// By what cases are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaseSort {
    /// Their numbers: in the order in which they were opened.
    #[default]
    Number,
    /// What the customer was promised; only those with a promise.
    PromisedUntil,
}

impl Views {
    /// A page of cases.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn cases(
        &self,
        viewer: &Viewer,
        filter: &CaseFilter,
        sort: CaseSort,
        page: &PageRequest,
    ) -> Result<Page<CaseView>, StoreError> {
        let value = match sort {
            CaseSort::Number => "c.number",
            CaseSort::PromisedUntil => "c.promised_until",
        };
        let mut parameters = vec![Value::from(&viewer.tenant)];
        let mut sql = format!("SELECT c.case_id, {value} FROM cases c WHERE c.tenant = $1");
        conditions(filter, &mut sql, &mut parameters)?;
        if sort == CaseSort::PromisedUntil {
            sql.push_str(" AND c.promised_until IS NOT NULL");
        }
        page.finish(&mut sql, &mut parameters, value, "c.case_id");
        let found = self.rows(Query::new(sql, parameters), |mut row| Ok((CaseId::new(row.id()?), row.int()?))).await?;
        let listed = Page::of(found, page, |(id, value)| Cursor { value: *value, id: id.uuid() });
        let ids: Vec<CaseId> = listed.items.iter().map(|(id, _)| *id).collect();
        let items = self.cases_by_ids(viewer, &ids).await?;
        Ok(Page { items, cursors: listed.cursors, more: listed.more })
    }
}

fn conditions(filter: &CaseFilter, sql: &mut String, parameters: &mut Vec<Value>) -> Result<(), StoreError> {
    let mut condition = |text: &str, value: Value| {
        parameters.push(value);
        sql.push_str(&text.replace("$?", &format!("${}", parameters.len())));
    };
    match &filter.assignee {
        Some(Assignee::Operator(operator)) => condition(" AND c.assignee = $?", operator.clone().into()),
        Some(Assignee::Nobody) | None => {}
    }
    if let Some(case_type) = filter.case_type {
        condition(" AND c.case_type = $?", case_type.into());
    }
    if let Some(least) = filter.least_priority {
        condition(" AND c.priority >= $?", least.into());
    }
    if filter.assignee == Some(Assignee::Nobody) {
        sql.push_str(" AND c.assignee IS NULL");
    }
    if !filter.merged {
        sql.push_str(" AND c.merged_into IS NULL");
    }
    if !filter.statuses.is_empty() {
        // Names of an enum: no text of a caller.
        let names: Vec<String> = filter.statuses.iter().map(|status| format!("'{}'", status.as_str())).collect();
        sql.push_str(&format!(" AND c.status IN ({})", names.join(", ")));
    }
    if !filter.customers.is_empty() {
        check_ids(filter.customers.len())?;
        sql.push_str(" AND (");
        for (index, person) in filter.customers.iter().enumerate() {
            parameters.push(person.contact.into());
            parameters.push(person.number.into());
            let or = if index == 0 { "" } else { " OR " };
            let last = parameters.len();
            sql.push_str(&format!("{or}(c.contact = ${} AND c.contact_number = ${last})", last - 1));
        }
        sql.push(')');
    }
    Ok(())
}
