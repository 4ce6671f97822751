//! A toy schema, toy tokens and a server around them, for the tests of the adapter.
//!
//! **Invariant:** nothing here waits for real time: what lasts, lasts until it is dropped or told to end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::{App, HttpServer, rt};
use async_graphql::{Context, Error, ErrorExtensions, Object, Request, Response, Schema, Subscription};
use async_trait::async_trait;
use chrono::{DateTime, TimeZone, Utc};
use events::clock::FixedClock;
use events::viewer::{Role, Viewer};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Authenticated, Authenticator, GraphqlConfig, GraphqlEndpoint, GraphqlTransport, remember_connection, routes,
};

/// The token that [`Toy`] knows from the start.
pub(super) const TOKEN: &str = "good-token";

/// Queries.
pub(super) struct Query;

#[Object]
impl Query {
    async fn tenant(&self, context: &Context<'_>) -> String {
        context.data_unchecked::<Viewer>().tenant.to_string()
    }

    async fn echo(&self, number: i32) -> i32 {
        number
    }

    /// Never comes back.
    async fn stuck(&self) -> i32 {
        std::future::pending().await
    }

    async fn broken(&self) -> Result<i32, Error> {
        Err(Error::new("table customers has no column phone"))
    }

    async fn missing(&self) -> Result<Option<i32>, Error> {
        Err(Error::new("no such thing").extend_with(|_, e| e.set("code", "NOT_FOUND")))
    }
}

/// Mutations.
pub(super) struct Mutation(Arc<AtomicUsize>);

#[Object]
impl Mutation {
    async fn bump(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// Subscriptions. Each tells on a channel when it is dropped.
pub(super) struct Subscriptions(mpsc::UnboundedSender<&'static str>);

/// Tells that it was dropped.
struct Drops(&'static str, mpsc::UnboundedSender<&'static str>);

impl Drop for Drops {
    fn drop(&mut self) {
        let _gone = self.1.send(self.0);
    }
}

#[Subscription]
impl Subscriptions {
    async fn count(&self, to: i32) -> impl Stream<Item = i32> {
        stream::iter(1..=to)
    }

    /// One result, then nothing, without an end.
    async fn never(&self) -> impl Stream<Item = i32> {
        let guard = Drops("never", self.0.clone());
        stream::iter([0]).chain(stream::pending()).map(move |number| {
            let _held = &guard;
            number
        })
    }

    /// Endless, 64 KiB each.
    async fn flood(&self) -> impl Stream<Item = String> {
        let guard = Drops("flood", self.0.clone());
        stream::repeat_with(move || {
            let _held = &guard;
            "x".repeat(64 * 1024)
        })
    }
}

/// The toy as endpoint and authenticator.
pub(super) struct Toy {
    schema: Schema<Query, Mutation, Subscriptions>,
    /// Tokens and when they expire.
    pub(super) tokens: Mutex<HashMap<String, Option<DateTime<Utc>>>>,
    /// Documents by hash.
    pub(super) persisted: Mutex<HashMap<String, String>>,
    /// How often `bump` ran.
    pub(super) bumps: Arc<AtomicUsize>,
}

#[async_trait]
impl GraphqlEndpoint for Toy {
    async fn execute(&self, viewer: Viewer, _: Option<Arc<str>>, request: Request) -> Response {
        self.schema.execute(request.data(viewer)).await
    }

    fn stream(&self, viewer: Viewer, request: Request) -> BoxStream<'static, Response> {
        self.schema.execute_stream(request.data(viewer)).boxed()
    }

    async fn persisted(&self, sha256_hex: &str) -> Option<String> {
        self.persisted.lock().get(sha256_hex).cloned()
    }
}

impl Authenticator for Toy {
    fn viewer(&self, bearer: &str) -> Option<Authenticated> {
        let expires_at = *self.tokens.lock().get(bearer)?;
        let viewer = Viewer { tenant: "acme".parse().unwrap(), role: Role::Operator, id: "anna".into() };
        Some(Authenticated { viewer, expires_at })
    }
}

/// A toy and what belongs to it.
pub(super) struct Bench {
    /// The toy.
    pub(super) toy: Arc<Toy>,
    /// The adapter around it.
    pub(super) transport: Arc<GraphqlTransport>,
    /// Names of subscriptions that were dropped.
    pub(super) dropped: mpsc::UnboundedReceiver<&'static str>,
    /// Cancelling it shuts the sockets down.
    pub(super) shutdown: CancellationToken,
}

/// What the toy's clock shows.
pub(super) fn toy_now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap()
}

/// A toy with this configuration.
pub(super) fn bench(config: GraphqlConfig) -> Bench {
    let (dropped_in, dropped) = mpsc::unbounded_channel();
    let bumps = Arc::new(AtomicUsize::new(0));
    let toy = Arc::new(Toy {
        schema: Schema::new(Query, Mutation(Arc::clone(&bumps)), Subscriptions(dropped_in)),
        tokens: Mutex::new(HashMap::from([(TOKEN.to_owned(), None)])),
        persisted: Mutex::default(),
        bumps,
    });
    let shutdown = CancellationToken::new();
    let transport = Arc::new(GraphqlTransport::new(
        Arc::clone(&toy) as Arc<dyn GraphqlEndpoint>,
        Arc::clone(&toy) as Arc<dyn Authenticator>,
        Arc::new(FixedClock::new(toy_now())),
        config,
        shutdown.clone(),
    ));
    Bench { toy, transport, dropped, shutdown }
}

/// Serves the adapter on a free port of this machine until the test's runtime ends; the address it listens on.
pub(super) fn serve(transport: &Arc<GraphqlTransport>) -> std::net::SocketAddr {
    let (closed, _nobody_asks) = mpsc::unbounded_channel();
    serve_watched(transport, closed)
}

/// The same, and tells when a connection is given up by the server.
pub(super) fn serve_watched(
    transport: &Arc<GraphqlTransport>,
    closed: mpsc::UnboundedSender<&'static str>,
) -> std::net::SocketAddr {
    let transport = Arc::clone(transport);
    let server = HttpServer::new(move || App::new().configure(routes(Arc::clone(&transport))))
        .workers(1)
        .disable_signals()
        .on_connect(move |connection, data| {
            remember_connection(connection, data);
            data.insert(Arc::new(Drops("connection", closed.clone())));
        })
        .bind(("127.0.0.1", 0))
        .unwrap();
    let address = server.addrs()[0];
    rt::spawn(server.run());
    address
}
