//! Who speaks to the customer.
//!
//! **Invariant:** one speaker; no agent while a person holds the conversation or after it was closed.

use events::blobs::BlobRef;
use events::conversation::content::{Attachment, AttachmentLocation};
use events::conversation::{ConversationReopened, ReopenReason, SpeakerChanged};
use events::envelope::Actor;
use events::seal::KeyId;

use super::*;
use crate::conversation::MAX_TEXT_CHARS;

use ConversationRejection as R;

fn speaks(speaker: Speaker, reason: &str) -> ConversationEvent {
    SpeakerChanged { speaker, reason: reason.into() }.into()
}

fn says(n: u128) -> ConversationEvent {
    queued(n, 1, Some(customer(1)), of(customer(1)))
}

fn hand(by: Actor, to: Speaker) -> C {
    C::HandOver { by, to, reason: "handed_over".into() }
}

fn person() -> Actor {
    Actor::Operator("ann".into())
}

fn machine(name: &str) -> Actor {
    Actor::Agent(name.into())
}

fn saying(content: MessageContent) -> C {
    C::Queue(Outgoing { content, ..outgoing(5, operator("ann")) })
}

fn file() -> Attachment {
    let blob = BlobRef { hash: "ab".repeat(32), key: KeyId(Uuid::from_u128(3)), size_bytes: 1, media_type: None };
    Attachment {
        kind: MessageKind::Document,
        file_name: None,
        media_type: None,
        size_bytes: None,
        dimensions: None,
        duration_s: None,
        inline: false,
        location: AttachmentLocation::Blob { blob },
    }
}

#[test]
fn whoever_answers_first_speaks_and_is_sealed_for_the_customer_addressed() {
    for first in [operator("ann"), agent("greeter")] {
        direct().when(queue(5, first.clone())).then([speaks(first, "first_answer"), says(5)]);
    }
}

#[test]
fn whoever_speaks_goes_on_speaking() {
    for first in [operator("ann"), agent("greeter")] {
        direct().and(queue(5, first.clone())).when(queue(6, first)).then([says(6)]);
    }
}

#[test]
fn in_a_group_an_answer_is_sealed_for_the_group_and_addresses_nobody() {
    let answer = in_group().and(hand(person(), operator("ann"))).when(queue(5, operator("ann")));
    answer.then([queued(5, 1, None, of_group())]);
}

#[test]
fn an_operator_takes_over_from_an_agent_by_writing() {
    let held = direct().and(queue(5, agent("greeter")));
    held.when(queue(6, operator("ann"))).then([speaks(operator("ann"), "taken_over"), says(6)]);
}

#[test]
fn nobody_speaks_while_somebody_else_holds_the_conversation() {
    let held = R::HeldByOther("ann".into());
    let by_ann = || direct().and(queue(5, operator("ann")));
    refused(by_ann(), queue(6, agent("greeter")), &held);
    refused(by_ann(), queue(6, operator("bob")), &held);
    let by_greeter = direct().and(queue(5, agent("greeter")));
    refused(by_greeter, queue(6, agent("seller")), &R::HeldByOther("greeter".into()));
}

#[test]
fn an_agent_does_not_pass_for_the_operator_of_the_same_name() {
    refused(direct().and(queue(5, operator("ann"))), queue(6, agent("ann")), &R::HeldByOther("ann".into()));
    refused(direct().and(queue(5, operator("ann"))), hand(machine("ann"), agent("ann")), &R::HeldByOther("ann".into()));
}

#[test]
fn a_message_needs_a_speaker() {
    refused(direct(), queue(5, Speaker::Nobody), &R::NoSpeaker);
    refused(direct().and(close()), queue(5, Speaker::Nobody), &R::NoSpeaker);
}

#[test]
fn an_operators_message_begins_the_next_episode_of_a_closed_conversation() {
    direct().and(close()).when(queue(5, operator("ann"))).then([
        ConversationReopened { episode: 2, reason: ReopenReason::WeWrote }.into(),
        speaks(operator("ann"), "first_answer"),
        queued(5, 2, Some(customer(1)), of(customer(1))),
    ]);
}

#[test]
fn an_agent_does_not_write_to_a_closed_conversation() {
    refused(direct().and(close()), queue(5, agent("greeter")), &R::Closed);
    let held = direct().and(queue(5, agent("greeter"))).and(close());
    refused(held, queue(6, agent("greeter")), &R::Closed);
}

#[test]
fn a_message_id_is_used_once() {
    refused(direct(), queue(1, operator("ann")), &R::MessageExists);
    refused(direct().and(queue(5, operator("ann"))), queue(5, operator("ann")), &R::MessageExists);
}

#[test]
fn nothing_is_said_in_a_conversation_that_does_not_exist_or_to_nobody() {
    refused(nothing_yet(), queue(5, operator("ann")), &R::NotOpen);
    let unknown = nothing_yet().and(C::Retract { thread: thread(), message: message(1) });
    refused(unknown, queue(5, operator("ann")), &R::NoAddressee);
}

#[test]
fn a_message_says_something_and_not_too_much() {
    let long = text(&"x".repeat(MAX_TEXT_CHARS + 1));
    for content in [MessageContent::default(), text(""), text(" \n"), long.clone()] {
        refused(direct(), saying(content), &R::BadText);
    }
    refused(direct(), saying(MessageContent { attachments: vec![file()], ..long }), &R::BadText);
    let types = ["conversation.speaker_changed", "conversation.message_queued"];
    for content in [MessageContent::default(), text(""), text("look")] {
        direct().when(saying(MessageContent { attachments: vec![file()], ..content })).then_types(&types);
    }
}

#[test]
fn a_person_hands_over_whoever_holds_it() {
    let moved = |to: Speaker| speaks(to, "handed_over");
    direct().when(hand(person(), agent("greeter"))).then([moved(agent("greeter"))]);
    let held = || direct().and(queue(5, operator("bob")));
    held().when(hand(person(), operator("ann"))).then([moved(operator("ann"))]);
    held().when(hand(person(), Speaker::Nobody)).then([moved(Speaker::Nobody)]);
    held().and(hand(person(), agent("greeter"))).when(queue(6, agent("greeter"))).then([says(6)]);
}

#[test]
fn handing_over_to_whoever_holds_it_does_nothing() {
    direct().and(queue(5, operator("bob"))).when(hand(person(), operator("bob"))).then_nothing();
    direct().when(hand(person(), Speaker::Nobody)).then_nothing();
}

#[test]
fn an_agent_hands_over_what_it_holds_and_takes_nothing_from_others() {
    let held = direct().and(queue(5, agent("greeter")));
    held.when(hand(machine("greeter"), operator("ann"))).then([speaks(operator("ann"), "handed_over")]);
    direct().when(hand(machine("greeter"), agent("greeter"))).then([speaks(agent("greeter"), "handed_over")]);
    let by_ann = || direct().and(queue(5, operator("ann")));
    refused(by_ann(), hand(machine("greeter"), agent("greeter")), &R::HeldByOther("ann".into()));
    refused(by_ann(), hand(machine("greeter"), Speaker::Nobody), &R::HeldByOther("ann".into()));
    let by_seller = direct().and(queue(5, agent("seller")));
    refused(by_seller, hand(machine("greeter"), agent("greeter")), &R::HeldByOther("seller".into()));
}

#[test]
fn only_an_open_conversation_is_handed_over_and_for_a_reason() {
    refused(nothing_yet(), hand(person(), operator("ann")), &R::NotOpen);
    refused(direct().and(close()), hand(person(), operator("ann")), &R::Closed);
    for reason in ["", " ", &"x".repeat(201)] {
        let hand = C::HandOver { by: person(), to: operator("ann"), reason: reason.into() };
        refused(direct(), hand, &R::BadReason);
    }
}

#[test]
fn nobody_speaks_after_the_end_of_an_episode() {
    let closed = direct().and(queue(5, operator("ann"))).and(close());
    assert_eq!(closed.state().speaker(), &Speaker::Nobody);
    assert_eq!(closed.and(receive(2)).state().speaker(), &Speaker::Nobody);
}
