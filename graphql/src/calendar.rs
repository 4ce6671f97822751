//! Calendars: when teams work, and time as they count it.
//!
//! **Invariant:** times of a day are those of a wall clock in the calendar's zone, as `09:00`; what is counted here is
//! counted by the same code as promises to customers.

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Duration, NaiveDate, Utc};
use events::ids::CalendarId;
use models::calendar::{CalendarCommand, CalendarDecider, Hours};
use projections::calendar::CalendarView;

use crate::command::{Mutating, refusal};
use crate::context::{Reading, id};
use crate::error::{Failure, Outcome, UserErrorCode};
use crate::guard::{ADMINISTRATOR, OPERATOR};
use crate::payload::{Done, Mutation, Payload, Subject};
use crate::scalars::Token;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "events::calendar::Weekday")]
pub(crate) enum Weekday {
    /// понедельник
    Monday,
    /// вторник
    Tuesday,
    /// среда
    Wednesday,
    /// четверг
    Thursday,
    /// пятница
    Friday,
    /// суббота
    Saturday,
    /// воскресенье
    Sunday,
}

/// A part of a day by the wall clock of the zone. What goes on past midnight is two of them, one of each day.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, InputObject)]
#[graphql(name = "WorkingSpan", input_name = "WorkingSpanInput")]
pub(crate) struct Span {
    /// When it begins, as `09:00`.
    pub from: String,
    /// When it ends, as `18:00`; `24:00` is midnight at the end of the day.
    pub until: String,
}

/// The hours of a day of the week.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, InputObject)]
#[graphql(input_name = "WeekdayHoursInput")]
pub(crate) struct WeekdayHours {
    /// Which day.
    pub weekday: Weekday,
    /// When the team works on it.
    pub spans: Vec<Span>,
}

/// The hours of one date, instead of those of its day of the week: a holiday, or a working Saturday.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, InputObject)]
#[graphql(input_name = "DayHoursInput")]
pub(crate) struct DayHours {
    /// Which date.
    pub date: NaiveDate,
    /// What it is.
    pub name: Option<String>,
    /// When the team works on it; not at all when empty.
    pub spans: Vec<Span>,
}

/// When a team works.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject, InputObject)]
#[graphql(input_name = "WorkingHoursInput")]
pub(crate) struct WorkingHours {
    /// The zone whose wall clock is meant, by its name in the IANA time zone database, as `Europe/Moscow`.
    pub zone: String,
    /// The days of the week on which it works.
    pub week: Vec<WeekdayHours>,
    /// Dates on which it works otherwise, or not at all.
    pub days: Vec<DayHours>,
}

impl From<events::calendar::Span> for Span {
    fn from(span: events::calendar::Span) -> Self {
        let shown = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        Self { from: shown(span.from_min), until: shown(span.until_min) }
    }
}

impl Span {
    fn parse(&self) -> Option<events::calendar::Span> {
        let minutes = |text: &str| {
            let (hours, minutes) = text.split_once(':')?;
            let two_digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            let (hours, minutes): (u16, u16) = if two_digits(hours) && two_digits(minutes) {
                (hours.parse().ok()?, minutes.parse().ok()?)
            } else {
                return None;
            };
            (minutes < 60 && hours * 60 + minutes <= 24 * 60).then_some(hours * 60 + minutes)
        };
        Some(events::calendar::Span { from_min: minutes(&self.from)?, until_min: minutes(&self.until)? })
    }
}

fn shown(spans: Vec<events::calendar::Span>) -> Vec<Span> {
    spans.into_iter().map(Into::into).collect()
}

fn parsed(spans: &[Span]) -> Option<Vec<events::calendar::Span>> {
    spans.iter().map(Span::parse).collect()
}

impl From<events::calendar::WorkingHours> for WorkingHours {
    fn from(hours: events::calendar::WorkingHours) -> Self {
        let week = hours.week.into_iter();
        let days = hours.days.into_iter();
        Self {
            zone: hours.zone,
            week: week.map(|day| WeekdayHours { weekday: day.weekday.into(), spans: shown(day.spans) }).collect(),
            days: days.map(|day| DayHours { date: day.date, name: day.name, spans: shown(day.spans) }).collect(),
        }
    }
}

impl WorkingHours {
    /// The hours as stored; `None` when a time of a day is not well-formed.
    fn parse(self) -> Option<events::calendar::WorkingHours> {
        let week = self.week.into_iter().map(|day| {
            let spans = parsed(&day.spans)?;
            Some(events::calendar::WeekdayHours { weekday: day.weekday.into(), spans })
        });
        let days = self.days.into_iter().map(|day| {
            let spans = parsed(&day.spans)?;
            Some(events::calendar::DayHours { date: day.date, name: day.name, spans })
        });
        Some(events::calendar::WorkingHours {
            zone: self.zone,
            week: week.collect::<Option<_>>()?,
            days: days.collect::<Option<_>>()?,
        })
    }
}

/// A calendar: when a team works.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Calendar {
    /// The id, as `calendar-<uuid>`.
    pub id: ID,
    /// What the tenant calls it.
    pub name: String,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    #[graphql(skip)]
    view: CalendarView,
}

impl From<CalendarView> for Calendar {
    fn from(view: CalendarView) -> Self {
        let id = view.calendar.to_string().into();
        Self { id, name: view.name.clone(), opened_at: view.opened_at, view }
    }
}

impl Calendar {
    fn counted(&self) -> Outcome<Hours> {
        // What is stored was checked when it was wished.
        Hours::parse(&self.view.hours).map_err(Failure::internal)
    }
}

#[ComplexObject]
impl Calendar {
    /// When the team works.
    async fn hours(&self) -> WorkingHours {
        self.view.hours.clone().into()
    }

    /// True when the team works at a time.
    async fn is_open(&self, #[graphql(desc = "The time.")] at: DateTime<Utc>) -> async_graphql::Result<bool> {
        Ok(self.counted()?.is_open(at))
    }

    /// The first time not before this one at which the team works; null when that is years ahead.
    async fn next_opening(
        &self,
        #[graphql(desc = "The time.")] at: DateTime<Utc>,
    ) -> async_graphql::Result<Option<DateTime<Utc>>> {
        Ok(self.counted()?.next_opening(at))
    }

    /// How much of the time between two instants the team works, in seconds; ten years apart at most.
    async fn working_seconds(
        &self,
        #[graphql(desc = "From when.")] from: DateTime<Utc>,
        #[graphql(desc = "To when.")] to: DateTime<Utc>,
    ) -> async_graphql::Result<i64> {
        if to - from > LONGEST {
            return Err(Failure::bad_input("from and to must be ten years apart at most").into());
        }
        Ok(self.counted()?.between(from, to).num_seconds())
    }

    /// When so much working time has passed; null when that is years ahead.
    async fn due(
        &self,
        #[graphql(desc = "From when it counts.")] from: DateTime<Utc>,
        #[graphql(desc = "Working time, in seconds.")] seconds: u32,
    ) -> async_graphql::Result<Option<DateTime<Utc>>> {
        Ok(self.counted()?.after(from, Duration::seconds(seconds.into())))
    }
}

/// The longest time that is counted through for a caller.
const LONGEST: Duration = Duration::days(3_660);

/// Opens a calendar.
#[derive(InputObject)]
pub(crate) struct OpenCalendarInput {
    /// What the tenant calls it, 1 to 100 characters.
    pub name: String,
    /// When the team works.
    pub hours: WorkingHours,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Replaces name and hours of a calendar.
#[derive(InputObject)]
pub(crate) struct ChangeCalendarInput {
    /// The calendar.
    pub calendar: ID,
    /// What the tenant calls it from here on.
    pub name: String,
    /// When the team works from here on.
    pub hours: WorkingHours,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Calendars as what mutations change.
pub(crate) struct CalendarSubject;

impl Subject for CalendarSubject {
    type Object = Calendar;

    async fn load(reading: &Reading<'_>, id: uuid::Uuid) -> Outcome<Option<Calendar>> {
        find(reading, CalendarId::new(id)).await
    }
}

/// What came of a mutation: `OpenCalendarPayload`.
pub(crate) struct OpenCalendar;

impl Mutation for OpenCalendar {
    type Subject = CalendarSubject;
    const PAYLOAD: &'static str = "OpenCalendarPayload";
}

/// What came of a mutation: `ChangeCalendarPayload`.
pub(crate) struct ChangeCalendar;

impl Mutation for ChangeCalendar {
    type Subject = CalendarSubject;
    const PAYLOAD: &'static str = "ChangeCalendarPayload";
}

/// Queries of calendars.
#[derive(Default)]
pub(crate) struct CalendarQuery;

#[Object]
impl CalendarQuery {
    /// The calendars of the tenant, by name. For operators.
    #[graphql(guard = "OPERATOR", complexity = "20 * child_complexity + 1")]
    async fn calendars(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<Vec<Calendar>> {
        let reading = Reading::after(ctx, after.as_ref()).await?;
        let calendars = reading.views().calendars(reading.viewer()).await.map_err(Failure::from)?;
        Ok(calendars.into_iter().map(Calendar::from).collect())
    }
}

/// One calendar of the viewer's tenant.
pub(crate) async fn find(reading: &Reading<'_>, calendar: CalendarId) -> Outcome<Option<Calendar>> {
    let mut found = reading.views().calendars_by_ids(reading.viewer(), &[calendar]).await?;
    Ok(found.pop().map(Calendar::from))
}

/// Mutations of calendars, all for administrators.
#[derive(Default)]
pub(crate) struct CalendarMutation;

async fn run(
    mutating: &Mutating<'_>,
    calendar: uuid::Uuid,
    hours: WorkingHours,
    command: impl FnOnce(events::calendar::WorkingHours) -> CalendarCommand + Send,
) -> Outcome<Done> {
    let answered = match hours.parse() {
        Some(hours) => mutating.run::<CalendarDecider>(calendar, command(hours)).await?,
        None => Err(refusal(UserErrorCode::InvalidValue, "times of a day must be of the form 09:00", "hours")),
    };
    Ok(Done { id: calendar, answered })
}

#[Object]
impl CalendarMutation {
    /// Opens a calendar. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn open_calendar(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to open.")] input: OpenCalendarInput,
    ) -> async_graphql::Result<Payload<OpenCalendar>> {
        let mutating = Mutating::begin(ctx, "openCalendar", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let (calendar, name) = (mutating.fresh("calendar"), input.name);
        Ok(run(&mutating, calendar, input.hours, |hours| CalendarCommand::Open { name, hours }).await?.into())
    }

    /// Replaces name and hours of a calendar. What was counted by it is counted anew. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn change_calendar(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: ChangeCalendarInput,
    ) -> async_graphql::Result<Payload<ChangeCalendar>> {
        let mutating = Mutating::begin(ctx, "changeCalendar", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let (calendar, name): (CalendarId, _) = (id(&input.calendar)?, input.name);
        let change = |hours| CalendarCommand::Change { name, hours };
        Ok(run(&mutating, calendar.uuid(), input.hours, change).await?.into())
    }
}
