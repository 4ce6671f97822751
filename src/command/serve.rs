//! `letopis serve`: the roles of this process, all by default, until interrupted.
//!
//! **Invariant:** an interrupt finishes what was acknowledged before the process ends; a second one ends it at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::app::App;
use crate::clock::SystemClock;
use crate::config::{Config, Role};
use crate::http::auth::Tokens;
use crate::{command, telemetry};

/// Flags; they win over the configuration file and the environment.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What this process does: http, project, react, relay; everything when absent.
    #[arg(long, value_delimiter = ',')]
    roles: Vec<Role>,
    /// Where to listen.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Folder of the data.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// File of tokens.
    #[arg(long)]
    tokens_file: Option<PathBuf>,
}

/// Serves.
///
/// # Errors
/// The server cannot be started.
pub async fn run(mut config: Config, arguments: Arguments) -> anyhow::Result<()> {
    if !arguments.roles.is_empty() {
        config.roles = arguments.roles;
    }
    if let Some(listen) = arguments.listen {
        config.http.listen = listen;
    }
    if let Some(data_dir) = arguments.data_dir {
        config.data_dir = data_dir;
    }
    if let Some(tokens_file) = arguments.tokens_file {
        config.auth.tokens_file = Some(tokens_file);
    }
    telemetry::install_logs(&config.logs)?;
    let clock = Arc::new(SystemClock);
    let tokens = match &config.auth.tokens_file {
        Some(file) => Tokens::load(file, clock)?,
        None => Tokens::none(clock),
    };
    if tokens.is_empty() {
        tracing::warn!("no tokens are configured (auth.tokens_file): nobody can use GraphQL");
    }
    let app = App::start(config, tokens).await?;
    command::say(format_args!("letopis listens on http://{}", app.address()))?;
    interrupted().await?;
    tracing::info!("stopping: what was acknowledged is finished first");
    tokio::select! {
        () = app.stop() => Ok(()),
        again = interrupted() => again,
    }
}

/// Waits for SIGTERM or an interrupt from the keyboard.
///
/// # Errors
/// Signals cannot be listened to.
pub async fn interrupted() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
    }
}
