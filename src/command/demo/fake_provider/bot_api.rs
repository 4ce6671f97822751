//! The Bot API as the demo needs it: messages are taken, some chats refuse, files can be fetched.
//!
//! **Invariant:** answers have the form of the real API, refusals too.

use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::super::people::{BLOCKED_CHAT, LIMITED_CHAT};
use super::{Kept, Sent, picture};

/// Largest request, in bytes: what a bot may send.
const MAX_REQUEST_BYTES: usize = 50 * 1024 * 1024;
/// Ids of messages sent by the bot begin here, above those of customers.
const FIRST_MESSAGE: i64 = 500_000;
/// How long a limited chat has to wait, in seconds.
const RETRY_AFTER_S: u64 = 1;

struct Api {
    kept: Arc<Kept>,
    /// The last id given out, per chat.
    last: Mutex<BTreeMap<String, i64>>,
    /// Chats that were limited already.
    limited: Mutex<HashSet<String>>,
}

/// Listens on a free port of loopback.
pub(super) fn serve(kept: Arc<Kept>) -> anyhow::Result<(SocketAddr, Server)> {
    let api = web::Data::new(Api { kept, last: Mutex::default(), limited: Mutex::default() });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::clone(&api))
            .app_data(web::PayloadConfig::new(MAX_REQUEST_BYTES))
            .route("/sent", web::get().to(sent))
            .route("/file/bot{token}/{path:.*}", web::get().to(file))
            .route("/bot{token}/{method}", web::post().to(call))
    });
    let server = server.workers(1).disable_signals().bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = server.addrs().first().copied().ok_or_else(|| anyhow::anyhow!("no address was bound"))?;
    Ok((address, server.run()))
}

async fn sent(api: web::Data<Api>) -> HttpResponse {
    HttpResponse::Ok().json(api.kept.all())
}

/// `GET /file/bot<token>/<file_path>`: a picture in a colour of its own.
async fn file(path: web::Path<(String, String)>) -> HttpResponse {
    let (_, path) = path.into_inner();
    HttpResponse::Ok().content_type("image/png").body(picture::of(&path))
}

/// `POST /bot<token>/<method>`.
async fn call(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: Bytes,
    api: web::Data<Api>,
) -> HttpResponse {
    let (_, method) = path.into_inner();
    let content_type = request.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let fields = if content_type.starts_with("multipart/") { form_fields(&body) } else { json_fields(&body) };
    match method.as_str() {
        "sendMessage" | "sendPhoto" | "sendDocument" | "sendVideo" | "sendAudio" | "sendVoice" | "sendSticker" => {
            api.send(&fields)
        }
        "getFile" => {
            let id = fields.get("file_id").cloned().unwrap_or_default();
            taken(
                &json!({ "file_id": id, "file_unique_id": format!("u-{id}"), "file_path": format!("photos/{id}.png") }),
            )
        }
        "getWebhookInfo" => taken(&json!({ "url": "", "has_custom_certificate": false, "pending_update_count": 0 })),
        "setWebhook" | "deleteWebhook" | "answerCallbackQuery" => taken(&json!(true)),
        _ => refused(StatusCode::NOT_FOUND, "Not Found", &json!({})),
    }
}

impl Api {
    fn send(&self, fields: &BTreeMap<String, String>) -> HttpResponse {
        let Some(chat) = fields.get("chat_id") else {
            return refused(StatusCode::BAD_REQUEST, "Bad Request: chat_id is empty", &json!({}));
        };
        let number: i64 = chat.parse().unwrap_or_default();
        if number % 1_000 == BLOCKED_CHAT {
            return refused(StatusCode::FORBIDDEN, "Forbidden: bot was blocked by the user", &json!({}));
        }
        if number % 1_000 == LIMITED_CHAT && self.limited.lock().insert(chat.clone()) {
            let description = format!("Too Many Requests: retry after {RETRY_AFTER_S}");
            return refused(StatusCode::TOO_MANY_REQUESTS, &description, &json!({ "retry_after": RETRY_AFTER_S }));
        }
        let text = fields.get("text").or_else(|| fields.get("caption")).cloned().unwrap_or_default();
        let message = {
            let mut last = self.last.lock();
            let last = last.entry(chat.clone()).or_insert(FIRST_MESSAGE);
            *last += 1;
            *last
        };
        self.kept.add(Sent::Telegram { chat: chat.clone(), message, text: text.clone() });
        let kind = if number < 0 { "supergroup" } else { "private" };
        taken(&json!({
            "message_id": message,
            "from": { "id": 1_000_000_007, "is_bot": true, "first_name": "Demo", "username": "letopis_demo_bot" },
            "chat": { "id": number, "type": kind },
            "date": 0,
            "text": text,
        }))
    }
}

fn taken(result: &Value) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "ok": true, "result": result }))
}

fn refused(status: StatusCode, description: &str, parameters: &Value) -> HttpResponse {
    HttpResponse::build(status).json(json!({
        "ok": false,
        "error_code": status.as_u16(),
        "description": description,
        "parameters": parameters,
    }))
}

fn json_fields(body: &[u8]) -> BTreeMap<String, String> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return BTreeMap::new() };
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// The text fields of a form; files are passed over.
fn form_fields(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let mut fields = BTreeMap::new();
    for part in text.split("Content-Disposition: form-data; name=\"").skip(1) {
        let Some((name, rest)) = part.split_once('"') else { continue };
        let Some((head, value)) = rest.split_once("\r\n\r\n") else { continue };
        if !head.contains("filename") {
            let value = value.split("\r\n--").next().unwrap_or_default();
            fields.insert(name.to_owned(), value.to_owned());
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fields_of_a_form_are_read_and_files_are_not() {
        let form = "--x\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n42\r\n--x\r\n\
            Content-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\n\r\nbytes\r\n--x--\r\n";
        assert_eq!(form_fields(form.as_bytes()), BTreeMap::from([("chat_id".to_owned(), "42".to_owned())]));
    }

    #[test]
    fn a_limited_chat_is_limited_once_and_a_blocked_one_always() {
        let api = Api { kept: Arc::default(), last: Mutex::default(), limited: Mutex::default() };
        let send = |chat: &str| {
            let fields =
                BTreeMap::from([("chat_id".to_owned(), chat.to_owned()), ("text".to_owned(), "hi".to_owned())]);
            api.send(&fields).status().as_u16()
        };
        assert_eq!([send("7429"), send("7429"), send("7403"), send("7403"), send("7000")], [429, 200, 403, 403, 200]);
        assert_eq!(api.kept.all().len(), 2);
    }
}
