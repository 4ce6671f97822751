//! Mutations of queues, and the way of a conversation into one.
//!
//! **Invariant:** a conversation comes into a queue only as that queue's own stream allows.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object};
use events::ids::{ConversationId, QueueId};
use models::conversation::{ConversationCommand, ConversationDecider, EnqueuedBy, Enqueueing};
use models::queue::{QueueCommand, QueueDecider};

use super::{Queue, QueueRulesInput};
use crate::command::Mutating;
use crate::context::{Reading, id};
use crate::conversation::ConversationSubject;
use crate::error::Outcome;
use crate::guard::ADMINISTRATOR;
use crate::payload::{Done, Mutation, Payload, Subject};
use crate::scalars::Token;

/// Opens a queue.
#[derive(InputObject)]
pub(crate) struct OpenQueueInput {
    /// What the tenant calls it, 1 to 100 characters.
    pub name: String,
    /// Its rules.
    pub rules: QueueRulesInput,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Replaces name and rules of a queue.
#[derive(InputObject)]
pub(crate) struct ChangeQueueInput {
    /// The queue, as `queue-<uuid>`.
    pub queue: ID,
    /// What the tenant calls it from here on.
    pub name: String,
    /// Its rules from here on.
    pub rules: QueueRulesInput,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Lets nothing new into a queue.
#[derive(InputObject)]
pub(crate) struct CloseQueueInput {
    /// The queue, as `queue-<uuid>`.
    pub queue: ID,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Puts a conversation into a queue.
#[derive(InputObject)]
pub(crate) struct EnqueueConversationInput {
    /// The conversation, as `conversation-<uuid>`.
    pub conversation: ID,
    /// The queue, as `queue-<uuid>`.
    pub queue: ID,
    /// 0 to 9; that of the queue when absent.
    pub priority: Option<u8>,
    /// The language that whoever takes it must speak, by its ISO 639-1 code; any when absent.
    pub language: Option<String>,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Queues as what mutations change.
pub(crate) struct QueueSubject;

impl Subject for QueueSubject {
    type Object = Queue;

    async fn load(reading: &Reading<'_>, id: uuid::Uuid) -> Outcome<Option<Queue>> {
        super::find(reading, QueueId::new(id)).await
    }
}

macro_rules! payloads {
    ($($marker:ident of $subject:ident = $name:literal;)*) => {$(
        #[doc = concat!("What came of a mutation: `", $name, "`.")]
        pub(crate) struct $marker;

        impl Mutation for $marker {
            type Subject = $subject;
            const PAYLOAD: &'static str = $name;
        }
    )*};
}

payloads! {
    OpenQueue of QueueSubject = "OpenQueuePayload";
    ChangeQueue of QueueSubject = "ChangeQueuePayload";
    CloseQueue of QueueSubject = "CloseQueuePayload";
    EnqueueConversation of ConversationSubject = "EnqueueConversationPayload";
}

/// Mutations of queues.
#[derive(Default)]
pub(crate) struct QueueMutation;

async fn run(mutating: &Mutating<'_>, queue: QueueId, command: QueueCommand) -> Outcome<Done> {
    let answered = mutating.run::<QueueDecider>(queue.uuid(), command).await?;
    Ok(Done { id: queue.uuid(), answered })
}

#[Object]
impl QueueMutation {
    /// Opens a queue. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn open_queue(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to open.")] input: OpenQueueInput,
    ) -> async_graphql::Result<Payload<OpenQueue>> {
        let mutating = Mutating::begin(ctx, "openQueue", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let queue = QueueId::new(mutating.fresh("queue"));
        let command = QueueCommand::Open { queue, name: input.name, rules: input.rules.parse()? };
        Ok(run(&mutating, queue, command).await?.into())
    }

    /// Replaces name and rules of a queue; opens a closed one again. What waits in it is shared out by the new rules. For
    /// administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn change_queue(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: ChangeQueueInput,
    ) -> async_graphql::Result<Payload<ChangeQueue>> {
        let mutating = Mutating::begin(ctx, "changeQueue", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let queue = id(&input.queue)?;
        let command = QueueCommand::Change { queue, name: input.name, rules: input.rules.parse()? };
        Ok(run(&mutating, queue, command).await?.into())
    }

    /// Lets nothing new into a queue; what waits in it is shared out still. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn close_queue(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one.")] input: CloseQueueInput,
    ) -> async_graphql::Result<Payload<CloseQueue>> {
        let mutating = Mutating::begin(ctx, "closeQueue", &input.idempotency_key, input.seen_at.as_ref()).await?;
        Ok(run(&mutating, id(&input.queue)?, QueueCommand::Close).await?.into())
    }

    /// Puts a conversation into a queue, where it waits for an operator: it is nobody's work from then on and nobody speaks
    /// in it. In the queue where it waits already, it gets another priority or language and waits on.
    #[graphql(complexity = "10 + child_complexity")]
    async fn enqueue_conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What goes where.")] input: EnqueueConversationInput,
    ) -> async_graphql::Result<Payload<EnqueueConversation>> {
        let mutating =
            Mutating::begin(ctx, "enqueueConversation", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let (conversation, queue): (ConversationId, QueueId) = (id(&input.conversation)?, id(&input.queue)?);
        let own = |state: &models::queue::Queue| state.rules().map(|rules| rules.priority);
        let of_queue = mutating.inspect::<QueueDecider, _>(queue.uuid(), own).await?;
        let language: Option<Arc<str>> = input.language.map(Into::into);
        let command = ConversationCommand::Enqueue(Enqueueing {
            queue,
            is_open: of_queue.is_some(),
            priority: input.priority.or(of_queue).unwrap_or_default(),
            language,
            by: EnqueuedBy::Hand,
        });
        let answered = mutating.run::<ConversationDecider>(conversation.uuid(), command).await?;
        Ok(Done { id: conversation.uuid(), answered }.into())
    }
}
