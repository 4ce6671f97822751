//! The inbox: lists of conversations by what is to be done with them.
//!
//! **Invariant:** a page costs four statements, whatever the filters and however many conversations.

use events::ids::{AccountId, ConversationId, Occupancy, QueueId};
use events::values::Channel;
use events::viewer::Viewer;

use super::{ConversationStatus, ConversationView};
use crate::store::{Query, StoreError};
use crate::value::Value;
use crate::views::{Cursor, Page, PageRequest, Views};

/// Which conversations are wanted; all conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConversationFilter {
    /// Only with one of these states; any when empty.
    pub statuses: Vec<ConversationStatus>,
    /// Only somebody's, or nobody's.
    pub assignee: Option<Assignee>,
    /// Only of this channel.
    pub channel: Option<Channel>,
    /// Only of this account.
    pub account: Option<AccountId>,
    /// Only those that wait in this queue or came from it.
    pub queue: Option<QueueId>,
    /// Only with this tag.
    pub tag: Option<String>,
    /// Only with a message from the customer that the viewer has not read.
    pub unread: bool,
    /// Only with a note that mentions the viewer and that they have not read.
    pub mentions_me: bool,
    /// Only those in which one of these takes or took part: at most 1000.
    pub participants: Vec<Occupancy>,
}

/// Whose work conversations are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignee {
    /// Nobody's.
    Nobody,
    /// This operator's.
    Operator(String),
}

/// By what conversations are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConversationSort {
    /// The last message in or out.
    #[default]
    LastActivity,
    /// Since when the customer waits; only those in which one does.
    WaitingSince,
}

impl Views {
    /// A page of the inbox.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn conversations(
        &self,
        viewer: &Viewer,
        filter: &ConversationFilter,
        sort: ConversationSort,
        page: &PageRequest,
    ) -> Result<Page<ConversationView>, StoreError> {
        let value = match sort {
            ConversationSort::LastActivity => "c.last_activity_at",
            ConversationSort::WaitingSince => "c.waiting_since",
        };
        let (sql, parameters) = listing(viewer, filter, sort, value, page)?;
        let found =
            self.rows(Query::new(sql, parameters), |mut row| Ok((ConversationId::new(row.id()?), row.int()?))).await?;
        let listed = Page::of(found, page, |(id, value)| Cursor { value: *value, id: id.uuid() });
        let ids: Vec<ConversationId> = listed.items.iter().map(|(id, _)| *id).collect();
        let items = self.conversations_by_ids(viewer, &ids).await?;
        Ok(Page { items, cursors: listed.cursors, more: listed.more })
    }
}

/// The query of a page. By activity the index has one status after the other: the page is the first of what each
/// status has to offer.
fn listing(
    viewer: &Viewer,
    filter: &ConversationFilter,
    sort: ConversationSort,
    value: &str,
    page: &PageRequest,
) -> Result<(String, Vec<Value>), StoreError> {
    let mut parameters = vec![Value::from(&viewer.tenant)];
    let mut sql = format!("SELECT c.conversation, {value} AS place FROM conversation c WHERE c.tenant = $1");
    conditions(viewer, filter, &mut sql, &mut parameters)?;
    if sort == ConversationSort::WaitingSince {
        sql.push_str(" AND c.waiting_since IS NOT NULL");
    }
    let mut ending = String::new();
    page.finish(&mut ending, &mut parameters, value, "c.conversation");
    let all = ConversationStatus::ALL;
    let statuses = if filter.statuses.is_empty() { all.as_slice() } else { &filter.statuses };
    // Names of an enum: no text of a caller.
    let of_status = |status: &ConversationStatus| format!("{sql} AND c.status = '{}'{ending}", status.as_str());
    let sql = match (sort, &filter.assignee, statuses) {
        (ConversationSort::LastActivity, None | Some(Assignee::Nobody), [status]) => of_status(status),
        (ConversationSort::LastActivity, None | Some(Assignee::Nobody), several) => {
            let mut several = several.to_vec();
            several.sort_unstable();
            several.dedup();
            let parts: Vec<String> =
                several.iter().map(|status| format!("SELECT * FROM ({}) AS of_status", of_status(status))).collect();
            let direction = page.order.direction();
            let limit = parameters.len();
            format!("{} ORDER BY place {direction}, conversation {direction} LIMIT ${limit}", parts.join(" UNION ALL "))
        }
        (ConversationSort::WaitingSince, ..) | (_, Some(Assignee::Operator(_)), _) => {
            let names: Vec<String> = statuses.iter().map(|status| format!("'{}'", status.as_str())).collect();
            format!("{sql} AND c.status IN ({}){ending}", names.join(", "))
        }
    };
    Ok((sql, parameters))
}

fn conditions(
    viewer: &Viewer,
    filter: &ConversationFilter,
    sql: &mut String,
    parameters: &mut Vec<Value>,
) -> Result<(), StoreError> {
    let mut condition = |text: &str, value: Value| {
        parameters.push(value);
        sql.push_str(&text.replace("$?", &format!("${}", parameters.len())));
    };
    if let Some(channel) = filter.channel {
        condition(" AND c.channel = $?", channel.as_str().into());
    }
    if let Some(account) = filter.account {
        condition(" AND c.account = $?", account.into());
    }
    if let Some(queue) = filter.queue {
        condition(" AND c.queue = $?", queue.into());
    }
    if let Some(Assignee::Operator(operator)) = &filter.assignee {
        condition(" AND c.assignee = $?", operator.clone().into());
    }
    if let Some(tag) = &filter.tag {
        condition(
            " AND EXISTS (SELECT 1 FROM conversation_tag t WHERE t.conversation = c.conversation AND t.tag = $? \
             AND t.active = 1)",
            tag.clone().into(),
        );
    }
    if filter.unread {
        condition(
            " AND c.last_inbound_revision > coalesce((SELECT r.up_to FROM read_state r \
             WHERE r.conversation = c.conversation AND r.operator = $?), -1)",
            viewer.id.to_string().into(),
        );
    }
    if filter.mentions_me {
        condition(
            " AND c.conversation IN (SELECT m.conversation FROM mention m LEFT JOIN read_state r \
             ON r.conversation = m.conversation AND r.operator = m.operator \
             WHERE m.tenant = $1 AND m.operator = $? AND m.revision > coalesce(r.up_to, -1))",
            viewer.id.to_string().into(),
        );
    }
    if filter.assignee == Some(Assignee::Nobody) {
        sql.push_str(" AND c.assignee IS NULL");
    }
    if !filter.participants.is_empty() {
        crate::views::check_ids(filter.participants.len())?;
        sql.push_str(" AND c.conversation IN (SELECT p.conversation FROM participant p WHERE ");
        for (index, person) in filter.participants.iter().enumerate() {
            parameters.push(person.contact.into());
            parameters.push(person.number.into());
            let or = if index == 0 { "" } else { " OR " };
            let last = parameters.len();
            sql.push_str(&format!("{or}(p.contact = ${} AND p.number = ${last})", last - 1));
        }
        sql.push(')');
    }
    Ok(())
}
