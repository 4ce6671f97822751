//! Raw deliveries: what came in, what became of it, and another try.
//!
//! **Invariant:** for supervisors only; the body is not here but in the event that holds it.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use events::ids::{EventId, IntakeId};
use models::intake::{IntakeCommand, IntakeDecider};
use projections::intake::{IntakeFilter, IntakeOutcome, IntakeView};
use projections::views::Order;

use crate::account::ChannelName;
use crate::command::Mutating;
use crate::context::{Reading, id};
use crate::error::{Failure, UserError};
use crate::guard::SUPERVISOR;
use crate::page::{Connection, Paging, cost};
use crate::scalars::{LogPosition, Token};

/// What became of a raw delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "IntakeOutcome", remote = "IntakeOutcome")]
pub(crate) enum IntakeOutcomeName {
    /// It waits.
    Received,
    /// It was understood and carried out.
    Normalised,
    /// It was not understood; the bytes are kept for a better parser.
    Unrecognised,
    /// It was understood, but could not be carried out.
    Parked,
    /// A person asked for another try; it waits again.
    Redriven,
}

/// A raw delivery of a provider.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Intake {
    /// The event that holds the body, as `event-<uuid>`: see `node`.
    pub event: ID,
    /// The stream that it stands in, as `intake-<uuid>`.
    pub stream: ID,
    /// The account that it was sent to, as `account-<uuid>`.
    pub account: ID,
    /// The channel of the account.
    pub channel: ChannelName,
    /// Length of the body, in bytes.
    pub size_bytes: u64,
    /// What became of it.
    pub outcome: IntakeOutcomeName,
    /// What it was, in the provider's words, once it was understood.
    pub kind: Option<String>,
    /// Why it was not understood or not carried out.
    pub reason: Option<String>,
    /// How often it was tried before it was parked.
    pub attempts: u32,
    /// The conversation that it belongs to, as `conversation-<uuid>`.
    pub conversation: Option<ID>,
    /// When it was sent, by the provider's clock.
    pub occurred_at: DateTime<Utc>,
    /// When it came in.
    pub received_at: DateTime<Utc>,
    /// When the outcome was known.
    pub outcome_at: DateTime<Utc>,
    /// Its place in the log.
    pub position: LogPosition,
}

impl From<IntakeView> for Intake {
    fn from(view: IntakeView) -> Self {
        Self {
            event: view.received.to_string().into(),
            stream: view.stream.to_string().into(),
            account: view.account.to_string().into(),
            channel: view.channel.into(),
            size_bytes: view.size_bytes,
            outcome: view.outcome.into(),
            kind: view.kind,
            reason: view.reason,
            attempts: view.attempts,
            conversation: view.conversation.map(|conversation| conversation.to_string().into()),
            occurred_at: view.occurred_at,
            received_at: view.received_at,
            outcome_at: view.outcome_at,
            position: LogPosition(view.position),
        }
    }
}

/// Which raw deliveries are wanted; all conditions must hold.
#[derive(Debug, Default, InputObject)]
pub(crate) struct IntakeFilterInput {
    /// Only with this outcome.
    pub outcome: Option<IntakeOutcomeName>,
    /// Only of this account, as `account-<uuid>`.
    pub account: Option<ID>,
    /// Only of this conversation, as `conversation-<uuid>`.
    pub conversation: Option<ID>,
}

/// Asks for another try of a delivery that was not understood or was parked.
#[derive(InputObject)]
pub(crate) struct RedriveIntakeInput {
    /// The stream of the delivery, as `intake-<uuid>`.
    pub stream: ID,
    /// The event that holds the body, as `event-<uuid>`.
    pub event: ID,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// What came of `redriveIntake`.
#[derive(SimpleObject)]
pub(crate) struct RedriveIntakePayload {
    /// Give it as `after` to a query that is to see the change; absent when a rule refused the wish.
    pub token: Option<Token>,
    /// Why a rule refused the wish; empty when it was carried out.
    pub user_errors: Vec<UserError>,
}

/// Queries of raw deliveries.
#[derive(Default)]
pub(crate) struct IntakeQuery;

#[Object]
impl IntakeQuery {
    /// Raw deliveries, the latest first: those that were not understood and those that were parked, too. For
    /// supervisors.
    #[graphql(guard = "SUPERVISOR", complexity = "cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a Relay connection")]
    async fn intake(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which are wanted; all when absent.")] filter: Option<IntakeFilterInput>,
        #[graphql(desc = "How many from the start, 20 if neither this nor `last` is given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Stop in front of this cursor.")] before: Option<String>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after_token: Option<Token>,
    ) -> async_graphql::Result<Connection<Intake>> {
        let asked = Paging { first, after, last, before }.of("intake", Order::Descending)?;
        let filter = filter.unwrap_or_default();
        let filter = IntakeFilter {
            outcome: filter.outcome.map(Into::into),
            account: filter.account.as_ref().map(id).transpose()?,
            conversation: filter.conversation.as_ref().map(id).transpose()?,
        };
        let reading = Reading::after(ctx, after_token.as_ref()).await?;
        let page = reading.views().intake(reading.viewer(), &filter, &asked.request).await;
        Ok(asked.connection(page.map_err(Failure::from)?, Intake::from))
    }
}

/// Mutations of raw deliveries.
#[derive(Default)]
pub(crate) struct IntakeMutation;

#[Object]
impl IntakeMutation {
    /// Asks for another try of a delivery that was not understood or was parked. For supervisors.
    #[graphql(guard = "SUPERVISOR", complexity = "10 + child_complexity")]
    async fn redrive_intake(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which delivery.")] input: RedriveIntakeInput,
    ) -> async_graphql::Result<RedriveIntakePayload> {
        let mutating = Mutating::begin(ctx, "redriveIntake", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let (stream, received): (IntakeId, EventId) = (id(&input.stream)?, id(&input.event)?);
        Ok(match mutating.run::<IntakeDecider>(stream.uuid(), IntakeCommand::Redrive { received }).await? {
            Ok(token) => RedriveIntakePayload { token: Some(token), user_errors: vec![] },
            Err(error) => RedriveIntakePayload { token: None, user_errors: vec![error] },
        })
    }
}
