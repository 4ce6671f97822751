//! Wakes conversations when their time has come.
//!
//! **Invariant:** the read models only say where to look. Whether a conversation rests, and until when, is decided by its
//! own stream; one snooze is ended once, however often it is found.

use std::sync::Arc;
use std::time::Duration;

use events::DomainEvent;
use events::clock::Clock;
use events::conversation::{ConversationEvent, WokenReason};
use events::envelope::{Actor, Category, RecordedEvent, Revision, StreamName};
use events::ids::CommandId;
use events::log::Direction;
use models::command::Origin;
use models::conversation::{ConversationCommand, ConversationDecider};
use models::handler::{HandleError, Handler};
use projections::conversation::EndedSnooze;
use projections::store::StoreError;
use projections::views::{Order, PageRequest, Views};

/// Stable name: it keys the command ids.
pub const NAME: &str = "snooze";
/// How often it looks. A conversation wakes at most so much late.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Snoozes listed at a time.
const AT_A_TIME: u32 = 100;
/// Events read at a time on the way back to the one that began a snooze.
const BACKWARDS: usize = 64;

/// Ends snoozes.
pub struct Snooze {
    /// Writes down that they have ended.
    pub handler: Handler,
    /// Knows which may have.
    pub views: Views,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
}

impl Snooze {
    /// Wakes every conversation whose time has come. One that cannot be woken now holds up no other: it is found again.
    ///
    /// # Errors
    /// The read models cannot be read.
    pub async fn wake_all(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut request = PageRequest::first(AT_A_TIME, Order::Ascending);
        loop {
            let page = self.views.ended_snoozes(now, &request).await?;
            for ended in &page.items {
                if let Err(error) = self.wake(ended).await {
                    tracing::warn!(conversation.id = %ended.conversation, %error, "a snoozed conversation was not woken");
                }
            }
            match page.next() {
                Some(after) => request.after = Some(after),
                None => return Ok(()),
            }
        }
    }

    async fn wake(&self, ended: &EndedSnooze) -> anyhow::Result<()> {
        let stream = StreamName::new(Category::Conversation, ended.tenant.clone(), ended.conversation.uuid());
        let Some(cause) = self.begun_by(&stream).await? else { return Ok(()) };
        let origin = Origin {
            id: CommandId::of_reactor(NAME, cause.id, 0),
            tenant: ended.tenant.clone(),
            actor: Actor::System(NAME.into()),
            causation: Some(cause.id),
            correlation: cause.metadata.correlation,
            occurred_at: self.clock.now(),
            traceparent: cause.metadata.traceparent,
            seen_at: None,
            wish: None,
        };
        let command = ConversationCommand::Wake { reason: WokenReason::TimeCame, now: origin.occurred_at };
        match self.handler.handle::<ConversationDecider>(stream.id, &origin, command).await {
            // Erased: there is nobody to be reminded of.
            Ok(_) | Err(HandleError::Erased) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The event that began the last snooze of a conversation.
    async fn begun_by(&self, stream: &StreamName) -> anyhow::Result<Option<RecordedEvent>> {
        let mut from = None;
        loop {
            let events = self.handler.log().read_stream(stream, from, Direction::Backwards, BACKWARDS).await?;
            let first = events.last().map_or(0, |event| event.revision.0);
            for event in events {
                let decoded = self.handler.codec().decode(event)?;
                if matches!(decoded.event, DomainEvent::Conversation(ConversationEvent::Snoozed(_))) {
                    return Ok(Some(decoded.recorded));
                }
            }
            if first == 0 {
                return Ok(None);
            }
            from = Some(Revision(first - 1));
        }
    }
}
