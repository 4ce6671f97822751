//! What waits for an operator, and what should.
//!
//! **Invariant:** across tenants and without a viewer, for the process that shares conversations out: it gives ids, times
//! and what routing asks for, nothing that anybody said. It only says where to look: the streams decide.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use events::ids::{AccountId, ConversationId, QueueId, TenantId};
use events::values::Channel;

use crate::store::{Query, StoreError, padded, placeholders};
use crate::value::{Columns, Value, values};
use crate::views::{Cursor, Page, PageRequest, Views, check_ids};

/// Since when a conversation `c` waits for an operator: since it came into a queue, or, once a person has answered, since
/// it is nobody's again; earlier, if its customer waits for longer.
pub(crate) const WAITS_SINCE: &str = "CASE WHEN c.waiting_since < CASE WHEN c.served_at >= c.queued_since \
    THEN coalesce(c.unassigned_at, c.queued_since) ELSE coalesce(c.queued_since, c.entered_at) END \
    THEN c.waiting_since ELSE CASE WHEN c.served_at >= c.queued_since \
    THEN coalesce(c.unassigned_at, c.queued_since) ELSE coalesce(c.queued_since, c.entered_at) END END";

/// Since when a conversation `c` waits in the queue that it is in.
const WAITS_HERE_SINCE: &str = "CASE WHEN c.unassigned_at > c.entered_at THEN c.unassigned_at ELSE c.entered_at END";

/// Who had the last conversation of the customer of a direct conversation `c`, in whichever channel, by way of the contact
/// points that are linked to theirs.
const LAST_OPERATOR: &str = "coalesce(c.last_assignee, (SELECT o.last_assignee FROM participant p \
    JOIN (SELECT contact, number, contact AS other_contact, number AS other_number FROM participant \
        WHERE conversation = c.conversation UNION SELECT e.contact, e.number, e.other_contact, e.other_number \
        FROM link_edge e JOIN participant l ON l.contact = e.contact AND l.number = e.number \
        WHERE l.conversation = c.conversation AND e.active = 1) AS same \
        ON same.contact = p.contact AND same.number = p.number \
    JOIN participant q ON q.contact = same.other_contact AND q.number = same.other_number \
    JOIN conversation o ON o.conversation = q.conversation \
    WHERE p.conversation = c.conversation AND c.kind = 'direct' AND o.kind = 'direct' \
    AND o.last_assignee IS NOT NULL ORDER BY o.last_activity_at DESC, o.conversation LIMIT 1))";

/// The language that the customer of a direct conversation `c` has set, as last heard.
const LANGUAGE: &str = "(SELECT a.value FROM participant p JOIN profile f ON f.contact = p.contact \
    AND f.number = p.number JOIN attribute a ON a.profile = f.profile WHERE p.conversation = c.conversation \
    AND c.kind = 'direct' AND a.attribute = 'language' AND a.retracted = 0 AND a.value IS NOT NULL \
    ORDER BY a.revision DESC LIMIT 1)";

/// True for a conversation `c` that waits, as the index has it.
const WAITS: &str = "c.queue IS NOT NULL AND c.assignee IS NULL AND c.status = 'open'";

/// A conversation that waits in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingConversation {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which.
    pub conversation: ConversationId,
    /// The channel it is held through.
    pub channel: Channel,
    /// The queue.
    pub queue: QueueId,
    /// 0 to 9.
    pub priority: u32,
    /// The language that whoever takes it must speak.
    pub language: Option<Arc<str>>,
    /// Since when it waits, over all queues that it fell through.
    pub since: DateTime<Utc>,
    /// Since when it waits in this queue: since it came, or since it is nobody's again.
    pub entered_at: DateTime<Utc>,
    /// How many queues it has fallen through.
    pub fallbacks: u32,
    /// Who worked on it, or on another one of the same customer, last.
    pub last_operator: Option<Arc<str>>,
}

/// A conversation that waits for an answer and is in no queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unqueued {
    /// Which.
    pub conversation: ConversationId,
    /// The account it is held through.
    pub account: AccountId,
    /// The language that its customer has set, as the provider names it: a BCP 47 tag.
    pub language: Option<String>,
}

pub(crate) fn tenant(row: &mut Columns) -> Result<TenantId, StoreError> {
    row.text()?.parse().map_err(|_| StoreError::Corrupt("a tenant is no slug".to_owned()))
}

fn waiting_of(row: &mut Columns) -> Result<WaitingConversation, StoreError> {
    Ok(WaitingConversation {
        tenant: tenant(row)?,
        conversation: ConversationId::new(row.id()?),
        channel: row.named()?,
        queue: QueueId::new(row.id()?),
        priority: row.small()?,
        language: row.opt_text()?.map(Into::into),
        since: row.time()?,
        entered_at: row.time()?,
        fallbacks: row.small()?,
        last_operator: row.opt_text()?.map(Into::into),
    })
}

fn waiting_columns(last_operator: &str) -> String {
    format!(
        "c.tenant, c.conversation, c.channel, c.queue, c.priority, c.queue_language, {WAITS_SINCE}, \
         {WAITS_HERE_SINCE}, c.fallbacks, {last_operator}"
    )
}

impl Views {
    /// The conversations that wait, in each queue, channel and language those whose turn is first: `ages_every` of waiting
    /// is worth one step of priority. At most `most` of each queue, channel and language, since operators may have room in
    /// one channel and none in another.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn waiting_conversations(
        &self,
        ages_every: Duration,
        most: u32,
    ) -> Result<Vec<WaitingConversation>, StoreError> {
        let turn = format!("{WAITS_SINCE} - CAST($1 AS BIGINT) * c.priority");
        let columns = waiting_columns(LAST_OPERATOR);
        let sql = format!(
            "SELECT {columns} FROM (SELECT conversation, row_number() OVER (PARTITION BY c.queue, c.channel, \
             c.queue_language ORDER BY {turn}, c.conversation) AS place FROM conversation c WHERE {WAITS}) AS first \
             JOIN conversation c ON c.conversation = first.conversation WHERE first.place <= $2 \
             ORDER BY {WAITS_SINCE}, c.conversation"
        );
        let step = ages_every.num_microseconds().unwrap_or(i64::MAX);
        self.rows(Query::new(sql, values![step, most]), |mut row| waiting_of(&mut row)).await
    }

    /// The conversations that wait in a queue since `entered_before` or earlier, longest there first, at most `most`; those that fell through `most_fallbacks` queues are left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn waiting_in_queue(
        &self,
        queue: QueueId,
        entered_before: DateTime<Utc>,
        most_fallbacks: u8,
        most: u32,
    ) -> Result<Vec<WaitingConversation>, StoreError> {
        let columns = waiting_columns("NULL");
        let sql = format!(
            "SELECT {columns} FROM conversation c WHERE {WAITS} AND c.queue = $1 AND c.entered_at <= $2 \
             AND {WAITS_HERE_SINCE} <= $2 AND c.fallbacks < $3 ORDER BY c.entered_at, c.conversation LIMIT $4"
        );
        let parameters = values![queue, entered_before, most_fallbacks, most];
        self.rows(Query::new(sql, parameters), |mut row| waiting_of(&mut row)).await
    }

    /// A page of the open conversations that are in a queue or somebody's, of all tenants: those that may have clocks (one
    /// that is opened again goes on with its operator and is in no queue). Oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn timed_conversations(
        &self,
        page: &PageRequest,
    ) -> Result<Page<(TenantId, ConversationId)>, StoreError> {
        let mut sql = "SELECT c.tenant, c.conversation, c.opened_at FROM conversation c \
            WHERE (c.queue IS NOT NULL OR c.assignee IS NOT NULL) AND c.status <> 'closed'"
            .to_owned();
        let mut parameters = Vec::new();
        page.finish(&mut sql, &mut parameters, "c.opened_at", "c.conversation");
        let read = |mut row: Columns| {
            let (tenant, conversation) = (tenant(&mut row)?, ConversationId::new(row.id()?));
            Ok(((tenant, conversation), row.int()?))
        };
        let found = self.rows(Query::new(sql, parameters), read).await?;
        let listed = Page::of(found, page, |((_, id), value)| Cursor { value: *value, id: id.uuid() });
        let items = listed.items.into_iter().map(|(which, _)| which).collect();
        Ok(Page { items, cursors: listed.cursors, more: listed.more })
    }

    /// The conversations of these accounts of a tenant that are in no queue, nobody's and not held by an agent, and in which
    /// a customer waits or that were taken from an operator; longest waiting first, at most `most`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn unqueued_conversations(
        &self,
        tenant: &TenantId,
        accounts: &[AccountId],
        most: u32,
    ) -> Result<Vec<Unqueued>, StoreError> {
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        check_ids(accounts.len())?;
        let mut parameters: Vec<Value> = Vec::new();
        padded(&mut parameters, accounts);
        let list = placeholders(1, accounts.len());
        parameters.extend(values![tenant.to_string(), most]);
        let last = parameters.len();
        let sql = format!(
            "SELECT c.conversation, c.account, {LANGUAGE} FROM conversation c WHERE c.account IN {list} \
             AND c.tenant = ${} AND c.queue IS NULL AND c.assignee IS NULL \
             AND coalesce(c.waiting_since, c.unassigned_at) IS NOT NULL AND c.status = 'open' \
             AND c.speaker_kind <> 'agent' ORDER BY coalesce(c.waiting_since, c.unassigned_at), c.conversation \
             LIMIT ${last}",
            last - 1
        );
        let read = |mut row: Columns| {
            let conversation = ConversationId::new(row.id()?);
            Ok(Unqueued { conversation, account: AccountId::new(row.id()?), language: row.opt_text()? })
        };
        self.rows(Query::new(sql, parameters), read).await
    }
}
