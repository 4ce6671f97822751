//! What a message says: text, links, files and cards.
//!
//! **Invariant:** nothing of a message is lost without a trace: a field that we do not know becomes a card with its
//! name where it is all that the message has, and the message is marked as damaged.

use events::conversation::content::{Card, MessageContent, MessageKind, MessageMark};
use events::values::{PhoneNumber, Region};

use super::files::{self, Files};
use super::rich::Rich;
use super::thread::display_name;
use crate::channels::json::{Object, int, printable};

/// Fields of a message that say how, where and by whom it was written, not what.
///
/// **Source:** Bot API 10.3, object `Message`, and the fields that forwards had before version 7.0.
const FRAME_FIELDS: [&str; 47] = [
    "author_signature",
    "business_connection_id",
    "caption_entities",
    "chat",
    "date",
    "direct_messages_topic",
    "edit_date",
    "effect_id",
    "entities",
    "ephemeral_message_id",
    "external_reply",
    "forward_date",
    "forward_from",
    "forward_from_chat",
    "forward_from_message_id",
    "forward_origin",
    "forward_sender_name",
    "forward_signature",
    "from",
    "guest_bot_caller_chat",
    "guest_bot_caller_user",
    "guest_query_id",
    "has_media_spoiler",
    "has_protected_content",
    "is_automatic_forward",
    "is_from_offline",
    "is_paid_post",
    "is_topic_message",
    "link_preview_options",
    "media_group_id",
    "message_id",
    "message_thread_id",
    "paid_star_count",
    "quote",
    "receiver_user",
    "reply_markup",
    "reply_to_checklist_task_id",
    "reply_to_message",
    "reply_to_poll_option_id",
    "reply_to_story",
    "sender_boost_count",
    "sender_business_bot",
    "sender_chat",
    "sender_tag",
    "show_caption_above_media",
    "suggested_post_info",
    "via_bot",
];

/// What a message says, of which kind that makes it, and what is special about it.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) kind: MessageKind,
    pub(super) marks: Vec<MessageMark>,
    pub(super) content: MessageContent,
    /// The sender's own phone number, from their own contact card.
    pub(super) own_phone: Option<(PhoneNumber, String)>,
}

/// Reads what a message says.
pub(super) fn said(message: Object<'_>) -> Said {
    let mut marks = Vec::new();
    let mut files = Files::of(message);
    let mut text = message.owned("text").or_else(|| message.owned("caption"));
    let mut links = hidden_links(message);
    if let Some(rich) = message.object("rich_message").map(Rich::read) {
        text = text.or(Some(rich.text).filter(|text| !text.is_empty()));
        links.extend(rich.links);
        files.append(rich.files);
    }
    let (mut cards, own_phone) = cards(message, &mut files);
    let structured = !cards.is_empty();
    let unknown = match (files.kind, structured, &text) {
        (None, false, None) => message.names().find(|name| !FRAME_FIELDS.contains(name)),
        _ => None,
    };
    if let Some(name) = unknown {
        cards.push(other(printable(name), []));
    }
    let kind =
        files.kind.filter(|_| !message.has("paid_media") && !message.has("game")).unwrap_or(match cards.first() {
            Some(Card::Contact { .. }) => MessageKind::Contact,
            Some(Card::Location { .. }) => MessageKind::Location,
            Some(Card::Other { .. }) if structured => MessageKind::Structured,
            _ if text.is_some() => MessageKind::Text,
            _ => MessageKind::Other,
        });
    cards.extend(reply_cards(message));
    links.dedup();

    let forwarded_from = forwarded_from(message);
    if forwarded_from.is_some() || message.has("forward_date") || message.has("forward_origin") {
        marks.push(MessageMark::Forwarded);
    }
    if files.damaged || unknown.is_some() {
        marks.push(MessageMark::Damaged);
    }
    let by_bot = message.object("from").is_some_and(|from| from.flag("is_bot"));
    if by_bot || message.has("sender_chat") || message.has("via_bot") {
        marks.push(MessageMark::ViaBot);
    }
    let content = MessageContent {
        outside_id: message.int("message_id").map(|id| id.to_string()),
        text,
        links,
        attachments: files.found,
        cards,
        forwarded_from,
        ..MessageContent::default()
    };
    Said { kind, marks, content, own_phone }
}

/// Addresses that hide behind words: those of `text_link` entities, and users mentioned without a user name. The
/// offsets of entities, in UTF-16 code units, are not needed for that.
fn hidden_links(message: Object<'_>) -> Vec<String> {
    let entities = message.objects("entities").chain(message.objects("caption_entities"));
    let link = |entity: Object<'_>| match entity.text("type")? {
        "text_link" => entity.owned("url"),
        "text_mention" => Some(format!("tg://user?id={}", entity.object("user")?.int("id")?)),
        _ => None,
    };
    entities.filter_map(link).collect()
}

fn forwarded_from(message: Object<'_>) -> Option<String> {
    let name_of_chat = |chat: Object<'_>| chat.owned("title").or_else(|| display_name(chat));
    if let Some(origin) = message.object("forward_origin") {
        return (origin.object("sender_user").and_then(display_name))
            .or_else(|| origin.owned("sender_user_name"))
            .or_else(|| origin.object("sender_chat").and_then(name_of_chat))
            .or_else(|| origin.object("chat").and_then(name_of_chat));
    }
    (message.object("forward_from").and_then(display_name))
        .or_else(|| message.object("forward_from_chat").and_then(name_of_chat))
        .or_else(|| message.owned("forward_sender_name"))
}

/// What the message answers, where that is not simply another message of the thread.
fn reply_cards(message: Object<'_>) -> Vec<Card> {
    let quote = message.object("quote").map(|quote| other("quote", [quote.owned("text")]));
    let external = message.object("external_reply").map(|reply| {
        let origin = reply.object("origin");
        let from = origin.and_then(|origin| {
            let chat = origin.object("chat").or_else(|| origin.object("sender_chat"));
            (origin.object("sender_user").and_then(display_name))
                .or_else(|| origin.owned("sender_user_name"))
                .or_else(|| chat.and_then(|chat| chat.owned("title")))
        });
        other("external_reply", [from])
    });
    let story = message.object("reply_to_story").map(|story| other("reply_to_story", [story_owner(story)]));
    quote.into_iter().chain(external).chain(story).collect()
}

/// The structured parts, and the sender's own phone number.
fn cards(message: Object<'_>, files: &mut Files) -> (Vec<Card>, Option<(PhoneNumber, String)>) {
    let mut own_phone = None;
    let mut cards = Vec::new();
    if let Some(contact) = message.object("contact") {
        let (card, phone) = contact_card(contact, message);
        cards.push(card);
        own_phone = phone;
    }
    // A venue repeats its place in `location`.
    if let Some(venue) = message.object("venue") {
        cards.extend(venue.object("location").and_then(|at| location_card(at, Some(venue))));
    } else if let Some(at) = message.object("location") {
        cards.extend(location_card(at, None));
    }
    if let Some(media) = message.object("paid_media") {
        let stars = media.int("star_count").map(|stars| format!("{stars} stars"));
        cards.push(other("paid_media", [stars]));
        for item in media.objects("paid_media") {
            files.append(Files::of(item));
        }
    }
    if let Some(game) = message.object("game") {
        cards.push(other("game", [game.owned("title"), game.owned("description"), game.owned("text")]));
        files.found.extend(files::photo(game.list("photo")));
    }
    if let Some(sticker) = message.object("sticker") {
        cards.extend(sticker.owned("emoji").map(|emoji| other("sticker", [Some(emoji)])));
    }
    cards.extend(lines_cards(message));
    (cards, own_phone)
}

/// Parts that are shown as lines of text.
fn lines_cards(message: Object<'_>) -> Vec<Card> {
    let mut cards = Vec::new();
    let mut card = |name: &str, lines: &dyn Fn(Object<'_>) -> Vec<Option<String>>| {
        cards.extend(message.object(name).map(|body| other(name, lines(body))));
    };
    card("poll", &|poll| {
        let options = poll.objects("options").map(|option| option.owned("text"));
        [poll.owned("question")].into_iter().chain(options).collect()
    });
    card("checklist", &|list| {
        let done = |task: Object<'_>| task.has("completion_date") || task.has("completed_by_user");
        let tasks = list
            .objects("tasks")
            .filter_map(|task| Some(format!("[{}] {}", if done(task) { 'x' } else { ' ' }, task.text("text")?)));
        [list.owned("title")].into_iter().chain(tasks.map(Some)).collect()
    });
    card("dice", &|dice| vec![dice.owned("emoji"), dice.int("value").map(|value| value.to_string())]);
    card("invoice", &|invoice| vec![invoice.owned("title"), invoice.owned("description"), amount(invoice)]);
    card("successful_payment", &|payment| vec![amount(payment), payment.owned("invoice_payload")]);
    card("story", &|story| vec![story_owner(story)]);
    card("giveaway", &|giveaway| {
        let winners = giveaway.int("winner_count").map(|count| format!("{count} winners"));
        vec![winners, giveaway.owned("prize_description")]
    });
    card("giveaway_winners", &|giveaway| {
        let winners = giveaway.objects("winners").map(display_name);
        winners.chain([giveaway.owned("prize_description")]).collect()
    });
    card("web_app_data", &|data| vec![data.owned("button_text"), data.owned("data")]);
    card("passport_data", &|_| Vec::new());
    card("user_shared", &|shared| vec![shared.int("user_id").map(|id| id.to_string())]);
    card("users_shared", &|shared| {
        let id = |user: Object<'_>| user.int("user_id").map(|id| id.to_string());
        let named = shared.objects("users").map(|user| display_name(user).or_else(|| id(user)));
        let bare = shared.list("user_ids").iter().map(|id| int(id).map(|id| id.to_string()));
        if shared.has("users") { named.collect() } else { bare.collect() }
    });
    card("chat_shared", &|shared| {
        vec![shared.owned("title").or_else(|| shared.int("chat_id").map(|id| id.to_string()))]
    });
    cards
}

fn other(name: &str, lines: impl IntoIterator<Item = Option<String>>) -> Card {
    Card::Other { name: name.to_owned(), lines: lines.into_iter().flatten().collect() }
}

fn story_owner(story: Object<'_>) -> Option<String> {
    let chat = story.object("chat")?;
    chat.owned("title").or_else(|| display_name(chat))
}

/// An amount of money as Telegram gives it: in the smallest unit of the currency, which the line says.
pub(super) fn amount(payment: Object<'_>) -> Option<String> {
    let currency = payment.text("currency")?;
    let amount = payment.int("total_amount")?;
    Some(if currency == "XTR" { format!("{amount} stars") } else { format!("{amount} minor units of {currency}") })
}

fn location_card(at: Object<'_>, venue: Option<Object<'_>>) -> Option<Card> {
    Some(Card::Location {
        latitude: at.float("latitude")?,
        longitude: at.float("longitude")?,
        title: venue.and_then(|venue| venue.owned("title")),
        address: venue.and_then(|venue| venue.owned("address")),
        live: at.has("live_period"),
    })
}

fn contact_card(contact: Object<'_>, message: Object<'_>) -> (Card, Option<(PhoneNumber, String)>) {
    let sender = message.object("from").or_else(|| message.object("chat")).and_then(|sender| sender.int("id"));
    let own = contact.int("user_id").is_some_and(|id| Some(id) == sender);
    let written = contact.owned("phone_number");
    let phone = written.as_deref().and_then(|written| phone(written, own));
    let card = Card::Contact {
        name: display_name(contact).unwrap_or_default(),
        phone: phone.as_ref().map(|phone| phone.as_str().to_owned()),
        phone_source_form: written.clone(),
        own,
    };
    (card, phone.zip(written).filter(|_| own))
}

/// The number of somebody's own card comes from Telegram itself, in international form but mostly without `+`; that
/// of another card may be written in any way.
fn phone(written: &str, own: bool) -> Option<PhoneNumber> {
    let international = format!("+{}", written.trim_start_matches('+'));
    let (first, second) = if own { (international.as_str(), written) } else { (written, international.as_str()) };
    PhoneNumber::parse(first, Region::RU).or_else(|_| PhoneNumber::parse(second, Region::RU)).ok()
}
