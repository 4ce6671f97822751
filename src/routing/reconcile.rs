//! Brings together what the streams of operators and of conversations say of each other.
//!
//! **Invariant:** acts only on what both streams say now; a difference that is on its way to the read models is left alone.

use std::sync::Arc;

use events::conversation::AssignedReason;
use events::envelope::{Category, StreamName};
use events::operator::{ReleaseReason, TakenBy};
use models::conversation::{Conversation, ConversationCommand, ConversationDecider};
use models::operator::{OperatorCommand, OperatorDecider, OperatorRejection};
use projections::operator::{StrayAssigned, StrayHeld};

use super::{AT_A_TIME, Routing, Shift, conversation_stream, told};

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
        let by = if stray.carried { TakenBy::Policy } else { TakenBy::Hand };
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
}
