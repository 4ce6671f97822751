//! A fleet of letopis processes on engines of its own.
//!
//! **Invariant:** every fleet has a schema and topics that no other has; its processes end with it. They see none of the
//! test's own environment, so that a setting of a test is never one of theirs.

use std::any::Any;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use events::clock::{Clock, IdGenerator};
use events::testing::eventstore::EventStoreDouble;
use events::testing::{fresh_uuid, sample_time};
use letopis::clock::{SystemClock, SystemIds};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// What a test waits at most for what must happen; it is reached only when the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The same for a command, which may have millions of events before it.
const LONG_PATIENCE: Duration = Duration::from_secs(1_200);

/// The token of an administrator.
const TOKEN: &str = "token-of-an-administrator";

/// Fails when something that must happen does not.
pub(crate) async fn in_time<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(PATIENCE, what).await.expect("what the test waits for must happen")
}

/// Which log a fleet has. Everything else is in PostgreSQL and Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Postgres,
    /// The protocol double of EventStoreDB, in the process of the test.
    Double,
}

/// Engines for processes.
pub(crate) struct Fleet {
    folder: tempfile::TempDir,
    schema: String,
    pub(crate) client: reqwest::Client,
    /// What the log needs to live.
    _log: Box<dyn Any + Send + Sync>,
}

/// One process.
pub(crate) struct Process {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    pub(crate) address: SocketAddr,
}

impl Fleet {
    pub(crate) async fn new(log: Log) -> Self {
        Self::with_brokers(log, &crate::server("LETOPIS_TEST_KAFKA_BROKERS")).await
    }

    /// A fleet whose processes reach Kafka at these addresses, unless told otherwise.
    pub(crate) async fn with_brokers(log: Log, brokers: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("t{}", fresh_uuid().simple());
        let (engine, eventstore, keep): (_, _, Box<dyn Any + Send + Sync>) = match log {
            Log::Postgres => ("postgres", String::new(), Box::new(())),
            Log::Double => {
                let double = EventStoreDouble::start().await.unwrap();
                double.turn_clock(SystemClock.now() - sample_time());
                ("eventstore", double.url(), Box::new(double))
            }
        };
        let token = hex::encode(Sha256::digest(TOKEN));
        std::fs::write(
            folder.path().join("tokens.toml"),
            format!("[[token]]\nsha256 = \"{token}\"\ntenant = \"acme\"\nrole = \"administrator\"\nid = \"olga\"\n"),
        )
        .unwrap();
        let kek = folder.path().join("kek");
        events::seal::embedded::KeyEncryptionKey::generate(&kek).unwrap();
        let replication = if brokers.contains(',') { 3 } else { 1 };
        let config = format!(
            "[auth]\ntokens_file = \"tokens.toml\"\n[http]\nlisten = \"127.0.0.1:0\"\nworkers = 1\nshutdown_timeout_s = 1\n\
             [telegram]\napi_base = \"http://127.0.0.1:1\"\n[logs]\nfilter = \"warn\"\n\
             [log]\nengine = \"{engine}\"\n[feed]\nengine = \"kafka\"\n[views]\nengine = \"postgres\"\n\
             [keys]\nengine = \"postgres\"\nkek_file = \"kek\"\n[blobs]\nengine = \"postgres\"\n\
             [postgres]\nurl = \"{}\"\nschema = \"{}\"\npool_size = 4\n[eventstore]\nurl = \"{eventstore}\"\n\
             [kafka]\nbrokers = \"{brokers}\"\ntopic_prefix = \"{name}\"\npartitions = 3\nreplication = {replication}\n",
            crate::server("LETOPIS_TEST_POSTGRES_URL"),
            &name[..20],
        );
        std::fs::write(folder.path().join("letopis.toml"), config).unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { folder, schema: name[..20].to_owned(), client, _log: keep }
    }

    /// The schema of its tables.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// The program on this fleet's engines: this build of it, or the one that `LETOPIS_TEST_SERVER` names.
    pub(crate) fn letopis(&self) -> Command {
        let own = || env!("CARGO_BIN_EXE_letopis").into();
        let mut command = Command::new(std::env::var_os("LETOPIS_TEST_SERVER").unwrap_or_else(own));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LETOPIS_") {
                command.env_remove(name);
            }
        }
        command.current_dir(self.folder.path()).kill_on_drop(true);
        command
    }

    /// Starts a process with these roles and waits until it serves.
    pub(crate) async fn start(&self, roles: &str) -> Process {
        self.start_with(roles, &[]).await
    }

    /// The same with settings of its own.
    pub(crate) async fn start_with(&self, roles: &str, settings: &[(&str, &str)]) -> Process {
        let log = std::fs::File::options().create(true).append(true).open(self.log_file(roles)).unwrap();
        let mut command = self.letopis();
        command.args(["serve", "--roles", roles]).envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = in_time(output.next_line()).await.unwrap();
        let Some(line) = line else { panic!("{roles} ended: {}", self.said(roles)) };
        let address = line.strip_prefix("letopis listens on http://").expect("it says where").parse().unwrap();
        Process { child, output, address }
    }

    fn log_file(&self, roles: &str) -> PathBuf {
        self.folder.path().join(format!("{roles}.log"))
    }

    /// What processes with these roles have logged.
    pub(crate) fn said(&self, roles: &str) -> String {
        std::fs::read_to_string(self.log_file(roles)).unwrap_or_default()
    }

    /// Runs a command of the program to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> String {
        let output = tokio::time::timeout(LONG_PATIENCE, self.letopis().args(arguments).output());
        let output = output.await.expect("the command ends").unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}\n{err}");
        out.into_owned()
    }

    /// Asks a process for data.
    pub(crate) async fn ask(&self, at: SocketAddr, query: &str, variables: Value) -> Value {
        let answer = self.answer(at, query, variables).await;
        assert!(answer["errors"].is_null(), "{answer}");
        answer["data"].clone()
    }

    /// What a process answers to a query: data, errors or both.
    pub(crate) async fn answer(&self, at: SocketAddr, query: &str, variables: Value) -> Value {
        let request = self.client.post(format!("http://{at}/graphql")).bearer_auth(TOKEN);
        let answer = in_time(request.json(&json!({"query": query, "variables": variables})).send()).await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// Opens a Telegram account; gives its id and secret.
    pub(crate) async fn open_telegram(&self, at: SocketAddr) -> (String, String) {
        self.open(at, json!({"telegram": {}})).await
    }

    /// Opens an account of a web chat on this site.
    pub(crate) async fn open_webchat(&self, at: SocketAddr, site: &str) -> (String, String) {
        self.open(at, json!({"webchat": {"allowedOrigins": [site]}})).await
    }

    async fn open(&self, at: SocketAddr, settings: Value) -> (String, String) {
        let opening = "mutation($settings: AccountSettingsInput!, $key: String!) {
            openAccount(input: {name: \"Shop\", settings: $settings, idempotencyKey: $key}) {
              changed { id } userErrors { message } } }";
        // Projectors of a new fleet may still be finding each other: the same wish again then, as `retryAfter` asks.
        let wish = json!({"settings": settings, "key": key()});
        let account = in_time(async {
            loop {
                let answer = self.answer(at, opening, wish.clone()).await;
                if answer["errors"].is_null() {
                    return answer["data"]["openAccount"]["changed"]["id"].as_str().expect("it is opened").to_owned();
                }
                assert_eq!(answer["errors"][0]["extensions"]["code"], "STALE_READ", "{answer}");
            }
        })
        .await;
        let issuing = "mutation($account: ID!, $key: String!) {
            issueAccountSecret(input: {account: $account, idempotencyKey: $key}) { secret } }";
        let issued = self.ask(at, issuing, json!({"account": account, "key": key()})).await;
        let secret = issued["issueAccountSecret"]["secret"].as_str().expect("it is shown once").to_owned();
        (account, secret)
    }

    /// Posts an update of the bot, and again while the server is not there or says later, as Telegram does; true when it
    /// took a second try.
    pub(crate) async fn post_update(&self, at: SocketAddr, (account, secret): (&str, &str), update: &Value) -> bool {
        let mut again = false;
        loop {
            let request = self.client.post(format!("http://{at}/webhooks/telegram/{account}"));
            let request = request.header("x-telegram-bot-api-secret-token", secret).timeout(Duration::from_secs(20));
            match request.json(update).send().await {
                Ok(answer) if answer.status().is_success() => return again,
                Ok(answer) if answer.status().is_server_error() || answer.status() == 404 => {}
                Ok(answer) => panic!("{}: {}", answer.status(), answer.text().await.unwrap()),
                Err(_) => {}
            }
            again = true;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// An idempotency key.
pub(crate) fn key() -> String {
    SystemIds.next().to_string()
}

/// A private message of this customer to the bot.
pub(crate) fn update(chat: i64, number: i64, text: &str) -> Value {
    json!({
        "update_id": 1_000_000 * (chat % 100_000) + number,
        "message": {
            "message_id": number,
            "date": 1_790_000_000 + number,
            "chat": {"id": chat, "type": "private", "first_name": "Ольга"},
            "from": {"id": chat, "is_bot": false, "first_name": "Ольга", "language_code": "ru"},
            "text": text
        }
    })
}

impl Process {
    /// Ends it without a warning.
    pub(crate) async fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the process ended by itself");
        self.child.kill().await.unwrap();
    }

    /// Asks it to end, and waits.
    pub(crate) async fn stop(mut self) {
        let id = self.child.id().expect("it runs").to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
        assert!(asked.success());
        let ended = in_time(self.child.wait()).await.unwrap();
        assert!(ended.success(), "{ended}");
        drop(self.output);
    }
}
