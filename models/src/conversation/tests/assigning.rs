//! Whose work it is: queues, the operator that a policy finds, the operator who vanishes.
//!
//! **Invariant:** each way into a queue and out of it acts, stays quiet and is refused here.

use std::sync::Arc;

use events::conversation::{
    AssignedReason, ConversationAssigned, ConversationEnqueued, EnqueuedReason, SpeakerChanged, WokenReason,
};
use events::ids::QueueId;

use super::*;
use crate::conversation::{EnqueuedBy, Enqueueing, MAX_FALLBACKS};

use ConversationRejection as R;

pub(super) fn refunds() -> QueueId {
    QueueId::new(Uuid::from_u128(20))
}

pub(super) fn general() -> QueueId {
    QueueId::new(Uuid::from_u128(21))
}

pub(super) fn into(queue: QueueId, priority: u8, by: EnqueuedBy) -> C {
    C::Enqueue(Enqueueing { queue, is_open: true, priority, language: None, by })
}

fn by_hand() -> C {
    into(refunds(), 3, EnqueuedBy::Hand)
}

fn fall(from: QueueId, to: QueueId) -> C {
    into(to, 3, EnqueuedBy::Fallback { from })
}

fn enqueued(queue: QueueId, priority: u8, reason: EnqueuedReason, fallbacks: u8) -> ConversationEvent {
    ConversationEnqueued { queue, priority, language: None, reason, fallbacks }.into()
}

fn assigned(operator: Option<&str>, reason: Option<AssignedReason>) -> ConversationEvent {
    ConversationAssigned { operator: operator.map(Into::into), reason }.into()
}

fn speaker(speaker: Speaker, reason: &str) -> ConversationEvent {
    SpeakerChanged { speaker, reason: reason.into() }.into()
}

pub(super) fn given_to(queue: QueueId, operator: &str) -> C {
    C::AssignFromQueue { queue, operator: operator.into(), reason: AssignedReason::LeastBusy }
}

pub(super) fn taken_from(operator: &str) -> C {
    C::Unassign { from: operator.into(), reason: AssignedReason::OperatorAbsent }
}

fn by_account() -> C {
    into(refunds(), 3, EnqueuedBy::Account)
}

#[test]
fn an_account_puts_its_conversations_into_a_queue_once() {
    direct().when(by_account()).then([enqueued(refunds(), 3, EnqueuedReason::ByAccount, 0)]);
    direct().and(by_account()).when(into(general(), 1, EnqueuedBy::Account)).then_nothing();
    direct().and(C::Assign { operator: Some("ann".into()) }).when(by_account()).then_nothing();
    direct().and(close()).when(by_account()).then_nothing();
    nothing_yet().when(by_account()).then_nothing();
}

#[test]
fn a_new_episode_is_put_into_a_queue_anew() {
    let reopened = direct().and(by_account()).and(close()).and(receive(2));
    reopened.when(by_account()).then([enqueued(refunds(), 3, EnqueuedReason::ByAccount, 0)]);
}

#[test]
fn whoever_puts_it_into_a_queue_by_hand_lets_go_of_it() {
    let held = || direct().and(C::Assign { operator: Some("ann".into()) }).and(queue(100, operator("ann")));
    held().when(by_hand()).then([
        enqueued(refunds(), 3, EnqueuedReason::ByHand, 0),
        speaker(Speaker::Nobody, "enqueued"),
        assigned(None, Some(AssignedReason::Enqueued)),
    ]);
    let with_agent = direct().and(queue(100, agent("greeter"))).and(by_hand());
    with_agent
        .when(queue(101, operator("bob")))
        .then_types(&["conversation.speaker_changed", "conversation.message_queued"]);
    direct().and(by_hand()).when(by_hand()).then_nothing();
    direct().and(by_hand()).when(into(refunds(), 9, EnqueuedBy::Hand)).then([enqueued(
        refunds(),
        9,
        EnqueuedReason::Changed,
        0,
    )]);
    let again = direct().and(by_hand()).and(given_to(refunds(), "ann"));
    again
        .when(by_hand())
        .then([enqueued(refunds(), 3, EnqueuedReason::ByHand, 0), assigned(None, Some(AssignedReason::Enqueued))]);
}

#[test]
fn a_queue_that_is_not_open_a_high_priority_and_a_wrong_language_are_refused() {
    let command = |is_open, priority, language: Option<&str>| {
        let language: Option<Arc<str>> = language.map(Into::into);
        C::Enqueue(Enqueueing { queue: refunds(), is_open, priority, language, by: EnqueuedBy::Hand })
    };
    refused(direct(), command(false, 1, None), &R::NoSuchQueue);
    refused(direct(), command(true, 10, None), &R::BadPriority);
    refused(direct(), command(true, 1, Some("russian")), &R::BadLanguage);
    refused(direct().and(close()), command(true, 1, None), &R::Closed);
    refused(nothing_yet(), command(true, 1, None), &R::NotOpen);
    direct().when(command(true, 9, Some("ru"))).then_types(&["conversation.enqueued"]);
}

#[test]
fn what_nobody_takes_falls_through_queues_and_not_for_ever() {
    let waiting = direct().and(by_hand());
    waiting.when(fall(refunds(), general())).then([enqueued(general(), 3, EnqueuedReason::Fallback, 1)]);
    let waiting = direct().and(by_hand());
    waiting.when(fall(general(), refunds())).then_nothing();
    let waiting = direct().and(by_hand());
    waiting.when(fall(refunds(), refunds())).then_nothing();
    let taken = direct().and(by_hand()).and(given_to(refunds(), "ann"));
    taken.when(fall(refunds(), general())).then_nothing();
    let mut falling = direct().and(by_hand());
    let mut places = [refunds(), general()];
    for _ in 0..MAX_FALLBACKS {
        falling = falling.and(fall(places[0], places[1]));
        places.reverse();
    }
    falling.when(fall(places[0], places[1])).then_nothing();
}

#[test]
fn the_policy_gives_away_only_what_waits_in_its_queue() {
    direct()
        .and(by_hand())
        .when(given_to(refunds(), "ann"))
        .then([assigned(Some("ann"), Some(AssignedReason::LeastBusy))]);
    refused(direct().and(by_hand()), given_to(general(), "ann"), &R::NotWaiting);
    refused(direct(), given_to(refunds(), "ann"), &R::NotWaiting);
    refused(direct().and(by_hand()).and(given_to(refunds(), "bob")), given_to(refunds(), "ann"), &R::NotWaiting);
    refused(direct().and(by_hand()).and(close()), given_to(refunds(), "ann"), &R::NotWaiting);
    let resting = || direct().and(by_hand()).and(C::Snooze { until: at(20), now: at(10) });
    refused(resting(), given_to(refunds(), "ann"), &R::NotWaiting);
    let woken = resting().and(C::Wake { reason: WokenReason::ByHand, now: at(11) });
    woken.when(given_to(refunds(), "ann")).then_types(&["conversation.assigned"]);
}

#[test]
fn what_is_taken_from_a_vanished_operator_waits_again_and_can_be_answered_by_another() {
    let held = || direct().and(by_hand()).and(given_to(refunds(), "ann")).and(queue(100, operator("ann")));
    held()
        .when(taken_from("ann"))
        .then([speaker(Speaker::Nobody, "released"), assigned(None, Some(AssignedReason::OperatorAbsent))]);
    held().when(taken_from("bob")).then_nothing();
    let next = held().and(taken_from("ann")).and(given_to(refunds(), "bob"));
    next.when(queue(101, operator("bob"))).then_types(&["conversation.speaker_changed", "conversation.message_queued"]);
    direct().when(taken_from("ann")).then_nothing();
}
