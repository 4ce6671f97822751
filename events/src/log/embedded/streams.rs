//! What the writer remembers of the streams it has seen lately, so that an append need not ask the file.
//!
//! **Invariant:** an entry equals what the file says, transaction in progress included; when a transaction fails,
//! the whole cache goes with its session.

use std::collections::HashMap;

use crate::envelope::StreamName;

/// A stream that has events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamState {
    /// Its number in the file.
    pub(super) number: i64,
    /// The revision of its last event.
    pub(super) last: u64,
}

/// A cache in two generations: when the young one is full it becomes the old one, whose forgotten half goes. Keeps
/// between `capacity / 2` and `capacity` of the streams used last, without a list to maintain at each use.
pub(super) struct StreamCache<T> {
    young: HashMap<StreamName, T>,
    old: HashMap<StreamName, T>,
    half: usize,
}

impl<T: Copy> StreamCache<T> {
    /// An empty cache of at most `capacity` streams.
    pub(super) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (capacity / 2).max(1) }
    }

    /// The state of a stream, if remembered.
    pub(super) fn get(&self, stream: &StreamName) -> Option<T> {
        self.young.get(stream).or_else(|| self.old.get(stream)).copied()
    }

    /// Remembers the state of a stream.
    pub(super) fn put(&mut self, stream: &StreamName, state: T) {
        if let Some(known) = self.young.get_mut(stream) {
            *known = state;
            return;
        }
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(stream.clone(), state);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::envelope::Category;

    #[test]
    fn the_cache_stays_bounded_and_keeps_what_was_used_last() {
        let name = |n| StreamName::new(Category::Contact, "acme".parse().unwrap(), Uuid::from_u128(n));
        let mut cache = StreamCache::new(10);
        for n in 0..100u64 {
            cache.put(&name(u128::from(n)), StreamState { number: 1, last: n });
            assert!(cache.young.len() + cache.old.len() <= 10);
        }
        assert_eq!(cache.get(&name(99)), Some(StreamState { number: 1, last: 99 }));
        assert_eq!(cache.get(&name(0)), None);
        cache.put(&name(99), StreamState { number: 1, last: 100 });
        assert_eq!(cache.get(&name(99)), Some(StreamState { number: 1, last: 100 }));
    }
}
