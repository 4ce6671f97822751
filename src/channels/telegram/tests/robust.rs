//! What is odd, broken or hostile.

use proptest::prelude::*;

use super::*;

fn refused(body: &str) -> String {
    normalise(body.as_bytes(), received_at()).unwrap_err().reason
}

#[test]
fn what_is_no_update_is_said_so_without_quoting_it() {
    assert_eq!(refused("ивы"), "not JSON");
    assert_eq!(refused("[]"), "not a JSON object");
    assert_eq!(refused(r#"{"message_id":1,"chat":{"id":1},"date":1,"text":"тайна"}"#), "no update_id");
    assert_eq!(refused(r#"{"update_id":1}"#), "no kind of update");
    assert_eq!(refused(r#"{"update_id":1,"new_update_kind":{"x":1}}"#), "unknown kind of update: new_update_kind");
    assert_eq!(refused(r#"{"update_id":1,"Иван Иванов":{}}"#), "unknown kind of update: (a name that is not printed)");
    assert_eq!(refused(r#"{"update_id":1,"message":{},"poll":{}}"#), "more than one kind of update: message, poll");
    assert_eq!(refused(r#"{"update_id":1,"message":{"chat":{"id":1}}}"#), "message without message_id");
    assert_eq!(refused(r#"{"update_id":1,"message":{"message_id":1,"chat":{}}}"#), "message without chat.id");
    assert_eq!(refused(r#"{"update_id":1,"callback_query":{"id":"1"}}"#), "callback_query without from");
}

#[test]
fn a_known_kind_beside_an_unknown_field_is_understood() {
    let mut body = private_message(json!({"text": "да"}));
    body["priority"] = json!({"level": 3});
    body["poll"] = Value::Null;
    assert_eq!(read(&body).kind, "message");
    assert_eq!(peek(body.to_string().as_bytes()).conversation_key.as_deref(), Some("7100200300"));
}

#[test]
fn numbers_in_strings_and_ids_above_two_to_the_53_are_read() {
    let body = r#"{"update_id":"900719925474099301","message":{"message_id":"12","date":"1780000000","text":"да",
        "chat":{"id":"9007199254740993","type":"private"},"from":{"id":9007199254740993,"first_name":"А"}}}"#;
    let happened = normalise(body.as_bytes(), received_at()).unwrap().interactions.remove(0);
    assert_eq!(happened.thread.unwrap().key, "9007199254740993");
    assert_eq!(happened.party.unwrap().address.normalised, "9007199254740993");
    let peeked = peek(body.as_bytes());
    assert_eq!(peeked.delivery_id.as_deref(), Some("900719925474099301"));
    assert_eq!(peeked.conversation_key.as_deref(), Some("9007199254740993"));
}

#[test]
fn doubled_keys_are_read_the_same_way_by_peek_and_normaliser() {
    let body = r#"{"update_id":1,"update_id":2,"message":{"message_id":1,"message_id":2,"date":1780000000,"text":"a","text":"b",
        "chat":{"id":5,"id":6,"type":"private"}}}"#;
    let happened = normalise(body.as_bytes(), received_at()).unwrap().interactions.remove(0);
    let Happening::Message { outside_id, content, .. } = happened.what else { panic!("a message") };
    assert_eq!((outside_id.as_str(), content.text.as_deref()), ("2", Some("b")));
    assert_eq!(happened.thread.unwrap().key, "6");
    let peeked = peek(body.as_bytes());
    assert_eq!((peeked.delivery_id.as_deref(), peeked.conversation_key.as_deref()), (Some("2"), Some("6")));
}

#[test]
fn escapes_and_emoji_come_out_as_written() {
    let body = r#"{"update_id":1,"mess\u0061ge":{"message_id":1,"date":1780000000,
        "text":"\u041f\u0440\u0438\u0432\u0435\u0442 \ud83d\ude00\n\"\u00ab\u00bb\"","chat":{"id":5,"type":"private"}}}"#;
    let happened = normalise(body.as_bytes(), received_at()).unwrap().interactions.remove(0);
    let Happening::Message { content, .. } = happened.what else { panic!("a message") };
    assert_eq!(content.text.as_deref(), Some("Привет 😀\n\"«»\""));
    assert_eq!(peek(body.as_bytes()).conversation_key.as_deref(), Some("5"));
}

#[test]
fn fields_of_a_wrong_type_cost_themselves_only() {
    let happened =
        only(&private_message(json!({"text": "да", "entities": {"a": 1}, "photo": "x", "reply_to_message": 3,
        "media_group_id": 5, "contact": [], "forward_origin": "x", "edit_date": {}})));
    let Happening::Message { content, .. } = happened.what else { panic!("a message") };
    assert_eq!(content.text.as_deref(), Some("да"));
}

#[test]
fn the_peek_of_what_is_no_update_is_empty() {
    for body in ["", "ивы", "[]", "{}", "{\"update_id\":{}}", "{\"message\":{\"chat\":{\"id\":1}}}", "{\"update_id\":1"]
    {
        assert_eq!(peek(body.as_bytes()), crate::channels::Peek::default(), "{body}");
    }
}

#[test]
fn a_body_nested_too_deep_is_refused_and_does_not_overflow() {
    let deep = format!("{{\"update_id\":1,\"message\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(refused(&deep), "not JSON");
    assert_eq!(peek(deep.as_bytes()).conversation_key, None);
}

#[test]
fn times_outside_the_calendar_give_way_to_the_time_of_receipt() {
    for date in [i64::MAX, i64::MIN, -1, 0] {
        assert_eq!(only(&private_message(json!({"text": "да", "date": date}))).occurred_at, received_at());
    }
}

fn any_payload() -> impl Strategy<Value = Value> {
    let all: Vec<_> = updates::payloads().into_iter().chain(messages::payloads()).map(|(_, body)| body).collect();
    prop::sample::select(all)
}

/// The JSON pointers (RFC 6901) of all values below this one.
fn pointers(value: &Value, here: &str, all: &mut Vec<String>) {
    let below: Vec<_> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(values) => values.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in below {
        let path = format!("{here}/{name}");
        all.push(path.clone());
        pointers(value, &path, all);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(field(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Names that the code looks for, so that the values behind them are looked at.
fn field() -> impl Strategy<Value = String> {
    let known = [
        "id",
        "chat",
        "from",
        "user",
        "date",
        "message_id",
        "photo",
        "video",
        "sticker",
        "contact",
        "phone_number",
        "user_id",
        "rich_message",
        "blocks",
        "items",
        "cells",
        "caption",
        "text",
        "url",
        "entities",
        "type",
        "venue",
        "location",
        "latitude",
        "poll",
        "options",
        "paid_media",
        "new_chat_members",
        "pinned_message",
        "quote",
        "forward_origin",
        "migrate_to_chat_id",
        "reply_to_message",
        "boost",
        "new_chat_member",
        "status",
        "reactions",
    ];
    prop_oneof![9 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "[a-z_]{1,8}"]
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = peek(&body);
        let _ = normalise(&body, received_at());
    }

    #[test]
    fn any_damage_to_any_update_is_read_without_a_panic(
        body in any_payload(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let mut body = body.to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = normalise(&body, received_at());
        let _ = peek(&body);
        body.truncate(cut.index(body.len()));
        let _ = normalise(&body, received_at());
        prop_assert_eq!(peek(&body), crate::channels::Peek::default());
    }

    #[test]
    fn a_field_of_any_update_may_hold_anything(
        body in any_payload(), at in any::<prop::sample::Index>(), value in any_json(),
    ) {
        let mut body = body;
        let mut paths = Vec::new();
        pointers(&body, "", &mut paths);
        *body.pointer_mut(&paths[at.index(paths.len())]).unwrap() = value;
        let body = body.to_string();
        let _ = peek(body.as_bytes());
        if let Err(refused) = normalise(body.as_bytes(), received_at()) {
            prop_assert!(refused.reason.len() < 120);
        }
    }

    #[test]
    fn any_values_in_an_update_are_read_alike_by_peek_and_normaliser(
        kind in prop::sample::select(&UPDATE_KINDS[..]), body in any_json(),
    ) {
        let update = json!({"update_id": 5, kind: body}).to_string();
        let peeked = peek(update.as_bytes());
        prop_assert_eq!(peeked.delivery_id.as_deref(), Some("5"));
        if let Ok(normalised) = normalise(update.as_bytes(), received_at()) {
            prop_assert_eq!(normalised.kind, kind);
        }
    }
}
