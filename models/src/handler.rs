//! Load, fold, decide, append, retry on conflict: the one write path.
//!
//! **Invariant:** only this file appends domain events. A command handled twice writes once: the ids of its events
//! follow from its own id. The state of busy streams stays in memory, so that the cost of an append does not grow
//! with the length of its stream.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use events::DomainEvent;
use events::codec::{Codec, CodecError};
use events::envelope::{Position, Revision, StreamName};
use events::ids::CommandId;
use events::log::{AppendError, Direction, EventLog, ExpectedRevision, ReadError};
use futures::lock::Mutex;
use moka::sync::Cache;
use uuid::Uuid;

use crate::command::Origin;
use crate::decider::Decider;

/// Streams whose state is kept in memory.
const CACHED_STREAMS: u64 = 50_000;
/// A stream that nobody commands for this time is forgotten.
const IDLE: Duration = Duration::from_secs(3600);
/// Events read at a time when a stream is loaded.
const SLICE: usize = 1_000;
/// Commands of a stream that are remembered with their results.
const REMEMBERED: usize = 1_024;
/// Tries before a conflict is given up. Each conflict means that somebody else made progress.
const TRIES: u32 = 32;

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// The stream it was for.
    pub stream: StreamName,
    /// The last revision of the stream now; `None` while it has no events.
    pub revision: Option<Revision>,
    /// Position to read at, to see what the command did: that of its last event, or of the stream's last event when
    /// there was nothing to do.
    pub position: Position,
    /// True when this call wrote events.
    pub written: bool,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum HandleError<R: std::error::Error + 'static> {
    /// A rule refused it: tell whoever wished.
    #[error(transparent)]
    Rejected(R),
    /// Too many others write to the same stream: try again.
    #[error("too many conflicts on {0}")]
    Contended(StreamName),
    /// The same id was used for another command: the caller's idempotency key is wrong.
    #[error("this command id was used for another command")]
    IdTaken,
    /// The log or the key store cannot be used now; it is unknown whether the command was carried out. Send it again
    /// with the same id.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// What is wrong.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// What the log holds cannot be read: stop.
    #[error("stream {stream} cannot be read: {reason}")]
    Corrupt {
        /// Which stream.
        stream: StreamName,
        /// Why.
        reason: String,
    },
}

/// Carries out commands.
#[derive(Clone)]
pub struct Handler {
    log: Arc<dyn EventLog>,
    codec: Codec,
    loaded: Cache<StreamName, Arc<dyn Any + Send + Sync>>,
}

struct Loaded<D: Decider> {
    state: D::State,
    revision: Option<Revision>,
    position: Position,
    results: HashMap<CommandId, Position>,
    remembered: VecDeque<CommandId>,
}

impl<D: Decider> Default for Loaded<D> {
    fn default() -> Self {
        Self {
            state: D::State::default(),
            revision: None,
            position: Position::START,
            results: HashMap::new(),
            remembered: VecDeque::new(),
        }
    }
}

impl<D: Decider> Loaded<D> {
    fn take(&mut self, event: &D::Event, revision: Revision, position: Position, command: Option<CommandId>) {
        D::evolve(&mut self.state, event, revision);
        self.revision = Some(revision);
        self.position = position;
        let Some(command) = command else { return };
        if self.results.insert(command, position).is_none() {
            self.remembered.push_back(command);
            if self.remembered.len() > REMEMBERED
                && let Some(oldest) = self.remembered.pop_front()
            {
                self.results.remove(&oldest);
            }
        }
    }

    fn handled(&self, stream: &StreamName, position: Position, written: bool) -> Handled {
        Handled { stream: stream.clone(), revision: self.revision, position, written }
    }
}

impl Handler {
    /// A handler on `log`.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>, codec: Codec) -> Self {
        let loaded = Cache::builder().max_capacity(CACHED_STREAMS).time_to_idle(IDLE).build();
        Self { log, codec, loaded }
    }

    /// The codec it writes with.
    #[must_use]
    pub const fn codec(&self) -> &Codec {
        &self.codec
    }

    /// The log it writes to.
    #[must_use]
    pub const fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    /// Carries out a command on the stream of `id`.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn handle<D: Decider>(
        &self,
        id: Uuid,
        origin: &Origin,
        command: D::Command,
    ) -> Result<Handled, HandleError<D::Rejection>> {
        self.handle_then::<D, _>(id, origin, command, |_| ()).await.map(|(handled, ())| handled)
    }

    /// Carries out a command and reads the state that follows, in one step.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn handle_then<D: Decider, T>(
        &self,
        id: Uuid,
        origin: &Origin,
        command: D::Command,
        read: impl FnOnce(&D::State) -> T + Send,
    ) -> Result<(Handled, T), HandleError<D::Rejection>> {
        let stream = StreamName::new(D::CATEGORY, origin.tenant.clone(), id);
        let slot = self.slot::<D>(&stream);
        let mut loaded = slot.lock().await;
        if loaded.revision.is_none() {
            self.catch_up::<D>(&stream, &mut loaded).await?;
        }
        for _ in 0..TRIES {
            if let Some(position) = loaded.results.get(&origin.id).copied() {
                return Ok((loaded.handled(&stream, position, false), read(&loaded.state)));
            }
            let events = match D::decide(&loaded.state, command.clone()) {
                Ok(events) => events,
                Err(rejection) => {
                    // A command older than those remembered is told its result, not that it comes too late.
                    return match self.log.find(origin.id.event(0)).await.map_err(unreadable)? {
                        Some(event) if event.stream == stream => {
                            Ok((loaded.handled(&stream, event.position, false), read(&loaded.state)))
                        }
                        Some(_) | None => Err(HandleError::Rejected(rejection)),
                    };
                }
            };
            if events.is_empty() {
                return Ok((loaded.handled(&stream, loaded.position, false), read(&loaded.state)));
            }
            match self.append::<D>(&stream, origin, &mut loaded, events).await? {
                Step::Written(position) => return Ok((loaded.handled(&stream, position, true), read(&loaded.state))),
                Step::Again => {}
            }
        }
        Err(HandleError::Contended(stream))
    }

    /// Reads the state of a stream as of its last event.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn inspect<D: Decider, T>(
        &self,
        stream: &StreamName,
        read: impl FnOnce(&D::State) -> T + Send,
    ) -> Result<T, HandleError<D::Rejection>> {
        let slot = self.slot::<D>(stream);
        let mut loaded = slot.lock().await;
        self.catch_up::<D>(stream, &mut loaded).await?;
        Ok(read(&loaded.state))
    }

    fn slot<D: Decider>(&self, stream: &StreamName) -> Arc<Mutex<Loaded<D>>> {
        let slot = self
            .loaded
            .get_with_by_ref(stream, || Arc::new(Mutex::new(Loaded::<D>::default())) as Arc<dyn Any + Send + Sync>);
        slot.downcast().expect("a category has one decider, and the stream name holds the category")
    }

    async fn append<D: Decider>(
        &self,
        stream: &StreamName,
        origin: &Origin,
        loaded: &mut Loaded<D>,
        events: Vec<D::Event>,
    ) -> Result<Step, HandleError<D::Rejection>> {
        let mut encoded = Vec::with_capacity(events.len());
        for (index, event) in (0..).zip(&events) {
            let event: DomainEvent = event.clone().into();
            let new = self.codec.encode(origin.id.event(index), stream, origin.metadata(), event).await;
            encoded.push(new.map_err(|error| not_coded(stream, error))?);
        }
        let expected = loaded.revision.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        match self.log.append(stream, expected, encoded).await {
            Ok(appended) if appended.repeated => {
                // Written by an earlier try of the same command that we did not see the end of.
                self.catch_up::<D>(stream, loaded).await?;
                Ok(Step::Written(appended.position))
            }
            Ok(appended) => {
                for (offset, event) in (0..).zip(&events) {
                    let revision = Revision(appended.first_revision.0 + offset);
                    loaded.take(event, revision, appended.position, Some(origin.id));
                }
                Ok(Step::Written(appended.position))
            }
            Err(AppendError::Conflict { .. }) => {
                self.catch_up::<D>(stream, loaded).await?;
                Ok(Step::Again)
            }
            Err(AppendError::IdTaken(_)) => Err(HandleError::IdTaken),
            Err(AppendError::Invalid(reason)) => {
                Err(HandleError::Corrupt { stream: stream.clone(), reason: reason.to_owned() })
            }
            Err(AppendError::Unavailable { reason, retry_after }) => {
                // Whether it was written is not known: forget what we believe of the stream.
                self.loaded.invalidate(stream);
                Err(HandleError::Unavailable { reason, retry_after })
            }
        }
    }

    /// Folds what the log has beyond what is loaded.
    async fn catch_up<D: Decider>(
        &self,
        stream: &StreamName,
        loaded: &mut Loaded<D>,
    ) -> Result<(), HandleError<D::Rejection>> {
        loop {
            let from = loaded.revision.map(Revision::next);
            let slice = self.log.read_stream(stream, from, Direction::Forwards, SLICE).await.map_err(unreadable)?;
            let last = slice.len() < SLICE;
            for recorded in slice {
                let (revision, position) = (recorded.revision, recorded.position);
                let command = recorded.metadata.command;
                let decoded = if D::READS_PERSONAL {
                    self.codec.decode_open(recorded).await
                } else {
                    self.codec.decode(recorded)
                };
                let decoded = decoded.map_err(|error| not_coded(stream, error))?;
                let event = D::Event::try_from(decoded.event).map_err(|_| HandleError::Corrupt {
                    stream: stream.clone(),
                    reason: format!("revision {} is not an event of this category", revision.0),
                })?;
                loaded.take(&event, revision, position, command);
            }
            if last {
                return Ok(());
            }
        }
    }
}

enum Step {
    Written(Position),
    Again,
}

/// How long a caller should wait when a read or a key failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn unreadable<R: std::error::Error + 'static>(error: ReadError) -> HandleError<R> {
    HandleError::Unavailable { reason: error.to_string(), retry_after: RETRY_AFTER }
}

fn not_coded<R: std::error::Error + 'static>(stream: &StreamName, error: CodecError) -> HandleError<R> {
    use events::seal::{KeyStoreError, SealerError};
    match error {
        CodecError::Seal(SealerError::Keys(KeyStoreError::Unavailable(reason))) => {
            HandleError::Unavailable { reason, retry_after: RETRY_AFTER }
        }
        CodecError::Seal(_)
        | CodecError::UnknownType(_)
        | CodecError::Upcast { .. }
        | CodecError::Malformed(_)
        | CodecError::NotSealed(_) => HandleError::Corrupt { stream: stream.clone(), reason: error.to_string() },
    }
}
