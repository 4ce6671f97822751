//! Keys made durable ahead of time, and the cache of pages read back.
//!
//! **Invariant:** a page enters the pool once, after its commit, in the process that made it, so that no slot is
//! given out twice. A page is cached only as it was after the last destruction that this process committed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::key_id::{self, PageId};
use super::stored::{PAGE_SLOTS, Page, slot};
use super::{DataKey, KeyStoreError};

/// Pages kept in memory, of 8 KiB each.
const CACHED_PAGES: u64 = 2_048;
/// After this time a page rewritten by another process is read again.
const CACHE_FOR: Duration = Duration::from_secs(10);

/// How large the pool of keys is. The default holds a second at 16,000 deliveries a second and refills 32,768 keys
/// (1 MiB) in one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfig {
    /// The pool is refilled once it holds fewer keys; with 0 it is filled only when a key is asked for.
    pub low_water_keys: usize,
    /// Pages of 256 keys made in one commit; at least 1.
    pub batch_pages: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { low_water_keys: 16_384, batch_pages: 128 }
    }
}

/// What a try to take a key came to.
pub(super) enum Taken {
    Key(DataKey),
    /// There is none; `failures` tells how many refills have failed so far.
    Empty {
        failures: u64,
    },
}

/// Keys to give out.
pub(super) struct Pool {
    state: Mutex<State>,
    /// Told whenever a refill ended, well or badly.
    pub(super) refilled: Notify,
    low_water: usize,
}

struct State {
    pages: VecDeque<(PageId, Arc<Page>)>,
    /// The next slot of the front page.
    next: usize,
    refilling: bool,
    failures: u64,
    failure: Option<KeyStoreError>,
}

impl Pool {
    /// An empty pool; with a low-water mark above 0 whoever makes it asks for the first refill.
    pub(super) fn new(low_water: usize) -> Self {
        let state = State { pages: VecDeque::new(), next: 0, refilling: low_water > 0, failures: 0, failure: None };
        Self { state: Mutex::new(state), refilled: Notify::new(), low_water }
    }

    /// Takes a key. The flag is true when the caller must ask for a refill.
    pub(super) fn take(&self) -> (Taken, bool) {
        let mut state = self.state.lock();
        let taken = match state.pages.front() {
            Some((page, keys)) => {
                let key =
                    DataKey { id: key_id::of_pool(*page, slot_number(state.next)), bytes: slot(keys, state.next) };
                state.next += 1;
                Taken::Key(key)
            }
            None => Taken::Empty { failures: state.failures },
        };
        if state.next == PAGE_SLOTS {
            state.pages.pop_front();
            state.next = 0;
        }
        let left = state.pages.len() * PAGE_SLOTS - state.next;
        let wanted = !state.refilling && (left < self.low_water || state.pages.is_empty());
        state.refilling |= wanted;
        (taken, wanted)
    }

    /// The error of the refills that failed since `failures` was seen.
    pub(super) fn failed_since(&self, failures: u64) -> Option<KeyStoreError> {
        let state = self.state.lock();
        if state.failures == failures { None } else { state.failure.clone() }
    }

    /// Ends a refill; also called with nothing when it could not be asked for.
    pub(super) fn end_refill(&self, result: Result<Vec<(PageId, Arc<Page>)>, KeyStoreError>) {
        let mut state = self.state.lock();
        state.refilling = false;
        match result {
            Ok(pages) => state.pages.extend(pages),
            Err(error) => {
                state.failures += 1;
                state.failure = Some(error);
            }
        }
        drop(state);
        self.refilled.notify_waiters();
    }
}

/// Gives the task of asking for a refill back when whoever has it is cancelled before the question is asked.
pub(super) struct Asking<'a>(Option<&'a Pool>);

impl<'a> Asking<'a> {
    pub(super) const fn new(pool: &'a Pool) -> Self {
        Self(Some(pool))
    }

    /// The refill was asked for.
    pub(super) fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.0 {
            pool.end_refill(Ok(Vec::new()));
        }
    }
}

/// Pages read back.
pub(super) struct Pages {
    cache: Cache<PageId, Arc<Page>>,
    /// How many destructions this process has committed.
    destructions: RwLock<u64>,
}

impl Pages {
    pub(super) fn new() -> Self {
        let cache = Cache::builder().max_capacity(CACHED_PAGES).time_to_live(CACHE_FOR).build();
        Self { cache, destructions: RwLock::new(0) }
    }

    pub(super) fn get(&self, id: PageId) -> Option<Arc<Page>> {
        self.cache.get(&id)
    }

    /// To be read before a page is read from the database.
    pub(super) fn destructions(&self) -> u64 {
        *self.destructions.read()
    }

    /// Keeps a page, unless something was destroyed since `destructions` was seen.
    pub(super) fn keep(&self, id: PageId, page: Arc<Page>, destructions: u64) {
        let now = self.destructions.read();
        if *now == destructions {
            self.cache.insert(id, page);
        }
    }

    /// Forgets pages after the commit that rewrote them.
    pub(super) fn forget(&self, ids: &[PageId]) {
        let mut now = self.destructions.write();
        *now += 1;
        for id in ids {
            self.cache.invalidate(id);
        }
    }
}

fn slot_number(slot: usize) -> u8 {
    u8::try_from(slot).expect("a slot is below 256: the page is dropped when its last is taken")
}
