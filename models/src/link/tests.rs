//! What a pair of occupancies answers to each command.
//!
//! **Invariant:** each command acts, stays quiet and is refused here at least once, where it can.

use events::ids::ContactId;
use uuid::Uuid;

use super::*;
use crate::testing::given;

fn person(n: u128) -> Occupancy {
    Occupancy { contact: ContactId::new(Uuid::from_u128(n)), number: 1 }
}

fn link(one: u128, other: u128) -> LinkCommand {
    LinkCommand::Link { one: person(one), other: person(other), basis: LinkBasis::Operator }
}

fn unlink() -> LinkCommand {
    LinkCommand::Unlink { one: person(2), other: person(1), reason: "mistake".into() }
}

fn linked() -> LinkEvent {
    OccupanciesLinked { one: person(1), other: person(2), basis: LinkBasis::Operator }.into()
}

fn unlinked() -> LinkEvent {
    OccupanciesUnlinked { one: person(1), other: person(2), reason: "mistake".into() }.into()
}

#[test]
fn a_link_is_written_the_same_from_both_sides() {
    given::<LinkDecider>([]).when(link(1, 2)).then([linked()]);
    given::<LinkDecider>([]).when(link(2, 1)).then([linked()]);
}

#[test]
fn a_pair_that_is_linked_is_not_linked_again() {
    given::<LinkDecider>([linked()]).when(link(2, 1)).then_nothing();
}

#[test]
fn nobody_is_linked_with_themselves() {
    given::<LinkDecider>([]).when(link(1, 1)).then_rejected(&LinkRejection::SameOccupancy);
}

#[test]
fn a_link_is_taken_back_and_made_again() {
    given::<LinkDecider>([linked()]).when(unlink()).then([unlinked()]);
    given::<LinkDecider>([linked(), unlinked()]).when(link(1, 2)).then([linked()]);
}

#[test]
fn what_is_not_linked_cannot_be_unlinked() {
    given::<LinkDecider>([]).when(unlink()).then_rejected(&LinkRejection::NotLinked);
    given::<LinkDecider>([linked(), unlinked()]).when(unlink()).then_rejected(&LinkRejection::NotLinked);
}
