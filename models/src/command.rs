//! The envelope of a command: whose wish it is and what led to it.
//!
//! **Invariant:** the command id decides what "the same command" is; sent again, it changes nothing, and with another
//! wish it is refused.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::envelope::{Actor, Metadata, SeenAt, Wish};
use events::ids::{CommandId, EventId, TenantId};
use uuid::Uuid;

/// Where a command comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The command's id: the same for the same wish.
    pub id: CommandId,
    /// Whose data it is about: from the viewer or the channel account.
    pub tenant: TenantId,
    /// Who wishes.
    pub actor: Actor,
    /// The event that led to it.
    pub causation: Option<EventId>,
    /// The same for all that follows from one outside cause.
    pub correlation: Uuid,
    /// When it was wished: the provider's time for what a customer did, ours else.
    pub occurred_at: DateTime<Utc>,
    /// W3C trace context of the request.
    pub traceparent: Option<Arc<str>>,
    /// What the actor saw when they acted.
    pub seen_at: Option<SeenAt>,
    /// What was wished, where a caller chose the id: the same id with another wish is refused. `None` for reactors,
    /// whose commands follow from their cause.
    pub wish: Option<Wish>,
}

impl Origin {
    /// The metadata of an event that this command writes.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        Metadata {
            actor: self.actor.clone(),
            command: Some(self.id),
            causation: self.causation,
            correlation: self.correlation,
            occurred_at: self.occurred_at,
            traceparent: self.traceparent.clone(),
            seen_at: self.seen_at.clone(),
            wish: self.wish,
        }
    }
}
