//! P1 and P2: appends to the embedded log, beside the bare probes and raw PostgreSQL.
//!
//! **Invariant:** all take turns (A-B-C-D, then again) in fresh folders on one disk, and every ratio is of legs of the
//! same round.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::file_probe::FileProbe;
use crate::postgres::Postgres;
use crate::report::{Gate, Report, rates, ratios, spread};

#[path = "../../events/benches/append/legs.rs"]
pub(crate) mod legs;

use legs::probe::Probe;
use legs::{Leg, Target, drive};

/// How long and how often.
#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    /// Of one leg.
    pub(crate) time: Duration,
    /// Of each side.
    pub(crate) count: usize,
}

/// The legs of one load.
#[derive(Default)]
struct Legs {
    log: Vec<Leg>,
    bare: Vec<Leg>,
    file: Vec<f64>,
    postgres: Vec<f64>,
}

/// Runs both.
pub(crate) async fn run(disk: &Path, rounds: Rounds, report: &mut Report) -> anyhow::Result<()> {
    let postgres = match Postgres::start(disk) {
        Ok(postgres) => Some(postgres),
        Err(error) => {
            report.not_run("postgres", &format!("{error:#}"));
            None
        }
    };
    let one = measure(rounds, 64, 1, postgres.as_ref()).await?;
    tell(report, "P1", "64 in flight x 1", &one, 3.0);
    report.row(
        "P1",
        "the log's latency",
        &format!("p50 {:.2} ms, p99 {:.2} ms", latency(&one, |leg| leg.p50), latency(&one, |leg| leg.p99)),
        "",
        Gate::None,
    );
    let batch = measure(rounds, 16, 100, postgres.as_ref()).await?;
    tell(report, "P2", "16 in flight x 100", &batch, 6.0);
    let log: Vec<f64> = batch.log.iter().map(|leg| leg.events_per_second).collect();
    let gate = Gate::when(spread(&log).0 >= 100_000.0);
    report.row("P2", "events per second", &rates(&log), ">= 100,000/s", gate);
    Ok(())
}

async fn measure(rounds: Rounds, workers: u64, batch: u64, postgres: Option<&Postgres>) -> anyhow::Result<Legs> {
    let mut legs = Legs::default();
    for _ in 0..rounds.count {
        let folder = legs::folder();
        let log = Arc::new(legs::open(&folder));
        legs.log.push(drive(&Target::Log(Arc::clone(&log)), workers, batch, rounds.time).await);
        log.close().await;
        let folder = legs::folder();
        let probe = Target::Bare(Arc::new(Probe::open(folder.path())));
        legs.bare.push(drive(&probe, workers, batch, rounds.time).await);
        drop(probe);
        let folder = legs::folder();
        let probe = Arc::new(FileProbe::open(folder.path())?);
        legs.file.push(drive(&probe, workers, batch, rounds.time).await.events_per_second);
        if let Some(postgres) = postgres {
            let rate = match u32::try_from(batch)? {
                1 => postgres.one(workers, rounds.time)?,
                // Four clients did best with 100 rows to a commit.
                rows => postgres.batch(4, rows, rounds.time)?,
            };
            println!("     PostgreSQL leg: {:.0}/s, {:.2} ms a commit", rate.events_per_second, rate.mean_ms);
            legs.postgres.push(rate.events_per_second);
        }
    }
    Ok(legs)
}

fn tell(report: &mut Report, goal: &str, load: &str, legs: &Legs, goal_over_postgres: f64) {
    let log: Vec<f64> = legs.log.iter().map(|leg| leg.events_per_second).collect();
    let bare: Vec<f64> = legs.bare.iter().map(|leg| leg.events_per_second).collect();
    report.row(goal, &format!("embedded log, {load}"), &rates(&log), "", Gate::None);
    report.row(goal, "bare SQLite group commit", &rates(&bare), "", Gate::None);
    let over_bare: Vec<f64> = log.iter().zip(&bare).map(|(log, bare)| log / bare).collect();
    let gate = if goal == "P1" { Gate::when(spread(&over_bare).0 >= 0.8) } else { Gate::None };
    let target = if goal == "P1" { ">= 0.80" } else { "" };
    report.row(goal, "log over bare SQLite", &ratios(&over_bare), target, gate);
    let over_file: Vec<f64> = log.iter().zip(&legs.file).map(|(log, file)| log / file).collect();
    report.row(goal, "bare group commit on a file", &rates(&legs.file), "", Gate::None);
    report.row(goal, "log over file", &ratios(&over_file), "goal 0.6 (P1), 0.5 (P2)", Gate::None);
    if !legs.postgres.is_empty() {
        let over: Vec<f64> = log.iter().zip(&legs.postgres).map(|(log, postgres)| log / postgres).collect();
        report.row(goal, "raw PostgreSQL", &rates(&legs.postgres), "", Gate::None);
        report.row(goal, "log over PostgreSQL", &ratios(&over), &format!("goal {goal_over_postgres:.0}"), Gate::None);
    }
}

fn latency(legs: &Legs, of: impl Fn(&Leg) -> Duration) -> f64 {
    let milliseconds: Vec<f64> = legs.log.iter().map(|leg| of(leg).as_secs_f64() * 1e3).collect();
    spread(&milliseconds).0
}
