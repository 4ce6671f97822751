//! Mutations of operators.
//!
//! **Invariant:** operators speak of their own presence only; supervisors of anybody's.

use std::sync::Arc;

use async_graphql::{Context, InputObject, Object, SimpleObject};
use events::ids::OperatorId;
use events::operator::PresenceReason;
use events::viewer::Role;
use models::operator::{OperatorCommand, OperatorDecider};

use super::{AbilitiesObject, Operator, PresenceName};
use crate::command::Mutating;
use crate::context::{Caller, Dependencies, Reading};
use crate::error::{Failure, Outcome, RETRY_AFTER};
use crate::guard::{ADMINISTRATOR, OPERATOR};
use crate::payload::{Done, Mutation, Payload, Subject};
use crate::scalars::Token;

/// Lets queues give conversations to an operator.
#[derive(InputObject)]
pub(crate) struct RegisterOperatorInput {
    /// Who, as in their token.
    pub operator: String,
    /// What they are called at the desk, 1 to 100 characters.
    pub name: String,
    /// What they can do.
    pub abilities: AbilitiesObject,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Replaces name and abilities of an operator.
#[derive(InputObject)]
pub(crate) struct ChangeOperatorInput {
    /// Who, as in their token.
    pub operator: String,
    /// What they are called from here on.
    pub name: String,
    /// What they can do from here on.
    pub abilities: AbilitiesObject,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Notes whether an operator is there.
#[derive(InputObject)]
pub(crate) struct SetPresenceInput {
    /// What they are from here on.
    pub presence: PresenceName,
    /// Who, as in their token; the caller when absent. Of others only supervisors may speak.
    pub operator: Option<String>,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Operators as what mutations change.
pub(crate) struct OperatorSubject;

impl Subject for OperatorSubject {
    type Object = Operator;

    async fn load(reading: &Reading<'_>, id: uuid::Uuid) -> Outcome<Option<Operator>> {
        super::find(reading, OperatorId::new(id)).await
    }
}

macro_rules! operator_payloads {
    ($($marker:ident = $name:literal;)*) => {$(
        #[doc = concat!("What came of a mutation: `", $name, "`.")]
        pub(crate) struct $marker;

        impl Mutation for $marker {
            type Subject = OperatorSubject;
            const PAYLOAD: &'static str = $name;
        }
    )*};
}

operator_payloads! {
    RegisterOperator = "RegisterOperatorPayload";
    ChangeOperator = "ChangeOperatorPayload";
    SetPresence = "SetPresencePayload";
}

/// That a sign of life was noted.
#[derive(SimpleObject)]
pub(crate) struct Heartbeat {
    /// How long the caller counts as there without another, in seconds: send one at least three times as often.
    pub timeout_seconds: u64,
}

/// Mutations of operators.
#[derive(Default)]
pub(crate) struct OperatorMutation;

async fn run(mutating: &Mutating<'_>, operator: &str, command: OperatorCommand) -> Outcome<Done> {
    let id = mutating.deps.codec().hasher().operator(&mutating.origin.tenant, operator).uuid();
    let answered = mutating.run::<OperatorDecider>(id, command).await?;
    Ok(Done { id, answered })
}

#[Object]
impl OperatorMutation {
    /// Lets queues give conversations to an operator once they are available. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn register_operator(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom.")] input: RegisterOperatorInput,
    ) -> async_graphql::Result<Payload<RegisterOperator>> {
        let mutating = Mutating::begin(ctx, "registerOperator", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let operator: Arc<str> = input.operator.as_str().into();
        let command = OperatorCommand::Register { operator, name: input.name, abilities: input.abilities.into() };
        Ok(run(&mutating, &input.operator, command).await?.into())
    }

    /// Replaces name and abilities of an operator. What they work on stays theirs. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn change_operator(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom.")] input: ChangeOperatorInput,
    ) -> async_graphql::Result<Payload<ChangeOperator>> {
        let mutating = Mutating::begin(ctx, "changeOperator", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let command = OperatorCommand::Change { name: input.name, abilities: input.abilities.into() };
        Ok(run(&mutating, &input.operator, command).await?.into())
    }

    /// Notes whether an operator is there. What an absent one works on goes to others. For operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn set_presence(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who is there.")] input: SetPresenceInput,
    ) -> async_graphql::Result<Payload<SetPresence>> {
        let mutating = Mutating::begin(ctx, "setPresence", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let viewer = &mutating.caller.viewer;
        let operator = input.operator.as_deref().unwrap_or(&viewer.id);
        let reason = match (operator == &*viewer.id, viewer.may_act_as(Role::Supervisor)) {
            (true, _) => PresenceReason::ByThemselves,
            (false, true) => PresenceReason::BySupervisor,
            (false, false) => {
                return Err(Failure::forbidden("of others only a supervisor may speak").into());
            }
        };
        let command = OperatorCommand::SetPresence { presence: input.presence.into(), reason };
        Ok(run(&mutating, operator, command).await?.into())
    }

    /// Notes that the caller is there still; every other mutation of theirs does, too. Whoever shows no sign of life for
    /// too long becomes absent. It writes no event, so that it needs no idempotency key. For operators.
    #[graphql(guard = "OPERATOR", complexity = 5)]
    async fn heartbeat(&self, ctx: &Context<'_>) -> async_graphql::Result<Heartbeat> {
        let (viewer, deps) = (&Caller::of(ctx)?.viewer, Dependencies::of(ctx));
        let noted = deps.heartbeats.beat(&viewer.tenant, &viewer.id).await;
        noted.map_err(|error| Failure::unavailable(error, RETRY_AFTER))?;
        Ok(Heartbeat { timeout_seconds: deps.presence_timeout.as_secs() })
    }
}
