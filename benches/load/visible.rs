//! P4: from the acceptance of a webhook to its message in the read model, in an open loop.
//!
//! **Invariant:** a message counts as visible when another connection to the read model finds it; how often that is
//! looked at is part of the figure. Nothing is left waiting at the end, or the run fails.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::ensure;
use events::codec::Codec;
use events::ids::AccountId;
use hdrhistogram::Histogram;
use rusqlite::OpenFlags;
use uuid::Uuid;

use crate::deliveries::Deliveries;
use crate::drive::{Pace, Plan, drive, histogram, ms, record};
use crate::intake::{Scale, settle};
use crate::machine;
use crate::report::{Gate, Report};
use crate::server::Server;

/// Deliveries per second. **Source:** performance goals, P4.
const PER_SECOND: u32 = 2_000;
/// Every so many-th delivery is watched, so that watching costs little.
const WATCH_EVERY: u64 = 10;
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// A delivery whose message is awaited.
struct Awaited {
    message: Uuid,
    due: Instant,
    accepted: Instant,
}

/// What the watcher found.
struct Seen {
    from_accept: Histogram<u32>,
    from_due: Histogram<u32>,
    missing: usize,
}

/// Runs it.
pub(crate) async fn run(scale: Scale, report: &mut Report) -> anyhow::Result<()> {
    let deliveries = Rc::new(Deliveries::new());
    let (mut server, account) = Server::letopis().await?;
    let (tell, told) = channel();
    let watcher = watch(server.file("views.db"), told)?;
    let plan = Plan {
        pace: Pace::Open { per_second: PER_SECOND },
        connections: 64,
        first: 1,
        time: scale.letopis,
        deliveries: 0,
        at_most: scale.letopis,
    };
    let sent = {
        let (known, codec) = (Rc::clone(&deliveries), account.codec.clone());
        let accepted = move |number: u64, due: Instant, accepted: Instant| {
            if number.is_multiple_of(WATCH_EVERY) {
                let message = message_of(&codec, account.id, known.chat(number), number);
                // The watcher ends after the sender.
                let _ = tell.send(Awaited { message, due, accepted });
            }
        };
        drive(&server.target, &deliveries, plan, accepted).await?
    };
    let seen = watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
    println!("     load {:.1}; acknowledged p50 {:.2} ms, p99 {:.2} ms", machine::load(), sent.ms(0.5), sent.ms(0.99));
    ensure!(seen.missing == 0, "{} messages did not become visible", seen.missing);
    let figure = |histogram: &Histogram<u32>| {
        let (half, most, all) = (ms(histogram, 0.5), ms(histogram, 0.99), ms(histogram, 1.0));
        format!("p50 {half:.1} ms, p99 {most:.1} ms, max {all:.0} ms")
    };
    let what = format!("accepted to visible in the read model at {PER_SECOND}/s");
    let gate = Gate::when(ms(&seen.from_accept, 0.99) <= 50.0);
    report.row("P4", &what, &figure(&seen.from_accept), "p99 <= 50 ms", gate);
    report.row("P4", "due to visible", &figure(&seen.from_due), "", Gate::None);
    settle(&mut server, &sent, scale.patience, report).await.map(drop)
}

/// The id of the message that delivery `number` becomes.
fn message_of(codec: &Codec, account: AccountId, chat: u64, number: u64) -> Uuid {
    let conversation = codec.hasher().conversation(account, &chat.to_string());
    codec.hasher().message(conversation, &number.to_string()).uuid()
}

fn watch(views: PathBuf, told: Receiver<Awaited>) -> anyhow::Result<std::thread::JoinHandle<anyhow::Result<Seen>>> {
    let connection = rusqlite::Connection::open_with_flags(views, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(std::thread::spawn(move || {
        let mut find = connection.prepare("SELECT 1 FROM entry WHERE item = ?1")?;
        let mut seen = Seen { from_accept: histogram()?, from_due: histogram()?, missing: 0 };
        let mut waiting: Vec<Awaited> = Vec::new();
        let mut ended_at: Option<Instant> = None;
        loop {
            loop {
                match told.try_recv() {
                    Ok(awaited) => waiting.push(awaited),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        ended_at.get_or_insert_with(Instant::now);
                        break;
                    }
                }
            }
            let mut failed = None;
            waiting.retain(|awaited| match find.exists([awaited.message.as_bytes().as_slice()]) {
                Ok(false) => true,
                Ok(true) => {
                    let now = Instant::now();
                    record(&mut seen.from_accept, now - awaited.accepted);
                    record(&mut seen.from_due, now - awaited.due);
                    false
                }
                Err(error) => {
                    failed = Some(error);
                    true
                }
            });
            if let Some(error) = failed {
                return Err(error.into());
            }
            if ended_at.is_some_and(|at| waiting.is_empty() || at.elapsed() > Duration::from_secs(30)) {
                seen.missing = waiting.len();
                return Ok(seen);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }))
}
