//! From a GraphQL response to an HTTP response: format, status, complete errors.
//!
//! **Invariant:** every error leaves with a code of the closed list and, when requests are traced, with the id to
//! find it by; an error that nobody gave a code is not meant for callers, and its text stays inside.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use async_graphql::{Response, ServerError, Value};
use serde::Serialize;

use super::problem::Problem;

/// The message by which clients of automatic persisted queries know that they must send the text.
///
/// **Source:** Apollo's automatic persisted queries protocol; also what async-graphql's extension answers.
pub(super) const PERSISTED_QUERY_NOT_FOUND: &str = "PersistedQueryNotFound";

/// The text of an error whose own text is not meant for callers.
const UNEXPECTED: &str = "something unexpected went wrong on our side";

/// The format of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    /// `application/graphql-response+json`: the status tells whether the request was executed.
    GraphqlResponse,
    /// `application/json`: 200 for whatever is a GraphQL request, as older clients expect.
    Json,
}

impl Media {
    const fn content_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }
}

/// The format the client wants (RFC 9110, section 12.5.1). Without a wish, or with a wildcard, plain JSON.
pub(super) fn negotiate(http: &HttpRequest) -> Result<Media, Problem> {
    let values = http.headers().get_all(header::ACCEPT).map(|value| value.to_str().unwrap_or_default());
    let accept = values.collect::<Vec<_>>().join(",");
    preferred(&accept)
        .ok_or_else(|| Problem::not_acceptable("accept application/graphql-response+json or application/json"))
}

fn preferred(accept: &str) -> Option<Media> {
    if accept.trim().is_empty() {
        return Some(Media::Json);
    }
    let (mut modern, mut plain) = (0.0_f32, 0.0_f32);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0_f32);
        match media.as_str() {
            "application/graphql-response+json" => modern = modern.max(weight),
            "application/json" | "application/*" | "*/*" => plain = plain.max(weight),
            _ => {}
        }
    }
    if modern > 0.0 && modern >= plain { Some(Media::GraphqlResponse) } else { (plain > 0.0).then_some(Media::Json) }
}

/// True when nothing was executed: the request did not parse, is not valid, or was refused as a whole. Then the
/// response has no entry `data` (GraphQL specification, section 7.1.2, "Request Error Result Format").
pub(super) fn is_request_error(response: &Response) -> bool {
    response.data == Value::Null && !response.errors.is_empty() && response.errors.iter().all(|e| e.path.is_empty())
}

/// Gives every error its code and the id to find it by.
pub(super) fn complete_errors(errors: &mut [ServerError], trace_id: Option<&str>) {
    for error in errors {
        if code_of(error).is_none() {
            let code = missing_code(error);
            if code == "INTERNAL_SERVER_ERROR" {
                tracing::error!(graphql.path = ?error.path, "a resolver failed with an error that has no code");
                UNEXPECTED.clone_into(&mut error.message);
            }
            error.extensions.get_or_insert_default().set("code", code);
        }
        if let Some(trace_id) = trace_id {
            error.extensions.get_or_insert_default().set("traceId", trace_id);
        }
    }
}

fn code_of(error: &ServerError) -> Option<&str> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code),
        _ => None,
    }
}

/// The code of an error that came without one: from the library itself, or from a resolver that gave it none.
fn missing_code(error: &ServerError) -> &'static str {
    let refused_value = ["Failed to parse", "Invalid value"].iter().any(|start| error.message.starts_with(start));
    if error.message == PERSISTED_QUERY_NOT_FOUND {
        "PERSISTED_QUERY_NOT_FOUND"
    } else if error.path.is_empty() || refused_value {
        "BAD_USER_INPUT"
    } else {
        "INTERNAL_SERVER_ERROR"
    }
}

/// A response that was not executed, as it is sent: without `data`.
#[derive(Serialize)]
struct RequestErrors<'a> {
    errors: &'a [ServerError],
}

/// The HTTP answer.
pub(super) fn answer(mut response: Response, media: Media, trace_id: Option<&str>) -> HttpResponse {
    complete_errors(&mut response.errors, trace_id);
    let (status, body) = if is_request_error(&response) {
        let status = match media {
            Media::GraphqlResponse => refused_status(&response.errors),
            Media::Json => StatusCode::OK,
        };
        (status, serde_json::to_vec(&RequestErrors { errors: &response.errors }))
    } else {
        (StatusCode::OK, serde_json::to_vec(&response))
    };
    let Ok(body) = body else {
        tracing::error!("a GraphQL response could not be written as JSON");
        return HttpResponse::InternalServerError().finish();
    };
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, media.content_type()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(body)
}

fn refused_status(errors: &[ServerError]) -> StatusCode {
    match errors.first().and_then(code_of) {
        Some("UNAUTHENTICATED") => StatusCode::UNAUTHORIZED,
        Some("FORBIDDEN") => StatusCode::FORBIDDEN,
        Some("RATE_LIMITED") => StatusCode::TOO_MANY_REQUESTS,
        Some("UNAVAILABLE") => StatusCode::SERVICE_UNAVAILABLE,
        Some("INTERNAL_SERVER_ERROR") => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests;
