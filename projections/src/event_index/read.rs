//! Reads of places of events.
//!
//! **Invariant:** what is found is a place; the event itself is read from the log by its id.

use chrono::{DateTime, Utc};
use events::envelope::{Category, Position, Revision, StreamName};
use events::ids::{ConversationId, EventId, Occupancy, ProfileId};
use events::viewer::Viewer;
use uuid::Uuid;

use crate::store::{Query, StoreError};
use crate::value::Value;
use crate::views::{Cursor, Page, PageRequest, Views, check_ids, place};

/// Where an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventView {
    /// Its place in the log.
    pub position: Position,
    /// Its stream.
    pub stream: StreamName,
    /// Its place in the stream.
    pub revision: Revision,
    /// Its id.
    pub event: EventId,
    /// Its type.
    pub event_type: String,
    /// Who made it happen: `customer`, `operator`, `agent` or `system`.
    pub actor_kind: String,
    /// The id within the kind.
    pub actor: String,
    /// The event that led to it.
    pub causation: Option<EventId>,
    /// The same for everything that follows from one outside cause.
    pub correlation: Uuid,
    /// The conversation it is about.
    pub conversation: Option<ConversationId>,
    /// When it happened, by the provider's clock.
    pub occurred_at: DateTime<Utc>,
    /// When the log took it.
    pub recorded_at: DateTime<Utc>,
}

/// Which events are wanted; all conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only of this stream.
    pub stream: Option<(Category, Uuid)>,
    /// Only about this conversation, raw deliveries included.
    pub conversation: Option<ConversationId>,
    /// Only about these persons, in all categories: the occupancies of a profile and its members.
    pub persons: Option<(Vec<Occupancy>, Vec<ProfileId>)>,
    /// Only of this type.
    pub event_type: Option<String>,
    /// Only those that follow from this outside cause. Not indexed: give a narrower condition beside it.
    pub correlation: Option<Uuid>,
    /// Only those recorded at or after this time.
    pub from: Option<DateTime<Utc>>,
    /// Only those recorded before this time.
    pub before: Option<DateTime<Utc>>,
    /// Only those up to this place in the log.
    pub up_to: Option<Position>,
}

impl Views {
    /// A page of places of events, in the order of the log.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn events(
        &self,
        viewer: &Viewer,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<Page<EventView>, StoreError> {
        let mut sql = "SELECT position, category, stream, revision, event, event_type, actor_kind, actor, causation, \
            correlation, conversation, occurred_at, recorded_at FROM event_index WHERE tenant = $1"
            .to_owned();
        let mut parameters = vec![Value::from(&viewer.tenant)];
        conditions(filter, &mut sql, &mut parameters)?;
        page.finish(&mut sql, &mut parameters, "position", "");
        let items = self
            .rows(Query::new(sql, parameters), |mut row| {
                Ok(EventView {
                    position: Position(row.count()?),
                    stream: StreamName::new(row.named()?, viewer.tenant.clone(), row.id()?),
                    revision: Revision(row.count()?),
                    event: EventId::new(row.id()?),
                    event_type: row.text()?,
                    actor_kind: row.text()?,
                    actor: row.text()?,
                    causation: row.opt_id()?.map(EventId::new),
                    correlation: row.id()?,
                    conversation: row.opt_id()?.map(ConversationId::new),
                    occurred_at: row.time()?,
                    recorded_at: row.time()?,
                })
            })
            .await?;
        let cursor = |item: &EventView| Cursor { value: place(item.position.0), id: Uuid::nil() };
        Ok(Page::of(items, page, cursor))
    }
}

fn conditions(filter: &EventFilter, sql: &mut String, parameters: &mut Vec<Value>) -> Result<(), StoreError> {
    let mut condition = |text: &str, value: Option<Value>| {
        if let Some(value) = value {
            parameters.push(value);
            sql.push_str(&format!(" AND {text} ${}", parameters.len()));
        }
    };
    condition("category =", filter.stream.map(|(category, _)| category.as_str().into()));
    condition("stream =", filter.stream.map(|(_, id)| id.into()));
    condition("conversation =", filter.conversation.map(Into::into));
    condition("event_type =", filter.event_type.clone().map(Into::into));
    condition("correlation =", filter.correlation.map(Into::into));
    condition("recorded_at >=", filter.from.map(Into::into));
    condition("recorded_at <", filter.before.map(Into::into));
    condition("position <=", filter.up_to.map(Into::into));
    if let Some((occupancies, profiles)) = &filter.persons {
        check_ids(occupancies.len() + profiles.len())?;
        let mut either = Vec::with_capacity(occupancies.len() + profiles.len());
        for occupancy in occupancies {
            parameters.push(occupancy.contact.into());
            parameters.push(occupancy.number.into());
            either.push(format!("(contact = ${} AND number = ${})", parameters.len() - 1, parameters.len()));
        }
        for profile in profiles {
            parameters.push((*profile).into());
            either.push(format!("stream = ${}", parameters.len()));
        }
        if either.is_empty() {
            return Err(StoreError::Invalid("no person to look for"));
        }
        sql.push_str(&format!(" AND ({})", either.join(" OR ")));
    }
    Ok(())
}
