//! The read position and the request id of every response.
//!
//! **Invariant:** `extensions.readPosition` is the earliest position that anything in the response was read at; it is
//! absent when nothing was read. Each event of a subscription has its own.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute};
use async_graphql::{Response, Value};

use crate::context::{Caller, ReadMark};

/// Adds both to responses.
pub(crate) struct Positions;

impl ExtensionFactory for Positions {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Positions {
    async fn execute(&self, ctx: &ExtensionContext<'_>, operation: Option<&str>, next: NextExecute<'_>) -> Response {
        let mut response = next.run(ctx, operation).await;
        if let Some(position) = ctx.data_opt::<ReadMark>().and_then(ReadMark::take) {
            response = response.extension("readPosition", Value::String(position.to_string()));
        }
        if let Some(caller) = ctx.data_opt::<Caller>() {
            response = response.extension("requestId", Value::String(caller.correlation.to_string()));
        }
        response
    }
}
