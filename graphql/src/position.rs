//! The read position and the request id of every response.
//!
//! **Invariant:** `extensions.readPosition` is the earliest position that anything in the response was read at, or where
//! the read models were before it when nothing was read. Each event of a subscription has its own.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute};
use async_graphql::{Response, Value};
use events::envelope::Position;
use uuid::Uuid;

use crate::context::{Dependencies, ReadMark};

const POSITION: &str = "readPosition";
const REQUEST: &str = "requestId";

/// Adds both to a response that has not come as far as being executed, or as far as reading.
pub(crate) fn complete(mut response: Response, position: Position, request: Uuid) -> Response {
    if !response.extensions.contains_key(POSITION) {
        response = response.extension(POSITION, Value::String(position.to_string()));
    }
    response.extension(REQUEST, Value::String(request.to_string()))
}

/// Adds the position to what is executed.
pub(crate) struct Positions;

impl ExtensionFactory for Positions {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Positions {
    async fn execute(&self, ctx: &ExtensionContext<'_>, operation: Option<&str>, next: NextExecute<'_>) -> Response {
        let mark = ctx.data_opt::<ReadMark>();
        // What a subscription read when it began, or for the event before, is not read for this one.
        let _ = mark.and_then(ReadMark::take);
        let before = ctx.data_opt::<Dependencies>().map(|deps| deps.views.position());
        let response = next.run(ctx, operation).await;
        match mark.and_then(ReadMark::take).or(before) {
            Some(position) => response.extension(POSITION, Value::String(position.to_string())),
            None => response,
        }
    }
}
