//! What the servers of a double hold: records in order, and the few ids that are remembered.
//!
//! **Invariant:** an append is decided as the server decides it, no better: see [`Store::append`]. Payloads are never
//! looked at.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use uuid::Uuid;

/// Ticks of 100 ns from 1970 to 2026-01-01T00:00:00Z: when the first record was made.
const FIRST_TICKS: i64 = 17_672_256_000_000_000;

/// Ticks between two appends.
const TICKS_PER_APPEND: i64 = 1_370;

/// Bytes that a record has besides names and contents. Only so that positions grow as unevenly as the server's.
const RECORD_HEAD_BYTES: u64 = 107;

/// An event on its way in.
#[derive(Debug, Clone)]
pub(super) struct Proposed {
    pub(super) id: Uuid,
    pub(super) event_type: String,
    pub(super) content_type: String,
    pub(super) custom_metadata: Bytes,
    pub(super) data: Bytes,
}

impl Proposed {
    /// What the server counts against its limit (`Event.SizeOnDisk` in EventStore.Core: names are UTF-16).
    pub(super) fn size_bytes(&self) -> usize {
        self.data.len() + self.custom_metadata.len() + 2 * self.event_type.len()
    }
}

/// An event as stored.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) stream: String,
    pub(super) revision: u64,
    /// Commit and prepare position, which are one for what is appended through gRPC.
    pub(super) position: u64,
    pub(super) created_ticks: i64,
    pub(super) event: Proposed,
}

/// What an append expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Any,
    StreamExists,
    NoStream,
    Revision(u64),
}

/// What an append came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Written now, or recognised: the server does not say which.
    Success {
        revision: u64,
        position: u64,
    },
    WrongExpectedVersion {
        current: Option<u64>,
    },
}

/// Everything of one database; several servers may share it.
#[derive(Debug)]
pub(super) struct Store {
    state: Mutex<State>,
    /// Number of records.
    head: watch::Sender<usize>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) records: Vec<Record>,
    /// Places in `records` by stream, in order of revision.
    pub(super) streams: HashMap<String, Vec<usize>>,
    /// Ids remembered whatever an append expects, and where they are.
    remembered: HashMap<Uuid, (String, u64)>,
    in_order: VecDeque<Uuid>,
    remember_at_most: usize,
    next_position: u64,
    next_ticks: i64,
}

impl Store {
    /// A database with the system events that a real one begins with.
    pub(super) fn new(remember_at_most: usize) -> Self {
        let store = Self {
            state: Mutex::new(State {
                records: Vec::new(),
                streams: HashMap::new(),
                remembered: HashMap::new(),
                in_order: VecDeque::new(),
                remember_at_most,
                next_position: 0,
                next_ticks: FIRST_TICKS,
            }),
            head: watch::Sender::new(0),
        };
        for (stream, event_type) in [("$settings", "settings"), ("$users", "$User"), ("$scavenges", "$metadata")] {
            store.append_by_hand(stream, event_type);
        }
        store
    }

    /// Writes what nobody sent: an event of the system, or of another application.
    pub(super) fn append_by_hand(&self, stream: &str, event_type: &str) {
        let event = Proposed {
            id: Uuid::from_u128(u128::MAX - self.state.lock().records.len() as u128),
            event_type: event_type.to_owned(),
            content_type: "application/json".to_owned(),
            custom_metadata: Bytes::new(),
            data: Bytes::from_static(b"{}"),
        };
        self.append(stream, Expected::Any, vec![event]);
    }

    /// Appends as `IndexWriter.CheckCommit` of EventStore.Core 23.10 decides:
    ///
    /// - `Any` and `StreamExists`: recognised when **all** ids are remembered for this stream. Of those the server holds
    ///   8 MiB in memory (`ESConsts.CommitedEventsMemCacheLimit`) and none after a restart: what is forgotten is
    ///   written again.
    /// - A revision below the current one, or no stream: recognised when the events that follow it have these ids; any
    ///   age, for they are read.
    /// - A revision that is the current one: written, also when the ids are elsewhere in the stream.
    ///
    /// Ids of other streams count for nothing ("Optimistic concurrency and idempotence" in the server's manual: the
    /// check is based on event id and stream). A part recognised and a part not is a wrong expected version.
    pub(super) fn append(&self, stream: &str, expected: Expected, events: Vec<Proposed>) -> Outcome {
        let mut state = self.state.lock();
        let current = state.streams.get(stream).map(|places| places.len() as u64 - 1);
        let wrong = Outcome::WrongExpectedVersion { current };
        let before = match expected {
            Expected::StreamExists if current.is_none() => return wrong,
            Expected::Any | Expected::StreamExists => {
                let known = |event: &Proposed| {
                    state.remembered.get(&event.id).filter(|(of, _)| of == stream).map(|(_, revision)| *revision)
                };
                let revisions: Vec<_> = events.iter().map_while(known).collect();
                match revisions.last() {
                    None => return state.write(stream, events, current, &self.head),
                    Some(last) if revisions.len() == events.len() => return state.found(stream, *last),
                    Some(_) => return wrong,
                }
            }
            Expected::NoStream => None,
            Expected::Revision(revision) => Some(revision),
        };
        if before == current {
            return state.write(stream, events, current, &self.head);
        }
        if before > current {
            return wrong;
        }
        let first = before.map_or(0, |before| before + 1);
        let is_there = |(revision, event): (u64, &Proposed)| {
            state.at(stream, revision).is_some_and(|record| record.event.id == event.id)
        };
        if (first..).zip(&events).all(is_there) && !events.is_empty() {
            return state.found(stream, first + events.len() as u64 - 1);
        }
        wrong
    }

    /// The records, to look at.
    pub(super) fn look(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Tells when records were added.
    pub(super) fn follow(&self) -> watch::Receiver<usize> {
        self.head.subscribe()
    }

    /// Forgets every id, as a restart does.
    pub(super) fn forget_ids(&self) {
        let mut state = self.state.lock();
        state.remembered.clear();
        state.in_order.clear();
    }

    /// Turns the server's clock, back or forth.
    pub(super) fn turn_clock(&self, by_ticks: i64) {
        self.state.lock().next_ticks += by_ticks;
    }
}

impl State {
    fn at(&self, stream: &str, revision: u64) -> Option<&Record> {
        let place = *self.streams.get(stream)?.get(usize::try_from(revision).ok()?)?;
        self.records.get(place)
    }

    fn found(&self, stream: &str, revision: u64) -> Outcome {
        let position = self.at(stream, revision).map_or(0, |record| record.position);
        Outcome::Success { revision, position }
    }

    fn write(
        &mut self,
        stream: &str,
        events: Vec<Proposed>,
        current: Option<u64>,
        head: &watch::Sender<usize>,
    ) -> Outcome {
        let (mut revision, mut position) = (current.unwrap_or(0), 0);
        for (next, event) in (current.map_or(0, |current| current + 1)..).zip(events) {
            (revision, position) = (next, self.next_position);
            self.remember(event.id, stream, revision);
            self.streams.entry(stream.to_owned()).or_default().push(self.records.len());
            self.next_position += RECORD_HEAD_BYTES + (stream.len() + event.size_bytes()) as u64;
            let created_ticks = self.next_ticks;
            self.records.push(Record { stream: stream.to_owned(), revision, position, created_ticks, event });
        }
        self.next_ticks += TICKS_PER_APPEND;
        head.send_replace(self.records.len());
        Outcome::Success { revision, position }
    }

    fn remember(&mut self, id: Uuid, stream: &str, revision: u64) {
        if self.remembered.insert(id, (stream.to_owned(), revision)).is_none() {
            self.in_order.push_back(id);
        }
        while self.in_order.len() > self.remember_at_most {
            if let Some(oldest) = self.in_order.pop_front() {
                self.remembered.remove(&oldest);
            }
        }
    }
}
