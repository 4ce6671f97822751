//! A provider that is none: answers the Bot API and takes mail on loopback, in a process of its own.
//!
//! It prints one line of JSON with its addresses and ends when its standard input does: so it never outlives the demo.
//!
//! **Invariant:** nothing leaves the machine, and nothing that was sent is kept beyond the last [`MOST_KEPT`].

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

mod bot_api;
mod picture;
mod smtp;

/// The hidden subcommand that runs it.
pub const SUBCOMMAND: &str = "fake-provider";
/// Most sent messages that are kept to be looked at.
const MOST_KEPT: usize = 20_000;

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Where it listens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Addresses {
    /// The Bot API.
    pub(super) http: SocketAddr,
    /// The mail server.
    pub(super) smtp: SocketAddr,
}

/// A message that letopis sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Sent {
    /// Through the Bot API.
    Telegram {
        /// To which chat.
        chat: String,
        /// The id that it got.
        message: i64,
        /// What it says.
        text: String,
    },
    /// Through the mail server.
    Mail {
        /// To whom.
        to: Vec<String>,
        /// The mail as it came.
        mail: String,
    },
}

/// What was sent, the latest last.
#[derive(Default)]
struct Kept(Mutex<Vec<Sent>>);

impl Kept {
    fn add(&self, sent: Sent) {
        let mut kept = self.0.lock();
        if kept.len() >= MOST_KEPT {
            kept.drain(..MOST_KEPT / 2);
        }
        kept.push(sent);
    }

    fn all(&self) -> Vec<Sent> {
        self.0.lock().clone()
    }
}

/// Runs the provider until standard input ends.
///
/// # Errors
/// Loopback cannot be listened on.
pub async fn run(_arguments: Arguments) -> anyhow::Result<()> {
    let kept = Arc::new(Kept::default());
    let (http, server) = bot_api::serve(Arc::clone(&kept))?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addresses = Addresses { http, smtp: listener.local_addr()? };
    crate::command::say(serde_json::to_string(&addresses)?)?;
    let mut rest = Vec::new();
    let mut input = tokio::io::stdin();
    tokio::select! {
        () = smtp::serve(listener, kept) => Ok(()),
        ended = server => Ok(ended?),
        _ = input.read_to_end(&mut rest) => Ok(()),
        ended = interrupts_are_the_parents() => ended,
    }
}

/// An interrupt from the keyboard reaches every process of the terminal; this one waits for the demo to end first.
async fn interrupts_are_the_parents() -> anyhow::Result<()> {
    loop {
        tokio::signal::ctrl_c().await?;
    }
}

/// A running provider.
pub(super) struct FakeProvider {
    pub(super) addresses: Addresses,
    _child: Child,
    _lifeline: ChildStdin,
}

impl FakeProvider {
    /// Starts it as a process of this very program.
    ///
    /// # Errors
    /// The process cannot be started or does not say where it listens.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program cannot be found")?;
        let mut child = Command::new(program)
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the fake provider cannot be started")?;
        let lifeline = child.stdin.take().context("the fake provider has no input")?;
        let output = child.stdout.take().context("the fake provider has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        let addresses = serde_json::from_str(&line).context("the fake provider did not say where it listens")?;
        Ok(Self { addresses, _child: child, _lifeline: lifeline })
    }

    /// Base URL of its Bot API.
    pub(super) fn api_base(&self) -> String {
        format!("http://{}", self.addresses.http)
    }

    /// What letopis has sent so far.
    ///
    /// # Errors
    /// The provider is gone.
    pub(super) async fn sent(&self, client: &reqwest::Client) -> anyhow::Result<Vec<Sent>> {
        let answer = client.get(format!("{}/sent", self.api_base())).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }
}
