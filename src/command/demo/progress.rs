//! What the demo prints while it works.
//!
//! **Invariant:** moving lines go to terminals only; a file or a pipe gets finished lines.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::command::say;

/// Prints a line with a label before it.
///
/// # Errors
/// Standard output is closed.
pub(super) fn tell(label: &str, text: impl std::fmt::Display) -> anyhow::Result<()> {
    say(format_args!("  {label:<10} {text}"))
}

/// How far a piece of work has come.
pub(super) struct Progress {
    label: &'static str,
    of: usize,
    done: AtomicUsize,
    began: Instant,
    moving: bool,
}

impl Progress {
    /// Begins a piece of work with this many steps.
    pub(super) fn of(label: &'static str, of: usize) -> Self {
        Self { label, of, done: AtomicUsize::new(0), began: Instant::now(), moving: std::io::stdout().is_terminal() }
    }

    /// One step further.
    pub(super) fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.show(format_args!("{done} of {}", self.of));
    }

    /// Shows something that the next line will take the place of.
    pub(super) fn show(&self, text: impl std::fmt::Display) {
        if self.moving {
            let mut out = std::io::stdout().lock();
            // A terminal that is gone stops no work.
            let _ = write!(out, "\r\x1b[K  {:<10} {text}", self.label).and_then(|()| out.flush());
        }
    }

    /// How long it took so far.
    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    /// Ends the moving line with what came of it.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(super) fn end(&self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        self.show("");
        if self.moving {
            write!(std::io::stdout(), "\r\x1b[K")?;
        }
        tell(self.label, text)
    }
}
