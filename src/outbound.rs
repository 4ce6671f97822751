//! The outbound reactor: queued messages go to customers, in order per conversation, and every end is written down.
//!
//! **Invariant:** only this file and its children send to customers (design invariant 3). The start of every attempt
//! is in the log before the wire is touched, so an attempt that a crash cut off is found as started and becomes
//! `unknown`: it is never sent again unasked. The checkpoint waits for the oldest message that has not ended, but for
//! those that a visitor has to fetch: those are taken up again when the visitor connects.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use events::checkpoints::CheckpointStore;
use events::clock::Clock;
use events::envelope::{Actor, Category, Position, Revision, StreamName};
use events::feed::Checkpoints;
use events::ids::{AccountId, CommandId, ConversationId, MessageId};
use events::values::Channel;
use models::command::Origin;
use models::contact::{Contact, ContactDecider};
use models::conversation::{ConversationCommand, ConversationDecider, ConversationRejection, DeliveryStatus};
use models::handler::{HandleError, Handler};
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::Accounts;
use crate::config::OutboundConfig;
use crate::http::health::Lag;
use crate::shutdown;

mod ledger;
mod run;
mod wire;
mod work;

use ledger::{Ledger, Queued};
use run::Run;
pub use wire::{Carrier, Sent, Wire, WireError};
use work::{Wait, Work};

/// Stable name: it keys the checkpoint and the command ids.
pub const NAME: &str = "outbound";
/// How often the checkpoint is stored while messages end.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// Wait after the log or the key store failed; doubled each time.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest such wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long another process may take to write down what its page has fetched.
const PAGE_GRACE: chrono::TimeDelta = chrono::TimeDelta::seconds(10);
/// Wait before a message that a visitor has not fetched is looked at again, for changes on our side.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Which messages a process sends. A visitor's page is connected to one process, which alone can hand it anything; what
/// goes over a wire is sent by whoever has the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything: one process does all of it.
    All,
    /// What goes over a wire.
    Wires,
    /// What the pages that are connected to this process fetch.
    Pages,
}

impl Scope {
    fn covers(self, channel: Option<Channel>) -> bool {
        match self {
            Self::All => true,
            // A message whose account is unknown has to be failed by somebody.
            Self::Wires => channel != Some(Channel::Webchat),
            Self::Pages => channel == Some(Channel::Webchat),
        }
    }
}

/// Sends queued messages.
pub struct Outbound {
    scope: Scope,
    handler: Handler,
    accounts: Arc<Accounts>,
    carrier: Carrier,
    clock: Arc<dyn Clock>,
    config: OutboundConfig,
    on_the_wire: Semaphore,
    work: Work,
    /// One per conversation that is worked on.
    workers: TaskTracker,
    /// Visitors whose pages connect.
    arrivals: Mutex<mpsc::UnboundedReceiver<(AccountId, ConversationId)>>,
}

impl Outbound {
    /// A reactor that sends what is in its scope through `carrier`.
    #[must_use]
    pub fn new(
        scope: Scope,
        handler: Handler,
        accounts: Arc<Accounts>,
        carrier: Carrier,
        clock: Arc<dyn Clock>,
        config: OutboundConfig,
    ) -> Arc<Self> {
        let on_the_wire = Semaphore::new(config.concurrency.max(1));
        let arrivals = Mutex::new(carrier.visitors.arrivals());
        let workers = TaskTracker::new();
        // It can be waited for; workers may begin nevertheless.
        workers.close();
        Arc::new(Self {
            scope,
            handler,
            accounts,
            carrier,
            clock,
            config,
            on_the_wire,
            work: Work::default(),
            workers,
            arrivals,
        })
    }

    /// Follows the log and sends until `shutdown` turns true; what is on the wire then is finished first. Without
    /// checkpoints it begins at the end of the log: what waits for a page is found when the page connects, or at once where
    /// it is connected already.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn run(
        self: Arc<Self>,
        checkpoints: Option<Arc<dyn CheckpointStore>>,
        shutdown: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let mut asked = shutdown;
        let mut arrivals = self.arrivals.lock().await;
        // What an earlier run left on the wire ends first: it would look like what a crash cut off.
        tokio::select! {
            biased;
            () = shutdown::asked(&mut asked) => return Ok(()),
            () = self.workers.wait() => {}
        }
        let after = match &checkpoints {
            Some(checkpoints) => checkpoints.load(NAME).await?.least(),
            None => self.handler.log().head().await?,
        };
        let run = Run::begin(Arc::clone(&self), after);
        let followed = run.follow(after, checkpoints.as_deref(), &mut arrivals, &mut asked).await;
        run.end().await;
        self.store(checkpoints.as_deref(), followed?).await?;
        Ok(())
    }

    async fn store(&self, checkpoints: Option<&dyn CheckpointStore>, stored: Position) -> anyhow::Result<Position> {
        let safe = self.work.safe();
        if let Some(checkpoints) = checkpoints
            && safe > stored
        {
            checkpoints.store(NAME, &Checkpoints::of_position(safe)).await?;
        }
        Ok(safe.max(stored))
    }

    /// Sends all that the conversation has queued, in order, waiting where it must. Stops between two parts,
    /// never on the wire.
    async fn empty(&self, stream: &StreamName, conversation: ConversationId, stop: &CancellationToken) {
        let mut ledger = Ledger::new(stream.clone());
        let mut seen = None;
        let mut failures = 0_u32;
        let mut met = None;
        while !stop.is_cancelled() {
            let next = self.step(&mut ledger, conversation, seen, &mut met, stop).await;
            let wait = match next {
                Ok(Next::Empty) => return,
                Ok(Next::OutOfScope) => return self.work.leave(conversation),
                Ok(Next::Again) => {
                    failures = 0;
                    continue;
                }
                Ok(Next::At(time)) => {
                    failures = 0;
                    self.work.defer(conversation, Wait::Time);
                    (time - self.clock.now()).to_std().unwrap_or_default()
                }
                Ok(Next::Seen(revision)) => {
                    failures = 0;
                    self.work.defer(conversation, Wait::Visitor);
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        upto = self.carrier.taken(conversation, revision) => {
                            seen = Some(upto);
                            self.work.resume(conversation, self.clock.now());
                        }
                        // The account may have been disabled meanwhile, or the visitor erased.
                        () = tokio::time::sleep(LOOK_AGAIN) => {}
                    }
                    continue;
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    // The first, the second, the fourth, …: what never ends does not fill the logs.
                    if failures.is_power_of_two() {
                        tracing::warn!(%conversation, failures, error = %error, "sending has to wait");
                    }
                    pause(failures)
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            self.work.resume(conversation, self.clock.now());
        }
    }

    /// Does the next thing that the first message of the queue needs.
    async fn step(
        &self,
        ledger: &mut Ledger,
        conversation: ConversationId,
        seen: Option<Revision>,
        met: &mut Option<(MessageId, u32)>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Next> {
        let stream = ledger.stream().clone();
        let covered = self.work.look(conversation);
        let (first, account, addressee) = self
            .handler
            .inspect::<ConversationDecider, _>(&stream, |state| {
                self.work.settle(conversation, covered, state.queue());
                let first = state.queue().first().copied();
                let first = first.and_then(|message| Some((message, *state.delivery(message)?)));
                (first, state.account(), state.addressee())
            })
            .await?;
        let Some((message, delivery)) = first else { return Ok(Next::Empty) };
        let account = account.and_then(|account| self.accounts.get(account));
        if !self.scope.covers(account.as_ref().map(|account| account.channel())) {
            return Ok(Next::OutOfScope);
        }
        ledger.catch_up(self.handler.log().as_ref(), self.handler.codec()).await?;
        let Some(queued) = ledger.queued(message) else {
            anyhow::bail!("a queued message is not in its stream");
        };
        // The decider counts in the same way: each time a message comes off the queue is an attempt.
        let number = match delivery.status {
            DeliveryStatus::Queued | DeliveryStatus::Postponed => delivery.attempt + 1,
            _under_way => delivery.attempt,
        };
        let attempt = Attempt { stream: &stream, message, queued, number };
        if let DeliveryStatus::Sending { .. } = delivery.status {
            // A page of the same visitor may be connected to another process, which is about to write down that it went.
            if self.scope == Scope::Pages && met.replace((message, number)) != Some((message, number)) {
                return Ok(Next::At(self.clock.now() + PAGE_GRACE));
            }
            // Nobody but this worker sends, and it has just begun: an earlier process was cut off.
            let command = ConversationCommand::LoseTrack { message, reason: "interrupted".to_owned() };
            return self.command(&attempt, Step::Interrupted, command).await;
        }
        if delivery.status == DeliveryStatus::Postponed
            && let Some(at) = ledger.retry_at(message)
            && at > self.clock.now()
        {
            return Ok(Next::At(at));
        }
        let fail = |reason: &str| ConversationCommand::FailDelivery { message, reason: reason.to_owned() };
        let Some(account) = account.filter(|account| !account.disabled) else {
            return self.command(&attempt, Step::Failed, fail("the account is disabled")).await;
        };
        if let Some(addressee) = addressee {
            let contact = StreamName::new(Category::Contact, stream.tenant.clone(), addressee.contact.uuid());
            let facts = self.handler.inspect::<ContactDecider, _>(&contact, |state: &Contact| {
                (state.admits(account.id), state.occupancy() == Some(addressee.number))
            });
            match facts.await? {
                (true, true) => {}
                (false, _) => {
                    return self.command(&attempt, Step::Failed, fail("the customer blocked the account")).await;
                }
                (true, false) => {
                    return self.command(&attempt, Step::Failed, fail("the contact point was vacated")).await;
                }
            }
        }
        let wire = match ledger.wire(&self.handler, &account, conversation, message).await? {
            Some(wire) => wire,
            None => return self.command(&attempt, Step::Failed, fail("the text was erased")).await,
        };
        if let Some(revision) = wire.awaits_page(seen) {
            return Ok(Next::Seen(revision));
        }
        self.send(&attempt, usize::try_from(delivery.parts)?, wire, stop).await
    }

    /// Sends the next part, or writes down that all went.
    async fn send(
        &self,
        attempt: &Attempt<'_>,
        sent: usize,
        wire: Wire,
        stop: &CancellationToken,
    ) -> anyhow::Result<Next> {
        let message = attempt.message;
        if sent >= wire.parts() {
            return self.command(attempt, Step::Completed, ConversationCommand::CompleteDelivery { message }).await;
        }
        let part = u32::try_from(sent)?;
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Next::Again),
            permit = self.on_the_wire.acquire() => permit?,
        };
        self.command(attempt, Step::Started { part }, ConversationCommand::StartDelivery { message, part }).await?;
        let outcome = self.carrier.carry(&wire, sent).await;
        let channel = wire.channel().as_str();
        let label = match &outcome {
            Ok(_) => "delivered",
            Err(WireError::Retry { .. }) => "postponed",
            Err(WireError::Refused { .. }) => "failed",
            Err(WireError::Unknown { .. }) => "unknown",
        };
        metrics::counter!("letopis_deliveries_total", "channel" => channel, "outcome" => label).increment(1);
        tracing::info!(
            message.id = %message,
            correlation = %attempt.queued.correlation,
            delivery.attempt = attempt.number,
            delivery.part = part,
            channel,
            outcome = label,
            "attempt to send ended"
        );
        let next = match outcome {
            Ok(Sent { alias, outside_id }) => {
                let command = ConversationCommand::RecordPart { message, part, alias, outside_id };
                self.command(attempt, Step::Delivered { part }, command).await
            }
            Err(WireError::Retry { reason, .. }) if attempt.number >= self.config.max_attempts => {
                let command = ConversationCommand::FailDelivery { message, reason };
                self.command(attempt, Step::Failed, command).await
            }
            Err(WireError::Retry { after, reason }) => {
                let wait = self.config.back_off(attempt.number).max(after.unwrap_or_default());
                let retry_at = self.clock.now() + chrono::Duration::from_std(wait)?;
                let command = ConversationCommand::PostponeDelivery { message, reason, retry_at };
                self.command(attempt, Step::Postponed, command).await
            }
            Err(WireError::Refused { reason }) => {
                self.command(attempt, Step::Failed, ConversationCommand::FailDelivery { message, reason }).await
            }
            Err(WireError::Unknown { reason }) => {
                self.command(attempt, Step::Interrupted, ConversationCommand::LoseTrack { message, reason }).await
            }
        };
        drop(permit);
        next
    }

    /// Writes one step of a delivery down, however long that takes: after the wire was touched nothing else may follow.
    async fn command(&self, attempt: &Attempt<'_>, step: Step, command: ConversationCommand) -> anyhow::Result<Next> {
        let origin = Origin {
            id: CommandId::of_reactor(NAME, attempt.queued.event, step.ordinal(attempt.number)),
            tenant: attempt.stream.tenant.clone(),
            actor: Actor::System(NAME.into()),
            causation: Some(attempt.queued.event),
            correlation: attempt.queued.correlation,
            occurred_at: self.clock.now(),
            traceparent: attempt.queued.traceparent.clone(),
            seen_at: None,
            wish: None,
        };
        loop {
            match self.handler.handle::<ConversationDecider>(attempt.stream.id, &origin, command.clone()).await {
                Ok(handled) if !handled.written && matches!(step, Step::Started { .. }) => {
                    anyhow::bail!("this attempt was begun before: its end has to be seen first")
                }
                Ok(_) => return Ok(Next::Again),
                Err(HandleError::Unavailable { retry_after, .. }) => tokio::time::sleep(retry_after).await,
                // The queue changed under us, as by a re-drive: look again.
                Err(HandleError::Rejected(
                    rejection @ (ConversationRejection::WrongDeliveryState(_) | ConversationRejection::NotItsTurn),
                )) => anyhow::bail!("delivery changed meanwhile: {rejection}"),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Messages that wait for a time or a visitor are not late: they do not count.
impl Lag for Outbound {
    fn name(&self) -> &str {
        NAME
    }

    fn positions(&self, _head: Position) -> u64 {
        self.work.lag(self.clock.now()).0
    }

    fn seconds(&self) -> f64 {
        self.work.lag(self.clock.now()).1.as_secs_f64()
    }

    fn halted(&self) -> Option<String> {
        None
    }

    fn bears_on_readiness(&self) -> bool {
        false
    }
}

/// Wait after the log or the key store failed so many times one after another.
fn pause(failures: u32) -> Duration {
    (PAUSE * 2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(LONGEST_PAUSE)
}

/// What to do after a step.
enum Next {
    Again,
    At(DateTime<Utc>),
    /// When the visitor's page has the conversation up to here.
    Seen(Revision),
    Empty,
    /// Another process sends it.
    OutOfScope,
}

/// One attempt at one message.
struct Attempt<'a> {
    stream: &'a StreamName,
    message: MessageId,
    /// The event that queued it, or re-drove it last.
    queued: Queued,
    number: u32,
}

/// A step of a delivery: with the attempt it makes the command id.
#[derive(Clone, Copy)]
enum Step {
    Started { part: u32 },
    Delivered { part: u32 },
    Postponed,
    Failed,
    Interrupted,
    Completed,
}

impl Step {
    /// Parts that have ordinals of their own; longer messages share the last.
    const PARTS: u32 = 1_000;

    fn ordinal(self, attempt: u32) -> u32 {
        let step = match self {
            Self::Started { part } => 10 + 2 * part.min(Self::PARTS),
            Self::Delivered { part } => 11 + 2 * part.min(Self::PARTS),
            Self::Postponed => 0,
            Self::Failed => 1,
            Self::Interrupted => 2,
            Self::Completed => 3,
        };
        attempt.wrapping_mul(2 * Self::PARTS + 20).wrapping_add(step)
    }
}

#[cfg(test)]
mod tests;
