//! The log port: append with an expected revision, read, follow.
//!
//! **Invariant:** an append is all or nothing within one stream; an answered append is durable; positions become
//! visible in order, with no late arrivals. The log knows nothing of payloads.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use crate::envelope::{NewEvent, Position, RecordedEvent, Revision, StreamName};
use crate::ids::EventId;

pub mod embedded;
#[cfg(feature = "eventstore")]
pub mod eventstore;
mod import;
#[cfg(feature = "postgres")]
pub mod postgres;

pub(crate) use import::Order;
pub use import::{Imported, Misplaced};

/// What an append expects of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedRevision {
    /// Whatever is there.
    Any,
    /// The stream has no events yet.
    NoStream,
    /// The last event of the stream has this revision.
    Exact(Revision),
}

/// An append among several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendRequest {
    /// The stream to append to.
    pub stream: StreamName,
    /// What it is expected to hold.
    pub expected: ExpectedRevision,
    /// What is appended.
    pub events: Vec<NewEvent>,
}

/// Where an append ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Revision of the first event of the append.
    pub first_revision: Revision,
    /// Revision of the last event of the append.
    pub last_revision: Revision,
    /// Position of the last event of the append.
    pub position: Position,
    /// True when every event was in the log already and nothing was written.
    pub repeated: bool,
}

/// Why an append was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The stream is not where the caller expected it: read it again and decide anew.
    #[error("stream is at revision {actual:?}, expected {expected:?}")]
    Conflict {
        /// What the caller expected.
        expected: ExpectedRevision,
        /// The last revision of the stream, if it exists.
        actual: Option<Revision>,
    },
    /// The id is taken by an event of another stream, type or content: the caller's ids are wrong.
    #[error("event id {0} is already used by another event")]
    IdTaken(EventId),
    /// Nothing was appended because the request itself is wrong: no events, or the same id twice in it.
    #[error("invalid append: {0}")]
    Invalid(&'static str),
    /// The log cannot take events now; it is **unknown** whether this append was made. Send the same ids again after
    /// the time given.
    #[error("log unavailable: {reason}")]
    Unavailable {
        /// What is wrong, without personal data.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
}

/// Why a read gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The log cannot be read now: back off and try again.
    #[error("log unavailable: {0}")]
    Unavailable(String),
    /// What was read is not what was written: stop and call for help.
    #[error("log corrupt at position {position}: {reason}")]
    Corrupt {
        /// Where.
        position: Position,
        /// What is wrong, without personal data.
        reason: String,
    },
}

/// Which way a stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first, from a revision (inclusive).
    Forwards,
    /// Newest first, from a revision (inclusive).
    Backwards,
}

/// Which events a reader wants; the log may use it to skip without loading payloads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only these categories; all when empty.
    pub categories: Vec<crate::envelope::Category>,
}

impl Filter {
    /// True when the event's category is wanted.
    #[must_use]
    pub fn matches(&self, stream: &StreamName) -> bool {
        self.categories.is_empty() || self.categories.contains(&stream.category)
    }
}

/// Condition of a log, for readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogHealth {
    /// Takes appends.
    Writable,
    /// Takes no appends for now.
    Halted {
        /// Why, without personal data.
        reason: String,
    },
}

/// The log: the only truth. All adapters pass `event_log_contract!`.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Appends `events` to `stream`, all or none, and returns once they are durable.
    ///
    /// Idempotent by event id: when the ids are in the log already with the same digests, the first result is
    /// returned whatever `expected` says. (A weaker engine says so in its adapter.)
    ///
    /// # Errors
    /// See [`AppendError`].
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError>;

    /// Makes several appends and answers each, in their order, once all have their answers. Each is all or none and
    /// stands or falls alone; in which order they are made is not said, so that no two are for one stream. They may
    /// give way to single appends, for which somebody waits.
    async fn append_all(&self, appends: Vec<AppendRequest>) -> Vec<Result<Appended, AppendError>> {
        let appends = appends.into_iter().map(|append| async move {
            let AppendRequest { stream, expected, events } = append;
            self.append(&stream, expected, events).await
        });
        futures::future::join_all(appends).await
    }

    /// Reads up to `limit` events of one stream from `from` (inclusive; `None` is the start or, backwards, the end).
    /// A stream that does not exist reads as empty.
    ///
    /// # Errors
    /// See [`ReadError`].
    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError>;

    /// The revision of the last event of a stream, every append answered before included; `None` when there is none.
    /// An adapter that knows it without a read answers at once.
    ///
    /// # Errors
    /// See [`ReadError`].
    async fn last_revision(&self, stream: &StreamName) -> Result<Option<Revision>, ReadError> {
        let last = self.read_stream(stream, None, Direction::Backwards, 1).await?;
        Ok(last.first().map(|event| event.revision))
    }

    /// Reads up to `limit` wanted events after `after` in order of position, and the position up to which the log
    /// was searched (the last event's, or further where the filter skipped some).
    ///
    /// # Errors
    /// See [`ReadError`].
    async fn read_all(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<(Vec<RecordedEvent>, Position), ReadError>;

    /// The event with this id, if it is in the log.
    ///
    /// # Errors
    /// See [`ReadError`].
    async fn find(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError>;

    /// Position of the last event; [`Position::START`] when there is none.
    ///
    /// # Errors
    /// See [`ReadError`].
    async fn head(&self) -> Result<Position, ReadError>;

    /// The last position whose running maximum of `recorded_at` is not after `time`: what "as of" means.
    ///
    /// # Errors
    /// See [`ReadError`].
    async fn position_at(&self, time: DateTime<Utc>) -> Result<Position, ReadError>;

    /// Every wanted event after `after`, those to come included, in order of position, none missed and none twice.
    /// Ends only with an error.
    fn subscribe(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<RecordedEvent, ReadError>>;

    /// Whether the log takes appends.
    fn health(&self) -> LogHealth;
}

/// The largest payload of an event in bytes, on every log: what one takes the others and the feeds have to take, too.
///
/// **Source:** EventStoreDB's default `MaxAppendSize` of 1,048,576 and Kafka's default `message.max.bytes` of 1,048,588,
/// less room for metadata, headers and framing.
pub const LARGEST_PAYLOAD: usize = 900_000;

/// What is wrong with every log: an append of nothing, of the same id twice, or of too large a payload.
pub(crate) fn check_append(events: &[NewEvent]) -> Result<(), AppendError> {
    if events.iter().any(|event| event.payload.len() > LARGEST_PAYLOAD) {
        return Err(AppendError::Invalid("a payload of more than 900,000 bytes"));
    }
    match events {
        [] => Err(AppendError::Invalid("no events")),
        [_] => Ok(()),
        _ => {
            let mut seen = std::collections::HashSet::with_capacity(events.len());
            if events.iter().all(|event| seen.insert(event.id)) {
                Ok(())
            } else {
                Err(AppendError::Invalid("the same event id twice"))
            }
        }
    }
}
