//! Following the log for subscriptions.
//!
//! **Invariant:** an event is passed on only once the read models have reached it, in the order of the log, each once;
//! it is pulled from the log when the subscriber has taken the one before, so that nothing piles up for a slow one.
//! Events of other tenants are dropped before anything of them is looked at.

use std::time::Duration;

use async_graphql::Context;
use events::envelope::{Category, Position, RecordedEvent, StreamName};
use events::log::Filter;
use futures::stream::{BoxStream, StreamExt};
use projections::store::StoreError;

use crate::context::{Caller, Dependencies};
use crate::error::{Failure, Outcome};
use crate::scalars::Token;

/// How long to wait for the read models at a time; then again, for as long as the subscriber stays.
const PATIENCE: Duration = Duration::from_secs(30);

/// The tenant's events of these categories after a token, or from now on, each once the read models have reached it.
pub(crate) async fn follow(
    ctx: &Context<'_>,
    after: Option<Token>,
    categories: Vec<Category>,
    wanted: impl Fn(&RecordedEvent) -> bool + Send + 'static,
) -> Outcome<BoxStream<'static, Outcome<RecordedEvent>>> {
    let (caller, deps) = (Caller::of(ctx)?, Dependencies::of(ctx));
    let head = deps.log().head().await?;
    let start = match after {
        // A token from beyond the end is of another log: waiting for it would look like silence.
        Some(token) if token.position > head => return Err(Failure::bad_input("there is no such position yet")),
        Some(token) => token.position,
        None => head,
    };
    let (tenant, views) = (caller.viewer.tenant.clone(), deps.views.clone());
    let events = deps.log().subscribe(start, Filter { categories });
    let own = events.filter(move |read| {
        futures::future::ready(match read {
            Ok(event) => *event.tenant() == tenant && wanted(event),
            Err(_) => true,
        })
    });
    let reached = own.then(move |read| {
        let views = views.clone();
        async move {
            let event = read.map_err(Failure::from)?;
            reach(&views, &event.stream, event.position).await?;
            Ok(event)
        }
    });
    Ok(reached.boxed())
}

async fn reach(views: &projections::views::Views, stream: &StreamName, position: Position) -> Outcome<()> {
    loop {
        match views.wait_for_stream(stream, position, PATIENCE).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The token to resume behind an event.
pub(crate) fn token_of(event: &RecordedEvent) -> Token {
    Token { position: event.position, stream: Some(event.stream.clone()) }
}
