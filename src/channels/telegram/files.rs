//! Files of a message: which there are, and what Telegram says of them.
//!
//! **Invariant:** every file has a reference to fetch it by; one without is not listed, and the message is marked as
//! damaged.

use events::conversation::content::{Attachment, AttachmentLocation, MessageKind};
use serde_json::Value;

use crate::channels::json::Object;

/// The fields of a message that hold one file, with the kind of message it makes. `animation` and `live_photo` stand
/// before what is repeated beside them for older clients.
const FILES: [(&str, MessageKind); 8] = [
    ("animation", MessageKind::Video),
    ("live_photo", MessageKind::Video),
    ("video", MessageKind::Video),
    ("video_note", MessageKind::Video),
    ("audio", MessageKind::Audio),
    ("voice", MessageKind::Voice),
    ("sticker", MessageKind::Sticker),
    ("document", MessageKind::Document),
];

/// What the files of a message are.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) found: Vec<Attachment>,
    /// The kind of the first field that holds a file, also when the file cannot be fetched.
    pub(super) kind: Option<MessageKind>,
    /// A file is there that cannot be fetched.
    pub(super) damaged: bool,
}

impl Files {
    /// The files that stand in the fields of a message, or of one element of paid media.
    pub(super) fn of(message: Object<'_>) -> Self {
        let mut files = Self::default();
        for (field, kind) in FILES {
            let repeated = match field {
                "document" => message.has("animation"),
                "video" => message.has("live_photo"),
                _ => false,
            };
            if let Some(value) = message.get(field).filter(|_| !repeated) {
                files.add(kind, Object::of(value).and_then(|file| attachment(kind, file)));
            }
        }
        if message.has("photo") && !message.has("live_photo") {
            files.add(MessageKind::Photo, photo(message.list("photo")));
        }
        files
    }

    fn add(&mut self, kind: MessageKind, file: Option<Attachment>) {
        self.kind.get_or_insert(kind);
        self.damaged |= file.is_none();
        self.found.extend(file);
    }

    pub(super) fn append(&mut self, other: Self) {
        self.kind = self.kind.or(other.kind);
        self.damaged |= other.damaged;
        self.found.extend(other.found);
    }
}

/// The largest of the sizes of a picture.
pub(super) fn photo(sizes: &[Value]) -> Option<Attachment> {
    let sizes = sizes.iter().filter_map(Object::of).filter_map(|size| attachment(MessageKind::Photo, size));
    sizes.max_by_key(|size| {
        let (width, height) = size.dimensions.unwrap_or_default();
        (u64::from(width) * u64::from(height), size.size_bytes)
    })
}

fn attachment(kind: MessageKind, file: Object<'_>) -> Option<Attachment> {
    let media_type = file.owned("mime_type").or_else(|| sticker_type(kind, file).map(str::to_owned));
    // A video note is round: its one `length` is both width and height.
    let round = file.count("length");
    let dimensions = file.count("width").or(round).zip(file.count("height").or(round));
    Some(Attachment {
        kind,
        file_name: file.owned("file_name"),
        media_type,
        size_bytes: file.count("file_size"),
        dimensions,
        duration_s: file.count("duration"),
        inline: false,
        location: AttachmentLocation::Provider {
            reference: file.owned("file_id")?,
            unique: file.owned("file_unique_id"),
        },
    })
}

/// **Source:** Bot API, objects `Sticker` and `InputSticker`: `.TGS`, `.WEBM`, else `.WEBP`.
fn sticker_type(kind: MessageKind, file: Object<'_>) -> Option<&'static str> {
    if kind != MessageKind::Sticker {
        return None;
    }
    Some(match (file.flag("is_animated"), file.flag("is_video")) {
        (true, _) => "application/x-tgsticker",
        (false, true) => "video/webm",
        (false, false) => "image/webp",
    })
}
