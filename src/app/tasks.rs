//! The tasks of a process: consumers, reactors, what is done again and again.
//!
//! **Invariant:** reactors stop before projections, so that what they wrote is still shown. What only one process may do
//! runs under a lease ([`crate::leased`]).

use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use events::checkpoints::CheckpointStore;
use events::clock::Clock;
use events::consumer::{self, ConsumerConfig, ConsumerState, ConsumerStatus, Stopped};
use events::envelope::Position;
use events::feed::EventFeed;
#[cfg(feature = "kafka")]
use events::feed::LogFeed;
#[cfg(feature = "kafka")]
use events::feed::kafka::{KafkaConfig, TopicSettings};
use events::lease::Leases;
use events::log::EventLog;
#[cfg(feature = "kafka")]
use events::relay::{self, Relay};
use futures::future::BoxFuture;
use projections::projector::Projector;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::accounts::Accounts;
use crate::clocks::Clocks;
use crate::http::health::Lag;
use crate::http::webhooks::Intake;
use crate::outbound::Outbound;
use crate::pressure::{GivingWay, Pressure};
use crate::routing::Routing;
use crate::snooze::Snooze;
use crate::visitors::Visitors;
use crate::{leased, shutdown};

/// How often senders that have been quiet are forgotten.
const TIDY_UP_EVERY: Duration = Duration::from_secs(60);

/// Events gather for so long before the read models are written again: a commit for a few events costs about as much
/// as one for fifty (`docs/benchmarks.md`).
const PROJECTIONS_GATHER: Duration = Duration::from_millis(5);

/// Most events taken together for the read models: several commits, so that some are decoded while others are written.
const PROJECTIONS_BATCH: usize = 16_384;

/// Pause before what ended with an error is begun again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What is done until it is told to stop, and may be begun again.
type Work = Box<dyn Fn(watch::Receiver<bool>) -> BoxFuture<'static, ()> + Send + Sync>;

/// The tasks of a process.
pub(super) struct Tasks {
    pub(super) feed: Arc<dyn EventFeed>,
    clock: Arc<dyn Clock>,
    leases: Arc<dyn Leases>,
    /// This process, as leases know it.
    holder: String,
    pub(super) stop_reactors: watch::Sender<bool>,
    pub(super) reactors: Vec<JoinHandle<()>>,
    pub(super) stop_projections: watch::Sender<bool>,
    pub(super) projections: Vec<JoinHandle<()>>,
    pub(super) lags: Vec<Arc<dyn Lag>>,
    pub(super) pressure: Arc<Pressure>,
}

impl Tasks {
    pub(super) fn new(
        feed: Arc<dyn EventFeed>,
        clock: Arc<dyn Clock>,
        leases: Arc<dyn Leases>,
        holder: String,
    ) -> Self {
        Self {
            pressure: Arc::default(),
            feed,
            clock,
            leases,
            holder,
            stop_reactors: watch::Sender::new(false),
            reactors: Vec::new(),
            stop_projections: watch::Sender::new(false),
            projections: Vec::new(),
            lags: Vec::new(),
        }
    }

    /// What consumes `handler`'s events for as long as it may.
    fn consumer(&mut self, handler: impl consumer::Handler + 'static, config: ConsumerConfig) -> Work {
        let status = Arc::new(ConsumerStatus::default());
        self.lags.push(Arc::new(ConsumerLag {
            name: handler.name().to_owned(),
            of_all: handler.filter().categories.is_empty(),
            status: Arc::clone(&status),
            clock: Arc::clone(&self.clock),
        }));
        let feed = Arc::clone(&self.feed);
        let handler: Arc<dyn consumer::Handler> = Arc::new(GivingWay { handler, pressure: Arc::clone(&self.pressure) });
        Box::new(move |shutdown| {
            let (feed, handler) = (Arc::clone(&feed), Arc::clone(&handler));
            let (config, status) = (config.clone(), Arc::clone(&status));
            Box::pin(async move {
                let stopped = consumer::run(&*feed, Arc::clone(&handler), &config, &status, shutdown.clone()).await;
                if let Stopped::Halted { reason } = stopped {
                    tracing::error!(consumer.name = handler.name(), reason, "stopped until somebody looks");
                    let mut shutdown = shutdown;
                    shutdown::asked(&mut shutdown).await;
                }
            })
        })
    }

    /// Keeps the read models. Where the feed comes in parts, processes share them.
    pub(super) fn project(&mut self, projector: Projector) {
        let config =
            ConsumerConfig { gather: PROJECTIONS_GATHER, batch: PROJECTIONS_BATCH, ..ConsumerConfig::default() };
        let consume = self.consumer(projector, config);
        let stop = self.stop_projections.subscribe();
        let task = if self.feed.layout().topics().is_some() {
            tokio::spawn(consume(stop))
        } else {
            self.held("projections".to_owned(), stop, consume)
        };
        self.projections.push(task);
    }

    /// Reacts to events. Where the feed comes in parts, processes share them; else one does it.
    pub(super) fn react(&mut self, reactor: impl consumer::Handler + 'static, gather: Duration) {
        let name = reactor.name().to_owned();
        let consume = self.consumer(reactor, ConsumerConfig { gather, ..ConsumerConfig::default() });
        if self.feed.layout().topics().is_some() {
            let task = tokio::spawn(consume(self.stop_reactors.subscribe()));
            self.reactors.push(task);
        } else {
            self.alone(name, consume);
        }
    }

    /// Does what only one process may, until the reactors stop.
    pub(super) fn alone<F>(&mut self, name: String, work: impl Fn(watch::Receiver<bool>) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = self.held(name, self.stop_reactors.subscribe(), work);
        self.reactors.push(task);
    }

    fn held<F>(
        &self,
        name: String,
        stop: watch::Receiver<bool>,
        work: impl Fn(watch::Receiver<bool>) -> F + Send + Sync + 'static,
    ) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (leases, holder) = (Arc::clone(&self.leases), self.holder.clone());
        tokio::spawn(async move { leased::hold(leases, &name, &holder, stop, work).await })
    }

    pub(super) fn follow_accounts(&mut self, accounts: Arc<Accounts>) {
        let mut stop = self.stop_projections.subscribe();
        self.projections.push(tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    () = shutdown::asked(&mut stop) => return,
                    ended = accounts.follow() => if let Err(error) = ended {
                        tracing::warn!(error = %error, "accounts will be followed again");
                        tokio::time::sleep(AGAIN_AFTER).await;
                    }
                }
            }
        }));
    }

    pub(super) async fn wake_visitors(
        &mut self,
        log: Arc<dyn EventLog>,
        visitors: Arc<Visitors>,
    ) -> anyhow::Result<()> {
        let mut stop = self.stop_projections.subscribe();
        // What is older is read by the sockets themselves when they open.
        let mut reached = log.head().await?;
        self.projections.push(tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    () = shutdown::asked(&mut stop) => return,
                    ended = visitors.follow(&*log, &mut reached) => if let Err(error) = ended {
                        tracing::warn!(error = %error, "visitors will be woken again");
                        tokio::time::sleep(AGAIN_AFTER).await;
                    }
                }
            }
        }));
        Ok(())
    }

    /// Sends what goes over a wire, from where it had come to.
    pub(super) fn send(&mut self, outbound: Arc<Outbound>, checkpoints: Arc<dyn CheckpointStore>) {
        let lag: Arc<dyn Lag> = Arc::clone(&outbound) as _;
        self.lags.push(lag);
        self.alone(crate::outbound::NAME.to_owned(), move |stop| {
            let (outbound, checkpoints) = (Arc::clone(&outbound), Arc::clone(&checkpoints));
            async move {
                while !*stop.borrow() {
                    let run = Arc::clone(&outbound).run(Some(Arc::clone(&checkpoints)), stop.clone());
                    if let Err(error) = run.await {
                        tracing::warn!(error = %error, "sending will be taken up again");
                        tokio::time::sleep(AGAIN_AFTER).await;
                    }
                }
            }
        });
    }

    /// Hands messages to the pages that are connected to this process.
    pub(super) fn serve_pages(&mut self, outbound: Arc<Outbound>) {
        let stop = self.stop_reactors.subscribe();
        self.reactors.push(tokio::spawn(async move {
            while !*stop.borrow() {
                let run = Arc::clone(&outbound).run(None, stop.clone());
                if let Err(error) = run.await {
                    tracing::warn!(error = %error, "messages for pages will be taken up again");
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }));
    }

    /// Publishes the log to Kafka.
    #[cfg(feature = "kafka")]
    pub(super) fn relay(
        &mut self,
        log: Arc<dyn EventLog>,
        config: KafkaConfig,
        settings: Option<TopicSettings>,
        checkpoints: &Arc<dyn CheckpointStore>,
    ) {
        let status = Arc::new(ConsumerStatus::default());
        self.lags.push(Arc::new(ConsumerLag {
            name: relay::NAME.to_owned(),
            of_all: true,
            status: Arc::clone(&status),
            clock: Arc::clone(&self.clock),
        }));
        let checkpoints = Arc::clone(checkpoints);
        self.alone(relay::NAME.to_owned(), move |stop| {
            let (log, feed, config) = (Arc::clone(&log), LogFeed::new(Arc::clone(&log)), config.clone());
            let (checkpoints, status) = (Arc::clone(&checkpoints), Arc::clone(&status));
            async move {
                let mut stopped = stop.clone();
                let start = Relay::start(&config, settings, &*log, &checkpoints, &status, stop);
                let Some(relay) = start.await else { return };
                if let Stopped::Halted { reason } = relay.run(&feed, &status).await {
                    tracing::error!(reason, "the relay stopped until somebody looks");
                    shutdown::asked(&mut stopped).await;
                }
            }
        });
    }

    pub(super) fn wake(&mut self, snooze: Snooze) {
        let snooze = Arc::new(snooze);
        self.alone(crate::snooze::NAME.to_owned(), move |stop| {
            let snooze = Arc::clone(&snooze);
            every(crate::snooze::LOOK_EVERY, stop, move || {
                let snooze = Arc::clone(&snooze);
                async move {
                    if let Err(error) = snooze.wake_all().await {
                        tracing::warn!(%error, "snoozed conversations will be looked for again");
                    }
                }
            })
        });
    }

    pub(super) fn watch_clocks(&mut self, clocks: Clocks) {
        let clocks = Arc::new(clocks);
        self.alone(crate::clocks::NAME.to_owned(), move |stop| {
            let clocks = Arc::clone(&clocks);
            async move { clocks.run(stop).await }
        });
    }

    pub(super) fn share_out(&mut self, routing: Routing) {
        let routing = Arc::new(routing);
        self.alone(crate::routing::NAME.to_owned(), move |stop| {
            let routing = Arc::clone(&routing);
            async move { routing.run(stop).await }
        });
    }

    pub(super) fn tidy_up(&mut self, intake: web::Data<Intake>) {
        let stop = self.stop_reactors.subscribe();
        self.reactors.push(tokio::spawn(every(TIDY_UP_EVERY, stop, move || {
            intake.tidy_up();
            std::future::ready(())
        })));
    }
}

/// Does something again and again, with so much time between two beginnings at least, until it is to stop.
async fn every<F: Future<Output = ()> + Send>(
    period: Duration,
    mut stop: watch::Receiver<bool>,
    act: impl Fn() -> F + Send,
) {
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown::asked(&mut stop) => return,
            _ = tick.tick() => act().await,
        }
    }
}

/// The state of a consumer, for readiness and metrics.
pub(super) struct ConsumerLag {
    pub(super) name: String,
    /// True when it consumes every event.
    pub(super) of_all: bool,
    pub(super) status: Arc<ConsumerStatus>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Lag for ConsumerLag {
    fn name(&self) -> &str {
        &self.name
    }

    fn positions(&self, head: Position) -> u64 {
        // One that stands by for a lease is behind in nothing: whoever holds it tells how far it is.
        if matches!(self.status.state(), ConsumerState::Starting | ConsumerState::Stopped) {
            return 0;
        }
        // A consumer of some categories is at no event of the others, so only one of all can be held against the head.
        let head = self.of_all.then_some(head);
        self.status.lag(head, self.clock.now()).positions
    }

    fn seconds(&self) -> f64 {
        self.status.lag(None, self.clock.now()).age.as_secs_f64()
    }

    fn parked(&self) -> u64 {
        let [.., parked] = self.status.counts();
        parked
    }

    fn held_parts(&self) -> usize {
        self.status.held_parts()
    }

    fn halted(&self) -> Option<String> {
        match self.status.state() {
            ConsumerState::Halted { reason } => Some(reason),
            ConsumerState::Starting
            | ConsumerState::Running
            | ConsumerState::Waiting { .. }
            | ConsumerState::Stopped => None,
        }
    }

    fn waiting(&self) -> Option<String> {
        match self.status.state() {
            ConsumerState::Waiting { reason } => Some(reason),
            _ => None,
        }
    }

    fn bears_on_readiness(&self) -> bool {
        self.name != crate::media::NAME
    }
}

#[cfg(all(test, feature = "kafka"))]
mod tests;
