//! What an update is: its id and its one kind.
//!
//! **Invariant:** an update has an id and exactly one kind that we know; fields beside them do not matter.

use serde_json::Value;

use super::unrecognised;
use crate::channels::Unrecognised;
use crate::channels::json::{Object, printable};

/// Every kind of update, as it is named in an update and in `allowed_updates`.
///
/// **Source:** Bot API 10.3, object `Update`.
pub const UPDATE_KINDS: [&str; 26] = [
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "guest_message",
    "message_reaction",
    "message_reaction_count",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "subscription",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
    "managed_bot",
];

/// An update: its id and its one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Update<'a> {
    pub(super) id: i64,
    pub(super) kind: &'static str,
    pub(super) body: Object<'a>,
}

impl<'a> Update<'a> {
    /// Finds the id and the one kind.
    pub(super) fn find(value: &'a Value) -> Result<Self, Unrecognised> {
        let top = Object::of(value).ok_or_else(|| unrecognised("not a JSON object"))?;
        let id = top.int("update_id").ok_or_else(|| unrecognised("no update_id"))?;
        let mut found = UPDATE_KINDS.into_iter().filter_map(|kind| top.object(kind).map(|body| (kind, body)));
        match (found.next(), found.next()) {
            (Some((kind, body)), None) => Ok(Self { id, kind, body }),
            (Some((one, _)), Some((other, _))) => {
                Err(unrecognised(format!("more than one kind of update: {one}, {other}")))
            }
            (None, _) => Err(unrecognised(match top.names().find(|name| *name != "update_id") {
                Some(key) => format!("unknown kind of update: {}", printable(key)),
                None => "no kind of update".to_owned(),
            })),
        }
    }
}
