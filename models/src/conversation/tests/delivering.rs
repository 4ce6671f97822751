//! The life of an outgoing message.
//!
//! **Invariant:** in order, one at a time, each part once, nothing repeated unasked.

use events::conversation::{
    DeliveryFailed, DeliveryPostponed, DeliveryRedriven, DeliveryStarted, DeliveryUnknown, MessageDelivered,
    PartDelivered,
};

use super::*;
use crate::conversation::DeliveryStatus as S;

use ConversationRejection as R;

pub(super) fn start(n: u128, part: u32) -> C {
    C::StartDelivery { message: message(n), part }
}

pub(super) fn took(n: u128, part: u32) -> C {
    C::RecordPart { message: message(n), part, alias: message(100 * n + u128::from(part)), outside_id: None }
}

pub(super) fn complete(n: u128) -> C {
    C::CompleteDelivery { message: message(n) }
}

pub(super) fn postpone(n: u128) -> C {
    C::PostponeDelivery { message: message(n), reason: "429".into(), retry_at: at(60) }
}

pub(super) fn fail(n: u128) -> C {
    C::FailDelivery { message: message(n), reason: "403".into() }
}

pub(super) fn lose(n: u128) -> C {
    C::LoseTrack { message: message(n), reason: "interrupted".into() }
}

pub(super) fn redrive(n: u128) -> C {
    C::Redrive { message: message(n) }
}

fn started(n: u128, attempt: u32, part: u32) -> ConversationEvent {
    DeliveryStarted { message: message(n), attempt, part }.into()
}

/// Messages 5 and 6 wait.
fn waiting() -> Given<ConversationDecider> {
    direct().and(queue(5, operator("ann"))).and(queue(6, operator("ann")))
}

/// Part 0 of message 5 is on the wire.
fn sending() -> Given<ConversationDecider> {
    waiting().and(start(5, 0))
}

fn status(given: &Given<ConversationDecider>, n: u128) -> S {
    given.state().delivery(message(n)).unwrap().status
}

fn wrong(given: Given<ConversationDecider>, command: C, state: S) {
    refused(given, command, &R::WrongDeliveryState(state));
}

#[test]
fn a_message_goes_out_in_parts_and_is_delivered() {
    waiting().when(start(5, 0)).then([started(5, 1, 0)]);
    let taken = PartDelivered { message: message(5), part: 0, alias: message(500), outside_id: None };
    sending().when(took(5, 0)).then([taken.into()]);
    let first = || sending().and(took(5, 0));
    first().when(start(5, 1)).then([started(5, 1, 1)]);
    let both = first().and(start(5, 1)).and(took(5, 1));
    both.when(complete(5)).then([MessageDelivered { message: message(5), parts: 2 }.into()]);
}

#[test]
fn messages_go_out_in_the_order_in_which_they_were_queued() {
    refused(waiting(), start(6, 0), &R::NotItsTurn);
    refused(sending(), start(6, 0), &R::NotItsTurn);
    let done = sending().and(took(5, 0)).and(complete(5));
    assert_eq!(done.state().queue(), [message(6)]);
    done.when(start(6, 0)).then([started(6, 1, 0)]);
}

#[test]
fn a_part_is_neither_repeated_nor_skipped() {
    let first = || sending().and(took(5, 0));
    refused(first(), start(5, 0), &R::WrongPart { next: 1 });
    refused(first(), start(5, 2), &R::WrongPart { next: 1 });
    refused(waiting(), start(5, 1), &R::WrongPart { next: 0 });
    first().when(took(5, 0)).then_nothing();
}

#[test]
fn what_is_on_the_wire_is_not_started_again() {
    wrong(sending(), start(5, 0), S::Sending { part: 0 });
    wrong(sending(), took(5, 1), S::Sending { part: 0 });
    wrong(sending(), complete(5), S::Sending { part: 0 });
    wrong(sending(), redrive(5), S::Sending { part: 0 });
}

#[test]
fn a_postponed_message_holds_back_those_behind_it_and_is_tried_again() {
    let later = DeliveryPostponed { message: message(5), attempt: 1, reason: "429".into(), retry_at: at(60) };
    sending().when(postpone(5)).then([later.into()]);
    refused(sending().and(postpone(5)), start(6, 0), &R::NotItsTurn);
    sending().and(postpone(5)).when(start(5, 0)).then([started(5, 2, 0)]);
}

#[test]
fn a_message_postponed_between_parts_goes_on_with_the_next_part() {
    let given = || sending().and(took(5, 0)).and(start(5, 1)).and(postpone(5));
    refused(given(), start(5, 0), &R::WrongPart { next: 1 });
    wrong(given(), complete(5), S::Postponed);
    given().when(start(5, 1)).then([started(5, 2, 1)]);
}

#[test]
fn only_what_is_on_the_wire_is_postponed_or_lost_track_of() {
    for command in [postpone(5), lose(5)] {
        wrong(waiting(), command.clone(), S::Queued);
        wrong(sending().and(took(5, 0)), command.clone(), S::BetweenParts);
        wrong(sending().and(fail(5)), command, S::Failed);
    }
}

#[test]
fn a_dead_letter_lets_those_behind_it_go() {
    let dead = DeliveryFailed { message: message(5), attempt: 1, reason: "403".into() };
    sending().when(fail(5)).then([dead.into()]);
    sending().and(fail(5)).when(start(6, 0)).then([started(6, 1, 0)]);
}

#[test]
fn a_message_that_was_never_tried_can_fail_too() {
    let dead = DeliveryFailed { message: message(6), attempt: 0, reason: "403".into() };
    waiting().when(fail(6)).then([dead.into()]);
    let failed = waiting().and(fail(6));
    assert_eq!(failed.state().queue(), [message(5)]);
}

#[test]
fn a_send_whose_end_nobody_saw_is_unknown_and_not_sent_again_unasked() {
    let lost = DeliveryUnknown { message: message(5), attempt: 1, reason: "interrupted".into() };
    sending().when(lose(5)).then([lost.into()]);
    let unknown = || sending().and(lose(5));
    for command in [start(5, 0), took(5, 0), complete(5), postpone(5), fail(5)] {
        wrong(unknown(), command, S::Unknown);
    }
    unknown().when(start(6, 0)).then([started(6, 1, 0)]);
}

#[test]
fn an_end_that_is_told_twice_is_written_once() {
    sending().and(fail(5)).when(fail(5)).then_nothing();
    sending().and(lose(5)).when(lose(5)).then_nothing();
    sending().and(took(5, 0)).and(complete(5)).when(complete(5)).then_nothing();
}

#[test]
fn a_delivered_message_stays_delivered() {
    let delivered = || sending().and(took(5, 0)).and(complete(5));
    for command in [start(5, 1), took(5, 1), postpone(5), fail(5), lose(5), redrive(5)] {
        wrong(delivered(), command, S::Delivered);
    }
}

#[test]
fn a_redriven_letter_waits_behind_the_others_and_starts_at_the_first_missing_part() {
    let dead = || sending().and(took(5, 0)).and(start(5, 1)).and(lose(5));
    dead().when(redrive(5)).then([DeliveryRedriven { message: message(5) }.into()]);
    let again = || dead().and(redrive(5));
    assert_eq!(again().state().queue(), [message(6), message(5)]);
    refused(again(), start(5, 1), &R::NotItsTurn);
    let turn = || again().and(start(6, 0)).and(took(6, 0)).and(complete(6));
    refused(turn(), start(5, 0), &R::WrongPart { next: 1 });
    turn().when(start(5, 1)).then([started(5, 2, 1)]);
}

#[test]
fn a_letter_given_up_after_its_last_part_can_be_redriven_to_its_end() {
    let again = sending().and(took(5, 0)).and(fail(5)).and(redrive(5));
    again.when(complete(5)).then([MessageDelivered { message: message(5), parts: 1 }.into()]);
}

#[test]
fn only_dead_letters_are_redriven() {
    wrong(waiting(), redrive(5), S::Queued);
    wrong(sending().and(postpone(5)), redrive(5), S::Postponed);
    wrong(sending().and(took(5, 0)), redrive(5), S::BetweenParts);
    wrong(sending().and(fail(5)).and(redrive(5)), redrive(5), S::Queued);
}

#[test]
fn nothing_is_complete_before_a_part_was_taken() {
    wrong(waiting(), complete(5), S::Queued);
    wrong(sending().and(fail(5)).and(redrive(5)), complete(5), S::Queued);
}

#[test]
fn a_message_that_was_never_queued_has_no_delivery() {
    for n in [1, 9] {
        for command in [start(n, 0), took(n, 0), complete(n), postpone(n), fail(n), lose(n), redrive(n)] {
            refused(waiting(), command, &R::NoSuchMessage);
        }
    }
}

#[test]
fn what_was_queued_before_the_end_of_the_episode_still_goes_out() {
    waiting().and(close()).when(start(5, 0)).then([started(5, 1, 0)]);
}

#[test]
fn a_providers_endless_reason_is_cut() {
    let endless = C::FailDelivery { message: message(5), reason: "ж".repeat(1_000) };
    let dead = DeliveryFailed { message: message(5), attempt: 1, reason: "ж".repeat(200) };
    sending().when(endless).then([dead.into()]);
}

#[test]
fn every_status_has_a_name_and_three_are_final() {
    let given = sending();
    assert_eq!(status(&given, 5).to_string(), "sending");
    assert_eq!(status(&given, 6).to_string(), "queued");
    let finals = [S::Delivered, S::Failed, S::Unknown];
    assert!(finals.iter().all(|status| status.is_final()));
    assert!(![S::Queued, S::BetweenParts, S::Postponed, S::Sending { part: 0 }].iter().any(|s| s.is_final()));
}
