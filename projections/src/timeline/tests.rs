//! Tests of timelines.
//!
//! **Invariant:** every test makes its own events and store.

use events::conversation::content::{ActivityDetail, MessageContent, MessageKind, NoteContent};
use events::conversation::{
    ActivityNoted, ConversationEvent, DeliveryFailed, DeliveryPostponed, DeliveryRedriven, DeliveryStarted,
    MessageDelivered, MessageEdited, MessageReceived, MessageRetracted, NoteAdded, PartDelivered, ReactionsChanged,
};
use events::ids::MessageId;
use events::seal::Personal;
use events::viewer::Role;

use super::{DeliveryState, EntryBody, MessageView, TimelineEntry};
use crate::testing::{Story, conversation_id, id, person, queued, received, second, viewer};
use crate::views::{Order, PageRequest};

fn edited(message: u128, author: u128, text: &str, at: i64) -> ConversationEvent {
    let content = MessageContent { text: Some(text.to_owned()), ..MessageContent::default() };
    ConversationEvent::from(MessageEdited {
        message: MessageId::new(id(message)),
        author: person(author),
        kind: MessageKind::Text,
        edited_at: second(at),
        content: Personal::Opened(content),
    })
}

async fn timeline(story: &Story) -> Vec<TimelineEntry> {
    let views = story.views().await;
    let page = PageRequest::first(100, Order::Ascending);
    views.timeline(&viewer(Role::Operator), conversation_id(100), &page).await.unwrap().items
}

fn message(entry: &TimelineEntry) -> &MessageView {
    match &entry.body {
        EntryBody::Message(message) => message,
        other => panic!("not a message: {other:?}"),
    }
}

fn text(content: Option<&MessageContent>) -> &str {
    content.and_then(|content| content.text.as_deref()).unwrap_or("nothing")
}

#[tokio::test]
async fn a_timeline_shows_messages_notes_and_activities_in_the_order_of_the_stream() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    story.add(conversation, received(200, 1, "hello"));
    let note = NoteAdded {
        note: id(300),
        mentions: vec![],
        content: Personal::Opened(NoteContent { text: "be kind".into() }),
    };
    story.add(conversation, ConversationEvent::from(note));
    let activity = ActivityNoted {
        activity: "callback_query".into(),
        activity_id: id(400),
        by: Some(person(1)),
        message: Some(MessageId::new(id(200))),
        detail: Personal::Opened(ActivityDetail { data: Some("yes".into()), answer_id: None }),
    };
    story.add(conversation, ConversationEvent::from(activity));
    story.add(conversation, queued(201, 1, "hello yourself"));
    let entries = timeline(&story).await;
    assert_eq!(entries.len(), 4);
    assert_eq!(text(message(&entries[0]).content.as_ref()), "hello");
    assert!(matches!(&entries[1].body, EntryBody::Note { content: Some(note), .. } if note.text == "be kind"));
    assert!(matches!(&entries[2].body, EntryBody::Activity { activity, .. } if activity == "callback_query"));
    assert_eq!(message(&entries[3]).delivery.as_ref().unwrap().state, DeliveryState::Queued);
}

#[tokio::test]
async fn an_edit_keeps_the_old_text_and_the_later_of_two_edits_holds() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    story.add(conversation, received(200, 1, "one"));
    story.add(conversation, edited(200, 1, "three", 30));
    story.add(conversation, edited(200, 1, "two", 20));
    let entries = timeline(&story).await;
    assert_eq!(entries.len(), 1);
    let message = message(&entries[0]);
    assert_eq!(text(message.original.as_ref()), "one");
    assert_eq!(text(message.content.as_ref()), "three");
    let history: Vec<_> = message.edits.iter().map(|edit| text(edit.content.as_ref())).collect();
    assert_eq!(history, ["two", "three"]);
}

#[tokio::test]
async fn an_edit_may_come_before_its_message() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    story.add(conversation, edited(200, 1, "better", 20));
    story.add(conversation, edited(200, 1, "best", 21));
    let early = timeline(&story).await;
    assert_eq!(early.len(), 1, "the message stands once, at the place of its first edit");
    assert_eq!(text(message(&early[0]).content.as_ref()), "best");
    assert_eq!(message(&early[0]).original, None);

    story.add(conversation, received(200, 1, "good"));
    let late = timeline(&story).await;
    assert_eq!(late.len(), 1);
    assert_eq!(text(message(&late[0]).original.as_ref()), "good");
    assert_eq!(text(message(&late[0]).content.as_ref()), "best");
}

#[tokio::test]
async fn reactions_and_answers_find_the_message_behind_a_part() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    story.add(conversation, queued(201, 1, "a long text"));
    for part in 0..2 {
        let alias = MessageId::new(id(500 + u128::from(part)));
        let part = PartDelivered { message: MessageId::new(id(201)), part, alias, outside_id: Some("77".into()) };
        story.add(conversation, ConversationEvent::from(part));
    }
    let reacted = |at: i64, emoji: &[&str]| {
        ConversationEvent::from(ReactionsChanged {
            message: MessageId::new(id(501)),
            by: Some(person(1)),
            changed_at: second(at),
            reactions: emoji.iter().map(ToString::to_string).collect(),
        })
    };
    story.add(conversation, reacted(50, &["👍"]));
    story.add(conversation, reacted(40, &["👎"]));
    let answer = MessageReceived {
        message: MessageId::new(id(202)),
        episode: 1,
        author: person(1),
        kind: MessageKind::Text,
        marks: Vec::new(),
        reply_to: Some(MessageId::new(id(500))),
        album: None,
        content: Personal::Opened(MessageContent::default()),
    };
    story.add(conversation, ConversationEvent::from(answer));
    let entries = timeline(&story).await;
    let sent = message(&entries[0]);
    assert_eq!(sent.reactions.len(), 1);
    assert_eq!(sent.reactions[0].reactions, ["👍"], "the later change holds, whatever the order of delivery");
    assert_eq!(sent.delivery.as_ref().unwrap().parts.len(), 2);
    assert_eq!(message(&entries[1]).reply_to, Some(MessageId::new(id(201))));
}

#[tokio::test]
async fn a_delivery_goes_from_queued_through_failure_to_delivered_and_leaves_the_dead_letters() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    let message_id = MessageId::new(id(201));
    story.add(conversation, queued(201, 1, "hello"));
    let mut step = async |event: ConversationEvent| {
        story.add(conversation, event);
        let views = story.views().await;
        let page = PageRequest::first(10, Order::Descending);
        let dead = views.dead_letters(&viewer(Role::Supervisor), &page).await.unwrap().items;
        let delivery = message(&timeline(&story).await[0]).delivery.clone().unwrap();
        (delivery, dead)
    };
    let started = DeliveryStarted { message: message_id, attempt: 1, part: 0 };
    assert_eq!(step(started.into()).await.0.state, DeliveryState::Sending);
    let postponed = DeliveryPostponed { message: message_id, attempt: 1, reason: "busy".into(), retry_at: second(99) };
    let (delivery, dead) = step(postponed.into()).await;
    assert_eq!((delivery.state, delivery.retry_at, dead.len()), (DeliveryState::Postponed, Some(second(99)), 0));
    let failed = DeliveryFailed { message: message_id, attempt: 2, reason: "blocked".into() };
    let (delivery, dead) = step(failed.into()).await;
    assert_eq!((delivery.state, delivery.reason.as_deref()), (DeliveryState::Failed, Some("blocked")));
    assert_eq!((dead[0].message, dead[0].attempt), (message_id, 2));
    assert_eq!(step(DeliveryRedriven { message: message_id }.into()).await.1, []);
    let (delivery, dead) = step(MessageDelivered { message: message_id, parts: 1 }.into()).await;
    assert_eq!((delivery.state, delivery.reason, dead.len()), (DeliveryState::Delivered, None, 0));
}

#[tokio::test]
async fn a_retracted_message_stays_and_says_so() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    story.add(conversation, received(200, 1, "oops"));
    story.add(conversation, ConversationEvent::from(MessageRetracted { message: MessageId::new(id(200)) }));
    let entries = timeline(&story).await;
    assert!(message(&entries[0]).retracted_at.is_some());
}

#[tokio::test]
async fn pages_of_a_timeline_follow_each_other_without_gap_or_repeat_both_ways() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    for number in 0..7 {
        story.add(conversation, received(200 + number, 1, &number.to_string()));
    }
    let views = story.views().await;
    for order in [Order::Ascending, Order::Descending] {
        let mut page = PageRequest::first(3, order);
        let mut seen = Vec::new();
        loop {
            let got = views.timeline(&viewer(Role::Operator), conversation_id(100), &page).await.unwrap();
            seen.extend(got.items.iter().map(|entry| entry.revision.0));
            match got.next() {
                Some(cursor) => page.after = Some(cursor.to_string().parse().unwrap()),
                None => break,
            }
        }
        let mut expected: Vec<u64> = (2..9).collect();
        if order == Order::Descending {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_page_costs_the_same_number_of_statements_for_one_message_and_for_fifty() {
    let mut story = Story::default();
    let mut counts = Vec::new();
    let mut conversations = Vec::new();
    for number in 0..50 {
        let conversation = story.conversation(100 + number, 1000 + number);
        story.add(conversation, received(2000 + number, 1000 + number, "hello"));
        conversations.push(conversation_id(100 + number));
        if number == 0 || number == 49 {
            let views = story.views().await;
            let before = views.store().statements();
            views.latest_messages(&viewer(Role::Operator), &conversations).await.unwrap();
            let people: Vec<_> = (0..=number).map(|number| person(1000 + number)).collect();
            let profiles = views.profiles_by_occupancies(&viewer(Role::Operator), &people).await.unwrap();
            assert_eq!(profiles.len(), people.len());
            let found = views.conversations_by_ids(&viewer(Role::Operator), &conversations).await.unwrap();
            assert_eq!(found.len(), conversations.len());
            counts.push(views.store().statements() - before);
        }
    }
    assert_eq!(counts, [15, 15]);
}

#[tokio::test]
async fn a_message_and_its_edits_are_found_by_index_and_never_by_looking_through_a_conversation() {
    let store = Story::default().store().await;
    let plan = async |sql: String| {
        let explained = crate::store::Query::new(format!("EXPLAIN QUERY PLAN {sql}"), []);
        let [rows] = crate::store::ReadStore::read(&*store, vec![explained]).await.unwrap().try_into().unwrap();
        rows.into_iter().map(|row| format!("{:?}", row.last())).collect::<Vec<_>>().join("; ")
    };
    let message =
        "SELECT e.kind, e.content FROM entry e WHERE e.tenant = 'a' AND e.conversation = x'01' AND e.item = x'02'";
    let shown = plan(format!("{message} AND {} ORDER BY e.revision LIMIT 1", super::read::SHOWN)).await;
    assert_eq!(shown.matches("entry_of_item (item=? AND conversation=?)").count(), 2, "{shown}");
    let edits =
        plan("SELECT content FROM entry WHERE tenant = 'a' AND item IN (x'01') AND kind = 'edited'".into()).await;
    assert!(edits.contains("entry_of_item"), "{edits}");
}
