//! Updates as Telegram would deliver them.
//!
//! **Invariant:** update ids rise and are used once; ids of messages rise within a chat.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::doors::Delivery;
use super::super::people::{Customer, Way};

/// The chat of the shop's group.
pub(super) const GROUP: i64 = -1_007_000_000_001;

/// Writes updates.
#[derive(Debug, Default)]
pub(super) struct Updates {
    last: i64,
    messages: BTreeMap<i64, i64>,
}

impl Updates {
    /// The next id of a message in a chat.
    pub(super) fn message_id(&mut self, chat: i64) -> i64 {
        let last = self.messages.entry(chat).or_insert(100);
        *last += 1;
        *last
    }

    /// An update of a kind.
    pub(super) fn update(&mut self, kind: &str, body: &Value) -> Delivery {
        self.last += 1;
        let body = json!({ "update_id": 880_000_000 + self.last, kind: body });
        Delivery { way: Way::Telegram, body: body.to_string().into_bytes(), copies: 1 }
    }

    /// A message in the private chat with a customer; `says` are the fields with what it says.
    pub(super) fn message(&mut self, from: &Customer, at: DateTime<Utc>, says: &Value) -> (i64, Delivery) {
        let id = self.message_id(from.telegram);
        let body = message(id, from, &private(from), at, says);
        (id, self.update("message", &body))
    }

    /// A changed message.
    pub(super) fn edit(&mut self, id: i64, from: &Customer, at: DateTime<Utc>, says: &Value) -> Delivery {
        let mut body = message(id, from, &private(from), at, says);
        body["edit_date"] = (at.timestamp() + 40).into();
        self.update("edited_message", &body)
    }

    /// A message in the shop's group.
    pub(super) fn in_group(&mut self, title: &str, from: &Customer, at: DateTime<Utc>, says: &Value) -> Delivery {
        let id = self.message_id(GROUP);
        let chat = json!({ "id": GROUP, "type": "supergroup", "title": title });
        let body = message(id, from, &chat, at, says);
        self.update("message", &body)
    }

    /// The customer's reaction to a message in their private chat.
    pub(super) fn reaction(&mut self, id: i64, from: &Customer, at: DateTime<Utc>, emoji: &str) -> Delivery {
        let body = json!({
            "chat": private(from),
            "message_id": id,
            "user": user(from),
            "date": at.timestamp(),
            "old_reaction": [],
            "new_reaction": [{ "type": "emoji", "emoji": emoji }],
        });
        self.update("message_reaction", &body)
    }

    /// A pressed button under a message of the bot.
    pub(super) fn button(&mut self, from: &Customer, at: DateTime<Utc>, data: &str) -> Delivery {
        let id = self.message_id(from.telegram);
        let under = json!({
            "message_id": id,
            "from": { "id": 1_000_000_007, "is_bot": true, "first_name": "Demo" },
            "chat": private(from),
            "date": at.timestamp(),
            "text": "🫖",
        });
        let body = json!({
            "id": format!("{}", from.telegram + id),
            "from": user(from),
            "message": under,
            "chat_instance": from.telegram.to_string(),
            "data": data,
        });
        self.update("callback_query", &body)
    }

    /// The customer blocks the bot.
    pub(super) fn blocked(&mut self, from: &Customer, at: DateTime<Utc>) -> Delivery {
        let member = |status: &str| json!({ "user": { "id": 1_000_000_007, "is_bot": true, "first_name": "Demo" }, "status": status });
        let body = json!({
            "chat": private(from),
            "from": user(from),
            "date": at.timestamp(),
            "old_chat_member": member("member"),
            "new_chat_member": member("kicked"),
        });
        self.update("my_chat_member", &body)
    }
}

/// A customer as a user.
pub(super) fn user(of: &Customer) -> Value {
    json!({
        "id": of.telegram,
        "is_bot": false,
        "first_name": of.first_name,
        "last_name": of.last_name,
        "language_code": of.tongue.tag(),
    })
}

fn private(of: &Customer) -> Value {
    json!({ "id": of.telegram, "type": "private", "first_name": of.first_name, "last_name": of.last_name })
}

fn message(id: i64, from: &Customer, chat: &Value, at: DateTime<Utc>, says: &Value) -> Value {
    let mut message = json!({ "message_id": id, "from": user(from), "chat": chat, "date": at.timestamp() });
    if let (Some(message), Some(says)) = (message.as_object_mut(), says.as_object()) {
        message.extend(says.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    message
}

/// The field of a picture in its sizes.
pub(super) fn photo(name: &str) -> Value {
    let size = |size: &str, side: u32, bytes: u32| {
        json!({ "file_id": format!("{name}-{size}"), "file_unique_id": format!("u-{name}-{size}"),
                "width": side, "height": side, "file_size": bytes })
    };
    json!([size("s", 90, 1_000), size("m", 320, 3_000)])
}
