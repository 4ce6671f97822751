//! From a delivery of the chat widget to what happened.
//!
//! **Invariant:** the thread is always below the visitor, and only what the site signed becomes an attribute or another
//! contact point of theirs. A visitor's clock may be wrong: nothing happened after it came in.

use chrono::{DateTime, Utc};
use events::contact::ContactAddress;
use events::conversation::ConversationKind;
use events::conversation::content::{ActivityDetail, MessageContent, MessageKind, MessageMark, OutsideThread};
use events::ids::AccountId;
use events::profile::Attribute;
use events::values::{ContactKind, EmailAddress, PhoneNumber, Region};
use serde_json::Value;

use super::{Head, Identity, attachment, is_id, thread_key, unrecognised};
use crate::channels::json::{Object, printable};
use crate::channels::{Happening, Interaction, Normalised, Party, Thread, Unrecognised};

/// What a delivery says, in our words. The account is needed because each site counts its own visitors;
/// `received_at` bounds what the visitor's clock says and stands in where it says nothing.
///
/// # Errors
/// [`Unrecognised`] for what is no delivery of the contract in `docs/webchat.md`.
pub fn normalise(body: &[u8], account: AccountId, received_at: DateTime<Utc>) -> Result<Normalised, Unrecognised> {
    let value: Value = serde_json::from_slice(body).map_err(|_| unrecognised("not JSON"))?;
    let body = Object::of(&value).ok_or_else(|| unrecognised("not a JSON object"))?;
    let head = Head::of(body);
    let visitor = head.visitor.ok_or_else(|| unrecognised("no signed visitor"))?;
    let id = head.id.ok_or_else(|| unrecognised("no id"))?;
    let kind = body.text("type").ok_or_else(|| unrecognised("no type"))?;
    let occurred_at = head.sent_at.map_or(received_at, |sent_at| sent_at.min(received_at));
    let happened = happenings(kind, id, body, &visitor, occurred_at)?;

    let thread = thread(body, &visitor)?;
    let party = party(&visitor, account);
    let interaction =
        |what| Interaction { thread: Some(thread.clone()), party: Some(party.clone()), occurred_at, what };
    Ok(Normalised { kind: kind.to_owned(), interactions: happened.into_iter().map(interaction).collect() })
}

fn happenings(
    kind: &str,
    id: String,
    body: Object<'_>,
    visitor: &Identity,
    occurred_at: DateTime<Utc>,
) -> Result<Vec<Happening>, Unrecognised> {
    let about = |field: &str| body.owned(field).filter(|id| is_id(id));
    let message = || about("message").ok_or_else(|| unrecognised(format!("{kind} without message")));
    Ok(vec![match kind {
        "message" => {
            let (kind, marks, content) = said(body, &id)?;
            let album = None;
            Happening::Message { outside_id: id, kind, marks, reply_to: about("reply_to"), album, content }
        }
        "edit" => {
            let outside_id = message()?;
            let (kind, _, content) = said(body, &outside_id)?;
            Happening::Edit { outside_id, kind, edited_at: occurred_at, content }
        }
        "retract" => Happening::Retraction { outside_id: message()? },
        "reaction" => {
            let reactions = body.list("reactions").iter().filter_map(Value::as_str);
            let reactions = reactions.filter(|reaction| !reaction.is_empty()).map(str::to_owned).collect();
            Happening::Reactions { outside_id: message()?, reactions }
        }
        "activity" => {
            let name = body.text("activity").filter(|name| printable(name) == *name);
            Happening::Activity {
                activity: name.ok_or_else(|| unrecognised("activity without activity"))?.to_owned(),
                activity_id: id,
                about: about("message"),
                detail: ActivityDetail { data: body.owned("data"), answer_id: None },
            }
        }
        "identify" => return Ok(contact_points(visitor)),
        _ => return Err(unrecognised(format!("unknown type: {}", printable(kind)))),
    }])
}

fn said(body: Object<'_>, id: &str) -> Result<(MessageKind, Vec<MessageMark>, MessageContent), Unrecognised> {
    let text = body.owned("text");
    let (attachments, damaged) = attachment::listed(body);
    if text.is_none() && attachments.is_empty() && !damaged {
        return Err(unrecognised("message without text and attachments"));
    }
    let kind = match attachments.first() {
        Some(first) => first.kind,
        None if text.is_some() => MessageKind::Text,
        None => MessageKind::Other,
    };
    let marks = if damaged { vec![MessageMark::Damaged] } else { Vec::new() };
    let content = MessageContent { outside_id: Some(id.to_owned()), text, attachments, ..MessageContent::default() };
    Ok((kind, marks, content))
}

/// A visitor has one thread, and further ones where the widget names them.
fn thread(body: Object<'_>, visitor: &Identity) -> Result<Thread, Unrecognised> {
    let name = match body.get("thread") {
        None => Some(None),
        Some(name) => name.as_str().map(Some),
    };
    let key = name.and_then(|name| thread_key(visitor, name)).ok_or_else(|| unrecognised("thread is not an id"))?;
    let outside =
        OutsideThread { key: key.clone(), topic: None, title: None, reply_address: None, business_connection: None };
    Ok(Thread { key, conversation: None, kind: ConversationKind::Direct, outside })
}

fn party(visitor: &Identity, account: AccountId) -> Party {
    let attributes = [
        (Attribute::DisplayName, visitor.name.clone()),
        (Attribute::Email, email(visitor).map(|email| email.as_str().to_owned())),
        (Attribute::Phone, phone(visitor).map(|phone| phone.as_str().to_owned())),
        (Attribute::Language, visitor.language.clone()),
    ];
    Party {
        kind: ContactKind::WebchatVisitor,
        address: ContactAddress {
            normalised: format!("{}/{}", account.uuid().hyphenated(), visitor.id),
            source_form: visitor.id.clone(),
        },
        attributes: attributes.into_iter().filter_map(|(attribute, value)| Some((attribute, value?))).collect(),
    }
}

/// The contact points that the site says are the visitor's own.
fn contact_points(visitor: &Identity) -> Vec<Happening> {
    let point = |kind, attribute, normalised: &str, source: &Option<String>| Happening::SharedContact {
        other: Party {
            kind,
            address: ContactAddress {
                normalised: normalised.to_owned(),
                source_form: source.clone().unwrap_or_default(),
            },
            attributes: vec![(attribute, normalised.to_owned())],
        },
    };
    let phone = phone(visitor);
    let phone = phone.map(|phone| point(ContactKind::Phone, Attribute::Phone, phone.as_str(), &visitor.phone));
    let email = email(visitor);
    let email = email.map(|email| point(ContactKind::Email, Attribute::Email, email.as_str(), &visitor.email));
    phone.into_iter().chain(email).collect()
}

/// Sites write numbers with or without the country code; without one it is a Russian number. What is no number is left
/// out; the raw delivery has it.
fn phone(visitor: &Identity) -> Option<PhoneNumber> {
    PhoneNumber::parse(visitor.phone.as_deref()?, Region::RU).ok()
}

fn email(visitor: &Identity) -> Option<EmailAddress> {
    EmailAddress::parse(visitor.email.as_deref()?).ok()
}
