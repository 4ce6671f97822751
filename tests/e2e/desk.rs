//! Operators at their desk: who is given what, and what becomes of it when they vanish.

use std::time::Duration;

use events::DomainEvent;
use events::conversation::ConversationEvent::{self, MessageDelivered};
use events::conversation::{AssignedReason, ConversationAssigned};
use events::ids::{ConversationId, MessageId};
use events::operator::{OperatorEvent, Presence, PresenceReason};
use serde_json::{Value, json};

use crate::stage::{Stage, update, update_in};

const ABILITIES: &str = "abilities: {languages: [\"ru\"], skills: [], room: 2, roomOfChannel: []}";

/// Waits until the conversation is given to somebody, or to nobody, for this reason.
async fn assigned(stage: &Stage, reason: AssignedReason, mut skip: usize) -> (ConversationId, Option<String>) {
    stage
        .first(|decoded| match &decoded.event {
            DomainEvent::Conversation(ConversationEvent::Assigned(ConversationAssigned {
                operator,
                reason: Some(why),
            })) if *why == reason => {
                let found = (skip == 0).then(|| operator.as_ref().map(ToString::to_string));
                skip = skip.saturating_sub(1);
                found.map(|operator| (ConversationId::new(decoded.recorded.stream.id), operator))
            }
            _ => None,
        })
        .await
}

/// The page of an operator: it shows signs of life until it is closed.
struct Page(tokio::task::JoinHandle<()>);

impl Page {
    async fn open(stage: &Stage, token: &'static str) -> Self {
        let presence = stage.wish(token, "setPresence", "presence: AVAILABLE", "").await;
        assert!(presence["token"].is_string());
        let request = stage.client.post(stage.url("/graphql")).bearer_auth(token);
        let request = request.json(&json!({"query": "mutation { heartbeat { timeoutSeconds } }"}));
        Self(tokio::spawn(async move {
            loop {
                let beat = request.try_clone().unwrap().send().await;
                // The server may be gone by now.
                drop(beat);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn desk(stage: &Stage, account: &str) {
    let rules = format!("name: \"Общая\", rules: {{accounts: [\"{account}\"], priority: 2}}");
    stage.wish("chief", "openQueue", &rules, "").await;
    for (name, title) in [("anna", "Анна"), ("boris", "Борис")] {
        let input = format!("operator: \"{name}\", name: \"{title}\", {ABILITIES}");
        stage.wish("chief", "registerOperator", &input, "").await;
    }
}

async fn answer(stage: &Stage, token: &str, conversation: ConversationId, text: &str) -> MessageId {
    let input = format!("conversation: \"{conversation}\", text: \"{text}\"");
    let sent = stage.wish(token, "sendMessage", &input, "messageId").await;
    sent["messageId"].as_str().unwrap().parse().unwrap()
}

#[actix_web::test]
async fn a_customer_goes_to_whoever_is_there_and_to_another_when_they_vanish() {
    let stage = Stage::start_with(|config| config.desk.presence_timeout_s = 2).await;
    let bot = stage.open_telegram().await;
    desk(&stage, &bot.to_string()).await;
    let anna = Page::open(&stage, "anna").await;
    stage.post_update(bot, &update(11, "Где мой заказ?")).await;
    let (conversation, operator) = assigned(&stage, AssignedReason::LeastBusy, 0).await;
    assert_eq!(operator.as_deref(), Some("anna"));
    let message = answer(&stage, "anna", conversation, "Ищу").await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
    stage.caught_up().await;
    let query =
        "{ operators { operator presence load work { conversation { id queued { priority queue { name } } } } } }";
    let seen = stage.ask("chief", query).await;
    let queued = json!({"priority": 2, "queue": {"name": "Общая"}});
    let work = json!([{"conversation": {"id": conversation.to_string(), "queued": queued}}]);
    assert_eq!(seen["operators"][0], json!({"operator": "anna", "presence": "AVAILABLE", "load": 1, "work": work}));
    // Anna's browser crashes.
    drop(anna);
    let absent = stage.first(|decoded| match &decoded.event {
        DomainEvent::Operator(OperatorEvent::PresenceChanged(changed)) if changed.presence == Presence::Absent => {
            Some(changed.reason)
        }
        _ => None,
    });
    assert_eq!(absent.await, PresenceReason::NoSignOfLife);
    assert_eq!(assigned(&stage, AssignedReason::OperatorAbsent, 0).await, (conversation, None));
    let boris = Page::open(&stage, "boris").await;
    let (given, operator) = assigned(&stage, AssignedReason::LeastBusy, 1).await;
    assert_eq!((given, operator.as_deref()), (conversation, Some("boris")));
    let message = answer(&stage, "boris", conversation, "Нашёл").await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
    drop(boris);
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_returning_customer_gets_the_same_operator_and_the_inbox_shows_what_waits() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    desk(&stage, &bot.to_string()).await;
    stage.wish("anna", "setPresence", "presence: AVAILABLE", "").await;
    stage.post_update(bot, &update_in(1, 11, "Здравствуйте")).await;
    let (conversation, _) = assigned(&stage, AssignedReason::LeastBusy, 0).await;
    stage.wish("boris", "setPresence", "presence: AVAILABLE", "").await;
    answer(&stage, "anna", conversation, "Готово").await;
    let close = format!("conversation: \"{conversation}\", reason: \"resolved\"");
    stage.wish("anna", "closeConversation", &close, "").await;
    stage
        .first(|decoded| {
            matches!(decoded.event, DomainEvent::Operator(OperatorEvent::ConversationReleased(_))).then_some(())
        })
        .await;
    stage.post_update(bot, &update_in(1, 12, "И ещё вопрос")).await;
    // The episode is hers, since she had the last; it counts again.
    stage
        .first(|decoded| match &decoded.event {
            DomainEvent::Operator(OperatorEvent::ConversationTaken(taken)) if taken.conversation == conversation => {
                (decoded.recorded.revision.0 > 3).then_some(())
            }
            _ => None,
        })
        .await;
    for name in ["anna", "boris"] {
        stage.wish(name, "setPresence", "presence: BUSY", "").await;
    }
    stage.post_update(bot, &update_in(2, 21, "Есть кто?")).await;
    let waiting = stage
        .first(|decoded| match &decoded.event {
            DomainEvent::Conversation(ConversationEvent::Enqueued(_)) => {
                let id = ConversationId::new(decoded.recorded.stream.id);
                (id != conversation).then_some(id)
            }
            _ => None,
        })
        .await;
    stage.caught_up().await;
    let query = "{ queues { load { waiting inWork } } conversations(filter: {assignee: NOBODY, status: [OPEN]}) \
        { nodes { id queued { language priority } } } }";
    let seen: Value = stage.ask("anna", query).await;
    assert_eq!(seen["queues"][0]["load"], json!({"waiting": 1, "inWork": 0}), "what is carried over is in no queue");
    let nodes = json!([{"id": waiting.to_string(), "queued": {"language": "ru", "priority": 2}}]);
    assert_eq!(seen["conversations"]["nodes"], nodes);
    stage.app.stop().await;
}
