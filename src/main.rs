//! The command line of letopis.
//!
//! **Invariant:** what a command prints for people goes to standard output, log lines go to standard error; exit code 0
//! means done, 1 that it failed, 2 that it was called wrongly.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use letopis::command;
use mimalloc::MiMalloc;

/// Most of the work of a server is many small allocations on many threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Event-sourced omnichannel CRM backend.
#[derive(Parser)]
#[command(name = "letopis", version, about, arg_required_else_help = true)]
struct Arguments {
    /// Configuration file; `letopis.toml` in this folder when there is one.
    #[arg(long, short, global = true, env = "LETOPIS_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve webhooks and GraphQL until interrupted.
    #[command(after_help = "Example: letopis serve --listen 127.0.0.1:8080")]
    Serve(command::serve::Arguments),
    /// Serve a bilingual story of a few hundred customers on a throw-away data folder.
    #[command(after_help = "Example: letopis demo")]
    Demo(command::demo::Arguments),
    /// Stand in for providers in the demo; ends with its standard input.
    #[command(name = command::demo::fake_provider::SUBCOMMAND, hide = true)]
    FakeProvider(command::demo::fake_provider::Arguments),
    /// Show every step of a conversation: who, why, when it happened and when we learned of it.
    #[command(
        after_help = "Example: letopis replay --tenant demo --conversation conversation-0f3c… --as-of 2026-11-22T12:00:00Z"
    )]
    Replay(command::replay::Arguments),
    /// Make the read models anew beside the live ones, compare, and swap.
    #[command(after_help = "Example: letopis rebuild")]
    Rebuild(command::rebuild::Arguments),
    /// Write the data of the configured engines into one file, to move it to other engines or to keep a copy.
    ///
    /// The file holds every event, key (still wrapped by the key-encryption key), blob and checkpoint. It works beside a
    /// running server; what happens after the command began is not in the file, so stop the server before you move.
    #[command(after_help = "Example: letopis export --to letopis.archive")]
    Export(command::export::Arguments),
    /// Fill the configured engines, which must be empty, from a file that `letopis export` made.
    ///
    /// Positions, revisions and times are kept, so that read models, Kafka topics and links to a moment stay valid. The
    /// key-encryption key must be the one of the old place. Damaged files are refused before anything is written.
    #[command(
        after_help = "Example: letopis --config postgres.toml import --from letopis.archive\n         letopis --config postgres.toml rebuild"
    )]
    Import(command::import::Arguments),
    /// Read the configuration and say what is in force.
    #[command(after_help = "Example: letopis --config /etc/letopis.toml check-config")]
    CheckConfig,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Two providers are linked in; whoever makes a TLS connection first must not have to choose. It fails only when one
    // was chosen before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return command::failed(&anyhow::anyhow!("threads cannot be started: {error}")),
    };
    let outcome = command::load(arguments.config.as_deref()).and_then(|config| {
        runtime.block_on(async {
            match arguments.command {
                Command::Serve(arguments) => Box::pin(command::serve::run(config, arguments)).await,
                Command::Demo(arguments) => Box::pin(command::demo::run(config, arguments)).await,
                Command::FakeProvider(arguments) => command::demo::fake_provider::run(arguments).await,
                Command::Replay(arguments) => Box::pin(command::replay::run(config, arguments)).await,
                Command::Rebuild(arguments) => Box::pin(command::rebuild::run(config, arguments)).await,
                Command::Export(arguments) => Box::pin(command::export::run(config, arguments)).await,
                Command::Import(arguments) => Box::pin(command::import::run(config, arguments)).await,
                Command::CheckConfig => command::check_config(&config),
            }
        })
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => command::failed(&error),
    }
}
