//! A log that forgets: what it writes twice, the customer has written once.
//!
//! **Invariant:** the log is EventStoreDB's adapter on the protocol double; a message is what is counted, not a raw event.

use std::sync::Arc;

use events::DomainEvent;
use events::account::AccountSettings;
use events::checkpoints::folder::FolderCheckpoints;
use events::codec::Codec;
use events::consumer::{Batch, Handler as _};
use events::conversation::ConversationEvent;
use events::envelope::{Actor, Category, Metadata, Position, StreamName};
use events::feed::{Checkpoint, Delivery};
use events::ids::{AccountId, EventId, IdHasher};
use events::intake::{IntakeEvent, IntakeReceived, RawBody};
use events::log::eventstore::{EventStoreConfig, EventStoreLog};
use events::log::{EventLog, ExpectedRevision, Filter};
use events::seal::{KeySubject, Personal, Sealer};
use events::testing::eventstore::EventStoreDouble;
use events::testing::memory_blobs::MemoryBlobs;
use events::testing::memory_keys::MemoryKeyStore;
use events::testing::{fresh_uuid, sample_time};
use events::values::Channel;
use letopis::accounts::Accounts;
use letopis::inbound::{Inbound, InboundConsumer};
use models::account::{AccountCommand, AccountDecider};
use models::handler::Handler;

use crate::stage::{origin, tenant, update};

/// The inbound reactor on a log that forgets.
struct Story {
    double: EventStoreDouble,
    log: Arc<dyn EventLog>,
    codec: Codec,
    account: AccountId,
    inbound: InboundConsumer,
    handled: Position,
    _folder: tempfile::TempDir,
}

impl Story {
    async fn begin() -> Self {
        let double = EventStoreDouble::start().await.unwrap();
        let log: Arc<dyn EventLog> = Arc::new(EventStoreLog::open(EventStoreConfig::new(double.url())).unwrap());
        let codec = Codec::new(Sealer::new(Arc::new(MemoryKeyStore::default())), IdHasher::new([7; 32]));
        let handler = Handler::new(Arc::clone(&log), codec.clone());
        let account = AccountId::new(fresh_uuid());
        let settings = AccountSettings::Telegram { api_base: None };
        let open = AccountCommand::Open { name: "Магазин".to_owned(), settings };
        handler.handle::<AccountDecider>(account.uuid(), &origin(), open).await.unwrap();
        let accounts = Accounts::load(Arc::clone(&log), codec.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = FolderCheckpoints::open(folder.path().to_owned()).unwrap();
        let inbound = Inbound::new(handler, accounts, Arc::new(MemoryBlobs::default()));
        let inbound = InboundConsumer::new(Arc::new(inbound), Arc::new(checkpoints));
        Self { double, log, codec, account, inbound, handled: Position::START, _folder: folder }
    }

    /// A delivery as a webhook takes it in: under an id that follows from the delivery, whatever the stream holds.
    async fn deliver(&self, body: &str) {
        let hasher = self.codec.hasher();
        let id: EventId = hasher.delivery(self.account, body);
        let stream = StreamName::new(Category::Intake, tenant(), hasher.intake(self.account, "7100200300").uuid());
        let received = IntakeReceived {
            account: self.account,
            channel: Channel::Telegram,
            size_bytes: body.len() as u64,
            body: Personal::new(KeySubject::Own, RawBody(body.to_owned().into())),
            blob: None,
        };
        let metadata = Metadata {
            actor: Actor::System("telegram".into()),
            command: None,
            causation: None,
            correlation: id.uuid(),
            occurred_at: sample_time(),
            traceparent: None,
            seen_at: None,
            wish: None,
        };
        let event = self.codec.encode(id, &stream, metadata, IntakeEvent::from(received).into()).await.unwrap();
        self.log.append(&stream, ExpectedRevision::Any, vec![event]).await.unwrap();
    }

    /// Lets the reactor handle all there is.
    async fn normalise(&mut self) {
        let (events, searched) = self.log.read_all(self.handled, &self.inbound.filter(), 100).await.unwrap();
        for event in events {
            let delivery = Delivery { checkpoint: Checkpoint::of_position(event.position), event };
            self.inbound.handle(&Batch::of(delivery)).await.unwrap();
        }
        self.handled = searched;
    }

    /// Raw deliveries, and texts of messages.
    async fn seen(&self) -> (usize, Vec<String>) {
        let (events, _) = self.log.read_all(Position::START, &Filter::default(), 1_000).await.unwrap();
        let (mut raw, mut texts) = (0, Vec::new());
        for event in events {
            match self.codec.decode_open(event).await.unwrap().event {
                DomainEvent::Intake(IntakeEvent::Received(_)) => raw += 1,
                DomainEvent::Conversation(ConversationEvent::MessageReceived(received)) => {
                    let content = received.content.into_value().unwrap_or_default();
                    texts.push(content.text.unwrap_or_default());
                }
                _ => {}
            }
        }
        (raw, texts)
    }
}

#[tokio::test]
async fn a_delivery_that_the_log_has_forgotten_is_two_raw_events_and_one_message() {
    let mut story = Story::begin().await;
    let body = update(21, "Где мой заказ?").to_string();
    story.deliver(&body).await;
    story.deliver(&body).await;
    story.normalise().await;
    assert_eq!(story.seen().await, (1, vec!["Где мой заказ?".to_owned()]), "remembered, it is there once");
    story.double.forget_ids();
    story.deliver(&body).await;
    story.deliver(&update(22, "Алло").to_string()).await;
    story.normalise().await;
    let texts = vec!["Где мой заказ?".to_owned(), "Алло".to_owned()];
    assert_eq!(story.seen().await, (3, texts), "forgotten, it is one message all the same");
}

#[tokio::test]
async fn copies_that_the_log_could_not_tell_apart_are_one_message() {
    let mut story = Story::begin().await;
    let body = update(23, "Где мой заказ?").to_string();
    for _ in 0..3 {
        story.deliver(&body).await;
        story.double.forget_ids();
    }
    story.normalise().await;
    assert_eq!(story.seen().await, (3, vec!["Где мой заказ?".to_owned()]));
}
