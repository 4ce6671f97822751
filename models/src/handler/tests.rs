//! The handler against a log in memory: retries, repeats, other writers, faults.
//!
//! **Invariant:** what counts is what the log holds in the end; a test looks there, not into the handler.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use events::clock::FixedClock;
use events::codec::Codec;
use events::conversation::content::{MessageContent, MessageKind, OutsideThread};
use events::conversation::{ConversationKind, Speaker};
use events::envelope::{Actor, Category, RecordedEvent, StreamName};
use events::ids::{AccountId, CommandId, ContactId, ConversationId, IdHasher, MessageId, Occupancy};
use events::log::{Direction, EventLog};
use events::seal::Sealer;
use events::testing::MemoryLog;
use events::testing::memory_keys::MemoryKeyStore;
use events::values::Channel;
use uuid::Uuid;

use super::{HandleError, Handled, Handler};
use crate::command::Origin;
use crate::conversation::{
    ConversationCommand as C, ConversationDecider, ConversationRejection, Outgoing, ThreadFacts,
};

mod faults;
mod faulty;
mod repeats;
mod sealing;
mod together;
mod writers;

use faulty::{Fault, FaultyLog};

type Answer = Result<Handled, HandleError<ConversationRejection>>;

/// One log and one key store, on which any number of handlers work.
struct World {
    log: Arc<FaultyLog>,
    keys: Arc<MemoryKeyStore>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(FixedClock::new(DateTime::UNIX_EPOCH));
        Self { log: Arc::new(FaultyLog::new(MemoryLog::new(clock))), keys: Arc::default() }
    }

    /// A handler as after a start of the process: nothing in memory.
    fn handler(&self) -> Handler {
        let log: Arc<dyn EventLog> = Arc::<FaultyLog>::clone(&self.log);
        let keys: Arc<MemoryKeyStore> = Arc::clone(&self.keys);
        Handler::new(log, Codec::new(Sealer::new(keys), IdHasher::new([7; 32])))
    }

    async fn events(&self) -> Vec<RecordedEvent> {
        let read = self.log.read_stream(&stream(), None, Direction::Forwards, 100_000).await;
        read.unwrap()
    }

    async fn types(&self) -> Vec<String> {
        let name = |event: RecordedEvent| event.event_type.trim_start_matches("conversation.").to_owned();
        self.events().await.into_iter().map(name).collect()
    }
}

fn conversation() -> ConversationId {
    ConversationId::new(Uuid::from_u128(1))
}

fn stream() -> StreamName {
    StreamName::new(Category::Conversation, "acme".parse().unwrap(), conversation().uuid())
}

fn customer() -> Occupancy {
    Occupancy { contact: ContactId::new(Uuid::from_u128(1)), number: 1 }
}

fn origin(id: u128) -> Origin {
    Origin {
        id: CommandId::new(Uuid::from_u128(id)),
        tenant: "acme".parse().unwrap(),
        actor: Actor::System("test".into()),
        causation: None,
        correlation: Uuid::from_u128(9),
        occurred_at: DateTime::UNIX_EPOCH,
        traceparent: None,
        seen_at: None,
        wish: None,
    }
}

fn thread() -> ThreadFacts {
    ThreadFacts {
        conversation: conversation(),
        account: AccountId::new(Uuid::from_u128(7)),
        channel: Channel::Telegram,
        kind: ConversationKind::Direct,
        outside: OutsideThread {
            key: "42".into(),
            topic: None,
            title: None,
            reply_address: None,
            business_connection: None,
        },
    }
}

fn text(text: &str) -> MessageContent {
    MessageContent { text: Some(text.into()), ..MessageContent::default() }
}

fn receive(n: u128) -> C {
    C::Receive {
        thread: thread(),
        message: MessageId::new(Uuid::from_u128(n)),
        author: customer(),
        kind: MessageKind::Text,
        marks: vec![],
        reply_to: None,
        album: None,
        content: text("hello"),
    }
}

fn queue(n: u128, speaker: Speaker) -> C {
    C::Queue(Outgoing {
        conversation: conversation(),
        message: MessageId::new(Uuid::from_u128(n)),
        speaker,
        kind: MessageKind::Text,
        reply_to: None,
        content: text("good day"),
    })
}

fn agent() -> Speaker {
    Speaker::Agent("greeter".into())
}

fn close() -> C {
    C::Close { reason: "resolved".into() }
}

fn tag(add: &[&str], remove: &[&str]) -> C {
    let set = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<BTreeSet<_>>();
    C::Tag { add: set(add), remove: set(remove) }
}

async fn send(handler: &Handler, id: u128, command: C) -> Answer {
    handler.handle::<ConversationDecider>(conversation().uuid(), &origin(id), command).await
}

async fn done(handler: &Handler, id: u128, command: C) -> Handled {
    send(handler, id, command).await.unwrap()
}

/// The state as the handler has it, told in words.
async fn told(handler: &Handler) -> String {
    let stream = stream();
    let told = handler.inspect::<ConversationDecider, _>(&stream, |state| {
        format!("{:?} {:?} {:?} {:?}", state.episode(), state.speaker(), state.queue(), state.addressee())
    });
    told.await.unwrap()
}
