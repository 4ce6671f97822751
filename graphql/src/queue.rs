//! Queues: where conversations wait for operators, and by which rules.
//!
//! **Invariant:** what waits is counted when it is asked for, for all queues of an answer at once.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use events::ids::{CalendarId, QueueId};
use events::queue::QueueRules;
use projections::conversation::QueuedView;
use projections::queue::QueueView;

use crate::calendar::Calendar;
use crate::context::{Reading, id, loader};
use crate::error::{Failure, Outcome};
use crate::loaders::LoadOf;
use crate::scalars::Token;
use crate::service_level::ServiceLevel;

mod mutation;

pub(crate) use mutation::QueueMutation;

/// A queue of conversations that wait for operators.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Queue {
    /// The id, as `queue-<uuid>`.
    pub id: ID,
    /// What the tenant calls it.
    pub name: String,
    /// True when nothing new comes into it.
    pub closed: bool,
    /// What whoever takes a conversation must be able to do.
    pub skills: Vec<String>,
    /// The priority that its conversations have unless they have their own, 0 to 9.
    pub priority: u8,
    /// The accounts whose conversations come into it by themselves, as `account-<uuid>`.
    pub accounts: Vec<ID>,
    /// After how much working time of this queue conversations go to the fallback queue, in seconds.
    pub fallback_after_seconds: Option<u32>,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    #[graphql(skip)]
    view: QueueView,
}

impl From<QueueView> for Queue {
    fn from(view: QueueView) -> Self {
        let rules = &view.rules;
        Self {
            id: view.queue.to_string().into(),
            name: view.name.clone(),
            closed: view.closed,
            skills: rules.skills.iter().map(ToString::to_string).collect(),
            priority: rules.priority,
            accounts: rules.accounts.iter().map(|account| account.to_string().into()).collect(),
            fallback_after_seconds: rules.fallback.map(|fallback| fallback.after_s),
            opened_at: view.opened_at,
            view,
        }
    }
}

/// What waits in a queue.
#[derive(Debug, Clone, Copy, SimpleObject)]
pub(crate) struct QueueLoad {
    /// How many conversations wait in it for an operator.
    pub waiting: u64,
    /// Since when the one waits that waits longest.
    pub longest_since: Option<DateTime<Utc>>,
    /// How many of it are operators' work.
    pub in_work: u64,
}

#[ComplexObject]
impl Queue {
    /// When its operators work; around the clock when null.
    #[graphql(complexity = "2 + child_complexity")]
    async fn calendar(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Calendar>> {
        let Some(calendar) = self.view.rules.calendar else { return Ok(None) };
        Ok(loader(ctx).load_one(calendar).await.map_err(Failure::from)?.map(Calendar::from))
    }

    /// Where conversations go that nobody has taken.
    #[graphql(complexity = "2 + child_complexity")]
    async fn fallback(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Queue>> {
        let Some(fallback) = self.view.rules.fallback else { return Ok(None) };
        Ok(loader(ctx).load_one(fallback.queue).await.map_err(Failure::from)?.map(Queue::from))
    }

    /// What is promised to its customers.
    #[graphql(complexity = "2 + child_complexity")]
    async fn service_level(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<ServiceLevel>> {
        let Some(level) = self.view.rules.service_level else { return Ok(None) };
        Ok(loader(ctx).load_one(level).await.map_err(Failure::from)?.map(ServiceLevel::from))
    }

    /// What waits in it.
    #[graphql(complexity = "5 + child_complexity")]
    async fn load(&self, ctx: &Context<'_>) -> async_graphql::Result<QueueLoad> {
        let load = loader(ctx).load_one(LoadOf(self.view.queue)).await.map_err(Failure::from)?.unwrap_or_default();
        Ok(QueueLoad { waiting: load.waiting, longest_since: load.longest_since, in_work: load.in_work })
    }
}

/// Where a conversation waits for an operator, or came from.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Queued {
    /// 0, which waits longest, to 9.
    pub priority: u32,
    /// The language that whoever takes it must speak, by its ISO 639-1 code.
    pub language: Option<String>,
    /// Since when it waits for an operator, over all queues that it fell through.
    pub since: DateTime<Utc>,
    #[graphql(skip)]
    queue: QueueId,
}

impl From<QueuedView> for Queued {
    fn from(view: QueuedView) -> Self {
        Self { priority: view.priority, language: view.language, since: view.since, queue: view.queue }
    }
}

#[ComplexObject]
impl Queued {
    /// The queue.
    #[graphql(complexity = "2 + child_complexity")]
    async fn queue(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Queue>> {
        Ok(loader(ctx).load_one(self.queue).await.map_err(Failure::from)?.map(Queue::from))
    }
}

/// Where conversations go that nobody has taken.
#[derive(InputObject)]
pub(crate) struct FallbackInput {
    /// Which queue, as `queue-<uuid>`.
    pub queue: ID,
    /// After how much working time of this queue, in seconds.
    pub after_seconds: u32,
}

/// The rules of a queue.
#[derive(InputObject)]
pub(crate) struct QueueRulesInput {
    /// The accounts whose conversations come into it by themselves, as `account-<uuid>`.
    pub accounts: Option<Vec<ID>>,
    /// What whoever takes a conversation must be able to do.
    pub skills: Option<Vec<String>>,
    /// The priority that its conversations have unless they have their own, 0 to 9; 0 when absent.
    pub priority: Option<u8>,
    /// When its operators work, as `calendar-<uuid>`; around the clock when absent.
    pub calendar: Option<ID>,
    /// Where conversations go that nobody has taken.
    pub fallback: Option<FallbackInput>,
    /// What is promised to its customers, as `servicelevel-<uuid>`; nothing when absent.
    pub service_level: Option<ID>,
}

impl QueueRulesInput {
    fn parse(self) -> Outcome<QueueRules> {
        let accounts = self.accounts.unwrap_or_default();
        let fallback = self.fallback.map(|fallback| {
            id(&fallback.queue).map(|queue| events::queue::Fallback { queue, after_s: fallback.after_seconds })
        });
        Ok(QueueRules {
            accounts: accounts.iter().map(id).collect::<Outcome<_>>()?,
            skills: self.skills.unwrap_or_default().into_iter().map(Into::into).collect(),
            priority: self.priority.unwrap_or_default(),
            calendar: self.calendar.as_ref().map(id::<CalendarId>).transpose()?,
            fallback: fallback.transpose()?,
            service_level: self.service_level.as_ref().map(id).transpose()?,
        })
    }
}

/// Queries of queues.
#[derive(Default)]
pub(crate) struct QueueQuery;

#[Object]
impl QueueQuery {
    /// The queues of the tenant, by name. For everybody: an agent puts conversations into them.
    #[graphql(complexity = "20 * child_complexity + 1")]
    async fn queues(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<Vec<Queue>> {
        let reading = Reading::after(ctx, after.as_ref()).await?;
        let queues = reading.views().queues(reading.viewer()).await.map_err(Failure::from)?;
        Ok(queues.into_iter().map(Queue::from).collect())
    }
}

/// One queue of the viewer's tenant.
pub(crate) async fn find(reading: &Reading<'_>, queue: QueueId) -> Outcome<Option<Queue>> {
    let mut found = reading.views().queues_by_ids(reading.viewer(), &[queue]).await?;
    Ok(found.pop().map(Queue::from))
}
