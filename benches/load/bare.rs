//! The least that a durable webhook handler can do: what P3 is measured against.
//!
//! **Invariant:** it makes the promise of the real one (secret compared in constant time, body sealed under a key of
//! its own, synced before the 200) and nothing else: one table with unique indexes on stream and revision and on the id, no parsing, no
//! rate limits, no metrics, nobody who reads afterwards. It throws the keys away, so it saves their storage, too.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::Context;
use events::seal::aead::{self, KEY_BYTES};
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, params};
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;

/// The secret that deliveries are signed with.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Streams that the appends are spread over.
const STREAMS: i64 = 50_000;

struct Request {
    stream: i64,
    id: [u8; 16],
    payload: Vec<u8>,
    answer: oneshot::Sender<()>,
}

#[derive(Default)]
struct Buffer {
    waiting: Mutex<Vec<Request>>,
    wake: Condvar,
}

/// Serves on a free port of loopback, which it prints, until it is killed. Its file is made in `folder`.
pub(crate) async fn serve(folder: &Path) -> anyhow::Result<()> {
    let connection = Connection::open(folder.join("bare.db"))?;
    connection.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -196608;
         PRAGMA wal_autocheckpoint = 2048; PRAGMA journal_size_limit = 268435456;
         CREATE TABLE events (position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, revision INTEGER NOT NULL,
             event_id BLOB NOT NULL, payload BLOB NOT NULL);
         CREATE UNIQUE INDEX by_stream ON events (stream, revision);
         CREATE UNIQUE INDEX by_id ON events (event_id);",
    )?;
    let buffer = Arc::new(Buffer::default());
    let shared = Arc::clone(&buffer);
    std::thread::spawn(move || {
        if let Err(error) = write(&connection, &shared) {
            eprintln!("the bare handler's writer ended: {error}");
            std::process::exit(1);
        }
    });
    let buffer = Data::from(buffer);
    let server = HttpServer::new(move || {
        App::new().app_data(Data::clone(&buffer)).route("/webhooks/{channel}/{account}", web::post().to(receive))
    });
    let server = server.workers(2).tcp_nodelay(true).bind(("127.0.0.1", 0))?;
    let address = server.addrs().first().copied().context("no address")?;
    println!("bare listens on http://{address}");
    std::io::stdout().flush()?;
    Ok(server.run().await?)
}

async fn receive(request: HttpRequest, body: Bytes, buffer: Data<Buffer>) -> HttpResponse {
    let secret = request.headers().get("X-Telegram-Bot-Api-Secret-Token").map_or(&b""[..], |value| value.as_bytes());
    if !bool::from(secret.ct_eq(SECRET.as_bytes())) {
        return HttpResponse::Unauthorized().finish();
    }
    let Ok((id, payload)) = seal(&body) else { return HttpResponse::InternalServerError().finish() };
    let stream = i64::from(u32::from_le_bytes([id[0], id[1], id[2], id[3]])) % STREAMS;
    let (answer, answered) = oneshot::channel();
    buffer.waiting.lock().push(Request { stream, id, payload, answer });
    buffer.wake.notify_one();
    match answered.await {
        Ok(()) => HttpResponse::Ok().finish(),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

/// A fresh id and the body sealed under a fresh key, nonce first.
fn seal(body: &[u8]) -> anyhow::Result<([u8; 16], Vec<u8>)> {
    let mut random = [0; 48];
    getrandom::fill(&mut random).context("no randomness")?;
    let (key, id) = random.split_first_chunk::<KEY_BYTES>().context("no key")?;
    let mut payload = Vec::new();
    aead::seal(key, body, b"", &mut payload).context("the body does not seal")?;
    Ok((id.try_into()?, payload))
}

fn write(connection: &Connection, buffer: &Buffer) -> rusqlite::Result<()> {
    let mut begin = connection.prepare("BEGIN IMMEDIATE")?;
    let mut commit = connection.prepare("COMMIT")?;
    let mut last = connection.prepare("SELECT max(revision) FROM events WHERE stream = ?1")?;
    let mut insert =
        connection.prepare("INSERT INTO events (stream, revision, event_id, payload) VALUES (?1, ?2, ?3, ?4)")?;
    let mut group = Vec::new();
    loop {
        {
            let mut waiting = buffer.waiting.lock();
            while waiting.is_empty() {
                buffer.wake.wait(&mut waiting);
            }
            std::mem::swap(&mut *waiting, &mut group);
        }
        begin.execute([])?;
        for request in &group {
            let found: Option<i64> = last.query_row([request.stream], |row| row.get(0))?;
            let revision = found.map_or(0, |found| found + 1);
            insert.execute(params![request.stream, revision, request.id.as_slice(), request.payload])?;
        }
        commit.execute([])?;
        for request in group.drain(..) {
            // A sender that went away needs no answer.
            let _ = request.answer.send(());
        }
    }
}
