//! How long a conversation was in which state.
//!
//! **Invariant:** the states of an instant are exclusive; their times add up to the age of the conversation.

use chrono::{DateTime, Duration, Utc};
use events::conversation::ConversationEvent;

/// What a conversation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimedState {
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

impl TimedState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Queued, Self::WaitingForUs, Self::WaitingForCustomer, Self::Snoozed, Self::Closed];
}

/// How long a conversation was in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateTime {
    /// Which.
    pub state: TimedState,
    /// How often it came into it.
    pub times: u32,
    /// How long altogether.
    pub total: Duration,
}

#[derive(Default)]
struct Known {
    queued: bool,
    assigned: bool,
    waits: bool,
    snoozed: bool,
    closed: bool,
}

impl Known {
    const fn state(&self) -> TimedState {
        if self.closed {
            TimedState::Closed
        } else if self.snoozed {
            TimedState::Snoozed
        } else if self.queued && !self.assigned {
            TimedState::Queued
        } else if self.waits {
            TimedState::WaitingForUs
        } else {
            TimedState::WaitingForCustomer
        }
    }

    fn see(&mut self, event: &ConversationEvent) {
        match event {
            ConversationEvent::MessageReceived(received) => {
                self.waits |= !received.marks.iter().any(|mark| mark.is_of_machine());
            }
            ConversationEvent::MessageQueued(_) => self.waits = false,
            ConversationEvent::Enqueued(_) => self.queued = true,
            ConversationEvent::Assigned(assigned) => self.assigned = assigned.operator.is_some(),
            ConversationEvent::Snoozed(_) => self.snoozed = true,
            ConversationEvent::Woken(_) => self.snoozed = false,
            ConversationEvent::Closed(_) => {
                *self = Self { closed: true, assigned: self.assigned, ..Self::default() };
            }
            ConversationEvent::Reopened(_) => self.closed = false,
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
            | ConversationEvent::Read(_) => {}
        }
    }
}

/// How long a conversation was in each state up to an instant, from its first event on. States in which it never was are
/// left out.
#[must_use]
pub fn time_in_states(events: &[(DateTime<Utc>, &ConversationEvent)], now: DateTime<Utc>) -> Vec<StateTime> {
    let mut times: Vec<StateTime> = Vec::new();
    let mut known = Known::default();
    let mut current: Option<(TimedState, DateTime<Utc>)> = None;
    let mut add =
        |state: TimedState, total: Duration, entered: u32| match times.iter_mut().find(|time| time.state == state) {
            Some(time) => (time.total, time.times) = (time.total + total, time.times + entered),
            None => times.push(StateTime { state, times: entered, total }),
        };
    for (at, event) in events.iter().filter(|(at, _)| *at <= now) {
        known.see(event);
        let state = known.state();
        match current {
            Some((same, _)) if same == state => {}
            Some((before, since)) => {
                add(before, (*at - since).max(Duration::zero()), 0);
                add(state, Duration::zero(), 1);
                current = Some((state, (*at).max(since)));
            }
            None => {
                add(state, Duration::zero(), 1);
                current = Some((state, *at));
            }
        }
    }
    if let Some((state, since)) = current {
        add(state, (now - since).max(Duration::zero()), 0);
    }
    times.sort_by_key(|time| time.state);
    times
}
