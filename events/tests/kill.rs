//! A process that appends is killed again and again; what it acknowledged must be there. Another process may look on.
//!
//! **Invariant:** the child is really killed (SIGKILL) at a random point, during opening, recovery, commits and
//! checkpoints; only complete lines that it printed count as acknowledged.
//!
//! `LETOPIS_KILLS` says how often (default 5; the kill lane takes 200). Not a libtest binary, because it starts
//! itself as the child. A kill does not show what a power cut would: the kernel keeps what was written unsynced.
#![expect(clippy::print_stdout, reason = "the child reports through its output, the parent to whoever runs it")]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::DateTime;
use events::clock::FixedClock;
use events::envelope::{Actor, Category, Metadata, NewEvent, Position, Revision, StreamName};
use events::ids::EventId;
use events::log::embedded::{EmbeddedLog, EmbeddedLogConfig, OpenError};
use events::log::{EventLog, ExpectedRevision, Filter};
use futures::StreamExt;
use uuid::Uuid;

/// Tasks that append at once in the child.
const WORKERS: u64 = 8;

/// Kills before the parent begins with an empty folder again, so that checking stays fast.
const KILLS_PER_LOG: u64 = 20;

/// The first argument of the child.
const CHILD: &str = "appending-child";

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(CHILD) {
        let folder = arguments.next().expect("the child is told its folder");
        let run = arguments.next().and_then(|run| run.parse().ok()).expect("the child is told its number");
        child(Path::new(&folder), run);
    } else {
        let kills = std::env::var("LETOPIS_KILLS").map_or(5, |kills| kills.parse().expect("LETOPIS_KILLS is a number"));
        another_process_may_follow_but_not_append();
        every_acknowledged_event_survives_a_kill(kills);
    }
}

/// While the child appends, this process is refused as a second writer, and follows the log read-only: what it sees
/// has no gaps and contains everything acknowledged.
fn another_process_may_follow_but_not_append() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the log");
    let (mut child, received, reading) = start(folder.path(), 0);
    let mut lines = vec![received.recv().expect("the child acknowledges")];
    let refused = EmbeddedLog::open(config(folder.path()), Arc::new(FixedClock::new(DateTime::UNIX_EPOCH)));
    assert!(matches!(refused, Err(OpenError::InUse { .. })), "a second writer is refused");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    let log = EmbeddedLog::open_read_only(config(folder.path())).expect("the log opens read-only");
    let mut following = log.subscribe(Position::START, Filter::default());
    let mut follow = |count| {
        runtime.block_on(async {
            let some = following.by_ref().take(count).map(|event| event.expect("the subscription goes on"));
            some.collect::<Vec<_>>().await
        })
    };
    let mut seen = follow(1000);
    child.kill().and_then(|()| child.wait()).expect("the child is killed");
    reading.join().expect("the reading thread ends");
    lines.extend(received.try_iter());
    let head = runtime.block_on(log.head()).expect("the log can be read");
    seen.extend(follow(usize::try_from(head.0).expect("a small log") - seen.len()));
    for (index, event) in seen.iter().enumerate() {
        assert_eq!(event.position, Position(index as u64 + 1), "none is missing and none comes twice");
    }
    let ids: HashSet<_> = seen.iter().map(|event| event.id.uuid()).collect();
    assert!(lines.iter().all(|line| ids.contains(&acknowledgement(line).0)), "everything acknowledged is seen");
    runtime.block_on(log.close());
    println!("test another_process_may_follow_but_not_append ... ok");
}

fn every_acknowledged_event_survives_a_kill(kills: u64) {
    let (mut acknowledged_ever, mut unacknowledged) = (0, 0);
    let mut folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the log");
    let mut acknowledged = HashMap::new();
    for run in 0..kills {
        if run % KILLS_PER_LOG == 0 {
            folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the log");
            acknowledged.clear();
        }
        let before = acknowledged.len();
        run_and_kill(folder.path(), run, &mut acknowledged);
        acknowledged_ever += acknowledged.len() - before;
        unacknowledged += check(folder.path(), &acknowledged);
    }
    assert!(acknowledged_ever as u64 >= kills, "the children were killed before they did anything");
    println!(
        "test every_acknowledged_event_survives_a_kill ... ok: {kills} kills, {acknowledged_ever} events \
         acknowledged and there once, at most {unacknowledged} more there unacknowledged"
    );
}

/// Starts a child, reads what it acknowledges and kills it after a random number of lines and a random moment more.
fn run_and_kill(folder: &Path, run: u64, acknowledged: &mut HashMap<Uuid, (String, u64)>) {
    let (mut child, received, reading) = start(folder, run);
    let mut complete = Vec::new();
    let wanted = random(600);
    while (complete.len() as u64) < wanted {
        complete.push(received.recv().expect("the child goes on until it is killed"));
    }
    let deadline = Instant::now() + Duration::from_micros(random(30_000));
    loop {
        match received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => complete.push(line),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => panic!("the child ended by itself"),
        }
    }
    child.kill().expect("the child is killed");
    let status = child.wait().expect("the child ends");
    assert!(!status.success(), "the child was killed, it did not finish");
    reading.join().expect("the reading thread ends");
    complete.extend(received.try_iter());
    for line in complete {
        let (id, stream, revision) = acknowledgement(&line);
        acknowledged.insert(id, (stream, revision));
    }
}

/// Id, stream and revision of a line that the child printed.
fn acknowledgement(line: &str) -> (Uuid, String, u64) {
    let mut parts = line.split_whitespace();
    let mut next = || parts.next().expect("a line has three parts");
    let (id, stream, revision) = (next(), next().to_owned(), next());
    (Uuid::parse_str(id).expect("an id"), stream, revision.parse().expect("a revision"))
}

/// Starts a child; answers it, the complete lines it prints and the thread that reads them.
fn start(folder: &Path, run: u64) -> (Child, Receiver<String>, JoinHandle<()>) {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .arg(CHILD)
        .arg(folder)
        .arg(run.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let output = child.stdout.take().expect("its output is piped");
    let (lines, received) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            // A line cut off by the kill was not acknowledged.
            if line.ends_with('\n') && lines.send(std::mem::take(&mut line)).is_err() {
                break;
            }
        }
    });
    (child, received, reading)
}

/// Opens the log again; answers how many events are there without an acknowledgement.
fn check(folder: &Path, acknowledged: &HashMap<Uuid, (String, u64)>) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    let log = open(folder);
    let (events, _) =
        runtime.block_on(log.read_all(Position::START, &Filter::default(), usize::MAX)).expect("the log can be read");
    let (mut seen, mut next) = (HashSet::new(), HashMap::new());
    let mut found = 0;
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.position, Position(index as u64 + 1), "positions are dense");
        assert!(seen.insert(event.id), "{} is there twice", event.id);
        let stream = event.stream.to_string();
        let revision = next.entry(stream.clone()).or_insert(0);
        assert_eq!(event.revision.0, *revision, "no revision is missing");
        *revision += 1;
        if let Some((acknowledged_stream, acknowledged_revision)) = acknowledged.get(&event.id.uuid()) {
            assert_eq!((&stream, event.revision.0), (acknowledged_stream, *acknowledged_revision));
            found += 1;
        }
        assert_eq!(event.payload, payload(event.id.uuid()), "the payload is what was appended");
        // An append of several events is there whole: its last event says how many came before it.
        let (place, size) = place_in_append(event.id.uuid());
        assert!(index + usize::from(size - place) <= events.len(), "an append is there in part");
    }
    assert_eq!(found, acknowledged.len(), "an acknowledged event is missing");
    runtime.block_on(log.close());
    let shell = rusqlite::Connection::open(folder.join("log.db")).expect("the file opens");
    let verdict: String =
        shell.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("the check can be made");
    assert_eq!(verdict, "ok");
    events.len() - found
}

fn child(folder: &Path, run: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime starts");
    let log = Arc::new(open(folder));
    runtime.block_on(async {
        let workers = (0..WORKERS).map(|worker| tokio::spawn(append_for_ever(Arc::clone(&log), run, worker)));
        futures::future::join_all(workers).await;
    });
}

/// Appends one, two or three events at a time, now to a stream of its own, now to one that all share.
async fn append_for_ever(log: Arc<EmbeddedLog>, run: u64, worker: u64) {
    for n in 0u64.. {
        let stream = stream(if n.is_multiple_of(3) { WORKERS } else { worker });
        let size = u8::try_from(1 + n % 3).expect("a small number");
        let events: Vec<_> = (0..size).map(|place| event(id(run, worker, n, place, size))).collect();
        let ids: Vec<_> = events.iter().map(|event| event.id.uuid()).collect();
        let made = log.append(&stream, ExpectedRevision::Any, events).await.expect("the log takes the append");
        let mut lines = String::new();
        for (id, revision) in ids.into_iter().zip(made.first_revision.0..) {
            lines.push_str(&format!("{id} {stream} {revision}\n"));
        }
        // One write: the parent sees all of it or none.
        let mut output = std::io::stdout().lock();
        output.write_all(lines.as_bytes()).and_then(|()| output.flush()).expect("the parent listens");
        assert_eq!(made.last_revision, Revision(made.first_revision.0 + u64::from(size) - 1));
    }
}

fn config(folder: &Path) -> EmbeddedLogConfig {
    // Small bounds, so that checkpoints of both kinds happen all the time and ids are always on their way.
    EmbeddedLogConfig {
        checkpoint_every_bytes: 256 << 10,
        wal_limit_bytes: 1 << 20,
        gathered_ids: 100,
        ..EmbeddedLogConfig::new(folder.join("log.db"))
    }
}

fn open(folder: &Path) -> EmbeddedLog {
    EmbeddedLog::open(config(folder), Arc::new(FixedClock::new(DateTime::UNIX_EPOCH))).expect("the log opens")
}

fn stream(number: u64) -> StreamName {
    let tenant = "acme".parse().expect("a valid tenant");
    StreamName::new(Category::Conversation, tenant, Uuid::from_u128(u128::from(number)))
}

fn id(run: u64, worker: u64, n: u64, place: u8, size: u8) -> Uuid {
    let number = u128::from(run) << 96 | u128::from(worker) << 80 | u128::from(n) << 16;
    Uuid::from_u128(number | u128::from(place) << 8 | u128::from(size))
}

fn place_in_append(id: Uuid) -> (u8, u8) {
    let bytes = id.as_bytes();
    (bytes[14], bytes[15])
}

fn payload(id: Uuid) -> Bytes {
    Bytes::from(format!("{id} ").repeat(12))
}

fn event(id: Uuid) -> NewEvent {
    NewEvent {
        id: EventId::new(id),
        event_type: "conversation.sampled".into(),
        version: 1,
        digest: *id.as_bytes(),
        metadata: Metadata {
            actor: Actor::System("kill test".into()),
            command: None,
            causation: None,
            correlation: id,
            occurred_at: DateTime::UNIX_EPOCH,
            traceparent: None,
            seen_at: None,
            wish: None,
        },
        payload: payload(id),
    }
}

fn random(below: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system gives randomness");
    u64::from_le_bytes(bytes) % below
}
