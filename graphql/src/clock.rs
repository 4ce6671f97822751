//! Clocks of service, explained step by step.
//!
//! **Invariant:** counted from the events when asked for, by the code that warns; nothing of it is stored.

use async_graphql::{Context, Enum, SimpleObject};
use chrono::{DateTime, Utc};
use events::ids::ConversationId;
use models::clock::{Clock, Histories, StateTime, Step, clocks, time_in_states};
use models::handler::{HandleError, NothingRefused, Timing};

use crate::context::{Caller, Dependencies};
use crate::error::{Failure, Outcome};

/// What a clock counts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "ClockKind", remote = "events::service_level::ClockKind")]
pub(crate) enum ClockKindName {
    /// The first answer.
    FirstResponse,
    /// The answer to what the customer wrote after an answer.
    NextResponse,
    /// The end.
    Resolution,
}

/// How a clock stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "ClockState", remote = "models::clock::ClockState")]
pub(crate) enum ClockStateName {
    /// It runs.
    Running,
    /// It rests.
    Paused,
    /// What it counts to came in time.
    Met,
    /// What it counts to came too late, or has not come and is late.
    Missed,
}

/// Why a clock rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "ClockPause", remote = "models::clock::Pause")]
pub(crate) enum ClockPauseName {
    /// The customer is to answer.
    WaitingForCustomer,
    /// The conversation is closed.
    Closed,
}

/// A clock of service: how long a customer has waited, as the promise to them counts.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(name = "Clock")]
pub(crate) struct ClockObject {
    /// What it counts to.
    pub kind: ClockKindName,
    /// How it stands.
    pub state: ClockStateName,
    /// Since when.
    pub started_at: DateTime<Utc>,
    /// When what it counts to came.
    pub ended_at: Option<DateTime<Utc>>,
    /// How much working time is promised, in seconds.
    pub target_seconds: i64,
    /// How much has passed, in seconds.
    pub elapsed_seconds: i64,
    /// How much is left, in seconds; less than nothing when it is late.
    pub remaining_seconds: i64,
    /// When it warns or warned; null while it rests, or when that is years ahead.
    pub warns_at: Option<DateTime<Utc>>,
    /// When it runs out or ran out; null while it rests and was not late before, or when that is years ahead.
    pub due: Option<DateTime<Utc>>,
    /// How the time came about, stretch by stretch.
    pub steps: Vec<ClockStep>,
}

impl From<Clock> for ClockObject {
    fn from(clock: Clock) -> Self {
        Self {
            kind: clock.kind.into(),
            state: clock.state.into(),
            started_at: clock.started_at,
            ended_at: clock.ended_at,
            target_seconds: clock.target.num_seconds(),
            elapsed_seconds: clock.elapsed.num_seconds(),
            remaining_seconds: (clock.target - clock.elapsed).num_seconds(),
            warns_at: clock.warns_at,
            due: clock.due,
            steps: clock.steps.into_iter().map(Into::into).collect(),
        }
    }
}

/// A stretch of time of a clock, in which nothing changed that matters to it.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct ClockStep {
    /// Its beginning.
    pub from: DateTime<Utc>,
    /// Its end.
    pub to: DateTime<Utc>,
    /// How much of it counted, in seconds: the working time of the calendar of then.
    pub counted_seconds: i64,
    /// Why none of it counted, when the clock rested.
    pub pause: Option<ClockPauseName>,
    /// What was promised by the rules of then, in seconds.
    pub target_seconds: Option<i64>,
}

impl From<Step> for ClockStep {
    fn from(step: Step) -> Self {
        Self {
            from: step.from,
            to: step.to,
            counted_seconds: step.counted.num_seconds(),
            pause: step.pause.map(ClockPauseName::from),
            target_seconds: step.target.map(|target| target.num_seconds()),
        }
    }
}

/// What a conversation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "TimedState", remote = "models::clock::TimedState")]
pub(crate) enum TimedStateName {
    /// For an operator, in a queue.
    Queued,
    /// For an answer of ours.
    WaitingForUs,
    /// For the customer.
    WaitingForCustomer,
    /// For a time.
    Snoozed,
    /// For nothing.
    Closed,
}

/// How long a conversation was in a state.
#[derive(Debug, Clone, Copy, SimpleObject)]
pub(crate) struct TimeInState {
    /// Which.
    pub state: TimedStateName,
    /// How often it came into it.
    pub times: u32,
    /// How long altogether, in seconds by the wall clock.
    pub seconds: i64,
}

impl From<StateTime> for TimeInState {
    fn from(time: StateTime) -> Self {
        Self { state: time.state.into(), times: time.times, seconds: time.total.num_seconds() }
    }
}

async fn timing(ctx: &Context<'_>, conversation: ConversationId) -> Outcome<Timing> {
    let tenant = &Caller::of(ctx)?.viewer.tenant;
    let read = Dependencies::of(ctx).handler.timing(tenant, conversation, &mut Histories::default()).await;
    read.map_err(|error: HandleError<NothingRefused>| match error {
        HandleError::Unavailable { reason, retry_after } => Failure::unavailable(reason, retry_after),
        other => Failure::internal(other),
    })
}

/// The clocks of a conversation now.
pub(crate) async fn of_conversation(ctx: &Context<'_>, conversation: ConversationId) -> Outcome<Vec<ClockObject>> {
    let now = Dependencies::of(ctx).clock.now();
    let timing = timing(ctx, conversation).await?;
    Ok(clocks(&timing.changes, now).into_iter().map(ClockObject::from).collect())
}

/// How long a conversation was in which state until now.
pub(crate) async fn states(ctx: &Context<'_>, conversation: ConversationId) -> Outcome<Vec<TimeInState>> {
    let now = Dependencies::of(ctx).clock.now();
    let timing = timing(ctx, conversation).await?;
    let events: Vec<_> = timing.events.iter().map(|(at, event)| (*at, event)).collect();
    Ok(time_in_states(&events, now).into_iter().map(TimeInState::from).collect())
}
