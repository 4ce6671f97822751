//! Where the streams of operators and those of conversations say different things.
//!
//! **Invariant:** across tenants and without a viewer, for the process that brings them together again. Most of what is
//! found here is only on its way: whoever acts on it asks both streams first.

use std::sync::Arc;

use events::ids::{ConversationId, OperatorId, TenantId};
use events::values::Channel;

use crate::conversation::tenant;
use crate::store::{Query, StoreError};
use crate::value::{Columns, values};
use crate::views::Views;

/// An operator holds a conversation that is not their work now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrayHeld {
    /// Whose it is.
    pub tenant: TenantId,
    /// Who holds it.
    pub id: OperatorId,
    /// Their name in tokens.
    pub operator: Arc<str>,
    /// Which conversation.
    pub conversation: ConversationId,
}

/// A conversation is the work of a registered operator who does not hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrayAssigned {
    /// Whose it is.
    pub tenant: TenantId,
    /// Whose work it is.
    pub id: OperatorId,
    /// Their name in tokens.
    pub operator: Arc<str>,
    /// Which conversation.
    pub conversation: ConversationId,
    /// The channel it is held through.
    pub channel: Channel,
    /// True when it was theirs before it rested or its last episode ended, and nobody has given it to them since.
    pub carried: bool,
}

impl Views {
    /// Conversations that operators hold and that rest, are closed or are not theirs; at most `most`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn stray_held(&self, most: u32) -> Result<Vec<StrayHeld>, StoreError> {
        let sql = "SELECT o.tenant, o.operator_id, o.operator, h.conversation FROM operator o \
            JOIN held_conversation h ON h.operator_id = o.operator_id AND h.active = 1 \
            JOIN conversation c ON c.conversation = h.conversation \
            WHERE c.status <> 'open' OR c.assignee IS NULL OR c.assignee <> o.operator \
            ORDER BY h.since, h.conversation LIMIT $1";
        let read = |mut row: Columns| {
            Ok(StrayHeld {
                tenant: tenant(&mut row)?,
                id: OperatorId::new(row.id()?),
                operator: row.text()?.into(),
                conversation: ConversationId::new(row.id()?),
            })
        };
        self.rows(Query::new(sql, values![most]), read).await
    }

    /// Open conversations that are the work of registered operators who do not hold them; at most `most`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn stray_assigned(&self, most: u32) -> Result<Vec<StrayAssigned>, StoreError> {
        let sql = "SELECT o.tenant, o.operator_id, o.operator, c.conversation, c.channel, coalesce(c.carried, 0) \
            FROM operator o JOIN conversation c ON c.tenant = o.tenant AND c.assignee = o.operator \
            AND c.assignee IS NOT NULL AND c.status = 'open' \
            LEFT JOIN held_conversation h ON h.operator_id = o.operator_id AND h.conversation = c.conversation \
            WHERE h.active IS NULL OR h.active = 0 ORDER BY o.operator_id, c.conversation LIMIT $1";
        let read = |mut row: Columns| {
            Ok(StrayAssigned {
                tenant: tenant(&mut row)?,
                id: OperatorId::new(row.id()?),
                operator: row.text()?.into(),
                conversation: ConversationId::new(row.id()?),
                channel: row.named()?,
                carried: row.flag()?,
            })
        };
        self.rows(Query::new(sql, values![most]), read).await
    }
}
