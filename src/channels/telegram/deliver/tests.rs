//! Tests against a server that plays the Bot API.

use serde_json::json;
use wiremock::matchers::{body_json, body_string_contains, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::super::webhook::WebhookConfig;
use super::*;

const TOKEN: &str = "123456:AAHsecret-token_of-the-bot";
const TEXT: &str = "Ваш заказ № 17 готов";

fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

fn api(base: &str) -> BotApi {
    BotApi::new(client(), base, TOKEN).unwrap().with_timeout(Duration::from_secs(20))
}

fn target() -> Target {
    Target { chat: "7100200300".into(), ..Target::default() }
}

fn file(kind: MessageKind, bytes: &'static [u8]) -> OutgoingFile {
    OutgoingFile {
        kind, file_name: "счёт.pdf".into(), media_type: Some("application/pdf".into()), bytes: bytes.into()
    }
}

async fn answering(name: &str, answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).and(path(format!("/bot{TOKEN}/{name}"))).respond_with(answer).mount(&server).await;
    server
}

async fn refused_with(status: u16, body: Value) -> DeliveryError {
    let server = answering("sendMessage", ResponseTemplate::new(status).set_body_json(body)).await;
    let error = api(&server.uri()).send_text(&target(), TEXT).await.unwrap_err();
    tells_nothing(&error);
    error
}

/// No error may hold the token, an address or a text, however it is printed.
fn tells_nothing(error: &DeliveryError) {
    use std::error::Error;
    let mut printed = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        printed.push_str(&format!("{cause} {cause:?}"));
        source = cause.source();
    }
    for secret in ["secret", "123456", "заказ", "7100200300", "http", "127.0.0.1"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[actix_web::test]
async fn a_text_goes_as_it_is_to_its_topic_and_as_an_answer() {
    let server = MockServer::start().await;
    let expected = json!({"chat_id": "-1002", "message_thread_id": 4, "business_connection_id": "BC", "text": TEXT,
        "reply_parameters": {"message_id": 11, "allow_sending_without_reply": true}});
    Mock::given(method("POST"))
        .and(path(format!("/bot{TOKEN}/sendMessage")))
        .and(body_json(expected))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"ok": true, "result": {"message_id": 77}})))
        .expect(1)
        .mount(&server)
        .await;
    let thread = OutsideThread {
        key: "-1002".into(),
        topic: Some("4".into()),
        title: None,
        reply_address: None,
        business_connection: Some("BC".into()),
    };
    let sent = api(&server.uri()).send_text(&Target::of(&thread, Some("11")), TEXT).await;
    assert_eq!(sent, Ok("77".to_owned()));
}

#[test]
fn a_topic_of_direct_messages_is_named_as_such() {
    let thread = OutsideThread {
        key: "-1002".into(),
        topic: Some("direct/9".into()),
        title: None,
        reply_address: None,
        business_connection: None,
    };
    let target = Target::of(&thread, None);
    assert_eq!((target.topic, target.direct_topic), (None, Some(9)));
    assert_eq!(Value::Object(target.fields()), json!({"chat_id": "-1002", "direct_messages_topic_id": 9}));
}

#[actix_web::test]
async fn a_base_with_a_path_keeps_it() {
    let server = MockServer::start().await;
    Mock::given(path(format!("/tg/bot{TOKEN}/sendMessage")))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"ok": true, "result": {"message_id": 1}})))
        .mount(&server)
        .await;
    assert!(api(&format!("{}/tg/", server.uri())).send_text(&target(), TEXT).await.is_ok());
}

#[actix_web::test]
async fn files_go_by_the_method_of_their_kind() {
    let cases = [
        (MessageKind::Photo, "sendPhoto", "photo"),
        (MessageKind::Video, "sendVideo", "video"),
        (MessageKind::Audio, "sendAudio", "audio"),
        (MessageKind::Voice, "sendVoice", "voice"),
        (MessageKind::Sticker, "sendSticker", "sticker"),
        (MessageKind::Document, "sendDocument", "document"),
    ];
    for (kind, name, parameter) in cases {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path(format!("/bot{TOKEN}/{name}")))
            .and(body_string_contains(format!("name=\"{parameter}\"; filename=\"счёт.pdf\"")))
            .and(body_string_contains("name=\"chat_id\"\r\n\r\n7100200300\r\n"))
            .and(body_string_contains("%PDF-1.7"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({"ok": true, "result": {"message_id": 5}})))
            .mount(&server)
            .await;
        let part = Part::File { index: 0, caption: Some("Счёт".into()) };
        let sent = api(&server.uri()).send(&target(), &part, &[file(kind, b"%PDF-1.7")]).await;
        assert_eq!(sent, Ok("5".to_owned()), "{name}");
        let body = String::from_utf8(server.received_requests().await.unwrap()[0].body.clone()).unwrap();
        assert_eq!(body.contains("Счёт"), kind != MessageKind::Sticker, "{name}");
    }
}

#[actix_web::test]
async fn a_file_that_is_not_there_is_refused() {
    let part = Part::File { index: 1, caption: None };
    let sent = api("http://127.0.0.1:1").send(&target(), &part, &[file(MessageKind::Photo, b"x")]).await;
    assert!(matches!(sent, Err(DeliveryError::Refused { .. })));
}

#[test]
fn a_short_text_goes_under_the_first_file_and_a_long_one_before_it() {
    use MessageKind::{Document, Photo, Sticker};
    let caption = "я".repeat(MAX_CAPTION_UNITS);
    let file = |index, caption: Option<&str>| Part::File { index, caption: caption.map(str::to_owned) };
    assert_eq!(parts(Some(&caption), &[Photo, Document]), [file(0, Some(&caption)), file(1, None)]);
    let long = format!("{caption}я");
    assert_eq!(parts(Some(&long), &[Photo]), [Part::Text(long.clone()), file(0, None)]);
    assert_eq!(parts(Some("привет"), &[Sticker]), [Part::Text("привет".into()), file(0, None)]);
    assert_eq!(parts(Some(" \n"), &[]), []);
    assert_eq!(parts(Some(&"я".repeat(9000)), &[]).len(), 3);
}

#[actix_web::test]
async fn too_many_requests_say_when_to_try_again() {
    let body = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 35",
                      "parameters": {"retry_after": 35}});
    let DeliveryError::Retry { after, .. } = refused_with(429, body).await else { panic!("a retry") };
    assert_eq!(after, Some(Duration::from_secs(35)));
}

#[actix_web::test]
async fn a_customer_who_blocked_the_bot_is_blocked() {
    let body = json!({"ok": false, "error_code": 403, "description": "Forbidden: bot was blocked by the user"});
    assert_eq!(refused_with(403, body).await, DeliveryError::Blocked);
}

#[actix_web::test]
async fn a_refusal_with_null_fields_is_still_a_refusal() {
    let body = json!({"ok": false, "error_code": 403, "description": null, "parameters": null});
    assert_eq!(refused_with(403, body).await, DeliveryError::Blocked);
}

#[actix_web::test]
async fn a_group_that_moved_tells_where() {
    let body = json!({"ok": false, "error_code": 400, "parameters": {"migrate_to_chat_id": -1_002_000_000_042_i64},
                      "description": "Bad Request: group chat was upgraded to a supergroup chat"});
    assert_eq!(refused_with(400, body).await, DeliveryError::Migrated { to: "-1002000000042".into() });
}

#[actix_web::test]
async fn a_refusal_gives_a_listed_reason_and_quotes_nothing() {
    let body = json!({"ok": false, "error_code": 400, "description": "Bad Request: chat not found"});
    assert_eq!(refused_with(400, body).await, DeliveryError::Refused { reason: "chat not found".into() });
    let echo = json!({"ok": false, "error_code": 400,
                      "description": format!("Bad Request: can't parse {TEXT} of {TOKEN} at http://x")});
    assert_eq!(refused_with(400, echo).await, DeliveryError::Refused { reason: "status 400".into() });
    let unauthorised = json!({"ok": false, "error_code": 401, "description": "Unauthorized"});
    assert!(matches!(refused_with(401, unauthorised).await, DeliveryError::Refused { .. }));
}

#[actix_web::test]
async fn trouble_on_the_other_side_is_tried_again() {
    let body = json!({"ok": false, "error_code": 500, "description": "Internal Server Error"});
    assert!(matches!(refused_with(500, body).await, DeliveryError::Retry { after: None, .. }));
    for status in [500, 502, 503] {
        assert!(matches!(refused_with(status, json!("<html>")).await, DeliveryError::Retry { .. }), "{status}");
    }
}

#[actix_web::test]
async fn where_a_proxy_lost_the_answer_the_outcome_is_unknown() {
    for status in [200, 504] {
        assert!(matches!(refused_with(status, json!("<html>")).await, DeliveryError::Unknown { .. }), "{status}");
    }
    let without_id = refused_with(200, json!({"ok": true, "result": true})).await;
    assert!(matches!(without_id, DeliveryError::Unknown { .. }));
}

#[actix_web::test]
async fn no_answer_in_time_is_unknown() {
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(30));
    let server = answering("sendMessage", slow).await;
    let api = api(&server.uri()).with_timeout(Duration::from_millis(50));
    let error = api.send_text(&target(), TEXT).await.unwrap_err();
    tells_nothing(&error);
    assert!(matches!(error, DeliveryError::Unknown { .. }));
}

#[actix_web::test]
async fn a_connection_that_is_cut_after_the_request_is_unknown() {
    use tokio::io::AsyncReadExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let cut = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 64];
        assert!(socket.read(&mut request).await.unwrap() > 0);
    };
    let api = api(&base);
    let target = target();
    let (sent, ()) = tokio::join!(api.send_text(&target, TEXT), cut);
    let error = sent.unwrap_err();
    tells_nothing(&error);
    assert!(matches!(error, DeliveryError::Unknown { .. }), "{error:?}");
}

#[actix_web::test]
async fn where_nobody_listens_it_was_surely_not_taken() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = api(&base).send_text(&target(), TEXT).await.unwrap_err();
    tells_nothing(&error);
    assert!(matches!(error, DeliveryError::Retry { after: None, .. }), "{error:?}");
}

async fn with_file(file: Value, bytes: &[u8]) -> MockServer {
    let result = json!({"ok": true, "result": file});
    let server = answering("getFile", ResponseTemplate::new(200).set_body_json(result)).await;
    Mock::given(method("GET"))
        .and(path(format!("/file/bot{TOKEN}/photos/file_1.jpg")))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(bytes))
        .mount(&server)
        .await;
    server
}

#[actix_web::test]
async fn a_file_is_fetched_by_its_reference() {
    let server = with_file(json!({"file_id": "x", "file_path": "photos/file_1.jpg", "file_size": 3}), b"jpg").await;
    assert_eq!(api(&server.uri()).download("x", 3).await, Ok(Bytes::from_static(b"jpg")));
}

#[actix_web::test]
async fn a_file_that_is_larger_than_it_claims_is_refused_too() {
    for size in [json!(4), json!(2), Value::Null] {
        let server = with_file(json!({"file_path": "photos/file_1.jpg", "file_size": size}), b"jpeg").await;
        let error = api(&server.uri()).download("x", 3).await.unwrap_err();
        tells_nothing(&error);
        assert_eq!(error, DeliveryError::Refused { reason: "the file is larger than the limit".into() }, "{size}");
    }
}

#[actix_web::test]
async fn a_path_that_leads_elsewhere_is_not_followed() {
    for path in ["../secrets", "/etc/passwd", "a//b", ""] {
        let server = with_file(json!({ "file_path": path }), b"").await;
        let error = api(&server.uri()).download("x", 3).await.unwrap_err();
        assert!(matches!(error, DeliveryError::Refused { .. }), "{path}");
        assert_eq!(server.received_requests().await.unwrap().len(), 1, "{path}");
    }
}

#[actix_web::test]
async fn the_webhook_asks_for_every_kind_of_update() {
    let server =
        answering("setWebhook", ResponseTemplate::new(200).set_body_json(json!({"ok": true, "result": true}))).await;
    let config = WebhookConfig { url: "https://crm.example/w".into(), secret: "s-1".into(), max_connections: 40 };
    api(&server.uri()).set_webhook(&config).await.unwrap();
    let body: Value = server.received_requests().await.unwrap()[0].body_json().unwrap();
    assert_eq!((&body["url"], &body["secret_token"]), (&json!("https://crm.example/w"), &json!("s-1")));
    assert_eq!(body["max_connections"], json!(40));
    for kind in ["message_reaction", "message_reaction_count", "chat_member", "callback_query", "business_message"] {
        assert!(body["allowed_updates"].as_array().unwrap().contains(&json!(kind)), "{kind}");
    }
    assert!(!format!("{config:?}").contains("s-1"));
}

#[actix_web::test]
async fn the_webhook_is_looked_at_and_deleted() {
    let info = json!({"url": "https://crm.example/w", "has_custom_certificate": false, "pending_update_count": 3,
        "last_error_date": 1_780_000_000, "last_error_message": "Connection refused", "max_connections": 40});
    let server =
        answering("getWebhookInfo", ResponseTemplate::new(200).set_body_json(json!({"ok": true, "result": info})))
            .await;
    let found = api(&server.uri()).webhook_info().await.unwrap();
    assert_eq!((found.pending_update_count, found.max_connections), (3, Some(40)));
    assert_eq!(found.last_error_at().unwrap().timestamp(), 1_780_000_000);

    let server =
        answering("deleteWebhook", ResponseTemplate::new(200).set_body_json(json!({"ok": true, "result": true}))).await;
    assert_eq!(api(&server.uri()).delete_webhook().await, Ok(()));
}

#[actix_web::test]
async fn a_pressed_button_is_answered() {
    let server =
        answering("answerCallbackQuery", ResponseTemplate::new(200).set_body_json(json!({"ok": true, "result": true})))
            .await;
    assert_eq!(api(&server.uri()).answer_button("q1").await, Ok(()));
}

#[test]
fn nothing_secret_is_printed() {
    assert_eq!(format!("{:?}", api("http://x")), "BotApi(..)");
    assert!(!format!("{:?}", file(MessageKind::Photo, b"x")).contains("счёт"));
    assert!(BotApi::new(client(), "mailto:x", TOKEN).is_err());
}
