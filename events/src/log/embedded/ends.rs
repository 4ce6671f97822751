//! Where streams end, for whoever only wants to know that nothing was added.
//!
//! **Invariant:** an entry is the last revision that was committed before anybody heard of it: the writer enters it
//! after its COMMIT and before it answers, and a reader enters what it read only if the writer entered nothing
//! meanwhile. So whoever asks after an answer is told of the answer's events.

use parking_lot::Mutex;

use super::queue::{Answer, Request};
use super::streams::StreamCache;
use crate::envelope::{Revision, StreamName};

/// The last revisions of the streams used lately.
pub(super) struct Ends {
    inner: Mutex<Inner>,
    capacity: usize,
}

struct Inner {
    known: StreamCache<Revision>,
    /// Grows whenever the writer enters something.
    turn: u64,
}

impl Ends {
    /// Remembers at most `capacity` streams.
    pub(super) fn new(capacity: usize) -> Self {
        Self { inner: Mutex::new(Inner { known: StreamCache::new(capacity), turn: 0 }), capacity }
    }

    /// The end of a stream if it is known; else the turn to hand in with what is read now.
    pub(super) fn get(&self, stream: &StreamName) -> Result<Revision, u64> {
        let mut inner = self.inner.lock();
        let found = inner.known.get(stream);
        match found {
            Some(revision) => {
                // Entered anew, so that what is asked for stays.
                inner.known.put(stream, revision);
                Ok(revision)
            }
            None => Err(inner.turn),
        }
    }

    /// Enters what was read, unless the writer entered something since `turn`.
    pub(super) fn was_read(&self, stream: &StreamName, revision: Revision, turn: u64) {
        let mut inner = self.inner.lock();
        if inner.turn == turn {
            inner.known.put(stream, revision);
        }
    }

    /// Enters a group after its COMMIT.
    pub(super) fn committed(&self, group: &[Request], answers: &[Answer]) {
        let mut inner = self.inner.lock();
        inner.turn += 1;
        for (request, answer) in group.iter().zip(answers) {
            if let Ok(appended) = answer
                && !appended.repeated
            {
                inner.known.put(&request.append.stream, appended.last_revision);
            }
        }
    }

    /// Forgets everything: the file was opened anew.
    pub(super) fn forget(&self) {
        let mut inner = self.inner.lock();
        inner.turn += 1;
        inner.known = StreamCache::new(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::envelope::Category;

    #[test]
    fn what_was_read_before_a_commit_is_not_entered_after_it() {
        let stream = StreamName::new(Category::Contact, "acme".parse().unwrap(), Uuid::from_u128(1));
        let ends = Ends::new(10);
        let turn = ends.get(&stream).unwrap_err();
        ends.committed(&[], &[]);
        ends.was_read(&stream, Revision(3), turn);
        assert!(ends.get(&stream).is_err());
        let turn = ends.get(&stream).unwrap_err();
        ends.was_read(&stream, Revision(4), turn);
        assert_eq!(ends.get(&stream), Ok(Revision(4)));
        ends.forget();
        assert!(ends.get(&stream).is_err());
    }
}
