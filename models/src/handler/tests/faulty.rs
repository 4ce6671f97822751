//! A log that fails where a test tells it to.
//!
//! **Invariant:** without a fault it is the log behind it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use events::envelope::{NewEvent, Position, RecordedEvent, Revision, StreamName};
use events::ids::EventId;
use events::log::{AppendError, Appended, Direction, EventLog, ExpectedRevision, Filter, LogHealth, ReadError};
use events::testing::MemoryLog;
use futures::stream::BoxStream;
use parking_lot::Mutex;

/// What goes wrong with the next append or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The append is not made.
    AppendUnavailable,
    /// The append is made, and the answer says that it may not have been.
    WrittenButUnavailable,
    /// The append is made, and the answer never comes.
    WrittenButSilent,
    /// The append is not made yet, and the answer never comes.
    Silent,
    /// The append is refused as if others were faster.
    Conflict,
    /// The stream is not read.
    ReadUnavailable,
    /// The stream is found damaged.
    ReadCorrupt,
}

pub(super) struct FaultyLog {
    log: MemoryLog,
    faults: Mutex<VecDeque<Fault>>,
    appends: AtomicUsize,
}

impl FaultyLog {
    pub(super) fn new(log: MemoryLog) -> Self {
        Self { log, faults: Mutex::default(), appends: AtomicUsize::new(0) }
    }

    /// The next calls that these faults fit go wrong, in this order.
    pub(super) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().extend(faults);
    }

    /// How often an append was asked for.
    pub(super) fn appends(&self) -> usize {
        self.appends.load(Ordering::SeqCst)
    }

    /// True when every fault was met.
    pub(super) fn failed_all(&self) -> bool {
        self.faults.lock().is_empty()
    }

    fn next(&self, fits: impl Fn(Fault) -> bool) -> Option<Fault> {
        let mut faults = self.faults.lock();
        if faults.front().is_some_and(|fault| fits(*fault)) { faults.pop_front() } else { None }
    }
}

fn unavailable() -> AppendError {
    AppendError::Unavailable { reason: "no space left".into(), retry_after: Duration::from_secs(3) }
}

#[async_trait]
impl EventLog for FaultyLog {
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        match self.next(|fault| !matches!(fault, Fault::ReadUnavailable | Fault::ReadCorrupt)) {
            Some(Fault::AppendUnavailable) => Err(unavailable()),
            Some(Fault::WrittenButUnavailable) => {
                self.log.append(stream, expected, events).await.unwrap();
                Err(unavailable())
            }
            Some(Fault::WrittenButSilent) => {
                self.log.append(stream, expected, events).await.unwrap();
                futures::future::pending().await
            }
            Some(Fault::Silent) => futures::future::pending().await,
            Some(Fault::Conflict) => Err(AppendError::Conflict { expected, actual: None }),
            Some(Fault::ReadUnavailable | Fault::ReadCorrupt) | None => self.log.append(stream, expected, events).await,
        }
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        match self.next(|fault| matches!(fault, Fault::ReadUnavailable | Fault::ReadCorrupt)) {
            Some(Fault::ReadUnavailable) => Err(ReadError::Unavailable("busy".into())),
            Some(Fault::ReadCorrupt) => Err(ReadError::Corrupt { position: Position(1), reason: "torn".into() }),
            _ => self.log.read_stream(stream, from, direction, limit).await,
        }
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<(Vec<RecordedEvent>, Position), ReadError> {
        self.log.read_all(after, filter, limit).await
    }

    async fn find(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.log.find(id).await
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.log.head().await
    }

    async fn position_at(&self, time: DateTime<Utc>) -> Result<Position, ReadError> {
        self.log.position_at(time).await
    }

    fn subscribe(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<RecordedEvent, ReadError>> {
        self.log.subscribe(after, filter)
    }

    fn health(&self) -> LogHealth {
        self.log.health()
    }
}
