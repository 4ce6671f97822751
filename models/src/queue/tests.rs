//! What a queue answers to each command.
//!
//! **Invariant:** each command acts, stays quiet and is refused here at least once.

use std::collections::BTreeSet;

use events::queue::Fallback;
use uuid::Uuid;

use super::*;
use crate::testing::given;

fn queue(number: u128) -> QueueId {
    QueueId::new(Uuid::from_u128(number))
}

fn rules(priority: u8) -> QueueRules {
    QueueRules {
        accounts: BTreeSet::new(),
        skills: ["refunds".into()].into(),
        priority,
        calendar: None,
        fallback: Some(Fallback { queue: queue(2), after_s: 600 }),
        service_level: None,
    }
}

fn open(name: &str, rules: QueueRules) -> QueueCommand {
    QueueCommand::Open { queue: queue(1), name: name.into(), rules }
}

fn change(name: &str, rules: QueueRules) -> QueueCommand {
    QueueCommand::Change { queue: queue(1), name: name.into(), rules }
}

fn opened() -> QueueEvent {
    QueueOpened { name: "Возвраты".into(), rules: rules(3) }.into()
}

fn closed() -> QueueEvent {
    QueueClosed {}.into()
}

#[test]
fn a_queue_is_opened_once() {
    given::<QueueDecider>([]).when(open("Возвраты", rules(3))).then([opened()]);
    given::<QueueDecider>([opened()]).when(open("Возвраты", rules(3))).then_nothing();
    given::<QueueDecider>([opened()]).when(open("Возвраты", rules(4))).then_rejected(&QueueRejection::Exists);
}

#[test]
fn a_change_replaces_name_and_rules_and_opens_a_closed_one() {
    let changed = || QueueEvent::from(QueueChanged { name: "Возвраты".into(), rules: rules(3) });
    given::<QueueDecider>([opened()]).when(change("Возвраты", rules(3))).then_nothing();
    given::<QueueDecider>([opened(), closed()]).when(change("Возвраты", rules(3))).then([changed()]);
    given::<QueueDecider>([]).when(change("Возвраты", rules(3))).then_rejected(&QueueRejection::NoSuchQueue);
    assert_eq!(given::<QueueDecider>([opened(), closed(), changed()]).state().rules(), Some(&rules(3)));
}

#[test]
fn a_closed_queue_has_no_rules() {
    given::<QueueDecider>([opened()]).when(QueueCommand::Close).then([closed()]);
    given::<QueueDecider>([opened(), closed()]).when(QueueCommand::Close).then_nothing();
    given::<QueueDecider>([]).when(QueueCommand::Close).then_rejected(&QueueRejection::NoSuchQueue);
    assert_eq!(given::<QueueDecider>([opened(), closed()]).state().rules(), None);
}

#[test]
fn what_cannot_be_is_refused() {
    let itself = QueueRules { fallback: Some(Fallback { queue: queue(1), after_s: 1 }), ..rules(3) };
    for (command, rejection) in [
        (open("", rules(3)), QueueRejection::BadName),
        (open("Возвраты", rules(MAX_PRIORITY + 1)), QueueRejection::BadPriority),
        (open("Возвраты", QueueRules { skills: ["".into()].into(), ..rules(3) }), QueueRejection::BadSkill),
        (open("Возвраты", itself), QueueRejection::FallsBackToItself),
    ] {
        given::<QueueDecider>([]).when(command).then_rejected(&rejection);
    }
}
