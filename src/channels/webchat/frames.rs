//! Frames of the WebSocket between letopis and the widget: what the visitor gets, and how they resume.
//!
//! **Invariant:** a frame with a sequence number tells of something that is in the log; the numbers of one thread rise,
//! with gaps, and a visitor who resumes after the last number they saw misses nothing and gets nothing twice. Typing
//! has no number and never enters the log.

use chrono::{DateTime, Utc};
use events::ids::MessageId;
use serde::{Deserialize, Serialize};

/// A place in the history of a thread: the revision of its conversation. Written as a string, since a number above 2^53
/// does not survive a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub u64);

impl Serialize for Sequence {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Sequence {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| serde::de::Error::custom("a sequence is a number in a string"))
    }
}

/// What letopis sends to a visitor.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The first frame after a resume: everything after `after` follows, up to `until` in one go.
    Resumed {
        /// From where.
        after: Option<Sequence>,
        /// The last that there is now; absent in an empty thread.
        until: Option<Sequence>,
    },
    /// A delivery of the visitor is in the log: it need not be sent again.
    Ack {
        /// The visitor's id of the delivery.
        id: String,
    },
    /// A delivery of the visitor is not taken, and will not be when sent again as it is.
    Refused {
        /// The visitor's id of the delivery, where it could be read.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Why.
        code: RefusalCode,
    },
    /// Somebody writes to the visitor, or the visitor wrote from another device.
    Message {
        /// Its place.
        sequence: Sequence,
        /// Its id: the visitor's own for what they wrote.
        id: String,
        /// Who wrote it.
        from: Author,
        /// The text.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The id of the message that it answers.
        #[serde(skip_serializing_if = "Option::is_none")]
        reply_to: Option<String>,
        /// Files.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<FileLink>,
        /// When it was written.
        sent_at: DateTime<Utc>,
    },
    /// Somebody is writing; it counts for some seconds.
    Typing {
        /// Who.
        from: Author,
    },
    /// The conversation is closed; the next message of the visitor opens it again.
    Closed {
        /// Its place.
        sequence: Sequence,
    },
}

/// Why a delivery is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// It is no delivery of this contract.
    Malformed,
    /// The visitor is not signed, or wrongly.
    NotSigned,
    /// The signature is expired: get a fresh one and send again.
    Expired,
    /// It is too large.
    TooLarge,
    /// Too many at once: wait and send again.
    TooMany,
}

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Author {
    /// The visitor.
    Visitor,
    /// A machine. The widget shall show that it is one.
    Bot,
    /// A person.
    Operator {
        /// The name that visitors see.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
}

/// A file that the visitor can fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileLink {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its length.
    pub size_bytes: u64,
    /// Where it is, for a short time.
    pub url: String,
}

/// What a widget sends besides deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// The first frame of a connection, with the signed `visitor` beside it: send what comes after this place.
    Resume {
        /// The last sequence number seen; absent for all there is.
        #[serde(default)]
        after: Option<Sequence>,
        /// The thread; absent for the visitor's own.
        #[serde(default)]
        thread: Option<String>,
    },
    /// The page has everything up to this place: what was written to the visitor counts as delivered.
    Seen {
        /// The last sequence number that it has.
        up_to: Sequence,
    },
    /// The visitor is writing. Taken, and passed on to nobody yet.
    Typing,
}

/// The id by which a visitor's page knows a message of ours.
#[must_use]
pub fn own_id(message: MessageId) -> String {
    message.to_string()
}

impl ClientFrame {
    /// The frame, if it is one of these; a delivery is not.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        serde_json::from_slice(frame).ok()
    }
}
