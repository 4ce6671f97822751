//! The thread that moves what the WAL holds into the database file, off the path of the appends.
//!
//! **Invariant:** it only ever runs PASSIVE checkpoints, which wait for nobody and hold up nobody; bounding the WAL
//! against busy readers is the writer's work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

#[derive(Default)]
struct State {
    due: bool,
    closed: bool,
}

/// How the writer tells the checkpoint thread that the WAL grew.
pub(super) struct CheckpointSignal {
    wal_pages: AtomicU64,
    /// Length of the WAL in pages at which the next checkpoint is due.
    next_at: AtomicU64,
    every_pages: u64,
    /// Above this length the writer does it, and must not find the lock taken each time it tries.
    most_pages: u64,
    state: Mutex<State>,
    wake: Condvar,
}

impl CheckpointSignal {
    /// A checkpoint is due each time the WAL has grown by `every_pages`, up to a length of `most_pages`.
    pub(super) fn new(every_pages: u64, most_pages: u64) -> Self {
        Self {
            wal_pages: AtomicU64::new(0),
            next_at: AtomicU64::new(every_pages),
            every_pages,
            most_pages,
            state: Mutex::new(State::default()),
            wake: Condvar::new(),
        }
    }

    /// The WAL has this many pages now: called by the writer after each commit.
    pub(super) fn wal_has(&self, pages: u64) {
        let before = self.wal_pages.swap(pages, Ordering::AcqRel);
        if pages < before {
            self.next_at.store(self.every_pages, Ordering::Release);
        }
        if pages >= self.next_at.load(Ordering::Acquire) && pages <= self.most_pages {
            // The last one comes shortly before the writer has to start the WAL over, so that little is left to it.
            let last = self.most_pages - self.most_pages / 16;
            let next = pages + self.every_pages;
            self.next_at.store(if pages < last { next.min(last) } else { next }, Ordering::Release);
            self.state.lock().due = true;
            self.wake.notify_one();
        }
    }

    /// Length of the WAL after the last commit, in pages.
    pub(super) fn wal_pages(&self) -> u64 {
        self.wal_pages.load(Ordering::Acquire)
    }

    /// Whether the writer has to start the WAL over itself.
    pub(super) fn is_too_long(&self) -> bool {
        self.wal_pages() > self.most_pages
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.due && !state.closed {
            self.wake.wait(&mut state);
        }
        state.due = false;
        !state.closed
    }
}

/// Runs a checkpoint whenever one is due, until closed.
pub(super) fn run(connection: &Connection, signal: &Arc<CheckpointSignal>) {
    while signal.wait() {
        let done = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = done {
            // The events stay in the WAL, where they are durable; the writer's own checkpoint or the next one tries
            // again, and a disk that is really broken stops the writer at its next commit.
            tracing::warn!(%error, "checkpoint of the event log failed");
        }
    }
}
