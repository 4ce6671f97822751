//! Files in a delivery of the chat widget: their bytes stand in the body, in base64.
//!
//! **Invariant:** the n-th listed file of the normalised message is the n-th file of the body, also when one before it
//! cannot be read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use events::conversation::content::{Attachment, AttachmentLocation, MessageKind};
use serde_json::Value;

use crate::channels::json::Object;

/// The bytes of the n-th file of a delivery, from 0; `None` when there is none or it is not base64.
#[must_use]
pub fn attachment(body: &[u8], index: u32) -> Option<Bytes> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let file = Object::of(&value)?.list("attachments").get(usize::try_from(index).ok()?)?;
    STANDARD.decode(Object::of(file)?.text("data")?).ok().map(Bytes::from)
}

/// The files of a body, and whether one of them cannot be read.
pub(super) fn listed(body: Object<'_>) -> (Vec<Attachment>, bool) {
    let all = body.list("attachments");
    let found: Vec<_> = (0_u32..).zip(all).filter_map(|(index, file)| described(index, Object::of(file)?)).collect();
    let damaged = found.len() < all.len();
    (found, damaged)
}

fn described(index: u32, file: Object<'_>) -> Option<Attachment> {
    let data = STANDARD.decode(file.text("data")?).ok()?;
    let media_type = file.owned("media_type");
    let class = media_type.as_deref().and_then(|media_type| media_type.split('/').next());
    let kind = match class {
        Some("image") => MessageKind::Photo,
        Some("video") => MessageKind::Video,
        Some("audio") if file.flag("voice") => MessageKind::Voice,
        Some("audio") => MessageKind::Audio,
        _ => MessageKind::Document,
    };
    Some(Attachment {
        kind,
        file_name: file.owned("name"),
        media_type,
        size_bytes: Some(data.len() as u64),
        dimensions: file.count("width").zip(file.count("height")),
        duration_s: file.count("duration_s"),
        inline: false,
        location: AttachmentLocation::RawDelivery { index },
    })
}
