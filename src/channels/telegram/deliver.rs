//! Messages out: over HTTPS to the Bot API.
//!
//! **Invariant:** a request that may have been taken is never called failed. The Bot API has no idempotency key, so
//! after a timeout or a cut connection the outcome is [`DeliveryError::Unknown`] and nobody sends again blindly. No
//! error holds the token, an address or a text: reasons come from closed lists.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use events::conversation::content::{MessageKind, OutsideThread};
use reqwest::multipart::{Form, Part as FormPart};
use serde_json::{Map, Value, json};
use url::Url;
use zeroize::Zeroizing;

use super::split::{MAX_CAPTION_UNITS, MAX_TEXT_UNITS, split_text, utf16_units};
use super::thread::DIRECT_TOPIC;

mod answer;

/// Largest file that a bot may fetch.
///
/// **Source:** Bot API, `getFile`: "bots can download files of up to 20MB in size".
pub const MAX_DOWNLOAD_BYTES: u64 = 20 * 1024 * 1024;

/// Largest file that a bot may send, pictures apart.
///
/// **Source:** Bot API, "Sending files": 10 MB max size for photos, 50 MB for other files.
pub const MAX_UPLOAD_BYTES: usize = 50 * 1024 * 1024;

/// Largest picture that a bot may send as a picture; a larger one goes as a file.
pub const MAX_PHOTO_BYTES: usize = 10 * 1024 * 1024;

/// How long a call may take. Telegram answers in well under a second; uploads take longer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a message was not, or perhaps not, taken. Named by what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It was surely not taken: try again, after this time where Telegram says one.
    #[error("telegram did not take it, try again: {reason}")]
    Retry {
        /// How long to wait at least.
        after: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// It will never be taken like this: give up.
    #[error("telegram refused it: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The customer or the group does not let the bot write.
    #[error("the bot may not write there")]
    Blocked,
    /// The chat has another id from here on: send there.
    #[error("the chat moved")]
    Migrated {
        /// The new id of the chat, in decimal.
        to: String,
    },
    /// It may have been taken: record that and do not send again blindly.
    #[error("it is not known whether telegram took it: {reason}")]
    Unknown {
        /// Why.
        reason: String,
    },
}

/// One part of a message, as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text alone.
    Text(String),
    /// One of the files, with its caption.
    File {
        /// Which of the files, from 0.
        index: usize,
        /// The text under it.
        caption: Option<String>,
    },
}

/// Cuts a message into parts: a text that fits goes under the first file, if that can bear one; a longer one goes
/// before the files. The same message always gives the same parts, so that a part can be named by its number.
#[must_use]
pub fn parts(text: Option<&str>, files: &[MessageKind]) -> Vec<Part> {
    let text = text.filter(|text| !text.trim().is_empty());
    let captioned = files.first().is_some_and(|kind| *kind != MessageKind::Sticker)
        && text.is_some_and(|text| utf16_units(text) <= MAX_CAPTION_UNITS);
    let mut parts = Vec::new();
    if let Some(text) = text.filter(|_| !captioned) {
        let texts = split_text(text, MAX_TEXT_UNITS).into_iter().filter(|part| !part.trim().is_empty());
        parts.extend(texts.map(|part| Part::Text(part.to_owned())));
    }
    for index in 0..files.len() {
        let caption = text.filter(|_| captioned && index == 0).map(str::to_owned);
        parts.push(Part::File { index, caption });
    }
    parts
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// The id of the chat.
    pub chat: String,
    /// The topic of a forum.
    pub topic: Option<i64>,
    /// The topic of a customer in the direct messages of a channel.
    pub direct_topic: Option<i64>,
    /// The business account that the bot answers for.
    pub business_connection: Option<String>,
    /// The message that is answered, by its id in the chat.
    pub reply_to: Option<i64>,
}

impl Target {
    /// The target for a thread as the normaliser described it.
    #[must_use]
    pub fn of(thread: &OutsideThread, reply_to: Option<&str>) -> Self {
        let topic = thread.topic.as_deref();
        Self {
            chat: thread.key.clone(),
            topic: topic.and_then(|topic| topic.parse().ok()),
            direct_topic: topic.and_then(|topic| topic.strip_prefix(DIRECT_TOPIC)?.parse().ok()),
            business_connection: thread.business_connection.clone(),
            reply_to: reply_to.and_then(|id| id.parse().ok()),
        }
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("chat_id".into(), json!(self.chat));
        if let Some(topic) = self.topic {
            fields.insert("message_thread_id".into(), json!(topic));
        }
        if let Some(topic) = self.direct_topic {
            fields.insert("direct_messages_topic_id".into(), json!(topic));
        }
        if let Some(connection) = &self.business_connection {
            fields.insert("business_connection_id".into(), json!(connection));
        }
        if let Some(message) = self.reply_to {
            // An answer to a message that was deleted since still goes out.
            let reply = json!({"message_id": message, "allow_sending_without_reply": true});
            fields.insert("reply_parameters".into(), reply);
        }
        fields
    }
}

/// A file to send.
#[derive(Clone)]
pub struct OutgoingFile {
    /// What kind of message it makes.
    pub kind: MessageKind,
    /// Its name.
    pub file_name: String,
    /// Its media type.
    pub media_type: Option<String>,
    /// Its bytes.
    pub bytes: Bytes,
}

impl fmt::Debug for OutgoingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingFile").field("kind", &self.kind).field("size_bytes", &self.bytes.len()).finish()
    }
}

impl OutgoingFile {
    /// The method, the name of its parameter, and whether it takes a caption.
    fn method(&self) -> (&'static str, &'static str, bool) {
        match self.kind {
            MessageKind::Photo if self.bytes.len() <= MAX_PHOTO_BYTES => ("sendPhoto", "photo", true),
            MessageKind::Video => ("sendVideo", "video", true),
            MessageKind::Audio => ("sendAudio", "audio", true),
            MessageKind::Voice => ("sendVoice", "voice", true),
            MessageKind::Sticker => ("sendSticker", "sticker", false),
            _ => ("sendDocument", "document", true),
        }
    }
}

/// The Bot API, spoken to as one bot.
#[derive(Clone)]
pub struct BotApi {
    client: reqwest::Client,
    base: Url,
    token: Zeroizing<String>,
    timeout: Duration,
}

impl fmt::Debug for BotApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BotApi(..)")
    }
}

impl BotApi {
    /// Speaks to the API at `base` (`https://api.telegram.org`) as the bot with this token. The client must not follow
    /// redirects: the token is part of the path.
    ///
    /// # Errors
    /// [`DeliveryError::Refused`] when `base` is no address that a path can be put behind.
    pub fn new(client: reqwest::Client, base: &str, token: &str) -> Result<Self, DeliveryError> {
        let no_base = || DeliveryError::Refused { reason: "the base address of the bot api is not an address".into() };
        let base = Url::parse(base).ok().filter(|base| !base.cannot_be_a_base()).ok_or_else(no_base)?;
        Ok(Self { client, base, token: Zeroizing::new(token.to_owned()), timeout: TIMEOUT })
    }

    /// The same with another time that a call may take.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sends one part of text and returns the id of the message. The text goes as it is, without markup.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn send_text(&self, target: &Target, text: &str) -> Result<String, DeliveryError> {
        let mut fields = target.fields();
        fields.insert("text".into(), json!(text));
        message_id(&self.call("sendMessage", &Value::Object(fields)).await?)
    }

    /// Sends one file and returns the id of the message.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn send_file(
        &self,
        target: &Target,
        file: &OutgoingFile,
        caption: Option<&str>,
    ) -> Result<String, DeliveryError> {
        if file.bytes.len() > MAX_UPLOAD_BYTES {
            return Err(DeliveryError::Refused { reason: "the file is larger than a bot may send".into() });
        }
        let (method, parameter, takes_caption) = file.method();
        let mut form = Form::new();
        for (name, value) in target.fields() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            form = form.text(name, text);
        }
        if let Some(caption) = caption.filter(|_| takes_caption) {
            form = form.text("caption", caption.to_owned());
        }
        let length = file.bytes.len() as u64;
        let bytes = || FormPart::stream_with_length(file.bytes.clone(), length).file_name(file.file_name.clone());
        let part = file.media_type.as_deref().and_then(|media_type| bytes().mime_str(media_type).ok());
        form = form.part(parameter, part.unwrap_or_else(bytes));
        let request = self.client.post(self.address(&[], &[method])?).multipart(form);
        message_id(&self.answer(request).await?)
    }

    /// Sends one part of a message.
    ///
    /// # Errors
    /// See [`DeliveryError`]; [`DeliveryError::Refused`] also when the part names a file that is not there.
    pub async fn send(&self, target: &Target, part: &Part, files: &[OutgoingFile]) -> Result<String, DeliveryError> {
        match part {
            Part::Text(text) => self.send_text(target, text).await,
            Part::File { index, caption } => {
                let missing = || DeliveryError::Refused { reason: "the file is not there".into() };
                self.send_file(target, files.get(*index).ok_or_else(missing)?, caption.as_deref()).await
            }
        }
    }

    /// Tells Telegram that a pressed button was seen, so that it stops to blink.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn answer_button(&self, answer_id: &str) -> Result<(), DeliveryError> {
        self.call("answerCallbackQuery", &json!({"callback_query_id": answer_id})).await.map(|_| ())
    }

    /// Fetches a file of at most `limit` bytes, chunk by chunk: one that claims or turns out to be larger is refused
    /// before more than the limit is held.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn download(&self, reference: &str, limit: u64) -> Result<Bytes, DeliveryError> {
        let limit = limit.min(MAX_DOWNLOAD_BYTES);
        let too_large = || DeliveryError::Refused { reason: "the file is larger than the limit".into() };
        let file = self.call("getFile", &json!({"file_id": reference})).await?;
        if file["file_size"].as_u64().is_some_and(|size| size > limit) {
            return Err(too_large());
        }
        let path = file["file_path"].as_str().unwrap_or_default();
        let segments: Vec<_> = path.split('/').collect();
        if segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return Err(DeliveryError::Refused { reason: "the file has no path that can be fetched".into() });
        }
        let address = self.address(&["file"], &segments)?;
        let request = self.client.get(address).timeout(self.timeout);
        let mut response = request.send().await.map_err(|error| answer::not_fetched(&error))?;
        if !response.status().is_success() {
            return Err(answer::status_of_file(response.status()));
        }
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| answer::not_fetched(&error))? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// Calls a method and returns its result.
    pub(super) async fn call(&self, method: &str, body: &Value) -> Result<Value, DeliveryError> {
        self.answer(self.client.post(self.address(&[], &[method])?).json(body)).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, DeliveryError> {
        let response = request.timeout(self.timeout).send().await.map_err(|error| answer::not_sent(&error))?;
        let status = response.status();
        match response.bytes().await {
            Ok(body) => answer::read(status, &body),
            Err(_) => Err(DeliveryError::Unknown { reason: "the answer broke off".into() }),
        }
    }

    /// The address behind the base: `before`, the segment with the token, `after`.
    fn address(&self, before: &[&str], after: &[&str]) -> Result<Url, DeliveryError> {
        let mut address = self.base.clone();
        let bot = Zeroizing::new(format!("bot{}", *self.token));
        match address.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(before).push(&bot).extend(after),
            Err(()) => return Err(DeliveryError::Refused { reason: "the base address takes no path".into() }),
        };
        Ok(address)
    }
}

/// The id of the message that was sent. An answer without one still means that it was sent.
fn message_id(sent: &Value) -> Result<String, DeliveryError> {
    let id = sent["message_id"].as_i64().map(|id| id.to_string());
    id.ok_or_else(|| DeliveryError::Unknown { reason: "the answer has no message id".into() })
}

#[cfg(test)]
mod tests;
