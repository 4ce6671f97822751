//! What a contact point answers to each command.
//!
//! **Invariant:** each command acts, stays quiet and is refused here at least once, where it can.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::testing::given;

use ContactCommand as C;

fn contact() -> ContactId {
    ContactId::new(Uuid::from_u128(1))
}

fn account(n: u128) -> AccountId {
    AccountId::new(Uuid::from_u128(n))
}

fn address() -> ContactAddress {
    ContactAddress { normalised: "+79000000000".into(), source_form: "8 900 000-00-00".into() }
}

fn occupy() -> C {
    C::Occupy { contact: contact(), kind: ContactKind::Phone, account: account(7), address: address() }
}

fn occupied(number: u32) -> ContactEvent {
    let subject = KeySubject::Occupancy(Occupancy { contact: contact(), number });
    let address = Personal::new(subject, address());
    ContactOccupied { occupancy: number, kind: ContactKind::Phone, account: account(7), address }.into()
}

fn vacate(occupancy: u32) -> C {
    C::Vacate { occupancy, reason: VacatedReason::Reassigned }
}

fn vacated(occupancy: u32) -> ContactEvent {
    ContactVacated { occupancy, reason: VacatedReason::Reassigned }.into()
}

#[test]
fn the_first_message_opens_the_first_occupancy_sealed_for_its_holder() {
    given::<ContactDecider>([]).when(occupy()).then([occupied(1)]);
}

#[test]
fn a_contact_point_that_is_held_is_not_occupied_again() {
    given::<ContactDecider>([occupied(1)]).when(occupy()).then_nothing();
}

#[test]
fn a_message_after_vacation_opens_the_next_occupancy_under_a_key_of_its_own() {
    given::<ContactDecider>([occupied(1), vacated(1)]).when(occupy()).then([occupied(2)]);
}

#[test]
fn only_the_open_occupancy_is_vacated() {
    given::<ContactDecider>([occupied(1)]).when(vacate(1)).then([vacated(1)]);
    given::<ContactDecider>([occupied(1), vacated(1)]).when(vacate(1)).then_nothing();
    given::<ContactDecider>([occupied(1), vacated(1), occupied(2)]).when(vacate(1)).then_nothing();
}

#[test]
fn an_occupancy_that_never_was_cannot_be_vacated() {
    for number in [0, 2] {
        given::<ContactDecider>([occupied(1)]).when(vacate(number)).then_rejected(&ContactRejection::NotOccupied);
    }
    given::<ContactDecider>([]).when(vacate(1)).then_rejected(&ContactRejection::NotOccupied);
}

#[test]
fn a_customer_blocks_and_unblocks_each_account_apart() {
    let held = || given::<ContactDecider>([occupied(1)]);
    let block = || C::Block { account: account(7) };
    held().when(block()).then([ContactBlocked { occupancy: 1, account: account(7) }.into()]);
    held().and(block()).when(block()).then_nothing();
    held().and(block()).when(C::Unblock { account: account(8) }).then_nothing();
    let unblocked = ContactUnblocked { occupancy: 1, account: account(7) };
    held().and(block()).when(C::Unblock { account: account(7) }).then([unblocked.into()]);
    let blocked = held().and(block());
    assert!(!blocked.state().admits(account(7)));
    assert!(blocked.state().admits(account(8)));
}

#[test]
fn nobody_blocks_through_a_contact_point_that_nobody_holds() {
    for command in [C::Block { account: account(7) }, C::Unblock { account: account(7) }] {
        given::<ContactDecider>([]).when(command.clone()).then_rejected(&ContactRejection::NotOccupied);
        let vacant = given::<ContactDecider>([occupied(1), vacated(1)]);
        vacant.when(command).then_rejected(&ContactRejection::NotOccupied);
    }
}

#[test]
fn the_next_holder_has_blocked_nobody() {
    let given =
        given::<ContactDecider>([occupied(1)]).and(C::Block { account: account(7) }).and(vacate(1)).and(occupy());
    assert!(given.state().admits(account(7)));
    assert_eq!(given.state().occupancy(), Some(2));
}

fn any_command() -> impl Strategy<Value = C> {
    prop_oneof![
        Just(occupy()),
        (0_u32..6).prop_map(vacate),
        (0_u128..3).prop_map(|n| C::Block { account: account(n) }),
        (0_u128..3).prop_map(|n| C::Unblock { account: account(n) }),
    ]
}

proptest! {
    #[test]
    fn one_occupancy_is_open_at_most_and_numbers_grow_by_one(
        commands in prop::collection::vec(any_command(), 0..60),
    ) {
        let mut state = Contact::default();
        let (mut revision, mut last, mut open) = (0, 0, None);
        for command in commands {
            for event in ContactDecider::decide(&state, command).unwrap_or_default() {
                match &event {
                    ContactEvent::Occupied(occupied) => {
                        prop_assert_eq!(open, None);
                        prop_assert_eq!(occupied.occupancy, last + 1);
                        last += 1;
                        open = Some(last);
                    }
                    ContactEvent::Vacated(vacated) => {
                        prop_assert_eq!(open, Some(vacated.occupancy));
                        open = None;
                    }
                    ContactEvent::Blocked(blocked) => prop_assert_eq!(open, Some(blocked.occupancy)),
                    ContactEvent::Unblocked(unblocked) => prop_assert_eq!(open, Some(unblocked.occupancy)),
                }
                ContactDecider::evolve(&mut state, &event, Revision(revision));
                revision += 1;
                prop_assert_eq!(state.occupancy(), open);
            }
        }
    }
}
