//! The one thread that writes: group commit without a linger timer, halting and recovery.
//!
//! **Invariant:** a waiter hears of its append after the COMMIT that made it durable, and subscribers after the
//! waiters. A failed COMMIT or IO error is never retried: the connection is dropped (Linux forgets dirty pages whose
//! fsync failed), the WAL is carried over into the database file by a full checkpoint, the log is read anew, and only
//! then are appends taken again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use super::checkpoint::CheckpointSignal;
use super::ends::Ends;
use super::event_ids::EventIds;
use super::heads::Heads;
use super::queue::{Queue, Request, unavailable};
use super::schema::{self, Cache};
use super::session::{Session, SessionError};
use super::tail::Tail;
use super::{Durability, OpenError};
use crate::clock::Clock;

/// The first pause before a halted log is reopened; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two attempts to reopen a halted log.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long the writer lets readers hold up a checkpoint of its own before it goes on with a longer WAL.
const RESTART_PATIENCE: Duration = Duration::from_millis(50);

/// Bytes written to find out whether there is room again: about a group of appends.
const PROBE_BYTES: u32 = 256 * 1024;

/// What the writer thread works with.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) durability: Durability,
    pub(super) cache: Cache,
    pub(super) stream_cache: usize,
    pub(super) wal_limit_bytes: u64,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) queue: Arc<Queue>,
    pub(super) heads: Heads,
    pub(super) ends: Arc<Ends>,
    pub(super) tail: Arc<Tail>,
    /// Loaded from the file that the first connection was opened on.
    pub(super) ids: Arc<EventIds>,
    pub(super) checkpoints: Arc<CheckpointSignal>,
    /// Most pages that the file may have; 0 is no bound. Tests lower it to make the disk "full".
    pub(super) most_pages: Arc<AtomicU32>,
}

/// Says so when the thread ends, also by a panic, so that nobody waits for ever.
struct Farewell(Arc<Queue>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.writer_gone();
    }
}

impl Writer {
    /// Opens the connection, checks or makes the file.
    pub(super) fn open(&self) -> Result<Connection, OpenError> {
        let mut connection = schema::open_writer(&self.path, self.durability, self.cache, self.wal_limit_bytes)?;
        let signal = Arc::clone(&self.checkpoints);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
            signal.wal_has(u64::try_from(pages).unwrap_or(0));
            Ok(())
        }))?;
        Ok(connection)
    }

    /// Works until the queue is closed and empty. `connection` is fresh from [`Writer::open`].
    pub(super) fn run(self, connection: Connection) {
        let _farewell = Farewell(Arc::clone(&self.queue));
        let mut next = Some(connection);
        let mut halted_for: Option<String> = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let attempt = match next.take() {
                Some(connection) => Ok(connection),
                None => self.reopen(halted_for.as_deref().unwrap_or("unknown")),
            };
            let failure = attempt.and_then(|connection| {
                if halted_for.take().is_some() {
                    tracing::info!("event log takes appends again");
                }
                self.serve(&connection, &mut pause)
            });
            let reason = match failure {
                Ok(()) => return,
                Err(error) => error.to_string(),
            };
            if halted_for.is_none() {
                tracing::error!(reason, "event log halted");
            }
            self.queue.halt(&reason, pause);
            halted_for = Some(reason);
            if self.queue.wait_for_close(pause) {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Serves groups until the queue closes (Ok) or something fails.
    fn serve(&self, connection: &Connection, pause: &mut Duration) -> Result<(), SessionError> {
        let mut session = Session::start(connection, self.stream_cache, Arc::clone(&self.ids))?;
        self.ends.forget();
        self.tail.forget();
        self.heads.all_reach(session.head());
        self.queue.resume();
        let mut applied_limit = self.limit_pages(connection, 0)?;
        let (mut group, mut answers) = (Vec::new(), Vec::new());
        let mut postponed_until = 0;
        while self.queue.take(&mut group) {
            applied_limit = self.limit_pages(connection, applied_limit)?;
            if let Err(error) = self.commit(&mut session, &group, &mut answers) {
                let reason = error.to_string();
                self.queue.halt(&reason, FIRST_PAUSE);
                for request in group.drain(..) {
                    request.answer(Err(unavailable(&reason, FIRST_PAUSE)));
                }
                return Err(error);
            }
            *pause = FIRST_PAUSE;
            self.ends.committed(&group, &answers);
            let reached = self.heads.reached_by(&group, &answers);
            self.tail.committed(&mut group, &mut answers, session.recorded_at());
            self.heads.publish(reached);
            self.restart_wal_when_long(connection, &mut postponed_until)?;
        }
        Ok(())
    }

    fn commit(
        &self,
        session: &mut Session<'_>,
        group: &[Request],
        answers: &mut Vec<super::queue::Answer>,
    ) -> Result<(), SessionError> {
        answers.clear();
        session.begin(self.clock.now().timestamp_micros())?;
        for request in group {
            answers.push(session.append(&request.append)?);
        }
        session.commit()
    }

    /// Reopens after a failure: nothing of the old connection is trusted, not even its WAL.
    fn reopen(&self, reason: &str) -> Result<Connection, SessionError> {
        let mut connection = self.open().map_err(|error| match error {
            OpenError::Sqlite(error) => SessionError::Sqlite(error),
            _ => SessionError::Inconsistent("the file is no longer the log that was opened"),
        })?;
        self.limit_pages(&connection, 0)?;
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy != 0 {
            return Err(SessionError::Inconsistent("readers hold up the checkpoint after a failure"));
        }
        self.checkpoints.wal_has(0);
        // Proves that there is room and that a commit works before anybody is told so.
        let at = self.clock.now().timestamp_micros();
        connection.execute("INSERT INTO space_probe (filler) VALUES (zeroblob(?1))", [PROBE_BYTES])?;
        connection.execute("DELETE FROM space_probe", [])?;
        connection.execute("INSERT INTO recoveries (at, reason) VALUES (?1, ?2)", (at, reason))?;
        self.ids.load(&mut connection)?;
        Ok(connection)
    }

    /// Between two groups: starts the WAL over once it is longer than its bound, unless readers hold it up, in which
    /// case it tries again after some more growth.
    fn restart_wal_when_long(&self, connection: &Connection, postponed_until: &mut u64) -> rusqlite::Result<()> {
        if !self.checkpoints.is_too_long() {
            *postponed_until = 0;
            return Ok(());
        }
        let pages = self.checkpoints.wal_pages();
        if pages < *postponed_until {
            return Ok(());
        }
        connection.busy_timeout(RESTART_PATIENCE)?;
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0))?;
        connection.busy_timeout(schema::BUSY_TIMEOUT)?;
        if busy == 0 {
            self.checkpoints.wal_has(0);
            *postponed_until = 0;
        } else {
            *postponed_until = pages + pages / 8;
            tracing::warn!(wal_pages = pages, "readers hold up the checkpoint of the event log");
        }
        Ok(())
    }

    /// Applies a changed bound on pages; answers the bound in force.
    fn limit_pages(&self, connection: &Connection, applied: u32) -> rusqlite::Result<u32> {
        let wanted = self.most_pages.load(Ordering::Acquire);
        if wanted != applied {
            let pages = if wanted == 0 { u32::MAX - 1 } else { wanted };
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        }
        Ok(wanted)
    }
}
