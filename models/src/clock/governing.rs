//! From events to the changes that matter to clocks.
//!
//! **Invariant:** which promise holds follows from the queue and priority of the conversation and from what queue, service
//! level and calendar were at the time: four histories, merged by their times.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use events::calendar::{CalendarChanged, CalendarEvent, CalendarOpened};
use events::conversation::{ConversationEvent, EnqueuedReason};
use events::envelope::Actor;
use events::ids::{CalendarId, QueueId, ServiceLevelId};
use events::queue::{QueueChanged, QueueEvent, QueueOpened};
use events::service_level::{ServiceLevelChanged, ServiceLevelEvent, ServiceLevelOpened, ServiceLevelRules};

use super::{Change, Rules, What};
use crate::calendar::Hours;
use crate::service_level::target;

/// An event with its time.
type At<T> = (DateTime<Utc>, T);

/// What became of queues, service levels and calendars, each in the order of its stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histories {
    /// Of queues.
    pub queues: BTreeMap<QueueId, Vec<At<QueueEvent>>>,
    /// Of service levels.
    pub service_levels: BTreeMap<ServiceLevelId, Vec<At<ServiceLevelEvent>>>,
    /// Of calendars.
    pub calendars: BTreeMap<CalendarId, Vec<At<CalendarEvent>>>,
}

impl Histories {
    fn level_of(&self, queue: QueueId, at: DateTime<Utc>) -> Option<ServiceLevelId> {
        let known = self.queues.get(&queue)?.iter().rev().filter(|(when, _)| *when <= at);
        let rules = known.map(|(_, event)| match event {
            QueueEvent::Opened(QueueOpened { rules, .. }) | QueueEvent::Changed(QueueChanged { rules, .. }) => {
                Some(rules)
            }
            // What is in it is promised what it was.
            QueueEvent::Closed(_) => None,
        });
        rules.flatten().next()?.service_level
    }

    fn rules_of(&self, level: ServiceLevelId, at: DateTime<Utc>) -> Option<&ServiceLevelRules> {
        let (_, event) = self.service_levels.get(&level)?.iter().rev().find(|(when, _)| *when <= at)?;
        match event {
            ServiceLevelEvent::Opened(ServiceLevelOpened { rules, .. })
            | ServiceLevelEvent::Changed(ServiceLevelChanged { rules, .. }) => Some(rules),
            ServiceLevelEvent::Closed(_) => None,
        }
    }

    fn hours_of(&self, calendar: CalendarId, at: DateTime<Utc>) -> Option<Hours> {
        let (_, event) = self.calendars.get(&calendar)?.iter().rev().find(|(when, _)| *when <= at)?;
        let (CalendarEvent::Opened(CalendarOpened { hours, .. })
        | CalendarEvent::Changed(CalendarChanged { hours, .. })) = event;
        Hours::parse(hours).ok()
    }

    /// What is promised to a conversation in a queue at an instant.
    fn governing(&self, queue: QueueId, priority: u8, at: DateTime<Utc>) -> Option<Rules> {
        let rules = self.rules_of(self.level_of(queue, at)?, at)?;
        let target = target(rules, priority)?;
        let seconds = |time: Option<u32>| time.map(|time| Duration::seconds(time.into()));
        let hours = rules.calendar.and_then(|calendar| self.hours_of(calendar, at));
        Some(Rules {
            hours: hours.unwrap_or_else(Hours::always),
            first_response: seconds(target.first_response_s),
            next_response: seconds(target.next_response_s),
            resolution: seconds(target.resolution_s),
            warn_before: Duration::seconds(rules.warn_before_s.into()),
        })
    }

    fn times(&self) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        fn of<K, T>(all: &BTreeMap<K, Vec<At<T>>>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
            all.values().flatten().map(|(at, _)| *at)
        }
        of(&self.queues).chain(of(&self.service_levels)).chain(of(&self.calendars))
    }
}

/// The changes that matter to the clocks of a conversation, in order: its own events with their times and actors, and what
/// queues, service levels and calendars became meanwhile.
#[must_use]
pub fn changes(conversation: &[(DateTime<Utc>, Actor, ConversationEvent)], histories: &Histories) -> Vec<Change> {
    let mut changes: Vec<Change> = conversation
        .iter()
        .filter_map(|(at, actor, event)| Some(Change { at: *at, what: what(actor, event)? }))
        .collect();
    // Times go back when clocks are set; what stands later in the stream is later all the same.
    let mut latest = DateTime::<Utc>::MIN_UTC;
    for change in &mut changes {
        latest = latest.max(change.at);
        change.at = latest;
    }
    let governed = governed(conversation, histories);
    changes.extend(governed);
    // Of what happens at one instant the rules come first, so that what begins then is counted by them.
    changes.sort_by_key(|change| (change.at, !matches!(change.what, What::Governed(_))));
    changes
}

fn governed(conversation: &[(DateTime<Utc>, Actor, ConversationEvent)], histories: &Histories) -> Vec<Change> {
    let places: Vec<At<(QueueId, u8)>> = conversation
        .iter()
        .filter_map(|(at, _, event)| {
            let ConversationEvent::Enqueued(enqueued) = event else { return None };
            Some((*at, (enqueued.queue, enqueued.priority)))
        })
        .collect();
    let Some(first) = places.first().map(|(at, _)| *at) else { return Vec::new() };
    let mut times: Vec<DateTime<Utc>> = places.iter().map(|(at, _)| *at).collect();
    times.extend(histories.times().filter(|at| *at > first));
    times.sort_unstable();
    times.dedup();
    let mut changes: Vec<Change> = Vec::new();
    for at in times {
        let place = places.iter().rev().find(|(when, _)| *when <= at);
        let rules = place.and_then(|(_, (queue, priority))| histories.governing(*queue, *priority, at)).map(Box::new);
        let same = changes.last().is_some_and(|last| last.what == What::Governed(rules.clone()));
        if !same {
            changes.push(Change { at, what: What::Governed(rules) });
        }
    }
    changes
}

fn what(actor: &Actor, event: &ConversationEvent) -> Option<What> {
    match event {
        ConversationEvent::MessageReceived(received) => {
            let by_person = !received.marks.iter().any(|mark| mark.is_of_machine());
            by_person.then_some(What::Asked)
        }
        // Whoever is handed over waits for a person, also when an agent has just answered.
        ConversationEvent::Enqueued(enqueued) => (enqueued.reason == EnqueuedReason::ByHand).then_some(What::Asked),
        ConversationEvent::MessageQueued(_) => {
            matches!(actor, Actor::Operator(_) | Actor::Agent(_)).then_some(What::Answered)
        }
        ConversationEvent::Closed(_) => Some(What::Closed),
        ConversationEvent::Reopened(_) => Some(What::Reopened),
        // An internal note is no answer, and a rest stops no clock.
        ConversationEvent::Opened(_)
        | ConversationEvent::Migrated(_)
        | ConversationEvent::ParticipantJoined(_)
        | ConversationEvent::ParticipantLeft(_)
        | ConversationEvent::MessageEdited(_)
        | ConversationEvent::MessageRetracted(_)
        | ConversationEvent::ReactionsChanged(_)
        | ConversationEvent::ActivityNoted(_)
        | ConversationEvent::AttachmentStored(_)
        | ConversationEvent::AttachmentLost(_)
        | ConversationEvent::DeliveryStarted(_)
        | ConversationEvent::PartDelivered(_)
        | ConversationEvent::MessageDelivered(_)
        | ConversationEvent::DeliveryPostponed(_)
        | ConversationEvent::DeliveryFailed(_)
        | ConversationEvent::DeliveryUnknown(_)
        | ConversationEvent::DeliveryRedriven(_)
        | ConversationEvent::NoteAdded(_)
        | ConversationEvent::Tagged(_)
        | ConversationEvent::ClockNoted(_)
        | ConversationEvent::SpeakerChanged(_)
        | ConversationEvent::Assigned(_)
        | ConversationEvent::Snoozed(_)
        | ConversationEvent::Woken(_)
        | ConversationEvent::Read(_) => None,
    }
}
