//! What a conversation's stream says about messages to send: where each was queued, when to try again, and the
//! provider's ids that answers refer to.
//!
//! **Invariant:** a fold of the stream, nothing else; texts are opened only for the message that is sent.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use events::codec::{Codec, Decoded};
use events::conversation::ConversationEvent;
use events::conversation::content::{MessageContent, OutsideThread};
use events::envelope::{Revision, StreamName};
use events::ids::{ConversationId, EventId, MessageId};
use events::log::{Direction, EventLog};
use models::handler::Handler;
use uuid::Uuid;

use super::wire::{Answered, Wire};
use crate::accounts::ChannelAccount;

/// Events read at a time.
const SLICE: usize = 1_000;

/// Where a message was queued.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    /// The event that queued it, or re-drove it last: the cause of what follows.
    pub(super) event: EventId,
    /// The correlation of whoever wished it.
    pub(super) correlation: Uuid,
    /// The trace of whoever wished it.
    pub(super) traceparent: Option<Arc<str>>,
    /// The revision with the text.
    revision: Revision,
}

/// The fold.
pub(super) struct Ledger {
    stream: StreamName,
    next: Option<Revision>,
    queued: HashMap<MessageId, Queued>,
    retry_at: HashMap<MessageId, DateTime<Utc>>,
    /// Revisions of customers' messages.
    received: HashMap<MessageId, Revision>,
    /// The customer's message that came last.
    last_received: Option<Revision>,
    /// The provider's ids of our own first parts.
    ours: HashMap<MessageId, String>,
}

impl Ledger {
    pub(super) fn new(stream: StreamName) -> Self {
        Self {
            stream,
            next: None,
            queued: HashMap::new(),
            retry_at: HashMap::new(),
            received: HashMap::new(),
            last_received: None,
            ours: HashMap::new(),
        }
    }

    pub(super) const fn stream(&self) -> &StreamName {
        &self.stream
    }

    pub(super) fn queued(&self, message: MessageId) -> Option<Queued> {
        self.queued.get(&message).cloned()
    }

    pub(super) fn retry_at(&self, message: MessageId) -> Option<DateTime<Utc>> {
        self.retry_at.get(&message).copied()
    }

    /// Folds what the log has beyond what is known.
    pub(super) async fn catch_up(&mut self, log: &dyn EventLog, codec: &Codec) -> anyhow::Result<()> {
        loop {
            let slice = log.read_stream(&self.stream, self.next, Direction::Forwards, SLICE).await?;
            let last = slice.len() < SLICE;
            for recorded in slice {
                self.next = Some(recorded.revision.next());
                self.take(&codec.decode(recorded)?);
            }
            if last {
                return Ok(());
            }
        }
    }

    fn take(&mut self, decoded: &Decoded) {
        let (id, revision) = (decoded.recorded.id, decoded.recorded.revision);
        let correlation = decoded.recorded.metadata.correlation;
        let traceparent = || decoded.recorded.metadata.traceparent.clone();
        let events::DomainEvent::Conversation(event) = &decoded.event else { return };
        match event {
            ConversationEvent::MessageReceived(received) => {
                self.received.insert(received.message, revision);
                self.last_received = Some(revision);
            }
            ConversationEvent::MessageQueued(queued) => {
                let place = Queued { event: id, correlation, traceparent: traceparent(), revision };
                self.queued.insert(queued.message, place);
            }
            ConversationEvent::DeliveryRedriven(redriven) => {
                if let Some(queued) = self.queued.get_mut(&redriven.message) {
                    queued.event = id;
                    queued.correlation = correlation;
                    queued.traceparent = traceparent();
                }
                self.retry_at.remove(&redriven.message);
            }
            ConversationEvent::DeliveryPostponed(postponed) => {
                self.retry_at.insert(postponed.message, postponed.retry_at);
            }
            ConversationEvent::PartDelivered(part) => {
                if let (0, Some(outside_id)) = (part.part, &part.outside_id) {
                    self.ours.insert(part.message, outside_id.clone());
                    self.ours.insert(part.alias, outside_id.clone());
                }
            }
            _other => {}
        }
    }

    /// All that sending the message needs, opened; `None` when its text was erased.
    pub(super) async fn wire(
        &self,
        handler: &Handler,
        account: &Arc<ChannelAccount>,
        conversation: ConversationId,
        message: MessageId,
    ) -> anyhow::Result<Option<Wire>> {
        let queued = self.queued(message).context("the message is not queued")?;
        let ConversationEvent::Opened(opened) = self.read(handler, Revision(0)).await?.1 else {
            anyhow::bail!("the stream does not begin with its opening");
        };
        let place = queued.revision;
        let (written_at, ConversationEvent::MessageQueued(queued)) = self.read(handler, place).await? else {
            anyhow::bail!("the message is not where it was queued");
        };
        let Some(content) = queued.content.into_value() else { return Ok(None) };
        let Some(thread) = opened.thread.into_value() else { return Ok(None) };
        let reply_to = match queued.reply_to {
            Some(reply_to) => self.outside_id(handler, reply_to).await?,
            None => None,
        };
        let answered = self.answered(handler, queued.reply_to, &thread).await?;
        Ok(Some(Wire::new(
            account.clone(),
            conversation,
            message,
            thread,
            content,
            reply_to,
            answered,
            (place, written_at),
        )))
    }

    async fn outside_id(&self, handler: &Handler, message: MessageId) -> anyhow::Result<Option<String>> {
        if let Some(outside_id) = self.ours.get(&message) {
            return Ok(Some(outside_id.clone()));
        }
        Ok(match self.received.get(&message) {
            Some(revision) => self.received_content(handler, *revision).await?.and_then(|content| content.outside_id),
            None => None,
        })
    }

    /// The customer's message that is answered, or the last one: mail threads by its headers.
    async fn answered(
        &self,
        handler: &Handler,
        reply_to: Option<MessageId>,
        thread: &OutsideThread,
    ) -> anyhow::Result<Answered> {
        let revision = reply_to.and_then(|message| self.received.get(&message).copied()).or(self.last_received);
        let content = match revision {
            Some(revision) => self.received_content(handler, revision).await?,
            None => None,
        };
        let content = content.unwrap_or_default();
        Ok(Answered { subject: content.subject.or_else(|| thread.title.clone()), mail: content.mail })
    }

    async fn received_content(&self, handler: &Handler, revision: Revision) -> anyhow::Result<Option<MessageContent>> {
        match self.read(handler, revision).await?.1 {
            ConversationEvent::MessageReceived(received) => Ok(received.content.into_value()),
            _other => Ok(None),
        }
    }

    async fn read(&self, handler: &Handler, at: Revision) -> anyhow::Result<(DateTime<Utc>, ConversationEvent)> {
        let found = handler.log().read_stream(&self.stream, Some(at), Direction::Forwards, 1).await?;
        let recorded = found.into_iter().next().context("the stream is shorter than it was")?;
        let decoded = handler.codec().decode_open(recorded).await?;
        let at = decoded.recorded.recorded_at;
        let event = ConversationEvent::try_from(decoded.event);
        Ok((at, event.map_err(|_| anyhow::anyhow!("the stream holds an event of another category"))?))
    }
}
