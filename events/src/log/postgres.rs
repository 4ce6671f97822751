//! The PostgreSQL log: the strict level of the contract for several processes that append to one table.
//!
//! **Invariant:** positions become visible in order, with no late arrivals. Whoever inserts events holds the *turn*, an
//! advisory lock of the transaction, from before the position is chosen until after the COMMIT is visible; a trigger
//! takes it for those who forget. So positions are dense, are committed in their order, and whatever snapshot shows one
//! shows every lower one: readers need neither locks nor caution. `recorded_at` is chosen within the turn as well and
//! never decreases with position, whatever the clocks of the processes say.
//!
//! A process makes what waits for it in one transaction without waiting for more (the COMMIT in progress is the
//! batching window), so that a turn costs two round trips and one sync for all of it. Reading only what is older than
//! every running transaction (`pg_snapshot_xmin`) was the other way: see `docs/adr/0017-postgresql-as-a-log.md`.
//!
//! PostgreSQL releases locks after a transaction has become visible: `CommitTransaction` in
//! `src/backend/access/transam/xact.c` calls `ProcArrayEndTransaction` before `ResourceOwnerRelease` of locks, both
//! after the sync. A NOTIFY makes its transaction hold a lock of the whole server while it commits
//! (`PreCommit_Notify` in `src/backend/commands/async.c`), so there is one for each group and none for each event.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::Stream;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::envelope::{NewEvent, Position, RecordedEvent, Revision, StreamName};
use crate::ids::EventId;
use crate::log::{
    AppendError, AppendRequest, Appended, Direction, EventLog, ExpectedRevision, Filter, LogHealth, ReadError,
};
use crate::postgres::{Migrations, Postgres, PostgresError};

mod follow;
mod group;
mod import;
mod queue;
mod reader;
mod row;
mod session;
mod writer;

pub use crate::log::Imported;
pub use import::ImportError;
pub(crate) use import::import_within;

use queue::{Answer, Queue, Request, unavailable};

/// The tables, for ever: a change is a further step that keeps every event as it is.
pub(crate) const MIGRATIONS: Migrations =
    Migrations { part: "log", steps: &[("V1__events", include_str!("postgres/events.sql"))] };

/// How a PostgreSQL log is kept.
#[derive(Debug, Clone)]
pub struct PostgresLogConfig {
    /// Most appends that wait for the writer; more are refused as unavailable.
    pub waiting_appends: usize,
    /// Most bytes of payload and metadata that wait for the writer, and so of one append.
    pub waiting_append_bytes: usize,
    /// How long the writer waits for its turn before it answers that the log is unavailable; also how long the server
    /// lets a writer that went silent keep the turn. A statement may take three of them; a server that says nothing for
    /// four, while its connection stands, counts as unavailable.
    pub turn_timeout: Duration,
    /// How often followers look at the log when no notification comes.
    pub look_every: Duration,
    /// How long a subscription tries again before it ends with an error.
    pub outages_hidden_for: Duration,
}

impl Default for PostgresLogConfig {
    fn default() -> Self {
        Self {
            waiting_appends: 8192,
            waiting_append_bytes: 64 << 20,
            turn_timeout: Duration::from_secs(10),
            look_every: Duration::from_secs(1),
            outages_hidden_for: Duration::from_secs(30),
        }
    }
}

/// A log in PostgreSQL.
pub struct PostgresLog {
    postgres: Postgres,
    config: PostgresLogConfig,
    clock: Arc<dyn Clock>,
    queue: Arc<Queue>,
    head: watch::Receiver<Position>,
    /// Why the log cannot be followed now, if it cannot.
    away: Arc<Mutex<Option<String>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    follower: JoinHandle<()>,
}

impl PostgresLog {
    /// Opens the log, making its tables when they are not there.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn open(
        postgres: Postgres,
        config: PostgresLogConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PostgresError> {
        postgres.migrate(&MIGRATIONS).await?;
        let head = watch::Sender::new(reader::head(&postgres).await?);
        let queue = Arc::new(Queue::new(config.waiting_appends, config.waiting_append_bytes));
        let writer = writer::Writer {
            postgres: postgres.clone(),
            turn_timeout: config.turn_timeout,
            clock: Arc::clone(&clock),
            queue: Arc::clone(&queue),
            head: head.clone(),
        };
        // The first connection is made here, so that a server which cannot be written is known at once.
        let session = writer.connect().await?;
        let writer = tokio::spawn(writer.run(session));
        let away = Arc::default();
        let seen = head.subscribe();
        let listener = postgres.listen(&channel(&postgres), config.look_every);
        let follower = tokio::spawn(follow::watch_log(listener, head, Arc::clone(&away)));
        let writer = Mutex::new(Some(writer));
        Ok(Self { postgres, config, clock, queue, head: seen, away, writer, follower })
    }

    /// Finishes the appends that were taken. Appends and subscriptions from now on answer that the log is closed.
    pub async fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            // Only a panic of the writer fails here, and the queue has told everybody of it by then.
            drop(writer.await);
        }
        self.follower.abort();
    }

    /// Takes over the events of another log with their places and times: into an empty log, all or none. What is
    /// appended later goes on after the last.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub async fn import(
        &self,
        events: impl Stream<Item = Result<Imported, ReadError>> + Send,
    ) -> Result<Position, ImportError> {
        import::import(&self.postgres, Box::pin(events)).await
    }

    /// What is handed to the writer, and where its answer comes.
    fn request(&self, append: AppendRequest) -> Result<(Request, oneshot::Receiver<Answer>), AppendError> {
        super::check_append(&append.events)?;
        let (answer, answered) = oneshot::channel();
        let request = Request::new(append, answer)?;
        if request.size_bytes() > self.config.waiting_append_bytes {
            return Err(AppendError::Invalid("too large for one append"));
        }
        Ok((request, answered))
    }
}

impl Drop for PostgresLog {
    /// The writer makes what it has taken and ends by itself.
    fn drop(&mut self) {
        self.queue.close();
        self.follower.abort();
    }
}

#[async_trait]
impl EventLog for PostgresLog {
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        let (request, answered) = self.request(AppendRequest { stream: stream.clone(), expected, events })?;
        self.queue.push(request)?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }

    async fn append_all(&self, appends: Vec<AppendRequest>) -> Vec<Result<Appended, AppendError>> {
        let (mut requests, mut answers) = (Vec::with_capacity(appends.len()), Vec::with_capacity(appends.len()));
        for append in appends {
            answers.push(self.request(append).map(|(request, answered)| {
                requests.push(request);
                answered
            }));
        }
        // All at once, so that they are made in one group.
        self.queue.push_all(requests);
        let mut appended = Vec::with_capacity(answers.len());
        for answer in answers {
            appended.push(match answer {
                Ok(answered) => answered.await.unwrap_or_else(|_| Err(stopped())),
                Err(error) => Err(error),
            });
        }
        appended
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        reader::read_stream(&self.postgres, stream, from, direction, limit).await
    }

    async fn last_revision(&self, stream: &StreamName) -> Result<Option<Revision>, ReadError> {
        reader::last_revision(&self.postgres, stream).await
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<(Vec<RecordedEvent>, Position), ReadError> {
        reader::read_all(&self.postgres, after, filter, limit).await
    }

    async fn find(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        reader::find(&self.postgres, id).await
    }

    async fn head(&self) -> Result<Position, ReadError> {
        Ok(reader::head(&self.postgres).await?)
    }

    async fn position_at(&self, time: DateTime<Utc>) -> Result<Position, ReadError> {
        reader::position_at(&self.postgres, time.timestamp_micros()).await
    }

    fn subscribe(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<RecordedEvent, ReadError>> {
        let hidden_for = self.config.outages_hidden_for;
        let clock = Arc::clone(&self.clock);
        follow::subscribe(self.postgres.clone(), self.head.clone(), after, filter, hidden_for, clock)
    }

    fn health(&self) -> LogHealth {
        match (self.queue.health(), &*self.away.lock()) {
            (LogHealth::Writable, Some(reason)) => LogHealth::Halted { reason: reason.clone() },
            (health, _) => health,
        }
    }
}

/// A page of events after `after` with their digests, for whoever moves a log elsewhere.
pub(crate) async fn read_with_digests(postgres: &Postgres, after: Position) -> Result<Vec<Imported>, ReadError> {
    reader::read_with_digests(postgres, after).await
}

/// The position of the last event.
pub(crate) async fn head(postgres: &Postgres) -> Result<Position, ReadError> {
    Ok(reader::head(postgres).await?)
}

/// The channel on which a log says that it moved; the payload is the new head.
pub(crate) fn channel(postgres: &Postgres) -> String {
    format!("{}_log", postgres.schema())
}

/// The answer of a writer that is gone.
fn stopped() -> AppendError {
    unavailable("log writer has stopped", Duration::from_secs(1))
}

impl From<PostgresError> for ReadError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Corrupt(reason) => Self::Corrupt { position: Position::START, reason },
            PostgresError::Unavailable(_) | PostgresError::Refused(_) => Self::Unavailable(error.to_string()),
        }
    }
}
