//! From an update to what happened, kind by kind.
//!
//! **Invariant:** every kind in [`super::UPDATE_KINDS`] has its arm here; what is understood but concerns no
//! conversation (the counts of an anonymous poll) gives an empty list, and what lacks its chat or user is
//! [`Unrecognised`].

use chrono::{DateTime, Utc};
use events::conversation::content::ActivityDetail;

use super::update::Update;
use super::{content, message, thread, unrecognised};
use crate::channels::json::{Object, int};
use crate::channels::{Happening, Interaction, Party, Thread, Unrecognised};

/// What happened by an update.
pub(super) fn interactions(update: &Update<'_>, received_at: DateTime<Utc>) -> Result<Vec<Interaction>, Unrecognised> {
    let at = Told { update, at: update.body.time("date").unwrap_or(received_at) };
    match update.kind {
        "message" | "channel_post" | "business_message" => message::received(update, received_at),
        "edited_message" | "edited_channel_post" | "edited_business_message" => message::edited(update, received_at),
        "guest_message" => at.guest_message(received_at),
        "deleted_business_messages" => at.deleted(),
        "message_reaction" => at.reactions("new_reaction"),
        "message_reaction_count" => at.reactions("reactions"),
        "callback_query" => at.button(received_at),
        "inline_query" => at.by_user("from", |query| query.owned("query")),
        "chosen_inline_result" => at.by_user("from", |result| result.owned("result_id")),
        "shipping_query" => at.by_user("from", |query| query.owned("invoice_payload")),
        "pre_checkout_query" => at.by_user("from", |query| content::amount(query)),
        "purchased_paid_media" => at.by_user("from", |bought| bought.owned("paid_media_payload")),
        "subscription" => at.by_user("user", |subscription| subscription.owned("state")),
        "managed_bot" => at.by_user("user", |managed| managed.object("bot").and_then(thread::display_name)),
        "business_connection" => at.by_user("user", |connection| {
            Some(if connection.flag("is_enabled") { "enabled" } else { "disabled" }.to_owned())
        }),
        "poll" => Ok(Vec::new()),
        "poll_answer" => at.vote(),
        "my_chat_member" => at.own_membership(),
        "chat_member" => at.membership(),
        "chat_join_request" => at.in_chat("from", |request| request.owned("bio")),
        "chat_boost" | "removed_chat_boost" => at.boost(received_at),
        kind => Err(unrecognised(format!("unknown kind of update: {kind}"))),
    }
}

/// An update, and when what it tells of happened.
struct Told<'a> {
    update: &'a Update<'a>,
    at: DateTime<Utc>,
}

impl<'a> Told<'a> {
    fn body(&self) -> Object<'a> {
        self.update.body
    }

    fn missing(&self, field: &str) -> Unrecognised {
        unrecognised(format!("{} without {field}", self.update.kind))
    }

    fn user(&self, field: &str) -> Result<(i64, Party), Unrecognised> {
        let user = self.body().object(field);
        let found = user.and_then(|user| Some((user.int("id")?, thread::user(user)?)));
        found.ok_or_else(|| self.missing(field))
    }

    fn thread(&self) -> Result<Thread, Unrecognised> {
        thread::of_message(self.body()).ok_or_else(|| self.missing("chat.id"))
    }

    fn message_id(&self) -> Result<String, Unrecognised> {
        self.body().int("message_id").map(|id| id.to_string()).ok_or_else(|| self.missing("message_id"))
    }

    fn interaction(&self, thread: Thread, party: Option<Party>, what: Happening) -> Vec<Interaction> {
        vec![Interaction { thread: Some(thread), party, occurred_at: self.at, what }]
    }

    /// An activity of the kind of the update. Its id is the provider's where there is one (a query), else that of the
    /// update, which is the same when it comes again.
    fn activity(&self, about: Option<String>, data: Option<String>) -> Happening {
        let answer_id = self.body().owned("id").filter(|_| self.update.kind.ends_with("_query"));
        Happening::Activity {
            activity: self.update.kind.to_owned(),
            activity_id: answer_id.clone().unwrap_or_else(|| format!("update/{}", self.update.id)),
            about,
            detail: ActivityDetail { data, answer_id },
        }
    }

    /// Something a user did outside any chat: it stands in the private chat with them.
    fn by_user(&self, field: &str, data: fn(Object<'a>) -> Option<String>) -> Result<Vec<Interaction>, Unrecognised> {
        let (id, user) = self.user(field)?;
        Ok(self.interaction(thread::of_user(id), Some(user), self.activity(None, data(self.body()))))
    }

    fn in_chat(&self, field: &str, data: fn(Object<'a>) -> Option<String>) -> Result<Vec<Interaction>, Unrecognised> {
        let (_, user) = self.user(field)?;
        Ok(self.interaction(self.thread()?, Some(user), self.activity(None, data(self.body()))))
    }

    /// A message in a chat that the bot is not in, answered by `answerGuestQuery` alone: the activity has the id.
    fn guest_message(&self, received_at: DateTime<Utc>) -> Result<Vec<Interaction>, Unrecognised> {
        let mut happened = message::received(self.update, received_at)?;
        if let Some(query) = self.body().owned("guest_query_id") {
            let asked = Happening::Activity {
                activity: self.update.kind.to_owned(),
                activity_id: query.clone(),
                about: self.body().int("message_id").map(|id| id.to_string()),
                detail: ActivityDetail { data: None, answer_id: Some(query) },
            };
            happened.extend(self.interaction(self.thread()?, thread::sender(self.body()), asked));
        }
        Ok(happened)
    }

    fn deleted(&self) -> Result<Vec<Interaction>, Unrecognised> {
        let thread = self.thread()?;
        let ids = self.body().list("message_ids").iter().filter_map(int);
        let retracted = |id: i64| Happening::Retraction { outside_id: id.to_string() };
        Ok(ids.flat_map(|id| self.interaction(thread.clone(), None, retracted(id))).collect())
    }

    /// All reactions there are now. Of anonymous ones Telegram tells a count for each, and no party; each stands in the
    /// list once.
    fn reactions(&self, field: &str) -> Result<Vec<Interaction>, Unrecognised> {
        let reaction = |entry: Object<'a>| {
            let kind = entry.object("type").unwrap_or(entry);
            (kind.owned("emoji")).or_else(|| kind.owned("custom_emoji_id")).or_else(|| kind.owned("type"))
        };
        let reactions = self.body().objects(field).filter_map(reaction).collect();
        let party = (self.body().object("user").and_then(thread::user))
            .or_else(|| self.body().object("actor_chat").and_then(thread::chat));
        let what = Happening::Reactions { outside_id: self.message_id()?, reactions };
        Ok(self.interaction(self.thread()?, party, what))
    }

    /// A pressed button. When it was pressed Telegram does not tell: the date beside it is that of the message.
    fn button(&self, received_at: DateTime<Utc>) -> Result<Vec<Interaction>, Unrecognised> {
        let (user, party) = self.user("from")?;
        let message = self.body().object("message");
        let thread = message.and_then(thread::of_message).unwrap_or_else(|| thread::of_user(user));
        let about = message.and_then(|message| message.int("message_id")).map(|id| id.to_string());
        let data = self.body().owned("data").or_else(|| self.body().owned("game_short_name"));
        let what = self.activity(about, data);
        Ok(vec![Interaction { thread: Some(thread), party: Some(party), occurred_at: received_at, what }])
    }

    /// A vote in a poll of ours. It names no chat, so it stands in the private chat with the voter.
    fn vote(&self) -> Result<Vec<Interaction>, Unrecognised> {
        let chosen: Vec<_> =
            (self.body().list("option_ids").iter().filter_map(int)).map(|option| option.to_string()).collect();
        let what = Happening::Activity {
            activity: self.update.kind.to_owned(),
            activity_id: format!("update/{}", self.update.id),
            about: None,
            detail: ActivityDetail { data: Some(chosen.join(",")).filter(|data| !data.is_empty()), answer_id: None },
        };
        if let Some(chat) = self.body().object("voter_chat") {
            let thread = thread::of_chat(chat).ok_or_else(|| self.missing("voter_chat.id"))?;
            return Ok(self.interaction(thread, thread::chat(chat), what));
        }
        let (id, user) = self.user("user")?;
        Ok(self.interaction(thread::of_user(id), Some(user), what))
    }

    /// What the bot itself may do in a chat has changed; in a private chat: the user blocked it or let it in again.
    fn own_membership(&self) -> Result<Vec<Interaction>, Unrecognised> {
        let (_, user) = self.user("from")?;
        let thread = self.thread()?;
        let status = self.body().object("new_chat_member").and_then(|member| member.owned("status"));
        let status = status.ok_or_else(|| self.missing("new_chat_member.status"))?;
        let private = self.body().object("chat").is_some_and(thread::is_private);
        let what = match (private, status.as_str()) {
            (true, "kicked" | "left") => Happening::Blocked,
            (true, "member") => Happening::Unblocked,
            _ => return Ok(self.interaction(thread, Some(user), self.activity(None, Some(status)))),
        };
        Ok(vec![Interaction { thread: None, party: Some(user), occurred_at: self.at, what }])
    }

    /// What somebody else may do in a group has changed.
    fn membership(&self) -> Result<Vec<Interaction>, Unrecognised> {
        let thread = self.thread()?;
        let new = self.body().object("new_chat_member").ok_or_else(|| self.missing("new_chat_member"))?;
        let user = new.object("user").ok_or_else(|| self.missing("new_chat_member.user"))?;
        let member = thread::user(user).ok_or_else(|| self.missing("new_chat_member.user.id"))?;
        let was_in = self.body().object("old_chat_member").map(is_in);
        let what = match (was_in, is_in(new)) {
            (Some(false), true) if !user.flag("is_bot") => Happening::Joined,
            (Some(true), false) if !user.flag("is_bot") => Happening::Left,
            _ => self.activity(None, new.owned("status")),
        };
        Ok(self.interaction(thread, Some(member), what))
    }

    fn boost(&self, received_at: DateTime<Utc>) -> Result<Vec<Interaction>, Unrecognised> {
        let boost = self.body().object("boost").unwrap_or(self.body());
        let party = boost.object("source").and_then(|source| source.object("user")).and_then(thread::user);
        let occurred_at = boost.time("add_date").or_else(|| boost.time("remove_date")).unwrap_or(received_at);
        let what = self.activity(None, boost.owned("boost_id"));
        Ok(vec![Interaction { thread: Some(self.thread()?), party, occurred_at, what }])
    }
}

/// True for a member of a chat. A restricted user may be in it or not, which Telegram says apart.
fn is_in(member: Object<'_>) -> bool {
    match member.text("status") {
        Some("left" | "kicked") | None => false,
        Some("restricted") => member.flag("is_member"),
        Some(_) => true,
    }
}
