//! What customers do: written, changed, taken back, in any order.
//!
//! **Invariant:** no test here expects a refusal: what a customer did is always taken in.

use std::collections::BTreeSet;

use events::conversation::content::ActivityDetail;
use events::conversation::{
    ActivityNoted, ConversationClosed, ConversationMigrated, ConversationReopened, ConversationWoken, MessageEdited,
    MessageRetracted, ParticipantLeft, ReactionsChanged, ReopenReason, SpeakerChanged, WokenReason,
};

use super::*;

const REPORTS: [MessageMark; 3] = [MessageMark::Bounce, MessageMark::DelayNotice, MessageMark::Complaint];
const MACHINES: [MessageMark; 2] = [MessageMark::AutoReply, MessageMark::Bulk];
const PEOPLE: [MessageMark; 4] =
    [MessageMark::Forwarded, MessageMark::Damaged, MessageMark::GuessedCharset, MessageMark::ViaBot];

fn edit(thread: ThreadFacts, n: u128, author: Occupancy) -> C {
    C::ReceiveEdit {
        thread,
        message: message(n),
        author,
        kind: MessageKind::Text,
        edited_at: at(5),
        content: text("hello"),
    }
}

fn edited(n: u128, author: Occupancy, key: KeySubject) -> ConversationEvent {
    MessageEdited {
        message: message(n),
        author,
        kind: MessageKind::Text,
        edited_at: at(5),
        content: Personal::new(key, text("hello")),
    }
    .into()
}

fn react(thread: ThreadFacts, by: Option<Occupancy>, second: i64) -> C {
    C::React { thread, message: message(1), by, changed_at: at(second), reactions: vec!["👍".into()] }
}

fn reacted(by: Option<Occupancy>, second: i64) -> ConversationEvent {
    ReactionsChanged { message: message(1), by, changed_at: at(second), reactions: vec!["👍".into()] }.into()
}

fn press(thread: ThreadFacts, by: Option<Occupancy>) -> C {
    C::NoteActivity {
        thread,
        activity: "callback_query".into(),
        activity_id: Uuid::from_u128(9),
        by,
        message: None,
        detail: ActivityDetail::default(),
    }
}

fn pressed(by: Option<Occupancy>, key: KeySubject) -> ConversationEvent {
    ActivityNoted {
        activity: "callback_query".into(),
        activity_id: Uuid::from_u128(9),
        by,
        message: None,
        detail: Personal::new(key, ActivityDetail::default()),
    }
    .into()
}

fn migrate() -> C {
    C::Migrate { thread: group(), to: ConversationId::new(Uuid::from_u128(2)), outside: outside() }
}

fn migrated() -> ConversationEvent {
    let thread = Personal::new(of_group(), outside());
    ConversationMigrated { to: ConversationId::new(Uuid::from_u128(2)), thread }.into()
}

#[test]
fn the_first_message_opens_a_direct_conversation_sealed_for_its_author() {
    let author = customer(1);
    nothing_yet().when(receive(1)).then([
        opened(ConversationKind::Direct, of(author)),
        joined(author),
        received(1, 1, author, &[], of(author)),
    ]);
}

#[test]
fn the_first_message_of_a_group_is_sealed_for_the_group() {
    nothing_yet().when(marked(group(), 1, customer(1), &[])).then([
        opened(ConversationKind::Group, of_group()),
        joined(customer(1)),
        received(1, 1, customer(1), &[], of_group()),
    ]);
}

#[test]
fn the_same_message_again_does_nothing_even_when_the_conversation_was_closed_since() {
    direct().when(receive(1)).then_nothing();
    direct().and(close()).when(receive(1)).then_nothing();
}

#[test]
fn a_burst_opens_one_conversation() {
    direct().and(receive(2)).when(receive(3)).then([received(3, 1, customer(1), &[], of(customer(1)))]);
}

#[test]
fn a_newcomer_in_a_group_joins_with_the_first_message() {
    let second = marked(group(), 2, customer(2), &[]);
    in_group().when(second).then([joined(customer(2)), received(2, 1, customer(2), &[], of_group())]);
}

#[test]
fn a_group_stays_a_group_whatever_a_later_message_says() {
    let odd = marked(thread(), 2, customer(1), &[]);
    in_group().when(odd).then([received(2, 1, customer(1), &[], of_group())]);
}

#[test]
fn a_customers_message_begins_the_next_episode_of_a_closed_conversation() {
    let reopened = ConversationReopened { episode: 2, reason: ReopenReason::CustomerWrote };
    let written = received(2, 2, customer(1), &[], of(customer(1)));
    direct().and(close()).when(receive(2)).then([reopened.into(), written]);
}

#[test]
fn a_customers_message_wakes_a_resting_conversation() {
    let resting = direct().and(C::Snooze { until: at(100), now: at(0) });
    let woken = ConversationWoken { reason: WokenReason::CustomerWrote };
    resting.when(receive(2)).then([woken.into(), received(2, 1, customer(1), &[], of(customer(1)))]);
}

#[test]
fn what_a_machine_sent_neither_reopens_nor_wakes() {
    for mark in REPORTS.into_iter().chain(MACHINES) {
        let sent = marked(thread(), 2, customer(1), &[mark]);
        let written = received(2, 1, customer(1), &[mark], of(customer(1)));
        direct().and(close()).when(sent.clone()).then([written.clone()]);
        direct().and(C::Snooze { until: at(100), now: at(0) }).when(sent).then([written]);
    }
}

#[test]
fn marks_that_do_not_speak_of_a_machine_reopen() {
    for mark in PEOPLE {
        let sent = marked(thread(), 2, customer(1), &[mark]);
        let types = ["conversation.reopened", "conversation.message_received"];
        direct().and(close()).when(sent).then_types(&types);
    }
}

#[test]
fn an_auto_reply_can_be_the_first_that_is_heard() {
    let sent = marked(thread(), 1, customer(1), &[MessageMark::AutoReply]);
    let types = ["conversation.opened", "conversation.participant_joined", "conversation.message_received"];
    nothing_yet().when(sent).then_types(&types);
}

#[test]
fn a_bounce_is_sealed_for_the_customer_it_speaks_of_and_its_sender_takes_no_part() {
    for mark in REPORTS {
        let sent = marked(thread(), 2, customer(66), &[mark]);
        direct().when(sent.clone()).then([received(2, 1, customer(66), &[mark], of(customer(1)))]);
        assert_eq!(direct().and(sent).state().addressee(), Some(customer(1)));
    }
}

#[test]
fn a_strangers_auto_reply_is_theirs_but_does_not_become_the_address_of_answers() {
    for mark in MACHINES {
        let sent = marked(thread(), 2, customer(66), &[mark]);
        let written = received(2, 1, customer(66), &[mark], of(customer(66)));
        direct().when(sent.clone()).then([joined(customer(66)), written]);
        assert_eq!(direct().and(sent).state().addressee(), Some(customer(1)));
    }
}

#[test]
fn whoever_wrote_last_in_person_is_answered() {
    let colleague = direct().and(marked(thread(), 2, customer(2), &[]));
    assert_eq!(colleague.state().addressee(), Some(customer(2)));
    assert_eq!(colleague.and(receive(3)).state().addressee(), Some(customer(1)));
}

#[test]
fn the_next_holder_of_the_contact_point_gets_a_key_of_their_own_and_the_answers() {
    let heir = holder(1, 2);
    let sent = marked(thread(), 2, heir, &[]);
    direct().when(sent.clone()).then([joined(heir), received(2, 1, heir, &[], of(heir))]);
    direct().and(sent).when(queue(3, operator("ann"))).then([
        SpeakerChanged { speaker: operator("ann"), reason: "first_answer".into() }.into(),
        queued(3, 1, Some(heir), of(heir)),
    ]);
}

#[test]
fn the_next_holder_is_answered_also_after_no_more_than_a_press_of_a_button() {
    let heir = holder(1, 2);
    direct().when(press(thread(), Some(heir))).then([joined(heir), pressed(Some(heir), of(heir))]);
    assert_eq!(direct().and(press(thread(), Some(heir))).state().addressee(), Some(heir));
}

#[test]
fn an_edit_is_a_new_event_and_may_come_before_its_message() {
    let author = customer(1);
    direct().when(edit(thread(), 1, author)).then([edited(1, author, of(author))]);
    nothing_yet().when(edit(thread(), 1, author)).then([
        opened(ConversationKind::Direct, of(author)),
        joined(author),
        edited(1, author, of(author)),
    ]);
    let late = nothing_yet().and(edit(thread(), 1, author));
    late.when(receive(1)).then([received(1, 1, author, &[], of(author))]);
}

#[test]
fn an_edit_in_a_group_is_sealed_for_the_group() {
    in_group().when(edit(group(), 1, customer(1))).then([edited(1, customer(1), of_group())]);
}

#[test]
fn an_edit_does_not_reopen() {
    direct().and(close()).when(edit(thread(), 1, customer(1))).then([edited(1, customer(1), of(customer(1)))]);
}

#[test]
fn times_are_decided_as_they_are_stored() {
    let fine = C::ReceiveEdit {
        thread: thread(),
        message: message(1),
        author: customer(1),
        kind: MessageKind::Text,
        edited_at: at(5) + TimeDelta::nanoseconds(999),
        content: text("hello"),
    };
    direct().when(fine).then([edited(1, customer(1), of(customer(1)))]);
}

#[test]
fn a_message_is_taken_back_once_also_before_it_came() {
    let retract = || C::Retract { thread: thread(), message: message(1) };
    let retracted = MessageRetracted { message: message(1) };
    direct().when(retract()).then([retracted.clone().into()]);
    direct().and(retract()).when(retract()).then_nothing();
    nothing_yet().when(retract()).then([opened(ConversationKind::Direct, of_group()), retracted.into()]);
    nothing_yet()
        .and(retract())
        .when(receive(1))
        .then_types(&["conversation.participant_joined", "conversation.message_received"]);
}

#[test]
fn of_two_changes_of_reactions_the_later_holds_in_any_order_of_arrival() {
    let by = Some(customer(1));
    direct().when(react(thread(), by, 5)).then([reacted(by, 5)]);
    direct().and(react(thread(), by, 5)).when(react(thread(), by, 4)).then_nothing();
    direct().and(react(thread(), by, 5)).when(react(thread(), by, 6)).then([reacted(by, 6)]);
}

#[test]
fn reactions_of_different_people_are_counted_apart() {
    let given = in_group().and(react(group(), Some(customer(1)), 5)).and(react(group(), None, 5));
    given.when(react(group(), Some(customer(2)), 4)).then([joined(customer(2)), reacted(Some(customer(2)), 4)]);
}

#[test]
fn a_reaction_can_be_the_first_that_is_heard() {
    let by = customer(1);
    let expected = [opened(ConversationKind::Direct, of(by)), joined(by), reacted(Some(by), 5)];
    nothing_yet().when(react(thread(), Some(by), 5)).then(expected);
}

#[test]
fn a_press_of_a_button_is_noted_once_and_opens_the_conversation() {
    let by = customer(1);
    let first = [opened(ConversationKind::Direct, of(by)), joined(by), pressed(Some(by), of(by))];
    nothing_yet().when(press(thread(), Some(by))).then(first);
    nothing_yet().and(press(thread(), Some(by))).when(press(thread(), Some(by))).then_nothing();
}

#[test]
fn what_nobody_in_particular_did_is_sealed_for_whoever_would_be_answered() {
    direct().when(press(thread(), None)).then([pressed(None, of(customer(1)))]);
    in_group().when(press(group(), None)).then([pressed(None, of_group())]);
    nothing_yet()
        .when(press(thread(), None))
        .then([opened(ConversationKind::Direct, of_group()), pressed(None, of_group())]);
}

#[test]
fn a_customer_joins_once_and_leaves_once() {
    let join = || C::Join { thread: group(), participant: customer(2) };
    let leave = || C::Leave { participant: customer(2) };
    in_group().when(join()).then([joined(customer(2))]);
    in_group().and(join()).when(join()).then_nothing();
    in_group().and(join()).when(leave()).then([ParticipantLeft { participant: customer(2) }.into()]);
    in_group().when(leave()).then_nothing();
    nothing_yet().when(leave()).then_nothing();
    in_group().and(join()).and(leave()).when(join()).then([joined(customer(2))]);
    let all = [opened(ConversationKind::Group, of_group()), joined(customer(2))];
    nothing_yet().when(join()).then(all);
}

#[test]
fn a_group_that_moved_ends_here_with_nobody_speaking() {
    let closed = |reason: &str| ConversationClosed { episode: 1, reason: reason.into() }.into();
    in_group().when(migrate()).then([migrated(), closed("migrated")]);
    let released = SpeakerChanged { speaker: Speaker::Nobody, reason: "closed".into() };
    let spoken = in_group().and(queue(5, operator("ann")));
    spoken.when(migrate()).then([migrated(), released.into(), closed("migrated")]);
    in_group().and(migrate()).when(migrate()).then_nothing();
    in_group().and(close()).when(migrate()).then([migrated()]);
    let heard = [opened(ConversationKind::Group, of_group()), migrated(), closed("migrated")];
    nothing_yet().when(migrate()).then(heard);
}

#[test]
fn a_late_message_to_the_old_address_of_a_group_is_seen_and_answered_at_the_new_one() {
    let late = in_group().and(migrate()).and(marked(group(), 2, customer(1), &[]));
    assert_eq!(late.state().episode(), 2);
    refused(late, queue(3, operator("ann")), &ConversationRejection::Migrated);
}

#[test]
fn what_is_known_of_a_conversation_follows_its_first_message() {
    let given = direct();
    let state = given.state();
    assert_eq!(state.account(), Some(thread().account));
    assert_eq!(state.channel(), Some(Channel::Telegram));
    assert_eq!(state.kind(), Some(ConversationKind::Direct));
    assert!(state.is_open() && state.queue().is_empty());
    assert_eq!(in_group().state().addressee(), None);
    assert_eq!(direct().and(C::Tag { add: ["vip".into()].into(), remove: BTreeSet::new() }).state().episode(), 1);
}
