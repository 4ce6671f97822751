//! The HTTP server: webhooks in, GraphQL, files, health and metrics.
//!
//! **Invariant:** every refusal outside GraphQL is an RFC 9457 problem; a delivery is acknowledged only after the log
//! has taken it; nothing is read from a request before its size is bounded.

use actix_cors::Cors;
use actix_web::HttpResponse;
use actix_web::http::{Method, header};

pub mod auth;
mod body;
pub mod endpoint;
pub mod graphql;
pub mod health;
pub mod media;
pub mod problem;
pub mod visitor;
pub mod webhooks;

/// How long a browser may remember what it is allowed, in seconds. **Source:** Chromium caps it at 7,200.
const PREFLIGHT_MAX_AGE_S: usize = 7_200;

/// Lets pages of these origins call from a browser, and no others (CORS, Fetch standard).
pub fn cors(allowed_origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods([Method::GET, Method::POST])
        .allowed_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::ACCEPT])
        .allowed_header("apollo-require-preflight")
        .allowed_header("traceparent")
        .max_age(PREFLIGHT_MAX_AGE_S);
    allowed_origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

/// What is answered where there is nothing.
///
/// # Errors
/// Always: 404.
pub async fn nothing_here() -> Result<HttpResponse, problem::Problem> {
    Err(problem::Problem::not_found("there is nothing at this address; README.md lists what there is"))
}

/// The schema in the schema definition language.
pub struct Sdl(pub String);

/// `GET /schema.graphql`.
pub async fn sdl(sdl: actix_web::web::Data<Sdl>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(sdl.0.clone())
}
