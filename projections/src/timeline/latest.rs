//! The last messages of many conversations: the preview of an inbox.
//!
//! **Invariant:** the same number of statements for one conversation as for fifty.

use events::ids::ConversationId;
use events::viewer::Viewer;

use super::read::{COLUMNS, entry_of};
use super::view::TimelineEntry;
use crate::store::{Query, StoreError, padded, placeholders};
use crate::value::Value;
use crate::views::{Views, check_ids};

impl Views {
    /// The last message, in or out, of each of these conversations, in the order of their ids; those without any are left out. Eight statements.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn latest_messages(
        &self,
        viewer: &Viewer,
        conversations: &[ConversationId],
    ) -> Result<Vec<TimelineEntry>, StoreError> {
        if conversations.is_empty() {
            return Ok(Vec::new());
        }
        check_ids(conversations.len())?;
        let list = placeholders(2, conversations.len());
        let mut parameters = vec![Value::from(&viewer.tenant)];
        padded(&mut parameters, conversations);
        let sql = format!(
            "SELECT {COLUMNS} FROM conversation c JOIN entry e ON e.conversation = c.conversation \
             AND e.revision = c.last_message_revision WHERE c.tenant = $1 AND c.conversation IN {list} ORDER BY c.conversation"
        );
        let rows = self.rows(Query::new(sql, parameters), |row| Ok(row.rest())).await?;
        let mut entries = rows.into_iter().map(|row| entry_of(viewer, row)).collect::<Result<Vec<_>, _>>()?;
        self.complete(viewer, &mut entries).await?;
        Ok(entries)
    }
}
