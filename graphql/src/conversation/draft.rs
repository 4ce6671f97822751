//! Who is replying: seen by others before anything is sent.
//!
//! **Invariant:** a draft keeps others from sending only while its operator says so, and nobody when drafts cannot be read.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, ID, Object, SimpleObject, Subscription};
use events::ids::ConversationId;
use futures::stream::{self, Stream};

use crate::command::{Mutating, refusal};
use crate::context::{Caller, Dependencies, Reading, id};
use crate::error::{ErrorCode, Failure, Outcome, RETRY_AFTER, UserError, UserErrorCode};
use crate::guard::OPERATOR;

/// How long a draft is held without being renewed.
const TTL: Duration = Duration::from_secs(30);
/// How often a subscription looks who is replying.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Who is replying.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Draft {
    /// The operator who is; null when nobody is.
    pub operator: Option<String>,
    /// True when it is the caller.
    pub mine: bool,
    /// How long it is held without being renewed, in seconds: renew it at least three times as often.
    pub held_seconds: u64,
}

/// Who is replying in a conversation now.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(crate) struct DraftUpdate {
    /// The operator who is; null when nobody is any more.
    pub operator: Option<String>,
}

/// Mutations of drafts.
#[derive(Default)]
pub(crate) struct DraftMutation;

#[Object]
impl DraftMutation {
    /// Notes that the caller is replying in a conversation, or not any more. While somebody is, others see it and their
    /// messages are refused. It writes no event, so that it needs no idempotency key. For operators.
    #[graphql(guard = "OPERATOR", complexity = 10)]
    async fn set_replying(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The conversation, as `conversation-<uuid>`.")] conversation: ID,
        #[graphql(desc = "False when they are not replying any more.", default = true)] replying: bool,
    ) -> async_graphql::Result<Draft> {
        let (viewer, drafts) = (&Caller::of(ctx)?.viewer, &Dependencies::of(ctx).drafts);
        let conversation: ConversationId = id(&conversation)?;
        own(ctx, conversation).await?;
        if let Err(error) = Dependencies::of(ctx).heartbeats.beat(&viewer.tenant, &viewer.id).await {
            tracing::warn!(%error, "a sign of life was not noted");
        }
        let held = async {
            if replying {
                return drafts.hold((&viewer.tenant, conversation), &viewer.id, TTL).await.map(Some);
            }
            drafts.release((&viewer.tenant, conversation), &viewer.id).await?;
            drafts.holder((&viewer.tenant, conversation)).await
        };
        let holder = held.await.map_err(|error| Failure::unavailable(error, RETRY_AFTER))?;
        let mine = holder.as_ref() == Some(&viewer.id);
        Ok(Draft { operator: holder.map(|holder| holder.to_string()), mine, held_seconds: TTL.as_secs() })
    }
}

/// Subscriptions to drafts.
#[derive(Default)]
pub(crate) struct DraftSubscription;

#[Subscription]
impl DraftSubscription {
    /// Who is replying in a conversation: now, and whenever it changes. For operators.
    #[graphql(guard = "OPERATOR", complexity = "5 + child_complexity")]
    async fn replying_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The conversation, as `conversation-<uuid>`.")] conversation: ID,
    ) -> async_graphql::Result<impl Stream<Item = DraftUpdate> + use<>> {
        let conversation: ConversationId = id(&conversation)?;
        own(ctx, conversation).await?;
        let (tenant, drafts) = (Caller::of(ctx)?.viewer.tenant.clone(), Dependencies::of(ctx).drafts.clone());
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Ok(stream::unfold((tenant, tick, None::<DraftUpdate>), move |(tenant, mut tick, mut told)| {
            let drafts = Arc::clone(&drafts);
            async move {
                loop {
                    tick.tick().await;
                    // What cannot be read now is read the next time.
                    let Ok(holder) = drafts.holder((&tenant, conversation)).await else { continue };
                    let update = DraftUpdate { operator: holder.map(|holder| holder.to_string()) };
                    if told.as_ref() != Some(&update) {
                        told = Some(update.clone());
                        return Some((update, (tenant, tick, told)));
                    }
                }
            }
        }))
    }
}

/// Refuses what is not of the caller's tenant.
async fn own(ctx: &Context<'_>, conversation: ConversationId) -> Outcome<()> {
    let reading = Reading::aside(ctx)?;
    match reading.views().conversation(reading.viewer(), conversation).await? {
        Some(_) => Ok(()),
        None => Err(Failure::new(ErrorCode::NotFound, "there is no such conversation")),
    }
}

/// Who is replying in a conversation of the caller's tenant.
pub(super) async fn holder(ctx: &Context<'_>, conversation: ConversationId) -> Outcome<Option<String>> {
    let tenant = &Caller::of(ctx)?.viewer.tenant;
    let holder = Dependencies::of(ctx).drafts.holder((tenant, conversation)).await;
    let holder = holder.map_err(|error| Failure::unavailable(error, RETRY_AFTER))?;
    Ok(holder.map(|holder| holder.to_string()))
}

/// The refusal of a message while another operator is replying.
pub(crate) async fn held_by_other(mutating: &Mutating<'_>, conversation: ConversationId) -> Outcome<Option<UserError>> {
    let viewer = &mutating.caller.viewer;
    match mutating.deps.drafts.holder((&viewer.tenant, conversation)).await {
        Ok(Some(holder)) if holder != viewer.id => {
            let message = format!("{holder} is replying: wait, or send it with despiteDraft");
            Ok(Some(refusal(UserErrorCode::HeldByOther, message, "conversation")))
        }
        Ok(_) => Ok(None),
        Err(error) => {
            tracing::warn!(%error, "who is replying is not known");
            Ok(None)
        }
    }
}
