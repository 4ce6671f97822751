//! The machine a run is made on: what it is, whether it is quiet, what a sync costs.
//!
//! **Invariant:** reads `/proc` and writes one probe file; where something cannot be told it says so, it does not guess.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Load average over one minute from which figures count as noisy. **Source:** performance method, step 1.
const MOST_LOAD: f64 = 0.5;
/// Share of stolen CPU time from which figures count as noisy. **Source:** performance method, step 1.
const MOST_STEAL: f64 = 0.02;
/// Clock ticks per second in `/proc`: `USER_HZ`, 100 on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Whether the machine was quiet.
pub(crate) struct Quiet {
    load: f64,
    steal: f64,
}

impl Quiet {
    /// Looks for two seconds.
    pub(crate) fn check() -> Self {
        let before = cpu_times();
        std::thread::sleep(Duration::from_secs(2));
        let after = cpu_times();
        let total = (after.0 - before.0).max(1.0);
        Self { load: load(), steal: (after.1 - before.1) / total }
    }

    /// True when figures of this run may be published.
    pub(crate) fn is_quiet(&self) -> bool {
        self.load < MOST_LOAD && self.steal < MOST_STEAL
    }

    /// One line.
    pub(crate) fn describe(&self) -> String {
        let word = if self.is_quiet() { "quiet" } else { "noisy" };
        format!("{word}: load {:.2}, steal {:.1} %", self.load, self.steal * 100.0)
    }
}

/// The load average over one minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// All CPU time and the stolen part of it, in ticks.
fn cpu_times() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let times: Vec<f64> = first.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    (times.iter().take(8).sum(), times.get(7).copied().unwrap_or_default())
}

/// CPU time that a process has used so far, in user and kernel mode, all threads.
pub(crate) fn cpu_of(process: &str) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The second field is the name in parentheses and may hold blanks.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
    Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
}

/// Bytes that a process has caused to be written to disk, and its largest resident size in KiB.
pub(crate) fn written_and_resident(process: u32) -> (u64, u64) {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    (field("io", "write_bytes:"), field("status", "VmHWM:"))
}

/// p50 and p99 of appending 64 KiB to a file in `folder` and syncing it: F50 and F99 of the goals.
pub(crate) fn sync_probe(folder: &Path) -> std::io::Result<(Duration, Duration)> {
    let path = folder.join("sync-probe");
    let mut file = File::create(&path)?;
    let block = vec![0x5A; 64 * 1024];
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    fs::remove_file(path)?;
    times.sort();
    Ok((times[times.len() / 2], times[times.len() * 99 / 100]))
}

/// Processors, memory, kernel, file system and date: what a figure is worth nothing without.
pub(crate) fn describe(folder: &Path) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let mut text = String::new();
    let _ = write!(text, "{cores} x {}, {} GiB, ", model.trim_start_matches(['\t', ' ', ':']), kib / 1024 / 1024);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let _ = write!(text, "Linux {}, {}", kernel.trim(), file_system(folder));
    text
}

/// Today in UTC.
pub(crate) fn today() -> String {
    said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])
}

/// The commit that is measured.
pub(crate) fn commit() -> String {
    said("git", &["describe", "--always", "--dirty"])
}

fn file_system(folder: &Path) -> String {
    said("stat", &["-f", "-c", "%T", &folder.display().to_string()])
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
