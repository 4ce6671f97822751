//! What mutations answer: token, the changed thing, user errors; the same shape for all of them.
//!
//! **Invariant:** the changed thing is read only when it is asked for, and never before the read models have reached
//! the token: a payload never shows the state before its own mutation.

use std::borrow::Cow;
use std::future::Future;

use async_graphql::{Context, Object, OutputType, TypeName};
use uuid::Uuid;

use crate::command::Answered;
use crate::context::Reading;
use crate::error::{Outcome, UserError};
use crate::scalars::Token;

/// What a mutation changes.
pub(crate) trait Subject: Send + Sync + 'static {
    /// Its type in the schema.
    type Object: OutputType;

    /// Reads it as the viewer sees it.
    fn load(reading: &Reading<'_>, id: Uuid) -> impl Future<Output = Outcome<Option<Self::Object>>> + Send;
}

/// Ties a mutation to the name of its payload type.
pub(crate) trait Mutation: Send + Sync + 'static {
    /// What it changes.
    type Subject: Subject;
    /// The name of the payload type.
    const PAYLOAD: &'static str;
}

/// What came of a mutation on the thing with this id.
pub(crate) struct Done {
    pub(crate) id: Uuid,
    pub(crate) answered: Answered<Token>,
}

/// What came of a mutation.
pub(crate) struct Payload<M> {
    done: Done,
    mutation: std::marker::PhantomData<fn() -> M>,
}

impl<M> From<Done> for Payload<M> {
    fn from(done: Done) -> Self {
        Self { done, mutation: std::marker::PhantomData }
    }
}

impl<M> Payload<M> {
    /// True when no rule refused the wish.
    pub(crate) const fn succeeded(&self) -> bool {
        self.done.answered.is_ok()
    }
}

impl<M: Mutation> TypeName for Payload<M> {
    fn type_name() -> Cow<'static, str> {
        M::PAYLOAD.into()
    }
}

/// What came of the mutation.
#[Object(name_type)]
impl<M: Mutation> Payload<M> {
    /// Give it as `after` to a query that is to see the change; absent when a rule refused the wish.
    async fn token(&self) -> Option<&Token> {
        self.done.answered.as_ref().ok()
    }

    /// The changed thing, as the read models show it once they have reached the token; absent when a rule refused the
    /// wish.
    async fn changed(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<<M::Subject as Subject>::Object>> {
        let Ok(token) = &self.done.answered else { return Ok(None) };
        let reading = Reading::after_own(ctx, token).await?;
        Ok(M::Subject::load(&reading, self.done.id).await?)
    }

    /// Why a rule refused the wish; empty when it was carried out.
    async fn user_errors(&self) -> Vec<&UserError> {
        self.done.answered.as_ref().err().into_iter().collect()
    }
}
