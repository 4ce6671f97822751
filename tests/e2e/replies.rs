//! An operator answers: what goes to Telegram, in which order, and what becomes of it when Telegram is difficult.

use std::time::Duration;

use events::conversation::ConversationEvent;
use events::conversation::ConversationEvent::{DeliveryFailed, DeliveryUnknown, MessageDelivered};
use events::envelope::{Category, NewEvent, Position, StreamName};
use events::ids::{ConversationId, EventId, MessageId};
use events::log::{ExpectedRevision, Filter};
use futures::StreamExt;
use models::conversation::ConversationCommand;
use serde_json::json;
use uuid::Uuid;
use wiremock::ResponseTemplate;

use crate::fakes::TelegramApi;
use crate::stage::{SECRET_NOTE, Stage, behind_the_scenes, in_time, queue, update};

/// A server on which a customer has written.
async fn with_a_question(stage: Stage) -> (Stage, ConversationId) {
    let bot = stage.open_telegram().await;
    assert_eq!(stage.post_update(bot, &update(11, "Где мой заказ?")).await.status(), 200);
    let received = |event: &ConversationEvent| matches!(event, ConversationEvent::MessageReceived(_));
    let conversation = stage.conversation_with(1, received).await;
    (stage, conversation)
}

#[actix_web::test]
async fn an_answer_goes_to_the_customers_chat() {
    let (stage, conversation) = with_a_question(Stage::start().await).await;
    let message = stage.write(conversation, "Уже в пути").await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
    let sent = stage.telegram.sent().await;
    assert_eq!(sent.len(), 1);
    assert_eq!((&sent[0]["chat_id"], &sent[0]["text"]), (&json!("7100200300"), &json!("Уже в пути")));
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_note_never_goes_to_telegram() {
    let (stage, conversation) = with_a_question(Stage::start().await).await;
    stage.note(conversation).await;
    let message = stage.write(conversation, "Уже в пути").await;
    stage.note(conversation).await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
    let last = stage.write(conversation, "Завтра").await;
    assert!(matches!(stage.ended(last, 0).await, MessageDelivered(_)));
    let sent = stage.telegram.sent().await;
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert!(sent.iter().all(|call| !call.to_string().contains(SECRET_NOTE)));
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_queued_message_that_cannot_be_read_does_not_stop_the_others() {
    let (stage, conversation) = with_a_question(Stage::start().await).await;
    let log = stage.app.log();
    let (events, _) = log.read_all(Position::START, &Filter::default(), 1).await.unwrap();
    let unreadable = NewEvent {
        id: EventId::new(Uuid::from_u128(1)),
        event_type: "conversation.message_queued".into(),
        version: 1,
        digest: [0; 16],
        metadata: events[0].metadata.clone(),
        payload: "[]".into(),
    };
    let elsewhere = StreamName::new(Category::Conversation, events[0].stream.tenant.clone(), Uuid::from_u128(2));
    let appended = log.append(&elsewhere, ExpectedRevision::NoStream, vec![unreadable]).await.unwrap();
    stage.write(conversation, "Уже в пути").await;
    let mut later = log.subscribe(appended.position, Filter::default());
    in_time(async {
        while later.next().await.unwrap().unwrap().event_type.as_ref() != "conversation.message_delivered" {}
    })
    .await;
    assert_eq!(stage.telegram.texts().await, ["Уже в пути"]);
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_long_answer_goes_in_parts_and_all_in_order() {
    let (stage, conversation) = with_a_question(Stage::start().await).await;
    let long = "ж".repeat(4_096) + &"ш".repeat(10);
    let mut last = stage.write(conversation, &long).await;
    for number in 0..10 {
        last = stage.write(conversation, &format!("№ {number}")).await;
    }
    assert!(matches!(stage.ended(last, 0).await, MessageDelivered(_)));
    let mut expected = vec!["ж".repeat(4_096), "ш".repeat(10)];
    expected.extend((0..10).map(|number| format!("№ {number}")));
    assert_eq!(stage.telegram.texts().await, expected);
    stage.app.stop().await;
}

#[actix_web::test]
async fn when_telegram_says_later_it_is_later() {
    let (stage, conversation) = with_a_question(Stage::start().await).await;
    stage.telegram.answer(TelegramApi::refusal(429, "Too Many Requests: retry after 1", json!({"retry_after": 1})));
    let message = stage.write(conversation, "Уже в пути").await;
    let second = stage.write(conversation, "Завтра будет").await;
    assert!(matches!(stage.ended(second, 0).await, MessageDelivered(_)));
    assert_eq!(stage.telegram.texts().await, ["Уже в пути", "Уже в пути", "Завтра будет"], "the order is kept");
    let (mut postponed, mut again) = (None, None);
    for decoded in stage.all().await {
        // Our clock's time; a log may have one of its own.
        let at = decoded.recorded.metadata.occurred_at;
        match ConversationEvent::try_from(decoded.event) {
            Ok(ConversationEvent::DeliveryPostponed(event)) if event.message == message => {
                postponed = Some((at, event.retry_at));
            }
            Ok(ConversationEvent::DeliveryStarted(event)) if event.message == message => {
                again = Some(at);
            }
            _ => {}
        }
    }
    let ((at, retry_at), again) = (postponed.unwrap(), again.unwrap());
    assert!((retry_at - at).num_milliseconds() >= 900 && again >= retry_at, "{at} {retry_at} {again}");
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_customer_who_blocked_the_bot_makes_a_dead_letter_that_can_be_sent_again() {
    let (stage, conversation) = with_a_question(Stage::start().await).await;
    stage.telegram.answer(TelegramApi::refusal(403, "Forbidden: bot was blocked by the user", json!(null)));
    let message = stage.write(conversation, "Уже в пути").await;
    let DeliveryFailed(failed) = stage.ended(message, 0).await else { panic!("it must fail") };
    assert_eq!(failed.reason, "the customer does not let the bot write");
    stage.command(conversation, ConversationCommand::Redrive { message }).await;
    assert!(matches!(stage.ended(message, 1).await, MessageDelivered(_)));
    assert_eq!(stage.telegram.texts().await, ["Уже в пути", "Уже в пути"]);
    stage.app.stop().await;
}

#[actix_web::test]
async fn an_answer_that_never_came_is_unknown_and_nothing_is_sent_twice() {
    let (stage, conversation) = with_a_question(Stage::start_with(|config| config.outbound.timeout_s = 1).await).await;
    stage.telegram.answer(ResponseTemplate::new(200).set_delay(Duration::from_secs(600)));
    let message = stage.write(conversation, "Уже в пути").await;
    let second = stage.write(conversation, "Завтра будет").await;
    assert!(matches!(stage.ended(message, 0).await, DeliveryUnknown(_)));
    assert!(matches!(stage.ended(second, 0).await, MessageDelivered(_)));
    assert_eq!(stage.telegram.texts().await, ["Уже в пути", "Завтра будет"]);
    let stage = stage.restart().await;
    let third = stage.write(conversation, "Что-то ещё?").await;
    assert!(matches!(stage.ended(third, 0).await, MessageDelivered(_)));
    assert_eq!(stage.telegram.texts().await, ["Уже в пути", "Завтра будет", "Что-то ещё?"]);
    stage.command(conversation, ConversationCommand::Redrive { message }).await;
    assert!(matches!(stage.ended(message, 1).await, MessageDelivered(_)));
    stage.app.stop().await;
}

#[actix_web::test]
async fn answers_that_wait_when_the_server_stops_go_when_it_is_back() {
    let (stage, conversation) = with_a_question(Stage::start().await).await;
    let first = stage.write(conversation, "до").await;
    assert!(matches!(stage.ended(first, 0).await, MessageDelivered(_)));
    // Written while nobody sends, as by a server that stopped between the log and the wire.
    let waiting: Vec<MessageId> = (1..=3).map(|n| MessageId::new(uuid::Uuid::from_u128(n))).collect();
    let queued = waiting.iter().map(|message| queue(conversation, *message, &format!("ждёт {message}"))).collect();
    let stage = stage.restart_after(async |config| behind_the_scenes(config, conversation, queued).await).await;
    for message in &waiting {
        assert!(matches!(stage.ended(*message, 0).await, MessageDelivered(_)));
    }
    let mut expected = vec!["до".to_owned()];
    expected.extend(waiting.iter().map(|message| format!("ждёт {message}")));
    assert_eq!(stage.telegram.texts().await, expected);
    stage.app.stop().await;
}

#[actix_web::test]
async fn what_was_on_the_wire_in_a_crash_is_unknown_and_not_sent_again() {
    let (stage, conversation) = with_a_question(Stage::start().await).await;
    let message = MessageId::new(uuid::Uuid::from_u128(1));
    let crash =
        vec![queue(conversation, message, "может быть"), ConversationCommand::StartDelivery { message, part: 0 }];
    let stage = stage.restart_after(async |config| behind_the_scenes(config, conversation, crash).await).await;
    let DeliveryUnknown(unknown) = stage.ended(message, 0).await else { panic!("nobody knows") };
    assert_eq!(unknown.reason, "interrupted");
    let next = stage.write(conversation, "дальше").await;
    assert!(matches!(stage.ended(next, 0).await, MessageDelivered(_)));
    assert_eq!(stage.telegram.texts().await, ["дальше"]);
    stage.app.stop().await;
}
