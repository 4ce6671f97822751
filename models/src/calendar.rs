//! The decider of calendars, and time as they count it.
//!
//! **Invariant:** hours that are stored can be counted with: what cannot is refused, with what is wrong.

use events::calendar::{CalendarChanged, CalendarEvent, CalendarOpened, WorkingHours};
use events::envelope::{Category, Revision};

use crate::decider::Decider;

mod hours;

pub use hours::Hours;

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 100;

/// The rules of calendars.
pub struct CalendarDecider;

/// What is known of a calendar.
#[derive(Debug, Default, PartialEq)]
pub struct Calendar {
    current: Option<(String, WorkingHours)>,
}

impl Calendar {
    /// When the team works, once the calendar exists.
    #[must_use]
    pub fn hours(&self) -> Option<Hours> {
        let (_, hours) = self.current.as_ref()?;
        Hours::parse(hours).ok()
    }
}

/// A wish about a calendar.
#[derive(Debug, Clone, PartialEq)]
pub enum CalendarCommand {
    /// Make it.
    Open {
        /// What the tenant calls it.
        name: String,
        /// When the team works.
        hours: WorkingHours,
    },
    /// Replace name and hours.
    Change {
        /// What the tenant calls it from here on.
        name: String,
        /// When the team works from here on.
        hours: WorkingHours,
    },
}

/// Why a wish about a calendar is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CalendarRejection {
    /// There is no such calendar.
    #[error("calendar does not exist")]
    NoSuchCalendar,
    /// There is one with this id and other hours.
    #[error("calendar exists already")]
    Exists,
    /// The name is empty or too long.
    #[error("calendar name must have 1 to {MAX_NAME_CHARS} characters")]
    BadName,
    /// The zone has no such name.
    #[error("time zone is not one of the IANA time zone database, as Europe/Moscow")]
    NoSuchZone,
    /// A day stands there more than once.
    #[error("every day of the week and every date may be given once")]
    DayTwice,
    /// Spans overlap, end before they begin, or there are too many.
    #[error("hours of a day must be apart, each ending after it begins, by 24:00 at the latest")]
    BadSpan,
    /// There are too many days with hours of their own.
    #[error("there are too many days with hours of their own")]
    TooManyDays,
    /// The team never works.
    #[error("a calendar must have working hours on one day of the week at least")]
    NeverOpen,
}

impl Decider for CalendarDecider {
    const CATEGORY: Category = Category::Calendar;
    const READS_PERSONAL: bool = false;
    type Event = CalendarEvent;
    type Command = CalendarCommand;
    type State = Calendar;
    type Rejection = CalendarRejection;

    fn decide(state: &Calendar, command: CalendarCommand) -> Result<Vec<CalendarEvent>, CalendarRejection> {
        let same = |name: &String, hours: &WorkingHours| {
            state.current.as_ref().is_some_and(|(current, times)| (current, times) == (name, hours))
        };
        Ok(match command {
            CalendarCommand::Open { name, hours } if same(&name, &hours) => vec![],
            CalendarCommand::Open { .. } if state.current.is_some() => return Err(CalendarRejection::Exists),
            CalendarCommand::Open { name, hours } => {
                let name = checked(name, &hours)?;
                vec![CalendarOpened { name, hours }.into()]
            }
            CalendarCommand::Change { .. } if state.current.is_none() => {
                return Err(CalendarRejection::NoSuchCalendar);
            }
            CalendarCommand::Change { name, hours } if same(&name, &hours) => vec![],
            CalendarCommand::Change { name, hours } => {
                let name = checked(name, &hours)?;
                vec![CalendarChanged { name, hours }.into()]
            }
        })
    }

    fn evolve(state: &mut Calendar, event: &CalendarEvent, _revision: Revision) {
        let (name, hours) = match event {
            CalendarEvent::Opened(CalendarOpened { name, hours }) => (name, hours),
            CalendarEvent::Changed(CalendarChanged { name, hours }) => (name, hours),
        };
        state.current = Some((name.clone(), hours.clone()));
    }
}

fn checked(name: String, hours: &WorkingHours) -> Result<String, CalendarRejection> {
    if !(1..=MAX_NAME_CHARS).contains(&name.chars().count()) || name.trim().is_empty() {
        return Err(CalendarRejection::BadName);
    }
    Hours::parse(hours)?;
    Ok(name)
}

#[cfg(test)]
mod tests;
