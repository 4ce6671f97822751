//! `letopis rebuild`: the read models made anew beside the live ones, compared and swapped.
//!
//! **Invariant:** the live file is touched by nothing but the swap; with a difference it stays unless told otherwise.

use std::io::IsTerminal;
use std::sync::Arc;

#[cfg(feature = "postgres")]
use projections::rebuild::PostgresRebuild;
use projections::rebuild::{Progress, Rebuild, RebuildReport, Swap};
#[cfg(feature = "postgres")]
use projections::store::postgres::PostgresStore;
use projections::store::sqlite::{SqliteConfig, SqliteStore};

use crate::clock::SystemClock;
use crate::command::say;
use crate::config::{Config, Keeping, LogEngine};
use crate::engines::{self, Access, Engines};
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

/// Rebuilds. Embedded read models want the server stopped: it holds the files. Those in `PostgreSQL` are swapped under
/// processes that go on.
///
/// # Errors
/// The data cannot be read or is in use, or the rebuilt read models differ and `--replace` was not given.
pub async fn run(config: Config, arguments: Arguments) -> anyhow::Result<()> {
    telemetry::install_logs(&config.logs)?;
    let access = match (config.views.engine, config.log.engine) {
        (Keeping::Embedded, LogEngine::Embedded) => Access::Rebuild,
        _ => Access::Read,
    };
    let engines = Engines::open(&config, access, Arc::new(SystemClock)).await?;
    let swap = match (arguments.check, arguments.replace) {
        (true, _) => Swap::Never,
        (_, true) => Swap::Always,
        _ => Swap::IfEqual,
    };
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
    let report = match config.views.engine {
        Keeping::Embedded => of_file(&config, &engines, swap, &progress).await?,
        #[cfg(feature = "postgres")]
        Keeping::Postgres => of_schema(&config, &engines, swap, &progress).await?,
        #[cfg(not(feature = "postgres"))]
        Keeping::Postgres => anyhow::bail!("this letopis is built without views.engine = postgres"),
    };
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

/// A file of other versions, or a damaged one, cannot be compared with: it is replaced.
fn tell<T>(live: Option<T>) -> anyhow::Result<Option<T>> {
    if live.is_none() {
        say("no live read models to compare with")?;
    }
    Ok(live)
}

async fn of_file(
    config: &Config,
    engines: &Engines,
    swap: Swap,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> anyhow::Result<RebuildReport> {
    let (path, layout) = (config.data_file("views.db"), engines::layout(config)?);
    let live = if path.exists() { SqliteStore::open(&path, &SqliteConfig::default()).await.ok() } else { None };
    let (live, log) = (tell(live)?, engines.event_log());
    let rebuild =
        Rebuild { log: &*log, codec: &engines.codec, path: &path, live: live.as_ref(), layout: &layout, swap };
    Ok(rebuild.run(progress).await?)
}

#[cfg(feature = "postgres")]
async fn of_schema(
    config: &Config,
    engines: &Engines,
    swap: Swap,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> anyhow::Result<RebuildReport> {
    let (server, layout) = (engines::postgres::of_views(config)?, engines::layout(config)?);
    let (live, log) = (tell(PostgresStore::open(&server).await.ok())?, engines.event_log());
    let rebuild = PostgresRebuild {
        log: &*log,
        codec: &engines.codec,
        config: &server,
        live: live.as_ref(),
        layout: &layout,
        swap,
    };
    Ok(rebuild.run(progress).await?)
}
