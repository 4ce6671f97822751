//! A log with a given number of events, written as fast as the log takes it, for rebuilding.
//!
//! **Invariant:** the events are those that intake and the deciders write for the same deliveries: raw event, contact,
//! profile, attributes, conversation, message and outcome. Only their order across streams is coarser.

use std::collections::HashMap;

use anyhow::anyhow;
use bytes::Bytes;
use events::DomainEvent;
use events::codec::Codec;
use events::contact::ContactAddress;
use events::conversation::ConversationKind;
use events::conversation::content::{MessageContent, MessageKind, OutsideThread};
use events::envelope::{Actor, Category, Metadata, Position, Revision, StreamName};
use events::ids::{AccountId, CommandId, EventId, Occupancy};
use events::intake::{IntakeEvent, IntakeNormalised, IntakeReceived, RawBody};
use events::log::{EventLog, ExpectedRevision};
use events::profile::{Attribute, AttributeSource, AttributeValue};
use events::seal::{KeySubject, Personal};
use events::values::{Channel, ContactKind};
use futures::StreamExt;
use letopis::engines::Engines;
use models::contact::{ContactCommand, ContactDecider};
use models::conversation::{Conversation, ConversationCommand, ConversationDecider, ThreadFacts};
use models::decider::Decider;
use models::profile::{Profile, ProfileCommand, ProfileDecider};
use uuid::Uuid;

use crate::deliveries::Deliveries;

/// Deliveries whose events are written together.
const CHUNK: u64 = 2_000;
/// Streams appended to at the same time.
const SIDE_BY_SIDE: usize = 512;

/// A person and their conversation so far.
#[derive(Default)]
struct Person {
    conversation: Conversation,
    revision: u64,
}

/// Events of one stream, in order, with the ids of what caused them.
type Pending = HashMap<StreamName, Vec<(EventId, DomainEvent)>>;

/// Writes deliveries until the log holds `events` events; gives how many there are.
pub(crate) async fn write(engines: &Engines, events: u64) -> anyhow::Result<u64> {
    let deliveries = Deliveries::new();
    let mut writer =
        Writer { codec: &engines.codec, account: AccountId::new(Uuid::from_u128(1)), people: HashMap::new() };
    let log = engines.event_log();
    let mut next = 1;
    loop {
        let mut pending = Pending::new();
        for number in next..next + CHUNK {
            writer.deliver(&deliveries, number, &mut pending)?;
        }
        next += CHUNK;
        let appends = pending.into_iter().map(|(stream, events)| append(&*log, &engines.codec, stream, events));
        let mut appends = futures::stream::iter(appends).buffer_unordered(SIDE_BY_SIDE);
        while let Some(appended) = appends.next().await {
            appended?;
        }
        let Position(written) = log.head().await?;
        if written >= events {
            return Ok(written);
        }
    }
}

async fn append(
    log: &dyn EventLog,
    codec: &Codec,
    stream: StreamName,
    events: Vec<(EventId, DomainEvent)>,
) -> anyhow::Result<()> {
    let mut encoded = Vec::with_capacity(events.len());
    for (id, event) in events {
        let metadata = Metadata {
            actor: Actor::System("inbound".into()),
            command: Some(CommandId::new(id.uuid())),
            causation: Some(id),
            correlation: id.uuid(),
            occurred_at: chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap_or_default(),
            traceparent: None,
            seen_at: None,
            wish: None,
        };
        encoded.push(codec.encode(id, &stream, metadata, event).await?);
    }
    log.append(&stream, ExpectedRevision::Any, encoded).await?;
    Ok(())
}

struct Writer<'a> {
    codec: &'a Codec,
    account: AccountId,
    people: HashMap<u64, Person>,
}

impl Writer<'_> {
    fn deliver(&mut self, deliveries: &Deliveries, number: u64, pending: &mut Pending) -> anyhow::Result<()> {
        let hasher = self.codec.hasher();
        let chat = deliveries.chat(number).to_string();
        let received = hasher.delivery(self.account, &number.to_string());
        let intake = self.stream(Category::Intake, hasher.intake(self.account, &chat).uuid())?;
        let body = Bytes::from(deliveries.body(number));
        let raw = IntakeReceived {
            account: self.account,
            channel: Channel::Telegram,
            size_bytes: body.len() as u64,
            body: Personal::new(KeySubject::Own, RawBody(body)),
            blob: None,
        };
        let contact = hasher.contact(&"acme".parse()?, ContactKind::TelegramUser.as_str(), &chat);
        let occupancy = Occupancy { contact, number: 1 };
        let conversation = hasher.conversation(self.account, &chat);
        let outcome = IntakeNormalised {
            received,
            kind: "message".to_owned(),
            persons: vec![occupancy],
            conversation: Some(conversation),
        };
        let written = CommandId::of_reactor("bench", received, 0).event(0);
        let events = pending.entry(intake).or_default();
        events.push((received, IntakeEvent::from(raw).into()));
        events.push((written, IntakeEvent::from(outcome).into()));

        if !self.people.contains_key(&deliveries.chat(number)) {
            self.meet(received, &chat, occupancy, pending)?;
        }
        let stream = self.stream(Category::Conversation, conversation.uuid())?;
        let message = hasher.message(conversation, &number.to_string());
        let outside =
            OutsideThread { key: chat, topic: None, title: None, reply_address: None, business_connection: None };
        let command = ConversationCommand::Receive {
            thread: ThreadFacts {
                conversation,
                account: self.account,
                channel: Channel::Telegram,
                kind: ConversationKind::Direct,
                outside,
            },
            message,
            author: occupancy,
            kind: MessageKind::Text,
            marks: Vec::new(),
            reply_to: None,
            album: None,
            content: MessageContent { text: Some(Deliveries::text(number)), ..MessageContent::default() },
        };
        let person = self.people.entry(deliveries.chat(number)).or_default();
        let decided = ConversationDecider::decide(&person.conversation, command).map_err(|error| anyhow!("{error}"))?;
        for (index, event) in (0..).zip(decided) {
            ConversationDecider::evolve(&mut person.conversation, &event, Revision(person.revision));
            person.revision += 1;
            let id = CommandId::of_reactor("bench", received, 1).event(index);
            pending.entry(stream.clone()).or_default().push((id, event.into()));
        }
        Ok(())
    }

    /// The events of a person's first message but those of the conversation.
    fn meet(&self, cause: EventId, chat: &str, occupancy: Occupancy, pending: &mut Pending) -> anyhow::Result<()> {
        let contact = self.stream(Category::Contact, occupancy.contact.uuid())?;
        let command = ContactCommand::Occupy {
            contact: occupancy.contact,
            kind: ContactKind::TelegramUser,
            account: self.account,
            address: ContactAddress { normalised: chat.to_owned(), source_form: chat.to_owned() },
        };
        let decided = ContactDecider::decide(&<ContactDecider as Decider>::State::default(), command);
        for (index, event) in (0..).zip(decided.map_err(|error| anyhow!("{error}"))?) {
            let id = CommandId::of_reactor("bench", cause, 2).event(index);
            pending.entry(contact.clone()).or_default().push((id, event.into()));
        }
        let stream = self.stream(Category::Profile, self.codec.hasher().profile(occupancy).uuid())?;
        let mut profile = Profile::default();
        let value = |text: String| AttributeValue { text, source_form: None };
        let record = |attribute, text| ProfileCommand::Record {
            attribute,
            source: AttributeSource::Channel { account: self.account },
            value: value(text),
        };
        let commands = [
            ProfileCommand::Open { occupancy },
            record(Attribute::DisplayName, format!("Анна Клиент{chat}")),
            record(Attribute::Username, format!("client_{chat}")),
            record(Attribute::Language, "ru".to_owned()),
        ];
        let mut revision = 0;
        for (ordinal, command) in (3..).zip(commands) {
            let decided = ProfileDecider::decide(&profile, command).map_err(|error| anyhow!("{error}"))?;
            for (index, event) in (0..).zip(decided) {
                ProfileDecider::evolve(&mut profile, &event, Revision(revision));
                revision += 1;
                let id = CommandId::of_reactor("bench", cause, ordinal).event(index);
                pending.entry(stream.clone()).or_default().push((id, event.into()));
            }
        }
        Ok(())
    }

    fn stream(&self, category: Category, id: Uuid) -> anyhow::Result<StreamName> {
        Ok(StreamName::new(category, "acme".parse()?, id))
    }
}
