//! The newest events in memory, for those who follow the log: they need not read from the file what was committed a
//! moment ago.
//!
//! **Invariant:** what stands here was committed, has no gaps and ends at the last event the writer told of; an event
//! is the same here as when it is read from the file. Whoever asks for more than is kept is sent to the file.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use parking_lot::RwLock;

use super::queue::{Answer, Request};
use crate::envelope::{Metadata, Position, RecordedEvent, Revision};
use crate::log::Filter;

/// Most events kept: some seconds of a busy log.
const KEPT_EVENTS: usize = 32 * 1024;
/// Most bytes of payload kept.
const KEPT_BYTES: usize = 32 << 20;

/// Events that were found, and how far was searched.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) events: Vec<RecordedEvent>,
    pub(super) searched: Position,
}

/// The newest events.
#[derive(Default)]
pub(super) struct Tail {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Of positions one after the other.
    events: VecDeque<RecordedEvent>,
    bytes: usize,
}

impl Inner {
    fn push(&mut self, event: RecordedEvent) {
        let follows = self.events.back().is_none_or(|last| last.position.0 + 1 == event.position.0);
        if !follows {
            self.events.clear();
            self.bytes = 0;
        }
        self.bytes += event.payload.len();
        self.events.push_back(event);
        while self.events.len() > KEPT_EVENTS || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.payload.len();
        }
    }
}

impl Tail {
    /// Keeps the events of a group after its COMMIT, which all got this `recorded_at`, and answers its appends.
    pub(super) fn committed(&self, group: &mut Vec<Request>, answers: &mut Vec<Answer>, recorded_at: i64) {
        let recorded_at = DateTime::from_timestamp_micros(recorded_at).unwrap_or_default();
        let mut inner = self.inner.write();
        for (request, answer) in group.drain(..).zip(answers.drain(..)) {
            let Request { append, answer: waiter, .. } = request;
            if let Ok(appended) = &answer
                && !appended.repeated
            {
                let count = append.events.len() as u64;
                for (offset, encoded) in (0..).zip(append.events) {
                    let event = encoded.event;
                    inner.push(RecordedEvent {
                        id: event.id,
                        stream: append.stream.clone(),
                        revision: Revision(appended.first_revision.0 + offset),
                        position: Position(appended.position.0 + 1 + offset - count),
                        event_type: event.event_type,
                        version: event.version,
                        metadata: as_stored(event.metadata),
                        recorded_at,
                        payload: event.payload,
                    });
                }
            }
            // A caller that went away needs no answer; its event is in the log all the same.
            drop(waiter.send(answer));
        }
    }

    /// Forgets everything: the file was opened anew.
    pub(super) fn forget(&self) {
        let mut inner = self.inner.write();
        inner.events.clear();
        inner.bytes = 0;
    }

    /// Up to `limit` wanted events after `after`; `None` when some of what follows it is no longer kept.
    pub(super) fn read(&self, after: Position, filter: &Filter, limit: usize) -> Option<Found> {
        let inner = self.inner.read();
        let first = inner.events.front()?.position;
        let skipped = usize::try_from((after.0 + 1).checked_sub(first.0)?).ok()?;
        let mut searched = after;
        let mut events = Vec::new();
        for event in inner.events.range(skipped.min(inner.events.len())..) {
            if events.len() == limit {
                break;
            }
            searched = event.position;
            if filter.matches(&event.stream) {
                events.push(event.clone());
            }
        }
        Some(Found { events, searched })
    }
}

/// Metadata as they are read back: times are stored in whole microseconds.
fn as_stored(metadata: Metadata) -> Metadata {
    let occurred_at: DateTime<Utc> =
        DateTime::from_timestamp_micros(metadata.occurred_at.timestamp_micros()).unwrap_or(metadata.occurred_at);
    Metadata { occurred_at, ..metadata }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Category;
    use crate::testing::rich_metadata;

    fn event(position: u64, category: Category) -> RecordedEvent {
        RecordedEvent {
            id: crate::ids::EventId::new(uuid::Uuid::from_u128(position.into())),
            stream: crate::envelope::StreamName::new(category, "acme".parse().unwrap(), uuid::Uuid::nil()),
            revision: Revision(position),
            position: Position(position),
            event_type: "test".into(),
            version: 1,
            metadata: rich_metadata(),
            recorded_at: DateTime::UNIX_EPOCH,
            payload: bytes::Bytes::from_static(b"{}"),
        }
    }

    fn positions(found: Option<Found>) -> Option<(Vec<u64>, u64)> {
        found.map(|found| (found.events.iter().map(|event| event.position.0).collect(), found.searched.0))
    }

    #[test]
    fn whoever_asks_for_what_is_no_longer_kept_is_sent_to_the_file() {
        let tail = Tail::default();
        assert_eq!(positions(tail.read(Position(0), &Filter::default(), 10)), None);
        for position in 5..9 {
            tail.inner.write().push(event(position, Category::Contact));
        }
        assert_eq!(positions(tail.read(Position(3), &Filter::default(), 10)), None);
        assert_eq!(positions(tail.read(Position(4), &Filter::default(), 10)), Some((vec![5, 6, 7, 8], 8)));
        assert_eq!(positions(tail.read(Position(6), &Filter::default(), 1)), Some((vec![7], 7)));
        assert_eq!(positions(tail.read(Position(8), &Filter::default(), 10)), Some((vec![], 8)));
        let other = Filter { categories: vec![Category::Link] };
        assert_eq!(positions(tail.read(Position(4), &other, 10)), Some((vec![], 8)));
    }

    #[test]
    fn a_gap_starts_over_and_the_oldest_go_when_there_are_too_many() {
        let tail = Tail::default();
        tail.inner.write().push(event(1, Category::Contact));
        tail.inner.write().push(event(3, Category::Contact));
        assert_eq!(positions(tail.read(Position(0), &Filter::default(), 10)), None);
        assert_eq!(positions(tail.read(Position(2), &Filter::default(), 10)), Some((vec![3], 3)));
        let last = 3 + KEPT_EVENTS as u64;
        for position in 4..=last {
            tail.inner.write().push(event(position, Category::Contact));
        }
        assert_eq!(positions(tail.read(Position(2), &Filter::default(), 1)), None);
        assert_eq!(positions(tail.read(Position(last - 1), &Filter::default(), 9)), Some((vec![last], last)));
        tail.forget();
        assert_eq!(positions(tail.read(Position(last), &Filter::default(), 9)), None);
    }
}
