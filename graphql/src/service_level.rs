//! Service levels: how soon customers are answered and helped, by priority.
//!
//! **Invariant:** what a level promises to a conversation is shown with its clocks, counted by the same code as the warnings.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use events::ids::{CalendarId, ServiceLevelId};
use events::service_level::{ServiceLevelRules, ServiceTarget};
use models::service_level::{ServiceLevelCommand, ServiceLevelDecider};
use projections::service_level::ServiceLevelView;

use crate::calendar::Calendar;
use crate::command::Mutating;
use crate::context::{Reading, id, loader};
use crate::error::{Failure, Outcome};
use crate::guard::{ADMINISTRATOR, OPERATOR};
use crate::payload::{Done, Mutation, Payload, Subject};
use crate::scalars::Token;

/// What is promised from a priority on, in seconds of working time.
#[derive(Debug, Clone, Copy, SimpleObject, InputObject)]
#[graphql(name = "ServiceTarget", input_name = "ServiceTargetInput")]
pub(crate) struct TargetObject {
    /// To conversations of this priority or above, up to the next target.
    pub least_priority: u8,
    /// Until the first answer.
    pub first_response_seconds: Option<u32>,
    /// Until each further answer.
    pub next_response_seconds: Option<u32>,
    /// Until the end; waiting for the customer does not count.
    pub resolution_seconds: Option<u32>,
}

impl From<ServiceTarget> for TargetObject {
    fn from(target: ServiceTarget) -> Self {
        Self {
            least_priority: target.least_priority,
            first_response_seconds: target.first_response_s,
            next_response_seconds: target.next_response_s,
            resolution_seconds: target.resolution_s,
        }
    }
}

impl From<TargetObject> for ServiceTarget {
    fn from(target: TargetObject) -> Self {
        Self {
            least_priority: target.least_priority,
            first_response_s: target.first_response_seconds,
            next_response_s: target.next_response_seconds,
            resolution_s: target.resolution_seconds,
        }
    }
}

/// A service level.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct ServiceLevel {
    /// The id, as `servicelevel-<uuid>`.
    pub id: ID,
    /// What the tenant calls it.
    pub name: String,
    /// What is promised, by priority.
    pub targets: Vec<TargetObject>,
    /// How much working time before its end a clock warns, in seconds.
    pub warn_before_seconds: u32,
    /// True when it promises nothing.
    pub closed: bool,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    #[graphql(skip)]
    calendar: Option<CalendarId>,
}

impl From<ServiceLevelView> for ServiceLevel {
    fn from(view: ServiceLevelView) -> Self {
        Self {
            id: view.service_level.to_string().into(),
            name: view.name,
            targets: view.rules.targets.into_iter().map(TargetObject::from).collect(),
            warn_before_seconds: view.rules.warn_before_s,
            closed: view.closed,
            opened_at: view.opened_at,
            calendar: view.rules.calendar,
        }
    }
}

#[ComplexObject]
impl ServiceLevel {
    /// Whose working time counts; all time when null.
    #[graphql(complexity = "2 + child_complexity")]
    async fn calendar(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Calendar>> {
        let Some(calendar) = self.calendar else { return Ok(None) };
        Ok(loader(ctx).load_one(calendar).await.map_err(Failure::from)?.map(Calendar::from))
    }
}

/// The rules of a service level.
#[derive(InputObject)]
pub(crate) struct ServiceLevelRulesInput {
    /// Whose working time counts, as `calendar-<uuid>`; all time when absent.
    pub calendar: Option<ID>,
    /// What is promised, in the order of the priorities.
    pub targets: Vec<TargetObject>,
    /// How much working time before its end a clock warns, in seconds; 0 when absent.
    pub warn_before_seconds: Option<u32>,
}

impl ServiceLevelRulesInput {
    fn parse(self) -> Outcome<ServiceLevelRules> {
        Ok(ServiceLevelRules {
            calendar: self.calendar.as_ref().map(id).transpose()?,
            targets: self.targets.into_iter().map(ServiceTarget::from).collect(),
            warn_before_s: self.warn_before_seconds.unwrap_or_default(),
        })
    }
}

/// Opens a service level.
#[derive(InputObject)]
pub(crate) struct OpenServiceLevelInput {
    /// What the tenant calls it, 1 to 100 characters.
    pub name: String,
    /// Its rules.
    pub rules: ServiceLevelRulesInput,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Replaces name and rules of a service level.
#[derive(InputObject)]
pub(crate) struct ChangeServiceLevelInput {
    /// The level, as `servicelevel-<uuid>`.
    pub service_level: ID,
    /// What the tenant calls it from here on.
    pub name: String,
    /// Its rules from here on.
    pub rules: ServiceLevelRulesInput,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Lets a service level promise nothing.
#[derive(InputObject)]
pub(crate) struct CloseServiceLevelInput {
    /// The level, as `servicelevel-<uuid>`.
    pub service_level: ID,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Service levels as what mutations change.
pub(crate) struct ServiceLevelSubject;

impl Subject for ServiceLevelSubject {
    type Object = ServiceLevel;

    async fn load(reading: &Reading<'_>, id: uuid::Uuid) -> Outcome<Option<ServiceLevel>> {
        find(reading, ServiceLevelId::new(id)).await
    }
}

macro_rules! service_level_payloads {
    ($($marker:ident = $name:literal;)*) => {$(
        #[doc = concat!("What came of a mutation: `", $name, "`.")]
        pub(crate) struct $marker;

        impl Mutation for $marker {
            type Subject = ServiceLevelSubject;
            const PAYLOAD: &'static str = $name;
        }
    )*};
}

service_level_payloads! {
    OpenServiceLevel = "OpenServiceLevelPayload";
    ChangeServiceLevel = "ChangeServiceLevelPayload";
    CloseServiceLevel = "CloseServiceLevelPayload";
}

/// Queries of service levels.
#[derive(Default)]
pub(crate) struct ServiceLevelQuery;

#[Object]
impl ServiceLevelQuery {
    /// The service levels of the tenant, by name. For operators.
    #[graphql(guard = "OPERATOR", complexity = "20 * child_complexity + 1")]
    async fn service_levels(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<Vec<ServiceLevel>> {
        let reading = Reading::after(ctx, after.as_ref()).await?;
        let levels = reading.views().service_levels(reading.viewer()).await.map_err(Failure::from)?;
        Ok(levels.into_iter().map(ServiceLevel::from).collect())
    }
}

/// Mutations of service levels, all for administrators.
#[derive(Default)]
pub(crate) struct ServiceLevelMutation;

async fn run(mutating: &Mutating<'_>, level: ServiceLevelId, command: ServiceLevelCommand) -> Outcome<Done> {
    let answered = mutating.run::<ServiceLevelDecider>(level.uuid(), command).await?;
    Ok(Done { id: level.uuid(), answered })
}

#[Object]
impl ServiceLevelMutation {
    /// Opens a service level; a queue names the one that it promises. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn open_service_level(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to open.")] input: OpenServiceLevelInput,
    ) -> async_graphql::Result<Payload<OpenServiceLevel>> {
        let mutating = Mutating::begin(ctx, "openServiceLevel", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let level = ServiceLevelId::new(mutating.fresh("service level"));
        let command = ServiceLevelCommand::Open { name: input.name, rules: input.rules.parse()? };
        Ok(run(&mutating, level, command).await?.into())
    }

    /// Replaces name and rules of a service level; opens a closed one again. Clocks that run count on by the new rules. For
    /// administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn change_service_level(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: ChangeServiceLevelInput,
    ) -> async_graphql::Result<Payload<ChangeServiceLevel>> {
        let mutating =
            Mutating::begin(ctx, "changeServiceLevel", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let command = ServiceLevelCommand::Change { name: input.name, rules: input.rules.parse()? };
        Ok(run(&mutating, id(&input.service_level)?, command).await?.into())
    }

    /// Lets a service level promise nothing: its clocks are gone. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn close_service_level(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one.")] input: CloseServiceLevelInput,
    ) -> async_graphql::Result<Payload<CloseServiceLevel>> {
        let mutating =
            Mutating::begin(ctx, "closeServiceLevel", &input.idempotency_key, input.seen_at.as_ref()).await?;
        Ok(run(&mutating, id(&input.service_level)?, ServiceLevelCommand::Close).await?.into())
    }
}

/// One service level of the viewer's tenant.
pub(crate) async fn find(reading: &Reading<'_>, level: ServiceLevelId) -> Outcome<Option<ServiceLevel>> {
    let mut found = reading.views().service_levels_by_ids(reading.viewer(), &[level]).await?;
    Ok(found.pop().map(ServiceLevel::from))
}
