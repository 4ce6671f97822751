//! Subscriptions to conversations.
//!
//! **Invariant:** every update carries the token to resume behind it: given as `after` on a new subscription, nothing
//! is missed and nothing repeated.

use async_graphql::{ComplexObject, Context, ID, SimpleObject, Subscription};
use chrono::{DateTime, Utc};
use events::envelope::{Category, RecordedEvent};
use events::ids::ConversationId;
use futures::stream::{Stream, StreamExt};

use super::Conversation;
use crate::context::Reading;
use crate::error::Failure;
use crate::follow::{follow, token_of};
use crate::scalars::Token;
use crate::vocabulary::Actor;

/// Most events that one update of the inbox stands for.
const UPDATE_EVENTS: usize = 64;

/// Something happened in a conversation.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct ConversationUpdate {
    /// Give it as `after` to resume behind this update.
    pub token: Token,
    /// The conversation, as `conversation-<uuid>`.
    pub conversation_id: ID,
    /// The event that happened, as `event-<uuid>`; the last one, where an update stands for several.
    pub event: ID,
    /// Its type, as `conversation.message_received`.
    pub event_type: String,
    /// Its place in the conversation.
    pub revision: u64,
    /// Who made it happen.
    pub actor: Actor,
    /// When letopis recorded it.
    pub recorded_at: DateTime<Utc>,
    #[graphql(skip)]
    id: ConversationId,
}

impl From<RecordedEvent> for ConversationUpdate {
    fn from(event: RecordedEvent) -> Self {
        let id = ConversationId::new(event.stream.id);
        Self {
            token: token_of(&event),
            conversation_id: id.to_string().into(),
            event: event.id.to_string().into(),
            event_type: event.event_type.as_ref().to_owned(),
            revision: event.revision.0,
            actor: (&event.metadata.actor).into(),
            recorded_at: event.recorded_at,
            id,
        }
    }
}

#[ComplexObject]
impl ConversationUpdate {
    /// The conversation as it stands now: at this update or later.
    async fn conversation(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Conversation>> {
        let reading = Reading::after_own(ctx, &self.token).await?;
        Ok(super::find(&reading, self.id).await?)
    }
}

/// Subscriptions to conversations.
#[derive(Default)]
pub(crate) struct ConversationSubscription;

#[Subscription]
impl ConversationSubscription {
    /// Everything that happens in one conversation, event by event, once the read models show it.
    async fn conversation_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The conversation, as `conversation-<uuid>`.")] id: ID,
        #[graphql(desc = "Begin behind this token: that of the last update seen, or the read position of a query. \
                          From now on when absent.")]
        after: Option<Token>,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<ConversationUpdate>> + use<>> {
        let conversation: ConversationId = crate::context::id(&id)?;
        let reading = Reading::aside(ctx)?;
        if super::find(&reading, conversation).await?.is_none() {
            return Err(Failure::new(crate::error::ErrorCode::NotFound, "there is no such conversation").into());
        }
        let this = move |event: &RecordedEvent| event.stream.id == conversation.uuid();
        let events = follow(ctx, after, vec![Category::Conversation], this).await?;
        Ok(events.map(|event| Ok(event?.into())))
    }

    /// Every conversation of the tenant in which something happened, once the read models show it. Several events of
    /// one conversation that come together make one update.
    async fn inbox_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begin behind this token: that of the last update seen, or the read position of a query. \
                          From now on when absent.")]
        after: Option<Token>,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<ConversationUpdate>> + use<>> {
        let events = follow(ctx, after, vec![Category::Conversation], |_| true).await?;
        let updates = events.ready_chunks(UPDATE_EVENTS).map(|chunk| futures::stream::iter(coalesce(chunk)));
        Ok(updates.flatten())
    }
}

/// The last event of each conversation of a chunk, in the order of the log; an error ends it.
fn coalesce(chunk: Vec<Result<RecordedEvent, Failure>>) -> Vec<async_graphql::Result<ConversationUpdate>> {
    let mut updates: Vec<RecordedEvent> = Vec::with_capacity(chunk.len());
    let mut failed = None;
    for read in chunk {
        match read {
            Ok(event) => {
                updates.retain(|earlier| earlier.stream != event.stream);
                updates.push(event);
            }
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    let updates = updates.into_iter().map(|event| Ok(event.into()));
    updates.chain(failed.map(|failure| Err(failure.into()))).collect()
}
