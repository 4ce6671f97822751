//! Samples of what the desk works by.
//!
//! **Invariant:** nothing here is personal.

use super::{CHANNELS, account, conversation_id, uuid};
use crate::DomainEvent;
use crate::calendar::{
    CalendarChanged, CalendarEvent, CalendarOpened, DayHours, Span, Weekday, WeekdayHours, WorkingHours,
};
use crate::ids::{CalendarId, QueueId, ServiceLevelId};
use crate::operator::{
    Abilities, ConversationReleased, ConversationTaken, OperatorChanged, OperatorEvent, OperatorRegistered, Presence,
    PresenceChanged, PresenceReason, ReleaseReason, TakenBy,
};
use crate::queue::{Fallback, QueueChanged, QueueClosed, QueueEvent, QueueOpened, QueueRules};
use crate::service_level::{
    ServiceLevelChanged, ServiceLevelClosed, ServiceLevelEvent, ServiceLevelOpened, ServiceLevelRules, ServiceTarget,
};

pub(super) fn calendars() -> Vec<DomainEvent> {
    let weekdays = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
    let spans = vec![Span { from_min: 540, until_min: 780 }, Span { from_min: 840, until_min: 1440 }];
    let hours = WorkingHours {
        zone: "Europe/Moscow".into(),
        week: weekdays.map(|weekday| WeekdayHours { weekday, spans: spans.clone() }).into(),
        days: vec![],
    };
    let day = |date: &str, name: Option<&str>, spans| DayHours {
        date: date.parse().unwrap_or_default(),
        name: name.map(str::to_owned),
        spans,
    };
    let days = vec![day("2026-06-12", Some("День России"), vec![]), day("2026-11-07", None, spans)];
    let changed = WorkingHours { days, ..hours.clone() };
    [
        CalendarEvent::from(CalendarOpened { name: "Офис".into(), hours }),
        CalendarChanged { name: "Офис и склад".into(), hours: changed }.into(),
    ]
    .map(DomainEvent::from)
    .into()
}

pub(super) fn operators() -> Vec<DomainEvent> {
    let abilities = Abilities {
        languages: ["ru".into(), "en".into()].into(),
        skills: ["refunds".into()].into(),
        room: 5,
        room_of_channel: CHANNELS.map(|channel| (channel, 2)).into(),
    };
    let less = Abilities { skills: [].into(), room_of_channel: [].into(), ..abilities.clone() };
    let name = || "Анна".to_owned();
    let mut events: Vec<OperatorEvent> = vec![
        OperatorRegistered { operator: "anna".into(), name: name(), abilities }.into(),
        OperatorChanged { name: name(), abilities: less }.into(),
    ];
    let presences = [Presence::Available, Presence::Busy, Presence::Absent];
    let reasons = [PresenceReason::ByThemselves, PresenceReason::BySupervisor, PresenceReason::NoSignOfLife];
    events.extend(
        presences.into_iter().zip(reasons).map(|(presence, reason)| PresenceChanged { presence, reason }.into()),
    );
    let conversation = conversation_id();
    let taken = CHANNELS.into_iter().zip([TakenBy::Policy, TakenBy::Hand].into_iter().cycle());
    events.extend(taken.map(|(channel, by)| ConversationTaken { conversation, channel, by }.into()));
    let reasons = [
        ReleaseReason::Closed,
        ReleaseReason::Snoozed,
        ReleaseReason::Reassigned,
        ReleaseReason::Absent,
        ReleaseReason::NotAssigned,
    ];
    events.extend(reasons.map(|reason| ConversationReleased { conversation, reason }.into()));
    events.into_iter().map(DomainEvent::from).collect()
}

pub(super) fn queues() -> Vec<DomainEvent> {
    let rules = QueueRules {
        accounts: [account()].into(),
        skills: ["refunds".into()].into(),
        priority: 3,
        calendar: Some(CalendarId::new(uuid(9))),
        fallback: Some(Fallback { queue: QueueId::new(uuid(10)), after_s: 600 }),
        service_level: Some(ServiceLevelId::new(uuid(15))),
    };
    let bare = QueueRules::default();
    let name = || "Возвраты".to_owned();
    [
        QueueEvent::from(QueueOpened { name: name(), rules }),
        QueueChanged { name: name(), rules: bare }.into(),
        QueueClosed {}.into(),
    ]
    .map(DomainEvent::from)
    .into()
}

pub(super) fn service_levels() -> Vec<DomainEvent> {
    let target = |least_priority, seconds: Option<u32>| ServiceTarget {
        least_priority,
        first_response_s: seconds,
        next_response_s: seconds,
        resolution_s: seconds,
    };
    let rules = ServiceLevelRules {
        calendar: Some(CalendarId::new(uuid(9))),
        targets: vec![target(0, None), target(5, Some(3600))],
        warn_before_s: 600,
    };
    let name = || "Золотой".to_owned();
    [
        ServiceLevelEvent::from(ServiceLevelOpened { name: name(), rules }),
        ServiceLevelChanged { name: name(), rules: ServiceLevelRules::default() }.into(),
        ServiceLevelClosed {}.into(),
    ]
    .map(DomainEvent::from)
    .into()
}
