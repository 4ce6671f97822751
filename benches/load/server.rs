//! The servers under test, each in a process of its own: letopis with all roles, and the bare handler.
//!
//! **Invariant:** every server has a fresh folder on the disk of the build and is ended with the value that stands for
//! it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use events::account::{AccountSettings, Secret};
use events::codec::Codec;
use events::envelope::Actor;
use events::ids::{AccountId, CommandId};
use letopis::clock::SystemClock;
use letopis::config::Config;
use letopis::engines::{Access, Engines};
use models::account::{AccountCommand, AccountDecider};
use models::command::Origin;
use models::handler::Handler;
use rusqlite::OpenFlags;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

use crate::bare::SECRET;
use crate::client::{Connection, Target};
use crate::graphql::Asker;
use crate::machine;

/// How long a server may take to say where it listens.
const START: Duration = Duration::from_secs(60);

/// The token of the supervisor who watches.
const TOKEN: &str = "bench-0123456789abcdef0123456789abcdef";

/// A server in a child process.
pub(crate) struct Server {
    child: Child,
    /// As `host:port`.
    pub(crate) address: String,
    /// Where deliveries go.
    pub(crate) target: Target,
    folder: TempDir,
}

/// The account that deliveries are sent to.
pub(crate) struct Account {
    /// Its id.
    pub(crate) id: AccountId,
    /// The codec of the data it was opened in: it derives the ids of what will be read.
    pub(crate) codec: Codec,
}

/// What the files of a stopped or running server hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Raw deliveries in the log.
    pub(crate) raw: u64,
    /// Messages in the log.
    pub(crate) messages: u64,
    /// Messages in the read model...
    pub(crate) shown: u64,
    /// ...and how many different ones.
    pub(crate) distinct: u64,
}

impl Server {
    /// Starts the bare handler.
    pub(crate) fn bare() -> anyhow::Result<Self> {
        let folder = crate::appends::legs::folder();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare-handler").arg(folder.path());
        Self::spawn(command, folder, "/webhooks/telegram/bare")
    }

    /// Starts letopis with one Telegram account, with Kafka as its feed where brokers are given.
    pub(crate) async fn letopis(brokers: Option<&str>) -> anyhow::Result<(Self, Account)> {
        let folder = crate::appends::legs::folder();
        let config = Config { data_dir: folder.path().join("data"), ..Config::default() };
        let account = open_account(&config).await?;
        let tokens = folder.path().join("tokens.toml");
        let hash = hex::encode(Sha256::digest(TOKEN));
        let entry = format!("sha256 = \"{hash}\"\ntenant = \"acme\"\nrole = \"supervisor\"\nid = \"bench\"\n");
        std::fs::write(&tokens, format!("[[token]]\n{entry}"))?;
        let mut command = letopis(folder.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&config.data_dir);
        command.arg("--tokens-file").arg(tokens);
        if let Some(brokers) = brokers {
            let prefix = format!("bench{}", events::testing::fresh_uuid().simple());
            command.env("LETOPIS_FEED__ENGINE", "kafka").env("LETOPIS_KAFKA__BROKERS", brokers);
            command.env("LETOPIS_KAFKA__TOPIC_PREFIX", prefix).env("LETOPIS_KAFKA__REPLICATION", "1");
        }
        let server = Self::spawn(command, folder, &format!("/webhooks/telegram/{}", account.id))?;
        Ok((server, account))
    }

    fn spawn(mut command: Command, folder: TempDir, path: &str) -> anyhow::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn().context("the server cannot be started")?;
        let said = child.stdout.take().context("no standard output")?;
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let line = told.recv_timeout(START).context("the server did not say where it listens")?;
        let Some((_, address)) = line.split_once("http://") else { bail!("the server said: {line}") };
        let headers = format!("X-Telegram-Bot-Api-Secret-Token: {SECRET}\r\n");
        Ok(Self { target: Target::post(address, path, &headers), address: address.to_owned(), child, folder })
    }

    /// How to ask it as a supervisor.
    pub(crate) fn asker(&self) -> Asker {
        Asker { address: self.address.clone(), token: TOKEN.to_owned() }
    }

    /// The process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// CPU time used so far.
    pub(crate) fn cpu(&self) -> Duration {
        machine::cpu_of(&self.process().to_string())
    }

    /// The folder of a file of the data.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(name)
    }

    /// Waits until every delivery was normalised and the read models stand at the end of the log.
    pub(crate) async fn drained(&self, deliveries: u64, patience: Duration) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let mut handled = 0;
        while start.elapsed() < patience {
            handled = sum_of(&Connection::get(&self.address, "/metrics").await?, "letopis_intake_total");
            if handled >= deliveries && self.projected()? {
                return Ok(start.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        bail!("{handled} of {deliveries} deliveries were handled after {patience:?}")
    }

    /// True when the read models stand at the end of the log.
    fn projected(&self) -> anyhow::Result<bool> {
        let head = ask(&self.file("log.db"), "SELECT coalesce(max(position), 0) FROM events")?;
        // Of each part, where there are several: watermarks bring them to the end.
        let at = ask(&self.file("views.db"), "SELECT coalesce(min(position), 0) FROM checkpoint")?;
        Ok(at >= head)
    }

    /// Counts what the files hold.
    pub(crate) fn counts(&self) -> anyhow::Result<Counts> {
        let of_type = |name: &str| {
            let sql = format!(
                "SELECT count(*) FROM events WHERE type_no = (SELECT type_no FROM event_types WHERE name = '{name}')"
            );
            ask(&self.file("log.db"), &sql)
        };
        Ok(Counts {
            raw: of_type("intake.received")?,
            messages: of_type("conversation.message_received")?,
            shown: ask(&self.file("views.db"), "SELECT count(*) FROM entry WHERE kind = 'received'")?,
            distinct: ask(&self.file("views.db"), "SELECT count(DISTINCT item) FROM entry WHERE kind = 'received'")?,
        })
    }

    /// Events in the log.
    pub(crate) fn events(&self) -> anyhow::Result<u64> {
        ask(&self.file("log.db"), "SELECT coalesce(max(position), 0) FROM events")
    }

    /// Stops the server as an operator would and waits for it; gives how long that took.
    pub(crate) fn stop(&mut self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let told = Command::new("kill").args(["-TERM", &self.process().to_string()]).status()?;
        anyhow::ensure!(told.success(), "the server cannot be told to stop");
        self.child.wait()?;
        Ok(start.elapsed())
    }

    /// Rebuilds the read models of the stopped server and compares them with those it kept; gives what it says.
    pub(crate) fn rebuild_and_compare(&self) -> anyhow::Result<String> {
        let mut command = letopis(self.folder.path());
        command.env("LETOPIS_DATA_DIR", self.folder.path().join("data"));
        let output = command.args(["rebuild", "--check"]).output()?;
        let said = String::from_utf8_lossy(&output.stdout).trim().replace('\n', "; ");
        anyhow::ensure!(output.status.success(), "{said}; {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary, or another build of it to compare with; nothing of our own settings is in its environment.
fn letopis(folder: &Path) -> Command {
    let own = || env!("CARGO_BIN_EXE_letopis").into();
    let mut command = Command::new(std::env::var_os("LETOPIS_BENCH_SERVER").unwrap_or_else(own));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LETOPIS_")) {
        command.env_remove(name);
    }
    command.env("LETOPIS_LOGS__FILTER", "warn").current_dir(folder);
    command
}

/// Opens a Telegram account in fresh data and lets the data go again.
async fn open_account(config: &Config) -> anyhow::Result<Account> {
    let engines = Engines::open(config, Access::Append, Arc::new(SystemClock)).await?;
    let handler = Handler::new(engines.event_log(), engines.codec.clone());
    let id = AccountId::new(Uuid::from_u128(0x7E1E_6AA3));
    let open = AccountCommand::Open {
        name: "Нагрузка".to_owned(),
        // Nobody listens there: nothing is sent in these runs.
        settings: AccountSettings::Telegram { api_base: Some("http://127.0.0.1:9".to_owned()) },
    };
    let secret = AccountCommand::IssueSecret { account: id, secret: Secret { value: SECRET.to_owned() } };
    for (number, command) in (1..).zip([open, secret]) {
        let origin = Origin {
            id: CommandId::new(Uuid::from_u128(number)),
            tenant: "acme".parse()?,
            actor: Actor::Operator("bench".into()),
            causation: None,
            correlation: Uuid::from_u128(number),
            occurred_at: chrono::DateTime::UNIX_EPOCH,
            traceparent: None,
            seen_at: None,
            wish: None,
        };
        handler.handle::<AccountDecider>(id.uuid(), &origin, command).await?;
    }
    engines.log.close().await;
    Ok(Account { id, codec: engines.codec })
}

/// A number from a SQLite file that another process may have open.
pub(crate) fn ask(file: &Path, sql: &str) -> anyhow::Result<u64> {
    let connection = rusqlite::Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let number: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(number.unsigned_abs())
}

/// The sum of a counter over all its labels.
fn sum_of(metrics: &str, name: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
