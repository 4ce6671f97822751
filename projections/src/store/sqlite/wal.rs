//! How long the write-ahead log is, and when it is moved into the file.
//!
//! **Invariant:** pages are written back by a thread of their own, a few MiB at a time: a long checkpoint would keep the
//! log of events, which is on the same disk, waiting for its syncs, and one inside a commit keeps every reader of that
//! commit waiting. The writer only begins a long write-ahead log anew, when little is left to be moved.

use std::sync::atomic::{AtomicU64, Ordering};

/// A checkpoint is due each time the write-ahead log has grown by so many pages: 8 MiB.
const CHECKPOINT_EVERY: u64 = 2_048;
/// The writer begins it anew when it has more pages than this: 32 MiB.
const LONGEST: u64 = 8_192;

/// The last checkpoint before that is due at so many pages.
const LAST: u64 = LONGEST - LONGEST / 16;

/// The write-ahead log of a store.
#[derive(Debug)]
pub(super) struct WalLength {
    pages: AtomicU64,
    checkpoint_at: AtomicU64,
    restart_at: AtomicU64,
}

impl Default for WalLength {
    fn default() -> Self {
        Self {
            pages: AtomicU64::new(0),
            checkpoint_at: AtomicU64::new(CHECKPOINT_EVERY),
            restart_at: AtomicU64::new(LONGEST),
        }
    }
}

impl WalLength {
    /// It has so many pages after a commit.
    pub(super) fn has(&self, pages: u64) {
        if pages < self.pages.swap(pages, Ordering::AcqRel) {
            self.checkpoint_at.store(CHECKPOINT_EVERY, Ordering::Release);
            self.restart_at.store(LONGEST, Ordering::Release);
        }
    }

    /// True once for each time that it has grown enough.
    pub(super) fn checkpoint_is_due(&self) -> bool {
        let (pages, at) = (self.pages.load(Ordering::Acquire), self.checkpoint_at.load(Ordering::Acquire));
        // The last one comes shortly before the writer begins anew, so that little is left to it.
        let next = pages + CHECKPOINT_EVERY;
        let next = if pages < LAST { next.min(LAST) } else { next };
        pages >= at && self.checkpoint_at.compare_exchange(at, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// True when the writer has to begin it anew.
    pub(super) fn is_too_long(&self) -> bool {
        self.pages.load(Ordering::Acquire) > self.restart_at.load(Ordering::Acquire)
    }

    /// The writer tried to begin it anew; if readers held it up, it tries again after some growth.
    pub(super) fn restarted(&self, done: bool) {
        if done {
            self.has(0);
        } else {
            self.restart_at.store(self.pages.load(Ordering::Acquire) + CHECKPOINT_EVERY, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_once_for_each_growth_and_a_long_log_is_begun_anew() {
        let wal = WalLength::default();
        wal.has(CHECKPOINT_EVERY - 1);
        assert!(!wal.checkpoint_is_due());
        wal.has(CHECKPOINT_EVERY + 10);
        assert!(wal.checkpoint_is_due());
        assert!(!wal.checkpoint_is_due());
        wal.has(2 * CHECKPOINT_EVERY + 10);
        assert!(wal.checkpoint_is_due());
        assert!(!wal.is_too_long());
        wal.has(LONGEST + 1);
        assert!(wal.is_too_long());
        wal.restarted(false);
        assert!(!wal.is_too_long(), "readers hold it up: it grows on for a while");
        wal.has(LONGEST + 1 + CHECKPOINT_EVERY + 1);
        assert!(wal.is_too_long());
        wal.restarted(true);
        assert!(!wal.is_too_long());
        wal.has(CHECKPOINT_EVERY);
        assert!(wal.checkpoint_is_due());
        wal.has(LONGEST + 1);
        assert!(wal.is_too_long());
    }
}
