//! The embedded log: one SQLite file, one writer thread, a few reader threads.
//!
//! **Invariant:** exactly one process appends to a file (a lock beside it says who). An acknowledged append is in the
//! WAL and synced; its position is the next number, so positions are dense and become visible in order.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use crate::envelope::{NewEvent, Position, RecordedEvent, Revision, StreamName};
use crate::ids::EventId;
use crate::log::{
    AppendError, AppendRequest, Appended, Direction, EventLog, ExpectedRevision, Filter, Imported, LogHealth, ReadError,
};

mod checkpoint;
mod ends;
mod event_ids;
mod follow;
mod heads;
mod import;
mod names;
mod pool;
mod queue;
mod reader;
mod schema;
mod session;
mod streams;
mod tail;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use import::Import;
pub use import::ImportError;

use checkpoint::CheckpointSignal;
use ends::Ends;
use event_ids::EventIds;
use heads::{Heads, HeadsSeen};
use pool::ReadPool;
use queue::{Answer, Queue, Request, unavailable};
use reader::Reader;
use schema::Cache;
use session::{Append, EncodedEvent};
use tail::Tail;

/// When an append counts as made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Once its bytes are synced to the disk (`synchronous=FULL`).
    #[default]
    Synced,
    /// Before (`synchronous=OFF`): a power cut loses acknowledged events. It exists so that the check that no
    /// acknowledgement precedes its sync can be shown to fail; never for real data.
    Unsafe,
}

/// How an embedded log is kept.
#[derive(Debug, Clone)]
pub struct EmbeddedLogConfig {
    /// The file, usually `log.db`. SQLite puts `-wal` and `-shm` beside it, we put `.lock`.
    pub path: PathBuf,
    /// When an append counts as made.
    pub durability: Durability,
    /// Number of reader threads, at least 1.
    pub readers: usize,
    /// Most reads that wait for a reader thread; callers of more wait for a place.
    pub waiting_reads: usize,
    /// Most appends that wait for the writer; more are refused as unavailable.
    pub waiting_appends: usize,
    /// Most bytes of payload and metadata that wait for the writer, and so of one append.
    pub waiting_append_bytes: usize,
    /// Page cache of the writer, in bytes. Larger is not better: a commit after a page split goes through the whole
    /// hash table of the cache (SQLite moves the page over the number of the pending byte page, 0.5 ms at 192 MiB),
    /// while a page that is not in it comes from the page cache of the system in some microseconds.
    pub writer_cache_bytes: u64,
    /// Page cache of each reader, in bytes.
    pub reader_cache_bytes: u64,
    /// How much of the file readers look at where the system has it in memory, in bytes, instead of copying pages. For
    /// whoever reads all of it in a process of its own: a disk that fails to give a page then ends the process
    /// (sqlite.org/mmap.html). SQLite takes at most 2 GiB.
    pub mapped_bytes: u64,
    /// Streams whose last revision the writer remembers.
    pub remembered_streams: usize,
    /// Event ids gathered in memory (some 40 bytes each) before they are moved into their table. When a log is opened
    /// the ids of up to some twice as many events are read. The more, the fewer pages are written for each.
    pub gathered_ids: usize,
    /// The WAL is moved into the database file each time it has grown by this many bytes.
    pub checkpoint_every_bytes: u64,
    /// When the WAL is longer than this, the writer starts it over before the next group. The file is kept at up to
    /// twice this size, because overwriting it is faster than growing it.
    pub wal_limit_bytes: u64,
    /// How often a log opened read-only looks whether the writer's process appended.
    pub follow_every: Duration,
}

impl EmbeddedLogConfig {
    /// The usual settings for a log at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::Synced,
            readers: 4,
            waiting_reads: 1024,
            waiting_appends: 8192,
            waiting_append_bytes: 64 << 20,
            writer_cache_bytes: 32 << 20,
            reader_cache_bytes: 16 << 20,
            mapped_bytes: 0,
            remembered_streams: 100_000,
            gathered_ids: 131_072,
            checkpoint_every_bytes: 16 << 20,
            wal_limit_bytes: 128 << 20,
            follow_every: Duration::from_millis(2),
        }
    }
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another log, here or in another process, appends to this file: stop that one or open it read-only.
    #[error("{path} is in use by another writer")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else: the configured path is wrong.
    #[error("{path} is not an event log: {reason}")]
    NotALog {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file was written by a newer letopis: update. Or by an older one, and is opened read-only: a server that is
    /// started on it brings it up to date.
    #[error("log has format {found}, this letopis knows {known}")]
    UnknownFormat {
        /// The version in the file.
        found: i32,
        /// The version this code writes.
        known: i32,
    },
    /// The SQLite linked in can lose events: build with a newer one.
    #[error("SQLite {found} is too old, {needed} or newer is needed")]
    SqliteTooOld {
        /// Its version number, as in `sqlite3_libversion_number`.
        found: i32,
        /// The oldest one allowed.
        needed: i32,
    },
    /// The file or its folder cannot be used: permissions, a full disk.
    #[error("cannot open the log file: {0}")]
    File(#[from] std::io::Error),
    /// SQLite cannot use the file.
    #[error("cannot open the log: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// The embedded adapter of [`EventLog`].
pub struct EmbeddedLog {
    pool: Arc<ReadPool>,
    heads: HeadsSeen,
    /// Absent when opened read-only.
    queue: Option<Arc<Queue>>,
    ends: Arc<Ends>,
    /// Empty when opened read-only.
    tail: Arc<Tail>,
    waiting_append_bytes: usize,
    #[cfg(any(test, feature = "testing"))]
    most_pages: Arc<AtomicU32>,
    threads: Mutex<Option<Threads>>,
}

/// What runs for a log, in the order in which it is stopped.
struct Threads {
    writer: Option<(Arc<Queue>, JoinHandle<()>)>,
    follower: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
    readers: (Arc<ReadPool>, Vec<JoinHandle<()>>),
    checkpointer: Option<(Arc<CheckpointSignal>, JoinHandle<()>)>,
    /// Held for as long as the log may write.
    lock: Option<File>,
}

impl EmbeddedLog {
    /// Opens the log to append and read, making it if there is none. Blocks for as long as SQLite needs to recover.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(config: EmbeddedLogConfig, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let lock = lock(&config.path)?;
        let (heads, heads_seen) = Heads::new();
        let queue = Arc::new(Queue::new(config.waiting_appends, config.waiting_append_bytes));
        let pages = |bytes: u64| (bytes / u64::from(schema::PAGE_BYTES)).max(1);
        let checkpoints = CheckpointSignal::new(pages(config.checkpoint_every_bytes), pages(config.wal_limit_bytes));
        let checkpoints = Arc::new(checkpoints);
        let most_pages = Arc::new(AtomicU32::new(0));
        let ends = Arc::new(Ends::new(config.remembered_streams));
        let tail = Arc::new(Tail::default());
        let ids = Arc::new(EventIds::new(config.gathered_ids));
        let writer = writer::Writer {
            path: config.path.clone(),
            durability: config.durability,
            cache: Cache { bytes: config.writer_cache_bytes, mapped_bytes: 0 },
            stream_cache: config.remembered_streams,
            wal_limit_bytes: config.wal_limit_bytes,
            clock,
            queue: Arc::clone(&queue),
            heads,
            ends: Arc::clone(&ends),
            tail: Arc::clone(&tail),
            ids: Arc::clone(&ids),
            checkpoints: Arc::clone(&checkpoints),
            most_pages: Arc::clone(&most_pages),
        };
        let mut connection = writer.open()?;
        ids.load(&mut connection)?;
        sync_folder_of(&config.path)?;
        let checkpointer = schema::open_checkpointer(&config.path, config.durability)?;
        let (pool, readers) = open_readers(&config, Some(&ids))?;
        writer.heads.all_reach(
            Reader::open(&config.path, Cache { bytes: 1 << 20, mapped_bytes: 0 }, None)?
                .head()
                .map_err(|error| OpenError::NotALog { path: config.path.clone(), reason: error.to_string() })?,
        );

        let mut threads = Threads {
            writer: None,
            follower: None,
            readers: (Arc::clone(&pool), Vec::new()),
            checkpointer: None,
            lock: Some(lock),
        };
        threads.start_readers(readers)?;
        let signal = Arc::clone(&checkpoints);
        let handle = spawn("log-checkpoint", move || checkpoint::run(&checkpointer, &signal))?;
        threads.checkpointer = Some((checkpoints, handle));
        let handle = spawn("log-writer", move || writer.run(connection))?;
        threads.writer = Some((Arc::clone(&queue), handle));
        Ok(Self {
            pool,
            heads: heads_seen,
            queue: Some(queue),
            ends,
            tail,
            waiting_append_bytes: config.waiting_append_bytes,
            #[cfg(any(test, feature = "testing"))]
            most_pages,
            threads: Mutex::new(Some(threads)),
        })
    }

    /// Opens a log that another process writes, to read and to follow. Appends are refused.
    ///
    /// # Errors
    /// See [`OpenError`]; a log that does not exist yet is [`OpenError::Sqlite`].
    pub fn open_read_only(config: EmbeddedLogConfig) -> Result<Self, OpenError> {
        let (pool, readers) = open_readers(&config, None)?;
        let poller = Reader::open(&config.path, Cache { bytes: 1 << 20, mapped_bytes: 0 }, None)?;
        let (head, head_seen) = watch::channel(Position::START);
        let mut threads = Threads {
            writer: None,
            follower: None,
            readers: (Arc::clone(&pool), Vec::new()),
            checkpointer: None,
            lock: None,
        };
        threads.start_readers(readers)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let handle = spawn("log-follower", move || {
            follow::watch_other_process(poller, config.follow_every, &head, &told);
        })?;
        threads.follower = Some((stop, handle));
        Ok(Self {
            pool,
            heads: HeadsSeen::of_other_process(head_seen),
            queue: None,
            ends: Arc::new(Ends::new(1)),
            tail: Arc::default(),
            waiting_append_bytes: 0,
            #[cfg(any(test, feature = "testing"))]
            most_pages: Arc::default(),
            threads: Mutex::new(Some(threads)),
        })
    }

    /// Finishes the appends that were taken, moves the WAL into the database file and ends the threads. Appends and
    /// reads from now on, and subscriptions, answer that the log is closed. Dropping the log does the same, blocking.
    pub async fn close(&self) {
        let threads = self.threads.lock().take();
        if let Some(threads) = threads {
            // Only a panic of a thread of ours fails here, and the queue has told everybody of it by then.
            drop(tokio::task::spawn_blocking(move || drop(threads)).await);
        }
    }

    /// Events after `after`, a slice of those up to `until`, with their digests: for whoever moves the log elsewhere.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_with_digests(&self, after: Position, until: Position) -> Result<Vec<Imported>, ReadError> {
        self.pool.read(move |reader| reader.read_with_digests(after, until)).await
    }

    /// What is handed to the writer, and where its answer comes.
    fn request(&self, append: AppendRequest) -> Result<(Request, oneshot::Receiver<Answer>), AppendError> {
        let AppendRequest { stream, expected, events } = append;
        super::check_append(&events)?;
        let (events, size_bytes) = encode(events)?;
        if size_bytes > self.waiting_append_bytes {
            return Err(AppendError::Invalid("too large for one append"));
        }
        let (answer, answered) = oneshot::channel();
        Ok((Request { append: Append { stream, expected, events }, size_bytes, answer }, answered))
    }

    /// Bounds the file to this many pages, so that it is really "full" from then on; `None` gives the space back.
    #[cfg(any(test, feature = "testing"))]
    pub fn limit_pages_for_tests(&self, pages: Option<u32>) {
        self.most_pages.store(pages.unwrap_or(0), Ordering::Release);
    }
}

impl Threads {
    fn start_readers(&mut self, readers: Vec<Reader>) -> Result<(), OpenError> {
        for reader in readers {
            let pool = Arc::clone(&self.readers.0);
            self.readers.1.push(spawn("log-reader", move || pool.serve(reader))?);
        }
        Ok(())
    }
}

impl Drop for Threads {
    /// Stops everything; the connection that closes last is the checkpointer's, and SQLite checkpoints then.
    fn drop(&mut self) {
        // A thread that panicked has said so; there is nobody to tell again.
        if let Some((queue, handle)) = self.writer.take() {
            queue.close();
            drop(handle.join());
        }
        if let Some((stop, handle)) = self.follower.take() {
            stop.store(true, Ordering::Release);
            handle.thread().unpark();
            drop(handle.join());
        }
        self.readers.0.close();
        for handle in self.readers.1.drain(..) {
            drop(handle.join());
        }
        if let Some((signal, handle)) = self.checkpointer.take() {
            signal.close();
            drop(handle.join());
        }
        drop(self.lock.take());
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        let Some(queue) = &self.queue else {
            return Err(unavailable("log is opened read-only", Duration::from_secs(60)));
        };
        let (request, answered) = self.request(AppendRequest { stream: stream.clone(), expected, events })?;
        queue.push(request)?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }

    async fn append_all(&self, appends: Vec<AppendRequest>) -> Vec<Result<Appended, AppendError>> {
        let Some(queue) = &self.queue else {
            let refused = || Err(unavailable("log is opened read-only", Duration::from_secs(60)));
            return appends.iter().map(|_| refused()).collect();
        };
        let (mut requests, mut answers) = (Vec::with_capacity(appends.len()), Vec::with_capacity(appends.len()));
        for append in appends {
            answers.push(self.request(append).map(|(request, answered)| {
                requests.push(request);
                answered
            }));
        }
        // All at once, so that they are made in one group.
        queue.push_all(requests);
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
        let mut events: Vec<RecordedEvent> = Vec::new();
        let mut from = from;
        while events.len() < limit {
            let (stream, missing) = (stream.clone(), limit - events.len());
            let slice = self.pool.read(move |reader| reader.read_stream(&stream, from, direction, missing)).await?;
            let Some(last) = slice.last() else { break };
            let next = match direction {
                Direction::Forwards => Some(last.revision.next()),
                Direction::Backwards => last.revision.0.checked_sub(1).map(Revision),
            };
            if events.is_empty() {
                events = slice
            } else {
                events.extend(slice)
            }
            if next.is_none() {
                break;
            }
            from = next;
        }
        Ok(events)
    }

    async fn last_revision(&self, stream: &StreamName) -> Result<Option<Revision>, ReadError> {
        let turn = match self.ends.get(stream) {
            Ok(revision) => return Ok(Some(revision)),
            Err(turn) => turn,
        };
        let last = self.read_stream(stream, None, Direction::Backwards, 1).await?;
        let Some(last) = last.first().map(|event| event.revision) else { return Ok(None) };
        // Opened read-only nobody tells us of appends.
        if self.queue.is_some() {
            self.ends.was_read(stream, last, turn);
        }
        Ok(Some(last))
    }

    async fn read_all(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<(Vec<RecordedEvent>, Position), ReadError> {
        let (mut events, mut searched): (Vec<RecordedEvent>, _) = (Vec::new(), after);
        while events.len() < limit {
            let (filter, missing) = (filter.clone(), limit - events.len());
            let slice = self.pool.read(move |reader| reader.read_all(searched, &filter, missing)).await?;
            searched = slice.searched;
            if events.is_empty() {
                events = slice.events
            } else {
                events.extend(slice.events)
            }
            if slice.searched >= slice.head {
                break;
            }
        }
        Ok((events, searched))
    }

    async fn find(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.pool.read(move |reader| reader.find(id)).await
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.pool.read(|reader| reader.head()).await
    }

    async fn position_at(&self, time: DateTime<Utc>) -> Result<Position, ReadError> {
        self.pool.read(move |reader| reader.position_at(time.timestamp_micros())).await
    }

    fn subscribe(&self, after: Position, filter: Filter) -> BoxStream<'static, Result<RecordedEvent, ReadError>> {
        let head = self.heads.of(&filter);
        follow::subscribe(Arc::clone(&self.pool), Arc::clone(&self.tail), head, after, filter)
    }

    fn health(&self) -> LogHealth {
        match &self.queue {
            Some(queue) => queue.health(),
            None => LogHealth::Halted { reason: "log is opened read-only".into() },
        }
    }
}

/// The answer of a writer that is gone.
fn stopped() -> AppendError {
    unavailable("log writer has stopped", Duration::from_secs(1))
}

/// Does on the caller's thread what need not be done on the writer's.
fn encode(events: Vec<NewEvent>) -> Result<(Vec<EncodedEvent>, usize), AppendError> {
    let mut size_bytes = 0;
    let mut encoded = Vec::with_capacity(events.len());
    for event in events {
        let metadata = serde_json::to_string(&event.metadata)
            .map_err(|_| AppendError::Invalid("metadata cannot be written as JSON"))?;
        size_bytes += metadata.len() + event.payload.len();
        encoded.push(EncodedEvent { event, metadata });
    }
    Ok((encoded, size_bytes))
}

fn open_readers(
    config: &EmbeddedLogConfig,
    ids: Option<&Arc<EventIds>>,
) -> Result<(Arc<ReadPool>, Vec<Reader>), OpenError> {
    let cache = Cache { bytes: config.reader_cache_bytes, mapped_bytes: config.mapped_bytes };
    let readers = (0..config.readers.max(1)).map(|_| Reader::open(&config.path, cache, ids.cloned()));
    let readers = readers.collect::<Result<_, _>>()?;
    Ok((Arc::new(ReadPool::new(config.waiting_reads.max(1))), readers))
}

/// Takes the lock of the only writer. A file of its own, because closing any other handle of the database file would
/// drop SQLite's POSIX locks on it (sqlite.org/howtocorrupt.html, section 2.2).
pub(crate) fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(PathBuf::from(name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Makes the name of a new file durable, not only its content.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}
