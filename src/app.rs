//! The composition root: everything is built and wired here, and nowhere else.
//!
//! **Invariant:** ports are handed in as what they are; no globals but the metrics recorder. Shutdown goes in the
//! order of a message: no more requests, then reactors, then projections, then the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App as HttpApp, HttpServer, web};
use anyhow::Context;
use events::checkpoints::CheckpointStore;
use events::checkpoints::folder::FolderCheckpoints;
use events::clock::Clock;
use events::consumer::{self, ConsumerConfig, ConsumerState, ConsumerStatus, Stopped};
use events::envelope::Position;
use events::feed::{EventFeed, LogFeed};
use events::log::EventLog;
use models::handler::Handler;
use projections::projector::Projector;
use projections::store::ReadStore;
use projections::store::sqlite::{SqliteConfig, SqliteStore};
use projections::views::Views;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::clock::{SystemClock, SystemIds};
use crate::config::Config;
use crate::engines::{Access, Engines};
use crate::http::auth::Tokens;
use crate::http::endpoint::SchemaEndpoint;
use crate::http::health::{Health, Lag};
use crate::http::media::Files;
use crate::http::visitor::{SocketBounds, VisitorSockets};
use crate::http::webhooks::Intake;
use crate::http::{Sdl, graphql as transport, health, media, visitor, webhooks};
use crate::inbound::{Inbound, InboundConsumer};
use crate::media::Media;
use crate::outbound::{Carrier, Outbound};
use crate::pressure::{GivingWay, Pressure};
use crate::registrar::ProviderRegistrar;
use crate::snooze::Snooze;
use crate::visitors::Visitors;
use crate::{shutdown, telemetry};

/// How long a query waits for its token before it answers `STALE_READ`.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// How often senders that have been quiet are forgotten.
const TIDY_UP_EVERY: Duration = Duration::from_secs(60);
/// How long a connection to a provider may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that the system holds until they are accepted.
///
/// **Source:** the default of actix-server, which it applies only to sockets that it binds itself.
const BACKLOG: u32 = 2048;

/// Events gather for so long before the read models are written again: a commit for a few events costs about as much
/// as one for fifty (`docs/benchmarks.md`).
const PROJECTIONS_GATHER: Duration = Duration::from_millis(5);

/// The same for media, which few messages have and which take longer to fetch: whoever looks for them among all messages
/// need not be woken for each.
const MEDIA_GATHER: Duration = Duration::from_millis(50);

/// Most events in one commit of the read models: in a backlog a page is written once for all its rows in so many.
const PROJECTIONS_BATCH: usize = 4_096;

/// A running letopis.
pub struct App {
    address: SocketAddr,
    server: ServerHandle,
    served: JoinHandle<std::io::Result<()>>,
    close_sockets: CancellationToken,
    stop_reactors: watch::Sender<bool>,
    reactors: Vec<JoinHandle<()>>,
    stop_projections: watch::Sender<bool>,
    projections: Vec<JoinHandle<()>>,
    engines: Engines,
    handler: Handler,
    views: Views,
}

impl App {
    /// Builds everything and starts to serve.
    ///
    /// # Errors
    /// The configuration cannot be used, the data cannot be opened, or the address is taken.
    pub async fn start(config: Config, tokens: Tokens) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        anyhow::ensure!(
            !tokens.is_empty() || config.http.listen.ip().is_loopback(),
            "without auth.tokens_file the server listens on loopback only; http.listen is {}",
            config.http.listen
        );
        let metrics = telemetry::install_metrics()?;
        let engines = Engines::open(&config, Access::Append, Arc::clone(&clock)).await?;
        let log = engines.event_log();
        let codec = engines.codec.clone();
        let handler = Handler::new(Arc::clone(&log), codec.clone()).sole_writer();
        let accounts = Accounts::load(Arc::clone(&log), codec.clone()).await.context("accounts cannot be read")?;
        let store = SqliteStore::open(&config.data_file("views.db"), &SqliteConfig::default()).await;
        let store: Arc<dyn ReadStore> =
            Arc::new(store.context("read models cannot be opened: `letopis rebuild` makes them anew")?);
        let views = Views::new(Arc::clone(&store));
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        let tokens = Arc::new(tokens);
        let visitors = Arc::new(Visitors::new(config.webchat.max_sockets_per_account));
        // Before anything that writes or sends is started: who cannot serve must not do that either.
        let listener = bind(config.http.listen).with_context(|| format!("cannot listen on {}", config.http.listen))?;
        let mut tasks = Tasks::new(Arc::clone(&log), Arc::clone(&clock));

        tasks.project(Projector::new(codec.clone(), store));
        tasks.follow_accounts(Arc::clone(&accounts));
        tasks.wake_visitors(Arc::clone(&log), Arc::clone(&visitors)).await?;
        let checkpoints = FolderCheckpoints::open(config.data_file("checkpoints")).context("checkpoints")?;
        let checkpoints: Arc<dyn CheckpointStore> = Arc::new(checkpoints);
        let inbound = Inbound::new(handler.clone(), Arc::clone(&accounts), Arc::clone(&engines.blobs));
        tasks.react(InboundConsumer::new(Arc::new(inbound), Arc::clone(&checkpoints)), Duration::ZERO);
        let media = Media {
            handler: handler.clone(),
            accounts: Arc::clone(&accounts),
            blobs: Arc::clone(&engines.blobs),
            client: client.clone(),
            telegram_api: config.telegram.api_base.clone(),
            clock: Arc::clone(&clock),
            checkpoints: Arc::clone(&checkpoints),
        };
        tasks.react(media, MEDIA_GATHER);
        let carrier = Carrier {
            client: client.clone(),
            telegram_api: config.telegram.api_base.clone(),
            timeout: Duration::from_secs(config.outbound.timeout_s),
            blobs: Arc::clone(&engines.blobs),
            sealer: codec.sealer().clone(),
            hasher: codec.hasher().clone(),
            visitors: Arc::clone(&visitors),
        };
        let outbound =
            Outbound::new(handler.clone(), Arc::clone(&accounts), carrier, Arc::clone(&clock), config.outbound.clone());
        tasks.send(outbound, checkpoints);

        tasks.wake(Snooze { handler: handler.clone(), views: views.clone(), clock: Arc::clone(&clock) });

        let files = Files {
            blobs: Arc::clone(&engines.blobs),
            codec: codec.clone(),
            views: views.clone(),
            tokens: Arc::clone(&tokens),
        };
        let registrar = ProviderRegistrar {
            accounts: Arc::clone(&accounts),
            client,
            telegram_api: config.telegram.api_base.clone(),
            public_url: config.http.public_url.clone(),
        };
        let schema = graphql::build(graphql::Dependencies {
            handler: handler.clone(),
            views: views.clone(),
            clock: Arc::clone(&clock),
            webhooks: Arc::new(registrar),
            uploads: Arc::new(files.clone()),
            patience: READ_PATIENCE,
            documents: graphql::DocumentPolicy::default(),
        });
        let endpoint = SchemaEndpoint::new(schema, Arc::new(SystemIds));
        let sdl = web::Data::new(Sdl(endpoint.sdl()));
        let close_sockets = CancellationToken::new();
        let transport = endpoint.transport(&config, tokens, Arc::clone(&clock), close_sockets.clone());
        let intake = web::Data::new(Intake::new(
            Arc::clone(&accounts),
            Arc::clone(&log),
            codec.clone(),
            Arc::clone(&engines.blobs),
            clock,
            config.webhooks.clone(),
            Arc::clone(&tasks.pressure),
        ));
        tasks.tidy_up(web::Data::clone(&intake));
        let visitor_sockets = web::Data::new(VisitorSockets::new(
            web::Data::clone(&intake),
            (accounts, visitors),
            (Arc::clone(&log), codec),
            close_sockets.clone(),
            SocketBounds { max_message_bytes: config.webhooks.max_body_bytes, ..SocketBounds::default() },
        ));
        let health = web::Data::new(Health { log, consumers: tasks.lags.clone(), max_lag_s: config.health.max_lag_s });
        let (intake, files, metrics) = (intake, web::Data::new(files), web::Data::new(metrics));

        let allowed = config.http.allowed_origins.clone();
        let server = HttpServer::new(move || {
            HttpApp::new()
                .wrap(crate::http::cors(&allowed))
                .app_data(web::Data::clone(&intake))
                .app_data(web::Data::clone(&visitor_sockets))
                .app_data(web::Data::clone(&health))
                .app_data(web::Data::clone(&files))
                .app_data(web::Data::clone(&metrics))
                .app_data(web::PayloadConfig::new(media::MAX_UPLOAD_BYTES))
                .route("/webhooks/{channel}/{account}", web::post().to(webhooks::receive))
                .route("/webchat/{account}", web::get().to(visitor::connect))
                .route("/uploads", web::post().to(media::upload))
                .route("/media/{conversation}/{message}/{index}", web::get().to(media::download))
                .route("/health/live", web::get().to(health::live))
                .route("/health/ready", web::get().to(health::ready))
                .route("/metrics", web::get().to(health::metrics))
                .app_data(web::Data::clone(&sdl))
                .route("/schema.graphql", web::get().to(crate::http::sdl))
                .configure(transport::routes(Arc::clone(&transport)))
                .default_service(web::to(crate::http::nothing_here))
        });
        let workers = match config.http.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            workers => workers,
        };
        let server = server
            .workers(workers)
            .disable_signals()
            // What a socket is told goes at once: else the second of two messages waits for the other side's delayed
            // acknowledgement of the first, 40 ms on Linux (RFC 896 beside RFC 1122, section 4.2.3.2).
            .tcp_nodelay(true)
            .on_connect(transport::remember_connection)
            .shutdown_timeout(config.http.shutdown_timeout_s)
            .listen(listener)
            .with_context(|| format!("cannot serve on {}", config.http.listen))?;
        let address = server.addrs().first().copied().context("no address was bound")?;
        let server = server.run();
        let handle = server.handle();
        let served = tokio::spawn(server);
        tracing::info!(%address, data_dir = %config.data_dir.display(), "letopis serves");
        Ok(Self {
            address,
            server: handle,
            served,
            close_sockets,
            stop_reactors: tasks.stop_reactors,
            reactors: tasks.reactors,
            stop_projections: tasks.stop_projections,
            projections: tasks.projections,
            engines,
            handler,
            views,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The log it writes to.
    #[must_use]
    pub fn log(&self) -> Arc<dyn EventLog> {
        self.engines.event_log()
    }

    /// What carries its commands out. It alone may: what it holds in memory stands for the log.
    #[must_use]
    pub const fn handler(&self) -> &Handler {
        &self.handler
    }

    /// The engines under it.
    #[must_use]
    pub const fn engines(&self) -> &Engines {
        &self.engines
    }

    /// Its read models.
    #[must_use]
    pub const fn views(&self) -> &Views {
        &self.views
    }

    /// Finishes what was acknowledged and stops.
    pub async fn stop(self) {
        self.close_sockets.cancel();
        self.server.stop(true).await;
        if let Ok(Err(error)) = self.served.await {
            tracing::error!(%error, "the HTTP server ended badly");
        }
        // Whoever listened is gone already when this fails.
        let _ = self.stop_reactors.send(true);
        for reactor in self.reactors {
            let _ = reactor.await;
        }
        let _ = self.stop_projections.send(true);
        for projection in self.projections {
            let _ = projection.await;
        }
        self.engines.log.close().await;
        tracing::info!("letopis stopped");
    }
}

/// Takes the address; what connects waits until the server runs.
fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// The tasks that follow the log.
struct Tasks {
    feed: Arc<dyn EventFeed>,
    clock: Arc<dyn Clock>,
    stop_reactors: watch::Sender<bool>,
    reactors: Vec<JoinHandle<()>>,
    stop_projections: watch::Sender<bool>,
    projections: Vec<JoinHandle<()>>,
    lags: Vec<Arc<dyn Lag>>,
    pressure: Arc<Pressure>,
}

impl Tasks {
    fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>) -> Self {
        Self {
            pressure: Arc::default(),
            feed: Arc::new(LogFeed::new(log)),
            clock,
            stop_reactors: watch::Sender::new(false),
            reactors: Vec::new(),
            stop_projections: watch::Sender::new(false),
            projections: Vec::new(),
            lags: Vec::new(),
        }
    }

    fn consume(
        &mut self,
        handler: impl consumer::Handler + 'static,
        config: ConsumerConfig,
        stop: &watch::Sender<bool>,
    ) -> JoinHandle<()> {
        let status = Arc::new(ConsumerStatus::default());
        self.lags.push(Arc::new(ConsumerLag {
            name: handler.name().to_owned(),
            of_all: handler.filter().categories.is_empty(),
            status: Arc::clone(&status),
            clock: Arc::clone(&self.clock),
        }));
        let (feed, shutdown) = (Arc::clone(&self.feed), stop.subscribe());
        let handler: Arc<dyn consumer::Handler> = Arc::new(GivingWay { handler, pressure: Arc::clone(&self.pressure) });
        tokio::spawn(async move {
            let stopped = consumer::run(&*feed, Arc::clone(&handler), &config, &status, shutdown).await;
            if let Stopped::Halted { reason } = stopped {
                tracing::error!(consumer.name = handler.name(), reason, "stopped until somebody looks");
            }
        })
    }

    fn project(&mut self, projector: Projector) {
        let stop = self.stop_projections.clone();
        let config =
            ConsumerConfig { gather: PROJECTIONS_GATHER, batch: PROJECTIONS_BATCH, ..ConsumerConfig::default() };
        let task = self.consume(projector, config, &stop);
        self.projections.push(task);
    }

    fn react(&mut self, reactor: impl consumer::Handler + 'static, gather: Duration) {
        let stop = self.stop_reactors.clone();
        let task = self.consume(reactor, ConsumerConfig { gather, ..ConsumerConfig::default() }, &stop);
        self.reactors.push(task);
    }

    fn follow_accounts(&mut self, accounts: Arc<Accounts>) {
        let mut stop = self.stop_projections.subscribe();
        self.projections.push(tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    () = shutdown::asked(&mut stop) => return,
                    ended = accounts.follow() => if let Err(error) = ended {
                        tracing::warn!(error = %error, "accounts will be followed again");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        }));
    }

    async fn wake_visitors(&mut self, log: Arc<dyn EventLog>, visitors: Arc<Visitors>) -> anyhow::Result<()> {
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
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        }));
        Ok(())
    }

    fn send(&mut self, outbound: Arc<Outbound>, checkpoints: Arc<dyn CheckpointStore>) {
        let stop = self.stop_reactors.subscribe();
        let lag: Arc<dyn Lag> = Arc::clone(&outbound) as _;
        self.lags.push(lag);
        self.reactors.push(tokio::spawn(async move {
            while !*stop.borrow() {
                let run = Arc::clone(&outbound).run(Arc::clone(&checkpoints), stop.clone());
                if let Err(error) = run.await {
                    tracing::warn!(error = %error, "sending will be taken up again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }));
    }

    fn wake(&mut self, snooze: Snooze) {
        let snooze = Arc::new(snooze);
        self.every(crate::snooze::LOOK_EVERY, move || {
            let snooze = Arc::clone(&snooze);
            async move {
                if let Err(error) = snooze.wake_all().await {
                    tracing::warn!(%error, "snoozed conversations will be looked for again");
                }
            }
        });
    }

    fn tidy_up(&mut self, intake: web::Data<Intake>) {
        self.every(TIDY_UP_EVERY, move || {
            intake.tidy_up();
            std::future::ready(())
        });
    }

    /// Does something again and again, with so much time between two beginnings at least, until the reactors stop.
    fn every<F: Future<Output = ()> + Send>(&mut self, period: Duration, act: impl Fn() -> F + Send + 'static) {
        let mut stop = self.stop_reactors.subscribe();
        self.reactors.push(tokio::spawn(async move {
            let mut tick = tokio::time::interval(period);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    () = shutdown::asked(&mut stop) => return,
                    _ = tick.tick() => act().await,
                }
            }
        }));
    }
}

struct ConsumerLag {
    name: String,
    /// True when it consumes every event.
    of_all: bool,
    status: Arc<ConsumerStatus>,
    clock: Arc<dyn Clock>,
}

impl Lag for ConsumerLag {
    fn name(&self) -> &str {
        &self.name
    }

    fn positions(&self, head: Position) -> u64 {
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

    fn halted(&self) -> Option<String> {
        match self.status.state() {
            ConsumerState::Halted { reason } => Some(reason),
            ConsumerState::Starting
            | ConsumerState::Running
            | ConsumerState::Waiting { .. }
            | ConsumerState::Stopped => None,
        }
    }

    fn bears_on_readiness(&self) -> bool {
        self.name != crate::media::NAME
    }
}
