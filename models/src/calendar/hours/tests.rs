//! Working time against known days, and against counting every minute by the wall clock.
//!
//! **Invariant:** the slow way to count shares no code with the fast one but the hours themselves.

use chrono::Timelike;
use events::calendar::{Weekday, WeekdayHours};
use proptest::prelude::*;

use super::*;

const WORKDAYS: [Weekday; 5] =
    [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];

fn span(from: u16, until: u16) -> Span {
    Span { from_min: from * 60, until_min: until * 60 }
}

/// Workdays from nine to six, with an hour off.
fn office(zone: &str, days: Vec<DayHours>) -> Hours {
    let week = WORKDAYS.map(|weekday| WeekdayHours { weekday, spans: vec![span(9, 13), span(14, 18)] });
    Hours::parse(&WorkingHours { zone: zone.into(), week: week.into(), days }).unwrap()
}

fn every_day(zone: &str, spans: &[Span]) -> Hours {
    let week = WORKDAYS.into_iter().chain([Weekday::Saturday, Weekday::Sunday]);
    let week = week.map(|weekday| WeekdayHours { weekday, spans: spans.to_vec() }).collect();
    Hours::parse(&WorkingHours { zone: zone.into(), week, days: vec![] }).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn hours(count: i64) -> Duration {
    Duration::hours(count)
}

#[test]
fn a_weekend_and_the_nights_do_not_count() {
    let office = office("Europe/Moscow", vec![]);
    // Friday 17:00 to Monday 10:00 in Moscow, which is three hours ahead.
    let (friday, monday) = (at("2026-11-27T14:00:00Z"), at("2026-11-30T07:00:00Z"));
    assert_eq!(office.between(friday, monday), hours(2));
    assert_eq!(office.after(friday, hours(2)), Some(monday));
    assert_eq!(office.after(friday, hours(1)), Some(at("2026-11-27T15:00:00Z")));
    assert_eq!(office.next_opening(at("2026-11-27T15:00:00Z")), Some(at("2026-11-30T06:00:00Z")));
    assert!(office.is_open(friday) && !office.is_open(at("2026-11-27T15:00:00Z")));
    assert!(!office.is_open(at("2026-11-27T10:30:00Z")), "the hour off");
    assert_eq!(office.between(monday, friday), hours(0));
}

#[test]
fn a_holiday_is_closed_and_a_working_saturday_is_open() {
    let days = vec![
        DayHours {
            date: "2026-11-04".parse().unwrap(), name: Some("День народного единства".into()), spans: vec![]
        },
        DayHours { date: "2026-11-07".parse().unwrap(), name: None, spans: vec![span(10, 12)] },
    ];
    let office = office("Europe/Moscow", days);
    assert_eq!(office.between(at("2026-11-03T21:00:00Z"), at("2026-11-04T21:00:00Z")), hours(0));
    assert_eq!(office.between(at("2026-11-06T21:00:00Z"), at("2026-11-07T21:00:00Z")), hours(2));
    assert_eq!(office.next_opening(at("2026-11-03T16:00:00Z")), Some(at("2026-11-05T06:00:00Z")));
}

#[test]
fn a_day_on_which_clocks_are_turned_is_shorter_or_longer() {
    // Clocks in Germany: forward at 02:00 on 29 March 2026, back at 03:00 on 25 October 2026.
    let berlin = every_day("Europe/Berlin", &[Span { from_min: 0, until_min: DAY_MINUTES }]);
    assert_eq!(berlin.between(at("2026-03-28T23:00:00Z"), at("2026-03-29T22:00:00Z")), hours(23));
    assert_eq!(berlin.between(at("2026-10-24T22:00:00Z"), at("2026-10-25T23:00:00Z")), hours(25));
    let nights = every_day("Europe/Berlin", &[span(1, 4)]);
    let days = (at("2026-03-29T00:00:00Z"), at("2026-03-29T12:00:00Z"));
    assert_eq!(nights.between(days.0, days.1), hours(2), "from one to four, without the hour from two to three");
    let days = (at("2026-10-24T22:00:00Z"), at("2026-10-25T12:00:00Z"));
    assert_eq!(nights.between(days.0, days.1), hours(4));
    // A time that the wall clock leaves out is the moment at which it is turned.
    let early = every_day("Europe/Berlin", &[Span { from_min: 150, until_min: 240 }]);
    assert_eq!(early.next_opening(at("2026-03-29T00:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
}

#[test]
fn a_shift_over_midnight_is_two_spans_without_a_gap() {
    let night = every_day("Asia/Yekaterinburg", &[span(0, 6), span(22, 24)]);
    assert_eq!(night.between(at("2026-11-27T17:00:00Z"), at("2026-11-28T01:00:00Z")), hours(8));
    assert_eq!(night.after(at("2026-11-27T18:00:00Z"), hours(6)), Some(at("2026-11-28T00:00:00Z")));
}

#[test]
fn around_the_clock_every_second_counts() {
    let (from, to) = (at("2026-02-28T23:59:59Z"), at("2027-02-28T23:59:59Z"));
    assert_eq!(Hours::always().between(from, to), to - from);
    assert_eq!(Hours::always().next_opening(from), Some(from));
}

#[test]
fn hours_that_cannot_be_counted_with_are_refused() {
    let week = |spans: Vec<Span>| vec![WeekdayHours { weekday: Weekday::Monday, spans }];
    let parse = |zone: &str, week| Hours::parse(&WorkingHours { zone: zone.into(), week, days: vec![] });
    assert_eq!(parse("Moscow", week(vec![span(9, 18)])), Err(CalendarRejection::NoSuchZone));
    for spans in [vec![span(9, 13), span(12, 18)], vec![span(9, 9)], vec![span(18, 9)], vec![span(20, 25)]] {
        assert_eq!(parse("UTC", week(spans)), Err(CalendarRejection::BadSpan));
    }
    assert_eq!(parse("UTC", vec![]), Err(CalendarRejection::NeverOpen));
    let twice = [week(vec![span(9, 10)]), week(vec![span(11, 12)])].concat();
    assert_eq!(parse("UTC", twice), Err(CalendarRejection::DayTwice));
}

/// Counts minute by minute what the wall clock shows.
fn counted(hours: &Hours, from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    let mut open = Duration::zero();
    let mut minute = from;
    while minute < to {
        let local = minute.with_timezone(&hours.zone);
        let of_week = || &hours.week[local.weekday().num_days_from_monday() as usize];
        let spans = hours.days.get(&local.date_naive()).unwrap_or_else(of_week);
        let shown = local.hour() * 60 + local.minute();
        if spans.iter().any(|span| (u32::from(span.from_min)..u32::from(span.until_min)).contains(&shown)) {
            open += Duration::minutes(1);
        }
        minute += Duration::minutes(1);
    }
    open
}

/// Hours with borders at midnight or after four, when clocks show every time once.
fn any_hours() -> impl Strategy<Value = Hours> {
    let border = prop_oneof![Just(0), 240_u16..=DAY_MINUTES];
    let spans = prop::collection::btree_set(border, 0..6).prop_map(|borders| {
        let borders: Vec<u16> = borders.into_iter().collect();
        borders.chunks_exact(2).map(|pair| Span { from_min: pair[0], until_min: pair[1] }).collect::<Vec<_>>()
    });
    let zones =
        prop::sample::select(vec!["UTC", "Europe/Moscow", "Europe/Berlin", "Asia/Vladivostok", "America/New_York"]);
    let days = prop::collection::btree_map(0_u64..60, spans.clone(), 0..5);
    (zones, prop::array::uniform7(spans), days).prop_map(|(zone, week, days)| {
        let first: NaiveDate = "2026-03-01".parse().unwrap();
        Hours {
            zone: zone.parse().unwrap(),
            week,
            days: days.into_iter().map(|(ahead, spans)| (first + Days::new(ahead), spans)).collect(),
        }
    })
}

/// Minutes of March and April 2026, in which clocks are turned forward; of October and November, in which back.
fn any_minute() -> impl Strategy<Value = DateTime<Utc>> {
    (prop::sample::select(vec!["2026-03-01T00:00:00Z", "2026-10-10T00:00:00Z"]), 0_i64..60 * 24 * 45)
        .prop_map(|(first, minutes)| at(first) + Duration::minutes(minutes))
}

proptest! {
    #[test]
    fn it_is_what_counting_every_minute_gives(hours in any_hours(), from in any_minute(), minutes in 0_i64..60 * 24 * 9) {
        let to = from + Duration::minutes(minutes);
        prop_assert_eq!(hours.between(from, to), counted(&hours, from, to));
        prop_assert_eq!(hours.is_open(from), counted(&hours, from, from + Duration::minutes(1)) > Duration::zero());
    }

    #[test]
    fn parts_add_up(hours in any_hours(), from in any_minute(), one in 0_i64..100_000, two in 0_i64..100_000) {
        let (middle, to) = (from + Duration::seconds(one), from + Duration::seconds(one + two));
        prop_assert_eq!(hours.between(from, middle) + hours.between(middle, to), hours.between(from, to));
    }

    #[test]
    fn so_much_has_passed_by_when_it_is_due(hours in any_hours(), from in any_minute(), seconds in 1_i64..400_000) {
        let time = Duration::seconds(seconds);
        match hours.after(from, time) {
            Some(due) => {
                prop_assert_eq!(hours.between(from, due), time);
                prop_assert!(hours.between(from, due - Duration::seconds(1)) < time, "not later than needed");
            }
            None => prop_assert!(hours.week.iter().all(Vec::is_empty)),
        }
    }

    #[test]
    fn nothing_counts_before_the_next_opening(hours in any_hours(), from in any_minute()) {
        match hours.next_opening(from) {
            Some(opens) => {
                prop_assert!(hours.is_open(opens));
                prop_assert_eq!(hours.between(from, opens), Duration::zero());
            }
            None => prop_assert!(hours.week.iter().all(Vec::is_empty)),
        }
    }
}
