//! One payload for each kind of update.

use super::*;

fn check(name: &str, body: &Value) {
    let normalised = read(body);
    assert!(peek(body.to_string().as_bytes()).delivery_id.is_some());
    insta::with_settings!({snapshot_suffix => name, prepend_module_to_snapshot => false}, {
        insta::assert_debug_snapshot!("update", normalised);
    });
}

fn button(message: Value) -> Value {
    let query = json!({"id": "4382bfdwdsb323b2d9", "from": anna(), "chat_instance": "-3", "data": "order:17:confirm"});
    update("callback_query", query, message)
}

fn membership(kind: &str, chat: Value, old: &str, new: &str, user: &Value) -> Value {
    let member = |status: &str| json!({"user": user, "status": status});
    let body = json!({"chat": chat, "from": anna(), "date": 1_780_000_000,
                      "old_chat_member": member(old), "new_chat_member": member(new)});
    json!({"update_id": 500, kind: body})
}

fn bot() -> Value {
    json!({"id": 900, "is_bot": true, "first_name": "Помощник", "username": "help_bot"})
}

fn channel() -> Value {
    json!({"id": -1_001_000_000_007_i64, "type": "channel", "title": "Новости сада", "username": "sad_news"})
}

pub(super) fn payloads() -> Vec<(&'static str, Value)> {
    let message = json!({"message_id": 11, "from": anna(), "chat": private_chat(), "date": 1_780_000_000});
    let post = json!({"message_id": 21, "sender_chat": channel(), "chat": channel(), "date": 1_780_000_000,
                      "author_signature": "Редакция"});
    let edited = json!({"text": "Где мой заказ № 17?", "edit_date": 1_780_000_060});
    let business = json!({"text": "Можно возврат?", "business_connection_id": "BC_1-x"});
    let boost = json!({"boost_id": "b1", "add_date": 1_780_000_000, "expiration_date": 1_790_000_000,
                       "source": {"source": "premium", "user": anna()}});
    let reaction = json!({"chat": group_chat(), "message_id": 12, "date": 1_780_000_000});
    let address = json!({"country_code": "RU", "state": "", "city": "Тверь", "street_line1": "Лесная, 1",
                         "street_line2": "", "post_code": "170000"});
    vec![
        ("message", update("message", message.clone(), json!({"text": "Где мой заказ?"}))),
        ("edited_message", update("edited_message", message.clone(), edited.clone())),
        ("channel_post", update("channel_post", post.clone(), json!({"text": "Открылись!"}))),
        ("edited_channel_post", update("edited_channel_post", post, edited.clone())),
        (
            "business_connection",
            json!({"update_id": 500, "business_connection": {"id": "BC_1-x", "user": anna(),
                "user_chat_id": 7_100_200_300_i64, "date": 1_780_000_000, "is_enabled": true,
                "rights": {"can_reply": true}}}),
        ),
        ("business_message", update("business_message", message.clone(), business.clone())),
        (
            "edited_business_message",
            update(
                "edited_business_message",
                message.clone(),
                json!({"text": "Нужен возврат", "business_connection_id": "BC_1-x", "edit_date": 1_780_000_060}),
            ),
        ),
        (
            "deleted_business_messages",
            json!({"update_id": 500, "deleted_business_messages": {"business_connection_id": "BC_1-x",
                "chat": private_chat(), "message_ids": [11, 12]}}),
        ),
        (
            "guest_message",
            update(
                "guest_message",
                json!({"message_id": 31, "from": anna(), "chat": group_chat(), "date": 1_780_000_000}),
                json!({"text": "@help_bot какая погода?", "guest_query_id": "gq1"}),
            ),
        ),
        (
            "message_reaction",
            update(
                "message_reaction",
                reaction.clone(),
                json!({"user": anna(), "old_reaction": [{"type": "emoji", "emoji": "👍"}],
                    "new_reaction": [{"type": "emoji", "emoji": "❤"}, {"type": "custom_emoji", "custom_emoji_id": "53"},
                                     {"type": "paid"}]}),
            ),
        ),
        (
            "message_reaction_count",
            update(
                "message_reaction_count",
                reaction,
                json!({"reactions": [{"type": {"type": "emoji", "emoji": "🔥"}, "total_count": 3}]}),
            ),
        ),
        (
            "inline_query",
            json!({"update_id": 500, "inline_query": {"id": "iq1", "from": anna(), "query": "розы", "offset": ""}}),
        ),
        (
            "chosen_inline_result",
            json!({"update_id": 500, "chosen_inline_result": {"result_id": "r1", "from": anna(), "query": "розы"}}),
        ),
        ("callback_query", button(json!({"message": update("m", message, edited)["m"]}))),
        ("callback_query_of_an_inline_message", button(json!({"inline_message_id": "im1"}))),
        (
            "callback_query_under_a_message_too_old",
            button(json!({"message": {"chat": group_chat(), "message_id": 12, "date": 0}})),
        ),
        (
            "shipping_query",
            json!({"update_id": 500, "shipping_query": {"id": "sq1", "from": anna(), "invoice_payload": "order-17",
                "shipping_address": address}}),
        ),
        (
            "pre_checkout_query",
            json!({"update_id": 500, "pre_checkout_query": {"id": "pq1", "from": anna(), "currency": "RUB",
                "total_amount": 129_900, "invoice_payload": "order-17"}}),
        ),
        (
            "purchased_paid_media",
            json!({"update_id": 500, "purchased_paid_media": {"from": anna(), "paid_media_payload": "album-3"}}),
        ),
        (
            "subscription",
            json!({"update_id": 500, "subscription": {"user": anna(), "invoice_payload": "club", "state": "canceled"}}),
        ),
        (
            "poll",
            json!({"update_id": 500, "poll": {"id": "51", "question": "Когда?", "options":
                [{"text": "Утром", "voter_count": 1}], "total_voter_count": 1, "is_closed": true,
                "is_anonymous": true, "type": "regular", "allows_multiple_answers": false}}),
        ),
        (
            "poll_answer",
            json!({"update_id": 500, "poll_answer": {"poll_id": "51", "user": anna(), "option_ids": [0, 2]}}),
        ),
        (
            "poll_answer_of_a_chat",
            json!({"update_id": 500, "poll_answer": {"poll_id": "51", "voter_chat": channel(), "option_ids": [1]}}),
        ),
        ("my_chat_member_blocked", membership("my_chat_member", private_chat(), "member", "kicked", &bot())),
        ("my_chat_member_unblocked", membership("my_chat_member", private_chat(), "kicked", "member", &bot())),
        ("my_chat_member_in_a_group", membership("my_chat_member", group_chat(), "left", "administrator", &bot())),
        ("chat_member_joined", membership("chat_member", group_chat(), "left", "member", &anna())),
        ("chat_member_left", membership("chat_member", group_chat(), "member", "kicked", &anna())),
        ("chat_member_promoted", membership("chat_member", group_chat(), "member", "administrator", &anna())),
        ("chat_member_bot", membership("chat_member", group_chat(), "left", "member", &bot())),
        (
            "chat_join_request",
            json!({"update_id": 500, "chat_join_request": {"chat": group_chat(), "from": anna(),
                "user_chat_id": 7_100_200_300_i64, "date": 1_780_000_000, "bio": "Люблю георгины"}}),
        ),
        ("chat_boost", json!({"update_id": 500, "chat_boost": {"chat": channel(), "boost": boost}})),
        (
            "removed_chat_boost",
            json!({"update_id": 500, "removed_chat_boost": {"chat": channel(), "boost_id": "b1",
                "remove_date": 1_780_000_000, "source": {"source": "premium", "user": anna()}}}),
        ),
        ("managed_bot", json!({"update_id": 500, "managed_bot": {"user": anna(), "bot": bot()}})),
    ]
}

#[test]
fn every_kind_of_update_is_understood() {
    let payloads = payloads();
    for kind in UPDATE_KINDS {
        assert!(payloads.iter().any(|(_, body)| body.get(kind).is_some()), "no payload of kind {kind}");
    }
    for (name, body) in payloads {
        check(name, &body);
    }
}

#[test]
fn the_peek_orders_what_stands_in_one_thread() {
    for (name, body) in payloads() {
        let key = peek(body.to_string().as_bytes()).conversation_key.unwrap();
        for thread in read(&body).interactions.into_iter().filter_map(|happened| happened.thread) {
            assert_eq!(thread.outside.key, key, "{name}");
        }
    }
}

#[test]
fn a_delivery_that_comes_again_gives_the_same() {
    for (name, body) in payloads() {
        assert_eq!(read(&body), read(&body), "{name}");
    }
}

#[test]
fn a_restricted_user_who_is_no_member_has_left() {
    let member = |status: &str, in_it: bool| json!({"user": anna(), "status": status, "is_member": in_it});
    let body = json!({"update_id": 1, "chat_member": {"chat": group_chat(), "from": anna(), "date": 1_780_000_000,
        "old_chat_member": member("restricted", true), "new_chat_member": member("restricted", false)}});
    assert_eq!(only(&body).what, Happening::Left);
}
