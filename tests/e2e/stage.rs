//! A server in a folder of its own, with what a story needs to act on it and to look at it.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use events::DomainEvent;
use events::account::{AccountSettings, Credentials, Secret, SmtpServer};
use events::clock::{Clock, IdGenerator};
use events::codec::Decoded;
use events::conversation::content::{MessageContent, MessageKind, NoteContent};
use events::conversation::{ConversationEvent, Speaker};
use events::envelope::{Actor, Category, Position, StreamName};
use events::ids::{AccountId, CommandId, ConversationId, MessageId, TenantId};
use events::intake::IntakeEvent;
use events::log::{Direction, EventLog, Filter};
use events::viewer::{Role, Viewer};
use futures::StreamExt;
use letopis::app::App;
use letopis::clock::{SystemClock, SystemIds};
use letopis::config::Config;
use letopis::http::auth::Tokens;
use models::account::{AccountCommand, AccountDecider};
use models::command::Origin;
use models::conversation::{ConversationCommand, ConversationDecider, Outgoing};
use serde_json::Value;
use tempfile::TempDir;

use crate::engines::{self, Engines};
use crate::fakes::TelegramApi;

/// What a test waits at most for what must happen; it is reached only when the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The token of a supervisor of the tenant.
pub(crate) const TOKEN: &str = "token-of-a-supervisor";
/// The token of a supervisor of another tenant.
pub(crate) const OTHER_TOKEN: &str = "token-of-another-tenant";
/// Others of the tenant; the token of each is their name.
const STAFF: [(&str, Role); 3] = [("anna", Role::Operator), ("boris", Role::Operator), ("chief", Role::Administrator)];
/// What no customer may see.
pub(crate) const SECRET_NOTE: &str = "Скандальный клиент, не уступать";
/// The shared secret of every account.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The bot's token.
pub(crate) const BOT_TOKEN: &str = "123456:AAHtoken-of_the-bot";

/// A running server.
pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) config: Config,
    pub(crate) app: App,
    pub(crate) client: reqwest::Client,
    pub(crate) telegram: TelegramApi,
    /// What the engines need to live.
    keep: Box<dyn Any + Send + Sync>,
}

pub(crate) fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

/// A supervisor of the tenant.
pub(crate) fn viewer() -> Viewer {
    Viewer { tenant: tenant(), role: Role::Supervisor, id: "olga".into() }
}

fn tokens() -> Tokens {
    let mut tokens = Tokens::none(Arc::new(SystemClock));
    tokens.admit(TOKEN, viewer());
    tokens.admit(OTHER_TOKEN, Viewer { tenant: "other".parse().unwrap(), ..viewer() });
    for (name, role) in STAFF {
        tokens.admit(name, Viewer { role, id: name.into(), ..viewer() });
    }
    tokens
}

pub(crate) fn origin() -> Origin {
    let id = SystemIds.next();
    Origin {
        id: CommandId::new(id),
        tenant: tenant(),
        actor: Actor::Operator("olga".into()),
        causation: None,
        correlation: id,
        occurred_at: SystemClock.now(),
        traceparent: None,
        seen_at: None,
        wish: None,
    }
}

/// Fails when something that must happen does not.
pub(crate) async fn in_time<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(PATIENCE, what).await.expect("what the test waits for must happen")
}

impl Stage {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A server with some settings of its own.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let telegram = TelegramApi::start().await;
        let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
        config.http.listen.set_port(0);
        config.http.workers = 1;
        config.telegram.api_base = telegram.uri();
        config.outbound.first_retry_ms = 1;
        config.outbound.timeout_s = 5;
        let keep = Engines::chosen().set_up(&mut config).await;
        change(&mut config);
        let app = App::start(config.clone(), tokens()).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { folder, config, app, client, telegram, keep }
    }

    /// Stops the server, lets `meanwhile` look at the folder, and starts it again.
    pub(crate) async fn restart_after(self, meanwhile: impl AsyncFnOnce(&Config)) -> Self {
        let Self { folder, config, app, client, telegram, keep } = self;
        in_time(app.stop()).await;
        meanwhile(&config).await;
        let app = App::start(config.clone(), tokens()).await.unwrap();
        Self { folder, config, app, client, telegram, keep }
    }

    /// Stops the server, lets `moved` take its data elsewhere, and starts it there.
    pub(crate) async fn restart_elsewhere(
        self,
        moved: impl AsyncFnOnce(&Path, &Config) -> (Config, Box<dyn Any + Send + Sync>),
    ) -> Self {
        let Self { folder, config, app, client, telegram, .. } = self;
        in_time(app.stop()).await;
        let (config, keep) = moved(folder.path(), &config).await;
        let app = App::start(config.clone(), tokens()).await.unwrap();
        Self { folder, config, app, client, telegram, keep }
    }

    pub(crate) async fn restart(self) -> Self {
        self.restart_after(async |_| {}).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.address())
    }

    pub(crate) async fn account(&self, account: AccountId, command: AccountCommand) {
        self.app.handler().handle::<AccountDecider>(account.uuid(), &origin(), command).await.unwrap();
    }

    async fn open(&self, settings: AccountSettings, credentials: Option<Credentials>) -> AccountId {
        let account = AccountId::new(SystemIds.next());
        self.account(account, AccountCommand::Open { name: "Магазин".to_owned(), settings }).await;
        let secret = Secret { value: SECRET.to_owned() };
        self.account(account, AccountCommand::IssueSecret { account, secret }).await;
        if let Some(credentials) = credentials {
            self.account(account, AccountCommand::ReplaceCredentials { account, credentials }).await;
        }
        account
    }

    pub(crate) async fn open_telegram(&self) -> AccountId {
        let credentials = Credentials::Telegram { bot_token: BOT_TOKEN.to_owned() };
        self.open(AccountSettings::Telegram { api_base: None }, Some(credentials)).await
    }

    pub(crate) async fn open_webchat(&self, allowed_origins: &[&str]) -> AccountId {
        let allowed_origins = allowed_origins.iter().map(|&origin| origin.to_owned()).collect();
        self.open(AccountSettings::Webchat { allowed_origins }, None).await
    }

    pub(crate) async fn open_mailbox(&self, smtp: SmtpServer) -> AccountId {
        let address = "support@shop.example".to_owned();
        self.open(AccountSettings::Email { address, display_name: Some("Магазин".to_owned()), smtp }, None).await
    }

    pub(crate) async fn post_update(&self, account: AccountId, update: &Value) -> reqwest::Response {
        self.post_update_signed(account, update.to_string(), SECRET).await
    }

    pub(crate) async fn post_update_signed(&self, account: AccountId, body: String, secret: &str) -> reqwest::Response {
        let request = self.client.post(self.url(&format!("/webhooks/telegram/{account}")));
        let request = request.header("x-telegram-bot-api-secret-token", secret);
        request.header("content-type", "application/json").body(body).send().await.unwrap()
    }

    pub(crate) async fn post_mail(&self, account: AccountId, mail: Vec<u8>) -> reqwest::Response {
        let request = self.client.post(self.url(&format!("/webhooks/email/{account}")));
        let answer =
            request.bearer_auth(SECRET).header("content-type", "message/rfc822").body(mail).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer
    }

    /// The first event of the log, or the first to come, that `wanted` gives something for.
    pub(crate) async fn first<T>(&self, mut wanted: impl FnMut(&Decoded) -> Option<T>) -> T {
        let mut events = self.app.log().subscribe(Position::START, Filter::default());
        let codec = &self.app.engines().codec;
        let mut seen = Vec::new();
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(event) = events.next().await {
                let decoded = codec.decode_open(event.unwrap()).await.unwrap();
                if let Some(found) = wanted(&decoded) {
                    return found;
                }
                seen.push(decoded.recorded.event_type.to_string());
            }
            panic!("the log ended");
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("it must come in time; came: {seen:?}; the server: {}", self.health().await),
        }
    }

    /// How the server does, in its own words: what a test that fails needs to tell.
    async fn health(&self) -> String {
        match self.client.get(self.url("/health/ready")).send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    /// Waits until so many raw deliveries have an outcome.
    pub(crate) async fn outcomes(&self, mut wanted: usize) {
        self.first(|decoded| match &decoded.event {
            DomainEvent::Intake(IntakeEvent::Normalised(_) | IntakeEvent::Unrecognised(_) | IntakeEvent::Parked(_)) => {
                wanted -= 1;
                (wanted == 0).then_some(())
            }
            _ => None,
        })
        .await;
    }

    /// Waits until the conversation has so many events that `wanted` is true for, and returns where it stands.
    pub(crate) async fn conversation_with(
        &self,
        mut count: usize,
        wanted: impl Fn(&ConversationEvent) -> bool,
    ) -> ConversationId {
        self.first(|decoded| match &decoded.event {
            DomainEvent::Conversation(event) if wanted(event) => {
                count -= 1;
                (count == 0).then(|| ConversationId::new(decoded.recorded.stream.id))
            }
            _ => None,
        })
        .await
    }

    /// All events of the log.
    pub(crate) async fn all(&self) -> Vec<Decoded> {
        let (events, _) = self.app.log().read_all(Position::START, &Filter::default(), 10_000).await.unwrap();
        let mut decoded = Vec::with_capacity(events.len());
        for event in events {
            decoded.push(self.app.engines().codec.decode_open(event).await.unwrap());
        }
        decoded
    }

    /// All events of a conversation.
    pub(crate) async fn history(&self, conversation: ConversationId) -> Vec<ConversationEvent> {
        history(&*self.app.log(), &self.app.engines().codec, conversation).await
    }

    /// Texts of the customer's messages of all conversations, by conversation.
    pub(crate) async fn texts(&self) -> Vec<(ConversationId, String)> {
        let received = |decoded: Decoded| match decoded.event {
            DomainEvent::Conversation(ConversationEvent::MessageReceived(received)) => {
                let text = received.content.into_value().and_then(|content| content.text).unwrap_or_default();
                Some((ConversationId::new(decoded.recorded.stream.id), text))
            }
            _ => None,
        };
        self.all().await.into_iter().filter_map(received).collect()
    }

    /// Waits until the read models show all there is.
    pub(crate) async fn caught_up(&self) {
        let head = self.app.log().head().await.unwrap();
        self.app.views().unwrap().wait_for(head, PATIENCE).await.unwrap();
    }

    /// An operator writes.
    pub(crate) async fn write(&self, conversation: ConversationId, text: &str) -> MessageId {
        let message = MessageId::new(SystemIds.next());
        let command = queue(conversation, message, text);
        self.command(conversation, command).await;
        message
    }

    /// An operator notes something that no customer may see, mentioning another.
    pub(crate) async fn note(&self, conversation: ConversationId) {
        let command = ConversationCommand::AddNote {
            conversation,
            note: SystemIds.next(),
            mentions: ["boris".into()].into(),
            content: NoteContent { text: SECRET_NOTE.to_owned() },
        };
        self.command(conversation, command).await;
    }

    pub(crate) async fn command(&self, conversation: ConversationId, command: ConversationCommand) {
        let handled = self.app.handler().handle::<ConversationDecider>(conversation.uuid(), &origin(), command).await;
        handled.unwrap();
    }

    /// Waits for the end of a message's delivery; `skip` ends that came before.
    pub(crate) async fn ended(&self, message: MessageId, mut skip: usize) -> ConversationEvent {
        self.first(|decoded| {
            let DomainEvent::Conversation(event) = &decoded.event else { return None };
            let ended = match event {
                ConversationEvent::MessageDelivered(delivered) => delivered.message,
                ConversationEvent::DeliveryFailed(failed) => failed.message,
                ConversationEvent::DeliveryUnknown(unknown) => unknown.message,
                _ => return None,
            };
            if ended != message {
                return None;
            }
            let found = (skip == 0).then(|| event.clone());
            skip = skip.saturating_sub(1);
            found
        })
        .await
    }

    /// Asks GraphQL with somebody's token and returns the data of an answer without errors.
    pub(crate) async fn ask(&self, token: &str, query: &str) -> Value {
        let request = self.client.post(self.url("/graphql")).bearer_auth(token);
        let answer = request.json(&serde_json::json!({"query": query})).send().await.unwrap();
        let mut answer: Value = answer.json().await.unwrap();
        assert_eq!(answer.get("errors"), None, "{query}");
        answer["data"].take()
    }

    /// Carries out a mutation that must be accepted, and returns its payload.
    pub(crate) async fn wish(&self, token: &str, mutation: &str, input: &str, selection: &str) -> Value {
        let key = SystemIds.next();
        let query = format!(
            "mutation {{ m: {mutation}(input: {{{input}, idempotencyKey: \"{key}\"}}) \
             {{ token userErrors {{ code message }} {selection} }} }}"
        );
        let mut data = self.ask(token, &query).await;
        assert_eq!(data["m"]["userErrors"], serde_json::json!([]), "{mutation}");
        data["m"].take()
    }

    /// Runs the command line on the folder of this server.
    pub(crate) async fn run(&self, arguments: &[&str]) -> String {
        run(self.folder.path(), &self.config, arguments).await
    }
}

pub(crate) async fn run(folder: &Path, config: &Config, arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_letopis"));
    command.args(arguments).current_dir(folder);
    // The program refuses settings that it does not know, as those of the tests.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LETOPIS_")) {
        command.env_remove(name);
    }
    command.envs(engines::environment(config));
    let output = in_time(command.output()).await.unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout
}

/// All events of a conversation.
pub(crate) async fn history(
    log: &dyn EventLog,
    codec: &events::codec::Codec,
    conversation: ConversationId,
) -> Vec<ConversationEvent> {
    let stream = StreamName::new(Category::Conversation, tenant(), conversation.uuid());
    let mut history = Vec::new();
    for event in log.read_stream(&stream, None, Direction::Forwards, 10_000).await.unwrap() {
        let decoded = codec.decode_open(event).await.unwrap();
        history.push(ConversationEvent::try_from(decoded.event).unwrap_or_else(|_| panic!("another category")));
    }
    history
}

/// What an operator's message is queued with.
pub(crate) fn queue(conversation: ConversationId, message: MessageId, text: &str) -> ConversationCommand {
    ConversationCommand::Queue(Outgoing {
        conversation,
        message,
        speaker: Speaker::Operator("olga".into()),
        kind: MessageKind::Text,
        reply_to: None,
        content: MessageContent { text: Some(text.to_owned()), ..MessageContent::default() },
    })
}

/// Commands on the folder of a server that does not run: what a crash would have left behind.
pub(crate) async fn behind_the_scenes(
    config: &Config,
    conversation: ConversationId,
    commands: Vec<ConversationCommand>,
) {
    use letopis::engines::Access;
    let engines = letopis::engines::Engines::open(config, Access::Append, Arc::new(SystemClock)).await.unwrap();
    let handler = models::handler::Handler::new(engines.event_log(), engines.codec.clone());
    for command in commands {
        handler.handle::<ConversationDecider>(conversation.uuid(), &origin(), command).await.unwrap();
    }
    engines.log.close().await;
}

/// A private message to the bot.
pub(crate) fn update(number: i64, text: &str) -> Value {
    update_in(7_100_200_300, number, text)
}

/// A private message of this customer to the bot.
pub(crate) fn update_in(chat: i64, number: i64, text: &str) -> Value {
    serde_json::json!({
        "update_id": 1_000_000 * (chat % 1_000) + number,
        "message": {
            "message_id": number,
            "date": 1_790_000_000 + number,
            "chat": {"id": chat, "type": "private", "first_name": "Ольга"},
            "from": {"id": chat, "is_bot": false, "first_name": "Ольга", "language_code": "ru"},
            "text": text
        }
    })
}
