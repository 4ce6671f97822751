//! P5: all read models made anew from logs of two sizes.
//!
//! **Invariant:** every size is rebuilt twice and the second is compared with the first table by table, so that a rate
//! counts only with equal states. The first is timed: like that of a user whose file is gone or outdated, it has nothing
//! to compare with and makes no hash. CPU time is that of the whole process and nothing else runs in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use events::feed::Layout;
use letopis::clock::SystemClock;
use letopis::config::Config;
use letopis::engines::{Access, Engines};
use projections::rebuild::{Rebuild, RebuildReport, Swap};
use projections::store::sqlite::{SqliteConfig, SqliteStore};

use crate::appends::legs::folder;
use crate::history;
use crate::machine::{cpu_of, load};
use crate::report::{Gate, Report};

/// One rebuild.
struct Rebuilt {
    events: u64,
    wall: Duration,
    cpu: Duration,
}

impl Rebuilt {
    fn per_core(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let events = self.events as f64;
        events / self.cpu.as_secs_f64()
    }

    fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let events = self.events as f64;
        events / self.wall.as_secs_f64()
    }
}

/// Runs both sizes, the second ten times the first.
pub(crate) async fn run(events: u64, report: &mut Report) -> anyhow::Result<()> {
    let small = size(events, report).await?;
    let large = size(events * 10, report).await?;
    // Sizes are rounded up to whole deliveries: the times are put to exactly 1 : 10.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let growth = 10.0 * (large.events as f64 / small.events as f64).recip();
    let wall = large.wall.as_secs_f64() / small.wall.as_secs_f64() * growth;
    let cpu = large.cpu.as_secs_f64() / small.cpu.as_secs_f64() * growth;
    let figure = format!("{wall:.1} by wall clock, {cpu:.1} by CPU");
    report.row("P5", "time for ten times the events", &figure, "<= 11", Gate::when(wall <= 11.0));
    let gate = Gate::when(large.per_core() >= 150_000.0);
    report.row("P5", "events per CPU second", &format!("{:.0}", large.per_core()), ">= 150,000", gate);
    Ok(())
}

async fn size(events: u64, report: &mut Report) -> anyhow::Result<Rebuilt> {
    let folder = folder();
    let config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
    let engines = Engines::open(&config, Access::Append, Arc::new(SystemClock)).await?;
    let start = Instant::now();
    let written = history::write(&engines, events).await?;
    println!("     {written} events written in {:.1?} (load {:.1})", start.elapsed(), load());
    // Opened anew: no key is in memory and the log is in its file, as for `letopis rebuild`.
    engines.log.close().await;
    drop(engines);
    let engines = Engines::open(&config, Access::Rebuild, Arc::new(SystemClock)).await?;
    let (first, rebuilt) = rebuild(&engines, &config, None).await?;
    let store = SqliteStore::open(&config.data_file("views.db"), &SqliteConfig::default()).await?;
    let (second, again) = rebuild(&engines, &config, Some(&store)).await?;
    ensure!(first.events == written && first.parked == 0, "not every event was folded: {first:?}");
    ensure!(second.cut.is_some() && second.differences.is_empty(), "two rebuilds differ: {:?}", second.differences);
    engines.log.close().await;
    let bytes = std::fs::metadata(config.data_file("views.db"))?.len();
    let figure = format!("{:.0}/s by wall clock, {:.0} per CPU second", rebuilt.per_second(), rebuilt.per_core());
    let what = format!("rebuild of {written} events, {} MiB of rows", bytes >> 20);
    report.row("P5", &what, &figure, "equal state hash", Gate::Met);
    println!(
        "     again, with hashing of both: {:.1?}, state hash {}",
        again.wall,
        second.hash.as_deref().unwrap_or_default()
    );
    Ok(rebuilt)
}

async fn rebuild(
    engines: &Engines,
    config: &Config,
    live: Option<&SqliteStore>,
) -> anyhow::Result<(RebuildReport, Rebuilt)> {
    let log = engines.event_log();
    let path = config.data_file("views.db");
    let swap = if live.is_some() { Swap::Never } else { Swap::Always };
    let (cpu, start) = (cpu_of("self"), Instant::now());
    let rebuild = Rebuild { log: &*log, codec: &engines.codec, path: &path, live, layout: &Layout::whole(), swap };
    let report = rebuild.run(&|_| ()).await?;
    let rebuilt = Rebuilt { events: report.events, wall: start.elapsed(), cpu: cpu_of("self") - cpu };
    Ok((report, rebuilt))
}
