//! A customer writes to the bot; Telegram delivers as it pleases: twice, at once, in bursts, in the wrong order.

use std::collections::{BTreeMap, BTreeSet};

use events::DomainEvent;
use events::conversation::ConversationEvent;
use events::intake::IntakeEvent;
use futures::future::join_all;
use projections::conversation::{ConversationFilter, ConversationSort};
use projections::intake::{IntakeFilter, IntakeOutcome};
use projections::timeline::{EntryBody, MessageDirection};
use projections::views::{Order, PageRequest};
use serde_json::json;

use crate::fakes::MailServer;
use crate::stage::{SECRET, Stage, update, update_in, viewer};

fn raw_deliveries(events: &[events::codec::Decoded]) -> usize {
    let raw = |event: &DomainEvent| matches!(event, DomainEvent::Intake(IntakeEvent::Received(_)));
    events.iter().filter(|decoded| raw(&decoded.event)).count()
}

#[actix_web::test]
async fn a_message_delivered_twice_is_there_once() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    let first = stage.post_update(bot, &update(11, "Где мой заказ?")).await;
    assert_eq!(first.status(), 200);
    let second = stage.post_update(bot, &update(11, "Где мой заказ?")).await;
    assert_eq!(second.status(), 200);
    assert_eq!(first.bytes().await.unwrap(), second.bytes().await.unwrap(), "it is the same event");
    stage.outcomes(1).await;
    assert_eq!(stage.texts().await.len(), 1);
    assert_eq!(raw_deliveries(&stage.all().await), 1);

    stage.caught_up().await;
    let page = PageRequest::first(10, Order::Ascending);
    let views = stage.app.views().unwrap();
    let (viewer, filter) = (viewer(), ConversationFilter::default());
    let inbox = views.conversations(&viewer, &filter, ConversationSort::default(), &page).await.unwrap().items;
    assert_eq!(inbox.len(), 1);
    let timeline = views.timeline(&viewer, inbox[0].conversation, &page).await.unwrap().items;
    let EntryBody::Message(message) = &timeline[0].body else { panic!("a message") };
    assert_eq!(message.direction, MessageDirection::Inbound);
    assert_eq!(message.content.as_ref().unwrap().text.as_deref(), Some("Где мой заказ?"));
    stage.app.stop().await;
}

#[actix_web::test]
async fn fifty_copies_at_once_are_one_message() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    let body = update(12, "Алло");
    let answers = join_all((0..50).map(|_| stage.post_update(bot, &body))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    stage.post_update(bot, &update(13, "последнее")).await;
    stage.outcomes(2).await;
    let texts: Vec<String> = stage.texts().await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["Алло", "последнее"]);
    assert_eq!(raw_deliveries(&stage.all().await), 2);
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_burst_of_many_customers_in_the_wrong_order_gives_each_their_own_conversation() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    let (customers, messages) = (8, 12);
    let mut updates = Vec::new();
    for number in (1..=messages).rev() {
        for customer in 1..=customers {
            updates.push(update_in(customer, number, &format!("{customer}: {number}")));
        }
    }
    let answers = join_all(updates.iter().chain(&updates).map(|update| stage.post_update(bot, update))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    stage.outcomes(updates.len()).await;

    let mut by_conversation = BTreeMap::<_, Vec<String>>::new();
    for (conversation, text) in stage.texts().await {
        by_conversation.entry(conversation).or_default().push(text);
    }
    assert_eq!(by_conversation.len(), usize::try_from(customers).unwrap());
    for texts in by_conversation.values() {
        let different: BTreeSet<&String> = texts.iter().collect();
        let authors: BTreeSet<&str> = texts.iter().filter_map(|text| text.split(':').next()).collect();
        assert_eq!((texts.len(), different.len(), authors.len()), (12, 12, 1));
    }
    stage.app.stop().await;
}

#[actix_web::test]
async fn an_album_is_several_messages_of_one_group_in_one_conversation() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    let picture = |number: i64| {
        let mut update = update(number, "");
        let message = update["message"].as_object_mut().unwrap();
        message.remove("text");
        message.insert("media_group_id".to_owned(), json!("album-1"));
        let sizes = json!([{"file_id": format!("f{number}"), "file_unique_id": format!("u{number}"), "width": 9,
            "height": 9, "file_size": 3}]);
        message.insert("photo".to_owned(), sizes);
        update
    };
    for number in 21..24 {
        stage.telegram.has_file(&format!("f{number}"), &format!("photos/{number}.jpg"), b"jpg").await;
    }
    let pictures = [picture(23), picture(21), picture(22)];
    join_all(pictures.iter().chain(&pictures).map(|picture| stage.post_update(bot, picture))).await;
    stage.outcomes(3).await;
    let mut albums = Vec::new();
    for decoded in stage.all().await {
        if let DomainEvent::Conversation(ConversationEvent::MessageReceived(received)) = decoded.event {
            albums.push((decoded.recorded.stream, received.album.unwrap()));
        }
    }
    assert_eq!(albums.len(), 3);
    assert!(albums.iter().all(|album| *album == albums[0]), "one conversation, one album");
    stage.app.stop().await;
}

#[actix_web::test]
async fn what_is_authentic_but_cannot_be_read_is_taken_and_shown() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    for body in ["not JSON at all", "[1, 2]", r#"{"update_id": 7, "something_new": {}}"#] {
        let answer = stage.post_update_signed(bot, body.to_owned(), SECRET).await;
        assert!(answer.status().is_success(), "{body}: {}", answer.status());
    }
    stage.outcomes(3).await;
    stage.caught_up().await;
    let filter = IntakeFilter { account: Some(bot), ..IntakeFilter::default() };
    let page = PageRequest::first(10, Order::Ascending);
    let shown = stage.app.views().unwrap().intake(&viewer(), &filter, &page).await.unwrap().items;
    assert_eq!(shown.len(), 3);
    for delivery in &shown[..2] {
        assert_eq!(delivery.outcome, IntakeOutcome::Unrecognised);
        assert!(delivery.reason.is_some());
    }
    stage.app.stop().await;
}

/// A mail with this Message-ID whose body has so many bytes of `fill`.
fn letter(message_id: &str, fill: char, bytes: usize) -> Vec<u8> {
    let headers = format!(
        "From: olga@client.example\r\nTo: support@shop.example\r\nMessage-ID: <{message_id}@client.example>\r\n\
         Date: Mon, 31 Aug 2026 18:30:05 +0300\r\nSubject: s\r\n\r\n"
    );
    let line = format!("{}\r\n", fill.to_string().repeat(70));
    (headers + &line.repeat(bytes / line.len() + 1)).into_bytes()
}

#[actix_web::test]
async fn large_mails_under_one_message_id_are_kept_unless_they_are_the_same() {
    const LARGE: usize = 300 * 1024;
    let stage = Stage::start().await;
    let server = MailServer::start().await;
    let mailbox = stage.open_mailbox(server.settings.clone()).await;
    let mut kept = 0;
    for (story, letters, different) in [
        ("two large ones", [letter("a", 'a', LARGE), letter("a", 'b', LARGE)], 2),
        ("a large one after a small one", [letter("b", 'a', 10), letter("b", 'a', LARGE)], 2),
        ("a small one after a large one", [letter("c", 'a', LARGE), letter("c", 'a', 10)], 2),
        ("a large one twice", [letter("d", 'a', LARGE), letter("d", 'a', LARGE)], 1),
    ] {
        for letter in letters.iter().chain(&letters) {
            stage.post_mail(mailbox, letter.clone()).await;
        }
        kept += different;
        assert_eq!(raw_deliveries(&stage.all().await), kept, "{story}");
    }
    let body = letter("e", 'a', LARGE);
    join_all((0..4).map(|_| stage.post_mail(mailbox, body.clone()))).await;
    assert_eq!(raw_deliveries(&stage.all().await), kept + 1, "copies at once are one");
    stage.app.stop().await;
}
