//! Makes the read models anew beside the live ones, compares both at one stated position, and swaps.
//!
//! **Invariant:** the live ones are touched by nothing but the swap. The hashes that are compared belong to the same
//! events: those that one snapshot of the live ones holds, each part of their feed up to where that was (design
//! invariant 14). Rebuilt ones never replace newer ones.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use events::codec::Codec;
use events::consumer::ConsumeError;
use events::envelope::{Position, RecordedEvent};
use events::feed::{Checkpoints, Layout};
use events::log::{EventLog, Filter, ReadError};

use crate::projection::Changes;
use crate::projector::{CONSUMER, OpenKeys, apply_all, decode_all, of_codec, parked};
use crate::store::sqlite::SqliteStore;
use crate::store::{Commit, ParkedEvent, ReadStore, State, StoreError};

/// Events per transaction: large, since nothing else waits for the file.
const SLICE: usize = 1024;
/// Events decoded at a time: they stay in the processor's cache until they are folded.
const DECODED: usize = 128;
/// How often what is rebuilt catches up with live read models that move on before the swap is given up.
const CATCH_UPS: u32 = 20;

mod file;
#[cfg(feature = "postgres")]
mod schema;

#[cfg(feature = "postgres")]
pub use schema::PostgresRebuild;

/// Why a rebuild ended early. The live read models are as they were.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A store did not do its work.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event could not be opened for now: try again.
    #[error("an event cannot be opened now: {0}")]
    Unavailable(String),
    /// A file could not be removed or put in place.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The live store moves faster than the rebuild.
    #[error("the live read models move on faster than the rebuilt ones can follow")]
    NeverCaughtUp,
}

/// When what is rebuilt takes the place of the live read models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// Only when both are equal at the cut.
    IfEqual,
    /// Also when they differ: the projections have changed, or the live ones are damaged.
    Always,
    /// Never: only compare.
    Never,
}

/// How far a rebuild has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Events folded so far.
    pub events: u64,
    /// The position reached.
    pub position: Position,
    /// The position to be reached.
    pub goal: Position,
}

/// A table that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// Rows in the live one.
    pub live_rows: u64,
    /// Rows in the rebuilt one.
    pub rebuilt_rows: u64,
}

/// What a rebuild found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildReport {
    /// The position at which both were compared, on a feed of several parts the greatest of theirs; `None` when there was
    /// nothing to compare with.
    pub cut: Option<Position>,
    /// One hash over the rebuilt tables at the cut, in hex; `None` when there was nothing to compare with.
    pub hash: Option<String>,
    /// Tables that differ at the cut.
    pub differences: Vec<Difference>,
    /// Events folded.
    pub events: u64,
    /// Events that could not be applied and stand parked in the rebuilt read models.
    pub parked: u64,
    /// The position that the rebuilt read models have reached.
    pub position: Position,
    /// True when they have taken the live ones' place.
    pub swapped: bool,
}

/// A rebuild of read models in a file. Those in PostgreSQL have one of their own.
pub struct Rebuild<'a> {
    /// The log.
    pub log: &'a dyn EventLog,
    /// Opens its events.
    pub codec: &'a Codec,
    /// The live file. The rebuilt one is made beside it, with `.rebuild` at the end of its name.
    pub path: &'a Path,
    /// The live store, if it is open; without one nothing is compared and no process may have the file open.
    pub live: Option<&'a SqliteStore>,
    /// The parts of the feed that fills the live store.
    pub layout: &'a Layout,
    /// When to swap.
    pub swap: Swap,
}

impl Rebuild<'_> {
    /// Runs it. `progress` is told after each slice.
    ///
    /// # Errors
    /// See [`RebuildError`].
    pub async fn run(&self, progress: &(dyn Fn(Progress) + Send + Sync)) -> Result<RebuildReport, RebuildError> {
        let place = file::Beside::start(self.path, self.live)?;
        run(self.log, self.codec, self.layout, self.swap, place, progress).await
    }
}

/// Where read models are made anew, and what they are to replace.
#[async_trait]
trait Place: Send + Sync {
    /// The state of the live ones; `None` when there is nothing to compare with.
    async fn live(&self) -> Result<Option<State>, StoreError>;

    /// Writes a slice; gives back what held its changes, empty.
    async fn commit(&self, commit: Commit) -> Result<Changes, StoreError>;

    /// Counts and hashes what was made.
    async fn state(&self) -> Result<State, StoreError>;

    /// Makes the indexes: every event is in it.
    async fn finish(&self) -> Result<(), StoreError>;

    /// Puts it in place unless it is behind the live ones: then the position that it must reach is returned, and slices
    /// may follow.
    async fn put_in_place(&mut self) -> Result<Option<Position>, RebuildError>;

    /// Removes it.
    async fn remove(&mut self) -> Result<(), RebuildError>;
}

/// Makes read models anew in a place.
async fn run(
    log: &dyn EventLog,
    codec: &Codec,
    layout: &Layout,
    swap: Swap,
    place: impl Place,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<RebuildReport, RebuildError> {
    // Fresh tables are nothing to compare with.
    let live = place.live().await?.filter(|live| !live.checkpoints.is_empty());
    let mut run = Run { log, codec, layout, place, at: Position::START, events: 0, parked: 0, progress };
    let mut differences = Vec::new();
    let (mut cut, mut hash) = (None, None);
    if let Some(live) = &live {
        let (reached, last) = (live.checkpoints.reached(layout.parts()), live.checkpoints.greatest());
        cut = Some(last);
        run.fold_up_to(last, Select::Within(&live.checkpoints)).await?;
        let rebuilt = run.place.state().await?;
        differences = compare(live, &rebuilt);
        hash = Some(rebuilt.hash());
        if reached < last {
            // The events that the live store has not seen yet begin where its slowest part was.
            run.at = reached;
            run.fold_up_to(last, Select::Beyond(&live.checkpoints)).await?;
        }
    }
    run.fold_up_to(log.head().await?, Select::All).await?;
    run.place.finish().await?;
    let wanted = match swap {
        Swap::IfEqual => differences.is_empty(),
        Swap::Always => true,
        Swap::Never => false,
    };
    if wanted {
        run.swap().await?;
    } else {
        run.place.remove().await?;
    }
    let (events, parked, position) = (run.events, run.parked, run.at);
    Ok(RebuildReport { cut, hash, differences, events, parked, position, swapped: wanted })
}

/// Which events are folded.
#[derive(Clone, Copy)]
enum Select<'a> {
    All,
    /// Those that somebody with these checkpoints has handled.
    Within(&'a Checkpoints),
    /// Those that they have not.
    Beyond(&'a Checkpoints),
}

impl Select<'_> {
    fn wants(self, event: &RecordedEvent, layout: &Layout) -> bool {
        let handled = |at: &Checkpoints| event.position <= at.position_in(&layout.part_of(&event.stream));
        match self {
            Self::All => true,
            Self::Within(at) => handled(at),
            Self::Beyond(at) => !handled(at),
        }
    }
}

struct Run<'a, P> {
    log: &'a dyn EventLog,
    codec: &'a Codec,
    layout: &'a Layout,
    place: P,
    at: Position,
    events: u64,
    parked: u64,
    progress: &'a (dyn Fn(Progress) + Send + Sync),
}

impl<P: Place> Run<'_, P> {
    /// Folds what is selected of the log up to a position, inclusive; one slice is written while the next is read and opened.
    async fn fold_up_to(&mut self, goal: Position, select: Select<'_>) -> Result<(), RebuildError> {
        let mut waiting: Option<(Commit, Position)> = None;
        // Two take turns: one is filled while the other is written.
        let mut spare: Option<Changes> = None;
        let mut keys = OpenKeys::default();
        loop {
            let after = waiting.as_ref().map_or(self.at, |(_, position)| *position);
            let next = self.slice(after, goal, select, spare.take().unwrap_or_default(), &mut keys);
            let (next, written) = match waiting.take() {
                Some((commit, position)) => {
                    let parked = commit.parked.len() as u64;
                    let (next, written) = tokio::join!(next, self.place.commit(commit));
                    spare = Some(written?);
                    (next?, Some((position, parked)))
                }
                None => (next.await?, None),
            };
            if let Some((position, parked)) = written {
                self.at = position;
                self.parked += parked;
                (self.progress)(Progress { events: self.events, position, goal });
            }
            let Some((commit, position, events)) = next else { return Ok(()) };
            self.events += events;
            waiting = Some((commit, position));
        }
    }

    /// The next slice of the log, opened and folded; `None` at the goal.
    async fn slice(
        &self,
        after: Position,
        goal: Position,
        select: Select<'_>,
        mut changes: Changes,
        keys: &mut OpenKeys,
    ) -> Result<Option<(Commit, Position, u64)>, RebuildError> {
        if after >= goal {
            return Ok(None);
        }
        let (mut read, searched) = self.log.read_all(after, &Filter::default(), SLICE).await?;
        let mut aside = Vec::new();
        let mut position = if read.is_empty() { searched.min(goal) } else { after };
        read.truncate(read.partition_point(|event| event.position <= goal));
        if let Some(last) = read.last() {
            position = last.position;
        }
        read.retain(|event| select.wants(event, self.layout));
        let events = read.len() as u64;
        fold(self.codec, read, &mut changes, &mut aside, keys).await?;
        if position == after {
            return Ok(None);
        }
        let checkpoints = Checkpoints::of_position(position);
        let commit = Commit { consumer: Cow::Borrowed(CONSUMER), changes, parked: aside, checkpoints };
        Ok(Some((commit, position, events)))
    }

    /// Puts what was made in place, catching up with live read models that move on.
    async fn swap(&mut self) -> Result<(), RebuildError> {
        for _ in 0..CATCH_UPS {
            let Some(behind) = self.place.put_in_place().await? else { return Ok(()) };
            let head = self.log.head().await?;
            self.fold_up_to(head.max(behind), Select::All).await?;
        }
        Err(RebuildError::NeverCaughtUp)
    }
}

/// Folds events; those that cannot be applied go to `aside`.
async fn fold(
    codec: &Codec,
    events: Vec<RecordedEvent>,
    changes: &mut Changes,
    aside: &mut Vec<ParkedEvent>,
    keys: &mut OpenKeys,
) -> Result<(), RebuildError> {
    let mut events = events.into_iter();
    let mut few = Vec::with_capacity(DECODED);
    while events.len() > 0 {
        decode_all(codec, keys, events.by_ref().take(DECODED), &mut few).await;
        for decoded in &few {
            match decoded {
                Ok(decoded) => apply_all(decoded, changes),
                Err((event, error)) => match of_codec(error) {
                    ConsumeError::Park(reason) => aside.push(parked(event, &reason)),
                    ConsumeError::Retry(reason) | ConsumeError::Halt(reason) => {
                        return Err(RebuildError::Unavailable(reason));
                    }
                },
            }
        }
        few.clear();
    }
    Ok(())
}

fn compare(live: &State, rebuilt: &State) -> Vec<Difference> {
    let pairs = live.tables.iter().zip(&rebuilt.tables);
    pairs
        .filter(|(live, rebuilt)| live.hash != rebuilt.hash)
        .map(|(live, rebuilt)| Difference { table: live.table, live_rows: live.rows, rebuilt_rows: rebuilt.rows })
        .collect()
}

/// A store over a log's history, for tests and tools that need read models at once: folds everything up to the head.
///
/// # Errors
/// See [`RebuildError`].
pub async fn fold_all(log: &dyn EventLog, codec: &Codec) -> Result<Arc<SqliteStore>, RebuildError> {
    let store = Arc::new(SqliteStore::in_memory().await?);
    let mut after = Position::START;
    loop {
        let (events, searched) = log.read_all(after, &Filter::default(), SLICE).await?;
        if events.is_empty() {
            return Ok(store);
        }
        let mut changes = Changes::with_capacity(events.len());
        let mut aside = Vec::new();
        fold(codec, events, &mut changes, &mut aside, &mut OpenKeys::default()).await?;
        after = searched;
        let checkpoints = Checkpoints::of_position(after);
        store.commit(Commit { consumer: Cow::Borrowed(CONSUMER), changes, parked: aside, checkpoints }).await?;
    }
}

#[cfg(test)]
mod tests;
