//! Brings together what the streams of operators and of conversations say of each other.
//!
//! **Invariant:** acts only on what both streams say now; a difference that is on its way to the read models is left alone.

use std::sync::Arc;

use events::conversation::AssignedReason;
use events::envelope::{Actor, Category, StreamName};
use events::log::Direction;
use events::operator::{ReleaseReason, TakenBy};
use models::conversation::{Conversation, ConversationCommand, ConversationDecider};
use models::operator::{OperatorCommand, OperatorDecider, OperatorRejection};
use projections::operator::{StrayAssigned, StrayHeld};

use super::{AT_A_TIME, Routing, Shift, conversation_stream, told};

/// Events that make a conversation somebody's work again after a rest or an end.
const TAKES_UP: [&str; 2] = ["conversation.reopened", "conversation.woken"];
/// How many of the last events of a conversation are looked at for one of them.
const LOOKS_BACK: usize = 100;

/// Whose work a conversation is.
struct Work {
    operator: Option<Arc<str>>,
    is_open: bool,
    rests: bool,
}

impl Work {
    fn of(state: &Conversation) -> Self {
        Self { operator: state.operator().cloned(), is_open: state.is_open(), rests: state.is_snoozed() }
    }

    fn is_done_by(&self, operator: &str) -> bool {
        self.is_open && !self.rests && self.operator.as_deref() == Some(operator)
    }
}

impl Routing {
    /// Releases what operators hold and do not work on, and counts what they work on and do not hold.
    ///
    /// # Errors
    /// The read models cannot be read.
    pub(super) async fn reconcile(&self, shift: &mut Shift) -> anyhow::Result<()> {
        for stray in self.views.stray_held(AT_A_TIME).await? {
            let done = self.release(shift, &stray).await;
            told("a conversation was not released", stray.conversation, done);
        }
        for stray in self.views.stray_assigned(AT_A_TIME).await? {
            let done = self.count(shift, &stray).await;
            told("a conversation does not count for its operator", stray.conversation, done);
        }
        Ok(())
    }

    async fn release(&self, shift: &mut Shift, stray: &StrayHeld) -> anyhow::Result<()> {
        let stream = conversation_stream(&stray.tenant, stray.conversation);
        let work = self.handler.inspect::<ConversationDecider, _>(&stream, Work::of).await?;
        let reason = match &work {
            work if work.is_done_by(&stray.operator) => return Ok(()),
            work if !work.is_open => ReleaseReason::Closed,
            work if work.rests => ReleaseReason::Snoozed,
            _ => ReleaseReason::Reassigned,
        };
        let cause = self.last_event(&stream).await?;
        let command = OperatorCommand::Release { conversation: stray.conversation, reason };
        self.on_operator(shift, &stray.tenant, stray.id, cause.as_ref(), command).await??;
        Ok(())
    }

    async fn count(&self, shift: &mut Shift, stray: &StrayAssigned) -> anyhow::Result<()> {
        let stream = conversation_stream(&stray.tenant, stray.conversation);
        let work = self.handler.inspect::<ConversationDecider, _>(&stream, Work::of).await?;
        let of_operator = StreamName::new(Category::Operator, stray.tenant.clone(), stray.id.uuid());
        let conversation = stray.conversation;
        let holds = |state: &models::operator::Operator| state.held().any(|held| held == conversation);
        if !work.is_done_by(&stray.operator) || self.handler.inspect::<OperatorDecider, _>(&of_operator, holds).await? {
            return Ok(());
        }
        let cause = self.last_event(&stream).await?;
        // What was theirs before a rest or an end goes on with them if they have room, else to somebody else.
        // Whoever took it up again themselves, has it.
        let carried = stray.carried && !self.is_taken_up_by(&stream, &stray.operator).await?;
        let by = if carried { TakenBy::Policy } else { TakenBy::Hand };
        let take = OperatorCommand::Take { conversation, channel: stray.channel, by };
        match self.on_operator(shift, &stray.tenant, stray.id, cause.as_ref(), take).await? {
            Ok(()) => Ok(()),
            Err(OperatorRejection::NotAvailable | OperatorRejection::Full) => {
                let (from, reason) = (Arc::clone(&stray.operator), AssignedReason::OperatorNotFree);
                let command = ConversationCommand::Unassign { from, reason };
                Ok(self.on_conversation(shift, &stream, cause.as_ref(), command).await??)
            }
            Err(rejection) => Err(rejection.into()),
        }
    }

    /// True when it is the operator who opened the conversation again or woke it, as far as its last events tell.
    async fn is_taken_up_by(&self, stream: &StreamName, operator: &str) -> anyhow::Result<bool> {
        let last = self.handler.log().read_stream(stream, None, Direction::Backwards, LOOKS_BACK).await?;
        let taken_up = last.iter().find(|event| TAKES_UP.contains(&&*event.event_type));
        Ok(taken_up.is_some_and(|event| matches!(&event.metadata.actor, Actor::Operator(by) if **by == *operator)))
    }
}
