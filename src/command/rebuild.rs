//! `letopis rebuild`: the read models made anew beside the live ones, compared and swapped.
//!
//! **Invariant:** the live file is touched by nothing but the swap; with a difference it stays unless told otherwise.

use std::io::IsTerminal;
use std::sync::Arc;

use events::feed::Layout;
use projections::rebuild::{Progress, Rebuild, Swap};
use projections::store::sqlite::{SqliteConfig, SqliteStore};

use crate::clock::SystemClock;
use crate::command::say;
use crate::config::Config;
use crate::engines::{Access, Engines};
use crate::telemetry;

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Swap also when the rebuilt read models differ: after a change of the projections, or damage.
    #[arg(long)]
    replace: bool,
    /// Only compare.
    #[arg(long, conflicts_with = "replace")]
    check: bool,
}

/// Rebuilds. The server must not run: it holds the files.
///
/// # Errors
/// The data cannot be read or is in use, or the rebuilt read models differ and `--replace` was not given.
pub async fn run(config: Config, arguments: Arguments) -> anyhow::Result<()> {
    telemetry::install_logs(&config.logs)?;
    let engines = Engines::open(&config, Access::Rebuild, Arc::new(SystemClock)).await?;
    let path = config.data_file("views.db");
    // A file of other versions, or a damaged one, cannot be compared with: it is replaced.
    let live = if path.exists() { SqliteStore::open(&path, &SqliteConfig::default()).await.ok() } else { None };
    if live.is_none() {
        say("no live read models to compare with")?;
    }
    let swap = match (arguments.check, arguments.replace) {
        (true, _) => Swap::Never,
        (_, true) => Swap::Always,
        _ => Swap::IfEqual,
    };
    let log = engines.event_log();
    let rebuild =
        Rebuild { log: &*log, codec: &engines.codec, path: &path, live: live.as_ref(), layout: &Layout::whole(), swap };
    let on_terminal = std::io::stderr().is_terminal();
    let progress = move |progress: Progress| {
        if on_terminal {
            tracing::info!(
                events = progress.events,
                position = progress.position.0,
                goal = progress.goal.0,
                "rebuilding"
            );
        }
    };
    let report = rebuild.run(&progress).await?;
    say(format_args!("events: {}, parked: {}, position: {}", report.events, report.parked, report.position))?;
    if let Some(hash) = &report.hash {
        say(format_args!("state hash: {hash}"))?;
    }
    for difference in &report.differences {
        say(format_args!(
            "differs: table {}, {} rows live, {} rebuilt",
            difference.table, difference.live_rows, difference.rebuilt_rows
        ))?;
    }
    say(if report.swapped { "swapped" } else { "not swapped" })?;
    anyhow::ensure!(
        report.differences.is_empty() || arguments.replace,
        "the rebuilt read models differ from the live ones: look at them, then run with --replace"
    );
    Ok(())
}
