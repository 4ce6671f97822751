//! Threads and parties: which conversation it is, and who takes part.
//!
//! **Invariant:** the key of a thread is the same for every message of it and for ever: `<chat>` for a chat,
//! `<chat>/<topic>` for a topic of a forum (only where Telegram says `is_topic_message`: a `message_thread_id` alone
//! also stands on replies in ordinary groups), `<chat>/direct/<topic>` for one customer's topic in the direct messages
//! of a channel, and any of them with `@<connection>` behind it where the bot answers for a business account: there the
//! chat id is the customer's user id, which the customer's own chat with the bot has too.
//!
//! Topics are conversations of their own because an answer has to name its topic and because different people work
//! on different topics. What it costs: reactions carry no topic in the Bot API and so reach the conversation of the
//! chat, not that of the topic.

use events::contact::ContactAddress;
use events::conversation::ConversationKind;
use events::conversation::content::OutsideThread;
use events::profile::Attribute;
use events::values::ContactKind;

use crate::channels::json::Object;
use crate::channels::{Party, Thread};

/// What stands before the topic of the direct messages of a channel in [`OutsideThread::topic`].
pub(super) const DIRECT_TOPIC: &str = "direct/";

/// The thread of a chat as a whole.
pub(super) fn of_chat(chat: Object<'_>) -> Option<Thread> {
    Some(thread(chat, chat.int("id")?, None, None))
}

/// The thread of a message, or of anything else with a `chat`.
pub(super) fn of_message(message: Object<'_>) -> Option<Thread> {
    let chat = message.object("chat")?;
    let topic = match message.object("direct_messages_topic").and_then(|topic| topic.int("topic_id")) {
        Some(topic) => Some(format!("{DIRECT_TOPIC}{topic}")),
        None if message.flag("is_topic_message") => message.int("message_thread_id").map(|topic| topic.to_string()),
        None => None,
    };
    Some(thread(chat, chat.int("id")?, topic, message.owned("business_connection_id")))
}

/// The thread of the private chat between the bot and a user; the id of that chat is the id of the user.
pub(super) fn of_user(user: i64) -> Thread {
    Thread {
        conversation: None,
        key: user.to_string(),
        kind: ConversationKind::Direct,
        outside: OutsideThread {
            key: user.to_string(),
            topic: None,
            title: None,
            reply_address: None,
            business_connection: None,
        },
    }
}

/// The same chat under another id: a group that became a supergroup.
pub(super) fn migrated(chat: Object<'_>, to: i64) -> Thread {
    let mut thread = thread(chat, to, None, None);
    thread.kind = ConversationKind::Group;
    thread
}

fn thread(chat: Object<'_>, id: i64, topic: Option<String>, business_connection: Option<String>) -> Thread {
    let mut key = id.to_string();
    if let Some(topic) = &topic {
        key.push('/');
        key.push_str(topic);
    }
    if let Some(connection) = &business_connection {
        key.push('@');
        key.push_str(connection);
    }
    let one_customer = is_private(chat) || topic.as_ref().is_some_and(|topic| topic.starts_with(DIRECT_TOPIC));
    Thread {
        conversation: None,
        key,
        kind: if one_customer { ConversationKind::Direct } else { ConversationKind::Group },
        outside: OutsideThread {
            key: id.to_string(),
            topic,
            title: chat.owned("title"),
            reply_address: None,
            business_connection,
        },
    }
}

/// True for a chat with one person. A chat whose type is missing is one if its id is that of a user: those of groups
/// and channels are negative.
pub(super) fn is_private(chat: Object<'_>) -> bool {
    match chat.text("type") {
        Some(kind) => kind == "private",
        None => chat.int("id").is_some_and(|id| id >= 0),
    }
}

/// A user.
pub(super) fn user(user: Object<'_>) -> Option<Party> {
    let mut attributes = names(user);
    if let Some(language) = user.owned("language_code") {
        attributes.push((Attribute::Language, language));
    }
    Some(party(ContactKind::TelegramUser, user.int("id")?, attributes))
}

/// A chat that acts in its own name; a private chat is the person in it.
pub(super) fn chat(chat: Object<'_>) -> Option<Party> {
    let id = chat.int("id")?;
    if is_private(chat) {
        return Some(party(ContactKind::TelegramUser, id, names(chat)));
    }
    let mut attributes: Vec<_> = chat.owned("title").map(|title| (Attribute::DisplayName, title)).into_iter().collect();
    attributes.extend(chat.owned("username").map(|name| (Attribute::Username, name)));
    Some(party(ContactKind::TelegramChat, id, attributes))
}

/// Who wrote a message: the chat it is written in the name of, else the user, else the person of a private chat, else
/// the chat itself (a channel).
pub(super) fn sender(message: Object<'_>) -> Option<Party> {
    (message.object("sender_chat").and_then(chat))
        .or_else(|| message.object("from").and_then(user))
        .or_else(|| message.object("chat").and_then(chat))
}

/// The first and last name of a user or of a private chat.
pub(super) fn display_name(of: Object<'_>) -> Option<String> {
    let parts: Vec<_> = ["first_name", "last_name"].into_iter().filter_map(|name| of.text(name)).collect();
    Some(parts.join(" ")).filter(|name| !name.is_empty())
}

fn names(of: Object<'_>) -> Vec<(Attribute, String)> {
    let name = display_name(of).map(|name| (Attribute::DisplayName, name));
    let username = of.owned("username").map(|name| (Attribute::Username, name));
    name.into_iter().chain(username).collect()
}

fn party(kind: ContactKind, id: i64, attributes: Vec<(Attribute, String)>) -> Party {
    let id = id.to_string();
    Party { kind, address: ContactAddress { normalised: id.clone(), source_form: id }, attributes }
}
