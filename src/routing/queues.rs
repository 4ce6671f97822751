//! Into queues, through them and out of them.
//!
//! **Invariant:** an operator takes a conversation before it becomes theirs, so that nobody is given more than they have
//! room for; when it was gone meanwhile, they let go of it again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::Duration;
use events::conversation::AssignedReason;
use events::envelope::{Category, StreamName};
use events::ids::{AccountId, OperatorId, QueueId, TenantId};
use events::operator::{Presence, ReleaseReason, TakenBy};
use models::calendar::{CalendarDecider, Hours};
use models::conversation::{ConversationCommand, EnqueuedBy, Enqueueing, MAX_FALLBACKS};
use models::operator::{OperatorCommand, OperatorRejection};
use models::policies::routing::{AGES_EVERY, Assignment, Candidate, Reason, Waiting, assign};
use projections::conversation::{Unqueued, WaitingConversation};
use projections::operator::OperatorOnDuty;
use projections::queue::QueueOnDuty;

use super::{AT_A_TIME, Routing, Shift, by_tenant, conversation_stream, told};

impl Routing {
    /// Puts conversations into the queues of their accounts.
    pub(super) async fn enqueue_by_account(
        &self,
        shift: &mut Shift,
        queues: &[QueueOnDuty],
        operators: &[OperatorOnDuty],
    ) -> anyhow::Result<()> {
        // By tenant: an account of another that stands in somebody's rules brings them nothing and keeps nobody's from theirs.
        let mut of_account: BTreeMap<&TenantId, BTreeMap<AccountId, &QueueOnDuty>> = BTreeMap::new();
        for queue in queues.iter().filter(|queue| !queue.closed) {
            for account in &queue.rules.accounts {
                of_account.entry(&queue.tenant).or_default().entry(*account).or_insert(queue);
            }
        }
        let spoken: BTreeSet<(&TenantId, &str)> = operators
            .iter()
            .flat_map(|operator| operator.abilities.languages.iter().map(|code| (&operator.tenant, &**code)))
            .collect();
        for (tenant, of_account) in of_account {
            let accounts: Vec<AccountId> = of_account.keys().copied().collect();
            let mut found = Vec::new();
            for some in accounts.chunks(projections::views::MOST_IDS) {
                found.extend(self.views.unqueued_conversations(tenant, some, AT_A_TIME).await?);
            }
            for unqueued in found {
                let Some(queue) = of_account.get(&unqueued.account) else { continue };
                let language = language_of(&unqueued).filter(|code| spoken.contains(&(tenant, &**code)));
                let enqueueing = Enqueueing {
                    queue: queue.queue,
                    is_open: true,
                    priority: queue.rules.priority,
                    language,
                    by: EnqueuedBy::Account,
                };
                let done = self.enqueue(shift, tenant, unqueued.conversation, enqueueing).await;
                told("a conversation was not put into its queue", unqueued.conversation, done);
            }
        }
        Ok(())
    }

    async fn enqueue(
        &self,
        shift: &mut Shift,
        tenant: &TenantId,
        conversation: events::ids::ConversationId,
        enqueueing: Enqueueing,
    ) -> anyhow::Result<()> {
        let is_open = self.is_open(tenant, enqueueing.queue).await?;
        let stream = conversation_stream(tenant, conversation);
        let command = ConversationCommand::Enqueue(Enqueueing { is_open, ..enqueueing });
        Ok(self.on_conversation(shift, &stream, None, command).await??)
    }

    /// Asks the stream of the queue.
    async fn is_open(&self, tenant: &TenantId, queue: QueueId) -> anyhow::Result<bool> {
        let stream = StreamName::new(Category::Queue, tenant.clone(), queue.uuid());
        let open = |state: &models::queue::Queue| state.rules().is_some();
        Ok(self.handler.inspect::<models::queue::QueueDecider, _>(&stream, open).await?)
    }

    /// Lets conversations that nobody took fall through to the next queue.
    pub(super) async fn fall_through(&self, shift: &mut Shift, queues: &[QueueOnDuty]) -> anyhow::Result<()> {
        let now = self.clock.now();
        let rules: HashMap<QueueId, &QueueOnDuty> = queues.iter().map(|queue| (queue.queue, queue)).collect();
        for queue in queues {
            let Some(fallback) = queue.rules.fallback else { continue };
            // A queue that is closed or gone takes nothing: what waits waits on.
            let next = rules.get(&fallback.queue).filter(|next| !next.closed && next.tenant == queue.tenant);
            let Some(next) = next else { continue };
            let after = Duration::seconds(fallback.after_s.into());
            let waiting = self.views.waiting_in_queue(queue.queue, now - after, MAX_FALLBACKS, AT_A_TIME).await?;
            if waiting.is_empty() {
                continue;
            }
            let hours = self.hours(queue).await?;
            let due = waiting.into_iter().filter(|waiting| hours.between(waiting.entered_at, now) >= after);
            for waiting in due {
                let enqueueing = Enqueueing {
                    queue: next.queue,
                    is_open: true,
                    priority: u8::try_from(waiting.priority).unwrap_or_default(),
                    language: waiting.language,
                    by: EnqueuedBy::Fallback { from: queue.queue },
                };
                let done = self.enqueue(shift, &waiting.tenant, waiting.conversation, enqueueing).await;
                told("a conversation did not fall through", waiting.conversation, done);
            }
        }
        Ok(())
    }

    /// When the operators of a queue work; around the clock without a calendar.
    async fn hours(&self, queue: &QueueOnDuty) -> anyhow::Result<Hours> {
        let Some(calendar) = queue.rules.calendar else { return Ok(Hours::always()) };
        let stream = StreamName::new(Category::Calendar, queue.tenant.clone(), calendar.uuid());
        let hours = self.handler.inspect::<CalendarDecider, _>(&stream, models::calendar::Calendar::hours).await?;
        Ok(hours.unwrap_or_else(Hours::always))
    }

    /// Gives what waits to whoever is there.
    pub(super) async fn share_out(
        &self,
        shift: &mut Shift,
        queues: &[QueueOnDuty],
        operators: Vec<OperatorOnDuty>,
    ) -> anyhow::Result<()> {
        let mut free = by_tenant(operators.into_iter().filter(has_room), |operator| &operator.tenant);
        if free.is_empty() {
            return Ok(());
        }
        let skills: HashMap<QueueId, &QueueOnDuty> = queues.iter().map(|queue| (queue.queue, queue)).collect();
        let waiting = self.views.waiting_conversations(AGES_EVERY, AT_A_TIME).await?;
        let now = self.clock.now();
        for (tenant, waiting) in by_tenant(waiting, |waiting| &waiting.tenant) {
            let Some(operators) = free.remove(&tenant) else { continue };
            let ids: HashMap<Arc<str>, OperatorId> =
                operators.iter().map(|operator| (Arc::clone(&operator.operator), operator.id)).collect();
            let places: HashMap<_, &WaitingConversation> =
                waiting.iter().map(|waiting| (waiting.conversation, waiting)).collect();
            let wanted: Vec<Waiting> =
                waiting.iter().filter_map(|waiting| Some(wanted(waiting, skills.get(&waiting.queue)?))).collect();
            for assignment in assign(&wanted, operators.iter().map(candidate).collect(), now) {
                let place = places.get(&assignment.conversation).zip(ids.get(&assignment.operator));
                let Some((waiting, operator)) = place else { continue };
                let done = self.give(shift, waiting, *operator, &assignment).await;
                told("a conversation was not given to an operator", assignment.conversation, done);
            }
        }
        Ok(())
    }

    async fn give(
        &self,
        shift: &mut Shift,
        waiting: &WaitingConversation,
        operator: OperatorId,
        assignment: &Assignment,
    ) -> anyhow::Result<()> {
        let stream = conversation_stream(&waiting.tenant, waiting.conversation);
        let cause = self.last_event(&stream).await?;
        let conversation = waiting.conversation;
        let take = OperatorCommand::Take { conversation, channel: waiting.channel, by: TakenBy::Policy };
        match self.on_operator(shift, &waiting.tenant, operator, cause.as_ref(), take).await? {
            Ok(()) => {}
            // They left or filled up since the read models saw them.
            Err(OperatorRejection::NotAvailable | OperatorRejection::Full) => return Ok(()),
            Err(rejection) => return Err(rejection.into()),
        }
        let reason = match assignment.reason {
            Reason::Returning => AssignedReason::Returning,
            Reason::LeastBusy => AssignedReason::LeastBusy,
        };
        let (queue, assignee) = (waiting.queue, Arc::clone(&assignment.operator));
        let command = ConversationCommand::AssignFromQueue { queue, operator: assignee, reason };
        if self.on_conversation(shift, &stream, cause.as_ref(), command).await?.is_err() {
            let release = OperatorCommand::Release { conversation, reason: ReleaseReason::NotAssigned };
            self.on_operator(shift, &waiting.tenant, operator, cause.as_ref(), release).await??;
        }
        Ok(())
    }
}

/// The code of the language that a customer has set: the first part of the tag, when it is an ISO 639-1 code.
///
/// **Source:** BCP 47 (RFC 5646), section 2.2.1.
fn language_of(unqueued: &Unqueued) -> Option<Arc<str>> {
    let tag = unqueued.language.as_deref()?;
    let code = tag.split(['-', '_']).next()?.to_ascii_lowercase();
    (code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_lowercase())).then(|| code.into())
}

fn count(operator: &OperatorOnDuty) -> u32 {
    u32::try_from(operator.held.len()).unwrap_or(u32::MAX)
}

fn has_room(operator: &OperatorOnDuty) -> bool {
    operator.presence == Presence::Available && count(operator) < operator.abilities.room
}

fn candidate(operator: &OperatorOnDuty) -> Candidate {
    let of_channel = |channel| {
        let held = operator.held.iter().filter(|held| held.channel == channel).count();
        u32::try_from(held).unwrap_or(u32::MAX)
    };
    let abilities = &operator.abilities;
    let rooms = abilities.room_of_channel.iter();
    Candidate {
        operator: Arc::clone(&operator.operator),
        skills: abilities.skills.clone(),
        languages: abilities.languages.clone(),
        held: count(operator),
        room: abilities.room.saturating_sub(count(operator)),
        room_of_channel: rooms.map(|(channel, room)| (*channel, room.saturating_sub(of_channel(*channel)))).collect(),
        last_given: operator.last_given,
    }
}

fn wanted(waiting: &WaitingConversation, queue: &QueueOnDuty) -> Waiting {
    Waiting {
        conversation: waiting.conversation,
        channel: waiting.channel,
        priority: u8::try_from(waiting.priority).unwrap_or(u8::MAX),
        since: waiting.since,
        skills: queue.rules.skills.clone(),
        language: waiting.language.clone(),
        last_operator: waiting.last_operator.clone(),
    }
}
