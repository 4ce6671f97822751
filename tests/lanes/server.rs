//! The real server as a child process: started, killed, stopped.
//!
//! **Invariant:** it sees none of the lane's own environment, so that a setting of a lane is never one of the server.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A running server.
pub(crate) struct Server {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

/// The program, without the settings of whoever runs the lane. It reads no configuration file but those it is told.
pub(crate) fn letopis(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_letopis"));
    cleaned(&mut command, data);
    command
}

/// The program as a server.
pub(crate) fn serving(data: &Path) -> Command {
    let mut command = letopis(data);
    command.arg("serve");
    command
}

/// Takes the settings of whoever runs the lane from a command and names the data folder.
pub(crate) fn cleaned(command: &mut Command, data: &Path) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LETOPIS_") {
            command.env_remove(name);
        }
    }
    command.current_dir(data).env("LETOPIS_DATA_DIR", data).env("LETOPIS_LOGS__FILTER", "error");
    command.env("LETOPIS_HTTP__LISTEN", "127.0.0.1:0").kill_on_drop(true);
}

impl Server {
    /// Starts it; it may not listen yet.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let output = child.stdout.take().expect("its output is piped");
        Self { child, output: BufReader::new(output).lines() }
    }

    /// Waits until it listens and answers where.
    pub(crate) async fn address(&mut self) -> SocketAddr {
        let line = self.output.next_line().await.expect("the output can be read");
        let line = line.expect("the server says where it listens before it ends");
        let address = line.strip_prefix("letopis listens on http://").expect("the line names the address");
        address.parse().expect("an address")
    }

    /// Ends it without a warning (SIGKILL). It must be running still.
    pub(crate) async fn kill(mut self) {
        assert!(self.child.try_wait().expect("the child can be asked").is_none(), "the server ended by itself");
        self.child.kill().await.expect("the server is killed");
    }

    /// Asks the process with this id to end (SIGTERM), the server itself when none is given, and waits for it.
    pub(crate) async fn stop(mut self, process: Option<u32>) -> ExitStatus {
        let process = process.or(self.child.id()).expect("the server runs");
        let asked = Command::new("sh").arg("-c").arg(format!("kill -TERM {process}")).status().await;
        assert!(asked.expect("sh runs").success(), "the server can be signalled");
        self.child.wait().await.expect("the server ends")
    }
}
