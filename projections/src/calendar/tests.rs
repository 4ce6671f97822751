//! Tests of calendar rows.
//!
//! **Invariant:** every test makes its own events and store.

use events::calendar::{CalendarChanged, CalendarEvent, CalendarOpened, Span, Weekday, WeekdayHours, WorkingHours};
use events::ids::CalendarId;
use events::viewer::Role;

use crate::testing::{Story, id, viewer};

fn hours(zone: &str) -> WorkingHours {
    let spans = vec![Span { from_min: 540, until_min: 1080 }];
    WorkingHours { zone: zone.into(), week: vec![WeekdayHours { weekday: Weekday::Friday, spans }], days: vec![] }
}

#[tokio::test]
async fn a_calendar_shows_its_latest_name_and_hours() {
    let mut story = Story::default();
    let opened = CalendarOpened { name: "Офис".into(), hours: hours("Europe/Moscow") };
    story.add(id(700), CalendarEvent::from(opened));
    let other = CalendarOpened { name: "Ночная смена".into(), hours: hours("UTC") };
    story.add(id(701), CalendarEvent::from(other));
    let changed = CalendarChanged { name: "Склад".into(), hours: hours("Asia/Omsk") };
    story.add(id(700), CalendarEvent::from(changed));
    let (views, viewer) = (story.views().await, viewer(Role::Operator));
    let shown = views.calendars(&viewer).await.unwrap();
    let names: Vec<&str> = shown.iter().map(|calendar| calendar.name.as_str()).collect();
    assert_eq!(names, ["Ночная смена", "Склад"]);
    let found = views.calendars_by_ids(&viewer, &[CalendarId::new(id(700)), CalendarId::new(id(9))]).await.unwrap();
    assert_eq!(found, shown[1..]);
    assert_eq!((found[0].hours.zone.as_str(), found[0].revision), ("Asia/Omsk", 1));
}
