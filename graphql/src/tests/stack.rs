//! An installation in a temporary folder, with customers who write.
//!
//! **Invariant:** everything is real but the clock and the outside world: webhooks and uploads answer by rote.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Request, Variables};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use events::blobs::BlobRef;
use events::clock::FixedClock;
use events::codec::Codec;
use events::consumer::{ConsumerConfig, ConsumerStatus, run};
use events::contact::ContactAddress;
use events::conversation::ConversationKind;
use events::conversation::content::{MessageContent, MessageKind, OutsideThread};
use events::drafts::MemoryDrafts;
use events::envelope::{Actor, Category, Metadata, Position, StreamName};
use events::feed::LogFeed;
use events::heartbeats::MemoryHeartbeats;
use events::ids::{AccountId, CommandId, ConversationId, EventId, IdHasher, IntakeId, MessageId, Occupancy, TenantId};
use events::intake::{IntakeReceived, RawBody};
use events::log::embedded::{EmbeddedLog, EmbeddedLogConfig};
use events::log::{EventLog, ExpectedRevision};
use events::profile::{Attribute, AttributeSource, AttributeValue};
use events::seal::embedded::{EmbeddedKeyStore, KeyEncryptionKey, PoolConfig};
use events::seal::{KeyId, KeyStore, KeySubject, Personal, Sealer};
use events::values::{Channel, ContactKind};
use events::viewer::{Role, Viewer};
use models::command::Origin;
use models::contact::{ContactCommand, ContactDecider};
use models::conversation::{ConversationCommand, ConversationDecider, ThreadFacts};
use models::decider::Decider;
use models::handler::{Handled, Handler};
use models::profile::{ProfileCommand, ProfileDecider};
use projections::projector::Projector;
use projections::store::ReadStore;
use projections::store::sqlite::{SqliteConfig, SqliteStore};
use projections::views::Views;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use crate::documents::DocumentPolicy;
use crate::ports::{RegistrarError, Upload, UploadError, Uploads, WebhookAnswer, WebhookRegistrar};
use crate::{Caller, Dependencies, Schema, build, execute};

/// The account that customers of the tests write to.
pub(super) const ACCOUNT: AccountId = AccountId::new(Uuid::from_u128(0xACC));

/// An installation.
pub(super) struct Stack {
    pub(super) schema: Schema,
    pub(super) handler: Handler,
    pub(super) store: Arc<SqliteStore>,
    pub(super) clock: Arc<FixedClock>,
    pub(super) deps: Dependencies,
    keys: Arc<EmbeddedKeyStore>,
    _stop: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

/// Answers every request for a webhook in the same way.
struct Registrar;

#[async_trait]
impl WebhookRegistrar for Registrar {
    async fn register(&self, _: &TenantId, account: AccountId) -> Result<WebhookAnswer, RegistrarError> {
        Ok(WebhookAnswer::Registered { url: format!("https://example.org/webhooks/{account}"), secret: 1 })
    }
}

/// Knows one upload of one tenant.
struct OneUpload;

#[async_trait]
impl Uploads for OneUpload {
    async fn find(&self, tenant: &TenantId, reference: &str) -> Result<Upload, UploadError> {
        if tenant.as_str() != "acme" || reference != "upload-1" {
            return Err(UploadError::NotFound);
        }
        let blob = BlobRef {
            hash: "0".repeat(64),
            key: KeyId(Uuid::from_u128(1)),
            size_bytes: 7,
            media_type: Some("image/png".to_owned()),
        };
        Ok(Upload { blob, file_name: Some("offer.png".to_owned()) })
    }
}

/// Whether the read models follow the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Following {
    Yes,
    No,
}

impl Stack {
    pub(super) async fn start() -> Self {
        Self::with(Following::Yes, DocumentPolicy::Any).await
    }

    pub(super) async fn with(following: Following, documents: DocumentPolicy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::new(at(0)));
        let config = EmbeddedLogConfig::new(folder.path().join("log.db"));
        let log: Arc<dyn EventLog> = Arc::new(EmbeddedLog::open(config, clock.clone()).unwrap());
        let kek = KeyEncryptionKey::generate(&folder.path().join("kek")).unwrap();
        let pool = PoolConfig { low_water_keys: 0, batch_pages: 1 };
        let keys = Arc::new(EmbeddedKeyStore::open(folder.path().join("keys.db"), kek, pool).await.unwrap());
        let hasher = IdHasher::new(*keys.id_secret().await.unwrap());
        let codec = Codec::new(Sealer::new(keys.clone()), hasher);
        let handler = Handler::new(Arc::clone(&log), codec.clone());
        let path = folder.path().join("views.db");
        let store = Arc::new(SqliteStore::open(&path, &SqliteConfig::default()).await.unwrap());
        let (stop, stopped) = watch::channel(false);
        if following == Following::Yes {
            let (feed, projector) = (LogFeed::new(log), Projector::new(codec, store.clone()));
            tokio::spawn(async move {
                let (config, status) = (ConsumerConfig::default(), ConsumerStatus::default());
                run(&feed, Arc::new(projector), &config, &status, stopped).await
            });
        }
        let deps = Dependencies {
            handler: handler.clone(),
            views: Views::new(store.clone()),
            clock: clock.clone(),
            webhooks: Arc::new(Registrar),
            uploads: Arc::new(OneUpload),
            heartbeats: Arc::new(MemoryHeartbeats::new(clock.clone())),
            drafts: Arc::new(MemoryDrafts::new(clock.clone())),
            presence_timeout: Duration::from_secs(90),
            patience: match following {
                Following::Yes => Duration::from_secs(30),
                Following::No => Duration::from_millis(1),
            },
            documents,
        };
        let schema = build(deps.clone());
        Self { schema, handler, store, clock, deps, keys, _stop: stop, _folder: folder }
    }

    /// The whole answer, as JSON.
    pub(super) async fn ask_with(&self, caller: &Caller, query: &str, variables: Value) -> Value {
        let request = Request::new(query).variables(Variables::from_json(variables));
        serde_json::to_value(execute(&self.schema, request, caller.clone()).await).unwrap()
    }

    /// The data of an answer that must have no errors.
    pub(super) async fn ask(&self, caller: &Caller, query: &str) -> Value {
        let mut answer = self.ask_with(caller, query, Value::Null).await;
        assert_eq!(answer.get("errors"), None, "{query}");
        answer["data"].take()
    }

    /// The code of the first error of an answer.
    pub(super) async fn code(&self, caller: &Caller, query: &str) -> String {
        let answer = self.ask_with(caller, query, Value::Null).await;
        answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("no error: {answer}")).to_owned()
    }

    /// Lets the read models catch up with the log.
    pub(super) async fn settle(&self) -> Position {
        let head = self.handler.log().head().await.unwrap();
        self.deps.views.wait_for(head, Duration::from_secs(30)).await.unwrap()
    }

    /// How many reading statements the read models have run.
    pub(super) fn statements(&self) -> u64 {
        self.store.statements()
    }

    /// Destroys the key of a person.
    pub(super) async fn erase(&self, who: Occupancy) {
        let key = self.keys.key_for(KeySubject::Occupancy(who)).await.unwrap();
        self.handler.codec().sealer().destroy(key.id).await.unwrap();
    }

    async fn wish<D: Decider>(&self, tenant: &str, name: &str, id: Uuid, command: D::Command) -> Handled {
        let tenant: TenantId = tenant.parse().unwrap();
        let origin = Origin {
            id: CommandId::of_caller(&tenant, "system:test", D::CATEGORY.as_str(), name),
            tenant,
            actor: Actor::System("test".into()),
            causation: None,
            correlation: Uuid::from_u128(0xC0),
            occurred_at: at(0),
            traceparent: None,
            seen_at: None,
            wish: None,
        };
        self.handler.handle::<D>(id, &origin, command).await.unwrap()
    }

    /// A customer of the tenant: the contact point and its profile.
    pub(super) async fn customer(&self, tenant: &str, number: u32) -> Occupancy {
        let hasher = self.handler.codec().hasher();
        let id: TenantId = tenant.parse().unwrap();
        let normalised = format!("{}", 1000 + number);
        let contact = hasher.contact(&id, ContactKind::TelegramUser.as_str(), &normalised);
        let who = Occupancy { contact, number: 1 };
        let address = ContactAddress { normalised: normalised.clone(), source_form: normalised };
        let occupy = ContactCommand::Occupy { contact, kind: ContactKind::TelegramUser, account: ACCOUNT, address };
        self.wish::<ContactDecider>(tenant, &format!("occupy {number}"), contact.uuid(), occupy).await;
        let profile = hasher.profile(who).uuid();
        let open = ProfileCommand::Open { occupancy: who };
        self.wish::<ProfileDecider>(tenant, &format!("open {number}"), profile, open).await;
        let name = ProfileCommand::Record {
            attribute: Attribute::DisplayName,
            source: AttributeSource::Channel { account: ACCOUNT },
            value: AttributeValue { text: format!("Customer {number}"), source_form: None },
        };
        self.wish::<ProfileDecider>(tenant, &format!("name {number}"), profile, name).await;
        who
    }

    /// A message of a customer in the conversation of this number.
    pub(super) async fn writes(&self, tenant: &str, who: Occupancy, number: u32, text: &str) -> ConversationId {
        let hasher = self.handler.codec().hasher();
        let conversation = hasher.conversation(ACCOUNT, &format!("{tenant} {number}"));
        let thread = thread(conversation, number);
        let receive = ConversationCommand::Receive {
            thread,
            message: hasher.message(conversation, text),
            author: who,
            kind: MessageKind::Text,
            marks: vec![],
            reply_to: None,
            album: None,
            content: MessageContent { text: Some(text.to_owned()), ..MessageContent::default() },
        };
        let name = format!("receive {number} {text}");
        self.wish::<ConversationDecider>(tenant, &name, conversation.uuid(), receive).await;
        conversation
    }

    /// One customer of the tenant `acme` who has written "hello".
    pub(super) async fn conversation(&self) -> (Occupancy, ConversationId) {
        let who = self.customer("acme", 1).await;
        let conversation = self.writes("acme", who, 1, "hello").await;
        self.settle().await;
        (who, conversation)
    }

    /// Carries out a command on a conversation of `acme`, as a part of the system.
    pub(super) async fn drive(&self, conversation: ConversationId, name: &str, command: ConversationCommand) {
        self.wish::<ConversationDecider>("acme", name, conversation.uuid(), command).await;
    }

    /// Appends a raw delivery, as a webhook does.
    pub(super) async fn delivers(&self, tenant: &str, body: &str) -> (IntakeId, EventId) {
        let hasher = self.handler.codec().hasher();
        let (intake, event) = (hasher.intake(ACCOUNT, body), hasher.delivery(ACCOUNT, body));
        let stream = StreamName::new(Category::Intake, tenant.parse().unwrap(), intake.uuid());
        let received = IntakeReceived {
            account: ACCOUNT,
            channel: Channel::Telegram,
            size_bytes: body.len() as u64,
            body: Personal::new(KeySubject::Own, RawBody(body.to_owned().into())),
            blob: None,
        };
        let metadata = Metadata {
            actor: Actor::System("webhook".into()),
            command: None,
            causation: None,
            correlation: Uuid::from_u128(0xC1),
            occurred_at: at(0),
            traceparent: None,
            seen_at: None,
            wish: None,
        };
        let received = events::intake::IntakeEvent::Received(received).into();
        let new = self.handler.codec().encode(event, &stream, metadata, received).await.unwrap();
        self.handler.log().append(&stream, ExpectedRevision::Any, vec![new]).await.unwrap();
        (intake, event)
    }

    /// Carries out a command on raw deliveries, as the inbound reactor does.
    pub(super) async fn decides(&self, tenant: &str, intake: IntakeId, command: models::intake::IntakeCommand) {
        self.wish::<models::intake::IntakeDecider>(tenant, "outcome", intake.uuid(), command).await;
    }
}

/// The thread of the conversation of this number.
pub(super) fn thread(conversation: ConversationId, number: u32) -> ThreadFacts {
    let outside = OutsideThread {
        key: number.to_string(),
        topic: None,
        title: None,
        reply_address: None,
        business_connection: None,
    };
    ThreadFacts { conversation, account: ACCOUNT, channel: Channel::Telegram, kind: ConversationKind::Direct, outside }
}

/// A time, so many seconds into the story.
pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

/// Somebody of the tenant `acme`.
pub(super) fn caller(role: Role) -> Caller {
    of_tenant("acme", role)
}

/// Somebody of any tenant.
pub(super) fn of_tenant(tenant: &str, role: Role) -> Caller {
    Caller {
        viewer: Viewer { tenant: tenant.parse().unwrap(), role, id: role.as_str().into() },
        correlation: Uuid::from_u128(0xCA11),
        traceparent: None,
    }
}

/// The first message of a conversation.
pub(super) fn first_message(hasher: &IdHasher, conversation: ConversationId) -> MessageId {
    hasher.message(conversation, "hello")
}
