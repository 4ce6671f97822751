//! Tests of conversation rows and the inbox.
//!
//! **Invariant:** every test makes its own events and store.

use events::conversation::content::NoteContent;
use events::conversation::{
    ConversationAssigned, ConversationClosed, ConversationEvent, ConversationRead, ConversationReopened,
    ConversationSnoozed, ConversationTagged, ConversationWoken, NoteAdded, ParticipantLeft, ReopenReason, Speaker,
    SpeakerChanged, WokenReason,
};
use events::envelope::Revision;
use events::ids::AccountId;
use events::seal::Personal;
use events::values::Channel;
use events::viewer::Role;

use super::{Assignee, ConversationFilter, ConversationSort, ConversationStatus, ConversationView, EndedSnooze};
use crate::store::Query;
use crate::testing::{Story, conversation_id, id, person, queued, received, second, viewer};
use crate::views::{Order, Page, PageRequest};

async fn read(story: &Story) -> ConversationView {
    story.views().await.conversation(&viewer(Role::Operator), conversation_id(100)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_conversation_goes_through_its_states() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    let view = read(&story).await;
    assert_eq!((view.status, view.episode, view.channel), (ConversationStatus::Open, 1, Channel::Email));
    assert_eq!((view.speaker, view.assignee, view.waiting_since), (Speaker::Nobody, None, None));
    assert_eq!(view.participants[0].participant, person(1));

    story.add(conversation, received(200, 1, "hello"));
    let waiting = read(&story).await.waiting_since;
    assert!(waiting.is_some());
    story.add(conversation, received(201, 1, "anybody?"));
    assert_eq!(read(&story).await.waiting_since, waiting, "the first unanswered message counts");
    story.add(conversation, queued(202, 1, "yes"));
    assert_eq!(read(&story).await.waiting_since, None);

    story.add(
        conversation,
        ConversationEvent::from(ConversationAssigned { operator: Some("olga".into()), reason: None }),
    );
    let speaker = Speaker::Operator("olga".into());
    let changed = SpeakerChanged { speaker: speaker.clone(), reason: "first_answer".into() };
    story.add(conversation, ConversationEvent::from(changed));
    story.add(conversation, ConversationEvent::from(ConversationSnoozed { until: second(500) }));
    let view = read(&story).await;
    assert_eq!((view.status, view.snoozed_until), (ConversationStatus::Snoozed, Some(second(500))));
    assert_eq!((view.speaker, view.assignee.as_deref()), (speaker, Some("olga")));

    story.add(conversation, ConversationEvent::from(ConversationClosed { episode: 1, reason: "resolved".into() }));
    let view = read(&story).await;
    assert_eq!((view.status, view.closed_reason.as_deref()), (ConversationStatus::Closed, Some("resolved")));
    assert_eq!(view.snoozed_until, None);
    let reopened = ConversationReopened { episode: 2, reason: ReopenReason::CustomerWrote };
    story.add(conversation, ConversationEvent::from(reopened));
    let view = read(&story).await;
    assert_eq!((view.status, view.episode, view.closed_reason), (ConversationStatus::Open, 2, None));
}

#[tokio::test]
async fn snoozes_that_have_ended_are_listed_by_their_time() {
    let mut story = Story::default();
    let conversations = [100, 101, 102, 103, 104].map(|number| (number, story.conversation(number, number - 99)));
    for ((_, conversation), until) in conversations.iter().zip([30, 10, 20, 40, 10]) {
        story.add(*conversation, ConversationEvent::from(ConversationSnoozed { until: second(until) }));
    }
    let woken = ConversationWoken { reason: WokenReason::CustomerWrote };
    story.add(conversations[4].1, ConversationEvent::from(woken));
    let views = story.views().await;
    let first = PageRequest::first(2, Order::Ascending);
    let page = views.ended_snoozes(second(30), &first).await.unwrap();
    let of =
        |page: &Page<EndedSnooze>| page.items.iter().map(|item| (item.conversation, item.until)).collect::<Vec<_>>();
    assert_eq!(of(&page), [(conversation_id(101), second(10)), (conversation_id(102), second(20))]);
    let next = PageRequest { after: page.next(), ..first };
    let page = views.ended_snoozes(second(30), &next).await.unwrap();
    assert_eq!(of(&page), [(conversation_id(100), second(30))]);
    assert_eq!((page.more, page.items[0].tenant.as_str()), (false, viewer(Role::Operator).tenant.as_str()));
    let plan = views.store().read(vec![Query::new(
        "EXPLAIN QUERY PLAN SELECT tenant, conversation, snoozed_until FROM conversation WHERE snoozed_until <= 1 \
         AND (snoozed_until, conversation) > (0, x'01') ORDER BY snoozed_until ASC, conversation ASC LIMIT 101",
        [],
    )]);
    let plan = format!("{:?}", plan.await.unwrap());
    assert!(plan.contains("conversation_snoozed") && !plan.contains("TEMP B-TREE"), "{plan}");
}

#[tokio::test]
async fn unread_counts_the_messages_after_the_revision_that_the_viewer_has_read() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    story.add(conversation, received(200, 1, "one"));
    let up_to = story.add(conversation, received(201, 1, "two"));
    story.add(conversation, received(202, 1, "three"));
    story.add(conversation, queued(203, 1, "ours"));
    assert_eq!(read(&story).await.unread, 3);
    let read_event = ConversationRead { operator: "olga".into(), up_to: Revision(up_to) };
    story.add(conversation, ConversationEvent::from(read_event));
    let view = read(&story).await;
    assert_eq!((view.unread, view.read_up_to), (1, Some(Revision(up_to))));
}

#[tokio::test]
async fn whoever_is_mentioned_finds_it_until_they_have_read_it() {
    let mut story = Story::default();
    let (mentioned, other) = (story.conversation(100, 1), story.conversation(101, 2));
    let note = |number, mentions: &[&str]| NoteAdded {
        note: id(number),
        mentions: mentions.iter().map(|name| (*name).into()).collect(),
        content: Personal::Opened(NoteContent { text: "look".into() }),
    };
    let revision = story.add(mentioned, ConversationEvent::from(note(300, &["olga", "pavel"])));
    story.add(other, ConversationEvent::from(note(301, &["pavel"])));
    let found = async |story: &Story| {
        let filter = ConversationFilter { mentions_me: true, ..ConversationFilter::default() };
        let (views, page) = (story.views().await, PageRequest::first(10, Order::Descending));
        let viewer = viewer(Role::Operator);
        let listed = views.conversations(&viewer, &filter, ConversationSort::LastActivity, &page).await.unwrap();
        listed.items.iter().map(|view| view.conversation).collect::<Vec<_>>()
    };
    assert_eq!(found(&story).await, [conversation_id(100)]);
    let read_event = ConversationRead { operator: "olga".into(), up_to: Revision(revision) };
    story.add(mentioned, ConversationEvent::from(read_event));
    assert_eq!(found(&story).await, []);
    story.add(mentioned, ConversationEvent::from(note(302, &["olga"])));
    assert_eq!(found(&story).await, [conversation_id(100)]);
}

#[tokio::test]
async fn tags_come_and_go_and_participants_leave() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    let tagged = |added: &[&str], removed: &[&str]| {
        let list = |tags: &[&str]| tags.iter().map(ToString::to_string).collect();
        ConversationEvent::from(ConversationTagged { added: list(added), removed: list(removed) })
    };
    story.add(conversation, tagged(&["vip", "billing"], &[]));
    story.add(conversation, tagged(&["urgent"], &["vip"]));
    story.add(conversation, ConversationEvent::from(ParticipantLeft { participant: person(1) }));
    let view = read(&story).await;
    assert_eq!(view.tags, ["billing", "urgent"]);
    assert!(!view.participants[0].active);
}

#[tokio::test]
async fn the_inbox_filters_and_sorts() {
    let mut story = Story::default();
    let one = story.conversation(101, 1);
    let two = story.conversation(102, 2);
    let three = story.conversation(103, 3);
    story.add(two, received(201, 2, "waits longest"));
    story.add(one, received(200, 1, "waits"));
    story.add(three, received(202, 3, "answered"));
    story.add(three, queued(203, 3, "answer"));
    story.add(one, ConversationEvent::from(ConversationAssigned { operator: Some("olga".into()), reason: None }));
    story.add(two, ConversationEvent::from(ConversationTagged { added: vec!["vip".into()], removed: vec![] }));
    let read_event = ConversationRead { operator: "olga".into(), up_to: Revision(2) };
    story.add(one, ConversationEvent::from(read_event));
    story.add(three, ConversationEvent::from(ConversationClosed { episode: 1, reason: "resolved".into() }));
    let views = story.views().await;
    let check = async |filter: ConversationFilter, sort, order, expected: &[u128]| {
        let page = PageRequest::first(10, order);
        let got = views.conversations(&viewer(Role::Operator), &filter, sort, &page).await.unwrap();
        let got: Vec<_> = got.items.iter().map(|view| view.conversation).collect();
        let expected: Vec<_> = expected.iter().map(|number| conversation_id(*number)).collect();
        assert_eq!(got, expected, "{filter:?}");
    };
    let all = ConversationFilter::default;
    let last = ConversationSort::LastActivity;
    check(all(), last, Order::Descending, &[103, 101, 102]).await;
    check(all(), last, Order::Ascending, &[102, 101, 103]).await;
    check(all(), ConversationSort::WaitingSince, Order::Ascending, &[102, 101]).await;
    let open = ConversationFilter { statuses: vec![ConversationStatus::Open], ..all() };
    check(open, last, Order::Descending, &[101, 102]).await;
    let mine = ConversationFilter { assignee: Some(Assignee::Operator("olga".into())), ..all() };
    check(mine, last, Order::Descending, &[101]).await;
    let nobodys = ConversationFilter { assignee: Some(Assignee::Nobody), ..all() };
    check(nobodys, last, Order::Descending, &[103, 102]).await;
    let unread = ConversationFilter { unread: true, ..all() };
    check(unread, last, Order::Descending, &[103, 102]).await;
    let tagged = ConversationFilter { tag: Some("vip".into()), ..all() };
    check(tagged, last, Order::Descending, &[102]).await;
    let of_account =
        ConversationFilter { account: Some(AccountId::new(id(0xA))), channel: Some(Channel::Email), ..all() };
    check(of_account, last, Order::Descending, &[103, 101, 102]).await;
    let telegram = ConversationFilter { channel: Some(Channel::Telegram), ..all() };
    check(telegram, last, Order::Descending, &[]).await;
    let of_person = ConversationFilter { participants: vec![person(2), person(3)], unread: true, ..all() };
    check(of_person, last, Order::Descending, &[103, 102]).await;
}
