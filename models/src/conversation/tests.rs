//! What a conversation answers to each command: the story's people and things, and its chapters.
//!
//! **Invariant:** each command acts, stays quiet and is refused in one of the chapters, where it can.

use chrono::{DateTime, TimeDelta, Utc};
use events::conversation::content::{MessageContent, MessageKind, MessageMark, OutsideThread};
use events::conversation::{
    ConversationEvent, ConversationKind, ConversationOpened, MessageQueued, MessageReceived, ParticipantJoined, Speaker,
};
use events::ids::{AccountId, ContactId, ConversationId, MessageId, Occupancy};
use events::seal::{KeySubject, Personal};
use events::values::Channel;
use uuid::Uuid;

use super::{ConversationCommand as C, ConversationDecider, ConversationRejection, Outgoing, ThreadFacts};
use crate::testing::{Given, given};

mod assigning;
mod delivering;
mod histories;
mod receiving;
mod speaking;
mod working;

fn conversation() -> ConversationId {
    ConversationId::new(Uuid::from_u128(1))
}

/// The `n`-th contact point, in its first occupancy.
fn customer(n: u128) -> Occupancy {
    holder(n, 1)
}

fn holder(n: u128, number: u32) -> Occupancy {
    Occupancy { contact: ContactId::new(Uuid::from_u128(n)), number }
}

fn message(n: u128) -> MessageId {
    MessageId::new(Uuid::from_u128(n))
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

fn outside() -> OutsideThread {
    OutsideThread { key: "42".into(), topic: None, title: None, reply_address: None, business_connection: None }
}

fn thread_of(kind: ConversationKind) -> ThreadFacts {
    ThreadFacts {
        conversation: conversation(),
        account: AccountId::new(Uuid::from_u128(7)),
        channel: Channel::Telegram,
        kind,
        outside: outside(),
    }
}

fn thread() -> ThreadFacts {
    thread_of(ConversationKind::Direct)
}

fn group() -> ThreadFacts {
    thread_of(ConversationKind::Group)
}

fn text(text: &str) -> MessageContent {
    MessageContent { text: Some(text.into()), ..MessageContent::default() }
}

fn marked(thread: ThreadFacts, n: u128, author: Occupancy, marks: &[MessageMark]) -> C {
    C::Receive {
        thread,
        message: message(n),
        author,
        kind: MessageKind::Text,
        marks: marks.to_vec(),
        reply_to: None,
        album: None,
        content: text("hello"),
    }
}

/// A customer writes the `n`-th message of a direct conversation.
fn receive(n: u128) -> C {
    marked(thread(), n, customer(1), &[])
}

fn operator(name: &str) -> Speaker {
    Speaker::Operator(name.into())
}

fn agent(name: &str) -> Speaker {
    Speaker::Agent(name.into())
}

fn outgoing(n: u128, speaker: Speaker) -> Outgoing {
    Outgoing {
        conversation: conversation(),
        message: message(n),
        speaker,
        kind: MessageKind::Text,
        reply_to: None,
        content: text("good day"),
    }
}

fn queue(n: u128, speaker: Speaker) -> C {
    C::Queue(outgoing(n, speaker))
}

fn close() -> C {
    C::Close { reason: "resolved".into() }
}

fn opened(kind: ConversationKind, key: KeySubject) -> ConversationEvent {
    let thread = thread_of(kind);
    ConversationOpened {
        account: thread.account,
        channel: thread.channel,
        kind,
        thread: Personal::new(key, thread.outside),
    }
    .into()
}

fn joined(participant: Occupancy) -> ConversationEvent {
    ParticipantJoined { participant }.into()
}

fn received(n: u128, episode: u32, author: Occupancy, marks: &[MessageMark], key: KeySubject) -> ConversationEvent {
    MessageReceived {
        message: message(n),
        episode,
        author,
        kind: MessageKind::Text,
        marks: marks.to_vec(),
        reply_to: None,
        album: None,
        content: Personal::new(key, text("hello")),
    }
    .into()
}

fn queued(n: u128, episode: u32, addressee: Option<Occupancy>, key: KeySubject) -> ConversationEvent {
    MessageQueued {
        message: message(n),
        episode,
        addressee,
        kind: MessageKind::Text,
        reply_to: None,
        content: Personal::new(key, text("good day")),
    }
    .into()
}

fn nothing_yet() -> Given<ConversationDecider> {
    given([])
}

/// A direct conversation with one message of one customer.
fn direct() -> Given<ConversationDecider> {
    nothing_yet().and(receive(1))
}

/// A group in which one customer wrote.
fn in_group() -> Given<ConversationDecider> {
    nothing_yet().and(marked(group(), 1, customer(1), &[]))
}

/// The key of a customer.
fn of(occupancy: Occupancy) -> KeySubject {
    KeySubject::Occupancy(occupancy)
}

/// The key of the conversation.
fn of_group() -> KeySubject {
    KeySubject::Conversation(conversation())
}

fn refused(given: Given<ConversationDecider>, command: C, rejection: &ConversationRejection) {
    given.when(command).then_rejected(rejection);
}
