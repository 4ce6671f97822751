//! Bodies of requests, read in bounds.
//!
//! **Invariant:** no more of a body is held than the caller allows, whatever length it announces.

use actix_web::HttpRequest;
use actix_web::web::{self, Bytes};
use futures::StreamExt;

use super::problem::Problem;

/// Reads a body of at most `limit` bytes. A body that came in one piece is not copied.
///
/// # Errors
/// 413 for a longer body, before it is read when it says so; 400 when it ends early.
pub(super) async fn read_body(
    request: &HttpRequest,
    mut payload: web::Payload,
    limit: usize,
) -> Result<Bytes, Problem> {
    let announced = request
        .headers()
        .get(actix_web::http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Problem::too_large(limit));
    }
    let mut first: Option<Bytes> = None;
    let mut rest = web::BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::bad_request("the body ended early"))?;
        let held = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if held + chunk.len() > limit {
            return Err(Problem::too_large(limit));
        }
        if first.is_none() && rest.is_empty() {
            first = Some(chunk);
            continue;
        }
        if let Some(first) = first.take() {
            rest.reserve(announced.unwrap_or(first.len() + chunk.len()));
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&chunk);
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}
