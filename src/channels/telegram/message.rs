//! From a message to what happened: somebody wrote, joined, left, a chat moved, or a service message.
//!
//! **Invariant:** a message that a person of ours wrote through a business account is never taken for a customer's:
//! it is an activity with its text, and what the bot itself sent for that account is nothing at all, since the log has
//! it already. One move of a group is one migration: it is read from the old chat, and the mirrored message in the new
//! chat says nothing new.

use chrono::{DateTime, Utc};
use events::contact::ContactAddress;
use events::conversation::content::ActivityDetail;
use events::profile::Attribute;
use events::values::ContactKind;

use super::content::{Said, said};
use super::update::Update;
use super::{happenings, thread, unrecognised};
use crate::channels::json::Object;
use crate::channels::{Happening, Interaction, Party, Thread, Unrecognised};

/// What happened by a new message.
pub(super) fn received(update: &Update<'_>, received_at: DateTime<Utc>) -> Result<Vec<Interaction>, Unrecognised> {
    let message = update.body;
    let frame = Frame::of(update, message.time("date").unwrap_or(received_at))?;
    if message.has("sender_business_bot") {
        return Ok(Vec::new());
    }
    if frame.written_by_owner(message) {
        return Ok(vec![frame.owner_wrote("owner_message", message)]);
    }
    if let Some(happened) = frame.service(message) {
        return Ok(happened);
    }
    let Said { kind, marks, content, own_phone } = said(message);
    let shared = own_phone.map(|(phone, written)| Happening::SharedContact {
        other: Party {
            kind: ContactKind::Phone,
            address: ContactAddress { normalised: phone.as_str().to_owned(), source_form: written },
            attributes: vec![(Attribute::Phone, phone.as_str().to_owned())],
        },
    });
    let message = Happening::Message {
        outside_id: frame.message_id.clone(),
        kind,
        marks,
        reply_to: reply_to(message),
        album: message.owned("media_group_id"),
        content,
    };
    Ok(std::iter::once(message).chain(shared).map(|what| frame.interaction(what)).collect())
}

/// What happened by an edited message.
pub(super) fn edited(update: &Update<'_>, received_at: DateTime<Utc>) -> Result<Vec<Interaction>, Unrecognised> {
    let message = update.body;
    let edited_at = message.time("edit_date").unwrap_or(received_at);
    let frame = Frame::of(update, edited_at)?;
    if message.has("sender_business_bot") {
        return Ok(Vec::new());
    }
    if frame.written_by_owner(message) {
        return Ok(vec![frame.owner_wrote("owner_message_edited", message)]);
    }
    if let Some(happened) = frame.service(message) {
        return Ok(happened);
    }
    let Said { kind, content, .. } = said(message);
    let edit = Happening::Edit { outside_id: frame.message_id.clone(), kind, edited_at, content };
    Ok(vec![frame.interaction(edit)])
}

/// What all that a message tells of has in common.
struct Frame {
    update_kind: &'static str,
    message_id: String,
    thread: Thread,
    party: Party,
    occurred_at: DateTime<Utc>,
}

impl Frame {
    fn of(update: &Update<'_>, occurred_at: DateTime<Utc>) -> Result<Self, Unrecognised> {
        let message = update.body;
        let missing = |field: &str| unrecognised(format!("{} without {field}", update.kind));
        Ok(Self {
            update_kind: update.kind,
            message_id: message.int("message_id").ok_or_else(|| missing("message_id"))?.to_string(),
            thread: thread::of_message(message).ok_or_else(|| missing("chat.id"))?,
            party: thread::sender(message).ok_or_else(|| missing("a sender"))?,
            occurred_at,
        })
    }

    fn interaction(&self, what: Happening) -> Interaction {
        Interaction {
            thread: Some(self.thread.clone()),
            party: Some(self.party.clone()),
            occurred_at: self.occurred_at,
            what,
        }
    }

    /// In a chat of a business account the customer is whose chat it is; whoever else writes there is the owner.
    fn written_by_owner(&self, message: Object<'_>) -> bool {
        let id = |field: &str| message.object(field).and_then(|of| of.int("id"));
        let private = message.object("chat").is_some_and(thread::is_private);
        self.thread.outside.business_connection.is_some() && private && id("from").is_some() && id("from") != id("chat")
    }

    fn owner_wrote(&self, activity: &str, message: Object<'_>) -> Interaction {
        let said = said(message);
        Interaction {
            thread: Some(self.thread.clone()),
            party: None,
            occurred_at: self.occurred_at,
            what: Happening::Activity {
                activity: activity.to_owned(),
                activity_id: self.activity_id(activity),
                about: Some(self.message_id.clone()),
                detail: ActivityDetail { data: said.content.text, answer_id: None },
            },
        }
    }

    /// Service messages are known by what they tell and their own id; an edit of one by its time as well.
    fn activity_id(&self, activity: &str) -> String {
        let base = format!("{activity}/{}", self.message_id);
        if self.update_kind.starts_with("edited_") { format!("{base}/{}", self.occurred_at.timestamp()) } else { base }
    }

    /// What happened, if it is a service message.
    fn service(&self, message: Object<'_>) -> Option<Vec<Interaction>> {
        if let Some(to) = message.int("migrate_to_chat_id") {
            let to = thread::migrated(message.object("chat")?, to);
            return Some(vec![self.interaction(Happening::Migrated { to })]);
        }
        if message.has("migrate_from_chat_id") {
            return Some(Vec::new());
        }
        if message.has("new_chat_members") || message.has("new_chat_member") {
            // The singular is what the field was called before version 3.0; it is still sent beside the other.
            let listed: Vec<_> = message.objects("new_chat_members").collect();
            let members =
                if listed.is_empty() { message.object("new_chat_member").into_iter().collect() } else { listed };
            return Some(members.into_iter().filter_map(|user| self.came_or_went(user, Happening::Joined)).collect());
        }
        if let Some(user) = message.object("left_chat_member") {
            return Some(self.came_or_went(user, Happening::Left).into_iter().collect());
        }
        let found = happenings::find(message)?;
        Some(vec![self.interaction(Happening::Activity {
            activity: found.name.to_owned(),
            activity_id: self.activity_id(found.name),
            about: found.about,
            detail: found.detail,
        })])
    }

    /// A member of a group came or went. Bots are no customers: of them it is an activity only.
    fn came_or_went(&self, user: Object<'_>, what: Happening) -> Option<Interaction> {
        let member = thread::user(user)?;
        if !user.flag("is_bot") {
            return Some(Interaction { party: Some(member), ..self.interaction(what) });
        }
        let activity = if what == Happening::Joined { "bot_joined" } else { "bot_left" };
        Some(self.interaction(Happening::Activity {
            activity: activity.to_owned(),
            activity_id: format!("{activity}/{}/{}", self.message_id, member.address.normalised),
            about: None,
            detail: ActivityDetail { data: thread::display_name(user), answer_id: None },
        }))
    }
}

/// The message that is answered. Every message of a forum topic names the message that opened the topic as the one it
/// answers; that is no answer.
fn reply_to(message: Object<'_>) -> Option<String> {
    let replied = message.object("reply_to_message")?;
    let id = replied.int("message_id")?;
    let opens_the_topic = message.flag("is_topic_message") && message.int("message_thread_id") == Some(id);
    (!opens_the_topic).then(|| id.to_string())
}
