//! One payload for each thing a message may say.

use events::conversation::content::{AttachmentLocation, Card, MessageContent, MessageKind, MessageMark};
use events::values::ContactKind;

use super::*;

fn file(id: &str, fields: Value) -> Value {
    let base = json!({"file_id": format!("AgAC{id}"), "file_unique_id": format!("AQAD{id}"), "file_size": 4096});
    update("f", base, fields)["f"].clone()
}

fn sizes() -> Value {
    json!([
        file("s", json!({"width": 90, "height": 60})),
        file("l", json!({"width": 1280, "height": 853, "file_size": 160_000})),
        file("m", json!({"width": 320, "height": 213}))
    ])
}

pub(super) fn payloads() -> Vec<(&'static str, Value)> {
    let place = json!({"latitude": 55.7558, "longitude": 37.6173});
    let forward = |origin: Value| private_message(json!({"text": "См. ниже", "forward_origin": origin}));
    let channel = json!({"id": -1_001_000_000_007_i64, "type": "channel", "title": "Новости сада"});
    vec![
        ("text", private_message(json!({"text": "Здравствуйте! 👋🏽"}))),
        (
            "links",
            private_message(json!({"text": "😀 наш сайт, Анна, https://example.org", "entities": [
                {"type": "text_link", "offset": 3, "length": 8, "url": "https://example.org/a?b=1"},
                {"type": "text_mention", "offset": 13, "length": 4, "user": anna()},
                {"type": "url", "offset": 19, "length": 19}]})),
        ),
        (
            "photo",
            private_message(json!({"photo": sizes(), "caption": "Вот чек", "media_group_id": "1337",
                "caption_entities": [{"type": "text_link", "offset": 0, "length": 3, "url": "https://example.org/c"}]})),
        ),
        (
            "video",
            private_message(json!({"video": file("v", json!({"width": 512, "height": 640, "duration": 13,
                "mime_type": "video/mp4", "file_name": "брак.mp4"}))})),
        ),
        (
            "animation",
            private_message(json!({"animation": file("a", json!({"width": 10, "height": 10, "duration": 1})),
                "document": file("a", json!({}))})),
        ),
        ("live_photo", private_message(json!({"live_photo": file("lp", json!({"duration": 3})), "photo": sizes()}))),
        ("video_note", private_message(json!({"video_note": file("n", json!({"length": 240, "duration": 5}))}))),
        (
            "audio",
            private_message(json!({"audio": file("u", json!({"duration": 200, "performer": "Хор", "title": "Весна",
                "mime_type": "audio/mpeg", "file_name": "spring.mp3"}))})),
        ),
        ("voice", private_message(json!({"voice": file("o", json!({"duration": 7, "mime_type": "audio/ogg"}))}))),
        (
            "document",
            private_message(json!({"document": file("d", json!({"file_name": "Договор № 5.pdf",
                "mime_type": "application/pdf"})), "caption": "Подписала"})),
        ),
        (
            "sticker",
            private_message(json!({"sticker": file("k", json!({"type": "regular", "width": 512, "height": 512,
                "is_animated": false, "is_video": true, "emoji": "🌷", "set_name": "Garden"}))})),
        ),
        (
            "own_contact",
            private_message(json!({"contact": {"phone_number": "79161234567", "first_name": "Анна",
                "last_name": "Орлова", "user_id": 7_100_200_300_i64}})),
        ),
        (
            "foreign_contact",
            private_message(json!({"contact": {"phone_number": "8 (916) 123-45-67", "first_name": "Мастер",
                "vcard": "BEGIN:VCARD\nEND:VCARD"}})),
        ),
        ("location", private_message(json!({"location": place}))),
        (
            "live_location",
            private_message(json!({"location": {"latitude": 55.7, "longitude": 37.6, "live_period": 900}})),
        ),
        (
            "venue",
            private_message(json!({"location": place, "venue": {"location": place, "title": "Склад",
                "address": "Тверь, Лесная, 1"}})),
        ),
        (
            "poll",
            private_message(json!({"poll": {"id": "51", "question": "Когда удобно?", "options":
                [{"text": "Утром", "voter_count": 0}, {"text": "Вечером", "voter_count": 0}]}})),
        ),
        ("dice", private_message(json!({"dice": {"emoji": "🎲", "value": 6}}))),
        ("game", private_message(json!({"game": {"title": "Сад", "description": "Полей грядку", "photo": sizes()}}))),
        (
            "invoice",
            private_message(json!({"invoice": {"title": "Заказ № 17", "description": "Розы", "start_parameter": "",
                "currency": "RUB", "total_amount": 129_900}})),
        ),
        (
            "successful_payment",
            private_message(json!({"successful_payment": {"currency": "XTR", "total_amount": 50,
                "invoice_payload": "order-17", "telegram_payment_charge_id": "c1", "provider_payment_charge_id": "p1"}})),
        ),
        ("story", private_message(json!({"story": {"chat": channel, "id": 2}}))),
        (
            "paid_media",
            private_message(json!({"caption": "Мастер-класс", "paid_media": {"star_count": 5, "paid_media": [
                {"type": "preview", "width": 10, "height": 10}, {"type": "photo", "photo": sizes()},
                {"type": "video", "video": file("pv", json!({"width": 4, "height": 3, "duration": 2}))}]}})),
        ),
        (
            "giveaway",
            private_message(json!({"giveaway": {"chats": [channel], "winners_selection_date": 1_790_000_000,
                "winner_count": 3, "prize_description": "Секатор"}})),
        ),
        (
            "giveaway_winners",
            private_message(json!({"giveaway_winners": {"chat": channel, "giveaway_message_id": 4,
                "winners_selection_date": 1_780_000_000, "winner_count": 1, "winners": [anna()]}})),
        ),
        (
            "checklist",
            private_message(json!({"checklist": {"title": "Переезд", "tasks": [
                {"id": 1, "text": "Коробки", "completion_date": 1_780_000_000}, {"id": 2, "text": "Кот"}]}})),
        ),
        (
            "users_shared",
            private_message(json!({"users_shared": {"request_id": 1, "users": [
                {"user_id": 5, "first_name": "Олег"}, {"user_id": 6}]}})),
        ),
        ("chat_shared", private_message(json!({"chat_shared": {"request_id": 1, "chat_id": -100, "title": "Дача"}}))),
        ("web_app_data", private_message(json!({"web_app_data": {"data": "{\"size\":42}", "button_text": "Размер"}}))),
        (
            "rich_message",
            private_message(json!({"rich_message": {"blocks": [
                {"type": "heading", "size": 1, "text": "Заявка"},
                {"type": "paragraph", "text": ["Прошу ", {"type": "bold", "text": "срочно"}, ", см. ",
                    {"type": "url", "text": "фото", "url": "https://example.org/p"}]},
                {"type": "list", "items": [{"label": "1.", "blocks": [{"type": "paragraph", "text": "кран"}]}]},
                {"type": "table", "cells": [[{"text": "а", "align": "left", "valign": "top"},
                                             {"text": "б", "align": "left", "valign": "top"}]]},
                {"type": "photo", "photo": sizes(), "caption": {"text": "течёт", "credit": "я"}},
                {"type": "voice_note", "voice_note": file("rv", json!({"duration": 2}))}]}})),
        ),
        (
            "forward_from_a_user",
            forward(json!({"type": "user", "date": 1_770_000_000, "sender_user":
                {"id": 5, "is_bot": false, "first_name": "Олег"}})),
        ),
        (
            "forward_from_a_hidden_user",
            forward(json!({"type": "hidden_user", "date": 1_770_000_000, "sender_user_name": "Некто"})),
        ),
        ("forward_from_a_chat", forward(json!({"type": "chat", "date": 1_770_000_000, "sender_chat": group_chat()}))),
        (
            "forward_from_a_channel",
            forward(json!({"type": "channel", "date": 1_770_000_000, "chat": channel, "message_id": 3})),
        ),
        (
            "forward_in_the_old_form",
            private_message(json!({"text": "старое", "forward_date": 1_570_000_000, "forward_sender_name": "Некто"})),
        ),
        ("via_bot", private_message(json!({"text": "🌹", "via_bot": {"id": 9, "is_bot": true, "first_name": "Б"}}))),
        (
            "reply",
            private_message(json!({"text": "Да", "reply_to_message": {"message_id": 10, "date": 1_779_000_000,
                "chat": private_chat(), "text": "Вы подтверждаете?"}, "quote": {"text": "подтверждаете", "position": 3}})),
        ),
        (
            "external_reply",
            private_message(json!({"text": "Это правда?", "external_reply": {"origin": {"type": "channel",
                "date": 1_770_000_000, "chat": channel, "message_id": 3}, "chat": channel, "message_id": 3}})),
        ),
        (
            "on_behalf_of_a_group",
            group_message(json!({"text": "Объявление", "sender_chat": group_chat(), "from":
                {"id": 1_087_968_824, "is_bot": true, "first_name": "Group", "username": "GroupAnonymousBot"}})),
        ),
        (
            "from_a_bot",
            group_message(json!({"text": "Курс: 90", "from": {"id": 9, "is_bot": true, "first_name": "Курсы"}})),
        ),
        ("unknown_content", private_message(json!({"hologram": {"depth": 3}}))),
        ("empty", private_message(json!({}))),
    ]
}

#[test]
fn everything_a_message_may_say_is_read() {
    for (name, body) in payloads() {
        let normalised = read(&body);
        insta::with_settings!({snapshot_suffix => name, prepend_module_to_snapshot => false}, {
            insta::assert_debug_snapshot!("message", normalised.interactions);
        });
    }
}

fn message(body: &Value) -> (MessageKind, Vec<MessageMark>, MessageContent) {
    match read(body).interactions.remove(0).what {
        Happening::Message { kind, marks, content, .. } => (kind, marks, content),
        other => panic!("a message, not {other:?}"),
    }
}

#[test]
fn the_largest_size_of_a_picture_is_taken_wherever_it_stands() {
    let (_, _, content) = message(&private_message(json!({"photo": sizes()})));
    assert_eq!(content.attachments.len(), 1);
    assert_eq!(content.attachments[0].dimensions, Some((1280, 853)));
}

#[test]
fn an_own_contact_card_shares_a_phone_number_and_a_foreign_one_does_not() {
    let card = |user: i64| {
        private_message(json!({"contact": {"phone_number": "79161234567", "first_name": "А",
        "user_id": user}}))
    };
    let own = read(&card(7_100_200_300)).interactions;
    let Happening::SharedContact { other } = &own[1].what else { panic!("a shared contact") };
    assert_eq!((other.kind, other.address.normalised.as_str()), (ContactKind::Phone, "+79161234567"));
    assert_eq!(other.address.source_form, "79161234567");
    assert_eq!(read(&card(5)).interactions.len(), 1);
}

#[test]
fn a_phone_number_that_cannot_be_one_stays_as_written() {
    let (_, _, content) =
        message(&private_message(json!({"contact": {"phone_number": "112", "first_name": "Служба"}})));
    let [Card::Contact { phone, phone_source_form, .. }] = &content.cards[..] else { panic!("a card") };
    assert_eq!((phone.as_deref(), phone_source_form.as_deref()), (None, Some("112")));
}

#[test]
fn a_foreign_number_in_international_form_without_a_plus_is_understood() {
    let (_, _, content) =
        message(&private_message(json!({"contact": {"phone_number": "4915112345678", "first_name": "Ханс"}})));
    let [Card::Contact { phone, .. }] = &content.cards[..] else { panic!("a card") };
    assert_eq!(phone.as_deref(), Some("+4915112345678"));
}

#[test]
fn a_number_that_two_countries_have_is_russian_on_a_foreign_card_and_international_on_an_own_one() {
    let phone = |user: Value| {
        let card = json!({"contact": {"phone_number": "84961234567", "first_name": "А", "user_id": user}});
        let (_, _, content) = message(&private_message(card));
        let [Card::Contact { phone, .. }] = &content.cards[..] else { panic!("a card") };
        phone.clone().unwrap()
    };
    assert_eq!(phone(json!(7_100_200_300_i64)), "+84961234567");
    assert_eq!(phone(Value::Null), "+74961234567");
}

#[test]
fn an_empty_unique_id_is_none() {
    let (_, _, content) = message(&private_message(json!({"voice": {"file_id": "x", "file_unique_id": ""}})));
    let expected = AttachmentLocation::Provider { reference: "x".into(), unique: None };
    assert_eq!(content.attachments[0].location, expected);
}

#[test]
fn a_file_that_cannot_be_fetched_keeps_the_kind_and_marks_the_message_as_damaged() {
    let (kind, marks, content) = message(&private_message(json!({"voice": {"duration": 3}, "caption": "слушайте"})));
    assert_eq!((kind, marks), (MessageKind::Voice, vec![MessageMark::Damaged]));
    assert_eq!(content.text.as_deref(), Some("слушайте"));
}

#[test]
fn the_message_that_opened_a_topic_is_not_what_is_answered() {
    let opening =
        json!({"message_id": 4, "date": 1_779_000_000, "chat": group_chat(), "forum_topic_created": {"name": "x"}});
    let in_topic = |id: i64| {
        let mut opening = opening.clone();
        opening["message_id"] = json!(id);
        group_message(
            json!({"text": "Да", "message_thread_id": 4, "is_topic_message": true, "reply_to_message": opening}),
        )
    };
    let reply_to = |body: &Value| match only(body).what {
        Happening::Message { reply_to, .. } => reply_to,
        other => panic!("a message, not {other:?}"),
    };
    assert_eq!(reply_to(&in_topic(4)), None);
    assert_eq!(reply_to(&in_topic(9)).as_deref(), Some("9"));
}
