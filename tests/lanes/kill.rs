//! The kill lane: 10,000 webhooks against a server that is killed again and again while it takes them.
//!
//! Each delivery comes one to three times, in changed order within its conversation, and again until it is
//! acknowledged. `LETOPIS_KILLS` says how often the server is killed (default 20).
//!
//! **Invariant:** the kills are real (SIGKILL of a child process) and hit it while it starts, takes deliveries in and
//! normalises. Nothing of the server's own answers the checks but its log, opened by this process.

mod history;
mod plan;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::envelope::{Category, Position};
use events::ids::{AccountId, EventId};
use events::log::Filter;
use futures::StreamExt;
use letopis::app::App;
use letopis::channels::telegram::SECRET_HEADER;
use letopis::clock::SystemClock;
use letopis::engines::{Access, Engines};
use letopis::http::auth::Tokens;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::accounts::{Accounts, SECRET, client, config};
use crate::corpus::accepted;
use crate::say;
use crate::server::{Server, letopis, serving};
use history::History;
use plan::{Dice, Plan};

/// Messages that are sent.
const MESSAGES: usize = 10_000;
/// Deliveries that wait for an answer at the same time.
const IN_FLIGHT: usize = 32;
/// The longest moment between the acknowledgement that a kill waits for and the kill.
const LONGEST_MOMENT: Duration = Duration::from_millis(60);
/// The longest life of a server that is killed while it starts.
const LONGEST_START: Duration = Duration::from_millis(300);
/// How long the server may take to normalise what is left at the end.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the senders share.
struct Senders {
    plan: Plan,
    account: AccountId,
    http: reqwest::Client,
    waiting: Mutex<VecDeque<usize>>,
    /// The event of each message, once a delivery of it was acknowledged.
    events: Mutex<Vec<Option<EventId>>>,
    acknowledged: watch::Sender<usize>,
    address: watch::Sender<Option<SocketAddr>>,
    failed: Mutex<usize>,
}

#[actix_web::test]
async fn nothing_acknowledged_is_lost_or_doubled_or_out_of_order() {
    let kills = std::env::var("LETOPIS_KILLS").map_or(20, |kills| kills.parse().expect("LETOPIS_KILLS is a number"));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the data");
    let started = Instant::now();
    let account = Accounts::open(&config(folder.path())).await.telegram;
    let mut dice = Dice::of_chance();
    let plan = Plan::new(&mut dice, MESSAGES);
    say(format_args!("kill: {} messages in {} deliveries, {kills} kills", plan.messages.len(), plan.deliveries.len()));
    let senders = Arc::new(Senders {
        waiting: Mutex::new((0..plan.deliveries.len()).collect()),
        events: Mutex::new(vec![None; plan.messages.len()]),
        plan,
        account,
        http: client(),
        acknowledged: watch::Sender::new(0),
        address: watch::Sender::new(None),
        failed: Mutex::new(0),
    });
    let sending: Vec<_> = (0..IN_FLIGHT).map(|_| tokio::spawn(Arc::clone(&senders).send_all())).collect();
    let server = kill_again_and_again(&senders, folder.path(), kills, &mut dice).await;
    for sender in sending {
        sender.await.expect("a sender ends well");
    }
    let taken = started.elapsed();
    let failed = *senders.failed.lock();
    say(format_args!("kill: all acknowledged after {taken:.1?}, {failed} tries without an acknowledgement"));
    assert!(kills == 0 || failed > 0, "no kill hit a delivery on its way");

    finish(&senders, folder.path(), server).await;
    rebuilt_read_models_are_the_same(folder.path()).await;
    say(format_args!("kill: done after {:.1?}", started.elapsed()));
}

impl Senders {
    /// Sends what waits until everything is acknowledged.
    async fn send_all(self: Arc<Self>) {
        let mut address = self.address.subscribe();
        let mut acknowledged = self.acknowledged.subscribe();
        while *acknowledged.borrow() < self.plan.deliveries.len() {
            let Some(delivery) = self.waiting.lock().pop_front() else {
                // The rest is on its way with others; it comes back here when it fails.
                let _ = acknowledged.changed().await;
                continue;
            };
            let server = *address.wait_for(Option::is_some).await.expect("the lane goes on");
            let server = server.expect("it was waited for");
            let message = self.plan.deliveries[delivery];
            match self.post(server, message).await {
                Some(event) => {
                    let known = self.events.lock()[message].replace(event);
                    assert!(known.is_none_or(|known| known == event), "two events for one delivery id");
                    self.acknowledged.send_modify(|count| *count += 1);
                }
                None => {
                    *self.failed.lock() += 1;
                    self.waiting.lock().push_back(delivery);
                    // Wakes those that found nothing waiting.
                    self.acknowledged.send_modify(|_| ());
                    let moved = address.wait_for(|now| *now != Some(server));
                    // A server that refuses while it lives is asked again.
                    let _ = tokio::time::timeout(Duration::from_millis(100), moved).await;
                }
            }
        }
    }

    /// Delivers once; the event's id when it was acknowledged.
    async fn post(&self, server: SocketAddr, message: usize) -> Option<EventId> {
        let url = format!("http://{server}/webhooks/telegram/{}", self.account);
        let body = self.plan.messages[message].update();
        let answer = self.http.post(url).header(SECRET_HEADER, SECRET).body(body).send().await.ok()?;
        let status = answer.status();
        assert!(status.is_success() || status.as_u16() == 503, "the server refuses a signed delivery: {status}");
        if !status.is_success() {
            return None;
        }
        // An answer that was cut off is none.
        let answer = answer.bytes().await.ok()?;
        Some(accepted(&answer))
    }
}

/// Runs the server, kills it at random moments, and leaves it running.
async fn kill_again_and_again(senders: &Senders, data: &Path, kills: usize, dice: &mut Dice) -> Server {
    let mut moments: Vec<usize> = (0..kills).map(|_| dice.below(senders.plan.deliveries.len() * 9 / 10)).collect();
    moments.sort_unstable();
    let mut acknowledged = senders.acknowledged.subscribe();
    for (number, moment) in moments.into_iter().enumerate() {
        let mut server = Server::start(serving(data));
        // Every fourth one dies while it starts.
        if number % 4 == 3 {
            tokio::time::sleep(dice.up_to(LONGEST_START)).await;
        } else {
            senders.address.send_replace(Some(server.address().await));
            let _ = acknowledged.wait_for(|count| *count >= moment).await;
            tokio::time::sleep(dice.up_to(LONGEST_MOMENT)).await;
        }
        server.kill().await;
        senders.address.send_replace(None);
    }
    let mut server = Server::start(serving(data));
    senders.address.send_replace(Some(server.address().await));
    server
}

/// Waits until all is normalised, stops the server and looks at the log.
async fn finish(senders: &Senders, data: &Path, server: Server) {
    let engines = Engines::open(&config(data), Access::Read, Arc::new(SystemClock)).await.expect("the log opens");
    let mut events = engines.event_log().subscribe(Position::START, Filter { categories: vec![Category::Intake] });
    let mut without_outcome = senders.plan.messages.len();
    let all = async {
        while without_outcome > 0 {
            let event = events.next().await.expect("the subscription goes on").expect("the log can be read");
            without_outcome -= usize::from(event.event_type.as_ref() != "intake.received");
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("everything is normalised in time");
    let status = server.stop(None).await;
    assert!(status.success(), "the server stops well when it is asked to: {status}");
    let history = History::read(&engines).await;
    engines.log.close().await;
    let events: Vec<EventId> = senders.events.lock().iter().map(|event| event.expect("all acknowledged")).collect();
    history.check(&senders.plan, &events);
}

/// Lets the read models catch up, then makes them anew and compares.
async fn rebuilt_read_models_are_the_same(data: &Path) {
    let app = App::start(config(data), Tokens::none(Arc::new(SystemClock))).await.expect("the server starts");
    let head = app.log().head().await.expect("the log can be read");
    app.views().expect("it keeps them").wait_for(head, PATIENCE).await.expect("the read models keep up");
    app.stop().await;
    let rebuild = letopis(data).args(["rebuild", "--check"]).output().await.expect("rebuild runs");
    let said = String::from_utf8_lossy(&rebuild.stdout).trim().replace('\n', "; ");
    say(format_args!("kill: rebuild: {said}"));
    assert!(rebuild.status.success(), "the read models differ from rebuilt ones: {said}");
    assert!(said.contains("parked: 0,"), "a read model could not apply an event: {said}");
}
