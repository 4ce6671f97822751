//! The schema behind the GraphQL transport.
//!
//! **Invariant:** the viewer comes from the token alone; every request gets a correlation id of its own.

use std::sync::Arc;

use async_graphql::{Request, Response};
use async_trait::async_trait;
use events::clock::{Clock, IdGenerator};
use events::viewer::Viewer;
use futures::stream::BoxStream;
use graphql::{Caller, Schema};
use tokio_util::sync::CancellationToken;

use super::auth::Tokens;
use super::graphql::{Authenticated, Authenticator, GraphqlConfig, GraphqlEndpoint, GraphqlTransport, SocketConfig};
use crate::config::Config;

/// Runs requests on the schema.
pub struct SchemaEndpoint {
    schema: Schema,
    ids: Arc<dyn IdGenerator>,
}

impl SchemaEndpoint {
    /// An endpoint for `schema`.
    #[must_use]
    pub fn new(schema: Schema, ids: Arc<dyn IdGenerator>) -> Self {
        Self { schema, ids }
    }

    /// The schema in the schema definition language.
    #[must_use]
    pub fn sdl(&self) -> String {
        graphql::sdl(&self.schema)
    }

    /// The transport in front of it.
    #[must_use]
    pub fn transport(
        self,
        config: &Config,
        tokens: Arc<Tokens>,
        clock: Arc<dyn Clock>,
        shutdown: CancellationToken,
    ) -> Arc<GraphqlTransport> {
        // Pages of our own, as GraphiQL, may open a socket, too.
        let mut allowed_origins = config.http.allowed_origins.clone();
        allowed_origins.extend(config.http.public_url.as_deref().map(|url| url.trim_end_matches('/').to_owned()));
        let port = config.http.listen.port();
        allowed_origins.push(format!("http://{}", config.http.listen));
        allowed_origins.push(format!("http://localhost:{port}"));
        let limits = GraphqlConfig {
            max_body_bytes: config.graphql.max_body_bytes,
            request_timeout: std::time::Duration::from_secs(config.graphql.timeout_s),
            allowed_origins,
            socket: SocketConfig::default(),
            graphiql: config.graphql.graphiql,
        };
        Arc::new(GraphqlTransport::new(Arc::new(self), Arc::new(TokenAuthenticator(tokens)), clock, limits, shutdown))
    }

    fn caller(&self, viewer: Viewer, traceparent: Option<Arc<str>>) -> Caller {
        Caller { viewer, correlation: self.ids.next(), traceparent }
    }
}

#[async_trait]
impl GraphqlEndpoint for SchemaEndpoint {
    async fn execute(&self, viewer: Viewer, traceparent: Option<Arc<str>>, request: Request) -> Response {
        graphql::execute(&self.schema, request, self.caller(viewer, traceparent)).await
    }

    fn stream(&self, viewer: Viewer, request: Request) -> BoxStream<'static, Response> {
        graphql::subscribe(&self.schema, request, self.caller(viewer, None))
    }
}

struct TokenAuthenticator(Arc<Tokens>);

impl Authenticator for TokenAuthenticator {
    fn viewer(&self, bearer: &str) -> Option<Authenticated> {
        let (viewer, expires_at) = self.0.viewer(bearer)?;
        Some(Authenticated { viewer, expires_at })
    }
}
