//! Snoozes that have ended.
//!
//! **Invariant:** across tenants and without a viewer, for the process that wakes conversations: it gives ids and times,
//! nothing that anybody said.

use chrono::{DateTime, Utc};
use events::ids::{ConversationId, TenantId};

use super::waiting::tenant;
use crate::store::{Query, StoreError};
use crate::value::Value;
use crate::views::{Cursor, Page, PageRequest, Views};

/// A conversation that should not rest any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSnooze {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which.
    pub conversation: ConversationId,
    /// Until when it was to rest.
    pub until: DateTime<Utc>,
}

impl Views {
    /// A page of the conversations that were snoozed until `now` or earlier and rest still, by that time.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ended_snoozes(&self, now: DateTime<Utc>, page: &PageRequest) -> Result<Page<EndedSnooze>, StoreError> {
        let mut sql =
            "SELECT tenant, conversation, snoozed_until FROM conversation WHERE snoozed_until <= $1".to_owned();
        let mut parameters = vec![Value::from(now)];
        page.finish(&mut sql, &mut parameters, "snoozed_until", "conversation");
        let items = self
            .rows(Query::new(sql, parameters), |mut row| {
                let tenant = tenant(&mut row)?;
                Ok(EndedSnooze { tenant, conversation: ConversationId::new(row.id()?), until: row.time()? })
            })
            .await?;
        let cursor = |item: &EndedSnooze| Cursor { value: item.until.timestamp_micros(), id: item.conversation.uuid() };
        Ok(Page::of(items, page, cursor))
    }
}
