//! Operators who show no sign of life, and what they leave behind.
//!
//! **Invariant:** nobody is absent because a process was restarted or signs of life could not be read.

use std::time::Duration;

use chrono::{DateTime, Utc};
use events::conversation::AssignedReason;
use events::envelope::{Category, StreamName};
use events::operator::{Presence, PresenceReason, ReleaseReason};
use models::conversation::ConversationCommand;
use models::operator::OperatorCommand;
use projections::operator::{HeldConversation, OperatorOnDuty};

use super::{Routing, Shift, conversation_stream, told};

impl Routing {
    /// Notes that operators are absent who were silent for too long.
    pub(super) async fn note_absence(&self, shift: &mut Shift, operators: &[OperatorOnDuty]) -> anyhow::Result<()> {
        if operators.iter().all(|operator| operator.presence == Presence::Absent) {
            return Ok(());
        }
        let (ages, now) = (self.heartbeats.ages().await?, self.clock.now());
        let since = |time: DateTime<Utc>| (now - time).to_std().unwrap_or(Duration::ZERO);
        for operator in operators.iter().filter(|operator| operator.presence != Presence::Absent) {
            let who = (operator.tenant.clone(), operator.operator.clone());
            let silent = match ages.get(&who) {
                Some(heard) => {
                    shift.unheard.remove(&who);
                    *heard
                }
                // The signs may be forgotten (a server of them crashed): they count from when they were missed first.
                None => since(*shift.unheard.entry(who).or_insert(now)),
            };
            let silent = silent.min(since(operator.presence_since)).min(since(shift.began));
            if silent <= self.presence_timeout {
                continue;
            }
            let command =
                OperatorCommand::SetPresence { presence: Presence::Absent, reason: PresenceReason::NoSignOfLife };
            match self.on_operator(shift, &operator.tenant, operator.id, None, command).await {
                Ok(Ok(())) => tracing::info!(operator.id = %operator.id, "an operator shows no sign of life"),
                Ok(Err(rejection)) => tracing::warn!(operator.id = %operator.id, %rejection, "absence was not noted"),
                Err(error) => tracing::warn!(operator.id = %operator.id, %error, "absence was not noted"),
            }
        }
        Ok(())
    }

    /// Gives back what absent operators had when they left; what was given to them since stays theirs.
    pub(super) async fn take_from_absent(&self, shift: &mut Shift, operators: &[OperatorOnDuty]) {
        for operator in operators.iter().filter(|operator| operator.presence == Presence::Absent) {
            let left_behind = operator.held.iter().filter(|held| held.since <= operator.presence_since);
            for held in left_behind {
                let done = self.take_from(shift, operator, held).await;
                told("a conversation of an absent operator was not given back", held.conversation, done);
            }
        }
    }

    async fn take_from(
        &self,
        shift: &mut Shift,
        operator: &OperatorOnDuty,
        held: &HeldConversation,
    ) -> anyhow::Result<()> {
        let of_operator = StreamName::new(Category::Operator, operator.tenant.clone(), operator.id.uuid());
        let cause = self.last_event(&of_operator).await?;
        let stream = conversation_stream(&operator.tenant, held.conversation);
        let from = operator.operator.clone();
        let command = ConversationCommand::Unassign { from, reason: AssignedReason::OperatorAbsent };
        self.on_conversation(shift, &stream, cause.as_ref(), command).await??;
        let (conversation, reason) = (held.conversation, ReleaseReason::Absent);
        let release = OperatorCommand::Release { conversation, reason };
        self.on_operator(shift, &operator.tenant, operator.id, None, release).await??;
        Ok(())
    }
}
