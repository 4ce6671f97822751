//! Faults under traffic: a killed relay, projector, broker, database, and a network that swallows what is sent.
//!
//! `LETOPIS_FAULT_ROUNDS` says how often each happens (default 1); `tests/engines/faults.sh` starts the servers and says
//! how they are killed. Messages are offered at a steady pace all the time, each until it is acknowledged.
//!
//! **Invariant:** faults are real (SIGKILL, bytes that go nowhere). At the end every acknowledged message is shown once,
//! and the read models are equal to fresh ones by state hash.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;

use crate::fleet::{Fleet, Log, Process, update};

/// Messages a second that are offered, of three events each, while fewer than [`WAITING`] wait for their answer.
const MESSAGES_PER_SECOND: u64 = 350;
/// As many messages wait for their answer as a provider keeps open.
const WAITING: usize = 100;
/// Messages of new customers with which is looked how soon they are shown: enough for every partition of a topic.
const PROBES: u64 = 12;
/// Customers.
const CHATS: u64 = 200;
/// How long things run undisturbed between faults.
const QUIET: Duration = Duration::from_secs(2);
/// How long a server stays away.
const AWAY: Duration = Duration::from_secs(5);
/// How long the network stays away: longer than the session of a member (10 s), so that a projector that is cut off
/// loses its partitions to the others and joins their group anew.
const CUT_OFF: Duration = Duration::from_secs(15);
/// How long a message may take to be shown after a fault.
const PATIENCE: Duration = Duration::from_secs(300);

/// A fault, by its name in the table.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Relay,
    Projector,
    Broker,
    Postgres,
    Partition,
}

const FAULTS: [(Fault, &str); 5] = [
    (Fault::Relay, "relay killed, another stands by"),
    (Fault::Projector, "projector killed, another goes on"),
    (Fault::Broker, "broker of three killed, back after 5 s"),
    (Fault::Postgres, "PostgreSQL killed, back after 5 s"),
    (Fault::Partition, "projector cut off from the brokers for 15 s"),
];

/// What is between a projector and the brokers.
struct Network {
    cut: watch::Sender<bool>,
}

impl Network {
    /// Proxies from each outer port to its inner one; gives where to bootstrap.
    async fn start(ports: &str) -> (Self, String) {
        let (cut, _) = watch::channel(false);
        let mut first = String::new();
        for pair in ports.split_whitespace() {
            let (outer, inner) = pair.split_once('=').expect("outer=inner");
            if first.is_empty() {
                first = format!("127.0.0.1:{outer}");
            }
            let listener = TcpListener::bind(format!("127.0.0.1:{outer}")).await.expect("the outer port is free");
            let (inner, cut) = (format!("127.0.0.1:{inner}"), cut.subscribe());
            tokio::spawn(async move {
                while let Ok((near, _)) = listener.accept().await {
                    let (inner, cut) = (inner.clone(), cut.clone());
                    tokio::spawn(async move {
                        let Ok(far) = TcpStream::connect(inner).await else { return };
                        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                        tokio::join!(swallow(near_in, far_out, cut.clone()), swallow(far_in, near_out, cut));
                    });
                }
            });
        }
        (Self { cut }, first)
    }
}

/// Passes bytes on; while the network is cut they go nowhere, and the connection is of no more use afterwards.
async fn swallow(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    cut: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut broken = false;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        broken |= *cut.borrow();
        if broken {
            // What was sent into a cut network is not acknowledged; the other side sees neither data nor an end.
            if !*cut.borrow() {
                return;
            }
        } else if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn control(arguments: &[&str]) {
    let done = Command::new(crate::server("LETOPIS_TEST_CONTROL")).args(arguments).status().await.unwrap();
    assert!(done.success(), "{arguments:?}");
}

/// Sends messages at a steady pace, each until it is acknowledged.
struct Traffic {
    fleet: Arc<Fleet>,
    at: SocketAddr,
    bot: (String, String),
    sent: AtomicU64,
    acknowledged: AtomicU64,
    repeated: AtomicU64,
    stop: AtomicBool,
}

impl Traffic {
    async fn run(self: Arc<Self>) {
        let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / MESSAGES_PER_SECOND));
        // A timer that is late by a part of its period each time would make the pace slower; what is late is made up.
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let mut under_way = tokio::task::JoinSet::new();
        while !self.stop.load(Ordering::Relaxed) {
            tick.tick().await;
            while under_way.try_join_next().is_some() {}
            if under_way.len() < WAITING {
                under_way.spawn(Arc::clone(&self).send());
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    async fn send(self: Arc<Self>) {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let (chat, message) = (number % CHATS, number / CHATS + 1);
        let update = update(i64::try_from(5_000 + chat).unwrap(), i64::try_from(message).unwrap(), "Есть вопрос");
        let bot = (self.bot.0.as_str(), self.bot.1.as_str());
        let again = self.fleet.post_update(self.at, bot, &update).await;
        self.repeated.fetch_add(u64::from(again), Ordering::Relaxed);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// What was acknowledged, and written to the log, in which time.
#[derive(Debug, Default)]
struct Pace {
    time: Duration,
    messages: u64,
    events: u64,
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each_second = |count: u64| count as f64 / self.time.as_secs_f64();
        let (messages, events) = (each_second(self.messages), each_second(self.events));
        write!(f, "{messages:.0} messages and {events:.0} events a second in {:.0?}", self.time)
    }
}

/// How long it takes until messages of new customers that are sent now are in the read models, all of them.
async fn shown_after(fleet: &Fleet, at: SocketAddr, bot: (&str, &str), round: u64) -> Duration {
    let begun = Instant::now();
    let customers = (1..=PROBES).map(|n| i64::try_from(900_000 + round * PROBES + n).unwrap());
    let posts = customers.map(async |chat| fleet.post_update(at, bot, &update(chat, 1, "Проба")).await);
    futures::future::join_all(posts).await;
    while number(fleet, CONVERSATIONS).await.is_none_or(|shown| shown < CHATS + round * PROBES) {
        assert!(begun.elapsed() < PATIENCE, "messages were not shown in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

/// What is asked for, and of which table: what follows the name of the fleet's schema.
type Question = (&'static str, &'static str);

/// Conversations in the read models.
const CONVERSATIONS: Question = ("count(*)", "_views.conversation");
/// Customers' messages in the read models.
const SHOWN: Question = ("count(*)", "_views.entry WHERE kind = 'received'");
/// The same, each counted once.
const SHOWN_ONCE: Question = ("count(DISTINCT item)", SHOWN.1);
/// Events in the log: their positions have no gaps.
const EVENTS: Question = ("max(position)", ".events");

/// The answer to a question, if the server can be asked.
async fn number(fleet: &Fleet, (what, table): Question) -> Option<u64> {
    let url = crate::server("LETOPIS_TEST_POSTGRES_URL");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.ok()?;
    let connection = tokio::spawn(connection);
    let answer = client.query_one(&format!("SELECT {what} FROM {}{table}", fleet.schema()), &[]).await;
    connection.abort();
    Some(answer.ok()?.get::<_, i64>(0).unsigned_abs())
}

/// Events in the log, while the server is not disturbed.
async fn logged(fleet: &Fleet) -> u64 {
    number(fleet, EVENTS).await.expect("the server answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_everything_recovers() {
    let rounds: usize = std::env::var("LETOPIS_FAULT_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number"));
    let (network, via) = Network::start(&crate::server("LETOPIS_TEST_KAFKA_VIA")).await;
    let fleet = Arc::new(Fleet::new(Log::Postgres).await);
    let mut relays = vec![fleet.start("relay").await];
    let mut projectors = vec![fleet.start("project").await];
    let far = fleet.start_with("project", &[("LETOPIS_KAFKA__BROKERS", &via)]).await;
    let react = fleet.start("react").await;
    let http = fleet.start("http").await;
    let at = http.address;
    let bot = fleet.open_telegram(at).await;
    let traffic = Arc::new(Traffic {
        fleet: Arc::clone(&fleet),
        at,
        bot: bot.clone(),
        sent: AtomicU64::default(),
        acknowledged: AtomicU64::default(),
        repeated: AtomicU64::default(),
        stop: AtomicBool::default(),
    });
    let sending = tokio::spawn(Arc::clone(&traffic).run());
    let began = Instant::now();
    let bot = (bot.0.as_str(), bot.1.as_str());
    let mut probed = 0;
    let mut probe = async || {
        probed += 1;
        shown_after(&fleet, at, bot, probed).await
    };
    // Every customer has a conversation before the first probe asks for one more.
    let begun = Instant::now();
    while number(&fleet, CONVERSATIONS).await.is_none_or(|shown| shown < CHATS) {
        assert!(begun.elapsed() < PATIENCE, "the traffic is not shown");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut undisturbed = Pace::default();
    let mut table = Vec::new();
    for (fault, name) in FAULTS {
        let mut recoveries = Vec::new();
        for _ in 0..rounds {
            let (begun, acknowledged, events) = (Instant::now(), traffic.acknowledged(), logged(&fleet).await);
            tokio::time::sleep(QUIET).await;
            let before = probe().await;
            undisturbed.time += begun.elapsed();
            undisturbed.messages += traffic.acknowledged() + PROBES - acknowledged;
            undisturbed.events += logged(&fleet).await - events;
            let mut back = None;
            match fault {
                Fault::Relay => {
                    relays.push(fleet.start("relay").await);
                    relays.remove(0).kill().await;
                }
                Fault::Projector => {
                    projectors.push(fleet.start("project").await);
                    projectors.remove(0).kill().await;
                }
                Fault::Broker => {
                    control(&["kill", "broker", "2"]).await;
                    back = Some(tokio::spawn(async {
                        tokio::time::sleep(AWAY).await;
                        control(&["start", "broker", "2"]).await;
                    }));
                }
                Fault::Postgres => {
                    control(&["kill", "postgres"]).await;
                    tokio::time::sleep(AWAY).await;
                    control(&["start", "postgres"]).await;
                }
                Fault::Partition => {
                    network.cut.send_replace(true);
                    tokio::time::sleep(CUT_OFF).await;
                    network.cut.send_replace(false);
                }
            }
            let after = probe().await;
            if let Some(back) = back {
                // The other two may have gone on long before.
                back.await.expect("the broker is started again");
            }
            println!("{name}: shown after {before:.2?} before it, after {after:.2?} behind it");
            recoveries.push((before, after));
        }
        table.push((name, recoveries));
    }
    traffic.stop.store(true, Ordering::Relaxed);
    sending.await.unwrap();
    let time = began.elapsed();
    let messages = traffic.acknowledged() + probed * PROBES;
    let repeated = traffic.repeated.load(Ordering::Relaxed);
    println!("{messages} messages acknowledged in {time:.0?}, {repeated} of them sent again");
    come_to_rest(&fleet, messages).await;
    stop_all(relays, projectors, vec![far, react, http]).await;
    let shown = (number(&fleet, SHOWN).await, number(&fleet, SHOWN_ONCE).await);
    let same = fleet.run(&["rebuild", "--check"]).await;
    println!("{same}");
    let events = same.split("events: ").nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let events: u64 = events.expect("it says how many events there are").parse().unwrap();
    println!("undisturbed: {undisturbed}");
    println!("with the faults: {}", Pace { time, messages, events });
    assert!(same.contains("state hash") && !same.contains("differs"), "read models made anew differ: {same}");
    assert_eq!(shown, (Some(messages), Some(messages)), "every message is shown, and none twice");
    println!("| fault | rounds | shown before it, median | shown after it, median | longest |");
    println!("|---|---|---|---|---|");
    for (name, recoveries) in table {
        let mut before: Vec<Duration> = recoveries.iter().map(|(before, _)| *before).collect();
        let mut after: Vec<Duration> = recoveries.iter().map(|(_, after)| *after).collect();
        before.sort();
        after.sort();
        let seconds = |times: &[Duration], index: usize| times[index].as_secs_f64();
        println!(
            "| {name} | {} | {:.2} s | {:.2} s | {:.2} s |",
            after.len(),
            seconds(&before, before.len() / 2),
            seconds(&after, after.len() / 2),
            seconds(&after, after.len() - 1)
        );
    }
}

async fn stop_all(relays: Vec<Process>, projectors: Vec<Process>, others: Vec<Process>) {
    for process in relays.into_iter().chain(projectors).chain(others) {
        process.stop().await;
    }
}

/// Waits until so many customers' messages are in the read models and the log has not grown for a while, so that what
/// would be shown twice had its time; at most for as long as a message may take.
async fn come_to_rest(fleet: &Fleet, messages: u64) {
    let begun = Instant::now();
    let mut reached = None;
    while begun.elapsed() < PATIENCE {
        let events = logged(fleet).await;
        let shown = number(fleet, SHOWN).await.unwrap_or_default();
        if shown >= messages && reached == Some(events) {
            return;
        }
        reached = Some(events);
        tokio::time::sleep(QUIET).await;
    }
}
