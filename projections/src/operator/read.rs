//! Reads of operators.
//!
//! **Invariant:** at most [`MOST_OPERATORS`] per tenant are listed.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::ids::{ConversationId, OperatorId, TenantId};
use events::operator::{Abilities, Presence, PresenceReason};
use events::values::Channel;
use events::viewer::Viewer;

use crate::conversation::tenant;
use crate::store::{Query, StoreError, padded, placeholders};
use crate::value::{Columns, Value, values};
use crate::views::{Views, check_ids};

/// Most operators of a tenant in one answer.
const MOST_OPERATORS: i64 = 5000;

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorView {
    /// Their id.
    pub id: OperatorId,
    /// Who, as in their token.
    pub operator: String,
    /// What they are called at the desk.
    pub name: String,
    /// What they can do.
    pub abilities: Abilities,
    /// Whether they are there.
    pub presence: Presence,
    /// How it is known; `None` before they came for the first time.
    pub presence_reason: Option<PresenceReason>,
    /// Since when.
    pub presence_since: DateTime<Utc>,
    /// When they were last given a conversation.
    pub last_given: Option<DateTime<Utc>>,
    /// When they were registered.
    pub registered_at: DateTime<Utc>,
    /// The last revision that changed what is shown here.
    pub revision: u64,
    /// What they work on, oldest first.
    pub held: Vec<HeldConversation>,
}

/// A conversation that takes of an operator's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldConversation {
    /// Which.
    pub conversation: ConversationId,
    /// The channel it is held through.
    pub channel: Channel,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// An operator, of whichever tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorOnDuty {
    /// Whose they are.
    pub tenant: TenantId,
    /// Their id.
    pub id: OperatorId,
    /// Who, as in their token.
    pub operator: Arc<str>,
    /// What they can do.
    pub abilities: Abilities,
    /// Whether they are there.
    pub presence: Presence,
    /// Since when.
    pub presence_since: DateTime<Utc>,
    /// When they were last given a conversation.
    pub last_given: Option<DateTime<Utc>>,
    /// What they work on.
    pub held: Vec<HeldConversation>,
}

const COLUMNS: &str = "SELECT operator_id, operator, name, abilities, presence, presence_reason, presence_since, \
    last_given, registered_at, revision FROM operator";

fn operator_of(mut row: Columns) -> Result<OperatorView, StoreError> {
    Ok(OperatorView {
        id: OperatorId::new(row.id()?),
        operator: row.text()?,
        name: row.text()?,
        abilities: row.json()?,
        presence: row.named()?,
        presence_reason: row.opt_named()?,
        presence_since: row.time()?,
        last_given: row.opt_time()?,
        registered_at: row.time()?,
        revision: row.count()?,
        held: Vec::new(),
    })
}

fn held_of(row: &mut Columns) -> Result<(OperatorId, HeldConversation), StoreError> {
    let operator = OperatorId::new(row.id()?);
    let conversation = ConversationId::new(row.id()?);
    Ok((operator, HeldConversation { conversation, channel: row.named()?, since: row.time()? }))
}

impl Views {
    /// All operators of the viewer's tenant, by their name in tokens, with what they work on.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn operators(&self, viewer: &Viewer) -> Result<Vec<OperatorView>, StoreError> {
        self.operators_where("", Vec::new(), viewer).await
    }

    /// Some operators of the viewer's tenant by id; what is not theirs is left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn operators_by_ids(&self, viewer: &Viewer, ids: &[OperatorId]) -> Result<Vec<OperatorView>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        check_ids(ids.len())?;
        let mut parameters = Vec::new();
        padded(&mut parameters, ids);
        let list = placeholders(2, ids.len());
        self.operators_where(&format!(" AND operator_id IN {list}"), parameters, viewer).await
    }

    async fn operators_where(
        &self,
        condition: &str,
        more: Vec<Value>,
        viewer: &Viewer,
    ) -> Result<Vec<OperatorView>, StoreError> {
        let mut parameters: Vec<Value> = values![&viewer.tenant].into();
        parameters.extend(more);
        let operators =
            format!("{COLUMNS} WHERE tenant = $1{condition} ORDER BY operator, operator_id LIMIT {MOST_OPERATORS}");
        let held = format!(
            "SELECT operator_id, conversation, channel, since FROM held_conversation \
             WHERE tenant = $1{condition} AND active = 1 ORDER BY operator_id, since, conversation"
        );
        let queries = [Query::new(operators, parameters.clone()), Query::new(held, parameters)];
        let [operators, held] = self.snapshot(queries).await?;
        let mut by_operator: HashMap<OperatorId, Vec<HeldConversation>> = HashMap::new();
        for row in held {
            let (operator, held) = held_of(&mut row.into())?;
            by_operator.entry(operator).or_default().push(held);
        }
        let read = |row: crate::value::Row| {
            let view = operator_of(row.into())?;
            Ok(OperatorView { held: by_operator.remove(&view.id).unwrap_or_default(), ..view })
        };
        operators.into_iter().map(read).collect()
    }

    /// The operators of all tenants with what they work on, for the process that shares conversations out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn operators_on_duty(&self) -> Result<Vec<OperatorOnDuty>, StoreError> {
        let operators = "SELECT tenant, operator_id, operator, abilities, presence, presence_since, last_given \
            FROM operator ORDER BY tenant, operator, operator_id";
        let held = "SELECT operator_id, conversation, channel, since FROM held_conversation WHERE active = 1 \
            ORDER BY operator_id, since, conversation";
        let [operators, held] = self.snapshot([Query::new(operators, []), Query::new(held, [])]).await?;
        let mut by_operator: HashMap<OperatorId, Vec<HeldConversation>> = HashMap::new();
        for row in held {
            let (operator, held) = held_of(&mut row.into())?;
            by_operator.entry(operator).or_default().push(held);
        }
        let read = |row: crate::value::Row| {
            let mut row = Columns::from(row);
            let (tenant, id) = (tenant(&mut row)?, OperatorId::new(row.id()?));
            Ok(OperatorOnDuty {
                tenant,
                id,
                operator: row.text()?.into(),
                abilities: row.json()?,
                presence: row.named()?,
                presence_since: row.time()?,
                last_given: row.opt_time()?,
                held: by_operator.remove(&id).unwrap_or_default(),
            })
        };
        operators.into_iter().map(read).collect()
    }
}
