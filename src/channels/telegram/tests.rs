//! Tests of the pure part: payloads of our own, written after the Bot API documentation.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::*;
use crate::channels::{Happening, Interaction};

mod messages;
mod robust;
mod services;
mod updates;

/// When the deliveries of these tests come in: later than all that happens in them.
fn received_at() -> DateTime<Utc> {
    "2026-09-01T12:00:00Z".parse().unwrap()
}

fn read(body: &Value) -> Normalised {
    normalise(body.to_string().as_bytes(), received_at()).unwrap()
}

fn anna() -> Value {
    json!({"id": 7_100_200_300_i64, "is_bot": false, "first_name": "Анна", "last_name": "Орлова",
           "username": "orlova_a", "language_code": "ru"})
}

fn private_chat() -> Value {
    json!({"id": 7_100_200_300_i64, "type": "private", "first_name": "Анна", "last_name": "Орлова",
           "username": "orlova_a"})
}

fn group_chat() -> Value {
    json!({"id": -1_002_000_000_042_i64, "type": "supergroup", "title": "Клуб садоводов"})
}

/// An update of this kind with the fields of `over` laid over those of `base`.
fn update(kind: &str, base: Value, over: Value) -> Value {
    let (Value::Object(mut body), Value::Object(over)) = (base, over) else { panic!("objects") };
    body.extend(over);
    json!({"update_id": 500, kind: body})
}

/// A message of Anna's in the private chat, with these fields.
fn private_message(fields: Value) -> Value {
    let base = json!({"message_id": 11, "from": anna(), "chat": private_chat(), "date": 1_780_000_000});
    update("message", base, fields)
}

/// A message of Anna's in the group, with these fields.
fn group_message(fields: Value) -> Value {
    let base = json!({"message_id": 12, "from": anna(), "chat": group_chat(), "date": 1_780_000_000});
    update("message", base, fields)
}

fn only(body: &Value) -> Interaction {
    let mut interactions = read(body).interactions;
    assert_eq!(interactions.len(), 1);
    interactions.remove(0)
}

fn key(body: &Value) -> String {
    only(body).thread.unwrap().key
}

#[test]
fn either_live_secret_proves_a_delivery_and_nothing_else_does() {
    let live = ["old-secret", "new-secret"];
    assert!(verify(Some(b"old-secret"), &live));
    assert!(verify(Some(b"new-secret"), &live));
    for wrong in [&b"new-secre"[..], b"new-secret ", b"NEW-SECRET", b"", b"old-secretnew-secret"] {
        assert!(!verify(Some(wrong), &live));
    }
    assert!(!verify(None, &live));
    assert!(!verify(Some(b"x"), &[] as &[&str]));
    assert!(!verify(Some(b""), &[""]));
}

#[test]
fn a_private_chat_is_direct_and_its_key_is_the_chat_id() {
    let thread = only(&private_message(json!({"text": "Здравствуйте"}))).thread.unwrap();
    assert_eq!((thread.key.as_str(), thread.kind), ("7100200300", events::conversation::ConversationKind::Direct));
}

#[test]
fn a_topic_is_a_thread_of_its_own_only_where_telegram_says_so() {
    let topic = json!({"text": "?", "message_thread_id": 4, "is_topic_message": true});
    assert_eq!(key(&group_message(topic)), "-1002000000042/4");
    assert_eq!(key(&group_message(json!({"text": "?", "message_thread_id": 4}))), "-1002000000042");
    let direct = json!({"text": "?", "direct_messages_topic": {"topic_id": 9, "user": anna()}});
    assert_eq!(key(&group_message(direct)), "-1002000000042/direct/9");
}

#[test]
fn a_chat_of_a_business_account_is_another_thread_than_the_bots_own_chat() {
    let message = json!({"message_id": 11, "from": anna(), "chat": private_chat(), "date": 1_780_000_000});
    let connection = json!({"text": "?", "business_connection_id": "BC_1-x"});
    let thread = only(&update("business_message", message, connection)).thread.unwrap();
    assert_eq!(thread.key, "7100200300@BC_1-x");
    assert_eq!(thread.outside.business_connection.as_deref(), Some("BC_1-x"));
    assert_eq!(thread.outside.key, "7100200300");
}

#[test]
fn what_the_owner_of_a_business_account_writes_is_no_message_of_the_customer() {
    let owner = json!({"id": 42, "is_bot": false, "first_name": "Пётр"});
    let message = json!({"message_id": 11, "from": owner, "chat": private_chat(), "date": 1_780_000_000});
    let sent = json!({"text": "Добрый день", "business_connection_id": "BC_1-x"});
    let happened = only(&update("business_message", message.clone(), sent.clone()));
    assert_eq!(happened.party, None);
    let Happening::Activity { activity, about, detail, .. } = happened.what else { panic!("an activity") };
    assert_eq!((activity.as_str(), about.as_deref()), ("owner_message", Some("11")));
    assert_eq!(detail.data.as_deref(), Some("Добрый день"));

    let (Value::Object(mut own), bot) = (sent, json!({"id": 9, "is_bot": true, "first_name": "Бот"})) else {
        panic!()
    };
    own.insert("sender_business_bot".into(), bot);
    assert_eq!(read(&update("business_message", message, Value::Object(own))).interactions, []);
}

#[test]
fn the_person_of_a_private_chat_stands_in_for_a_sender_that_is_missing() {
    let body = json!({"update_id": 1, "message": {"message_id": 3, "chat": private_chat(), "date": 0}});
    let happened = only(&body);
    assert_eq!(happened.party.unwrap().address.normalised, "7100200300");
    assert_eq!(happened.occurred_at, received_at());
}

#[test]
fn the_peek_finds_what_the_normaliser_finds() {
    let peeked = peek(private_message(json!({"text": "Здравствуйте"})).to_string().as_bytes());
    assert_eq!(peeked.delivery_id.as_deref(), Some("500"));
    assert_eq!(peeked.conversation_key.as_deref(), Some("7100200300"));
    assert_eq!(peeked.occurred_at, DateTime::from_timestamp(1_780_000_000, 0));
}

#[test]
fn the_peek_finds_the_chat_under_a_pressed_button_but_not_its_date() {
    let message = json!({"message_id": 5, "date": 1_700_000_000, "chat": group_chat()});
    let query = json!({"id": "77", "from": anna(), "chat_instance": "1", "data": "yes", "message": message});
    let peeked = peek(json!({"update_id": 3, "callback_query": query}).to_string().as_bytes());
    assert_eq!(peeked.conversation_key.as_deref(), Some("-1002000000042"));
    assert_eq!(peeked.occurred_at, None);
}

#[test]
fn the_peek_falls_back_to_the_user_and_to_the_poll() {
    let query = json!({"id": "1", "from": anna(), "query": "роза", "offset": ""});
    let peeked = peek(json!({"update_id": 3, "inline_query": query}).to_string().as_bytes());
    assert_eq!(peeked.conversation_key.as_deref(), Some("7100200300"));
    let poll = json!({"id": "51", "question": "?", "options": [], "is_closed": true});
    let peeked = peek(json!({"update_id": 3, "poll": poll}).to_string().as_bytes());
    assert_eq!(peeked.conversation_key.as_deref(), Some("poll/51"));
}
