//! A consumer that does not take what comes.
//!
//! **Invariant:** time passes only where time is what the test is about: how long a thread is held up.

use std::collections::HashMap;

use super::super::tests::house::{Feeding, House, Store, next};
use super::*;
use crate::consumer::{self, Batch, ConsumeError, ConsumerConfig, ConsumerState, ConsumerStatus, Handler, Stopped};
use crate::envelope::{Revision, StreamName};
use crate::feed::Checkpoints;
use crate::feed::kafka::KafkaFeed;
use crate::log::EventLog as _;
use crate::testing::{fresh_stream, fresh_tenant, fresh_uuid, sample_time};
use async_trait::async_trait;

/// Half as much again as can wait.
const EVENTS: usize = (WAITING + 1) * CHUNK * 3 / 2;
const STREAMS: usize = 16;

/// Long enough for a thread that is held up to have paused its partitions and to have asked for more.
const HELD: Duration = HOLD.saturating_mul(2);

/// Asks until the answer is yes, or far too long.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let asking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), asking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Many events in Kafka, a member of a group whose consumer takes nothing of its own accord, and what waits for it.
struct Pressed {
    house: House,
    store: Arc<Store>,
    waiting: mpsc::Receiver<Chunk>,
    owned: Owned,
    /// The last revision of each stream that was taken.
    taken: HashMap<StreamName, Revision>,
}

impl Pressed {
    /// The member's thread is held up, or will be with the next chunk.
    async fn new() -> Self {
        let house = House::new().await;
        let tenant = fresh_tenant();
        // Something else that its consumer has handled: what comes first is an event, not the watermark before all.
        house.append(&StreamName::new(Category::Link, tenant.clone(), fresh_uuid()), 1).await;
        house.published().await;
        let handled = house.log.head().await.unwrap();
        for _ in 0..STREAMS {
            house.append(&fresh_stream(&tenant), EVENTS / STREAMS).await;
        }
        house.published().await;
        let (store, owned) = (Arc::new(Store::at(handled)), Owned::default());
        let member = Member {
            categories: vec![Category::Conversation],
            group: format!("{}.pressed", house.config.topics().prefix()),
            config: Arc::new(house.config.clone()),
            follower: Arc::clone(&store) as _,
            owned: Arc::clone(&owned),
            runtime: Handle::current(),
        };
        let (sender, waiting) = mpsc::channel(WAITING);
        std::thread::spawn(move || member.run(&sender, oneshot::channel().0));
        until("there is no more room", || waiting.len() == WAITING).await;
        Self { house, store, waiting, owned, taken: HashMap::new() }
    }

    /// Another member of the group, when it has taken a part over and something of it has come.
    async fn other(&self) -> Feeding {
        let before = self.parts();
        let mut other = self.house.follow("pressed", Arc::clone(&self.store) as _).await;
        next(&mut other).await;
        assert!(self.parts() < before, "the first one polls, or the other would have got nothing");
        other
    }

    fn parts(&self) -> usize {
        self.owned.lock().len()
    }

    /// Takes the next chunk as the feed does, and stores its checkpoints. Every event comes once, in the order of its stream.
    async fn take(&mut self) {
        let chunk = tokio::time::timeout(Duration::from_secs(30), self.waiting.recv()).await;
        let chunk = chunk.expect("something comes").expect("the thread runs");
        for came in chunk {
            let kept = keep(&self.owned.lock(), came);
            if let Some(Fed::Event(delivery)) = kept.map(|came| came.expect("the feed goes on")) {
                self.store.0.lock().add(&delivery.checkpoint);
                let event = delivery.event;
                let expected = self.taken.get(&event.stream).map_or(Revision(0), |last| last.next());
                assert_eq!(event.revision, expected, "{}", event.stream);
                self.taken.insert(event.stream, expected);
            }
        }
    }

    async fn take_all(&mut self) {
        while self.taken.len() < STREAMS || self.taken.values().any(|last| last.0 + 1 < (EVENTS / STREAMS) as u64) {
            self.take().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_takes_nothing_stays_in_its_group_and_then_gets_all_in_order() {
    let mut pressed = Pressed::new().await;
    let parts = pressed.parts();
    // It gives a part up and gets it back, though nobody takes anything.
    drop(pressed.other().await);
    until("all parts are its own again", || pressed.parts() == parts).await;
    // Long enough for something of a part that was assigned meanwhile to have come where there is no room.
    tokio::time::sleep(HOLD * 3 / 2).await;
    assert_eq!(pressed.waiting.len(), WAITING);
    pressed.take_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_was_given_up_while_its_consumer_took_nothing_is_followed_when_it_comes_back() {
    let mut pressed = Pressed::new().await;
    let other = pressed.other().await;
    // More than waited: the thread goes on with the parts that it has.
    for _ in 0..WAITING + 2 {
        pressed.take().await;
    }
    drop(other);
    pressed.take_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_consumer_that_takes_nothing_is_bounded() {
    let mut pressed = Pressed::new().await;
    tokio::time::sleep(HELD).await;
    // Nothing can be fetched now: what comes is what waited.
    (1..=3).for_each(|broker| pressed.house.brokers.act(move |cluster| cluster.broker_down(broker).unwrap()));
    tokio::time::sleep(HELD).await;
    let mut waited = 0;
    while let Ok(Some(chunk)) = tokio::time::timeout(HELD, pressed.waiting.recv()).await {
        waited += chunk.iter().filter(|came| came.is_ok()).count();
    }
    assert!(waited > 0 && waited <= (WAITING + 1) * CHUNK, "{waited}");
}

/// Takes everything.
struct Taking(Mutex<Checkpoints>);

#[async_trait]
impl Handler for Taking {
    fn name(&self) -> &'static str {
        "taking"
    }

    fn filter(&self) -> Filter {
        Filter { categories: vec![Category::Conversation] }
    }

    async fn load_checkpoints(&self) -> Result<Checkpoints, ConsumeError> {
        Ok(self.0.lock().clone())
    }

    async fn handle(&self, batch: &Batch) -> Result<(), ConsumeError> {
        self.0.lock().merge(&batch.checkpoints());
        Ok(())
    }

    async fn park(&self, _delivery: &Delivery, reason: &str) -> Result<(), ConsumeError> {
        Err(ConsumeError::Halt(reason.to_owned()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_can_reach_no_broker_tells_so_and_for_how_long_and_then_goes_on() {
    let house = House::new().await;
    let stream = fresh_stream(&fresh_tenant());
    house.append(&stream, 5).await;
    let (status, feed) = (Arc::new(ConsumerStatus::default()), KafkaFeed::new(house.config.clone()));
    let (stop, stopped) = watch::channel(false);
    let told = Arc::clone(&status);
    let running = tokio::spawn(async move {
        let taking = Arc::new(Taking(Mutex::default()));
        consumer::run(&feed, taking, &ConsumerConfig::default(), &told, stopped).await
    });
    until("what is there is handled", || status.counts()[0] == 5).await;
    // The clock of these tests stands at when the events were recorded: what is old is the waiting.
    let age = || status.lag(None, sample_time()).age;
    assert_eq!((status.state(), age()), (ConsumerState::Running, Duration::ZERO));
    (1..=3).for_each(|broker| house.brokers.act(move |cluster| cluster.broker_down(broker).unwrap()));
    until("it waits", || matches!(status.state(), ConsumerState::Waiting { .. })).await;
    let before = age();
    until("it has been waiting for longer", || age() > before).await;
    assert!(matches!(status.state(), ConsumerState::Waiting { reason } if !reason.is_empty()));
    (1..=3).for_each(|broker| house.brokers.act(move |cluster| cluster.broker_up(broker).unwrap()));
    house.append(&stream, 5).await;
    until("the rest is handled", || status.counts()[0] == 10).await;
    assert_eq!((status.state(), age()), (ConsumerState::Running, Duration::ZERO));
    stop.send_replace(true);
    assert_eq!(running.await.unwrap(), Stopped::Shutdown);
}
