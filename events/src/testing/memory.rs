//! A log in memory, as plain as can be: the model that the real ones are compared with.
//!
//! **Invariant:** written to be read, not to be fast: every question is answered by looking through one list.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::envelope::{NewEvent, Position, RecordedEvent, Revision, StreamName};
use crate::ids::EventId;
use crate::log::{
    AppendError, Appended, Direction, EventLog, ExpectedRevision, Filter, LogHealth, ReadError, check_append,
};

/// A log in memory. Clones are the same log.
#[derive(Clone)]
pub struct MemoryLog {
    entries: Arc<Mutex<Vec<Entry>>>,
    head: watch::Sender<Position>,
    clock: Arc<dyn Clock>,
}

struct Entry {
    event: RecordedEvent,
    digest: [u8; 16],
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { entries: Arc::default(), head: watch::Sender::new(Position::START), clock }
    }

    fn select(&self, wanted: impl Fn(&RecordedEvent) -> bool) -> Vec<RecordedEvent> {
        self.entries.lock().iter().map(|entry| &entry.event).filter(|event| wanted(event)).cloned().collect()
    }

    fn first(&self, wanted: impl Fn(&RecordedEvent) -> bool) -> Option<RecordedEvent> {
        self.entries.lock().iter().map(|entry| &entry.event).find(|event| wanted(event)).cloned()
    }

    /// Appends as a log did before payloads had a limit.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_without_limit(&self, stream: &StreamName, event: NewEvent) -> Result<Appended, AppendError> {
        self.append_now(stream, ExpectedRevision::Any, vec![event])
    }

    fn append_now(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        let mut entries = self.entries.lock();
        let actual = entries.iter().rev().find(|e| e.event.stream == *stream).map(|e| e.event.revision);
        if let Some(answer) = already_there(&entries, stream, &events) {
            return answer;
        }
        let fits = match expected {
            ExpectedRevision::Any => true,
            ExpectedRevision::NoStream => actual.is_none(),
            ExpectedRevision::Exact(revision) => actual == Some(revision),
        };
        if !fits {
            return Err(AppendError::Conflict { expected, actual });
        }
        let first_revision = actual.map_or(Revision(0), Revision::next);
        let recorded_at = entries.last().map_or(self.clock.now(), |e| e.event.recorded_at.max(self.clock.now()));
        let mut revision = first_revision;
        for event in events {
            let recorded = RecordedEvent {
                id: event.id,
                stream: stream.clone(),
                revision,
                position: Position(entries.len() as u64 + 1),
                event_type: event.event_type,
                version: event.version,
                metadata: event.metadata,
                recorded_at,
                payload: event.payload,
            };
            entries.push(Entry { event: recorded, digest: event.digest });
            revision = revision.next();
        }
        let position = Position(entries.len() as u64);
        drop(entries);
        self.head.send_if_modified(|head| {
            let moved = position > *head;
            *head = position.max(*head);
            moved
        });
        Ok(Appended { first_revision, last_revision: Revision(revision.0 - 1), position, repeated: false })
    }
}

/// The answer to an append some of whose ids are in the log already; `None` when none is.
fn already_there(entries: &[Entry], stream: &StreamName, events: &[NewEvent]) -> Option<Result<Appended, AppendError>> {
    let found: Vec<_> = events.iter().map(|new| entries.iter().find(|old| old.event.id == new.id)).collect();
    let first_present = found.iter().position(Option::is_some)?;
    if found.iter().any(Option::is_none) {
        return Some(Err(AppendError::IdTaken(events[first_present].id)));
    }
    let found: Vec<_> = found.into_iter().flatten().collect();
    let first = found.first()?.event.revision;
    for (index, (old, new)) in found.iter().zip(events).enumerate() {
        let same = old.event.stream == *stream
            && old.event.event_type == new.event_type
            && old.digest == new.digest
            && old.event.revision.0 == first.0 + index as u64;
        if !same {
            return Some(Err(AppendError::IdTaken(new.id)));
        }
    }
    let last = &found.last()?.event;
    Some(Ok(Appended { first_revision: first, last_revision: last.revision, position: last.position, repeated: true }))
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        check_append(&events)?;
        self.append_now(stream, expected, events)
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let mut events = self.select(|event| {
            event.stream == *stream
                && match direction {
                    Direction::Forwards => from.is_none_or(|from| event.revision >= from),
                    Direction::Backwards => from.is_none_or(|from| event.revision <= from),
                }
        });
        if direction == Direction::Backwards {
            events.reverse();
        }
        events.truncate(limit);
        Ok(events)
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<(Vec<RecordedEvent>, Position), ReadError> {
        let head = *self.head.borrow();
        let mut events =
            self.select(|event| event.position > after && event.position <= head && filter.matches(&event.stream));
        if events.len() < limit {
            return Ok((events, head.max(after)));
        }
        events.truncate(limit);
        let searched = events.last().map_or(after, |event| event.position);
        Ok((events, searched))
    }

    async fn find(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        Ok(self.select(|event| event.id == id).pop())
    }

    async fn head(&self) -> Result<Position, ReadError> {
        Ok(Position(self.entries.lock().len() as u64))
    }

    async fn position_at(&self, time: DateTime<Utc>) -> Result<Position, ReadError> {
        Ok(self.select(|event| event.recorded_at <= time).last().map_or(Position::START, |event| event.position))
    }

    fn subscribe(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<RecordedEvent, ReadError>> {
        let start = (self.clone(), self.head.subscribe(), after);
        stream::unfold(start, move |(log, mut head, mut after)| {
            let filter = filter.clone();
            async move {
                loop {
                    head.borrow_and_update();
                    let next = log.first(|event| event.position > after && filter.matches(&event.stream));
                    if let Some(event) = next {
                        after = event.position;
                        return Some((Ok(event), (log, head, after)));
                    }
                    if head.changed().await.is_err() {
                        return Some((Err(ReadError::Unavailable("log is gone".into())), (log, head, after)));
                    }
                }
            }
        })
        .boxed()
    }

    fn health(&self) -> LogHealth {
        LogHealth::Writable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::feed::LogFeed;
    use crate::testing::{FeedUnderTest, LogUnderTest, sample_time};

    mod log {
        use super::*;

        async fn fresh() -> LogUnderTest {
            let clock = Arc::new(FixedClock::new(sample_time()));
            LogUnderTest::new(Arc::new(MemoryLog::new(clock.clone())), ()).with_clock(clock)
        }

        crate::event_log_contract!(strict, fresh());
    }

    mod feed {
        use super::*;

        async fn fresh() -> FeedUnderTest {
            let log = Arc::new(MemoryLog::new(Arc::new(FixedClock::new(sample_time()))));
            FeedUnderTest::new(log.clone(), Arc::new(LogFeed::new(log)), ())
        }

        crate::event_feed_contract!(fresh());
    }
}
