//! Raw PostgreSQL beside us: a private cluster with fsync on, and pgbench.
//!
//! **Invariant:** the cluster lives in a folder of its own, listens on a Unix socket there and is stopped and removed
//! at the end. When it cannot be started the reason is given, never a figure.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

/// Where Debian puts the programs of version 15.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// The user that the server runs as when we are root, which it refuses to be.
const USER: &str = "postgres";

/// The table of the workload. **Source:** performance goals, appendix.
const TABLE: &str = "create table ev(pos bigserial, aggregate_type text, aggregate_id text, \
    sequence bigint check(sequence>=0), event_type text, event_version text, payload json, metadata json, \
    ts timestamptz default now(), primary key(aggregate_type,aggregate_id,sequence)); create index on ev(pos);";
// A colon before a word would be a variable of pgbench.
const PAYLOAD: &str = r#"{"message": {"chat": 500000042,"text": "Здравствуйте, когда привезут заказ? Оплата прошла вчера, номер договора прислала в личный кабинет, но курьер так и не позвонил. Помогите, пожалуйста"},"kind": "text"}"#;
const METADATA: &str =
    r#"{"actor": "system/telegram","correlation": "018f3c1e-7b5a-7c3e-9d2f-0a1b2c3d4e5f","tenant": "acme"}"#;

/// A running cluster.
pub(crate) struct Postgres {
    folder: TempDir,
    data: PathBuf,
}

/// What pgbench said.
pub(crate) struct Rate {
    /// Events per second.
    pub(crate) events_per_second: f64,
    /// Mean latency of a commit in milliseconds.
    pub(crate) mean_ms: f64,
}

impl Postgres {
    /// Makes and starts a cluster in `folder`'s file system.
    pub(crate) fn start(beside: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(Path::new(PROGRAMS).join("postgres").exists(), "no server in {PROGRAMS}");
        let folder = tempfile::tempdir_in(beside)?;
        let data = folder.path().join("data");
        if is_root()? {
            check(Command::new("chown").arg(USER).arg(folder.path()).output()?, "chown")?;
            let mut above = folder.path().parent();
            while let Some(parent) = above.filter(|parent| parent.parent().is_some()) {
                let reachable = Command::new("runuser").args(["-u", USER, "--", "test", "-x"]).arg(parent).status()?;
                anyhow::ensure!(reachable.success(), "user {USER} cannot enter {}", parent.display());
                above = parent.parent();
            }
        }
        let postgres = Self { folder, data };
        let mut make = postgres.program("initdb");
        make.arg("-D").arg(&postgres.data).args(["-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8"]);
        check(make.output()?, "initdb")?;
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories='{}' -c fsync=on -c synchronous_commit=on \
             -c max_wal_size=4GB -c max_connections=200",
            postgres.folder.path().display()
        );
        let log = postgres.folder.path().join("server.log");
        let mut start = postgres.program("pg_ctl");
        start.arg("-D").arg(&postgres.data).arg("-l").arg(log).args(["-w", "-o"]).arg(options).arg("start");
        check(start.output()?, "pg_ctl start")?;
        postgres.psql(TABLE)?;
        Ok(postgres)
    }

    /// One event per commit, `clients` at a time.
    pub(crate) fn one(&self, clients: u64, time: Duration) -> anyhow::Result<Rate> {
        let script = format!(
            "\\set a random(1, 1000000000000000000)\ninsert into ev(aggregate_type, aggregate_id, sequence, event_type, \
             event_version, payload, metadata) values ('conv', 'c-'||:a||'-'||:client_id, 1, 'MessageReceived', \
             '1.0', '{PAYLOAD}', '{METADATA}');\n"
        );
        self.pgbench(&script, clients, 1, time)
    }

    /// `rows` events per commit, `clients` at a time.
    pub(crate) fn batch(&self, clients: u64, rows: u32, time: Duration) -> anyhow::Result<Rate> {
        let script = format!(
            "\\set a random(1, 1000000000000000000)\ninsert into ev(aggregate_type, aggregate_id, sequence, event_type, \
             event_version, payload, metadata) select 'conv', 'b-'||:a||'-'||:client_id, n, 'MessageReceived', \
             '1.0', '{PAYLOAD}', '{METADATA}' from generate_series(1, {rows}) n;\n"
        );
        self.pgbench(&script, clients, rows, time)
    }

    fn pgbench(&self, script: &str, clients: u64, rows: u32, time: Duration) -> anyhow::Result<Rate> {
        self.psql("truncate ev; checkpoint;")?;
        let file = self.folder.path().join("script.sql");
        std::fs::write(&file, script)?;
        let output = self
            .program("pgbench")
            .args(["-n", "-M", "prepared", "-j", "1", "-c", &clients.to_string()])
            .args(["-T", &time.as_secs().max(1).to_string(), "-h"])
            .arg(self.folder.path())
            .arg("-f")
            .arg(&file)
            .arg("postgres")
            .output()?;
        let said = check(output, "pgbench")?;
        let tps = number_after(&said, "tps = ").context("pgbench gave no rate")?;
        let mean_ms = number_after(&said, "latency average = ").context("pgbench gave no latency")?;
        Ok(Rate { events_per_second: tps * f64::from(rows), mean_ms })
    }

    fn psql(&self, sql: &str) -> anyhow::Result<()> {
        let mut psql = self.program("psql");
        psql.arg("-h").arg(self.folder.path()).args(["-q", "-c", sql, "postgres"]);
        check(psql.output()?, "psql").map(drop)
    }

    fn program(&self, name: &str) -> Command {
        let program = Path::new(PROGRAMS).join(name);
        let mut command = if is_root().unwrap_or(false) {
            let mut command = Command::new("runuser");
            command.args(["-u", USER, "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path()).env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stopped = self.program("pg_ctl").arg("-D").arg(&self.data).args(["-m", "immediate", "stop"]).output();
        if let Err(error) = stopped {
            eprintln!("PostgreSQL was not stopped: {error}");
        }
    }
}

fn is_root() -> anyhow::Result<bool> {
    Ok(String::from_utf8_lossy(&Command::new("id").arg("-u").output()?.stdout).trim() == "0")
}

fn check(output: Output, what: &str) -> anyhow::Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("{what} failed: {}", said.trim().replace('\n', "; "))
}

fn number_after(text: &str, mark: &str) -> Option<f64> {
    let rest = &text[text.find(mark)? + mark.len()..];
    rest.split_whitespace().next()?.parse().ok()
}
