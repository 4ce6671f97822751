//! A visitor of a shop's site chats: writes, leaves, comes back, and sees every message once.

use std::collections::BTreeMap;
use std::sync::Arc;

use events::conversation::ConversationEvent;
use events::conversation::ConversationEvent::{MessageDelivered, MessageQueued, MessageReceived};
use events::conversation::content::MessageMark;
use events::feed::Checkpoints;
use events::ids::{AccountId, ConversationId, IdHasher};
use futures::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use letopis::clock::SystemClock;
use letopis::config::Config;
use letopis::engines::{Access, Engines};
use models::conversation::ConversationCommand;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::stage::{SECRET, SECRET_NOTE, Stage, in_time};

const SITE: &str = "https://shop.example";

/// A visitor, signed by the site for so many seconds from now.
fn signed(id: &str, seconds: i64) -> Value {
    use events::clock::Clock;
    let expires_at = SystemClock.now().timestamp() + seconds;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("letopis-webchat-1\n{id}\n{expires_at}\n\n\n\n").as_bytes());
    json!({"id": id, "expires_at": expires_at, "signature": hex::encode(mac.finalize().into_bytes())})
}

fn delivery(visitor: &str, id: &str, text: &str) -> Value {
    json!({"id": id, "type": "message", "visitor": signed(visitor, 600), "text": text})
}

/// The page of a visitor.
struct Page(WebSocketStream<TcpStream>);

impl Page {
    async fn open(stage: &Stage, account: &str, origin: Option<&str>) -> Result<Self, Error> {
        let address = stage.app.address();
        let mut request = format!("ws://{address}/webchat/{account}").into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        let (socket, _) = client_async(request, TcpStream::connect(address).await.unwrap()).await?;
        Ok(Self(socket))
    }

    /// Opens the socket and resumes; gives `until`.
    async fn resume(stage: &Stage, account: AccountId, visitor: &str, after: Option<&str>) -> (Self, Option<String>) {
        let mut page = Self::open(stage, &account.to_string(), Some(SITE)).await.unwrap();
        let mut frame = json!({"type": "resume", "visitor": signed(visitor, 600)});
        if let Some(after) = after {
            frame["after"] = json!(after);
        }
        page.say(&frame).await;
        let resumed = page.next().await;
        assert_eq!(resumed["type"], "resumed", "{resumed}");
        (page, resumed["until"].as_str().map(str::to_owned))
    }

    async fn say(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn seen(&mut self, frame: &Value) {
        self.say(&json!({"type": "seen", "up_to": frame["sequence"]})).await;
    }

    async fn next(&mut self) -> Value {
        loop {
            match in_time(self.0.next()).await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a frame, got {other:?}"),
            }
        }
    }

    /// The next frame of this type.
    async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    async fn close_code(&mut self) -> u16 {
        loop {
            match in_time(self.0.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(Message::Close(None))) | None | Some(Err(_)) => panic!("expected a close code"),
                Some(Ok(_)) => {}
            }
        }
    }
}

fn conversation(stage: &Stage, account: AccountId, visitor: &str) -> ConversationId {
    let hasher: &IdHasher = stage.app.engines().codec.hasher();
    hasher.conversation(account, visitor)
}

async fn post(stage: &Stage, account: AccountId, delivery: &Value) {
    let request = stage.client.post(stage.url(&format!("/webhooks/webchat/{account}")));
    assert_eq!(request.body(delivery.to_string()).send().await.unwrap().status(), 200);
}

#[actix_web::test]
async fn a_visitor_writes_and_gets_the_answer_over_the_socket() {
    let stage = Stage::start().await;
    let account = stage.open_webchat(&[SITE]).await;
    let (mut page, until) = Page::resume(&stage, account, "v1", None).await;
    assert_eq!(until, None);
    page.say(&json!({"type": "typing"})).await;
    page.say(&delivery("v1", "m-1", "Есть доставка?")).await;
    assert_eq!(page.next_of("ack").await["id"], "m-1");
    page.say(&delivery("v1", "m-1", "Есть доставка?")).await;
    assert_eq!(page.next_of("ack").await["id"], "m-1", "the same again is taken and changes nothing");
    stage.outcomes(1).await;
    let conversation = conversation(&stage, account, "v1");
    let message = stage.write(conversation, "Да, завтра").await;
    let (page, answer) = loop {
        let frame = page.next_of("message").await;
        if frame["from"]["kind"] == "operator" {
            break (page, frame);
        }
        assert_eq!((&frame["id"], &frame["from"]["kind"]), (&json!("m-1"), &json!("visitor")));
    };
    let mut page = page;
    assert_eq!(answer["text"], "Да, завтра");
    let history = stage.history(conversation).await;
    let started = |event: &ConversationEvent| matches!(event, ConversationEvent::DeliveryStarted(_));
    assert!(!history.iter().any(started), "it is not delivered before the page says so");
    page.seen(&answer).await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));

    // The visitor answers our message by the id that the page knows.
    let mut reply = delivery("v1", "m-2", "Спасибо");
    reply["reply_to"] = answer["id"].clone();
    page.say(&reply).await;
    let frame = loop {
        let frame = page.next_of("message").await;
        if frame["id"] == "m-2" {
            break frame;
        }
    };
    assert_eq!(frame["reply_to"], answer["id"]);
    stage.command(conversation, ConversationCommand::Close { reason: "resolved".to_owned() }).await;
    page.next_of("closed").await;
    let texts: Vec<String> = stage.texts().await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["Есть доставка?", "Спасибо"]);
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_note_never_goes_to_the_page() {
    let stage = Stage::start().await;
    let account = stage.open_webchat(&[SITE]).await;
    let (mut page, _) = Page::resume(&stage, account, "v1", None).await;
    page.say(&delivery("v1", "m-1", "Есть доставка?")).await;
    stage.outcomes(1).await;
    let talk = conversation(&stage, account, "v1");
    stage.note(talk).await;
    stage.write(talk, "Да, завтра").await;
    stage.note(talk).await;
    stage.write(talk, "К вечеру").await;
    let mut frames = Vec::new();
    while frames.last().is_none_or(|frame: &Value| frame["text"] != "К вечеру") {
        frames.push(page.next().await);
    }
    drop(page);
    // And not to a page that asks for what there was.
    let (mut page, _) = Page::resume(&stage, account, "v1", None).await;
    for _ in 0..3 {
        frames.push(page.next_of("message").await);
    }
    assert!(frames.iter().all(|frame| !frame.to_string().contains(SECRET_NOTE)), "{frames:?}");
    stage.app.stop().await;
}

#[actix_web::test]
async fn an_answer_waits_for_a_visitor_who_is_away_and_comes_once() {
    let stage = Stage::start().await;
    let account = stage.open_webchat(&[SITE]).await;
    post(&stage, account, &delivery("v1", "m-1", "Есть доставка?")).await;
    stage.outcomes(1).await;
    let talk = conversation(&stage, account, "v1");
    let message = stage.write(talk, "Да, завтра").await;
    let stage = stage.restart().await;
    let (mut page, until) = Page::resume(&stage, account, "v1", None).await;
    let own = page.next().await;
    let answer = page.next().await;
    assert_eq!((&own["id"], &answer["text"]), (&json!("m-1"), &json!("Да, завтра")));
    assert_eq!(answer["sequence"].as_str(), until.as_deref());
    page.seen(&answer).await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
    let attempts = |event: &ConversationEvent| matches!(event, ConversationEvent::DeliveryStarted(_));
    let history = stage.history(talk).await;
    assert_eq!(history.iter().filter(|event| attempts(event)).count(), 1, "none while nobody was there");
    drop(page);

    let (mut page, _) = Page::resume(&stage, account, "v1", answer["sequence"].as_str()).await;
    page.say(&delivery("v1", "m-2", "Спасибо")).await;
    assert_eq!(page.next_of("message").await["id"], "m-2", "what it has does not come again");
    stage.app.stop().await;
}

#[actix_web::test]
async fn an_answer_that_the_checkpoint_has_passed_is_taken_up_when_the_visitor_connects() {
    let stage = Stage::start().await;
    let account = stage.open_webchat(&[SITE]).await;
    post(&stage, account, &delivery("v1", "m-1", "Есть доставка?")).await;
    stage.outcomes(1).await;
    let talk = conversation(&stage, account, "v1");
    let message = stage.write(talk, "Да, завтра").await;
    let passed = Checkpoints::of_position(stage.app.log().head().await.unwrap());
    let pass = async |config: &Config| {
        let engines = Engines::open(config, Access::Read, Arc::new(SystemClock)).await.unwrap();
        engines.checkpoints(config).await.unwrap().store(letopis::outbound::NAME, &passed).await.unwrap();
    };
    let stage = stage.restart_after(pass).await;
    let (mut page, _) = Page::resume(&stage, account, "v1", None).await;
    let _own = page.next().await;
    let answer = page.next().await;
    page.seen(&answer).await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
    let ready = stage.client.get(stage.url("/health/ready")).send().await.unwrap();
    let report: Value = serde_json::from_slice(&ready.bytes().await.unwrap()).unwrap();
    let consumers = report["consumers"].as_array().unwrap();
    assert!(consumers.iter().any(|consumer| consumer["name"] == "outbound"), "{report}");
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_page_that_reconnects_at_any_point_misses_nothing_and_gets_nothing_twice() {
    let stage = Stage::start().await;
    let account = stage.open_webchat(&[SITE]).await;
    post(&stage, account, &delivery("v1", "m-0", "начало")).await;
    stage.outcomes(1).await;
    let talk = conversation(&stage, account, "v1");
    let total = 60_u64;
    let writing = async {
        for number in 1..total {
            if number % 3 == 0 {
                post(&stage, account, &delivery("v1", &format!("m-{number}"), &format!("{number}"))).await;
            } else {
                stage.write(talk, &format!("{number}")).await;
            }
        }
    };
    let reading = async {
        let mut got = BTreeMap::<u64, String>::new();
        let mut after: Option<String> = None;
        // A fixed series of small numbers that look random: how many frames each connection lives for.
        let mut life = 7_u64;
        while got.len() < usize::try_from(total).unwrap() {
            let (mut page, _) = Page::resume(&stage, account, "v1", after.as_deref()).await;
            life = (life * 5 + 3) % 16;
            for _ in 0..life % 5 {
                if got.len() == usize::try_from(total).unwrap() {
                    break;
                }
                let frame = page.next_of("message").await;
                let sequence: u64 = frame["sequence"].as_str().unwrap().parse().unwrap();
                assert!(got.last_key_value().is_none_or(|(last, _)| sequence > *last), "in order and once");
                got.insert(sequence, frame["text"].as_str().unwrap().to_owned());
                if life.is_multiple_of(2) {
                    page.seen(&frame).await;
                }
                after = frame["sequence"].as_str().map(str::to_owned);
            }
        }
        got
    };
    let ((), got) = futures::join!(writing, reading);
    let mut expected = Vec::new();
    for (place, event) in stage.history(talk).await.into_iter().enumerate() {
        let content = match event {
            MessageReceived(received) => received.content,
            MessageQueued(queued) => queued.content,
            _ => continue,
        };
        expected.push((u64::try_from(place).unwrap(), content.into_value().unwrap().text.unwrap()));
    }
    assert_eq!(got.into_iter().collect::<Vec<_>>(), expected);
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_page_cannot_say_that_it_has_what_it_was_not_sent() {
    let stage = Stage::start().await;
    let account = stage.open_webchat(&[SITE]).await;
    post(&stage, account, &delivery("v1", "m-1", "Есть доставка?")).await;
    stage.outcomes(1).await;
    let talk = conversation(&stage, account, "v1");
    let (mut page, _) = Page::resume(&stage, account, "v1", Some("1000000")).await;
    page.say(&json!({"type": "seen", "up_to": "1000000"})).await;
    // The ack shows that the frame before it was read.
    page.say(&delivery("v1", "m-2", "Алло")).await;
    page.next_of("ack").await;
    let message = stage.write(talk, "Да, завтра").await;
    let answer = loop {
        let frame = page.next_of("message").await;
        if frame["from"]["kind"] == "operator" {
            break frame;
        }
    };
    let started = |event: &ConversationEvent| matches!(event, ConversationEvent::DeliveryStarted(_));
    assert!(!stage.history(talk).await.iter().any(started));
    page.seen(&answer).await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
    stage.app.stop().await;
}

#[actix_web::test]
async fn nobody_reads_who_is_not_signed_or_comes_from_another_site() {
    let stage = Stage::start_with(|config| config.webhooks.max_body_bytes = 10_000).await;
    let account = stage.open_webchat(&[SITE]).await;
    let address = account.to_string();
    let refused = async |account: &str, origin| match Page::open(&stage, account, Some(origin)).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => 101,
    };
    assert_eq!(refused(&address, "https://evil.example").await, 403);
    let nobody = AccountId::new(uuid::Uuid::from_u128(1)).to_string();
    assert_eq!(refused(&nobody, SITE).await, 404);
    assert_eq!(refused(&stage.open_telegram().await.to_string(), SITE).await, 404);

    let mut forged = signed("v1", 600);
    forged["id"] = json!("v2");
    let endings = [
        (json!({"type": "resume", "visitor": forged}).to_string(), 4401),
        (json!({"type": "resume"}).to_string(), 4401),
        (json!({"type": "resume", "visitor": signed("v1", -1)}).to_string(), 4410),
        (json!({"type": "typing"}).to_string(), 4400),
        (json!({"type": "resume", "visitor": signed("v1", 600), "thread": "a/b"}).to_string(), 4400),
        ("ж".repeat(10_000), 1009),
    ];
    for (first, code) in endings {
        let mut page = Page::open(&stage, &address, Some(SITE)).await.unwrap();
        page.0.send(Message::text(first.clone())).await.unwrap();
        assert_eq!(page.close_code().await, code, "{first:.80}");
    }

    post(&stage, account, &delivery("v1", "m-1", "личное")).await;
    stage.outcomes(1).await;
    let (mut page, until) = Page::resume(&stage, account, "v2", None).await;
    assert_eq!(until, None, "another visitor's conversation is not theirs");
    page.say(&json!({"id": "m-1", "type": "message", "visitor": forged, "text": "чужое"})).await;
    assert_eq!(page.next().await, json!({"type": "refused", "id": "m-1", "code": "not_signed"}));
    page.say(&json!({"id": "m-1", "type": "message", "visitor": signed("v2", -1), "text": "поздно"})).await;
    assert_eq!(page.next().await, json!({"type": "refused", "id": "m-1", "code": "expired"}));
    let (stopped, code) = futures::join!(stage.app.stop(), page.close_code());
    assert_eq!(((), 1001), (stopped, code));
}

#[actix_web::test]
async fn an_account_has_so_many_sockets_and_strangers_do_not_take_them() {
    let stage = Stage::start_with(|config| config.webchat.max_sockets_per_account = 1).await;
    let account = stage.open_webchat(&[SITE]).await;
    let _stranger = Page::open(&stage, &account.to_string(), Some(SITE)).await.unwrap();
    let (first, _) = Page::resume(&stage, account, "v1", None).await;
    let mut second = Page::open(&stage, &account.to_string(), Some(SITE)).await.unwrap();
    second.say(&json!({"type": "resume", "visitor": signed("v2", 600)})).await;
    assert_eq!(second.close_code().await, 4429);
    drop(first);
    let back = async {
        loop {
            let mut page = Page::open(&stage, &account.to_string(), Some(SITE)).await.unwrap();
            page.say(&json!({"type": "resume", "visitor": signed("v2", 600)})).await;
            if let Some(Ok(Message::Text(_))) = page.0.next().await {
                return;
            }
        }
    };
    in_time(back).await;
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_refused_delivery_says_which_way_and_an_expired_one_counts_against_nobody() {
    let stage = Stage::start_with(|config| config.webhooks.bad_signatures_per_minute = 4).await;
    let account = stage.open_webchat(&[SITE]).await;
    let mut wrong = signed("v1", 600);
    wrong["name"] = json!("Администратор");
    let day = 24 * 60 * 60;
    // Five expired ones are more than the limit of bad signatures. One may count while the server has not yet read the
    // secret that was issued a moment ago.
    let expired = std::iter::repeat_n((signed("v1", -5), "expired"), 5);
    let at_fault = [(Value::Null, "not signed"), (wrong, "wrong"), (signed("v1", 32 * day), "too long")];
    for (visitor, way) in expired.chain(at_fault) {
        let body = json!({"id": "m-1", "type": "message", "visitor": visitor, "text": "x"}).to_string();
        let request = stage.client.post(stage.url(&format!("/webhooks/webchat/{account}")));
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), 401, "{way}");
        let problem: Value = response.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(way), "{way}: {problem}");
    }
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_text_too_long_for_an_event_is_shown_cut_and_told_to_be() {
    let stage = Stage::start().await;
    let account = stage.open_webchat(&[SITE]).await;
    let long = format!("{}конец", "ж".repeat(400_000));
    post(&stage, account, &delivery("v1", "m-1", &long)).await;
    stage.outcomes(1).await;
    let texts: Vec<String> = stage.texts().await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["ж".repeat(96 * 1024)], "192 KiB of it");
    let history = stage.history(conversation(&stage, account, "v1")).await;
    let damaged = |event: &ConversationEvent| match event {
        ConversationEvent::MessageReceived(message) => message.marks.contains(&MessageMark::Damaged),
        _ => false,
    };
    assert!(history.iter().any(damaged));
    stage.app.stop().await;
}
