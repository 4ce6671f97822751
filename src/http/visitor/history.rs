//! A visitor's conversation as frames: read from its stream, in order, from any place.
//!
//! **Invariant:** every event that a visitor may see gives one frame, with its revision as the place; notes, tags,
//! operators' ids and all else give none.

use events::DomainEvent;
use events::codec::{Codec, CodecError, Decoded};
use events::conversation::{ConversationEvent, MessageQueued, MessageReceived};
use events::envelope::{Actor, Revision, StreamName};
use events::ids::MessageId;
use events::log::{Direction, EventLog, ReadError};

use crate::channels::webchat::frames::{Author, Sequence, ServerFrame, own_id};

/// Events read at a time.
const SLICE: usize = 100;

/// The types of the events that a visitor sees.
const SHOWN: [&str; 3] = ["conversation.message_received", "conversation.message_queued", "conversation.closed"];

/// The stream cannot be read or opened now.
#[derive(Debug, thiserror::Error)]
pub(super) enum HistoryError {
    /// The log did not give it.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// It could not be opened.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// One conversation, read from a place on.
pub(super) struct History<'a> {
    log: &'a dyn EventLog,
    codec: &'a Codec,
    stream: StreamName,
    /// The revision to read next.
    next: Revision,
}

impl<'a> History<'a> {
    /// Begins behind `after`, or at the start, and says behind which place that is and which is the last one that a
    /// visitor sees. A place that the conversation has not reached is taken for its end.
    pub(super) async fn resume(
        log: &'a dyn EventLog,
        codec: &'a Codec,
        stream: StreamName,
        after: Option<Sequence>,
    ) -> Result<(Self, Option<Revision>, Option<Revision>), HistoryError> {
        let mut place = None;
        let mut head = None;
        let shown = loop {
            let slice = log.read_stream(&stream, place, Direction::Backwards, SLICE).await?;
            head = head.or_else(|| slice.first().map(|event| event.revision));
            let shown = slice.iter().find(|event| SHOWN.contains(&event.event_type.as_ref()));
            match (shown, slice.last()) {
                (Some(shown), _) => break Some(shown.revision),
                (None, Some(last)) if last.revision.0 > 0 => place = Some(Revision(last.revision.0 - 1)),
                (None, _) => break None,
            }
        };
        let after = after.and_then(|after| Some(Revision(after.0).min(head?)));
        let next = after.map_or(Revision(0), Revision::next);
        Ok((Self { log, codec, stream, next }, after, shown))
    }

    /// The frames of the next slice; `None` at the end of what there is now.
    pub(super) async fn read(&mut self) -> Result<Option<Vec<ServerFrame>>, HistoryError> {
        let slice = self.log.read_stream(&self.stream, Some(self.next), Direction::Forwards, SLICE).await?;
        let Some(last) = slice.last() else { return Ok(None) };
        let next = last.revision.next();
        let mut frames = Vec::new();
        for recorded in slice {
            if SHOWN.contains(&recorded.event_type.as_ref()) {
                let decoded = self.codec.decode_open(recorded).await?;
                frames.extend(self.frame(decoded).await?);
            }
        }
        self.next = next;
        Ok(Some(frames))
    }

    async fn frame(&self, decoded: Decoded) -> Result<Option<ServerFrame>, HistoryError> {
        let Decoded { recorded, event } = decoded;
        let sequence = Sequence(recorded.revision.0);
        Ok(match event {
            DomainEvent::Conversation(ConversationEvent::Closed(_)) => Some(ServerFrame::Closed { sequence }),
            DomainEvent::Conversation(ConversationEvent::MessageReceived(received)) => {
                let MessageReceived { message, reply_to, content, .. } = received;
                let content = content.into_value().unwrap_or_default();
                Some(ServerFrame::Message {
                    sequence,
                    id: content.outside_id.unwrap_or_else(|| own_id(message)),
                    from: Author::Visitor,
                    text: content.text,
                    reply_to: self.known_as(reply_to, recorded.revision).await?,
                    attachments: Vec::new(),
                    sent_at: recorded.metadata.occurred_at,
                })
            }
            DomainEvent::Conversation(ConversationEvent::MessageQueued(queued)) => {
                let MessageQueued { message, reply_to, content, .. } = queued;
                Some(ServerFrame::Message {
                    sequence,
                    id: own_id(message),
                    from: match recorded.metadata.actor {
                        Actor::Operator(_) => Author::Operator { name: None },
                        Actor::Agent(_) | Actor::System(_) | Actor::Customer(_) => Author::Bot,
                    },
                    text: content.into_value().and_then(|content| content.text),
                    reply_to: self.known_as(reply_to, recorded.revision).await?,
                    attachments: Vec::new(),
                    sent_at: recorded.recorded_at,
                })
            }
            _ => None,
        })
    }

    /// The id by which the page knows a message that stands before `place`: the visitor's own for what they wrote.
    async fn known_as(&self, message: Option<MessageId>, place: Revision) -> Result<Option<String>, HistoryError> {
        let Some(wanted) = message else { return Ok(None) };
        let mut from = place;
        loop {
            let slice = self.log.read_stream(&self.stream, Some(from), Direction::Backwards, SLICE).await?;
            let reached = slice.last().map_or(0, |last| last.revision.0);
            for recorded in slice {
                if !SHOWN.contains(&recorded.event_type.as_ref()) {
                    continue;
                }
                match self.codec.decode(recorded.clone())?.event {
                    DomainEvent::Conversation(ConversationEvent::MessageQueued(queued)) => {
                        let alias = self.codec.hasher().message(self.conversation(), &own_id(queued.message));
                        if queued.message == wanted || alias == wanted {
                            return Ok(Some(own_id(queued.message)));
                        }
                    }
                    DomainEvent::Conversation(ConversationEvent::MessageReceived(received))
                        if received.message == wanted =>
                    {
                        let opened = self.codec.decode_open(recorded).await?.event;
                        let DomainEvent::Conversation(ConversationEvent::MessageReceived(received)) = opened else {
                            return Ok(None);
                        };
                        return Ok(received.content.into_value().and_then(|content| content.outside_id));
                    }
                    _ => {}
                }
            }
            if reached == 0 {
                return Ok(None);
            }
            from = Revision(reached - 1);
        }
    }

    fn conversation(&self) -> events::ids::ConversationId {
        events::ids::ConversationId::new(self.stream.id)
    }
}
