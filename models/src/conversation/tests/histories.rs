//! Any history whatever: what holds for all of them.
//!
//! **Invariant:** the observer here keeps its own account of the events; it asks nothing of the state under test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use events::conversation::{AssignedReason, EnqueuedReason, WokenReason};
use events::envelope::{Actor, Revision};
use events::ids::QueueId;
use proptest::prelude::*;

use super::assigning::{general, given_to, into, refunds, taken_from};
use super::delivering::{complete, fail, lose, postpone, redrive, start, took};
use super::*;
use crate::conversation::{Conversation, EnqueuedBy};
use crate::decider::Decider;

type E = ConversationEvent;

/// What an onlooker knows from the events alone.
#[derive(Default)]
struct Onlooker {
    speaker: Option<Speaker>,
    closed: bool,
    episode: u32,
    ends: BTreeMap<MessageId, bool>,
    parts: BTreeMap<MessageId, u32>,
    on_the_wire: Option<MessageId>,
    received: BTreeSet<MessageId>,
    order: Vec<MessageId>,
    queue: Option<QueueId>,
    operator: Option<Arc<str>>,
    snoozed: bool,
}

impl Onlooker {
    fn see(&mut self, event: &E) -> Result<(), TestCaseError> {
        match event {
            E::Opened(_) => {
                prop_assert_eq!(self.episode, 0);
                self.episode = 1;
            }
            E::Reopened(reopened) => {
                prop_assert!(self.closed && reopened.episode == self.episode + 1);
                self.episode = reopened.episode;
                self.closed = false;
            }
            E::Closed(closed) => {
                prop_assert!(!self.closed && closed.episode == self.episode);
                prop_assert!(matches!(self.speaker, None | Some(Speaker::Nobody)));
                self.closed = true;
                (self.queue, self.snoozed) = (None, false);
            }
            E::SpeakerChanged(changed) => {
                prop_assert!(!self.closed);
                self.speaker = Some(changed.speaker.clone());
            }
            E::MessageReceived(received) => {
                prop_assert!(self.received.insert(received.message));
                prop_assert_eq!(received.episode, self.episode);
            }
            E::MessageQueued(queued) => {
                prop_assert!(!self.closed);
                prop_assert!(matches!(self.speaker, Some(Speaker::Agent(_) | Speaker::Operator(_))));
                prop_assert_eq!(queued.episode, self.episode);
                prop_assert_eq!(self.ends.insert(queued.message, false), None);
                self.order.push(queued.message);
            }
            E::DeliveryStarted(started) => {
                self.goes_on(started.message)?;
                prop_assert_eq!(self.on_the_wire, None);
                prop_assert_eq!(self.order.first(), Some(&started.message));
                prop_assert_eq!(self.parts.get(&started.message).copied().unwrap_or_default(), started.part);
                self.on_the_wire = Some(started.message);
            }
            E::PartDelivered(part) => {
                self.goes_on(part.message)?;
                prop_assert_eq!(self.on_the_wire.take(), Some(part.message));
                let next = self.parts.entry(part.message).or_default();
                prop_assert_eq!(part.part, *next);
                *next += 1;
            }
            E::DeliveryPostponed(postponed) => {
                self.goes_on(postponed.message)?;
                prop_assert_eq!(self.on_the_wire.take(), Some(postponed.message));
            }
            E::MessageDelivered(delivered) => {
                prop_assert_eq!(self.parts.get(&delivered.message), Some(&delivered.parts));
                self.end(delivered.message)?;
            }
            E::DeliveryFailed(failed) => self.end(failed.message)?,
            E::DeliveryUnknown(unknown) => {
                prop_assert_eq!(self.on_the_wire, Some(unknown.message));
                self.end(unknown.message)?;
            }
            E::DeliveryRedriven(redriven) => {
                prop_assert_eq!(self.ends.insert(redriven.message, false), Some(true));
                self.order.push(redriven.message);
            }
            E::Enqueued(enqueued) => {
                prop_assert!(!self.closed);
                let here = self.queue == Some(enqueued.queue);
                prop_assert!(enqueued.reason != EnqueuedReason::ByAccount || self.queue.is_none());
                prop_assert!(enqueued.reason != EnqueuedReason::Fallback || (self.queue.is_some() && !here));
                prop_assert_eq!(enqueued.reason == EnqueuedReason::Changed, here && self.operator.is_none());
                self.queue = Some(enqueued.queue);
            }
            E::Assigned(assigned) => {
                prop_assert!(assigned.operator != self.operator);
                match assigned.reason {
                    Some(AssignedReason::Returning | AssignedReason::LeastBusy) => {
                        let waits = self.operator.is_none() && self.queue.is_some() && !self.closed && !self.snoozed;
                        prop_assert!(waits && assigned.operator.is_some());
                    }
                    Some(_) => prop_assert_eq!(&assigned.operator, &None),
                    None => {}
                }
                self.operator.clone_from(&assigned.operator);
            }
            E::Snoozed(_) => self.snoozed = true,
            E::Woken(_) => self.snoozed = false,
            E::Migrated(_)
            | E::ParticipantJoined(_)
            | E::ParticipantLeft(_)
            | E::MessageEdited(_)
            | E::MessageRetracted(_)
            | E::ReactionsChanged(_)
            | E::ActivityNoted(_)
            | E::AttachmentStored(_)
            | E::AttachmentLost(_)
            | E::NoteAdded(_)
            | E::Tagged(_)
            | E::ClockNoted(_)
            | E::Read(_) => {}
        }
        Ok(())
    }

    fn goes_on(&self, message: MessageId) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.ends.get(&message), Some(&false), "nothing happens to a message after its end");
        Ok(())
    }

    fn end(&mut self, message: MessageId) -> Result<(), TestCaseError> {
        self.goes_on(message)?;
        self.ends.insert(message, true);
        self.order.retain(|waiting| *waiting != message);
        if self.on_the_wire == Some(message) {
            self.on_the_wire = None;
        }
        Ok(())
    }
}

fn any_speaker() -> impl Strategy<Value = Speaker> {
    prop_oneof![
        Just(operator("ann")),
        Just(operator("bob")),
        Just(agent("greeter")),
        Just(agent("seller")),
        Just(Speaker::Nobody),
    ]
}

fn any_actor() -> impl Strategy<Value = Actor> {
    prop_oneof![
        Just(Actor::Operator("ann".into())),
        Just(Actor::Agent("greeter".into())),
        Just(Actor::System("routing".into())),
    ]
}

fn any_marks() -> impl Strategy<Value = Vec<MessageMark>> {
    prop_oneof![
        5 => Just(vec![]),
        1 => Just(vec![MessageMark::AutoReply]),
        1 => Just(vec![MessageMark::Bounce, MessageMark::Damaged]),
    ]
}

fn any_customer() -> impl Strategy<Value = Occupancy> {
    (1_u128..4, 1_u32..3).prop_map(|(n, number)| holder(n, number))
}

fn any_incoming(thread: ThreadFacts) -> impl Strategy<Value = C> {
    let write = {
        let thread = thread.clone();
        (1_u128..20, any_customer(), any_marks())
            .prop_map(move |(n, author, marks)| marked(thread.clone(), n, author, &marks))
    };
    let edit = {
        let thread = thread.clone();
        (1_u128..20, any_customer()).prop_map(move |(n, author)| C::ReceiveEdit {
            thread: thread.clone(),
            message: message(n),
            author,
            kind: MessageKind::Text,
            edited_at: at(1),
            content: text("hello"),
        })
    };
    let react = {
        let thread = thread.clone();
        (1_u128..20, prop::option::of(any_customer()), 0_i64..9).prop_map(move |(n, by, second)| C::React {
            thread: thread.clone(),
            message: message(n),
            by,
            changed_at: at(second),
            reactions: vec![],
        })
    };
    let retract = {
        let thread = thread.clone();
        (1_u128..20).prop_map(move |n| C::Retract { thread: thread.clone(), message: message(n) })
    };
    let migrate = C::Migrate { thread, to: ConversationId::new(Uuid::from_u128(2)), outside: outside() };
    let leave = any_customer().prop_map(|participant| C::Leave { participant });
    prop_oneof![8 => write, 2 => edit, 2 => react, 2 => retract, 1 => Just(migrate), 1 => leave]
}

fn any_outgoing() -> impl Strategy<Value = C> {
    let n = || 100_u128..106;
    prop_oneof![
        6 => (n(), any_speaker()).prop_map(|(n, speaker)| queue(n, speaker)),
        8 => (n(), 0_u32..3).prop_map(|(n, part)| start(n, part)),
        8 => (n(), 0_u32..3).prop_map(|(n, part)| took(n, part)),
        3 => n().prop_map(complete),
        2 => n().prop_map(postpone),
        1 => n().prop_map(fail),
        1 => n().prop_map(lose),
        2 => n().prop_map(redrive),
    ]
}

fn any_queue() -> impl Strategy<Value = QueueId> {
    prop_oneof![Just(refunds()), Just(general())]
}

fn any_assignment(queue: QueueId) -> impl Strategy<Value = C> {
    let name = || prop_oneof![Just("ann"), Just("bob")];
    prop_oneof![
        Just(into(queue, 1, EnqueuedBy::Account)),
        (0_u8..2).prop_map(move |priority| into(queue, priority, EnqueuedBy::Hand)),
        any_queue().prop_map(move |from| into(queue, 1, EnqueuedBy::Fallback { from })),
        name().prop_map(move |name| given_to(queue, name)),
        name().prop_map(taken_from),
        prop::option::of(name()).prop_map(|name| C::Assign { operator: name.map(Into::into) }),
    ]
}

fn any_work() -> impl Strategy<Value = C> {
    prop_oneof![
        (any_actor(), any_speaker()).prop_map(|(by, to)| C::HandOver { by, to, reason: "handed_over".into() }),
        Just(close()),
        Just(C::Reopen),
        (0_i64..20).prop_map(|until| C::Snooze { until: at(until), now: at(5) }),
        (0_i64..20).prop_map(|now| C::Wake { reason: WokenReason::TimeCame, now: at(now) }),
        any_queue().prop_flat_map(any_assignment),
        (0_u64..40).prop_map(|up_to| C::MarkRead { operator: "ann".into(), up_to: Revision(up_to) }),
        (0_u8..3, 0_u8..3).prop_map(|(add, remove)| C::Tag {
            add: [format!("tag {add}")].into(),
            remove: [format!("tag {remove}")].into(),
        }),
    ]
}

fn any_history() -> impl Strategy<Value = Vec<C>> {
    prop_oneof![3 => Just(thread()), 1 => Just(group())].prop_flat_map(|thread| {
        let command = prop_oneof![4 => any_incoming(thread), 8 => any_outgoing(), 3 => any_work()];
        prop::collection::vec(command, 0..120)
    })
}

fn fold<'a>(state: &mut Conversation, from: usize, events: impl IntoIterator<Item = &'a E>) {
    for (revision, event) in (from as u64..).zip(events) {
        ConversationDecider::evolve(state, event, Revision(revision));
    }
}

fn carry_out(commands: Vec<C>) -> (Conversation, Vec<E>) {
    let (mut state, mut events) = (Conversation::default(), Vec::new());
    for command in commands {
        for event in ConversationDecider::decide(&state, command).unwrap_or_default() {
            ConversationDecider::evolve(&mut state, &event, Revision(events.len() as u64));
            events.push(event);
        }
    }
    (state, events)
}

#[test]
fn the_onlooker_notices_a_breach() {
    let queued = |n| queued(n, 1, Some(customer(1)), of(customer(1)));
    let mut onlooker = Onlooker::default();
    onlooker.see(&opened(ConversationKind::Direct, of_group())).unwrap();
    assert!(onlooker.see(&queued(5)).is_err(), "nobody spoke");
    assert!(onlooker.end(message(5)).is_err(), "it was never queued");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn one_speaker_growing_episodes_and_orderly_deliveries_hold_in_any_history(commands in any_history()) {
        let mut onlooker = Onlooker::default();
        let mut state = Conversation::default();
        let mut revision = 0;
        for command in commands {
            let held = onlooker.speaker.clone();
            let by_agent = if let C::Queue(Outgoing { speaker: agent @ Speaker::Agent(_), .. }) = &command {
                Some(agent.clone())
            } else {
                None
            };
            let was_closed = onlooker.closed;
            for event in ConversationDecider::decide(&state, command).unwrap_or_default() {
                if let (Some(agent), E::MessageQueued(_)) = (&by_agent, &event) {
                    prop_assert!(!was_closed, "an agent wrote to a closed conversation");
                    let free = held.as_ref().is_none_or(|held| *held == Speaker::Nobody || held == agent);
                    prop_assert!(free, "an agent wrote while somebody else spoke");
                }
                onlooker.see(&event)?;
                ConversationDecider::evolve(&mut state, &event, Revision(revision));
                revision += 1;
            }
            prop_assert_eq!(state.episode(), onlooker.episode);
            prop_assert_eq!(state.speaker(), onlooker.speaker.as_ref().unwrap_or(&Speaker::Nobody));
            prop_assert_eq!(state.queue(), &onlooker.order[..]);
        }
    }

    #[test]
    fn folding_does_not_depend_on_where_it_was_interrupted(commands in any_history(), cut in any::<prop::sample::Index>()) {
        let (kept, events) = carry_out(commands);
        let mut whole = Conversation::default();
        fold(&mut whole, 0, &events);
        prop_assert_eq!(&whole, &kept);
        let cut = if events.is_empty() { 0 } else { cut.index(events.len()) };
        let mut resumed = Conversation::default();
        fold(&mut resumed, 0, &events[..cut]);
        fold(&mut resumed, cut, &events[cut..]);
        prop_assert_eq!(resumed, whole);
    }

    #[test]
    fn any_events_in_any_order_fold_and_the_rules_still_answer(
        commands in any_history(),
        order in any::<prop::sample::Index>(),
        more in any_history(),
    ) {
        let (_, mut events) = carry_out(commands);
        if !events.is_empty() {
            let middle = order.index(events.len());
            events.rotate_left(middle);
            events.truncate(middle.max(1));
        }
        let mut state = Conversation::default();
        fold(&mut state, 0, &events);
        for command in more {
            let _ = ConversationDecider::decide(&state, command);
        }
    }

    #[test]
    fn a_command_that_acted_and_is_no_new_wish_stays_quiet_or_is_refused_when_repeated(commands in any_history(), n in 1_u128..20) {
        let (mut state, events) = carry_out(commands);
        let receive = receive(n);
        let written = ConversationDecider::decide(&state, receive.clone()).unwrap();
        fold(&mut state, events.len(), &written);
        prop_assert_eq!(ConversationDecider::decide(&state, receive), Ok(vec![]));
    }
}
