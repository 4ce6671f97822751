//! What an operator answers to each command.
//!
//! **Invariant:** each command acts, stays quiet and is refused here at least once, where it can.

use uuid::Uuid;

use super::*;
use crate::testing::{Given, given};

fn abilities(room: u32) -> Abilities {
    Abilities {
        languages: ["ru".into(), "en".into()].into(),
        skills: ["refunds".into()].into(),
        room,
        room_of_channel: [(Channel::Telegram, 1)].into(),
    }
}

fn registered() -> OperatorEvent {
    OperatorRegistered { operator: "anna".into(), name: "Анна".into(), abilities: abilities(2) }.into()
}

fn register(name: &str, abilities: Abilities) -> OperatorCommand {
    OperatorCommand::Register { operator: "anna".into(), name: name.into(), abilities }
}

fn change(name: &str, abilities: Abilities) -> OperatorCommand {
    OperatorCommand::Change { name: name.into(), abilities }
}

fn presence(presence: Presence) -> OperatorCommand {
    OperatorCommand::SetPresence { presence, reason: PresenceReason::ByThemselves }
}

fn conversation(number: u128) -> ConversationId {
    ConversationId::new(Uuid::from_u128(number))
}

fn take(number: u128, channel: Channel, by: TakenBy) -> OperatorCommand {
    OperatorCommand::Take { conversation: conversation(number), channel, by }
}

fn release(number: u128) -> OperatorCommand {
    OperatorCommand::Release { conversation: conversation(number), reason: ReleaseReason::Closed }
}

fn available() -> Given<OperatorDecider> {
    given::<OperatorDecider>([registered()]).and(presence(Presence::Available))
}

#[test]
fn an_operator_is_registered_once() {
    given::<OperatorDecider>([]).when(register("Анна", abilities(2))).then([registered()]);
    given::<OperatorDecider>([registered()]).when(register("Анна", abilities(2))).then_nothing();
    let other = register("Анна", abilities(3));
    given::<OperatorDecider>([registered()]).when(other).then_rejected(&OperatorRejection::AlreadyRegistered);
}

#[test]
fn a_change_replaces_name_and_abilities() {
    let changed = OperatorChanged { name: "Анна П.".into(), abilities: abilities(5) };
    given::<OperatorDecider>([registered()]).when(change("Анна П.", abilities(5))).then([changed.into()]);
    given::<OperatorDecider>([registered()]).when(change("Анна", abilities(2))).then_nothing();
    let unknown = given::<OperatorDecider>([]);
    unknown.when(change("Анна", abilities(2))).then_rejected(&OperatorRejection::NotRegistered);
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |abilities: Abilities, rejection: OperatorRejection| {
        given::<OperatorDecider>([]).when(register("Анна", abilities.clone())).then_rejected(&rejection);
        given::<OperatorDecider>([registered()]).when(change("Анна", abilities)).then_rejected(&rejection);
    };
    given::<OperatorDecider>([]).when(register(" ", abilities(2))).then_rejected(&OperatorRejection::BadName);
    refused(Abilities { languages: BTreeSet::new(), ..abilities(2) }, OperatorRejection::BadLanguage);
    refused(Abilities { languages: ["Russian".into()].into(), ..abilities(2) }, OperatorRejection::BadLanguage);
    refused(Abilities { skills: ["".into()].into(), ..abilities(2) }, OperatorRejection::BadSkill);
    refused(abilities(MAX_ROOM + 1), OperatorRejection::BadRoom);
}

#[test]
fn presence_is_noted_when_it_changes() {
    let came = PresenceChanged { presence: Presence::Available, reason: PresenceReason::ByThemselves };
    given::<OperatorDecider>([registered()]).when(presence(Presence::Available)).then([came.into()]);
    given::<OperatorDecider>([registered()]).when(presence(Presence::Absent)).then_nothing();
    given::<OperatorDecider>([]).when(presence(Presence::Available)).then_rejected(&OperatorRejection::NotRegistered);
}

#[test]
fn the_policy_gives_nothing_to_whoever_is_not_available() {
    let by_policy = || take(1, Channel::Email, TakenBy::Policy);
    given::<OperatorDecider>([registered()]).when(by_policy()).then_rejected(&OperatorRejection::NotAvailable);
    available().and(presence(Presence::Busy)).when(by_policy()).then_rejected(&OperatorRejection::NotAvailable);
    available().when(by_policy()).then_types(&["operator.conversation_taken"]);
    available().and(by_policy()).when(by_policy()).then_nothing();
    let left = available().and(by_policy()).and(presence(Presence::Absent));
    left.when(by_policy()).then_rejected(&OperatorRejection::NotAvailable);
}

#[test]
fn the_policy_gives_nothing_beyond_the_room_and_a_hand_may() {
    let one = || available().and(take(1, Channel::Telegram, TakenBy::Policy));
    one().when(take(2, Channel::Telegram, TakenBy::Policy)).then_rejected(&OperatorRejection::Full);
    let two = || one().and(take(2, Channel::Email, TakenBy::Policy));
    two().when(take(3, Channel::Email, TakenBy::Policy)).then_rejected(&OperatorRejection::Full);
    two().when(take(3, Channel::Email, TakenBy::Hand)).then_types(&["operator.conversation_taken"]);
    two().and(release(2)).when(take(3, Channel::Email, TakenBy::Policy)).then_types(&["operator.conversation_taken"]);
}

#[test]
fn what_is_not_held_need_not_be_released() {
    available().when(release(1)).then_nothing();
    let held = available().and(take(1, Channel::Email, TakenBy::Hand));
    assert_eq!(held.state().held().collect::<Vec<_>>(), [conversation(1)]);
    let released = ConversationReleased { conversation: conversation(1), reason: ReleaseReason::Closed };
    held.when(release(1)).then([released.into()]);
}
