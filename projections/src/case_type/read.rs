//! Reads of types of cases.
//!
//! **Invariant:** at most [`MOST_TYPES`] per tenant are listed.

use chrono::{DateTime, Utc};
use events::case_type::CaseTypeRules;
use events::ids::CaseTypeId;
use events::viewer::Viewer;

use crate::store::{Query, StoreError, padded, placeholders};
use crate::value::{Columns, Value, values};
use crate::views::{Views, check_ids};

/// Most types of a tenant in one answer.
const MOST_TYPES: i64 = 1000;

/// A type of cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseTypeView {
    /// Its id.
    pub case_type: CaseTypeId,
    /// What the tenant calls it.
    pub name: String,
    /// Its rules.
    pub rules: CaseTypeRules,
    /// True when no more cases of it are opened.
    pub closed: bool,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// The last revision applied.
    pub revision: u64,
}

impl Views {
    /// All types of cases of the viewer's tenant, by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn case_types(&self, viewer: &Viewer) -> Result<Vec<CaseTypeView>, StoreError> {
        self.case_types_where("", Vec::new(), viewer).await
    }

    /// Some types of the viewer's tenant by id; what is not theirs is left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn case_types_by_ids(
        &self,
        viewer: &Viewer,
        ids: &[CaseTypeId],
    ) -> Result<Vec<CaseTypeView>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        check_ids(ids.len())?;
        let mut parameters = Vec::new();
        padded(&mut parameters, ids);
        let list = placeholders(2, ids.len());
        self.case_types_where(&format!(" AND case_type IN {list}"), parameters, viewer).await
    }

    async fn case_types_where(
        &self,
        condition: &str,
        more: Vec<Value>,
        viewer: &Viewer,
    ) -> Result<Vec<CaseTypeView>, StoreError> {
        let mut parameters: Vec<Value> = values![&viewer.tenant].into();
        parameters.extend(more);
        let text = format!(
            "SELECT case_type, name, rules, closed, opened_at, revision FROM case_type WHERE tenant = $1{condition} \
             ORDER BY name, case_type LIMIT {MOST_TYPES}"
        );
        let read = |mut row: Columns| {
            Ok(CaseTypeView {
                case_type: CaseTypeId::new(row.id()?),
                name: row.text()?,
                rules: row.json()?,
                closed: row.flag()?,
                opened_at: row.time()?,
                revision: row.count()?,
            })
        };
        self.rows(Query::new(text, parameters), read).await
    }
}
