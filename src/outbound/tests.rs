//! One reactor that is run, stopped and run again, as when a lease comes and goes.
//!
//! **Invariant:** no test waits for a clock: the reactor's stands still until it is moved.

use chrono::TimeDelta;
use events::account::{AccountSettings, Credentials};
use events::clock::{FixedClock, SequentialIds};
use events::conversation::content::{ActivityDetail, MessageContent, MessageKind, OutsideThread};
use events::conversation::{ConversationKind, Speaker};
use events::ids::TenantId;
use events::log::Filter;
use events::testing::sample_time;
use futures::StreamExt;
use models::account::{AccountCommand, AccountDecider};
use models::conversation::{Outgoing, ThreadFacts};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use uuid::Uuid;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::*;
use crate::config::Config;
use crate::engines::{Access, Engines};
use crate::visitors::Visitors;

/// What a test waits at most for what must happen; it is reached only when the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A reactor with a log and a provider.
struct Scene {
    _folder: TempDir,
    engines: Engines,
    handler: Handler,
    checkpoints: Arc<dyn CheckpointStore>,
    provider: MockServer,
    visitors: Arc<Visitors>,
    clock: Arc<FixedClock>,
    account: AccountId,
    outbound: Arc<Outbound>,
}

fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

fn origin(ids: &SequentialIds) -> Origin {
    use events::clock::IdGenerator;
    let id = ids.next();
    Origin {
        id: CommandId::new(id),
        tenant: tenant(),
        actor: Actor::Operator("olga".into()),
        causation: None,
        correlation: id,
        occurred_at: sample_time(),
        traceparent: None,
        seen_at: None,
        wish: None,
    }
}

impl Scene {
    /// An account of this kind, and nothing sent yet.
    async fn set(scope: Scope, settings: AccountSettings, concurrency: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let config = Config { data_dir, ..Config::default() };
        let clock = Arc::new(FixedClock::new(sample_time()));
        let engines = Engines::open(&config, Access::Append, Arc::<FixedClock>::clone(&clock)).await.unwrap();
        let handler = Handler::new(engines.event_log(), engines.codec.clone());
        let account = AccountId::new(Uuid::from_u128(1));
        let (ids, telegram) = (SequentialIds::starting_at(1), settings.channel() == Channel::Telegram);
        let mut commands = vec![AccountCommand::Open { name: "Магазин".to_owned(), settings }];
        if telegram {
            let credentials = Credentials::Telegram { bot_token: "123456:AAHtoken-of_the-bot".to_owned() };
            commands.push(AccountCommand::ReplaceCredentials { account, credentials });
        }
        for command in commands {
            handler.handle::<AccountDecider>(account.uuid(), &origin(&ids), command).await.unwrap();
        }
        let accounts = Accounts::load(engines.event_log(), engines.codec.clone()).await.unwrap();
        let (provider, visitors) = (MockServer::start().await, Arc::new(Visitors::new(10)));
        let carrier = Carrier {
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            telegram_api: provider.uri(),
            timeout: PATIENCE,
            blobs: Arc::clone(&engines.blobs),
            sealer: engines.codec.sealer().clone(),
            hasher: engines.codec.hasher().clone(),
            visitors: Arc::clone(&visitors),
        };
        let settings = OutboundConfig { first_retry_ms: 60_000, concurrency, ..OutboundConfig::default() };
        let time: Arc<dyn Clock> = Arc::<FixedClock>::clone(&clock);
        let outbound = Outbound::new(scope, handler.clone(), accounts, carrier, time, settings);
        let checkpoints = engines.checkpoints(&config).await.unwrap();
        Self { _folder: folder, engines, handler, checkpoints, provider, visitors, clock, account, outbound }
    }

    async fn telegram(concurrency: usize) -> Self {
        Self::set(Scope::Wires, AccountSettings::Telegram { api_base: None }, concurrency).await
    }

    /// The provider answers so, once all that came before is used up.
    async fn answer(&self, times: Option<u64>, answer: ResponseTemplate) {
        let mock = Mock::given(matchers::path_regex("/sendMessage$")).respond_with(answer);
        match times {
            Some(times) => mock.up_to_n_times(times).mount(&self.provider).await,
            None => mock.mount(&self.provider).await,
        }
    }

    /// Queues a message in a conversation that is opened for it.
    async fn queue(&self, number: u128) -> ConversationId {
        let conversation = ConversationId::new(Uuid::from_u128(100 + number));
        let channel = self.outbound.accounts.get(self.account).unwrap().channel();
        let outside = OutsideThread {
            key: number.to_string(),
            topic: None,
            title: None,
            reply_address: None,
            business_connection: None,
        };
        let thread =
            ThreadFacts { conversation, account: self.account, channel, kind: ConversationKind::Group, outside };
        let ids = SequentialIds::starting_at(1_000 * u64::try_from(number).unwrap());
        let opened = ConversationCommand::NoteActivity {
            thread,
            activity: "joined".to_owned(),
            activity_id: Uuid::from_u128(1),
            by: None,
            message: None,
            detail: ActivityDetail::default(),
        };
        let queued = ConversationCommand::Queue(Outgoing {
            conversation,
            message: MessageId::new(Uuid::from_u128(200 + number)),
            speaker: Speaker::Operator("olga".into()),
            kind: MessageKind::Text,
            reply_to: None,
            content: MessageContent { text: Some("Уже в пути".to_owned()), ..MessageContent::default() },
        });
        for command in [opened, queued] {
            let origin = origin(&ids);
            let handled = self.handler.handle::<ConversationDecider>(conversation.uuid(), &origin, command);
            handled.await.unwrap();
        }
        conversation
    }

    /// Runs the reactor until what is returned says stop.
    fn run(&self) -> (watch::Sender<bool>, JoinHandle<anyhow::Result<()>>) {
        let (stop, stopped) = watch::channel(false);
        let checkpoints = (self.outbound.scope != Scope::Pages).then(|| Arc::clone(&self.checkpoints));
        (stop, tokio::spawn(Arc::clone(&self.outbound).run(checkpoints, stopped)))
    }

    /// Waits for the first event of this type.
    async fn event(&self, kind: &str) -> Position {
        let mut events = self.engines.event_log().subscribe(Position::START, Filter::default());
        let found = async {
            loop {
                let event = events.next().await.unwrap().unwrap();
                if &*event.event_type == kind {
                    return event.position;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{kind} must come"))
    }
}

async fn stop((stop, running): (watch::Sender<bool>, JoinHandle<anyhow::Result<()>>)) {
    stop.send_replace(true);
    tokio::time::timeout(PATIENCE, running).await.expect("it stops").unwrap().unwrap();
}

fn taken() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"ok": true, "result": {"message_id": 501}}))
}

#[tokio::test]
async fn what_was_postponed_is_sent_by_the_next_run_of_the_same_reactor() {
    let scene = Scene::telegram(1).await;
    let later = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 1"});
    scene.answer(Some(1), ResponseTemplate::new(429).set_body_json(later)).await;
    scene.answer(None, taken()).await;
    let first = scene.run();
    scene.queue(1).await;
    scene.event("conversation.delivery_postponed").await;
    stop(first).await;
    assert_eq!(scene.outbound.positions(Position::START), 0, "nothing waits where nobody sends");
    scene.clock.advance(TimeDelta::hours(1));
    let second = scene.run();
    let delivered = scene.event("conversation.message_delivered").await;
    while scene.outbound.work.safe() < delivered {
        tokio::task::yield_now().await;
    }
    stop(second).await;
    assert!(scene.checkpoints.load(NAME).await.unwrap().least() >= delivered, "the checkpoint goes on");
}

#[tokio::test]
async fn what_waits_for_its_turn_on_the_wire_is_left_when_it_is_to_stop() {
    let scene = Scene::telegram(1).await;
    scene.answer(None, taken()).await;
    let others = scene.outbound.on_the_wire.acquire().await.unwrap();
    let first = scene.run();
    scene.queue(1).await;
    while scene.outbound.positions(Position::START) == 0 {
        tokio::task::yield_now().await;
    }
    stop(first).await;
    drop(others);
    scene.outbound.workers.wait().await;
    assert!(scene.provider.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_queued_between_two_runs_reaches_the_page_that_is_connected() {
    let scene = Scene::set(Scope::Pages, AccountSettings::Webchat { allowed_origins: Vec::new() }, 1).await;
    let conversation = ConversationId::new(Uuid::from_u128(101));
    let page = scene.visitors.connect(scene.account, conversation).unwrap();
    assert!(scene.outbound.arrivals.lock().await.try_recv().is_ok(), "an earlier run heard of it");
    assert_eq!(scene.queue(1).await, conversation);
    let running = scene.run();
    page.has_seen(Revision(9));
    scene.event("conversation.message_delivered").await;
    stop(running).await;
}
