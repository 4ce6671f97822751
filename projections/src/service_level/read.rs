//! Reads of service levels.
//!
//! **Invariant:** at most [`MOST_LEVELS`] per tenant are listed.

use chrono::{DateTime, Utc};
use events::ids::ServiceLevelId;
use events::service_level::ServiceLevelRules;
use events::viewer::Viewer;

use crate::store::{Query, StoreError, padded, placeholders};
use crate::value::{Columns, Value, values};
use crate::views::{Views, check_ids};

/// Most levels of a tenant in one answer.
const MOST_LEVELS: i64 = 1000;

/// A service level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLevelView {
    /// Its id.
    pub service_level: ServiceLevelId,
    /// What the tenant calls it.
    pub name: String,
    /// Its rules.
    pub rules: ServiceLevelRules,
    /// True when it promises nothing.
    pub closed: bool,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// The last revision applied.
    pub revision: u64,
}

impl Views {
    /// All service levels of the viewer's tenant, by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn service_levels(&self, viewer: &Viewer) -> Result<Vec<ServiceLevelView>, StoreError> {
        self.service_levels_where("", Vec::new(), viewer).await
    }

    /// Some levels of the viewer's tenant by id; what is not theirs is left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn service_levels_by_ids(
        &self,
        viewer: &Viewer,
        ids: &[ServiceLevelId],
    ) -> Result<Vec<ServiceLevelView>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        check_ids(ids.len())?;
        let mut parameters = Vec::new();
        padded(&mut parameters, ids);
        let list = placeholders(2, ids.len());
        self.service_levels_where(&format!(" AND service_level IN {list}"), parameters, viewer).await
    }

    async fn service_levels_where(
        &self,
        condition: &str,
        more: Vec<Value>,
        viewer: &Viewer,
    ) -> Result<Vec<ServiceLevelView>, StoreError> {
        let mut parameters: Vec<Value> = values![&viewer.tenant].into();
        parameters.extend(more);
        let text = format!(
            "SELECT service_level, name, rules, closed, opened_at, revision FROM service_level WHERE tenant = $1{condition} \
             ORDER BY name, service_level LIMIT {MOST_LEVELS}"
        );
        let read = |mut row: Columns| {
            Ok(ServiceLevelView {
                service_level: ServiceLevelId::new(row.id()?),
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
