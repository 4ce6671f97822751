//! Tests of queue rows and of what waits in queues.
//!
//! **Invariant:** every test makes its own events and store.

use chrono::Duration;
use events::conversation::content::MessageMark;
use events::conversation::{
    AssignedReason, ConversationAssigned, ConversationClosed, ConversationEnqueued, ConversationEvent,
    ConversationKind, ConversationOpened, ConversationSnoozed, EnqueuedReason, MessageReceived, Speaker,
    SpeakerChanged,
};
use events::ids::{AccountId, ProfileId, QueueId, TenantId};
use events::link::{LinkBasis, LinkEvent, OccupanciesLinked};
use events::profile::{Attribute, AttributeSource};
use events::queue::{QueueChanged, QueueClosed, QueueEvent, QueueOpened, QueueRules};
use events::seal::Personal;
use events::values::Channel;
use events::viewer::Role;
use uuid::Uuid;

use crate::conversation::WaitingConversation;
use crate::store::Query;
use crate::testing::{Story, conversation_id, id, person, queued, received, second, viewer};
use crate::views::Views;

fn rules(priority: u8) -> QueueRules {
    QueueRules { priority, ..QueueRules::default() }
}

fn refunds() -> QueueId {
    QueueId::new(id(800))
}

fn general() -> QueueId {
    QueueId::new(id(801))
}

fn enqueued(queue: QueueId, priority: u8, reason: EnqueuedReason) -> ConversationEvent {
    ConversationEnqueued { queue, priority, language: None, reason, fallbacks: 0 }.into()
}

fn assigned(operator: Option<&str>) -> ConversationEvent {
    let reason = operator.map(|_| AssignedReason::LeastBusy);
    ConversationAssigned { operator: operator.map(Into::into), reason }.into()
}

async fn waiting(views: &Views) -> Vec<WaitingConversation> {
    views.waiting_conversations(Duration::minutes(10), 10).await.unwrap()
}

/// A conversation with a message that waits in the queue.
fn in_queue(story: &mut Story, number: u128, customer: u128, priority: u8) -> Uuid {
    let conversation = story.conversation(number, customer);
    story.add(conversation, received(1000 + number, customer, "hello"));
    story.add(conversation, enqueued(refunds(), priority, EnqueuedReason::ByAccount));
    conversation
}

#[tokio::test]
async fn a_queue_shows_its_latest_name_and_rules_and_whether_it_is_closed() {
    let mut story = Story::default();
    story.add(id(800), QueueEvent::from(QueueOpened { name: "Возвраты".into(), rules: rules(3) }));
    story.add(id(801), QueueEvent::from(QueueOpened { name: "Общая".into(), rules: rules(0) }));
    story.add(id(800), QueueEvent::from(QueueChanged { name: "Деньги".into(), rules: rules(5) }));
    story.add(id(801), QueueEvent::from(QueueClosed {}));
    let (views, viewer) = (story.views().await, viewer(Role::Operator));
    let shown = views.queues(&viewer).await.unwrap();
    let seen: Vec<_> = shown.iter().map(|queue| (queue.name.as_str(), queue.rules.priority, queue.closed)).collect();
    assert_eq!(seen, [("Деньги", 5, false), ("Общая", 0, true)]);
    assert_eq!(views.queues_by_ids(&viewer, &[general(), QueueId::new(id(9))]).await.unwrap(), shown[1..]);
    let all = views.queues_on_duty().await.unwrap();
    assert_eq!(all.iter().map(|q| (q.queue, q.closed)).collect::<Vec<_>>(), [(refunds(), false), (general(), true)]);
}

#[tokio::test]
async fn what_is_taken_rests_or_is_closed_does_not_wait() {
    let mut story = Story::default();
    let [_, taken, resting, closed] = [100, 101, 102, 103].map(|n| in_queue(&mut story, n, n - 99, 3));
    story.add(taken, assigned(Some("olga")));
    story.add(resting, ConversationEvent::from(ConversationSnoozed { until: second(500) }));
    story.add(closed, ConversationEvent::from(ConversationClosed { episode: 1, reason: "resolved".into() }));
    let views = story.views().await;
    let found = waiting(&views).await;
    assert_eq!(found.iter().map(|w| w.conversation).collect::<Vec<_>>(), [conversation_id(100)]);
    assert_eq!((found[0].queue, found[0].priority, found[0].fallbacks), (refunds(), 3, 0));
    let viewer = viewer(Role::Operator);
    let loads = views.queue_loads(&viewer, &[refunds(), general()]).await.unwrap();
    let load = loads[&refunds()];
    assert_eq!((load.waiting, load.longest_since, load.in_work), (1, Some(found[0].since), 1));
    assert!(!loads.contains_key(&general()));
    let shown = views.conversation(&viewer, conversation_id(100)).await.unwrap().unwrap().queued.unwrap();
    assert_eq!((shown.queue, shown.priority, shown.since), (refunds(), 3, found[0].since));
    assert_eq!(views.conversation(&viewer, conversation_id(103)).await.unwrap().unwrap().queued, None);
}

#[tokio::test]
async fn waiting_counts_from_the_customers_message_through_every_queue_until_a_person_answers() {
    let mut story = Story::default();
    let conversation = story.conversation(100, 1);
    let asked = story.events.len() as i64 + 1;
    story.add(conversation, received(200, 1, "hello"));
    story.add(conversation, enqueued(refunds(), 3, EnqueuedReason::ByAccount));
    story.add(conversation, enqueued(general(), 1, EnqueuedReason::Fallback));
    let moved = story.events.len() as i64;
    let found = waiting(&story.views().await).await;
    assert_eq!((found[0].queue, found[0].since, found[0].entered_at), (general(), second(asked), second(moved)));
    // Given, taken away again without an answer: the customer waits as before.
    story.add(conversation, assigned(Some("olga")));
    story.add(conversation, assigned(None));
    let taken = second(story.events.len() as i64);
    let found = waiting(&story.views().await).await;
    assert_eq!((found[0].since, found[0].entered_at), (second(asked), taken));
    let long_here = async |story: &Story, since| {
        let views = story.views().await;
        !views.waiting_in_queue(general(), since, 8, 10).await.unwrap().is_empty()
    };
    assert!(!long_here(&story, second(moved)).await && long_here(&story, taken).await, "it waits here anew");
    // An answer of an agent ends the customer's waiting, not that for an operator.
    let into_queue = second(asked + 1);
    story.add(conversation, queued(201, 1, "an operator will come"));
    assert_eq!(waiting(&story.views().await).await[0].since, into_queue);
    story.add(conversation, received(202, 1, "are you there?"));
    assert_eq!(waiting(&story.views().await).await[0].since, into_queue);
    // A person's answer does; what comes back after it waits anew.
    story.add(conversation, assigned(Some("olga")));
    story.add_by_operator(conversation, queued(203, 1, "good day"));
    story.add(conversation, assigned(None));
    let back = story.events.len() as i64;
    assert_eq!(waiting(&story.views().await).await[0].since, second(back));
    story.add(conversation, received(204, 1, "and?"));
    assert_eq!(waiting(&story.views().await).await[0].since, second(back));
}

#[tokio::test]
async fn of_each_queue_those_whose_turn_is_first_are_found() {
    let mut story = Story::default();
    for number in 100..106 {
        in_queue(&mut story, number, number - 99, if number == 105 { 9 } else { 0 });
    }
    let other = in_queue(&mut story, 106, 7, 0);
    story.add(other, enqueued(general(), 0, EnqueuedReason::Fallback));
    let views = story.views().await;
    let found = views.waiting_conversations(Duration::minutes(10), 2).await.unwrap();
    let mut numbers: Vec<_> = found.iter().map(|waiting| waiting.conversation).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [100, 105, 106].map(conversation_id), "the most urgent, the oldest, the other queue's");
    // For so small a step the priority counts for nothing.
    let found = views.waiting_conversations(Duration::zero(), 2).await.unwrap();
    assert_eq!(found.iter().map(|w| w.conversation).collect::<Vec<_>>(), [100, 101, 106].map(conversation_id));
}

#[tokio::test]
async fn a_returning_customer_is_known_in_every_linked_channel() {
    let mut story = Story::default();
    for (number, customer, operator) in [(100, 1, "olga"), (101, 2, "pavel")] {
        let conversation = story.conversation(number, customer);
        story.add(conversation, assigned(Some(operator)));
        story.add(conversation, ConversationEvent::from(ConversationClosed { episode: 1, reason: "resolved".into() }));
    }
    in_queue(&mut story, 102, 3, 0);
    in_queue(&mut story, 103, 1, 0);
    let last = async |story: &Story| {
        let found = waiting(&story.views().await).await;
        found.into_iter().map(|waiting| waiting.last_operator).collect::<Vec<_>>()
    };
    assert_eq!(last(&story).await, [None, Some("olga".into())], "the same contact point");
    let linked = OccupanciesLinked { one: person(2), other: person(3), basis: LinkBasis::Operator };
    story.add(id(900), LinkEvent::from(linked));
    assert_eq!(last(&story).await, [Some("pavel".into()), Some("olga".into())], "a linked one");
}

#[tokio::test]
async fn no_channel_keeps_another_from_being_seen() {
    let mut story = Story::default();
    for number in 100..104 {
        in_queue(&mut story, number, number - 99, 9);
    }
    let opened = ConversationOpened {
        account: AccountId::new(id(0xA)),
        channel: Channel::Telegram,
        kind: ConversationKind::Direct,
        thread: Personal::Erased,
    };
    story.add(id(104), ConversationEvent::from(opened));
    story.add(id(104), enqueued(refunds(), 0, EnqueuedReason::ByAccount));
    let found = story.views().await.waiting_conversations(Duration::minutes(10), 2).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|waiting| waiting.conversation).collect();
    assert_eq!(found, [100, 101, 104].map(conversation_id));
}

#[tokio::test]
async fn what_was_put_back_by_hand_is_nobodys_before() {
    let mut story = Story::default();
    let conversation = in_queue(&mut story, 100, 1, 0);
    story.add(conversation, assigned(Some("olga")));
    story.add(conversation, assigned(None));
    assert_eq!(waiting(&story.views().await).await[0].last_operator.as_deref(), Some("olga"));
    story.add(conversation, enqueued(refunds(), 0, EnqueuedReason::ByHand));
    assert_eq!(waiting(&story.views().await).await[0].last_operator, None);
}

#[tokio::test]
async fn what_waits_in_no_queue_is_found_by_its_account() {
    let mut story = Story::default();
    let account = AccountId::new(id(0xA));
    let [_, own, with_agent, answered] = [100, 101, 102, 103].map(|number| {
        let conversation = story.conversation(number, number - 99);
        story.add(conversation, received(1000 + number, number - 99, "hello"));
        conversation
    });
    story.add(own, assigned(Some("olga")));
    let speaker = SpeakerChanged { speaker: Speaker::Agent("bot".into()), reason: "first_answer".into() };
    story.add(with_agent, ConversationEvent::from(speaker));
    story.add(answered, queued(300, 4, "yes"));
    in_queue(&mut story, 104, 5, 0);
    let automatic = story.conversation(105, 6);
    let ConversationEvent::MessageReceived(message) = received(1105, 6, "away") else { unreachable!() };
    let away = MessageReceived { marks: vec![MessageMark::AutoReply], ..message };
    story.add(automatic, ConversationEvent::from(away));
    let language = AttributeSource::Channel { account };
    let profile = ProfileId::new(id(0x50_0001));
    story.attribute(profile, Attribute::Language, language.clone(), "en");
    story.attribute(profile, Attribute::Language, language, "ru-RU");
    let views = story.views().await;
    let (acme, other): (TenantId, TenantId) = ("acme".parse().unwrap(), "other".parse().unwrap());
    let found = views.unqueued_conversations(&acme, &[account], 10).await.unwrap();
    assert_eq!(found.iter().map(|found| found.conversation).collect::<Vec<_>>(), [conversation_id(100)]);
    assert_eq!(found[0].account, account);
    assert_eq!(found[0].language.as_deref(), Some("ru-RU"));
    assert_eq!(views.unqueued_conversations(&acme, &[AccountId::new(id(0xB))], 10).await.unwrap(), []);
    assert_eq!(views.unqueued_conversations(&acme, &[], 10).await.unwrap(), []);
    assert_eq!(views.unqueued_conversations(&other, &[account], 10).await.unwrap(), [], "of another tenant");
    story.add(own, assigned(None));
    let found = story.views().await.unqueued_conversations(&acme, &[account], 10).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|found| found.conversation).collect();
    assert_eq!(found, [100, 101].map(conversation_id), "it was taken from somebody");
}

#[tokio::test]
async fn the_longest_in_a_queue_fall_through_first_and_not_those_that_fell_too_often() {
    let mut story = Story::default();
    for number in 100..103 {
        in_queue(&mut story, number, number - 99, 0);
    }
    let fallen = ConversationEnqueued {
        queue: refunds(),
        priority: 0,
        language: None,
        reason: EnqueuedReason::Fallback,
        fallbacks: 8,
    };
    story.add(id(100), ConversationEvent::from(fallen));
    let views = story.views().await;
    let found = views.waiting_in_queue(refunds(), second(1000), 8, 10).await.unwrap();
    assert_eq!(found.iter().map(|w| w.conversation).collect::<Vec<_>>(), [101, 102].map(conversation_id));
    let early = found[0].entered_at;
    let found = views.waiting_in_queue(refunds(), early, 8, 10).await.unwrap();
    assert_eq!(found.iter().map(|w| w.conversation).collect::<Vec<_>>(), [conversation_id(101)]);
}

#[tokio::test]
async fn lists_of_the_desk_go_by_their_indexes() {
    let views = Story::default().views().await;
    for (index, sql) in [
        (
            "conversation_queued",
            "SELECT c.conversation FROM conversation c WHERE c.queue IS NOT NULL AND c.assignee IS NULL \
             AND c.status = 'open' AND c.queue = x'00' AND c.entered_at <= 1 ORDER BY c.entered_at, c.conversation",
        ),
        (
            "conversation_unqueued",
            "SELECT c.conversation FROM conversation c WHERE c.account IN (x'00', x'01') AND c.queue IS NULL \
             AND c.assignee IS NULL AND coalesce(c.waiting_since, c.unassigned_at) IS NOT NULL AND c.status = 'open' \
             ORDER BY coalesce(c.waiting_since, c.unassigned_at), c.conversation",
        ),
        (
            "conversation_timed",
            "SELECT c.conversation FROM conversation c WHERE (c.queue IS NOT NULL OR c.assignee IS NOT NULL) AND c.status <> 'closed' \
             AND (c.opened_at, c.conversation) > (1, x'00') ORDER BY c.opened_at ASC, c.conversation ASC LIMIT 9",
        ),
        (
            "conversation_held",
            "SELECT c.conversation FROM operator o JOIN conversation c ON c.tenant = o.tenant \
             AND c.assignee = o.operator AND c.assignee IS NOT NULL AND c.status = 'open'",
        ),
    ] {
        let plan = views.store().read(vec![Query::new(format!("EXPLAIN QUERY PLAN {sql}"), [])]).await.unwrap();
        assert!(format!("{plan:?}").contains(index), "{plan:?}");
    }
}
