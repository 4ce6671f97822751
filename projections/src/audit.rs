//! Any read model as of a position or time, with the events that made it; and the replay of a conversation.
//!
//! **Invariant:** an as-of read folds the events of the streams concerned, up to one position, through the same
//! projections as the live read models, and is read by the same functions. After an erasure it shows what is erased
//! as erased. Nothing here has effects.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use events::codec::{Codec, CodecError, Decoded};
use events::envelope::{Category, Position, RecordedEvent, Revision, StreamName};
use events::feed::Checkpoints;
use events::ids::{ConversationId, EventId, ProfileId};
use events::log::{Direction, EventLog, ReadError};
use events::viewer::{Role, Viewer};
use uuid::Uuid;

use crate::conversation::ConversationView;
use crate::link::components;
use crate::profile::ProfileView;
use crate::projection::Changes;
use crate::projector::{CONSUMER, apply_all, decode};
use crate::store::sqlite::SqliteStore;
use crate::store::{Commit, Query, ReadStore, StoreError};
use crate::value::{Columns, Value};
use crate::views::Views;

/// Events of one stream read at once.
const SLICE: usize = 512;
/// Most events that one as-of read folds.
const MOST_EVENTS: usize = 200_000;
/// How long a read of a profile waits for the read models that name its streams.
const PATIENCE: Duration = Duration::from_secs(5);

/// As of when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// After the event at this position, or the last one before it.
    Position(Position),
    /// At this time: [`EventLog::position_at`].
    Time(DateTime<Utc>),
}

/// Why an as-of read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// An event could not be decoded or opened.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The read models could not be asked, or the fold could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Only supervisors replay.
    #[error("replay needs the role of a supervisor")]
    NotAllowed,
    /// More events than one read may fold.
    #[error("more than {MOST_EVENTS} events: ask for an earlier time")]
    TooLong,
}

/// Read models as of a position, with the events that made them.
pub struct Past {
    /// Reads them, with the same functions as the live ones.
    pub views: Views,
    /// The position.
    pub position: Position,
    /// The events folded, by position.
    pub events: Vec<RecordedEvent>,
}

/// One step of a replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The event with its envelope: actor, command, both times, what the actor saw.
    pub event: Decoded,
    /// The event that led to it, if one did.
    pub cause: Option<RecordedEvent>,
}

/// Reads of the past.
#[derive(Clone)]
pub struct Audit {
    log: Arc<dyn EventLog>,
    codec: Codec,
    live: Views,
}

impl Audit {
    /// Reads the past from `log`; `live` tells which streams make a profile.
    #[must_use]
    pub const fn new(log: Arc<dyn EventLog>, codec: Codec, live: Views) -> Self {
        Self { log, codec, live }
    }

    /// A conversation as of a position or time; `None` when it did not exist.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub async fn conversation(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        as_of: AsOf,
    ) -> Result<Option<(ConversationView, Past)>, AuditError> {
        let past = self.conversation_past(viewer, id, as_of).await?;
        Ok(past.views.conversation(viewer, id).await?.map(|view| (view, past)))
    }

    /// The read models of one conversation as of a position or time: its timeline is read from them.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub async fn conversation_past(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        as_of: AsOf,
    ) -> Result<Past, AuditError> {
        let position = self.position(as_of).await?;
        let stream = StreamName::new(Category::Conversation, viewer.tenant.clone(), id.uuid());
        self.fold(position, vec![stream]).await
    }

    /// A profile as of a position or time, with the links that held then; `None` when it did not exist.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub async fn profile(
        &self,
        viewer: &Viewer,
        id: ProfileId,
        as_of: AsOf,
    ) -> Result<Option<(ProfileView, Past)>, AuditError> {
        let position = self.position(as_of).await?;
        let past = self.fold(position, self.streams_of_profile(viewer, id, position).await?).await?;
        Ok(past.views.profile(viewer, id).await?.map(|view| (view, past)))
    }

    /// Every step of a conversation up to a position or time, with its actor, its cause and both times.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub async fn replay(&self, viewer: &Viewer, id: ConversationId, as_of: AsOf) -> Result<Vec<Step>, AuditError> {
        if !viewer.may_act_as(Role::Supervisor) {
            return Err(AuditError::NotAllowed);
        }
        let position = self.position(as_of).await?;
        let stream = StreamName::new(Category::Conversation, viewer.tenant.clone(), id.uuid());
        let mut events = Vec::new();
        self.read_up_to(&stream, position, &mut events).await?;
        let mut causes: HashMap<EventId, Option<RecordedEvent>> = HashMap::new();
        let mut steps = Vec::with_capacity(events.len());
        for recorded in events {
            let cause = match recorded.metadata.causation {
                None => None,
                Some(id) => match causes.get(&id) {
                    Some(cause) => cause.clone(),
                    None => {
                        let found = self.log.find(id).await?.filter(|cause| *cause.tenant() == viewer.tenant);
                        causes.insert(id, found.clone());
                        found
                    }
                },
            };
            steps.push(Step { event: self.codec.decode_open(recorded).await?, cause });
        }
        Ok(steps)
    }

    /// The position that is meant.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub async fn position(&self, as_of: AsOf) -> Result<Position, AuditError> {
        Ok(match as_of {
            AsOf::Position(position) => position,
            AsOf::Time(time) => self.log.position_at(time).await?,
        })
    }

    /// The streams of everybody who was ever linked with the profile, directly or not. Links taken back count, too:
    /// they may have held then.
    async fn streams_of_profile(
        &self,
        viewer: &Viewer,
        id: ProfileId,
        position: Position,
    ) -> Result<Vec<StreamName>, AuditError> {
        self.live.wait_for(position.min(self.log.head().await?), PATIENCE).await?;
        let walk = components("SELECT profile, contact, number FROM profile WHERE tenant = $1 AND profile = $2", "");
        let parameters = vec![Value::from(&viewer.tenant), id.into()];
        let members = format!(
            "{walk}SELECT m.contact, p.profile FROM member m \
             LEFT JOIN profile p ON p.contact = m.contact AND p.number = m.number"
        );
        let links = format!(
            "{walk}SELECT DISTINCT e.link FROM member m \
             JOIN link_edge e ON e.contact = m.contact AND e.number = m.number"
        );
        let queries = [Query::new(members, parameters.clone()), Query::new(links, parameters)];
        let [members, links] = self.live.snapshot(queries).await?;
        let mut streams = Vec::with_capacity(members.len() * 2 + links.len());
        let mut add = |category: Category, id: Uuid| {
            let stream = StreamName::new(category, viewer.tenant.clone(), id);
            if !streams.contains(&stream) {
                streams.push(stream);
            }
        };
        for row in members {
            let mut row = Columns::from(row);
            add(Category::Contact, row.id()?);
            if let Some(profile) = row.opt_id()? {
                add(Category::Profile, profile);
            }
        }
        for row in links {
            add(Category::Link, Columns::from(row).id()?);
        }
        Ok(streams)
    }

    /// Folds streams up to a position into read models of their own.
    async fn fold(&self, position: Position, streams: Vec<StreamName>) -> Result<Past, AuditError> {
        let mut events = Vec::new();
        for stream in &streams {
            self.read_up_to(stream, position, &mut events).await?;
        }
        events.sort_by_key(|event| event.position);
        let mut changes = Changes::with_capacity(events.len());
        for event in &events {
            apply_all(&decode(&self.codec, event.clone()).await?, &mut changes);
        }
        let store = SqliteStore::in_memory().await?;
        let checkpoints = Checkpoints::of_position(position);
        store.commit(Commit { consumer: Cow::Borrowed(CONSUMER), changes, parked: Vec::new(), checkpoints }).await?;
        Ok(Past { views: Views::new(Arc::new(store)), position, events })
    }

    async fn read_up_to(
        &self,
        stream: &StreamName,
        position: Position,
        events: &mut Vec<RecordedEvent>,
    ) -> Result<(), AuditError> {
        let mut from = Some(Revision(0));
        while let Some(revision) = from {
            let slice = self.log.read_stream(stream, Some(revision), Direction::Forwards, SLICE).await?;
            from = (slice.len() == SLICE).then(|| slice.last().map(|event| event.revision.next())).flatten();
            for event in slice {
                if event.position > position {
                    return Ok(());
                }
                events.push(event);
            }
            if events.len() > MOST_EVENTS {
                return Err(AuditError::TooLong);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
