//! Reads of raw deliveries.
//!
//! **Invariant:** facts of the envelope only; the body is read from the log by whoever may.

use chrono::{DateTime, Utc};
use events::envelope::{Position, Revision};
use events::ids::{AccountId, ConversationId, EventId, IntakeId};
use events::values::Channel;
use events::viewer::Viewer;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::{Query, StoreError};
use crate::value::Value;
use crate::views::{Cursor, Page, PageRequest, Views, place};

/// What became of a raw delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntakeOutcome {
    /// It waits.
    Received,
    /// It was understood and carried out.
    Normalised,
    /// It was not understood.
    Unrecognised,
    /// It was understood, but could not be carried out.
    Parked,
    /// A person asked for another try; it waits again.
    Redriven,
}

impl IntakeOutcome {
    /// The name as stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Normalised => "normalised",
            Self::Unrecognised => "unrecognised",
            Self::Parked => "parked",
            Self::Redriven => "redriven",
        }
    }
}

/// A raw delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeView {
    /// The event that holds the body.
    pub received: EventId,
    /// Its stream.
    pub stream: IntakeId,
    /// The account it was sent to.
    pub account: AccountId,
    /// The channel of the account.
    pub channel: Channel,
    /// Length of the body.
    pub size_bytes: u64,
    /// What became of it.
    pub outcome: IntakeOutcome,
    /// What it was, in the provider's words, once it was understood.
    pub kind: Option<String>,
    /// Why it was not understood or not carried out.
    pub reason: Option<String>,
    /// How often it was tried before it was parked.
    pub attempts: u32,
    /// The conversation it belongs to.
    pub conversation: Option<ConversationId>,
    /// When it was sent, by the provider's clock.
    pub occurred_at: DateTime<Utc>,
    /// When it came in.
    pub received_at: DateTime<Utc>,
    /// When the outcome was known.
    pub outcome_at: DateTime<Utc>,
    /// Its place in its stream.
    pub revision: Revision,
    /// Its place in the log.
    pub position: Position,
}

/// Which raw deliveries are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IntakeFilter {
    /// Only with this outcome.
    pub outcome: Option<IntakeOutcome>,
    /// Only of this account.
    pub account: Option<AccountId>,
    /// Only of this conversation.
    pub conversation: Option<ConversationId>,
}

impl Views {
    /// A page of raw deliveries, by their place in the log.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn intake(
        &self,
        viewer: &Viewer,
        filter: &IntakeFilter,
        page: &PageRequest,
    ) -> Result<Page<IntakeView>, StoreError> {
        let mut sql = "SELECT received, stream, account, channel, size_bytes, outcome, kind, reason, attempts, \
            conversation, occurred_at, received_at, outcome_at, received_revision, received_position FROM intake \
            WHERE tenant = $1"
            .to_owned();
        let mut parameters = vec![Value::from(&viewer.tenant)];
        let conditions: [(&str, Option<Value>); 3] = [
            ("outcome", filter.outcome.map(|outcome| outcome.as_str().into())),
            ("account", filter.account.map(Into::into)),
            ("conversation", filter.conversation.map(Into::into)),
        ];
        for (column, value) in conditions {
            if let Some(value) = value {
                parameters.push(value);
                sql.push_str(&format!(" AND {column} = ${}", parameters.len()));
            }
        }
        if filter.outcome.is_some_and(|outcome| outcome != IntakeOutcome::Normalised) {
            sql.push_str(" AND outcome <> 'normalised'");
        }
        page.finish(&mut sql, &mut parameters, "received_position", "");
        let items = self
            .rows(Query::new(sql, parameters), |mut row| {
                Ok(IntakeView {
                    received: EventId::new(row.id()?),
                    stream: IntakeId::new(row.id()?),
                    account: AccountId::new(row.id()?),
                    channel: row.named()?,
                    size_bytes: row.count()?,
                    outcome: row.named()?,
                    kind: row.opt_text()?,
                    reason: row.opt_text()?,
                    attempts: row.small()?,
                    conversation: row.opt_id()?.map(ConversationId::new),
                    occurred_at: row.time()?,
                    received_at: row.time()?,
                    outcome_at: row.time()?,
                    revision: Revision(row.count()?),
                    position: Position(row.count()?),
                })
            })
            .await?;
        let cursor = |item: &IntakeView| Cursor { value: place(item.position.0), id: Uuid::nil() };
        Ok(Page::of(items, page, cursor))
    }
}
