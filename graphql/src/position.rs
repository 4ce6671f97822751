//! The read position and the request id of every response.
//!
//! **Invariant:** `extensions.readPosition` is the earliest position that anything in the response was read at, or where
//! the read models were when nothing was read. Each update of a subscription has its own.

use async_graphql::{Response, Value};
use events::envelope::Position;
use uuid::Uuid;

/// Adds both.
pub(crate) fn complete(response: Response, position: Position, request: Uuid) -> Response {
    response
        .extension("readPosition", Value::String(position.to_string()))
        .extension("requestId", Value::String(request.to_string()))
}
