//! From a mutation to a command: whose wish it is, under which key, and what came of it.
//!
//! **Invariant:** a mutation sent twice with one idempotency key is one command: the same events, the same token; with
//! other input it is refused. It writes through the command handler only. What was wished goes into a keyed digest
//! and nowhere else.

use async_graphql::Context;
use events::envelope::{SeenAt, StreamName, Wish};
use events::ids::{CommandId, IdHasher};
use events::viewer::{MASK_POLICY, Role};
use models::command::Origin;
use models::decider::Decider;
use models::handler::{HandleError, Handled};
use serde_json::Value;
use uuid::Uuid;

use crate::context::{Caller, Dependencies};
use crate::error::{ErrorCode, Explain, Failure, Outcome, UserError, UserErrorCode};
use crate::scalars::Token;

/// Longest idempotency key, in characters.
const MAX_KEY_CHARS: usize = 200;

/// What came of a mutation.
pub(crate) type Answered<T> = Result<T, UserError>;

/// A mutation under way.
pub(crate) struct Mutating<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) deps: &'a Dependencies,
    pub(crate) origin: Origin,
}

impl<'a> Mutating<'a> {
    /// Begins the mutation of this stable name.
    pub(crate) async fn begin(
        ctx: &Context<'a>,
        operation: &'static str,
        idempotency_key: &str,
        seen_at: Option<&Token>,
    ) -> Outcome<Self> {
        let (caller, deps) = (Caller::of(ctx)?, Dependencies::of(ctx));
        let key = idempotency_key;
        if key.trim().is_empty() || key.chars().count() > MAX_KEY_CHARS || key.contains('\0') {
            return Err(Failure::bad_input(format!("idempotencyKey must have 1 to {MAX_KEY_CHARS} characters")));
        }
        let viewer = &caller.viewer;
        if viewer.may_act_as(Role::Operator)
            && let Err(error) = deps.heartbeats.beat(&viewer.tenant, &viewer.id).await
        {
            // What they wish does not depend on it, and nobody is absent while signs of life cannot be read.
            tracing::warn!(%error, "a sign of life was not noted");
        }
        if let Some(token) = seen_at {
            // What is recorded for good must be something that they can have seen.
            let other = token.stream.as_ref().is_some_and(|stream| stream.tenant != viewer.tenant);
            if other || token.position > deps.log().head().await? {
                return Err(Failure::bad_input("seenAt must be a token or read position that was given out here"));
            }
        }
        let actor = viewer.actor();
        let origin = Origin {
            id: CommandId::of_caller(&viewer.tenant, &actor.to_string(), operation, key),
            tenant: viewer.tenant.clone(),
            actor,
            causation: None,
            correlation: caller.correlation,
            occurred_at: deps.clock.now(),
            traceparent: caller.traceparent.clone(),
            seen_at: seen_at.map(|token| SeenAt {
                position: token.position,
                role: viewer.role.as_str().into(),
                mask_policy: MASK_POLICY,
            }),
            wish: Some(wish(ctx, deps.codec().hasher(), operation)?),
        };
        Ok(Self { caller, deps, origin })
    }

    /// An id for what this mutation makes: the same when it is sent again.
    pub(crate) fn fresh(&self, kind: &str) -> Uuid {
        Uuid::new_v5(&self.origin.id.uuid(), kind.as_bytes())
    }

    /// Carries out the command on the stream of `id`.
    pub(crate) async fn run<D: Decider>(&self, id: Uuid, command: D::Command) -> Outcome<Answered<Token>>
    where
        D::Rejection: Explain,
    {
        answer(self.deps.handler.handle::<D>(id, &self.origin, command).await)
    }

    /// Carries out a command of another origin that no rule refuses, as a step of this mutation.
    pub(crate) async fn carry_out<D: Decider>(&self, id: Uuid, origin: &Origin, command: D::Command) -> Outcome<()> {
        let handled = self.deps.handler.handle::<D>(id, origin, command).await;
        handled.map(drop).map_err(|error| match failure(error) {
            Ok(rejection) => Failure::internal(rejection),
            Err(failure) => failure,
        })
    }

    /// Looks at the state of the stream of `id`, for what a command must know of another stream.
    pub(crate) async fn inspect<D: Decider, T: Send>(
        &self,
        id: Uuid,
        read: impl FnOnce(&D::State) -> T + Send,
    ) -> Outcome<T> {
        let stream = StreamName::new(D::CATEGORY, self.origin.tenant.clone(), id);
        let seen = self.deps.handler.inspect::<D, T>(&stream, read).await;
        seen.map_err(|error| match failure(error) {
            Ok(rejection) => Failure::internal(rejection),
            Err(failure) => failure,
        })
    }
}

/// What is wished: the operation and its input as sent, without the key and without what the caller saw. The order of
/// the fields, variables instead of literals and nulls instead of absent fields make no other wish.
fn wish(ctx: &Context<'_>, hasher: &IdHasher, operation: &'static str) -> Outcome<Wish> {
    let mut input = serde_json::Map::new();
    for (name, value) in ctx.field().arguments().map_err(|error| Failure::bad_input(error.message))? {
        let mut value = value.into_json().map_err(Failure::internal)?;
        if let Some(fields) = value.as_object_mut() {
            fields.remove("idempotencyKey");
            fields.remove("seenAt");
        }
        input.insert(name.to_string(), value);
    }
    let mut input = Value::Object(input);
    drop_nulls(&mut input);
    input.sort_all_objects();
    Ok(Wish::new(hasher.digest("wish", &[operation.as_bytes(), input.to_string().as_bytes()])))
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The key was used for something else.
pub(crate) fn key_reused() -> UserError {
    let message = "this idempotency key was used for another wish: take a new key";
    refusal(UserErrorCode::IdempotencyKeyReused, message, "idempotencyKey")
}

/// What did not happen for reasons that are not the caller's; a rejection is given back.
fn failure<R: std::error::Error + 'static>(error: HandleError<R>) -> Result<R, Failure> {
    match error {
        HandleError::Rejected(rejection) => Ok(rejection),
        HandleError::Contended(_) => {
            Err(Failure::new(ErrorCode::Conflict, "too many others change this now: try again"))
        }
        HandleError::Unavailable { reason, retry_after } => Err(Failure::unavailable(reason, retry_after)),
        error @ (HandleError::Corrupt { .. } | HandleError::IdTaken | HandleError::Erased) => {
            Err(Failure::internal(error))
        }
    }
}

fn answer<R: Explain + 'static>(handled: Result<Handled, HandleError<R>>) -> Outcome<Answered<Token>> {
    Ok(match handled {
        Ok(handled) => Ok(Token { position: handled.position, stream: Some(handled.stream) }),
        Err(HandleError::IdTaken) => Err(key_reused()),
        Err(HandleError::Erased) => Err(UserError {
            code: UserErrorCode::Erased,
            message: "the person it is about was erased".to_owned(),
            field: None,
        }),
        Err(error) => Err(failure(error)?.user_error()),
    })
}

/// A user error about one input field.
pub(crate) fn refusal(code: UserErrorCode, message: impl Into<String>, field: &'static str) -> UserError {
    UserError { code, message: message.into(), field: Some(field.to_owned()) }
}
