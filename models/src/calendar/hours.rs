//! Time as a team counts it: when it works, how much of a stretch of time that is, and when so much has passed.
//!
//! **Invariant:** pure; the same hours and instants give the same answer. Opening times are shown by a wall clock of the
//! zone, so a day on which clocks are turned is an hour shorter or longer, as it is for the people who work on it.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, Duration, LocalResult, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use events::calendar::{DayHours, Span, WorkingHours};

use super::CalendarRejection;

/// Minutes of a day by the wall clock.
const DAY_MINUTES: u16 = 24 * 60;
/// Most spans of a day.
const MOST_SPANS: usize = 12;
/// Most days with hours of their own: fifty years of holidays.
const MOST_DAYS: usize = 1_500;
/// How far ahead is looked for working time: a team that is closed for longer is closed for good.
const HORIZON: Days = Days::new(5 * 366);

/// A stretch of time in which a team works.
type Opening = (DateTime<Utc>, DateTime<Utc>);

/// When a team works, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Hours {
    zone: Tz,
    /// From Monday.
    week: [Vec<Span>; 7],
    /// Holidays and days on which it works otherwise than in a week.
    days: BTreeMap<NaiveDate, Vec<Span>>,
}

impl Hours {
    /// Around the clock.
    #[must_use]
    pub fn always() -> Self {
        let all_day = vec![Span { from_min: 0, until_min: DAY_MINUTES }];
        Self { zone: Tz::UTC, week: std::array::from_fn(|_| all_day.clone()), days: BTreeMap::new() }
    }

    /// Checks what was wished or stored.
    ///
    /// # Errors
    /// What is wrong with it, by name.
    pub fn parse(hours: &WorkingHours) -> Result<Self, CalendarRejection> {
        let zone = hours.zone.parse().map_err(|_| CalendarRejection::NoSuchZone)?;
        let mut week: [Vec<Span>; 7] = Default::default();
        for day in &hours.week {
            let place = week.get_mut(usize::from(day.weekday.days_from_monday()));
            let place = place.filter(|place| place.is_empty()).ok_or(CalendarRejection::DayTwice)?;
            *place = checked(&day.spans)?;
        }
        if hours.days.len() > MOST_DAYS {
            return Err(CalendarRejection::TooManyDays);
        }
        let mut days = BTreeMap::new();
        for DayHours { date, spans, .. } in &hours.days {
            if days.insert(*date, checked(spans)?).is_some() {
                return Err(CalendarRejection::DayTwice);
            }
        }
        if week.iter().all(Vec::is_empty) {
            return Err(CalendarRejection::NeverOpen);
        }
        Ok(Self { zone, week, days })
    }

    /// True while the team works.
    #[must_use]
    pub fn is_open(&self, at: DateTime<Utc>) -> bool {
        self.openings(at).take_while(|(from, _)| *from <= at).any(|(_, until)| at < until)
    }

    /// How much of the time between two instants the team works; nothing when the second is not after the first.
    #[must_use]
    pub fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
        let overlap = |(begins, ends): Opening| (ends.min(to) - begins.max(from)).max(Duration::zero());
        self.openings(from).take_while(|(begins, _)| *begins < to).map(overlap).sum()
    }

    /// When so much working time has passed since an instant; `None` when that is years ahead.
    #[must_use]
    pub fn after(&self, from: DateTime<Utc>, time: Duration) -> Option<DateTime<Utc>> {
        if time <= Duration::zero() {
            return Some(from);
        }
        let mut left = time;
        let horizon = from.checked_add_days(HORIZON)?;
        for (begins, ends) in self.openings(from).take_while(|(begins, _)| *begins < horizon) {
            let begins = begins.max(from);
            let open = (ends - begins).max(Duration::zero());
            if left <= open {
                return Some(begins + left);
            }
            left -= open;
        }
        None
    }

    /// The first instant not before this one at which the team works; `None` when that is years ahead.
    #[must_use]
    pub fn next_opening(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let horizon = at.checked_add_days(HORIZON)?;
        let mut openings = self.openings(at).take_while(|(begins, _)| *begins < horizon);
        openings.find(|(_, ends)| *ends > at).map(|(begins, _)| begins.max(at))
    }

    /// Openings that end after an instant or shortly before it, in order.
    fn openings(&self, from: DateTime<Utc>) -> impl Iterator<Item = Opening> + '_ {
        let today = from.with_timezone(&self.zone).date_naive();
        // The hours of yesterday may reach into today where clocks are turned at midnight.
        let first = today.checked_sub_days(Days::new(1)).unwrap_or(today);
        let days = first.iter_days();
        days.flat_map(move |date| self.spans(date).iter().map(move |span| self.opening(date, *span)))
    }

    fn spans(&self, date: NaiveDate) -> &[Span] {
        let of_week = || &self.week[date.weekday().num_days_from_monday() as usize];
        self.days.get(&date).unwrap_or_else(of_week)
    }

    fn opening(&self, date: NaiveDate, span: Span) -> Opening {
        (self.instant(date, span.from_min), self.instant(date, span.until_min))
    }

    /// The first instant at which the wall clock shows at least this time. It never goes back with the time, so that
    /// openings stay apart and in order.
    fn instant(&self, date: NaiveDate, minute: u16) -> DateTime<Utc> {
        let mut local = date.and_time(NaiveTime::MIN) + Duration::minutes(minute.into());
        // Clocks are turned forward by an hour; Samoa left out a day on 30 December 2011.
        for _ in 0..=2 * DAY_MINUTES {
            match self.zone.from_local_datetime(&local) {
                LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => return at.to_utc(),
                LocalResult::None => local += Duration::minutes(1),
            }
        }
        local.and_utc()
    }
}

/// Spans in order, each after the one before.
fn checked(spans: &[Span]) -> Result<Vec<Span>, CalendarRejection> {
    let in_day = |span: &Span| span.from_min < span.until_min && span.until_min <= DAY_MINUTES;
    if spans.len() > MOST_SPANS || !spans.iter().all(in_day) {
        return Err(CalendarRejection::BadSpan);
    }
    let mut spans = spans.to_vec();
    spans.sort_unstable_by_key(|span| span.from_min);
    if spans.windows(2).any(|pair| pair[0].until_min > pair[1].from_min) {
        return Err(CalendarRejection::BadSpan);
    }
    Ok(spans)
}

#[cfg(test)]
mod tests;
