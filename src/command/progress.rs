//! How far a long command has come, for whoever watches it.
//!
//! **Invariant:** shown on a terminal only, at most once a second.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use events::archive::Progress;
use parking_lot::Mutex;

/// The least time between two lines.
const EVERY: Duration = Duration::from_secs(1);

/// Shows progress in log lines.
pub(super) struct Shown {
    doing: &'static str,
    last: Option<Mutex<Instant>>,
}

impl Shown {
    /// Of a command that is doing this.
    pub(super) fn new(doing: &'static str) -> Self {
        Self { doing, last: std::io::stderr().is_terminal().then(|| Mutex::new(Instant::now())) }
    }

    pub(super) fn show(&self, Progress { doing, done, of }: Progress) {
        let Some(mut last) = self.last.as_ref().map(Mutex::lock) else { return };
        if last.elapsed() >= EVERY {
            *last = Instant::now();
            tracing::info!(part = doing, done, of, "{}", self.doing);
        }
    }
}
