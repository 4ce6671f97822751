//! Reads of queues.
//!
//! **Invariant:** at most [`MOST_QUEUES`] per tenant are listed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use events::ids::{QueueId, TenantId};
use events::queue::QueueRules;
use events::viewer::Viewer;

use crate::conversation::{WAITS_SINCE, tenant};
use crate::store::{Query, StoreError, padded, placeholders};
use crate::value::{Columns, Row, Value, values};
use crate::views::{Views, check_ids};

/// Most queues of a tenant in one answer.
const MOST_QUEUES: i64 = 1000;

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueView {
    /// Its id.
    pub queue: QueueId,
    /// What the tenant calls it.
    pub name: String,
    /// Its rules.
    pub rules: QueueRules,
    /// True when nothing new comes into it.
    pub closed: bool,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// The last revision applied.
    pub revision: u64,
}

/// What waits in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueLoad {
    /// How many conversations wait in it for an operator.
    pub waiting: u64,
    /// Since when the one waits that waits longest.
    pub longest_since: Option<DateTime<Utc>>,
    /// How many of it are operators' work.
    pub in_work: u64,
}

/// A queue, of whichever tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueOnDuty {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which.
    pub queue: QueueId,
    /// Its rules.
    pub rules: QueueRules,
    /// True when nothing new comes into it; what waits in it is shared out still.
    pub closed: bool,
}

fn queue_of(row: Row) -> Result<QueueView, StoreError> {
    let mut row = Columns::from(row);
    Ok(QueueView {
        queue: QueueId::new(row.id()?),
        name: row.text()?,
        rules: row.json()?,
        closed: row.flag()?,
        opened_at: row.time()?,
        revision: row.count()?,
    })
}

impl Views {
    /// All queues of the viewer's tenant, by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn queues(&self, viewer: &Viewer) -> Result<Vec<QueueView>, StoreError> {
        self.queues_where("", Vec::new(), viewer).await
    }

    /// Some queues of the viewer's tenant by id; what is not theirs is left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn queues_by_ids(&self, viewer: &Viewer, ids: &[QueueId]) -> Result<Vec<QueueView>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        check_ids(ids.len())?;
        let mut parameters = Vec::new();
        padded(&mut parameters, ids);
        let list = placeholders(2, ids.len());
        self.queues_where(&format!(" AND queue IN {list}"), parameters, viewer).await
    }

    async fn queues_where(
        &self,
        condition: &str,
        more: Vec<Value>,
        viewer: &Viewer,
    ) -> Result<Vec<QueueView>, StoreError> {
        let mut parameters: Vec<Value> = values![&viewer.tenant].into();
        parameters.extend(more);
        let text = format!(
            "SELECT queue, name, rules, closed, opened_at, revision FROM queue WHERE tenant = $1{condition} \
             ORDER BY name, queue LIMIT {MOST_QUEUES}"
        );
        let [rows] = self.snapshot([Query::new(text, parameters)]).await?;
        rows.into_iter().map(queue_of).collect()
    }

    /// What waits in queues of the viewer's tenant; one that is missing has nothing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn queue_loads(
        &self,
        viewer: &Viewer,
        ids: &[QueueId],
    ) -> Result<HashMap<QueueId, QueueLoad>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        check_ids(ids.len())?;
        let mut parameters: Vec<Value> = values![&viewer.tenant].into();
        padded(&mut parameters, ids);
        let list = placeholders(2, ids.len());
        let waiting = format!(
            "SELECT c.queue, count(*), min({WAITS_SINCE}) FROM conversation c WHERE c.tenant = $1 \
             AND c.queue IN {list} AND c.queue IS NOT NULL AND c.assignee IS NULL AND c.status = 'open' GROUP BY c.queue"
        );
        let in_work = format!(
            "SELECT c.queue, count(*) FROM conversation c WHERE c.tenant = $1 AND c.queue IN {list} \
             AND c.assignee IS NOT NULL AND c.status = 'open' GROUP BY c.queue"
        );
        let queries = [Query::new(waiting, parameters.clone()), Query::new(in_work, parameters)];
        let [waiting, in_work] = self.snapshot(queries).await?;
        let mut loads: HashMap<QueueId, QueueLoad> = HashMap::new();
        for row in waiting {
            let mut row = Columns::from(row);
            let load = loads.entry(QueueId::new(row.id()?)).or_default();
            (load.waiting, load.longest_since) = (row.count()?, row.opt_time()?);
        }
        for row in in_work {
            let mut row = Columns::from(row);
            let queue = QueueId::new(row.id()?);
            loads.entry(queue).or_default().in_work = row.count()?;
        }
        Ok(loads)
    }

    /// The queues of all tenants, for the process that shares conversations out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn queues_on_duty(&self) -> Result<Vec<QueueOnDuty>, StoreError> {
        let sql = "SELECT tenant, queue, rules, closed FROM queue ORDER BY queue";
        let read = |mut row: Columns| {
            let (tenant, queue) = (tenant(&mut row)?, QueueId::new(row.id()?));
            Ok(QueueOnDuty { tenant, queue, rules: row.json()?, closed: row.flag()? })
        };
        self.rows(Query::new(sql, []), read).await
    }
}
