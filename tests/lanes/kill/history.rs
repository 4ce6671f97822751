//! What the log holds after the kills, and what must be true of it.
//!
//! **Invariant:** what was sent is compared with what the log says, message by message, down to the text.

use std::collections::{BTreeMap, HashMap, HashSet};

use events::DomainEvent;
use events::conversation::ConversationEvent;
use events::envelope::Position;
use events::ids::{EventId, MessageId};
use events::log::Filter;
use letopis::engines::Engines;
use uuid::Uuid;

use super::plan::Plan;
use crate::say;

/// Events read at a time.
const SLICE: usize = 2_000;

/// What is folded from the log.
#[derive(Default)]
pub(crate) struct History {
    /// Raw deliveries in the order of their streams.
    raw: BTreeMap<Uuid, Vec<EventId>>,
    /// Outcomes by raw delivery.
    outcomes: HashMap<EventId, Vec<String>>,
    /// Customers' messages in the order of their conversations: message, the raw delivery that led to it, text.
    received: BTreeMap<Uuid, Vec<(MessageId, EventId, String)>>,
    by_type: BTreeMap<String, usize>,
}

impl History {
    /// Folds the log from its start.
    pub(crate) async fn read(engines: &Engines) -> Self {
        let mut history = Self::default();
        let mut after = Position::START;
        loop {
            let read = engines.event_log().read_all(after, &Filter::default(), SLICE).await;
            let (events, searched) = read.expect("the log can be read");
            if events.is_empty() {
                return history;
            }
            for event in events {
                let (stream, id, kind) = (event.stream.id, event.id, event.event_type.to_string());
                let cause = event.metadata.causation;
                *history.by_type.entry(kind.clone()).or_default() += 1;
                match kind.as_str() {
                    "intake.received" => history.raw.entry(stream).or_default().push(id),
                    "intake.normalised" | "intake.unrecognised" | "intake.parked" => {
                        let raw = cause.expect("an outcome names its delivery");
                        history.outcomes.entry(raw).or_default().push(kind);
                    }
                    "conversation.message_received" => {
                        let decoded = engines.codec.decode_open(event).await.expect("the event opens");
                        let DomainEvent::Conversation(ConversationEvent::MessageReceived(message)) = decoded.event
                        else {
                            panic!("the type names another event");
                        };
                        let content = message.content.into_value().expect("nobody was erased");
                        let received = history.received.entry(stream).or_default();
                        let raw = cause.expect("a message names its delivery");
                        received.push((message.message, raw, content.text.unwrap_or_default()));
                    }
                    _ => {}
                }
            }
            after = searched;
        }
    }

    /// Compares with what was sent; `events` are the acknowledged events, by message.
    pub(crate) fn check(&self, plan: &Plan, events: &[EventId]) {
        say(format_args!("kill: the log holds {:?}", self.by_type));
        let number: HashMap<EventId, usize> = events.iter().enumerate().map(|(at, event)| (*event, at)).collect();
        assert_eq!(number.len(), events.len(), "two messages share a raw event");

        let raw: Vec<EventId> = self.raw.values().flatten().copied().collect();
        let distinct: HashSet<EventId> = raw.iter().copied().collect();
        assert!(events.iter().all(|event| distinct.contains(event)), "an acknowledged delivery is lost");
        assert_eq!(raw.len(), events.len(), "a delivery is in the log twice");
        for event in events {
            let outcomes = self.outcomes.get(event).map(Vec::as_slice).unwrap_or_default();
            assert_eq!(outcomes, ["intake.normalised"], "{event}");
        }

        let received: Vec<&(MessageId, EventId, String)> = self.received.values().flatten().collect();
        let ids: HashSet<MessageId> = received.iter().map(|(message, ..)| *message).collect();
        assert_eq!(ids.len(), received.len(), "a message was received twice");
        assert_eq!(received.len(), events.len(), "as many messages as were sent");
        for (_, raw, text) in &received {
            assert_eq!(*text, plan.messages[number[raw]].text(), "the message says what was sent");
        }

        // A conversation's messages stand in the order in which its deliveries were taken in.
        let order = |of: Vec<EventId>| (plan.messages[number[&of[0]]].chat(), of);
        let taken_in: BTreeMap<usize, Vec<EventId>> = self.raw.values().map(|raw| order(raw.clone())).collect();
        let told: BTreeMap<usize, Vec<EventId>> =
            self.received.values().map(|received| order(received.iter().map(|(_, raw, _)| *raw).collect())).collect();
        assert_eq!(self.raw.len(), taken_in.len(), "one stream of deliveries for each conversation");
        assert_eq!(self.received.len(), told.len(), "one conversation for each chat");
        assert_eq!(taken_in, told, "the order of a conversation is that of its deliveries");
        let changed = taken_in.values().filter(|raw| !raw.is_sorted_by_key(|raw| number[raw])).count();
        assert!(changed > 0, "no conversation was delivered out of order: the lane proves nothing");
        say(format_args!(
            "kill: {} messages, each there once, in the order of its conversation's deliveries; {changed} of {} \
             conversations were delivered out of order",
            received.len(),
            told.len()
        ));
    }
}
