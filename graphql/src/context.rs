//! What every resolver has at hand: who asks, what the installation is made of, and how fresh the answer is.
//!
//! **Invariant:** the tenant comes from [`Caller`] alone (design invariant 15). Every read notes the position that the
//! read models had reached before it, so that the read position of a response is never later than what is in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_graphql::dataloader::DataLoader;
use async_graphql::{Context, ID};
use events::clock::Clock;
use events::codec::Codec;
use events::drafts::Drafts;
use events::envelope::Position;
use events::heartbeats::Heartbeats;
use events::ids::ParseIdError;
use events::log::EventLog;
use events::viewer::Viewer;
use models::handler::Handler;
use projections::views::Views;
use uuid::Uuid;

use crate::documents::DocumentPolicy;
use crate::error::{ErrorCode, Failure, Outcome};
use crate::loaders::Loaders;
use crate::ports::{Uploads, WebhookRegistrar};
use crate::scalars::Token;

/// What the schema is built from.
#[derive(Clone)]
pub struct Dependencies {
    /// Carries out commands; its log and codec are read for events and for reads as of a time.
    pub handler: Handler,
    /// Reads the read models.
    pub views: Views,
    /// Tells the time of a mutation.
    pub clock: Arc<dyn Clock>,
    /// Registers webhooks with providers.
    pub webhooks: Arc<dyn WebhookRegistrar>,
    /// Finds uploaded files.
    pub uploads: Arc<dyn Uploads>,
    /// Where signs of life of operators are noted.
    pub heartbeats: Arc<dyn Heartbeats>,
    /// Where it is noted who is replying.
    pub drafts: Arc<dyn Drafts>,
    /// How long an operator counts as there without a sign of life.
    pub presence_timeout: Duration,
    /// How long a read waits for the token given to it before it fails with `STALE_READ`.
    pub patience: Duration,
    /// Which queries are run.
    pub documents: DocumentPolicy,
}

impl Dependencies {
    pub(crate) fn of<'a>(ctx: &Context<'a>) -> &'a Self {
        ctx.data_unchecked::<Self>()
    }

    pub(crate) fn log(&self) -> &Arc<dyn EventLog> {
        self.handler.log()
    }

    pub(crate) fn codec(&self) -> &Codec {
        self.handler.codec()
    }
}

/// Who asks, and in the course of what.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose data they may see, and what they may do.
    pub viewer: Viewer,
    /// The id of the request: the correlation of every event that it leads to, and `requestId` of the response.
    pub correlation: Uuid,
    /// W3C trace context of the request.
    pub traceparent: Option<Arc<str>>,
}

impl Caller {
    pub(crate) fn of<'a>(ctx: &Context<'a>) -> Outcome<&'a Self> {
        ctx.data_opt().ok_or_else(|| Failure::new(ErrorCode::Unauthenticated, "this needs authentication"))
    }
}

/// The earliest read position of a response.
#[derive(Debug)]
pub(crate) struct ReadMark(AtomicU64);

impl Default for ReadMark {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl ReadMark {
    fn note(&self, position: Position) {
        self.0.fetch_min(position.0, Ordering::Relaxed);
    }

    /// The position noted, if any read was made since the last call.
    pub(crate) fn take(&self) -> Option<Position> {
        let noted = self.0.swap(u64::MAX, Ordering::Relaxed);
        (noted != u64::MAX).then_some(Position(noted))
    }
}

/// What a resolver reads with.
pub(crate) struct Reading<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) deps: &'a Dependencies,
}

impl<'a> Reading<'a> {
    /// Reads what goes into no response.
    pub(crate) fn aside(ctx: &Context<'a>) -> Outcome<Self> {
        Ok(Self { caller: Caller::of(ctx)?, deps: Dependencies::of(ctx) })
    }

    /// Waits for the token, if there is one, and notes the read position.
    pub(crate) async fn after(ctx: &Context<'a>, token: Option<&Token>) -> Outcome<Self> {
        let reading = Self::aside(ctx)?;
        let at = match token {
            Some(token) => reading.deps.views.wait_for(token.position, reading.deps.patience).await?,
            None => reading.deps.views.position(),
        };
        ctx.data_unchecked::<Arc<ReadMark>>().note(at);
        Ok(reading)
    }

    /// The same for a read of one thing: a token of its own stream waits only for the part of the feed that the stream is
    /// in, and the read position is that part's.
    pub(crate) async fn after_in(ctx: &Context<'a>, token: Option<&Token>, thing: Uuid) -> Outcome<Self> {
        match token {
            Some(token) if token.stream.as_ref().is_some_and(|stream| stream.id == thing) => {
                Self::after_own(ctx, token).await
            }
            _ => Self::after(ctx, token).await,
        }
    }

    /// Waits until the read models have reached the token in its own stream.
    pub(crate) async fn after_own(ctx: &Context<'a>, token: &Token) -> Outcome<Self> {
        let Some(stream) = &token.stream else { return Self::after(ctx, Some(token)).await };
        let reading = Self::aside(ctx)?;
        let at = reading.deps.views.wait_for_stream(stream, token.position, reading.deps.patience).await?;
        ctx.data_unchecked::<Arc<ReadMark>>().note(at);
        Ok(reading)
    }

    pub(crate) fn viewer(&self) -> &'a Viewer {
        &self.caller.viewer
    }

    pub(crate) fn views(&self) -> &'a Views {
        &self.deps.views
    }
}

/// The loaders of this request.
pub(crate) fn loader<'a>(ctx: &Context<'a>) -> &'a DataLoader<Loaders> {
    ctx.data_unchecked()
}

/// Reads an id in its printed form.
pub(crate) fn id<T: std::str::FromStr<Err = ParseIdError>>(id: &ID) -> Outcome<T> {
    Ok(id.parse::<T>()?)
}
