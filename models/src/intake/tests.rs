//! What the decider of raw deliveries answers.
//!
//! **Invariant:** per command: it acts, it stays quiet, it refuses.

use events::ids::{EventId, IdHasher};
use events::intake::{IntakeNormalised, IntakeParked, IntakeRedriven, IntakeUnrecognised};
use uuid::Uuid;

use super::*;
use crate::testing::given;

fn delivery(number: u128) -> EventId {
    EventId::new(Uuid::from_u128(number))
}

fn normalise(received: EventId) -> IntakeCommand {
    IntakeCommand::Normalise { received, kind: "message".to_owned(), persons: vec![], conversation: None }
}

fn unrecognise(received: EventId) -> IntakeCommand {
    IntakeCommand::Unrecognise { received, reason: "unknown kind".to_owned() }
}

fn park(received: EventId) -> IntakeCommand {
    IntakeCommand::Park { received, reason: "conflicts".to_owned(), attempts: 5 }
}

#[test]
fn the_first_outcome_of_a_delivery_is_recorded_with_all_it_says() {
    let one = delivery(1);
    let conversation = IdHasher::new([1; 32]).conversation(events::ids::AccountId::new(Uuid::from_u128(9)), "thread");
    let command = IntakeCommand::Normalise {
        received: one,
        kind: "message".to_owned(),
        persons: vec![],
        conversation: Some(conversation),
    };
    given::<IntakeDecider>([]).when(command).then([IntakeNormalised {
        received: one,
        kind: "message".to_owned(),
        persons: vec![],
        conversation: Some(conversation),
    }
    .into()]);
    given::<IntakeDecider>([]).when(unrecognise(one)).then([IntakeUnrecognised {
        received: one,
        reason: "unknown kind".to_owned(),
    }
    .into()]);
    given::<IntakeDecider>([]).when(park(one)).then([IntakeParked {
        received: one,
        reason: "conflicts".to_owned(),
        attempts: 5,
    }
    .into()]);
}

#[test]
fn the_same_outcome_again_stays_quiet() {
    let one = delivery(1);
    for command in [normalise(one), unrecognise(one), park(one)] {
        given::<IntakeDecider>([]).and(command.clone()).when(command).then_nothing();
    }
}

#[test]
fn what_was_normalised_cannot_be_taken_back() {
    let one = delivery(1);
    for command in [unrecognise(one), park(one), IntakeCommand::Redrive { received: one }] {
        given::<IntakeDecider>([]).and(normalise(one)).when(command).then_rejected(&IntakeRejection::AlreadyNormalised);
    }
}

#[test]
fn what_was_not_understood_or_parked_is_tried_again_and_can_be_normalised() {
    let one = delivery(1);
    for outcome in [unrecognise(one), park(one)] {
        let redrive = IntakeCommand::Redrive { received: one };
        given::<IntakeDecider>([])
            .and(outcome.clone())
            .when(redrive.clone())
            .then([IntakeRedriven { received: one }.into()]);
        given::<IntakeDecider>([]).and(outcome.clone()).and(redrive.clone()).when(redrive.clone()).then_nothing();
        given::<IntakeDecider>([])
            .and(outcome.clone())
            .and(redrive.clone())
            .when(normalise(one))
            .then_types(&["intake.normalised"]);
        // The next try may end as the first did: that is an event of its own.
        let again = given::<IntakeDecider>([]).and(outcome.clone()).and(redrive);
        assert_eq!(again.state().outcome(one), Some(Outcome::Redriven));
        again.and(outcome).when(IntakeCommand::Redrive { received: one }).then_types(&["intake.redriven"]);
    }
}

#[test]
fn a_delivery_without_an_outcome_cannot_be_redriven() {
    given::<IntakeDecider>([])
        .and(park(delivery(2)))
        .when(IntakeCommand::Redrive { received: delivery(1) })
        .then_rejected(&IntakeRejection::NothingToRedrive);
}

#[test]
fn a_long_reason_is_cut_by_characters() {
    let long = "ж".repeat(MAX_REASON_CHARS + 1);
    given::<IntakeDecider>([])
        .when(IntakeCommand::Unrecognise { received: delivery(1), reason: long })
        .then([IntakeUnrecognised { received: delivery(1), reason: "ж".repeat(MAX_REASON_CHARS) }.into()]);
}
