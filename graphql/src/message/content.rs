//! What a message says.
//!
//! **Invariant:** HTML of a mail is passed on as received and says so: whoever shows it must make it safe first.

use async_graphql::{SimpleObject, Union};
use events::conversation::content::{Card as StoredCard, MailHeaders, MessageContent};

/// What a message says.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(name = "MessageContent")]
pub(crate) struct Content {
    /// The subject of a mail.
    pub subject: Option<String>,
    /// The text: of a mail its plain part, of a picture its caption.
    pub text: Option<String>,
    /// The HTML part of a mail as received. Unsafe: make it safe before it is shown.
    pub html: Option<String>,
    /// Addresses that hide behind words of the text.
    pub links: Vec<String>,
    /// Structured parts: contact cards, places, polls.
    pub cards: Vec<Card>,
    /// Whom it was forwarded from, as the provider shows it.
    pub forwarded_from: Option<String>,
    /// Headers of a mail.
    pub mail: Option<Mail>,
}

impl From<MessageContent> for Content {
    fn from(content: MessageContent) -> Self {
        Self {
            subject: content.subject,
            text: content.text,
            html: content.html,
            links: content.links,
            cards: content.cards.into_iter().map(Card::from).collect(),
            forwarded_from: content.forwarded_from,
            mail: content.mail.map(Into::into),
        }
    }
}

/// Headers of a mail.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(name = "MailHeaders")]
pub(crate) struct Mail {
    /// Message-ID, without angle brackets.
    pub message_id: Option<String>,
    /// From, as written.
    pub from: Option<String>,
    /// Reply-To, where it differs.
    pub reply_to: Option<String>,
    /// To, as written.
    pub to: Vec<String>,
    /// Cc, as written.
    pub cc: Vec<String>,
    /// What a bounce says of each recipient.
    pub failed_recipients: Vec<FailedRecipient>,
}

/// What a bounce says of one recipient.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct FailedRecipient {
    /// The address, as written.
    pub address: String,
    /// The action: `failed`, `delayed`, `delivered`, `relayed`, `expanded`.
    pub action: Option<String>,
    /// The status code, as `5.1.1`.
    pub status: Option<String>,
}

impl From<MailHeaders> for Mail {
    fn from(mail: MailHeaders) -> Self {
        let failed = mail.failed_recipients.into_iter();
        Self {
            message_id: mail.message_id,
            from: mail.from,
            reply_to: mail.reply_to,
            to: mail.to,
            cc: mail.cc,
            failed_recipients: failed
                .map(|one| FailedRecipient { address: one.address, action: one.action, status: one.status })
                .collect(),
        }
    }
}

/// A structured part of a message.
#[derive(Debug, Clone, Union)]
pub(crate) enum Card {
    /// A contact card.
    Contact(ContactCard),
    /// A place.
    Location(LocationCard),
    /// Anything else.
    Other(OtherCard),
}

/// A contact card.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct ContactCard {
    /// The name on it.
    pub name: String,
    /// The phone number on it, in E.164 where it is one; masked for agents.
    pub phone: Option<String>,
    /// True when it is the sender's own.
    pub own: bool,
}

/// A place.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct LocationCard {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// The name of a venue.
    pub title: Option<String>,
    /// The address of a venue.
    pub address: Option<String>,
    /// True when it moves.
    pub live: bool,
}

/// Anything else, as lines of text.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct OtherCard {
    /// What it is, in the provider's words: `poll`, `dice`, `invoice`.
    pub name: String,
    /// What it says.
    pub lines: Vec<String>,
}

impl From<StoredCard> for Card {
    fn from(card: StoredCard) -> Self {
        match card {
            StoredCard::Contact { name, phone, phone_source_form, own } => {
                Self::Contact(ContactCard { name, phone: phone.or(phone_source_form), own })
            }
            StoredCard::Location { latitude, longitude, title, address, live } => {
                Self::Location(LocationCard { latitude, longitude, title, address, live })
            }
            StoredCard::Other { name, lines } => Self::Other(OtherCard { name, lines }),
        }
    }
}
