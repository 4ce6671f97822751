//! Masking by role: what of an address a viewer may see (design invariant 13).
//!
//! Policy version 1 ([`events::viewer::MASK_POLICY`]): an agent (an LLM) sees contact addresses, phone and e-mail
//! attributes, the address of a thread, mail headers and the phone of a contact card masked, since what it sees may
//! leave the house with a prompt; operators, supervisors and administrators see them in full, since they answer for
//! them. Names and the text of messages are open to whoever may see the conversation: nobody can answer without them.
//!
//! **Invariant:** masking keeps `None` as it is (an erased value stays visibly erased) and never lengthens a value.

use events::conversation::content::{Card, MailHeaders, MessageContent, OutsideThread};
use events::profile::Attribute;
use events::values::ContactKind;
use events::viewer::{Role, Viewer};

/// What is shown for a value of which nothing may be seen.
pub const HIDDEN: &str = "***";

/// True when the viewer sees addresses in full.
#[must_use]
pub fn sees_addresses(viewer: &Viewer) -> bool {
    viewer.role >= Role::Operator
}

/// A phone number as its last two digits.
#[must_use]
pub fn phone(text: &str) -> String {
    let last: Vec<char> = text.chars().rev().take(2).collect();
    if text.chars().count() < 6 { HIDDEN.to_owned() } else { format!("{HIDDEN}{}{}", last[1], last[0]) }
}

/// A mail address as its first letter and domain; anything else is hidden.
#[must_use]
pub fn email(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((local, domain)) if local.chars().count() > 3 && !domain.contains(['>', ' ', '"']) => {
            let first: String = local.chars().take(1).collect();
            format!("{first}{HIDDEN}@{domain}")
        }
        _ => HIDDEN.to_owned(),
    }
}

/// An address of a contact point.
#[must_use]
pub fn address(viewer: &Viewer, kind: ContactKind, text: String) -> String {
    if sees_addresses(viewer) {
        return text;
    }
    match kind {
        ContactKind::Phone => phone(&text),
        ContactKind::Email => email(&text),
        ContactKind::TelegramUser | ContactKind::TelegramChat | ContactKind::WebchatVisitor => HIDDEN.to_owned(),
    }
}

/// The value of an attribute.
#[must_use]
pub fn attribute(viewer: &Viewer, attribute: Attribute, text: String) -> String {
    if sees_addresses(viewer) {
        return text;
    }
    match attribute {
        Attribute::Phone => phone(&text),
        Attribute::Email => email(&text),
        Attribute::Username => HIDDEN.to_owned(),
        Attribute::DisplayName | Attribute::Language | Attribute::Company | Attribute::Place => text,
    }
}

/// Where a conversation is held outside.
#[must_use]
pub fn thread(viewer: &Viewer, thread: OutsideThread) -> OutsideThread {
    if sees_addresses(viewer) {
        return thread;
    }
    OutsideThread {
        key: HIDDEN.to_owned(),
        topic: thread.topic,
        title: thread.title,
        reply_address: thread.reply_address.map(|address| email(&address)),
        business_connection: thread.business_connection.map(|_| HIDDEN.to_owned()),
    }
}

/// What a message says.
#[must_use]
pub fn content(viewer: &Viewer, mut content: MessageContent) -> MessageContent {
    if sees_addresses(viewer) {
        return content;
    }
    content.mail = content.mail.map(headers);
    content.outside_id = content.outside_id.map(|_| HIDDEN.to_owned());
    for card in &mut content.cards {
        match card {
            Card::Contact { phone: number, phone_source_form, .. } => {
                *number = number.as_deref().map(phone);
                *phone_source_form = phone_source_form.as_deref().map(phone);
            }
            Card::Location { .. } | Card::Other { .. } => {}
        }
    }
    content
}

fn headers(headers: MailHeaders) -> MailHeaders {
    let hidden = |list: Vec<String>| list.iter().map(|_| HIDDEN.to_owned()).collect();
    MailHeaders {
        message_id: headers.message_id,
        in_reply_to: headers.in_reply_to,
        references: headers.references,
        from: headers.from.map(|_| HIDDEN.to_owned()),
        reply_to: headers.reply_to.map(|_| HIDDEN.to_owned()),
        to: hidden(headers.to),
        cc: hidden(headers.cc),
        failed_recipients: headers
            .failed_recipients
            .into_iter()
            .map(|mut recipient| {
                recipient.address = HIDDEN.to_owned();
                recipient
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests;
