//! Calendars: when a team works, in its time zone, with holidays.
//!
//! **Invariant:** a change is a whole new set of hours: what counted at a time is told by the events before it.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::vocabulary::vocabulary;

vocabulary! {
    /// What happens to a calendar.
    CalendarEvent {
        /// The calendar exists from here on.
        Opened(CalendarOpened) = "calendar.opened", 1;
        /// Its name and hours are these from here on.
        Changed(CalendarChanged) = "calendar.changed", 1;
    }
}

/// The calendar exists from here on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalendarOpened {
    /// What the tenant calls it.
    pub name: String,
    /// When the team works.
    pub hours: WorkingHours,
}

/// Name and hours are these from here on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalendarChanged {
    /// What the tenant calls it.
    pub name: String,
    /// When the team works.
    pub hours: WorkingHours,
}

/// When a team works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkingHours {
    /// The zone whose wall clock is meant, by its name in the IANA time zone database, as `Europe/Moscow`.
    pub zone: String,
    /// The days of the week on which it works.
    pub week: Vec<WeekdayHours>,
    /// Days on which it works otherwise, or not at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<DayHours>,
}

/// The hours of a day of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeekdayHours {
    /// Which day.
    pub weekday: Weekday,
    /// When the team works on it.
    pub spans: Vec<Span>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
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

impl Weekday {
    /// 0 for Monday.
    #[must_use]
    pub const fn days_from_monday(self) -> u8 {
        self as u8
    }
}

/// The hours of one day, instead of those of its day of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayHours {
    /// Which day.
    pub date: NaiveDate,
    /// What it is, as «День России».
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When the team works on it; not at all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
}

/// A part of a day by the wall clock. What goes on past midnight is two spans, one of each day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its first minute, counted from midnight: 540 is 9:00.
    pub from_min: u16,
    /// The minute behind its last one; 1440 is midnight at the end of the day.
    pub until_min: u16,
}
