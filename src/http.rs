//! The HTTP server: webhooks in, GraphQL, files, health and metrics.
//!
//! **Invariant:** every refusal outside GraphQL is an RFC 9457 problem; a delivery is acknowledged only after the log
//! has taken it; nothing is read from a request before its size is bounded.

use std::sync::Arc;

use actix_cors::Cors;
use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap};

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

/// The trace context of a request (W3C Trace Context, section 3.2, version 00); `None` when it has none or one of another
/// form: it goes into the log, so nothing else may come in by it.
fn traceparent(headers: &HeaderMap) -> Option<Arc<str>> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { return None };
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let named = |id: &str| id.bytes().any(|byte| byte != b'0');
    let known = version == "00" && hex(trace, 32) && hex(span, 16) && hex(flags, 2) && named(trace) && named(span);
    known.then(|| text.into())
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

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_a_trace_context_of_the_known_form_is_taken() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static("traceparent"), HeaderValue::from_str(text).unwrap());
            traceparent(&headers)
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(good).as_deref(), Some(good));
        for bad in [
            "",
            "Ivanov",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
