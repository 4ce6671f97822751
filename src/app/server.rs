//! The HTTP server of a process: what it answers by its roles.
//!
//! **Invariant:** health and metrics are answered by every process, whatever its roles; without the role `http` nothing
//! else is.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::{App as HttpApp, HttpServer, web};
use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::config::Config;
use crate::http::graphql::GraphqlTransport;
use crate::http::health::Health;
use crate::http::media::Files;
use crate::http::visitor::VisitorSockets;
use crate::http::webhooks::Intake;
use crate::http::{Sdl, graphql as transport, health, media, visitor, webhooks};

/// What the role `http` answers with.
#[derive(Clone)]
pub(super) struct Pages {
    intake: web::Data<Intake>,
    sockets: web::Data<VisitorSockets>,
    files: web::Data<Files>,
    sdl: web::Data<Sdl>,
    transport: Arc<GraphqlTransport>,
}

impl Pages {
    pub(super) fn new(
        intake: web::Data<Intake>,
        sockets: VisitorSockets,
        files: Files,
        sdl: String,
        transport: Arc<GraphqlTransport>,
    ) -> Self {
        let (sockets, files, sdl) = (web::Data::new(sockets), web::Data::new(files), web::Data::new(Sdl(sdl)));
        Self { intake, sockets, files, sdl, transport }
    }

    fn routes(&self, config: &mut web::ServiceConfig) {
        config
            .app_data(web::Data::clone(&self.intake))
            .app_data(web::Data::clone(&self.sockets))
            .app_data(web::Data::clone(&self.files))
            .app_data(web::Data::clone(&self.sdl))
            .app_data(web::PayloadConfig::new(media::MAX_UPLOAD_BYTES))
            .route("/webhooks/{channel}/{account}", web::post().to(webhooks::receive))
            .route("/webchat/{account}", web::get().to(visitor::connect))
            .route("/uploads", web::post().to(media::upload))
            .route("/media/{conversation}/{message}/{index}", web::get().to(media::download))
            .route("/schema.graphql", web::get().to(crate::http::sdl))
            .configure(transport::routes(Arc::clone(&self.transport)));
    }
}

/// Starts the server on a socket that is bound; returns where it listens.
pub(super) fn serve(
    config: &Config,
    listener: TcpListener,
    health: web::Data<Health>,
    metrics: web::Data<PrometheusHandle>,
    pages: Option<Pages>,
) -> anyhow::Result<(Server, SocketAddr)> {
    let allowed = config.http.allowed_origins.clone();
    let server = HttpServer::new(move || {
        let pages = pages.clone();
        HttpApp::new()
            .wrap(crate::http::cors(&allowed))
            .app_data(web::Data::clone(&health))
            .app_data(web::Data::clone(&metrics))
            .route("/health/live", web::get().to(health::live))
            .route("/health/ready", web::get().to(health::ready))
            .route("/metrics", web::get().to(health::metrics))
            .configure(move |config| {
                if let Some(pages) = &pages {
                    pages.routes(config);
                }
            })
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
    Ok((server.run(), address))
}
