//! `make bench`: the goals P1 to P5, and with brokers P15 and P4 by Kafka, measured beside bare probes, with what the figures need to be understood.
//!
//! **Invariant:** nothing is compared that did not run minutes apart on the same disk; a noisy machine prints figures
//! but never writes them down; what cannot run is named with its reason.
//!
//! - `LETOPIS_BENCH`: `quick` (some two minutes, orientation only) or `full` (the default).
//! - `LETOPIS_BENCH_ONLY`: some goals alone, as `P3` or `P1,P5`; P2 belongs to P1, `P4K` is P4 by Kafka.
//! - `LETOPIS_BENCH_KAFKA_BROKERS`: addresses of Kafka; `make bench-kafka` starts a broker.
//! - `LETOPIS_BENCH_SERVER`: another build of the server to measure in P3 and P4 instead of this one.
//! - `LETOPIS_BENCH_WRITE=1`: put the figures into `docs/benchmarks.md`, if the machine is quiet.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use mimalloc::MiMalloc;

mod appends;
mod bare;
mod client;
mod deliveries;
mod drive;
mod file_probe;
mod graphql;
mod history;
mod intake;
mod kafka;
mod machine;
mod postgres;
mod replay;
mod report;
mod server;
mod visible;

use machine::Quiet;
use report::Report;

/// That of the server, so that the bare handler, which is this program, has it too.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How much is run.
struct Scale {
    name: &'static str,
    appends: appends::Rounds,
    intake: intake::Scale,
    /// Events of the smaller rebuild.
    replay: u64,
    kafka: kafka::Scale,
}

const fn quick() -> Scale {
    Scale {
        name: "quick",
        appends: appends::Rounds { time: Duration::from_secs(2), count: 2 },
        intake: intake::Scale {
            rounds: 1,
            bare: Duration::from_secs(5),
            letopis: Duration::from_secs(5),
            ten_pools: false,
            warm_up: Duration::from_secs(10),
            visible: Duration::from_secs(10),
            patience: Duration::from_secs(120),
        },
        replay: 20_000,
        kafka: kafka::Scale { events: 50_000, rounds: 1, appends: Duration::from_secs(2) },
    }
}

const fn full() -> Scale {
    Scale {
        name: "full",
        appends: appends::Rounds { time: Duration::from_secs(8), count: 5 },
        intake: intake::Scale {
            rounds: 3,
            bare: Duration::from_secs(30),
            letopis: Duration::from_secs(60),
            ten_pools: true,
            warm_up: Duration::from_secs(10),
            visible: Duration::from_secs(30),
            patience: Duration::from_secs(900),
        },
        replay: 100_000,
        kafka: kafka::Scale { events: 300_000, rounds: 3, appends: Duration::from_secs(8) },
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, folder] = arguments.as_slice()
        && role == "bare-handler"
    {
        return actix_web::rt::System::new().block_on(bare::serve(Path::new(folder)));
    }
    let scale = match std::env::var("LETOPIS_BENCH").as_deref() {
        Ok("quick") => quick(),
        Ok("full") | Err(_) => full(),
        Ok(other) => bail!("LETOPIS_BENCH is quick or full, not {other}"),
    };
    let only = std::env::var("LETOPIS_BENCH_ONLY").unwrap_or_default();
    let wanted = |goal: &str| only.is_empty() || only.split(',').any(|named| named == goal);

    let disk = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let quiet = Quiet::check();
    let sync = machine::sync_probe(disk)?;
    let about = format!(
        "{}, {} mode, commit {}. Machine: {}. Before: {}; append of 64 KiB + fdatasync p50 {:.2} ms, p99 {:.2} ms.",
        machine::today(),
        scale.name,
        machine::commit(),
        machine::describe(disk),
        quiet.describe(),
        sync.0.as_secs_f64() * 1e3,
        sync.1.as_secs_f64() * 1e3,
    );
    println!("{about}");
    let mut report = Report::default();
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // The load generator is one thread: it shares two cores with what it measures.
    let generator = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if wanted("P1") {
        threads.block_on(appends::run(disk, scale.appends, &mut report))?;
    }
    if wanted("P3") {
        generator.block_on(intake::run(scale.intake, &mut report))?;
    }
    if wanted("P4") {
        generator.block_on(visible::run(scale.intake, visible::PER_SECOND, None, &mut report))?;
    }
    if wanted("P5") {
        threads.block_on(replay::run(scale.replay, &mut report))?;
    }
    match std::env::var(kafka::BROKERS) {
        Ok(brokers) => {
            // First: a broker that has just started compiles itself meanwhile.
            if wanted("P15") {
                threads.block_on(kafka::run(&brokers, scale.kafka, &mut report))?;
            }
            if wanted("P4K") {
                // With a broker beside it, two cores may be full at the pace of the gate.
                for per_second in [visible::PER_SECOND / 4, visible::PER_SECOND / 2, visible::PER_SECOND] {
                    generator.block_on(visible::run(scale.intake, per_second, Some(&brokers), &mut report))?;
                }
            }
        }
        Err(_) => report.not_run("Kafka", &format!("{} names no brokers: make bench-kafka starts one", kafka::BROKERS)),
    }
    println!("\n{}", report.summary());
    if std::env::var("LETOPIS_BENCH_WRITE").is_ok_and(|value| value == "1") {
        if !quiet.is_quiet() {
            bail!("docs/benchmarks.md is not written: {}", quiet.describe());
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
        report.write(&file, &about)?;
        println!("written to docs/benchmarks.md");
    }
    Ok(())
}
