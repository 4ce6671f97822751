//! Refusals outside GraphQL, as problem details (RFC 9457).
//!
//! **Invariant:** a problem says what to do otherwise and nothing of what was sent: no token, no query, no value. It
//! also carries `errors` in the form of GraphQL (an extension member, RFC 9457 section 3.2), so that a client that
//! knows only GraphQL shows the reason too.

use actix_web::HttpResponse;
use actix_web::http::{Method, StatusCode, header};
use serde_json::json;

/// Why a request was refused before GraphQL saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    header: Option<(header::HeaderName, String)>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), header: None }
    }

    /// The request is not a GraphQL request: 400.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_USER_INPUT", detail)
    }

    /// It is not known who asks: 401.
    #[must_use]
    pub fn unauthenticated(detail: &str) -> Self {
        let mut problem = Self::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", detail);
        problem.header = Some((header::WWW_AUTHENTICATE, "Bearer realm=\"letopis\"".to_owned()));
        problem
    }

    /// The request may have been forged by a foreign page: 403.
    #[must_use]
    pub fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", detail)
    }

    /// The method is not for this: 405.
    #[must_use]
    pub fn method(allowed: &[Method]) -> Self {
        let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let mut problem =
            Self::new(StatusCode::METHOD_NOT_ALLOWED, "BAD_USER_INPUT", format!("send this with {allowed}"));
        problem.header = Some((header::ALLOW, allowed));
        problem
    }

    /// None of the formats the client takes can be given: 406.
    #[must_use]
    pub fn not_acceptable(detail: &str) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "BAD_USER_INPUT", detail)
    }

    /// The client took too long to send its request: 408.
    #[must_use]
    pub fn slow_request() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "BAD_USER_INPUT", "the request body took too long to arrive")
    }

    /// The body is too large: 413.
    #[must_use]
    pub fn too_large(max_bytes: usize) -> Self {
        let detail = format!("the request body may have at most {max_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BAD_USER_INPUT", detail)
    }

    /// The body is not of a type that is taken: 415.
    #[must_use]
    pub fn unsupported(detail: &str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "BAD_USER_INPUT", detail)
    }

    /// The operation did not finish in time: 504.
    #[must_use]
    pub fn timeout(detail: &str) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "UNAVAILABLE", detail)
    }
}

impl From<Problem> for HttpResponse {
    fn from(problem: Problem) -> Self {
        let body = json!({
            "type": "about:blank",
            "title": problem.status.canonical_reason(),
            "status": problem.status.as_u16(),
            "detail": problem.detail,
            "errors": [{ "message": problem.detail, "extensions": { "code": problem.code } }],
        });
        let mut response = Self::build(problem.status);
        if let Some(header) = problem.header {
            response.insert_header(header);
        }
        response
            .insert_header((header::CONTENT_TYPE, "application/problem+json"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(body.to_string())
    }
}
