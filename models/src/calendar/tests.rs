//! What a calendar answers to each command.
//!
//! **Invariant:** each command acts, stays quiet and is refused here at least once.

use events::calendar::{Span, Weekday, WeekdayHours};

use super::*;
use crate::testing::given;

fn hours(zone: &str) -> WorkingHours {
    let spans = vec![Span { from_min: 540, until_min: 1080 }];
    WorkingHours { zone: zone.into(), week: vec![WeekdayHours { weekday: Weekday::Monday, spans }], days: vec![] }
}

fn open(name: &str, zone: &str) -> CalendarCommand {
    CalendarCommand::Open { name: name.into(), hours: hours(zone) }
}

fn change(name: &str, zone: &str) -> CalendarCommand {
    CalendarCommand::Change { name: name.into(), hours: hours(zone) }
}

fn opened() -> CalendarEvent {
    CalendarOpened { name: "Офис".into(), hours: hours("Europe/Moscow") }.into()
}

#[test]
fn a_calendar_is_opened_once() {
    given::<CalendarDecider>([]).when(open("Офис", "Europe/Moscow")).then([opened()]);
    given::<CalendarDecider>([opened()]).when(open("Офис", "Europe/Moscow")).then_nothing();
    given::<CalendarDecider>([opened()]).when(open("Офис", "UTC")).then_rejected(&CalendarRejection::Exists);
}

#[test]
fn a_change_replaces_name_and_hours() {
    let changed = CalendarChanged { name: "Склад".into(), hours: hours("Asia/Omsk") };
    given::<CalendarDecider>([opened()]).when(change("Склад", "Asia/Omsk")).then([changed.clone().into()]);
    given::<CalendarDecider>([opened()]).when(change("Офис", "Europe/Moscow")).then_nothing();
    given::<CalendarDecider>([]).when(change("Офис", "UTC")).then_rejected(&CalendarRejection::NoSuchCalendar);
    let calendar = given::<CalendarDecider>([opened(), changed.into()]);
    assert_eq!(calendar.state().hours(), Hours::parse(&hours("Asia/Omsk")).ok());
}

#[test]
fn what_cannot_be_counted_with_or_named_is_refused() {
    for name in ["", "  ", &"ы".repeat(MAX_NAME_CHARS + 1)] {
        given::<CalendarDecider>([]).when(open(name, "UTC")).then_rejected(&CalendarRejection::BadName);
    }
    given::<CalendarDecider>([]).when(open("Офис", "Москва")).then_rejected(&CalendarRejection::NoSuchZone);
    given::<CalendarDecider>([opened()]).when(change("Офис", "Москва")).then_rejected(&CalendarRejection::NoSuchZone);
}
