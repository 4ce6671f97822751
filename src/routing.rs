//! Shares conversations out among operators, and takes them from those who vanish.
//!
//! **Invariant:** the read models only say where to look. Whether an operator has room is decided by their own stream,
//! and first; whether a conversation waits is decided by its own. What a round leaves half done (the process died between
//! the two) is found by the next as a difference between them and brought together again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use events::clock::Clock;
use events::envelope::{Actor, Category, Position, RecordedEvent, StreamName};
use events::heartbeats::Heartbeats;
use events::ids::{CommandId, ConversationId, OperatorId, TenantId};
use events::log::Direction;
use models::command::Origin;
use models::conversation::{ConversationCommand, ConversationDecider, ConversationRejection};
use models::decider::Decider;
use models::handler::{HandleError, Handler};
use models::operator::{OperatorCommand, OperatorDecider, OperatorRejection};
use projections::projector::CONSUMER;
use projections::views::Views;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, sleep};

use crate::shutdown;

mod presence;
mod queues;
mod reconcile;

/// Stable name: it keys the command ids.
pub const NAME: &str = "routing";
/// How often it looks when nothing happens: an operator is found absent so much late at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time between two rounds while things happen.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a round waits for the read models to show what the last one did.
const PATIENCE: Duration = Duration::from_secs(5);
/// Things of one kind that a round looks at.
const AT_A_TIME: u32 = 200;

/// Shares conversations out.
pub struct Routing {
    /// Writes down who gets what.
    pub handler: Handler,
    /// Knows who waits and who is there.
    pub views: Views,
    /// Knows who showed a sign of life.
    pub heartbeats: Arc<dyn Heartbeats>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// How long an operator counts as there without a sign of life.
    pub presence_timeout: Duration,
}

/// An operator of a tenant, as signs of life name them.
type OperatorName = (TenantId, Arc<str>);

/// One process's time of sharing out.
pub struct Shift {
    /// When it began: signs of life from before may be forgotten.
    began: DateTime<Utc>,
    /// Whose signs of life are not known, and since when.
    unheard: HashMap<OperatorName, DateTime<Utc>>,
    /// How far the read models must have come, to show what was done.
    written: Position,
}

impl Routing {
    /// Shares out until it is told to stop.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut shift = self.begin();
        let mut applied = self.views.store().applied(CONSUMER);
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown::asked(&mut stop) => return,
                _ = tick.tick() => {}
                Ok(()) = applied.changed() => {}
            }
            if let Err(error) = self.round(&mut shift).await {
                tracing::warn!(%error, "conversations will be shared out again");
                // Who showed signs of life meanwhile may not have been heard.
                shift.began = self.clock.now();
            }
            sleep(PAUSE).await;
            applied.mark_unchanged();
        }
    }

    /// Begins to share out.
    #[must_use]
    pub fn begin(&self) -> Shift {
        Shift { began: self.clock.now(), unheard: HashMap::new(), written: Position::START }
    }

    /// Looks once at everything there is to do. What cannot be done for one conversation or operator holds up no other:
    /// it is found again.
    ///
    /// # Errors
    /// The read models or the signs of life cannot be read.
    pub async fn round(&self, shift: &mut Shift) -> anyhow::Result<()> {
        self.views.wait_for(shift.written, PATIENCE).await?;
        let operators = self.views.operators_on_duty().await?;
        let queues = self.views.queues_on_duty().await?;
        if operators.is_empty() && queues.is_empty() {
            return Ok(());
        }
        let before = shift.written;
        self.note_absence(shift, &operators).await?;
        self.take_from_absent(shift, &operators).await;
        self.reconcile(shift).await?;
        self.enqueue_by_account(shift, &queues, &operators).await?;
        self.fall_through(shift, &queues).await?;
        let operators = if shift.written == before {
            operators
        } else {
            self.views.wait_for(shift.written, PATIENCE).await?;
            self.views.operators_on_duty().await?
        };
        self.share_out(shift, &queues, operators).await
    }

    async fn last_event(&self, stream: &StreamName) -> anyhow::Result<Option<RecordedEvent>> {
        Ok(self.handler.log().read_stream(stream, None, Direction::Backwards, 1).await?.pop())
    }

    /// Carries out a command on a stream that exists, because of `cause`. Its id follows from the last event of the
    /// stream and from what is wished: whoever decides the same on the same state issues the same command.
    async fn command<D: Decider>(
        &self,
        shift: &mut Shift,
        stream: &StreamName,
        cause: Option<&RecordedEvent>,
        wish: &str,
        command: D::Command,
    ) -> anyhow::Result<Result<(), D::Rejection>> {
        let Some(last) = self.last_event(stream).await? else { return Ok(Ok(())) };
        let cause = cause.unwrap_or(&last);
        let origin = Origin {
            id: CommandId::of_reactor(&format!("{NAME} {wish}"), last.id, 0),
            tenant: stream.tenant.clone(),
            actor: Actor::System(NAME.into()),
            causation: Some(cause.id),
            correlation: cause.metadata.correlation,
            occurred_at: self.clock.now(),
            traceparent: cause.metadata.traceparent.clone(),
            seen_at: None,
            wish: None,
        };
        match self.handler.handle::<D>(stream.id, &origin, command).await {
            Ok(handled) => {
                shift.written = shift.written.max(handled.position);
                Ok(Ok(()))
            }
            // Erased: there is nobody to be served.
            Err(HandleError::Erased) => Ok(Ok(())),
            Err(HandleError::Rejected(rejection)) => Ok(Err(rejection)),
            Err(error) => Err(error.into()),
        }
    }

    async fn on_operator(
        &self,
        shift: &mut Shift,
        tenant: &TenantId,
        operator: OperatorId,
        cause: Option<&RecordedEvent>,
        command: OperatorCommand,
    ) -> anyhow::Result<Result<(), OperatorRejection>> {
        let stream = StreamName::new(Category::Operator, tenant.clone(), operator.uuid());
        let wish = format!("{command:?}");
        self.command::<OperatorDecider>(shift, &stream, cause, &wish, command).await
    }

    async fn on_conversation(
        &self,
        shift: &mut Shift,
        stream: &StreamName,
        cause: Option<&RecordedEvent>,
        command: ConversationCommand,
    ) -> anyhow::Result<Result<(), ConversationRejection>> {
        let wish = format!("{command:?}");
        self.command::<ConversationDecider>(shift, stream, cause, &wish, command).await
    }
}

fn conversation_stream(tenant: &TenantId, conversation: ConversationId) -> StreamName {
    StreamName::new(Category::Conversation, tenant.clone(), conversation.uuid())
}

/// Tells of one thing that was not done, and goes on with the others.
fn told(what: &'static str, conversation: ConversationId, done: anyhow::Result<()>) {
    if let Err(error) = done {
        tracing::warn!(conversation.id = %conversation, %error, "{what}");
    }
}

/// Things by their tenant.
fn by_tenant<T>(things: impl IntoIterator<Item = T>, tenant: impl Fn(&T) -> &TenantId) -> HashMap<TenantId, Vec<T>> {
    let mut all: HashMap<TenantId, Vec<T>> = HashMap::new();
    for thing in things {
        let tenant = tenant(&thing).clone();
        all.entry(tenant).or_default().push(thing);
    }
    all
}

#[cfg(test)]
pub(crate) mod tests;
