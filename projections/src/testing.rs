//! What tests of read models share: decoded events of made-up people, a store in memory, keys in memory, the contract of
//! a store.
//!
//! **Invariant:** every id and time is counted, so that a failing test fails again. Nothing here is part of the running
//! program.
#![expect(clippy::missing_panics_doc, reason = "what a test cannot make fails it")]

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use events::account::{AccountEvent, AccountOpened, AccountSettings};
use events::codec::{Codec, Decoded, DomainEvent};
use events::contact::{ContactAddress, ContactOccupied};
use events::conversation::content::{MessageContent, MessageKind, OutsideThread};
use events::conversation::{ConversationEvent, ConversationKind, ConversationOpened, MessageQueued, MessageReceived};
use events::envelope::{Actor, Metadata, Position, RecordedEvent, Revision, StreamName};
use events::feed::Checkpoints;
use events::ids::{AccountId, ContactId, ConversationId, EventId, IdHasher, MessageId, Occupancy, ProfileId};
use events::profile::{Attribute, AttributeRecorded, AttributeSource, AttributeValue, ProfileOpened};
use events::seal::{DataKey, KeyId, KeyStore, KeyStoreError, KeySubject, Personal, Sealer, StoredKey};
use events::values::{Channel, ContactKind};
use events::viewer::{Role, Viewer};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::projection::Changes;
use crate::projector::{CONSUMER, apply_all};
use crate::store::sqlite::SqliteStore;
use crate::store::{Commit, ReadStore};
use crate::views::Views;

pub mod history;
pub mod store_contract;
pub mod surface;

/// An id of this number.
pub fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// The first occupancy of the contact point of this number.
pub fn person(number: u128) -> Occupancy {
    Occupancy { contact: ContactId::new(id(number)), number: 1 }
}

/// A time, so many seconds into the story.
pub fn second(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("made up to fit")
}

/// A viewer of the tenant `acme`.
pub fn viewer(role: Role) -> Viewer {
    Viewer { tenant: "acme".parse().expect("made up to fit"), role, id: "olga".into() }
}

/// A viewer of another tenant.
pub fn stranger() -> Viewer {
    Viewer { tenant: "globex".parse().expect("made up to fit"), role: Role::Administrator, id: "olga".into() }
}

/// Writes events of the tenant `acme`, counting revisions and positions.
#[derive(Default)]
pub struct Story {
    revisions: HashMap<StreamName, u64>,
    /// What happened, in order.
    pub events: Vec<Decoded>,
}

impl Story {
    /// Adds an event to the stream of this thing; returns its revision.
    pub fn add(&mut self, thing: Uuid, event: impl Into<DomainEvent>) -> u64 {
        let event = event.into();
        let stream = StreamName::new(event.category(), "acme".parse().expect("made up to fit"), thing);
        let revision = self.revisions.entry(stream.clone()).or_insert(0);
        let number = self.events.len() as u64 + 1;
        let at = second(i64::try_from(number).expect("made up to fit"));
        let recorded = RecordedEvent {
            id: EventId::new(id(0xE_0000 + u128::from(number))),
            stream,
            revision: Revision(*revision),
            position: Position(number),
            event_type: event.event_type().into(),
            version: event.version(),
            metadata: Metadata {
                actor: Actor::System("test".into()),
                command: None,
                causation: None,
                correlation: id(1),
                occurred_at: at,
                traceparent: None,
                seen_at: None,
                wish: None,
            },
            recorded_at: at,
            payload: Default::default(),
        };
        *revision += 1;
        self.events.push(Decoded { recorded, event });
        self.events.last().expect("made up to fit").recorded.revision.0
    }

    /// The same, as the doing of an operator.
    pub fn add_by_operator(&mut self, thing: Uuid, event: impl Into<DomainEvent>) -> u64 {
        let revision = self.add(thing, event);
        if let Some(last) = self.events.last_mut() {
            last.recorded.metadata.actor = Actor::Operator("olga".into());
        }
        revision
    }

    /// A store that has applied the whole story.
    pub async fn store(&self) -> Arc<SqliteStore> {
        let store = Arc::new(SqliteStore::in_memory().await.expect("made up to fit"));
        deliver(&*store, &self.events).await;
        store
    }

    /// Reads of a store that has applied the whole story.
    pub async fn views(&self) -> Views {
        Views::new(self.store().await)
    }

    /// A conversation with one customer whose contact point and profile exist.
    pub fn conversation(&mut self, number: u128, customer: u128) -> Uuid {
        self.customer(customer, ContactKind::Email, &format!("someone{customer}@example.org"));
        let conversation = id(number);
        let thread = OutsideThread { key: "thread".into(), ..outside() };
        let opened = ConversationOpened {
            account: AccountId::new(id(0xA)),
            channel: Channel::Email,
            kind: ConversationKind::Direct,
            thread: Personal::Opened(thread),
        };
        self.add(conversation, conversation_event(opened));
        let joined = events::conversation::ParticipantJoined { participant: person(customer) };
        self.add(conversation, conversation_event(joined));
        conversation
    }

    /// A contact point and its profile, whose id is `0x50_0000 + number`.
    pub fn customer(&mut self, number: u128, kind: ContactKind, address: &str) -> ProfileId {
        let address = ContactAddress { normalised: address.to_owned(), source_form: address.to_owned() };
        let account = AccountId::new(id(0xA));
        let occupied = ContactOccupied { occupancy: 1, kind, account, address: Personal::Opened(address) };
        self.add(id(number), events::contact::ContactEvent::from(occupied));
        let profile = id(0x50_0000 + number);
        let opened = ProfileOpened { occupancy: person(number) };
        self.add(profile, events::profile::ProfileEvent::from(opened));
        ProfileId::new(profile)
    }

    /// A value of an attribute.
    pub fn attribute(&mut self, profile: ProfileId, attribute: Attribute, source: AttributeSource, text: &str) {
        let value = AttributeValue { text: text.to_owned(), source_form: None };
        let recorded = AttributeRecorded { attribute, source, value: Personal::Opened(value) };
        self.add(profile.uuid(), events::profile::ProfileEvent::from(recorded));
    }

    /// A mail account.
    pub fn account(&mut self) -> Uuid {
        let settings = AccountSettings::Webchat { allowed_origins: vec!["https://acme.example".into()] };
        let opened = AccountOpened { channel: Channel::Webchat, name: "Site".into(), settings };
        self.add(id(0xA), AccountEvent::from(opened));
        id(0xA)
    }
}

/// An empty outside thread.
pub fn outside() -> OutsideThread {
    OutsideThread { key: String::new(), topic: None, title: None, reply_address: None, business_connection: None }
}

/// An event of a conversation.
pub fn conversation_event(event: impl Into<ConversationEvent>) -> ConversationEvent {
    event.into()
}

/// A customer's text.
pub fn received(message: u128, author: u128, text: &str) -> ConversationEvent {
    ConversationEvent::from(MessageReceived {
        message: MessageId::new(id(message)),
        episode: 1,
        author: person(author),
        kind: MessageKind::Text,
        marks: Vec::new(),
        reply_to: None,
        album: None,
        content: Personal::Opened(MessageContent { text: Some(text.to_owned()), ..MessageContent::default() }),
    })
}

/// An answer.
pub fn queued(message: u128, addressee: u128, text: &str) -> ConversationEvent {
    ConversationEvent::from(MessageQueued {
        message: MessageId::new(id(message)),
        episode: 1,
        addressee: Some(person(addressee)),
        kind: MessageKind::Text,
        reply_to: None,
        content: Personal::Opened(MessageContent { text: Some(text.to_owned()), ..MessageContent::default() }),
    })
}

/// The id of a conversation.
pub fn conversation_id(number: u128) -> ConversationId {
    ConversationId::new(id(number))
}

/// Folds events and commits them in one transaction.
pub async fn deliver<'a>(store: &dyn ReadStore, events: impl IntoIterator<Item = &'a Decoded>) {
    let mut changes = Changes::default();
    let mut position = Position::START;
    for event in events {
        apply_all(event, &mut changes);
        position = position.max(event.recorded.position);
    }
    store.commit(commit(changes, position)).await.expect("made up to fit");
}

/// A commit of the projections.
pub fn commit(changes: Changes, position: Position) -> Commit {
    let checkpoints = Checkpoints::of_position(position);
    Commit { consumer: Cow::Borrowed(CONSUMER), changes, parked: Vec::new(), checkpoints }
}

/// The state hash of all tables.
pub async fn hash(store: &dyn ReadStore) -> String {
    store.state(CONSUMER, crate::registry::tables().collect()).await.expect("made up to fit").hash()
}

/// Keys in memory, a fresh one for each subject.
#[derive(Default)]
pub struct MemoryKeys {
    inner: parking_lot::Mutex<(HashMap<KeySubject, DataKey>, HashMap<KeyId, StoredKey>)>,
}

impl MemoryKeys {
    /// Destroys the key of a subject.
    pub fn destroy_of(&self, subject: KeySubject) {
        let mut inner = self.inner.lock();
        let key = inner.0.get(&subject).expect("made up to fit").id;
        inner.1.insert(key, StoredKey::Destroyed);
    }
}

#[async_trait]
impl KeyStore for MemoryKeys {
    async fn key_for(&self, subject: KeySubject) -> Result<DataKey, KeyStoreError> {
        let mut inner = self.inner.lock();
        let number = inner.1.len() + 1;
        let fresh = DataKey {
            id: KeyId(id(number as u128)),
            bytes: Zeroizing::new([u8::try_from(number % 251).expect("made up to fit"); 32]),
        };
        if subject == KeySubject::Own {
            inner.1.insert(fresh.id, StoredKey::Present(fresh.clone()));
            return Ok(fresh);
        }
        let key = inner.0.entry(subject).or_insert(fresh).clone();
        inner.1.entry(key.id).or_insert_with(|| StoredKey::Present(key.clone()));
        Ok(key)
    }

    async fn key(&self, id: KeyId) -> Result<StoredKey, KeyStoreError> {
        self.inner.lock().1.get(&id).cloned().ok_or_else(|| KeyStoreError::Corrupt("no such key".into()))
    }

    async fn destroy(&self, id: KeyId) -> Result<(), KeyStoreError> {
        self.inner.lock().1.insert(id, StoredKey::Destroyed);
        Ok(())
    }

    async fn id_secret(&self) -> Result<Zeroizing<[u8; 32]>, KeyStoreError> {
        Ok(Zeroizing::new([7; 32]))
    }
}

/// A codec on keys in memory.
pub fn codec(keys: &Arc<MemoryKeys>) -> Codec {
    let keys: Arc<dyn KeyStore> = Arc::clone(keys) as _;
    Codec::new(Sealer::new(keys), IdHasher::new([7; 32]))
}

/// Appends the story to a log, sealed: everything personal under the key of `person(1)`.
pub async fn append(story: &Story, log: &dyn events::log::EventLog, codec: &Codec) {
    for decoded in &story.events {
        append_one(decoded, log, codec).await;
    }
}

/// Appends one event of a story, sealed like the others.
pub async fn append_one(decoded: &Decoded, log: &dyn events::log::EventLog, codec: &Codec) {
    let recorded = &decoded.recorded;
    let event = resealed(decoded.event.clone());
    let new =
        codec.encode(recorded.id, &recorded.stream, recorded.metadata.clone(), event).await.expect("made up to fit");
    log.append(&recorded.stream, events::log::ExpectedRevision::Any, vec![new]).await.expect("made up to fit");
}

fn clear<T>(field: Personal<T>) -> Personal<T> {
    match field.into_value() {
        Some(value) => Personal::new(KeySubject::Occupancy(person(1)), value),
        None => Personal::Erased,
    }
}

/// The event with its personal part in clear again, to be sealed.
fn resealed(event: DomainEvent) -> DomainEvent {
    use events::case::CaseEvent;
    use events::contact::ContactEvent;
    use events::intake::{IntakeEvent, RawBody};
    use events::profile::ProfileEvent;
    match event {
        DomainEvent::Intake(IntakeEvent::Received(mut event)) => {
            event.body = Personal::new(KeySubject::Own, RawBody(b"raw".to_vec().into()));
            IntakeEvent::Received(event).into()
        }
        DomainEvent::Contact(ContactEvent::Occupied(mut event)) => {
            event.address = clear(event.address);
            ContactEvent::Occupied(event).into()
        }
        DomainEvent::Profile(ProfileEvent::AttributeRecorded(mut event)) => {
            event.value = clear(event.value);
            ProfileEvent::AttributeRecorded(event).into()
        }
        DomainEvent::Case(CaseEvent::Opened(mut event)) => {
            event.content = clear(event.content);
            CaseEvent::Opened(event).into()
        }
        DomainEvent::Case(CaseEvent::Changed(mut event)) => {
            event.content = clear(event.content);
            CaseEvent::Changed(event).into()
        }
        DomainEvent::Case(CaseEvent::NoteAdded(mut event)) => {
            event.content = clear(event.content);
            CaseEvent::NoteAdded(event).into()
        }
        DomainEvent::Conversation(ConversationEvent::Opened(mut event)) => {
            event.thread = clear(event.thread);
            ConversationEvent::Opened(event).into()
        }
        DomainEvent::Conversation(ConversationEvent::MessageReceived(mut event)) => {
            event.content = clear(event.content);
            ConversationEvent::MessageReceived(event).into()
        }
        DomainEvent::Conversation(ConversationEvent::MessageQueued(mut event)) => {
            event.content = clear(event.content);
            ConversationEvent::MessageQueued(event).into()
        }
        DomainEvent::Conversation(ConversationEvent::MessageEdited(mut event)) => {
            event.content = clear(event.content);
            ConversationEvent::MessageEdited(event).into()
        }
        DomainEvent::Conversation(ConversationEvent::NoteAdded(mut event)) => {
            event.content = clear(event.content);
            ConversationEvent::NoteAdded(event).into()
        }
        other => other,
    }
}
