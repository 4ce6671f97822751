//! One run of the reactor: it follows the log and starts a worker for each conversation that has something to send.
//!
//! **Invariant:** no worker outlives its run by more than the step that it is at, and none of an earlier run is left when
//! the next begins.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use events::checkpoints::CheckpointStore;
use events::conversation::ConversationEvent;
use events::envelope::{Category, Position, RecordedEvent, StreamName};
use events::ids::{AccountId, ConversationId, TenantId};
use events::log::Filter;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{CHECKPOINT_EVERY, LOOK_AGAIN, Outbound, Scope};
use crate::shutdown;

/// One run. When it ends, however that comes about, its workers end, too, and nothing waits here any more: whoever
/// sends next finds in the log what is left.
pub(super) struct Run {
    outbound: Arc<Outbound>,
    stop: CancellationToken,
}

impl Run {
    /// A run that reads the log from here on. No other may be under way.
    pub(super) fn begin(outbound: Arc<Outbound>, after: Position) -> Self {
        outbound.work.begin(after);
        Self { outbound, stop: CancellationToken::new() }
    }

    /// Waits until what is on the wire has ended and all workers are gone.
    pub(super) async fn end(&self) {
        // They see it between two steps.
        self.stop.cancel();
        self.outbound.workers.wait().await;
    }

    /// Follows the log until it is to stop. Returns the checkpoint that is stored.
    pub(super) async fn follow(
        &self,
        after: Position,
        checkpoints: Option<&dyn CheckpointStore>,
        arrivals: &mut mpsc::UnboundedReceiver<(AccountId, ConversationId)>,
        asked: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<Position> {
        let outbound = &self.outbound;
        let filter = Filter { categories: vec![Category::Conversation] };
        let mut events = outbound.handler.log().subscribe(after, filter);
        let mut tick = tokio::time::interval(CHECKPOINT_EVERY);
        let mut stored = after;
        // What was queued while no run heard of it is in no table: their conversations say.
        for (account, conversation) in outbound.carrier.visitors.connected() {
            self.wake(account, conversation);
        }
        loop {
            tokio::select! {
                biased;
                () = shutdown::asked(asked) => return Ok(stored),
                event = events.next() => match event {
                    Some(event) => self.take(event?),
                    None => anyhow::bail!("the log's subscription ended"),
                },
                Some((account, conversation)) = arrivals.recv() => self.wake(account, conversation),
                _ = tick.tick() => stored = outbound.store(checkpoints, stored).await?,
            }
        }
    }

    /// Looks at the conversation of a page that is connected.
    fn wake(&self, account: AccountId, conversation: ConversationId) {
        if let Some(account) = self.outbound.accounts.get(account)
            && self.outbound.work.wake(conversation)
        {
            self.start(&account.tenant, conversation);
        }
    }

    fn take(&self, event: RecordedEvent) {
        let outbound = &self.outbound;
        let (position, id) = (event.position, event.id);
        let queued =
            matches!(event.event_type.as_ref(), "conversation.message_queued" | "conversation.delivery_redriven");
        if queued {
            let (tenant, at) = (event.stream.tenant.clone(), event.recorded_at);
            let conversation = ConversationId::new(event.stream.id);
            let decoded =
                outbound.handler.codec().decode(event).map(|decoded| ConversationEvent::try_from(decoded.event).ok());
            let message = match decoded {
                Ok(Some(ConversationEvent::MessageQueued(queued))) => Some(queued.message),
                Ok(Some(ConversationEvent::DeliveryRedriven(redriven))) => Some(redriven.message),
                Ok(_) => None,
                Err(error) => {
                    // It stays in the log and in its conversation; all the others go on.
                    tracing::error!(event.id = %id, %conversation, %error, "a queued message cannot be read");
                    None
                }
            };
            let here = outbound.scope != Scope::Pages || outbound.carrier.visitors.is_connected(conversation);
            if let Some(message) = message
                && here
                && outbound.work.queued(position, conversation, message, at)
            {
                self.start(&tenant, conversation);
            }
        }
        outbound.work.passed(position);
    }

    /// Starts the worker of a conversation: one at a time, see [`Work::queued`].
    fn start(&self, tenant: &TenantId, conversation: ConversationId) {
        let stream = StreamName::new(Category::Conversation, tenant.clone(), conversation.uuid());
        let (outbound, stop) = (Arc::clone(&self.outbound), self.stop.clone());
        self.outbound.workers.spawn(async move {
            loop {
                let run = AssertUnwindSafe(outbound.empty(&stream, conversation, &stop)).catch_unwind().await;
                if stop.is_cancelled() {
                    return;
                }
                if run.is_err() {
                    // Whatever it left half done, the log says; see the invariant.
                    tracing::error!(%conversation, "sending panicked and will be taken up again");
                    outbound.work.resume(conversation, outbound.clock.now());
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(LOOK_AGAIN) => {}
                    }
                } else if outbound.work.finish(conversation) {
                    return;
                }
            }
        });
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stop.cancel();
        self.outbound.work.begin(Position::START);
    }
}
