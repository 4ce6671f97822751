//! The plainest durable group commit on SQLite: what the log is measured against.
//!
//! **Invariant:** one table, two unique indexes, one `max(revision)` read per append, one commit per swapped buffer;
//! the pragmas of the log.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

/// Bytes of an event.
const PAYLOAD: [u8; 512] = [b'x'; 512];

struct Request {
    stream: i64,
    revision: i64,
    ids: Vec<[u8; 16]>,
    answer: oneshot::Sender<bool>,
}

#[derive(Default)]
struct Buffer {
    waiting: Mutex<(Vec<Request>, bool)>,
    wake: Condvar,
}

/// A file with a writer thread.
pub(crate) struct Probe {
    buffer: Arc<Buffer>,
    writer: Option<JoinHandle<()>>,
}

impl Probe {
    /// Makes a fresh file in `folder`.
    pub(crate) fn open(folder: &Path) -> Self {
        let connection = Connection::open(folder.join("bare.db")).expect("the file opens");
        connection
            .execute_batch(
                "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 PRAGMA cache_size = -196608; PRAGMA cell_size_check = ON; PRAGMA wal_autocheckpoint = 2048;
                 PRAGMA journal_size_limit = 268435456;
                 CREATE TABLE events (position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, revision INTEGER NOT NULL,
                     event_id BLOB NOT NULL, payload BLOB NOT NULL);
                 CREATE UNIQUE INDEX by_stream ON events (stream, revision);
                 CREATE UNIQUE INDEX by_id ON events (event_id);",
            )
            .expect("the file is set up");
        let buffer = Arc::new(Buffer::default());
        let shared = Arc::clone(&buffer);
        let writer = Some(std::thread::spawn(move || write(&connection, &shared)));
        Self { buffer, writer }
    }

    /// Appends `count` events at `revision` and waits until they are durable.
    pub(crate) async fn append(&self, stream: i64, revision: i64, count: u64) {
        let ids = (0..count).map(|_| *super::fresh_id().as_bytes()).collect();
        let (answer, answered) = oneshot::channel();
        self.buffer.waiting.lock().0.push(Request { stream, revision, ids, answer });
        self.buffer.wake.notify_one();
        assert!(answered.await.expect("the writer answers"), "the revision was expected");
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.buffer.waiting.lock().1 = true;
        self.buffer.wake.notify_one();
        if let Some(writer) = self.writer.take() {
            writer.join().expect("the writer ends well");
        }
    }
}

fn write(connection: &Connection, buffer: &Buffer) {
    let mut begin = connection.prepare("BEGIN IMMEDIATE").expect("valid SQL");
    let mut commit = connection.prepare("COMMIT").expect("valid SQL");
    let mut last = connection.prepare("SELECT max(revision) FROM events WHERE stream = ?1").expect("valid SQL");
    let mut insert = connection
        .prepare("INSERT INTO events (stream, revision, event_id, payload) VALUES (?1, ?2, ?3, ?4)")
        .expect("valid SQL");
    let mut group = Vec::new();
    loop {
        {
            let mut waiting = buffer.waiting.lock();
            while waiting.0.is_empty() {
                if waiting.1 {
                    return;
                }
                buffer.wake.wait(&mut waiting);
            }
            std::mem::swap(&mut waiting.0, &mut group);
        }
        begin.execute([]).expect("a transaction begins");
        let mut good = Vec::with_capacity(group.len());
        for request in &group {
            let found: Option<i64> = last.query_row([request.stream], |row| row.get(0)).expect("the revision is read");
            good.push(found.map_or(0, |found| found + 1) == request.revision);
            for (index, id) in (0i64..).zip(&request.ids) {
                insert
                    .execute(params![request.stream, request.revision + index, id.as_slice(), PAYLOAD.as_slice()])
                    .expect("the event is inserted");
            }
        }
        commit.execute([]).expect("the group is committed");
        for (request, good) in group.drain(..).zip(good) {
            request.answer.send(good).expect("the worker waits");
        }
    }
}
