//! Those who run the server: stop it, look at it, rebuild its read models, and fill its disk.

use chrono::TimeDelta;
use events::DomainEvent;
use events::clock::Clock;
use events::conversation::ConversationEvent::{MessageDelivered, MessageReceived, Snoozed, Woken};
use events::conversation::{ConversationEvent, ConversationWoken, WokenReason};
use events::envelope::{Actor, Category, StreamName};
use events::log::ExpectedRevision;
use futures::future::join_all;
use letopis::clock::SystemClock;
use models::conversation::ConversationCommand;
use projections::conversation::ConversationStatus;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{SECRET, Stage, TOKEN, behind_the_scenes, in_time, run, tenant, update, update_in, viewer};

#[actix_web::test]
async fn what_was_acknowledged_before_a_stop_is_all_there_after_it() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    let updates: Vec<_> = (0..100).map(|number| update_in(number % 10 + 1, number, &number.to_string())).collect();
    let answers = join_all(updates.iter().map(|update| stage.post_update(bot, update))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    let stage = stage.restart().await;
    stage.outcomes(updates.len()).await;
    let mut numbers: Vec<i64> = stage.texts().await.iter().map(|(_, text)| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    stage.app.stop().await;
}

#[actix_web::test]
async fn read_models_made_anew_are_the_same() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    join_all((1..=30).map(async |number| stage.post_update(bot, &update_in(number % 5 + 1, number, "текст")).await))
        .await;
    stage.outcomes(30).await;
    let conversation = stage.conversation_with(1, |event| matches!(event, MessageReceived(_))).await;
    let message = stage.write(conversation, "Здравствуйте").await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
    stage.caught_up().await;
    let Stage { folder, config, app, .. } = stage;
    app.stop().await;
    let hash = |output: &str| output.lines().find(|line| line.starts_with("state hash: ")).unwrap().to_owned();
    let first = run(folder.path(), &config, &["rebuild"]).await;
    assert!(!first.contains("differs") && first.lines().any(|line| line == "swapped"), "{first}");
    assert!(first.contains("parked: 0"), "{first}");
    let second = run(folder.path(), &config, &["rebuild", "--check"]).await;
    assert_eq!(hash(&first), hash(&second));
}

#[actix_web::test]
async fn a_supervisor_sees_every_step_while_the_server_runs() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    stage.post_update(bot, &update(11, "Где мой заказ?")).await;
    let conversation = stage.conversation_with(1, |event| matches!(event, MessageReceived(_))).await;
    let message = stage.write(conversation, "Уже в пути").await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
    let conversation = conversation.to_string();
    let arguments = ["replay", "--tenant", "acme", "--conversation", &conversation];
    let steps = stage.run(&arguments).await;
    let line = |step: &str| steps.lines().find(|line| line.contains(step)).unwrap_or_else(|| panic!("{steps}"));
    let received = line("conversation.message_received");
    assert!(received.contains("by customer"), "{received}");
    assert!(received.contains("happened 2026-09-21T14:13:31.000Z"), "Telegram's time: {received}");
    assert!(received.contains("recorded ") && received.contains("because of intake.received at "), "{received}");
    assert!(line("conversation.message_queued").contains("by operator"), "{steps}");
    assert!(line("conversation.message_delivered").contains("because of conversation.message_queued"), "{steps}");
    assert!(steps.contains("| Где мой заказ?") && steps.contains("| Уже в пути"), "{steps}");
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_full_disk_refuses_deliveries_and_the_server_recovers_by_itself() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    let ready = async || stage.client.get(stage.url("/health/ready")).send().await.unwrap().status().as_u16();
    assert_eq!(ready().await, 200);
    stage.app.engines().log.embedded().unwrap().limit_pages_for_tests(Some(1));
    let mut acknowledged = 0;
    let long = "ж".repeat(20_000);
    let refused = loop {
        let body = update(acknowledged + 1, &long).to_string();
        let answer = stage.post_update_signed(bot, body, SECRET).await;
        if answer.status() != 200 {
            break answer;
        }
        acknowledged += 1;
        assert!(acknowledged < 1_000, "the disk must become full");
    };
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait >= 1);
    assert_eq!(ready().await, 503);
    let live = stage.client.get(stage.url("/health/live")).send().await.unwrap();
    assert_eq!(live.status(), 200, "it lives and shall not be killed");

    stage.app.engines().log.embedded().unwrap().limit_pages_for_tests(None);
    let recovered = async {
        while stage.post_update(bot, &update(acknowledged + 1, &long)).await.status() != 200 {
            tokio::task::yield_now().await;
        }
        while ready().await != 200 {
            tokio::task::yield_now().await;
        }
    };
    in_time(recovered).await;
    let all = usize::try_from(acknowledged).unwrap() + 1;
    stage.outcomes(all).await;
    assert_eq!(stage.texts().await.len(), all);
    stage.app.stop().await;
}

/// A rest of a moment.
fn snooze() -> ConversationCommand {
    let now = SystemClock.now();
    ConversationCommand::Snooze { until: now + TimeDelta::milliseconds(1), now }
}

fn is_woken(event: &ConversationEvent) -> bool {
    matches!(event, Woken(ConversationWoken { reason: WokenReason::TimeCame }))
}

#[actix_web::test]
async fn a_conversation_that_rests_wakes_when_its_time_has_come_also_while_nobody_serves() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    stage.post_update(bot, &update(1, "Перезвоните завтра")).await;
    let conversation = stage.conversation_with(1, |event| matches!(event, MessageReceived(_))).await;
    stage.command(conversation, snooze()).await;
    assert_eq!(stage.conversation_with(1, is_woken).await, conversation);
    // Its time comes while nobody serves.
    let stage = stage.restart_after(async |config| behind_the_scenes(config, conversation, vec![snooze()]).await).await;
    assert_eq!(stage.conversation_with(2, is_woken).await, conversation);
    stage.caught_up().await;
    let view = stage.app.views().unwrap().conversation(&viewer(), conversation).await.unwrap().unwrap();
    assert_eq!((view.status, view.snoozed_until), (ConversationStatus::Open, None));
    let all = stage.all().await;
    let of = |wanted: fn(&ConversationEvent) -> bool| {
        let events = all
            .iter()
            .filter(move |decoded| matches!(&decoded.event, DomainEvent::Conversation(event) if wanted(event)));
        events.map(|decoded| &decoded.recorded).collect::<Vec<_>>()
    };
    let (begun, ended) = (of(|event| matches!(event, Snoozed(_))), of(is_woken));
    assert_eq!((begun.len(), ended.len()), (2, 2), "each ends once");
    for (begun, ended) in begun.iter().zip(ended) {
        assert_eq!(ended.metadata.causation, Some(begun.id));
        assert_eq!(ended.metadata.correlation, begun.metadata.correlation);
        assert_eq!(ended.metadata.actor, Actor::System("snooze".into()));
    }
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_trace_goes_from_the_request_to_the_delivery() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    stage.post_update(bot, &update(1, "Где мой заказ?")).await;
    let conversation = stage.conversation_with(1, |event| matches!(event, MessageReceived(_))).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let query = "mutation ($input: SendMessageInput!) { sendMessage(input: $input) { messageId userErrors { code } } }";
    let input = json!({"conversation": conversation.to_string(), "text": "Уже в пути", "idempotencyKey": "1"});
    let asked = stage.client.post(stage.url("/graphql")).bearer_auth(TOKEN).header("traceparent", trace);
    let body = json!({"query": query, "variables": {"input": input}}).to_string();
    let answer = asked.header("content-type", "application/json").body(body).send().await.unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let message = answer["data"]["sendMessage"]["messageId"].as_str().unwrap_or_else(|| panic!("{answer}"));
    stage.ended(message.parse().unwrap(), 0).await;
    let all = stage.all().await;
    let traced: Vec<_> = all
        .iter()
        .filter(|decoded| decoded.recorded.metadata.traceparent.as_deref() == Some(trace))
        .map(|decoded| decoded.event.event_type())
        .collect();
    for step in ["conversation.message_queued", "conversation.delivery_started", "conversation.message_delivered"] {
        assert!(traced.contains(&step), "{step} is not among {traced:?}");
    }
    stage.app.stop().await;
}

#[actix_web::test]
async fn an_event_that_is_put_aside_is_counted_and_the_rest_goes_on() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    let stream = StreamName::new(Category::Profile, tenant(), Uuid::from_u128(7));
    let mut newer = events::testing::sample_event("{}");
    newer.event_type = "profile.danced".into();
    stage.app.log().append(&stream, ExpectedRevision::NoStream, vec![newer]).await.unwrap();
    stage.post_update(bot, &update(1, "Здравствуйте")).await;
    stage.caught_up().await;
    let metrics = async || {
        let answer = stage.client.get(stage.url("/metrics")).send().await.unwrap();
        answer.text().await.unwrap()
    };
    let wanted = "letopis_parked_events_total{consumer=\"projections\"} 1";
    // It is counted when it has been put aside, a moment after the read models show that.
    in_time(async { while !metrics().await.lines().any(|line| line == wanted) {} }).await;
    let metrics = metrics().await;
    assert!(metrics.contains("letopis_consumer_lag_events{consumer=\"projections\"}"), "{metrics}");
    assert!(metrics.contains("letopis_webhooks_total{channel=\"telegram\",outcome=\"accepted\"}"), "{metrics}");
    stage.app.stop().await;
}
