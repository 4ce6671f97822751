//! Dead letters: messages to customers that wait for a person.
//!
//! **Invariant:** a dead letter is shown with its reason until a person sends it again.

use async_graphql::{ComplexObject, Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use events::ids::ConversationId;
use projections::timeline::DeadLetterView;
use projections::views::Order;

use crate::context::{Reading, loader};
use crate::conversation::Conversation;
use crate::error::Failure;
use crate::guard::SUPERVISOR;
use crate::page::{Connection, Paging, cost};
use crate::scalars::{LogPosition, Token};
use crate::vocabulary::DeliveryStateName;

/// A message that could not be delivered, or of which nobody knows.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct DeadLetter {
    /// The message, as `message-<uuid>`: give it to `redriveMessage`.
    pub message: ID,
    /// The conversation, as `conversation-<uuid>`.
    pub conversation_id: ID,
    /// Failed, or unknown.
    pub state: DeliveryStateName,
    /// The last attempt, from 1; 0 when it was never tried.
    pub attempt: u32,
    /// Why, without personal data.
    pub reason: Option<String>,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The place in the log of the event that says so.
    pub position: LogPosition,
    #[graphql(skip)]
    conversation: ConversationId,
}

impl From<DeadLetterView> for DeadLetter {
    fn from(view: DeadLetterView) -> Self {
        Self {
            message: view.message.to_string().into(),
            conversation_id: view.conversation.to_string().into(),
            state: view.state.into(),
            attempt: view.attempt,
            reason: view.reason,
            since: view.since,
            position: LogPosition(view.position),
            conversation: view.conversation,
        }
    }
}

#[ComplexObject]
impl DeadLetter {
    /// The conversation that it was to go to.
    #[graphql(complexity = "3 + child_complexity")]
    async fn conversation(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Conversation>> {
        Ok(loader(ctx).load_one(self.conversation).await.map_err(Failure::from)?.map(Conversation::from))
    }
}

/// Queries of deliveries.
#[derive(Default)]
pub(crate) struct DeliveryQuery;

#[Object]
impl DeliveryQuery {
    /// Messages that could not be delivered or of which nobody knows, the latest first. For supervisors.
    #[graphql(guard = "SUPERVISOR", complexity = "cost(first, last, child_complexity)")]
    async fn dead_letters(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 20 if neither this nor `last` is given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Stop in front of this cursor.")] before: Option<String>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after_token: Option<Token>,
    ) -> async_graphql::Result<Connection<DeadLetter>> {
        let asked = Paging { first, after, last, before }.of("deadLetters", Order::Descending)?;
        let reading = Reading::after(ctx, after_token.as_ref()).await?;
        let page = reading.views().dead_letters(reading.viewer(), &asked.request).await;
        Ok(asked.connection(page.map_err(Failure::from)?, DeadLetter::from))
    }
}
