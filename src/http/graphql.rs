//! GraphQL over HTTP and over WebSocket: the thin adapter between actix-web and an executable schema.
//!
//! It speaks GraphQL over HTTP (POST with JSON, GET for queries) and the sub-protocol `graphql-transport-ws` on the
//! same path, and serves `GraphiQL` from files inside the binary. It knows the schema only as [`GraphqlEndpoint`] and
//! the tokens only as [`Authenticator`].
//!
//! **Invariant:** a request reaches the endpoint only with a [`Viewer`], bounded in size and time, and never because
//! a browser was tricked into sending it: what a foreign page can send without a preflight is refused.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use async_graphql::{Request, Response, ServerError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use events::clock::Clock;
use events::viewer::Viewer;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

mod connection;
pub mod graphiql;
mod problem;
mod protocol;
mod request;
mod response;
mod socket;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;

pub use connection::remember as remember_connection;
pub use problem::Problem;

use request::SafeMethodError;
use response::Media;

/// The schema, as this adapter sees it. Limits on depth, complexity and aliases are the schema's own.
#[async_trait]
pub trait GraphqlEndpoint: Send + Sync {
    /// Executes a query or a mutation for `viewer`, in the trace of the request if it has one.
    async fn execute(&self, viewer: Viewer, traceparent: Option<Arc<str>>, request: Request) -> Response;

    /// Executes any operation for `viewer`, as a stream of its results. Dropping the stream ends the operation.
    fn stream(&self, viewer: Viewer, request: Request) -> BoxStream<'static, Response>;

    /// The text of the persisted document with this SHA-256, when the endpoint has it. A GET that names its document by
    /// hash alone is executed, by this text, only if it holds nothing but queries; without it the client is asked for
    /// the text.
    async fn persisted(&self, _sha256_hex: &str) -> Option<String> {
        None
    }
}

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// Who is looking.
    pub viewer: Viewer,
    /// When the token stops being good; `None` for one that does not.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Knows tokens.
pub trait Authenticator: Send + Sync {
    /// Whose token this is; `None` for an unknown, expired or revoked one. Called for each HTTP request, at the start
    /// of each socket and again at each keep-alive of it, so it must not block.
    fn viewer(&self, bearer: &str) -> Option<Authenticated>;
}

/// Bounds of a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketConfig {
    /// The largest frame taken, in bytes. A larger one closes the socket with 1009.
    pub max_frame_bytes: usize,
    /// The largest message put together from continuation frames, in bytes.
    pub max_message_bytes: usize,
    /// How long a client may take to send `connection_init`.
    pub init_timeout: Duration,
    /// Time between pings. A client that sends nothing at all for two of them is gone.
    pub keep_alive: Duration,
    /// How long a full outgoing queue may stay full before the reader counts as too slow.
    pub send_timeout: Duration,
    /// How many operations may run at once on one socket.
    pub max_operations: usize,
}

impl Default for SocketConfig {
    /// **Source:** `init_timeout` is the reference server's `connectionInitWaitTimeout` of 3 s, made 10 s for bad
    /// mobile networks; `keep_alive` 20 s stays under the 60 s idle limit that proxies commonly have. The other
    /// bounds are ours.
    fn default() -> Self {
        Self {
            max_frame_bytes: 64 * 1024,
            max_message_bytes: 1024 * 1024,
            init_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(20),
            send_timeout: Duration::from_secs(10),
            max_operations: 64,
        }
    }
}

/// Bounds of the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphqlConfig {
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// How long reading a request may take, and how long executing it.
    pub request_timeout: Duration,
    /// Origins (`https://crm.example.com`, no path) whose pages may open a socket; the server's own public origin
    /// must be among them for `GraphiQL` to subscribe. A request without `Origin` does not come from a browser and is
    /// let through: it still needs a token.
    pub allowed_origins: Vec<String>,
    /// Bounds of a WebSocket.
    pub socket: SocketConfig,
    /// Whether `/graphiql` is served.
    pub graphiql: bool,
}

impl Default for GraphqlConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            allowed_origins: Vec::new(),
            socket: SocketConfig::default(),
            graphiql: true,
        }
    }
}

/// The adapter and what it hands requests to.
pub struct GraphqlTransport {
    endpoint: Arc<dyn GraphqlEndpoint>,
    authenticator: Arc<dyn Authenticator>,
    clock: Arc<dyn Clock>,
    config: GraphqlConfig,
    shutdown: CancellationToken,
}

impl GraphqlTransport {
    /// An adapter for `endpoint`. When `shutdown` is cancelled every socket closes with 1001, so that its client
    /// comes back to another process.
    #[must_use]
    pub fn new(
        endpoint: Arc<dyn GraphqlEndpoint>,
        authenticator: Arc<dyn Authenticator>,
        clock: Arc<dyn Clock>,
        config: GraphqlConfig,
        shutdown: CancellationToken,
    ) -> Self {
        Self { endpoint, authenticator, clock, config, shutdown }
    }

    /// Whose token this is, if it is still good, and for how long.
    fn authenticate(&self, bearer: &str) -> Option<(Viewer, Option<Duration>)> {
        let Authenticated { viewer, expires_at } = self.authenticator.viewer(bearer)?;
        let Some(expires_at) = expires_at else { return Some((viewer, None)) };
        let left = (expires_at - self.clock.now()).to_std().ok().filter(|left| !left.is_zero())?;
        Some((viewer, Some(left)))
    }

    /// Whose request this is, by its `Authorization` header.
    fn viewer_of(&self, request: &HttpRequest) -> Result<Viewer, Problem> {
        let bearer =
            bearer_of(request).ok_or_else(|| Problem::unauthenticated("send Authorization: Bearer <token>"))?;
        let (viewer, _) =
            self.authenticate(bearer).ok_or_else(|| Problem::unauthenticated("the token is unknown or expired"))?;
        Ok(viewer)
    }

    async fn execute(&self, http: &HttpRequest, viewer: Viewer, media: Media, request: Request) -> HttpResponse {
        let execution = self.endpoint.execute(viewer, super::traceparent(http.headers()), request);
        match tokio::time::timeout(self.config.request_timeout, execution).await {
            Ok(response) => response::answer(response, media, trace_id(http).as_deref()),
            Err(_) => {
                Problem::timeout("the operation took too long; a mutation may still have been carried out").into()
            }
        }
    }
}

/// Puts `/graphql` and, when the configuration has it, `/graphiql` into an actix application. Give the server
/// [`remember_connection`] too, so that sockets can be cut.
pub fn routes(transport: Arc<GraphqlTransport>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |services| {
        if transport.config.graphiql {
            services.configure(graphiql::routes);
        }
        services.app_data(web::Data::from(transport)).service(
            web::resource("/graphql").route(web::get().to(get)).route(web::post().to(post)).default_service(web::to(
                || async { HttpResponse::from(Problem::method(&[Method::GET, Method::POST])) },
            )),
        );
    }
}

async fn get(http: HttpRequest, body: web::Payload, transport: web::Data<GraphqlTransport>) -> HttpResponse {
    if http.headers().contains_key(header::UPGRADE) {
        return socket::open(&http, body, transport.into_inner()).unwrap_or_else(HttpResponse::from);
    }
    query(&http, &transport).await.unwrap_or_else(HttpResponse::from)
}

async fn query(http: &HttpRequest, transport: &GraphqlTransport) -> Result<HttpResponse, Problem> {
    request::refuse_forgeable_get(http)?;
    let media = response::negotiate(http)?;
    let viewer = transport.viewer_of(http)?;
    let mut request = request::of_query_string(http.query_string())?;
    match request::refuse_side_effects(transport.endpoint.as_ref(), &mut request).await {
        Ok(()) => Ok(transport.execute(http, viewer, media, request).await),
        Err(SafeMethodError::NotAQuery) => Err(Problem::method(&[Method::POST])),
        Err(SafeMethodError::NotPersisted) => {
            let error = ServerError::new(response::PERSISTED_QUERY_NOT_FOUND, None);
            Ok(response::answer(Response::from_errors(vec![error]), media, trace_id(http).as_deref()))
        }
    }
}

async fn post(http: HttpRequest, body: web::Payload, transport: web::Data<GraphqlTransport>) -> HttpResponse {
    mutation(&http, body, &transport).await.unwrap_or_else(HttpResponse::from)
}

async fn mutation(
    http: &HttpRequest,
    body: web::Payload,
    transport: &GraphqlTransport,
) -> Result<HttpResponse, Problem> {
    request::refuse_forgeable_post(http)?;
    let media = response::negotiate(http)?;
    let viewer = transport.viewer_of(http)?;
    let reading = request::read_body(http, body, transport.config.max_body_bytes);
    let bytes = tokio::time::timeout(transport.config.request_timeout, reading)
        .await
        .map_err(|_| Problem::slow_request())??;
    let request = request::of_json(&bytes)?;
    Ok(transport.execute(http, viewer, media, request).await)
}

/// The bearer token of a request (RFC 6750, section 2.1; the scheme's name is case-insensitive).
fn bearer_of(request: &HttpRequest) -> Option<&str> {
    bearer_in(request.headers().get(header::AUTHORIZATION)?.to_str().ok()?)
}

/// The token of an `Authorization` value.
fn bearer_in(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The id of the trace that the request belongs to.
fn trace_id(http: &HttpRequest) -> Option<String> {
    super::traceparent(http.headers())?.split('-').nth(1).map(str::to_owned)
}
