//! What a service level answers to each command.
//!
//! **Invariant:** each command acts, stays quiet and is refused here at least once.

use super::*;
use crate::testing::{Given, given};

use ServiceLevelCommand as C;
use ServiceLevelRejection as R;

fn promise(least_priority: u8, seconds: u32) -> ServiceTarget {
    ServiceTarget { least_priority, first_response_s: Some(seconds), ..ServiceTarget::default() }
}

fn rules(targets: &[ServiceTarget]) -> ServiceLevelRules {
    ServiceLevelRules { calendar: None, targets: targets.to_vec(), warn_before_s: 60 }
}

fn open(targets: &[ServiceTarget]) -> C {
    C::Open { name: "Золотой".into(), rules: rules(targets) }
}

fn opened() -> Given<ServiceLevelDecider> {
    given([]).and(open(&[promise(0, 600)]))
}

#[test]
fn a_level_is_opened_once_changed_and_closed() {
    given::<ServiceLevelDecider>([]).when(open(&[promise(0, 600)])).then_types(&["servicelevel.opened"]);
    opened().when(open(&[promise(0, 600)])).then_nothing();
    opened().when(open(&[promise(0, 60)])).then_rejected(&R::Exists);
    let change = |seconds| C::Change { name: "Золотой".into(), rules: rules(&[promise(0, seconds)]) };
    opened().when(change(60)).then_types(&["servicelevel.changed"]);
    opened().when(change(600)).then_nothing();
    opened().when(C::Close).then([ServiceLevelClosed {}.into()]);
    opened().and(C::Close).when(C::Close).then_nothing();
    opened().and(C::Close).when(change(600)).then_types(&["servicelevel.changed"]);
    assert_eq!(opened().and(C::Close).state().rules(), None);
    for command in [change(60), C::Close] {
        given::<ServiceLevelDecider>([]).when(command).then_rejected(&R::NoSuchLevel);
    }
}

#[test]
fn what_promises_nothing_or_twice_is_refused() {
    let new = || given::<ServiceLevelDecider>([]);
    let unnamed = C::Open { name: " ".into(), rules: rules(&[promise(0, 600)]) };
    new().when(unnamed).then_rejected(&R::BadName);
    for targets in [
        vec![],
        vec![ServiceTarget::default()],
        vec![promise(0, 0)],
        vec![promise(0, MAX_TARGET_S + 1)],
        vec![promise(10, 600)],
        vec![promise(3, 600), promise(3, 60)],
        vec![promise(3, 600), promise(0, 60)],
    ] {
        new().when(open(&targets)).then_rejected(&R::BadTargets);
    }
}

#[test]
fn the_target_of_the_highest_priority_that_is_reached_counts() {
    let rules = rules(&[promise(2, 600), promise(5, 60)]);
    let seconds = |priority| target(&rules, priority).and_then(|target| target.first_response_s);
    assert_eq!([0, 2, 4, 5, 9].map(seconds), [None, Some(600), Some(600), Some(60), Some(60)]);
}
