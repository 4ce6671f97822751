//! The figures of a run: printed as a table, and put into `docs/benchmarks.md` when that is asked for.
//!
//! **Invariant:** only a quiet machine's figures are written; what did not run stands there with its reason.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// Whether a gate was reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Reached.
    Met,
    /// Not reached.
    Missed,
    /// The line has no gate.
    None,
}

impl Gate {
    /// Met when `reached`.
    pub(crate) const fn when(reached: bool) -> Self {
        if reached { Self::Met } else { Self::Missed }
    }
}

/// Lines of the table, and what did not run.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<[String; 5]>,
    missed: usize,
    not_run: Vec<String>,
}

impl Report {
    /// Adds a line and prints it.
    pub(crate) fn row(&mut self, goal: &str, what: &str, figure: &str, target: &str, gate: Gate) {
        let word = match gate {
            Gate::Met => "met",
            Gate::Missed => "missed",
            Gate::None => "",
        };
        self.missed += usize::from(gate == Gate::Missed);
        println!("{goal:4} {what:58} {figure:44} {target:24} {word}");
        self.rows.push([goal, what, figure, target, word].map(str::to_owned));
    }

    /// Notes what could not be run.
    pub(crate) fn not_run(&mut self, engine: &str, reason: &str) {
        let line = format!("NOT RUN: {engine}: {reason}");
        println!("{line}");
        self.not_run.push(line);
    }

    /// The summary at the end of a run.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("| goal | what | figure | gate | |\n|---|---|---|---|---|\n");
        for [goal, what, figure, target, word] in &self.rows {
            let _ = writeln!(text, "| {goal} | {what} | {figure} | {target} | {word} |");
        }
        for line in &self.not_run {
            let _ = writeln!(text, "\n{line}");
        }
        let _ = writeln!(text, "\ngates missed: {}", self.missed);
        text
    }

    /// Replaces the figures in `file`; what people wrote around them stays.
    pub(crate) fn write(&self, file: &Path, about: &str) -> anyhow::Result<()> {
        let old = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let (before, rest) = old.split_once(BEGIN).context("the file has no mark where figures begin")?;
        let (_, after) = rest.split_once(END).context("the file has no mark where figures end")?;
        let text = format!("{before}{BEGIN}\n{about}\n\n{}{END}{after}", self.summary());
        Ok(std::fs::write(file, text)?)
    }
}

/// Median, smallest and largest of some figures.
pub(crate) fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len() / 2), sorted.first(), sorted.last()) {
        (Some(median), Some(low), Some(high)) => (*median, *low, *high),
        _ => (f64::NAN, f64::NAN, f64::NAN),
    }
}

/// A rate with its spread.
pub(crate) fn rates(values: &[f64]) -> String {
    let (median, low, high) = spread(values);
    format!("{median:.0}/s ({low:.0}-{high:.0})")
}

/// A ratio with its spread.
pub(crate) fn ratios(values: &[f64]) -> String {
    let (median, low, high) = spread(values);
    format!("{median:.2} ({low:.2}-{high:.2})")
}
