//! What messages, notes and activities say: the sealed part of conversation events.
//!
//! **Invariant:** everything here is personal data; nothing of it stands outside a sealed field.

use serde::{Deserialize, Serialize};

use crate::blobs::BlobRef;

/// Where a conversation is held outside, as far as answering needs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutsideThread {
    /// The provider's key of the thread: a chat id, a visitor id, the Message-ID of a mail thread's first message.
    pub key: String,
    /// A topic within it: Telegram's `message_thread_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The title of a group or the subject of a mail thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The address answers go to, where it is not the key: a mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_address: Option<String>,
    /// Telegram's `business_connection_id`, where the bot answers for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_connection: Option<String>,
}

/// What kind of message it is, by its most telling part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// Text only.
    Text,
    /// A picture.
    Photo,
    /// A moving picture, video notes and animations included.
    Video,
    /// Music or a sound file.
    Audio,
    /// A voice note.
    Voice,
    /// Any other file.
    Document,
    /// A sticker.
    Sticker,
    /// A contact card.
    Contact,
    /// A place, live or fixed.
    Location,
    /// A poll, a game, a dice, an invoice, a story: shown as text.
    Structured,
    /// A mail.
    Email,
    /// Something the provider calls a message that carries nothing we know.
    Other,
}

/// What is special about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageMark {
    /// Made by a machine: not to be answered by one (RFC 3834).
    AutoReply,
    /// Tells that a message of ours was not delivered (RFC 3464).
    Bounce,
    /// Tells that a message of ours is late and still tried (RFC 3464, action `delayed`).
    DelayNotice,
    /// A recipient's complaint about a message of ours (RFC 5965).
    Complaint,
    /// Sent to many (RFC 2369 list headers, `Precedence: bulk`).
    Bulk,
    /// Forwarded from elsewhere.
    Forwarded,
    /// Parts of it could not be read; the raw delivery is kept.
    Damaged,
    /// Its letters are a guess: the charset was missing or wrong.
    GuessedCharset,
    /// Written by a bot or on behalf of a chat.
    ViaBot,
}

impl MessageMark {
    /// True for what a machine sent: nobody is woken by it, nobody waits because of it and answers do not go to it.
    ///
    /// **Source:** RFC 3834, section 2 (automatic responses are not answered).
    #[must_use]
    pub const fn is_of_machine(self) -> bool {
        match self {
            Self::AutoReply | Self::Bulk | Self::Bounce | Self::DelayNotice | Self::Complaint => true,
            Self::Forwarded | Self::Damaged | Self::GuessedCharset | Self::ViaBot => false,
        }
    }
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MessageContent {
    /// The provider's id of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_id: Option<String>,
    /// The subject of a mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The text: of a mail its plain part, of a picture its caption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The HTML part of a mail as received: **unsafe**, to be sanitised before it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Addresses that hide behind words of the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// Files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Structured parts: contact cards, places, polls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<Card>,
    /// Whom it was forwarded from, as the provider shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_from: Option<String>,
    /// Further mail headers that threading and answering need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailHeaders>,
}

/// Headers of a mail that threading and answering need. Message-IDs stand without angle brackets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MailHeaders {
    /// Message-ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// In-Reply-To.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_reply_to: Vec<String>,
    /// References, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// From, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Reply-To, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// To, as written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Cc, as written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<String>,
    /// What a bounce says of each recipient.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_recipients: Vec<FailedRecipient>,
}

/// One recipient of a delivery status notification (RFC 3464).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRecipient {
    /// The address, as written.
    pub address: String,
    /// The action: `failed`, `delayed`, `delivered`, `relayed`, `expanded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The status code, as `5.1.1` (RFC 3463).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// A file of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// What kind of message it would be alone.
    pub kind: MessageKind,
    /// Its name, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Its media type, as claimed (RFC 6838).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Its length, as claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Width and height of a picture, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<(u32, u32)>,
    /// Length of a sound or video, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<u32>,
    /// True for a picture shown inside the text of a mail.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inline: bool,
    /// Where its bytes are.
    pub location: AttachmentLocation,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AttachmentLocation {
    /// At the provider, to be fetched by this reference: Telegram's `file_id`.
    Provider {
        /// The reference.
        reference: String,
        /// The same for the same file, across messages: Telegram's `file_unique_id`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unique: Option<String>,
    },
    /// In the raw delivery: the n-th attachment of the mail, from 0.
    RawDelivery {
        /// Which attachment.
        index: u32,
    },
    /// In our blobs.
    Blob {
        /// The blob.
        blob: BlobRef,
    },
}

/// A structured part of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Card {
    /// A contact card.
    Contact {
        /// The name on it.
        name: String,
        /// The phone number on it, in E.164 where it parses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phone: Option<String>,
        /// The phone number as written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phone_source_form: Option<String>,
        /// True when it is the sender's own.
        own: bool,
    },
    /// A place.
    Location {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
        /// The name of a venue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The address of a venue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// True when it moves.
        live: bool,
    },
    /// Anything else, as lines of text.
    Other {
        /// What it is, in the provider's words: `poll`, `dice`, `invoice`.
        name: String,
        /// What it says.
        lines: Vec<String>,
    },
}

/// What an activity says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ActivityDetail {
    /// The payload of a button, the choice of a vote, the text of a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The provider's id to answer it by: Telegram's `callback_query.id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_id: Option<String>,
}

/// What a note says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteContent {
    /// The text.
    pub text: String,
}
