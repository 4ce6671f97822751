//! The composition root: everything is built and wired here, and nowhere else.
//!
//! **Invariant:** ports are handed in as what they are; no globals but the metrics recorder. Shutdown goes in the
//! order of a message: no more requests, then reactors, then projections, then the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web;
use anyhow::Context;
use events::checkpoints::CheckpointStore;
use events::clock::{Clock, IdGenerator};
use events::drafts::Drafts;
use events::feed::EventFeed;
use events::heartbeats::Heartbeats;
use events::log::EventLog;
use models::handler::Handler;
use projections::projector::Projector;
use projections::views::Views;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::clock::{SystemClock, SystemIds};
use crate::clocks::Clocks;
#[cfg(feature = "kafka")]
use crate::config::FeedEngine;
use crate::config::{Config, Role};
use crate::engines::{self, Access, Engines};
use crate::http::auth::Tokens;
use crate::http::endpoint::SchemaEndpoint;
use crate::http::health::Health;
use crate::http::media::Files;
use crate::http::visitor::{SocketBounds, VisitorSockets};
use crate::http::webhooks::Intake;
use crate::inbound::{Inbound, InboundConsumer};
use crate::media::Media;
use crate::outbound::{Carrier, Outbound, Scope};
use crate::registrar::ProviderRegistrar;
use crate::roles::{self, Roles};
use crate::routing::Routing;
use crate::snooze::Snooze;
use crate::telemetry;
use crate::visitors::Visitors;

mod server;
mod tasks;

use server::{Pages, serve};
use tasks::Tasks;

/// How long a query waits for its token before it answers `STALE_READ`.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection to a provider may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that the system holds until they are accepted.
///
/// **Source:** the default of actix-server, which it applies only to sockets that it binds itself.
const BACKLOG: u32 = 2048;

/// Gathering time for media, which few messages have and which take longer to fetch: whoever looks for them among all
/// messages need not be woken for each.
const MEDIA_GATHER: Duration = Duration::from_millis(50);

/// A running letopis.
pub struct App {
    address: SocketAddr,
    server: ServerHandle,
    served: JoinHandle<std::io::Result<()>>,
    close_sockets: CancellationToken,
    stop_reactors: watch::Sender<bool>,
    reactors: Vec<JoinHandle<()>>,
    stop_projections: watch::Sender<bool>,
    feed: Arc<dyn EventFeed>,
    projections: Vec<JoinHandle<()>>,
    engines: Engines,
    handler: Handler,
    views: Option<Views>,
}

/// What the parts of a process share.
struct Parts {
    config: Config,
    clock: Arc<dyn Clock>,
    engines: Engines,
    handler: Handler,
    client: reqwest::Client,
    checkpoints: Arc<dyn CheckpointStore>,
    heartbeats: Arc<dyn Heartbeats>,
    drafts: Arc<dyn Drafts>,
    tokens: Arc<Tokens>,
}

impl App {
    /// Builds what the roles of this process need and starts to serve.
    ///
    /// # Errors
    /// The configuration cannot be used, the data cannot be opened, or the address is taken.
    pub async fn start(config: Config, tokens: Tokens) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let roles = config.roles();
        anyhow::ensure!(
            !tokens.is_empty() || config.http.listen.ip().is_loopback(),
            "without auth.tokens_file the server listens on loopback only; http.listen is {}",
            config.http.listen
        );
        roles::can_be_split(&config).map_err(|fault| anyhow::anyhow!("roles {}: {fault}", roles.names()))?;
        let metrics = telemetry::install_metrics()?;
        let access = if roles.appends() { Access::Append } else { Access::Read };
        let engines = Engines::open(&config, access, Arc::clone(&clock)).await?;
        let handler = Handler::new(engines.event_log(), engines.codec.clone());
        // Whoever is alone with the log need not look there for what others did.
        let handler = if engines.log.embedded().is_some() { handler.sole_writer() } else { handler };
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        let checkpoints = engines.checkpoints(&config).await?;
        // Before anything that writes or sends is started: who cannot serve must not do that either.
        let listener = bind(config.http.listen).with_context(|| format!("cannot listen on {}", config.http.listen))?;
        let leases = engines.leases(&config).await?;
        let heartbeats = engines.heartbeats(Arc::clone(&clock)).await?;
        let drafts = engines.drafts(Arc::clone(&clock)).await?;
        let mut tasks = Tasks::new(engines.feed(&config)?, Arc::clone(&clock), leases, holder());
        let store = if roles.has(Role::Project) || roles.reads_views() {
            Some(engines.views(&config, roles.has(Role::Project)).await?)
        } else {
            None
        };
        let layout = engines::layout(&config)?;
        let views = store.clone().map(|store| Views::filled_by(store, layout));
        let tokens = Arc::new(tokens);
        let parts = Parts { config, clock, engines, handler, client, checkpoints, heartbeats, drafts, tokens };
        if let Some(store) = store
            && roles.has(Role::Project)
        {
            tasks.project(Projector::new(parts.engines.codec.clone(), store));
        }
        #[cfg(feature = "kafka")]
        if roles.has(Role::Relay) && parts.config.feed.engine == FeedEngine::Kafka {
            parts.relay(&mut tasks)?;
        }
        let close_sockets = CancellationToken::new();
        let mut pages = None;
        if let Some(views) = &views
            && roles.appends()
        {
            let log = parts.engines.event_log();
            let accounts = Accounts::load(log, parts.engines.codec.clone()).await.context("accounts cannot be read")?;
            let visitors = Arc::new(Visitors::new(parts.config.webchat.max_sockets_per_account));
            tasks.follow_accounts(Arc::clone(&accounts));
            parts.send(roles, &mut tasks, &accounts, &visitors);
            if roles.has(Role::React) {
                parts.react(&mut tasks, &accounts, views);
            }
            if roles.has(Role::Http) {
                tasks.wake_visitors(parts.engines.event_log(), Arc::clone(&visitors)).await?;
                pages = Some(parts.pages(&mut tasks, accounts, visitors, views, close_sockets.clone()));
            }
        }
        let health = Health {
            log: parts.engines.event_log(),
            appends: roles.appends(),
            consumers: tasks.lags.clone(),
            max_lag_s: parts.config.health.max_lag_s,
        };
        let (server, address) = serve(&parts.config, listener, web::Data::new(health), web::Data::new(metrics), pages)?;
        let handle = server.handle();
        let served = tokio::spawn(server);
        tracing::info!(%address, roles = roles.names(), data_dir = %parts.config.data_dir.display(), "letopis serves");
        Ok(Self {
            address,
            server: handle,
            served,
            close_sockets,
            stop_reactors: tasks.stop_reactors,
            reactors: tasks.reactors,
            stop_projections: tasks.stop_projections,
            feed: tasks.feed,
            projections: tasks.projections,
            engines: parts.engines,
            handler: parts.handler,
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

    /// Its read models; none in a process that neither keeps nor reads them.
    #[must_use]
    pub const fn views(&self) -> Option<&Views> {
        self.views.as_ref()
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
        self.feed.close().await;
        self.engines.log.close().await;
        tracing::info!("letopis stopped");
    }
}

impl Parts {
    #[cfg(feature = "kafka")]
    fn relay(&self, tasks: &mut Tasks) -> anyhow::Result<()> {
        let config = engines::kafka::config(&self.config)?;
        tasks.relay(self.engines.event_log(), config, engines::kafka::settings(&self.config), &self.checkpoints);
        Ok(())
    }

    /// What reacts to events.
    fn react(&self, tasks: &mut Tasks, accounts: &Arc<Accounts>, views: &Views) {
        let inbound = Inbound::new(self.handler.clone(), Arc::clone(accounts), Arc::clone(&self.engines.blobs));
        tasks.react(InboundConsumer::new(Arc::new(inbound), Arc::clone(&self.checkpoints)), Duration::ZERO);
        let media = Media {
            handler: self.handler.clone(),
            accounts: Arc::clone(accounts),
            blobs: Arc::clone(&self.engines.blobs),
            client: self.client.clone(),
            telegram_api: self.config.telegram.api_base.clone(),
            clock: Arc::clone(&self.clock),
            checkpoints: Arc::clone(&self.checkpoints),
        };
        tasks.react(media, MEDIA_GATHER);
        let (handler, views, clock) = (self.handler.clone(), views.clone(), Arc::clone(&self.clock));
        tasks.wake(Snooze { handler: handler.clone(), views: views.clone(), clock: Arc::clone(&clock) });
        let (heartbeats, presence_timeout) = (Arc::clone(&self.heartbeats), self.config.desk.presence_timeout());
        tasks.watch_clocks(Clocks { handler: handler.clone(), views: views.clone(), clock: Arc::clone(&clock) });
        tasks.share_out(Routing { handler, views, heartbeats, clock, presence_timeout });
    }

    /// What sends to customers.
    fn send(&self, roles: Roles, tasks: &mut Tasks, accounts: &Arc<Accounts>, visitors: &Arc<Visitors>) {
        let outbound = |scope| {
            let carrier = Carrier {
                client: self.client.clone(),
                telegram_api: self.config.telegram.api_base.clone(),
                timeout: Duration::from_secs(self.config.outbound.timeout_s),
                blobs: Arc::clone(&self.engines.blobs),
                sealer: self.engines.codec.sealer().clone(),
                hasher: self.engines.codec.hasher().clone(),
                visitors: Arc::clone(visitors),
            };
            let (clock, config) = (Arc::clone(&self.clock), self.config.outbound.clone());
            Outbound::new(scope, self.handler.clone(), Arc::clone(accounts), carrier, clock, config)
        };
        // Several processes may have both roles on a log that several may write to: then each serves its own pages.
        let alone = self.engines.log.embedded().is_some();
        match (roles.has(Role::Http), roles.has(Role::React)) {
            (true, true) if alone => tasks.send(outbound(Scope::All), Arc::clone(&self.checkpoints)),
            (http, react) => {
                if react {
                    tasks.send(outbound(Scope::Wires), Arc::clone(&self.checkpoints));
                }
                if http {
                    tasks.serve_pages(outbound(Scope::Pages));
                }
            }
        }
    }

    /// What the HTTP server answers beside health and metrics.
    fn pages(
        &self,
        tasks: &mut Tasks,
        accounts: Arc<Accounts>,
        visitors: Arc<Visitors>,
        views: &Views,
        close_sockets: CancellationToken,
    ) -> Pages {
        let (log, codec) = (self.engines.event_log(), self.engines.codec.clone());
        let files = Files {
            blobs: Arc::clone(&self.engines.blobs),
            codec: codec.clone(),
            views: views.clone(),
            tokens: Arc::clone(&self.tokens),
        };
        let registrar = ProviderRegistrar {
            accounts: Arc::clone(&accounts),
            client: self.client.clone(),
            telegram_api: self.config.telegram.api_base.clone(),
            public_url: self.config.http.public_url.clone(),
        };
        let schema = graphql::build(graphql::Dependencies {
            handler: self.handler.clone(),
            views: views.clone(),
            clock: Arc::clone(&self.clock),
            webhooks: Arc::new(registrar),
            uploads: Arc::new(files.clone()),
            heartbeats: Arc::clone(&self.heartbeats),
            drafts: Arc::clone(&self.drafts),
            presence_timeout: self.config.desk.presence_timeout(),
            patience: READ_PATIENCE,
            documents: graphql::DocumentPolicy::default(),
        });
        let endpoint = SchemaEndpoint::new(schema, Arc::new(SystemIds));
        let sdl = endpoint.sdl();
        let (tokens, clock) = (Arc::clone(&self.tokens), Arc::clone(&self.clock));
        let transport = endpoint.transport(&self.config, tokens, clock, close_sockets.clone());
        let intake = web::Data::new(Intake::new(
            Arc::clone(&accounts),
            Arc::clone(&log),
            codec.clone(),
            Arc::clone(&self.engines.blobs),
            Arc::clone(&self.clock),
            self.config.webhooks.clone(),
            Arc::clone(&tasks.pressure),
        ));
        tasks.tidy_up(web::Data::clone(&intake));
        let sockets = VisitorSockets::new(
            web::Data::clone(&intake),
            (accounts, visitors),
            (log, codec),
            close_sockets,
            SocketBounds { max_message_bytes: self.config.webhooks.max_body_bytes, ..SocketBounds::default() },
        );
        Pages::new(intake, sockets, files, sdl, transport)
    }
}

/// A name for this process, as leases want one: different on every start.
fn holder() -> String {
    format!("p{}", SystemIds.next().simple())
}

/// Takes the address; what connects waits until the server runs.
fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}
