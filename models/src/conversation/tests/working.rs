//! What operators do beside speaking: files, notes, tags, rest, end and beginning.
//!
//! **Invariant:** what is wished twice is written once.

use std::collections::BTreeSet;

use events::blobs::BlobRef;
use events::conversation::content::NoteContent;
use events::conversation::{
    AttachmentLost, AttachmentStored, ClockNote, ClockNoted, ConversationAssigned, ConversationClosed,
    ConversationRead, ConversationReopened, ConversationSnoozed, ConversationTagged, ConversationWoken, NoteAdded,
    ReopenReason, SpeakerChanged, WokenReason,
};
use events::envelope::Revision;
use events::seal::KeyId;
use events::service_level::ClockKind;

use super::*;
use crate::conversation::{MAX_MENTIONS, MAX_TAG_CHARS, MAX_TAGS};

use ConversationRejection as R;

fn blob() -> BlobRef {
    BlobRef { hash: "ab".repeat(32), key: KeyId(Uuid::from_u128(3)), size_bytes: 1, media_type: None }
}

fn store(index: u32) -> C {
    C::StoreAttachment { message: message(1), index, blob: blob() }
}

fn stored(index: u32) -> ConversationEvent {
    AttachmentStored { message: message(1), index, blob: blob() }.into()
}

fn lose(index: u32) -> C {
    C::LoseAttachment { message: message(1), index, reason: "gone".into() }
}

fn note(n: u128, words: &str) -> C {
    let content = NoteContent { text: words.into() };
    C::AddNote { conversation: conversation(), note: Uuid::from_u128(n), mentions: [].into(), content }
}

fn noted(n: u128, key: KeySubject) -> ConversationEvent {
    let content = Personal::new(key, NoteContent { text: "call back".into() });
    NoteAdded { note: Uuid::from_u128(n), mentions: vec![], content }.into()
}

fn set(tags: &[&str]) -> BTreeSet<String> {
    tags.iter().map(|tag| (*tag).to_owned()).collect()
}

fn tag(add: &[&str], remove: &[&str]) -> C {
    C::Tag { add: set(add), remove: set(remove) }
}

fn tagged(added: &[&str], removed: &[&str]) -> ConversationEvent {
    let list = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
    ConversationTagged { added: list(added), removed: list(removed) }.into()
}

fn assign(name: Option<&str>) -> C {
    C::Assign { operator: name.map(Into::into) }
}

fn snooze(until: i64) -> C {
    C::Snooze { until: at(until), now: at(10) }
}

fn wake(reason: WokenReason, now: i64) -> C {
    C::Wake { reason, now: at(now) }
}

fn read(up_to: u64) -> C {
    C::MarkRead { operator: "ann".into(), up_to: Revision(up_to) }
}

#[test]
fn nothing_is_done_with_a_conversation_that_does_not_exist() {
    let commands = [
        store(0),
        lose(0),
        note(1, "call back"),
        tag(&["vip"], &[]),
        assign(Some("ann")),
        snooze(100),
        wake(WokenReason::ByHand, 10),
        close(),
        C::Reopen,
        read(0),
    ];
    for command in commands {
        refused(nothing_yet(), command, &R::NotOpen);
    }
}

#[test]
fn a_file_is_stored_or_lost_once() {
    direct().when(store(0)).then([stored(0)]);
    direct().and(store(0)).when(store(0)).then_nothing();
    direct().and(store(0)).when(store(1)).then([stored(1)]);
    let lost = AttachmentLost { message: message(1), index: 0, reason: "gone".into() };
    direct().when(lose(0)).then([lost.into()]);
    direct().and(lose(0)).when(lose(0)).then_nothing();
}

#[test]
fn a_stored_file_is_not_lost_and_a_lost_one_can_be_found() {
    direct().and(store(0)).when(lose(0)).then_nothing();
    direct().and(lose(0)).when(store(0)).then([stored(0)]);
}

#[test]
fn the_files_of_an_edited_message_are_fetched_anew() {
    let edit = C::ReceiveEdit {
        thread: thread(),
        message: message(1),
        author: customer(1),
        kind: MessageKind::Photo,
        edited_at: at(5),
        content: text("another picture"),
    };
    direct().and(store(0)).and(edit).when(store(0)).then([stored(0)]);
}

#[test]
fn a_note_is_sealed_for_the_customer_it_speaks_of_or_for_the_group() {
    direct().when(note(1, "call back")).then([noted(1, of(customer(1)))]);
    in_group().when(note(1, "call back")).then([noted(1, of_group())]);
}

#[test]
fn a_note_is_written_once_and_says_something() {
    direct().and(note(1, "call back")).when(note(1, "call back")).then_nothing();
    direct().and(note(1, "call back")).when(note(2, "call back")).then([noted(2, of(customer(1)))]);
    refused(direct(), note(1, " "), &R::BadText);
}

#[test]
fn tags_are_added_and_taken_away_as_far_as_they_change_anything() {
    direct().when(tag(&["vip"], &["spam"])).then([tagged(&["vip"], &[])]);
    let has = || direct().and(tag(&["vip"], &[]));
    has().when(tag(&["vip"], &[])).then_nothing();
    has().when(tag(&["vip", "new"], &["vip"])).then([tagged(&["new"], &["vip"])]);
    direct().when(tag(&[], &["vip"])).then_nothing();
}

#[test]
fn a_tag_has_a_reasonable_length() {
    for bad in ["", " ", &"x".repeat(MAX_TAG_CHARS + 1)] {
        refused(direct(), tag(&[bad], &[]), &R::BadTag);
    }
}

#[test]
fn tags_have_a_limit_that_never_keeps_one_from_being_taken_away() {
    let many: Vec<String> = (0..=MAX_TAGS).map(|n| format!("tag {n}")).collect();
    let all: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(direct(), tag(&all, &[]), &R::BadTag);
    let full = || direct().and(tag(&all[1..], &[]));
    refused(full(), tag(&all[..1], &[]), &R::BadTag);
    full().when(tag(&all[..1], &all[1..2])).then([tagged(&all[..1], &all[1..2])]);
    let overfull = given::<ConversationDecider>([
        opened(ConversationKind::Direct, of_group()),
        tagged(&all, &[]),
        tagged(&["more"], &[]),
    ]);
    overfull.when(tag(&[], &["more"])).then([tagged(&[], &["more"])]);
}

#[test]
fn a_conversation_becomes_somebodys_work_and_nobodys_again() {
    direct()
        .when(assign(Some("ann")))
        .then([ConversationAssigned { operator: Some("ann".into()), reason: None }.into()]);
    direct().and(assign(Some("ann"))).when(assign(Some("ann"))).then_nothing();
    direct()
        .and(assign(Some("ann")))
        .when(assign(None))
        .then([ConversationAssigned { operator: None, reason: None }.into()]);
    direct().when(assign(None)).then_nothing();
}

#[test]
fn a_conversation_rests_until_a_time_to_come() {
    direct().when(snooze(100)).then([ConversationSnoozed { until: at(100) }.into()]);
    direct().and(snooze(100)).when(snooze(100)).then_nothing();
    direct().and(snooze(100)).when(snooze(200)).then([ConversationSnoozed { until: at(200) }.into()]);
    for until in [9, 10] {
        refused(direct(), snooze(until), &R::NotInFuture);
    }
    refused(direct().and(close()), snooze(100), &R::Closed);
}

#[test]
fn a_resting_conversation_wakes_once() {
    let woken = |reason| [ConversationWoken { reason }.into()];
    let resting = || direct().and(snooze(100));
    resting().when(wake(WokenReason::ByHand, 20)).then(woken(WokenReason::ByHand));
    resting().when(wake(WokenReason::TimeCame, 100)).then(woken(WokenReason::TimeCame));
    direct().when(wake(WokenReason::ByHand, 20)).then_nothing();
    direct().when(wake(WokenReason::TimeCame, 20)).then_nothing();
    resting().and(wake(WokenReason::ByHand, 20)).when(wake(WokenReason::TimeCame, 100)).then_nothing();
}

#[test]
fn the_alarm_of_an_earlier_rest_does_not_end_a_longer_one() {
    direct().and(snooze(100)).and(snooze(200)).when(wake(WokenReason::TimeCame, 100)).then_nothing();
}

#[test]
fn closing_ends_the_rest() {
    direct().and(snooze(100)).and(close()).when(wake(WokenReason::TimeCame, 100)).then_nothing();
}

#[test]
fn an_episode_is_closed_once_for_a_reason_and_releases_the_speaker() {
    let closed = || ConversationClosed { episode: 1, reason: "resolved".into() };
    direct().when(close()).then([closed().into()]);
    direct().and(close()).when(close()).then_nothing();
    let released = SpeakerChanged { speaker: Speaker::Nobody, reason: "closed".into() };
    direct().and(queue(5, operator("ann"))).when(close()).then([released.into(), closed().into()]);
    for reason in ["", " ", &"x".repeat(201)] {
        refused(direct(), C::Close { reason: reason.into() }, &R::BadReason);
    }
}

#[test]
fn a_closed_conversation_is_reopened_by_hand_unless_it_moved() {
    let reopened = ConversationReopened { episode: 2, reason: ReopenReason::ByHand };
    direct().and(close()).when(C::Reopen).then([reopened.into()]);
    direct().when(C::Reopen).then_nothing();
    let moved = C::Migrate { thread: group(), to: ConversationId::new(Uuid::from_u128(2)), outside: outside() };
    refused(in_group().and(moved), C::Reopen, &R::Migrated);
}

#[test]
fn a_note_names_who_is_to_see_it() {
    let mentioning = |names: &[&str]| C::AddNote {
        conversation: conversation(),
        note: Uuid::from_u128(1),
        mentions: names.iter().map(|name| (*name).into()).collect(),
        content: NoteContent { text: "call back".into() },
    };
    let content = Personal::new(of(customer(1)), NoteContent { text: "call back".into() });
    let mentions = vec!["ann".into(), "bob".into()];
    direct().when(mentioning(&["bob", "ann"])).then([NoteAdded { note: Uuid::from_u128(1), mentions, content }.into()]);
    refused(direct(), mentioning(&[" "]), &R::BadMention);
    let many: Vec<String> = (0..=MAX_MENTIONS).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(direct(), mentioning(&many), &R::BadMention);
}

#[test]
fn what_is_noted_of_a_clock_is_noted_once() {
    let noted =
        |started: i64, note| ClockNoted { clock: ClockKind::NextResponse, started_at: at(started), note, due: at(90) };
    let command = |started, note| C::NoteClock(noted(started, note));
    direct().when(command(1, ClockNote::Warning)).then([noted(1, ClockNote::Warning).into()]);
    let warned = || direct().and(command(1, ClockNote::Warning));
    warned().when(command(1, ClockNote::Warning)).then_nothing();
    warned().when(command(1, ClockNote::Breach)).then([noted(1, ClockNote::Breach).into()]);
    warned().when(command(2, ClockNote::Warning)).then([noted(2, ClockNote::Warning).into()]);
    refused(nothing_yet(), command(1, ClockNote::Breach), &R::NotOpen);
}

#[test]
fn an_operator_reads_forwards_only_and_not_beyond_the_end() {
    let marked = |up_to| ConversationRead { operator: "ann".into(), up_to: Revision(up_to) };
    direct().when(read(2)).then([marked(2).into()]);
    direct().and(read(1)).when(read(1)).then_nothing();
    direct().and(read(2)).when(read(1)).then_nothing();
    direct().and(read(1)).when(read(2)).then([marked(2).into()]);
    refused(direct(), read(3), &R::NoSuchRevision);
    let by_bob = C::MarkRead { operator: "bob".into(), up_to: Revision(1) };
    direct().and(read(2)).when(by_bob).then_types(&["conversation.read"]);
}
