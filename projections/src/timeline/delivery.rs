//! Dead letters: outbound messages that failed or whose end nobody saw.
//!
//! **Invariant:** a message stands here exactly as long as its delivery is failed or unknown.

use chrono::{DateTime, Utc};
use events::envelope::Position;
use events::ids::{ConversationId, MessageId};
use events::viewer::Viewer;

use super::view::DeliveryState;
use crate::store::{Query, StoreError};
use crate::value::Value;
use crate::views::{Cursor, Page, PageRequest, Views};

/// An outbound message that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterView {
    /// The message.
    pub message: MessageId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Failed or unknown.
    pub state: DeliveryState,
    /// The last attempt, from 1.
    pub attempt: u32,
    /// Why it failed.
    pub reason: Option<String>,
    /// Since when, by our clock.
    pub since: DateTime<Utc>,
    /// The place in the log of the event that says so.
    pub position: Position,
}

impl Views {
    /// A page of dead letters, by the time they died.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn dead_letters(&self, viewer: &Viewer, page: &PageRequest) -> Result<Page<DeadLetterView>, StoreError> {
        let mut sql = "SELECT message, conversation, state, attempt, reason, changed_at, position FROM delivery \
            WHERE tenant = $1 AND state IN ('failed', 'unknown')"
            .to_owned();
        let mut parameters = vec![Value::from(&viewer.tenant)];
        page.finish(&mut sql, &mut parameters, "changed_at", "message");
        let items = self
            .rows(Query::new(sql, parameters), |mut row| {
                Ok(DeadLetterView {
                    message: MessageId::new(row.id()?),
                    conversation: ConversationId::new(row.id()?),
                    state: row.named()?,
                    attempt: row.small()?,
                    reason: row.opt_text()?,
                    since: row.time()?,
                    position: Position(row.count()?),
                })
            })
            .await?;
        let cursor = |item: &DeadLetterView| Cursor { value: item.since.timestamp_micros(), id: item.message.uuid() };
        Ok(Page::of(items, page, cursor))
    }
}
