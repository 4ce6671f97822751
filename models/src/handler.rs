//! Load, fold, decide, append, retry on conflict: the one write path.
//!
//! **Invariant:** only this file appends domain events. A command handled twice writes once: the ids of its events
//! follow from its own id. The state of busy streams stays in memory, so that the cost of an append does not grow
//! with the length of its stream. It may lag behind the log (another process appends too, a caller goes away in the
//! middle) and nobody decides on one that is ahead of it: an append proves itself by its expected revision, and nobody
//! is refused or told that there is nothing to do before the log was read to its end.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use events::DomainEvent;
use events::codec::{Codec, CodecError};
use events::envelope::{Category, Position, Revision, StreamName, Wish};
use events::ids::CommandId;
use events::log::{AppendError, Direction, EventLog, ExpectedRevision, ReadError};
use futures::lock::Mutex;
use moka::sync::Cache;
use uuid::Uuid;

use crate::command::Origin;
use crate::decider::Decider;

mod clocks;
mod together;

pub use clocks::{NothingRefused, Timing};
pub use together::{Answers, Commands};

/// Streams whose state is kept in memory.
const CACHED_STREAMS: u64 = 50_000;
/// A stream that nobody commands for this time is forgotten.
const IDLE: Duration = Duration::from_secs(3600);
/// Events read at a time when a stream is loaded.
const SLICE: usize = 1_000;
/// Commands of a stream that are remembered with their results.
const REMEMBERED: usize = 1_024;
/// More events than any command writes.
const MOST_EVENTS: usize = 16;
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
    /// True when this call wrote events; false when there was nothing to do or an earlier call with the same id had
    /// written them. Whoever touches the wire because of a command does so only when this is true.
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
    /// The same id was used for a command on another stream or with another wish: the caller's idempotency key is
    /// wrong. Only a command that wrote events can be told apart: one that was refused or had nothing to do leaves
    /// nothing to compare with, so its id is free.
    #[error("this command id was used for another command")]
    IdTaken,
    /// The person it is about was erased; nothing more can be written for them: drop it, or find out who holds the
    /// contact point now.
    #[error("the person it is about was erased")]
    Erased,
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
    sole_writer: bool,
}

struct Loaded<D: Decider> {
    state: D::State,
    revision: Option<Revision>,
    position: Position,
    results: HashMap<CommandId, Earlier>,
    remembered: VecDeque<CommandId>,
    /// True from the moment an append is on its way until it is answered: whether it was made is not known, so that
    /// the log is looked at before this counts as all there is.
    in_doubt: bool,
    /// True while the state holds events whose append was not answered.
    ahead: bool,
}

/// What an earlier command wished and where its events end.
#[derive(Debug, Clone, Copy)]
struct Earlier {
    wish: Option<Wish>,
    position: Position,
}

impl Earlier {
    /// The position, if what is wished under the same id now can be the same wish: where one of the two is not known,
    /// the id alone decides.
    fn answer<R: std::error::Error>(self, origin: &Origin) -> Result<Position, HandleError<R>> {
        match (self.wish, origin.wish) {
            (Some(then), Some(now)) if then != now => Err(HandleError::IdTaken),
            _ => Ok(self.position),
        }
    }
}

impl<D: Decider> Default for Loaded<D> {
    fn default() -> Self {
        Self {
            state: D::State::default(),
            revision: None,
            position: Position::START,
            results: HashMap::new(),
            remembered: VecDeque::new(),
            in_doubt: false,
            ahead: false,
        }
    }
}

impl<D: Decider> Loaded<D> {
    fn take(
        &mut self,
        event: &D::Event,
        revision: Revision,
        position: Position,
        command: Option<(CommandId, Option<Wish>)>,
    ) {
        D::evolve(&mut self.state, event, revision);
        self.revision = Some(revision);
        self.position = position;
        if let Some((command, wish)) = command {
            self.remember(command, Earlier { wish, position });
        }
    }

    fn remember(&mut self, command: CommandId, earlier: Earlier) {
        if self.results.insert(command, earlier).is_none() {
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
        Self { log, codec, loaded, sole_writer: false }
    }

    /// The same for a log that nobody else writes domain events to, as the embedded one: what is in memory is all there
    /// is, so a command that changes nothing needs no look at the log. Raw deliveries come in past the handler, so
    /// intake streams are always read.
    #[must_use]
    pub fn sole_writer(self) -> Self {
        Self { sole_writer: true, ..self }
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
        // Held over awaits, so that commands of one stream queue up here and not as conflicts at the log.
        let slot = self.slot::<D>(&stream);
        let mut loaded = slot.lock().await;
        loaded.back_to_the_log();
        if loaded.revision.is_none() {
            self.catch_up::<D>(&stream, &mut loaded).await?;
        }
        for _ in 0..TRIES {
            if let Some(earlier) = loaded.results.get(&origin.id) {
                let position = earlier.answer(origin)?;
                return Ok((loaded.handled(&stream, position, false), read(&loaded.state)));
            }
            let refused = match D::decide(&loaded.state, command.clone()) {
                Ok(events) if !events.is_empty() => {
                    match self.append::<D>(&stream, origin, &mut loaded, events).await? {
                        Step::Done(position, written) => {
                            return Ok((loaded.handled(&stream, position, written), read(&loaded.state)));
                        }
                        Step::Again => continue,
                    }
                }
                Ok(_) => None,
                Err(rejection) => Some(rejection),
            };
            if refused.is_none() && self.is_current::<D>(&loaded) {
                return Ok((loaded.handled(&stream, loaded.position, false), read(&loaded.state)));
            }
            let before = loaded.revision;
            self.catch_up::<D>(&stream, &mut loaded).await?;
            if loaded.revision != before {
                continue;
            }
            return match (self.recall::<D>(&stream, origin, &loaded).await?, refused) {
                (Some(position), _) => Ok((loaded.handled(&stream, position, false), read(&loaded.state))),
                (None, None) => Ok((loaded.handled(&stream, loaded.position, false), read(&loaded.state))),
                (None, Some(rejection)) => Err(HandleError::Rejected(rejection)),
            };
        }
        Err(HandleError::Contended(stream))
    }

    /// Writes facts that no rule could refuse, whatever else stands in their stream: what became of a raw delivery.
    /// Sent again, the same facts change nothing.
    ///
    /// # Errors
    /// [`HandleError::Unavailable`], [`HandleError::Corrupt`] and [`HandleError::IdTaken`].
    pub async fn record<R: std::error::Error + 'static>(
        &self,
        stream: &StreamName,
        origin: &Origin,
        facts: Vec<DomainEvent>,
    ) -> Result<Position, HandleError<R>> {
        let mut encoded = Vec::with_capacity(facts.len());
        for (index, fact) in (0..).zip(facts) {
            let new = self.codec.encode(origin.id.event(index), stream, origin.metadata(), fact).await;
            encoded.push(new.map_err(|error| not_coded(stream, error))?);
        }
        match self.log.append(stream, ExpectedRevision::Any, encoded).await {
            Ok(appended) => Ok(appended.position),
            Err(AppendError::IdTaken(_)) => Err(HandleError::IdTaken),
            Err(AppendError::Unavailable { reason, retry_after }) => {
                Err(HandleError::Unavailable { reason, retry_after })
            }
            Err(error @ (AppendError::Conflict { .. } | AppendError::Invalid(_))) => {
                Err(HandleError::Corrupt { stream: stream.clone(), reason: error.to_string() })
            }
        }
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
        loaded.back_to_the_log();
        if !self.is_current::<D>(&loaded) {
            self.catch_up::<D>(stream, &mut loaded).await?;
        }
        Ok(read(&loaded.state))
    }

    /// True when nothing can stand in the log that is not in memory.
    fn is_current<D: Decider>(&self, loaded: &Loaded<D>) -> bool {
        self.sole_writer && D::CATEGORY != Category::Intake && loaded.revision.is_some() && !loaded.in_doubt
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
        // Stays so when the caller goes away here.
        let doubted = std::mem::replace(&mut loaded.in_doubt, true);
        let answer = self.log.append(stream, expected, encoded).await;
        // One that was made leaves no room for any that was on its way: they expect an earlier revision.
        loaded.in_doubt = match &answer {
            Ok(appended) if !appended.repeated => false,
            Err(AppendError::Unavailable { .. }) => true,
            Ok(_) | Err(AppendError::Conflict { .. } | AppendError::IdTaken(_) | AppendError::Invalid(_)) => doubted,
        };
        match answer {
            Ok(appended) if appended.repeated => {
                // Written by an earlier try of the same command that we did not see the end of.
                self.catch_up::<D>(stream, loaded).await?;
                if origin.wish.is_some() {
                    // The same events may follow from another wish.
                    self.recall::<D>(stream, origin, loaded).await?;
                }
                Ok(Step::Done(appended.position, false))
            }
            Ok(appended) => {
                for (offset, event) in (0..).zip(&events) {
                    let revision = Revision(appended.first_revision.0 + offset);
                    loaded.take(event, revision, appended.position, Some((origin.id, origin.wish)));
                }
                Ok(Step::Done(appended.position, true))
            }
            Err(AppendError::Conflict { .. }) => {
                self.catch_up::<D>(stream, loaded).await?;
                Ok(Step::Again)
            }
            Err(AppendError::IdTaken(_)) => {
                // Older than the commands remembered, and decided otherwise today: its first result stands.
                self.catch_up::<D>(stream, loaded).await?;
                let recalled = self.recall::<D>(stream, origin, loaded).await?;
                recalled.map_or(Err(HandleError::IdTaken), |position| Ok(Step::Done(position, false)))
            }
            Err(AppendError::Invalid(reason)) => {
                Err(HandleError::Corrupt { stream: stream.clone(), reason: reason.to_owned() })
            }
            // Whether it was written is not known. What we hold is behind the log at worst, and that is allowed.
            Err(AppendError::Unavailable { reason, retry_after }) => {
                Err(HandleError::Unavailable { reason, retry_after })
            }
        }
    }

    /// Where the events of this command ended when it was carried out on this stream; it may be older than those
    /// remembered. Refused when another wish was carried out. Call it with the stream read to its end.
    async fn recall<D: Decider>(
        &self,
        stream: &StreamName,
        origin: &Origin,
        loaded: &Loaded<D>,
    ) -> Result<Option<Position>, HandleError<D::Rejection>> {
        if let Some(earlier) = loaded.results.get(&origin.id) {
            return earlier.answer(origin).map(Some);
        }
        if loaded.remembered.len() < REMEMBERED {
            return Ok(None);
        }
        let unreadable = |error| unreadable(stream, error);
        let Some(first) = self.log.find(origin.id.event(0)).await.map_err(unreadable)? else { return Ok(None) };
        if first.stream != *stream {
            return Ok(None);
        }
        let slice = self
            .log
            .read_stream(stream, Some(first.revision), Direction::Forwards, MOST_EVENTS)
            .await
            .map_err(unreadable)?;
        let own = slice.iter().take_while(|event| event.metadata.command == Some(origin.id));
        let position = own.last().map_or(first.position, |last| last.position);
        Earlier { wish: first.metadata.wish, position }.answer(origin).map(Some)
    }

    /// Folds what the log has beyond what is loaded.
    async fn catch_up<D: Decider>(
        &self,
        stream: &StreamName,
        loaded: &mut Loaded<D>,
    ) -> Result<(), HandleError<D::Rejection>> {
        // Most often nothing was added, and the log knows that without reading.
        if loaded.revision.is_some() {
            let last = self.log.last_revision(stream).await.map_err(|error| unreadable(stream, error))?;
            if last == loaded.revision {
                return Ok(());
            }
        }
        loop {
            let from = loaded.revision.map(Revision::next);
            let slice = self.log.read_stream(stream, from, Direction::Forwards, SLICE).await;
            let slice = slice.map_err(|error| unreadable(stream, error))?;
            let last = slice.len() < SLICE;
            for recorded in slice {
                let (revision, position) = (recorded.revision, recorded.position);
                let command = recorded.metadata.command.map(|command| (command, recorded.metadata.wish));
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

/// What came of a try to append.
enum Step {
    /// The command's events end at this position; true when this call wrote them.
    Done(Position, bool),
    /// Others were faster: decide anew.
    Again,
}

/// How long a caller should wait when a read or a key failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn unreadable<R: std::error::Error + 'static>(stream: &StreamName, error: ReadError) -> HandleError<R> {
    match error {
        ReadError::Unavailable(reason) => HandleError::Unavailable { reason, retry_after: RETRY_AFTER },
        ReadError::Corrupt { .. } => HandleError::Corrupt { stream: stream.clone(), reason: error.to_string() },
    }
}

fn not_coded<R: std::error::Error + 'static>(stream: &StreamName, error: CodecError) -> HandleError<R> {
    use events::seal::{KeyStoreError, SealError, SealerError};
    match error {
        CodecError::Seal(SealerError::Keys(KeyStoreError::Unavailable(reason))) => {
            HandleError::Unavailable { reason, retry_after: RETRY_AFTER }
        }
        CodecError::Seal(SealerError::Seal(SealError::NoRandomness)) => {
            HandleError::Unavailable { reason: error.to_string(), retry_after: RETRY_AFTER }
        }
        CodecError::Seal(SealerError::Keys(KeyStoreError::Destroyed)) => HandleError::Erased,
        CodecError::Seal(_)
        | CodecError::UnknownType(_)
        | CodecError::Upcast { .. }
        | CodecError::Malformed(_)
        | CodecError::NotSealed(_) => HandleError::Corrupt { stream: stream.clone(), reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests;
