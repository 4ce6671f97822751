//! The log in EventStoreDB or KurrentDB: [`EventStoreLog`].
//!
//! **Invariant:** what an append is answered with was read back from the server; a position is one that a record has on
//! the server; what the server does not promise is not promised here.
//!
//! | here | there |
//! |---|---|
//! | stream name, revision, event id, event type, payload | the same; the payload is the data, byte for byte |
//! | version, digest, metadata | custom metadata, JSON (`records.rs`) |
//! | position | commit position + 1, as a record may begin at 0 and [`Position::START`] is before all |
//! | `recorded_at` | `created`, the clock of the server that leads, cut to microseconds |
//!
//! # What this log does not promise
//! The rest of the port it keeps; it passes the common level of the contract.
//!
//! - **Idempotence.** An append that expects a revision or no stream is recognised at any age, if it is sent again with
//!   what it expected. One that expects `Any` is recognised while the server remembers all its ids: it holds 8 MiB of
//!   them, none after a restart. Forgotten, it is written a second time; deciders take care of that: a message whose
//!   raw event stands twice is received once. An append sent again that expects another revision is a
//!   [`Conflict`](AppendError::Conflict), not the first result.
//! - **Ids of other streams.** The server takes the same id in two streams.
//! - **`recorded_at`** decreases with position where the clock of the server was put back, or another server with a slower
//!   clock leads. [`position_at`](EventLog::position_at) is right if that was by less than a minute.
//!
//! Within what is recognised, the server neither compares contents nor says that it wrote nothing. So each append bears
//! a number of its own, and its last event is read back: another number there means [`repeated`](Appended::repeated), and
//! then ids and digests of all its events are compared; [`AppendError::IdTaken`] where they differ.
//!
//! # Limits
//! The server refuses an append of more than 1 MiB (its default), so this log does, before it sends one
//! ([`EventStoreConfig::max_append_bytes`]). Others may use the server, too: streams whose names are not ours are skipped.
//! Every call requires the leader, for what was appended must be there for who reads next. The user of the connection
//! string must be allowed to read `$all`, which the server by default allows to administrators alone. A position must be one
//! that this log gave out: the server refuses others.
//!
//! # Failures
//! Calls fail with `Unavailable` as soon as the server does; the next ones find it again (`connection.rs`). A subscription
//! goes on through failures, and says [`ReadError::Unavailable`] when its reads have failed for
//! [`EventStoreConfig::give_up_after`]. One that has read everything and waits for news reads nothing, so that it does
//! not end; [`health`](EventLog::health) tells.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use eventstore::{AppendToStreamOptions, ClientSettings, CurrentRevision, EventData, StreamState};
use futures::stream::BoxStream;
use tokio::sync::watch;

use super::{AppendError, Appended, Direction, EventLog, ExpectedRevision, Filter, LogHealth, ReadError, check_append};
use crate::envelope::{NewEvent, Position, RecordedEvent, Revision, StreamName};
use crate::ids::EventId;

mod bell;
mod connection;
mod follow;
mod found_ids;
mod reads;
mod records;
#[cfg(all(test, feature = "testing"))]
mod tests;
mod times;

use bell::Bell;
use connection::{Connection, in_time};
use found_ids::FoundIds;
use records::{Appends, Stored};
use times::Times;

/// When to try again after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When to try again after a refusal that somebody has to see to.
const RETRY_AFTER_REFUSAL: Duration = Duration::from_secs(30);

/// The server's default limit. **Source:** its manual, "Configuration", `MaxAppendSize`, 23.10.
const MAX_APPEND_BYTES: usize = 1024 * 1024;

/// How a log in EventStoreDB is used.
#[derive(Clone)]
pub struct EventStoreConfig {
    /// The connection string, `esdb://…` or `kurrentdb://…`, with credentials and what there is to say of TLS
    /// (`tls`, `tlsVerifyCert`, `tlsCaFile`). It is never printed.
    pub connection: String,
    /// How long a call may wait for its answer, or a read for its next event.
    pub patience: Duration,
    /// After how many failures in a row the client is made anew.
    pub rebuild_after: u32,
    /// How often the end of the log is looked at, in case the server's subscription says nothing.
    pub look_every: Duration,
    /// How long a subscription tries to go on before it ends with an error.
    pub give_up_after: Duration,
    /// The server's limit for one append, in bytes of data, metadata and type names.
    pub max_append_bytes: usize,
}

impl EventStoreConfig {
    /// The usual settings for the server of a connection string.
    #[must_use]
    pub fn new(connection: impl Into<String>) -> Self {
        Self {
            connection: connection.into(),
            patience: Duration::from_secs(10),
            rebuild_after: 3,
            look_every: Duration::from_millis(250),
            give_up_after: Duration::from_secs(60),
            max_append_bytes: MAX_APPEND_BYTES,
        }
    }
}

/// Why a log cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The connection string is wrong.
    #[error("connection string of EventStoreDB: {0}")]
    Connection(String),
    /// The client cannot be made: certificates that cannot be read, for one.
    #[error("client of EventStoreDB cannot be made: {0}")]
    Client(String),
    /// The thread of the subscription cannot be started.
    #[error("thread of the subscription cannot be started")]
    Thread(#[source] std::io::Error),
}

/// A log in EventStoreDB or KurrentDB.
pub struct EventStoreLog {
    log: Arc<Log>,
    bell: Bell,
    max_append_bytes: usize,
}

/// What subscriptions share with the log they are of.
struct Log {
    connection: Connection,
    /// The furthest position heard of: of an append, from the server's subscription, by looking.
    head: Arc<watch::Sender<Position>>,
    ids: FoundIds,
    times: Times,
    appends: Appends,
    give_up_after: Duration,
}

impl EventStoreLog {
    /// A log on the server of the configuration, which need not be there yet.
    ///
    /// # Errors
    /// See [`OpenError`].
    ///
    /// # Panics
    /// Outside a tokio runtime; and when the client meets something in the file of `tlsCaFile` that begins like a
    /// certificate and is none.
    pub fn open(config: EventStoreConfig) -> Result<Self, OpenError> {
        let settings: ClientSettings = config
            .connection
            .parse()
            .map_err(|error: eventstore::ClientSettingsParseError| OpenError::Connection(error.message().to_owned()))?;
        let connection = Connection::open(settings.clone(), config.patience, config.rebuild_after)?;
        let head = Arc::new(watch::Sender::new(Position::START));
        let log = Arc::new(Log {
            connection,
            head: Arc::clone(&head),
            ids: FoundIds::default(),
            times: Times::default(),
            appends: Appends::new(),
            give_up_after: config.give_up_after,
        });
        let bell = Bell::hang(settings, &log, config.look_every).map_err(OpenError::Thread)?;
        Ok(Self { log, bell, max_append_bytes: config.max_append_bytes })
    }
}

#[async_trait]
impl EventLog for EventStoreLog {
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        check_append(&events)?;
        let number = self.log.appends.next();
        let (encoded, size_bytes) = records::encode(&events, &number)?;
        if size_bytes > self.max_append_bytes {
            return Err(TOO_LARGE);
        }
        let appended = self.log.append(stream, expected, &events, encoded, &number).await?;
        self.bell.ring(appended.position);
        Ok(appended)
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        self.log.read_stream(stream, from, direction, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<(Vec<RecordedEvent>, Position), ReadError> {
        self.log.read_all(after, filter, limit).await
    }

    /// The server has no index of ids. The first call reads the whole log and keeps 8 bytes of each id and its position;
    /// each further one reads what was added since. About 20 bytes of memory per event.
    async fn find(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.log.ids.find(&self.log, id).await
    }

    /// Position of the last event in a stream of ours.
    async fn head(&self) -> Result<Position, ReadError> {
        self.log.head().await
    }

    /// The server has no index of times. The log is read backwards from the hour after `time`, if a read has passed there
    /// since this process started, else from its end.
    async fn position_at(&self, time: DateTime<Utc>) -> Result<Position, ReadError> {
        times::position_at(&self.log, time).await
    }

    fn subscribe(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<RecordedEvent, ReadError>> {
        follow::subscribe(Arc::clone(&self.log), after, filter)
    }

    /// Halted after several failures in a row; the end of the log is looked at all the time, so it does not stay so.
    fn health(&self) -> LogHealth {
        self.log.connection.health()
    }
}

const TOO_LARGE: AppendError =
    AppendError::Invalid("more bytes than the server takes in one append (its MaxAppendSize, max_append_bytes here)");

impl Log {
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: &[NewEvent],
        encoded: Vec<EventData>,
        number: &str,
    ) -> Result<Appended, AppendError> {
        let state = match expected {
            ExpectedRevision::Any => StreamState::Any,
            ExpectedRevision::NoStream => StreamState::NoStream,
            ExpectedRevision::Exact(revision) => StreamState::StreamRevision(revision.0),
        };
        let (name, patience) = (stream.to_string(), self.connection.patience());
        let written = self.connection.run(|client| {
            let (name, encoded) = (name.clone(), encoded.clone());
            let options = AppendToStreamOptions::default().stream_state(state).requires_leader(true).deadline(patience);
            async move { in_time(patience, client.append_to_stream(name.as_str(), &options, encoded)).await }
        });
        match written.await {
            Ok(written) => self.confirm(stream, events, number, written.next_expected_version).await,
            Err(error) => Err(refused(error, expected, events)),
        }
    }

    /// Reads back what the server says it has.
    async fn confirm(
        &self,
        stream: &StreamName,
        events: &[NewEvent],
        number: &str,
        last: u64,
    ) -> Result<Appended, AppendError> {
        let unreadable = |error: ReadError| {
            let reason = format!("an append was answered and could not be read back: {error}");
            AppendError::Unavailable { reason, retry_after: RETRY_AFTER }
        };
        let first = (last + 1).checked_sub(events.len() as u64).ok_or(AppendError::IdTaken(events[0].id))?;
        let end = self.stored(stream, last, 1).await.map_err(unreadable)?;
        let [end] = &end[..] else { return Err(unreadable(ReadError::Unavailable("it is not there".into()))) };
        let appended = Appended {
            first_revision: Revision(first),
            last_revision: Revision(last),
            position: end.event.position,
            repeated: end.append != number,
        };
        if appended.repeated {
            let stored = self.stored(stream, first, events.len()).await.map_err(unreadable)?;
            let same = |new: &NewEvent, old: Option<&Stored>| {
                old.is_some_and(|old| old.event.id == new.id && old.digest == new.digest)
            };
            if let Some((_, other)) = (0..).zip(events).find(|(index, new)| !same(new, stored.get(*index))) {
                return Err(AppendError::IdTaken(other.id));
            }
        }
        Ok(appended)
    }
}

/// What a refused append means.
fn refused(error: eventstore::Error, expected: ExpectedRevision, events: &[NewEvent]) -> AppendError {
    use eventstore::Error;
    match error {
        // Only the ids can be wrong where nothing is expected: some are known, and others are not.
        Error::WrongExpectedVersion { .. } if expected == ExpectedRevision::Any => AppendError::IdTaken(events[0].id),
        Error::WrongExpectedVersion { current, .. } => {
            let actual = match current {
                CurrentRevision::Current(revision) => Some(Revision(revision)),
                CurrentRevision::NoStream => None,
            };
            AppendError::Conflict { expected, actual }
        }
        Error::Grpc { message, .. } if message.starts_with("Maximum Append Size") => TOO_LARGE,
        Error::ResourceDeleted => AppendError::Invalid("the stream was deleted on the server"),
        Error::AccessDenied => {
            AppendError::Unavailable { reason: "access denied".into(), retry_after: RETRY_AFTER_REFUSAL }
        }
        other => AppendError::Unavailable { reason: connection::reason(&other), retry_after: RETRY_AFTER },
    }
}
