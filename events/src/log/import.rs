//! Events that come from another log, and what must be true of them.
//!
//! **Invariant:** what could not have been written by a log (positions that do not grow, revisions with a gap, times that
//! go back) is refused.

use std::collections::HashMap;

use crate::envelope::{Position, RecordedEvent, Revision, StreamName};

/// An event to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The event with its place and time.
    pub event: RecordedEvent,
    /// The digest that it was appended with, where the other log tells; without it a repetition is recognised by id,
    /// stream and type alone.
    pub digest: Option<[u8; 16]>,
}

impl From<RecordedEvent> for Imported {
    fn from(event: RecordedEvent) -> Self {
        Self { event, digest: None }
    }
}

/// No log could have written this event after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event at position {position} cannot follow the one before: {reason}")]
pub struct Misplaced {
    /// Where.
    pub position: Position,
    /// What is wrong.
    pub reason: &'static str,
}

/// What the next event must follow. Some 100 bytes for each stream.
#[derive(Default)]
pub(crate) struct Order {
    /// The last position.
    pub(crate) position: Position,
    recorded_at: i64,
    ends: HashMap<StreamName, Revision>,
}

impl Order {
    /// Takes the next event, or says why it cannot be the next.
    pub(crate) fn check(&mut self, event: &RecordedEvent) -> Result<(), Misplaced> {
        let recorded_at = event.recorded_at.timestamp_micros();
        let expected = self.ends.get(&event.stream).map_or(Revision(0), |end| end.next());
        let reason = if event.position <= self.position {
            Some("its position is not higher")
        } else if i64::try_from(event.position.0).is_err() {
            Some("its position is out of range")
        } else if self.position > Position::START && recorded_at < self.recorded_at {
            Some("it was recorded earlier")
        } else if event.revision != expected {
            Some("its revision does not follow")
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(Misplaced { position: event.position, reason });
        }
        self.position = event.position;
        self.recorded_at = recorded_at;
        self.ends.insert(event.stream.clone(), event.revision);
        Ok(())
    }
}
