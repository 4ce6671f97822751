//! Warns before a promise to a customer is broken, and notes when it is.
//!
//! **Invariant:** what is due follows from the events alone and is counted anew after each of them; the queue in memory only
//! says when to look. A warning or breach is noted once, however often it is found and whichever process finds it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use events::clock::Clock;
use events::conversation::{ClockNote, ClockNoted};
use events::envelope::{Actor, Category, Position, StreamName};
use events::ids::{CommandId, ConversationId, TenantId};
use events::log::{Direction, Filter};
use futures::StreamExt;
use models::clock::{ClockState, Histories, clocks};
use models::command::Origin;
use models::conversation::{ConversationCommand, ConversationDecider};
use models::handler::{HandleError, Handler};
use projections::views::{Order, PageRequest, Views};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::shutdown;

/// Stable name: it keys the command ids.
pub const NAME: &str = "clocks";
/// How often it looks whether something is due. A warning comes so much late at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long it waits for the read models when it begins.
const PATIENCE: Duration = Duration::from_secs(30);
/// Conversations listed at a time when it begins.
const AT_A_TIME: u32 = 200;

/// Events of a conversation after which its clocks may stand otherwise.
const MATTERS: [&str; 5] = [
    "conversation.message_received",
    "conversation.message_queued",
    "conversation.enqueued",
    "conversation.closed",
    "conversation.reopened",
];

/// A conversation of a tenant.
type Which = (TenantId, ConversationId);

/// Notes what becomes of clocks.
pub struct Clocks {
    /// Reads what they are counted from, and writes down what becomes of them.
    pub handler: Handler,
    /// Knows which conversations have any.
    pub views: Views,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// What is to be looked at, and when.
#[derive(Default)]
pub struct Agenda {
    due: BinaryHeap<Reverse<(DateTime<Utc>, u64)>>,
    /// Of which the latest entry counts: a conversation is looked at once for each.
    entries: HashMap<u64, Which>,
    latest: HashMap<Which, u64>,
    next: u64,
    changed: HashSet<Which>,
    /// Tenants that promise anything.
    promising: HashSet<TenantId>,
    /// What became of the rules of each tenant, as far as it was needed since one last changed.
    histories: HashMap<TenantId, Histories>,
}

impl Agenda {
    /// Looks at a conversation at once, if its tenant promises anything.
    pub fn touch(&mut self, which: Which) {
        if self.promising.contains(&which.0) {
            self.changed.insert(which);
        }
    }

    fn plan(&mut self, which: Which, at: Option<DateTime<Utc>>) {
        if let Some(before) = self.latest.remove(&which) {
            self.entries.remove(&before);
        }
        let Some(at) = at else { return };
        self.next += 1;
        self.due.push(Reverse((at, self.next)));
        self.entries.insert(self.next, which.clone());
        self.latest.insert(which, self.next);
    }

    fn take(&mut self, now: DateTime<Utc>) -> Vec<Which> {
        let mut all: Vec<Which> = self.changed.drain().collect();
        while self.due.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, entry))) = self.due.pop() else { break };
            if let Some(which) = self.entries.remove(&entry) {
                self.latest.remove(&which);
                all.push(which);
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// How many conversations have something to come.
    #[must_use]
    pub fn len(&self) -> usize {
        self.latest.len()
    }

    /// True when nothing is to come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.latest.is_empty()
    }
}

impl Clocks {
    /// Follows the log and the time until it is told to stop.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let ended = tokio::select! {
                biased;
                () = shutdown::asked(&mut stop) => return,
                ended = self.follow() => ended,
            };
            if let Err(error) = ended {
                tracing::warn!(%error, "clocks will be followed again");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn follow(&self) -> anyhow::Result<()> {
        let head = self.handler.log().head().await?;
        let mut agenda = Agenda::default();
        self.begin(&mut agenda, head).await?;
        let categories = vec![Category::Conversation, Category::Queue, Category::ServiceLevel, Category::Calendar];
        let mut events = self.handler.log().subscribe(head, Filter { categories });
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = tick.tick() => self.look(&mut agenda).await,
                event = events.next() => {
                    let Some(event) = event else { anyhow::bail!("the log ended") };
                    let event = event?;
                    if event.stream.category == Category::Conversation {
                        if !MATTERS.contains(&&*event.event_type) {
                            continue;
                        }
                        agenda.touch((event.stream.tenant.clone(), ConversationId::new(event.stream.id)));
                    } else {
                        // Rules change seldom, and then for many.
                        self.begin(&mut agenda, event.position).await?;
                    }
                }
            }
        }
    }

    /// Plans to look at every open conversation that is in a queue, as of this position or later.
    ///
    /// # Errors
    /// The read models cannot be read or do not get there.
    pub async fn begin(&self, agenda: &mut Agenda, position: Position) -> anyhow::Result<()> {
        self.views.wait_for(position, PATIENCE).await?;
        let queues = self.views.queues_on_duty().await?;
        let promising = queues.into_iter().filter(|queue| queue.rules.service_level.is_some());
        agenda.promising = promising.map(|queue| queue.tenant).collect();
        agenda.histories.clear();
        let mut request = PageRequest::first(AT_A_TIME, Order::Ascending);
        loop {
            let page = self.views.timed_conversations(&request).await?;
            for (tenant, conversation) in &page.items {
                agenda.touch((tenant.clone(), *conversation));
            }
            match page.next() {
                Some(after) => request.after = Some(after),
                None => return Ok(()),
            }
        }
    }

    /// Looks at what has changed and at what is due. One conversation that cannot be looked at holds up no other: it is
    /// looked at again.
    pub async fn look(&self, agenda: &mut Agenda) {
        for which in agenda.take(self.clock.now()) {
            let histories = agenda.histories.entry(which.0.clone()).or_default();
            match self.note(&which, histories).await {
                Ok(next) => agenda.plan(which, next),
                Err(error) => {
                    tracing::warn!(conversation.id = %which.1, %error, "clocks were not looked at");
                    agenda.touch(which);
                }
            }
        }
    }

    /// Notes what has become due, and tells when to look again.
    async fn note(
        &self,
        (tenant, conversation): &Which,
        histories: &mut Histories,
    ) -> anyhow::Result<Option<DateTime<Utc>>> {
        let stream = StreamName::new(Category::Conversation, tenant.clone(), conversation.uuid());
        let was_queued = |state: &models::conversation::Conversation| state.was_queued();
        if !self.handler.inspect::<ConversationDecider, _>(&stream, was_queued).await? {
            return Ok(None);
        }
        let timing = self.handler.timing(tenant, *conversation, histories).await?;
        let now = self.clock.now();
        let mut next: Option<DateTime<Utc>> = None;
        for clock in clocks(&timing.changes, now) {
            // What ended late is broken, also when nobody looked in between.
            if clock.ended_at.is_some() && clock.state != ClockState::Missed {
                continue;
            }
            let Some(due) = clock.due else { continue };
            for (note, at) in [(ClockNote::Warning, clock.warns_at), (ClockNote::Breach, Some(due))] {
                let Some(at) = at else { continue };
                if at > now {
                    next = Some(next.map_or(at, |next| next.min(at)));
                } else if note == ClockNote::Breach || clock.state != ClockState::Missed {
                    let noted = ClockNoted { clock: clock.kind, started_at: clock.started_at, note, due };
                    self.write(tenant, *conversation, noted).await?;
                }
            }
        }
        Ok(next)
    }

    async fn write(&self, tenant: &TenantId, conversation: ConversationId, noted: ClockNoted) -> anyhow::Result<()> {
        let stream = StreamName::new(Category::Conversation, tenant.clone(), conversation.uuid());
        let last = self.handler.log().read_stream(&stream, None, Direction::Backwards, 1).await?.pop();
        let Some(cause) = last else { return Ok(()) };
        let origin = Origin {
            id: CommandId::of_reactor(&format!("{NAME} {noted:?}"), cause.id, 0),
            tenant: tenant.clone(),
            actor: Actor::System(NAME.into()),
            causation: Some(cause.id),
            correlation: cause.metadata.correlation,
            occurred_at: self.clock.now(),
            traceparent: cause.metadata.traceparent,
            seen_at: None,
            wish: None,
        };
        let command = ConversationCommand::NoteClock(noted);
        match self.handler.handle::<ConversationDecider>(stream.id, &origin, command).await {
            Ok(handled) if handled.written => {
                let note = match noted.note {
                    ClockNote::Warning => "warning",
                    ClockNote::Breach => "breach",
                };
                metrics::counter!("letopis_clock_notes_total", "note" => note).increment(1);
                Ok(())
            }
            Ok(_) | Err(HandleError::Erased) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
