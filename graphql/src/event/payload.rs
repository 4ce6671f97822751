//! The payload of an event, as a supervisor sees it.
//!
//! **Invariant:** the clear part is shown as stored, whatever its version. What was sealed is shown masked for the
//! viewer; secrets and credentials of accounts are shown to nobody.

use events::account::AccountEvent;
use events::case::CaseEvent;
use events::codec::{Codec, Decoded, DomainEvent};
use events::contact::ContactEvent;
use events::conversation::ConversationEvent;
use events::envelope::RecordedEvent;
use events::intake::IntakeEvent;
use events::profile::ProfileEvent;
use events::seal::{Personal, SealedBox};
use events::viewer::Viewer;
use projections::mask;
use serde::Serialize;
use serde_json::Value;

use crate::error::{Failure, Outcome};

/// Stands where something was erased.
const ERASED: &str = "ERASED";
/// Stands where nobody may look.
const SECRET: &str = "SECRET";

/// Decodes an event and opens its sealed part.
pub(super) async fn open(codec: &Codec, event: RecordedEvent) -> Outcome<Decoded> {
    Ok(codec.decode_open(event).await?)
}

/// The payload with its sealed part opened.
pub(crate) async fn shown(codec: &Codec, viewer: &Viewer, event: RecordedEvent) -> Outcome<Value> {
    let mut stored: Value = serde_json::from_slice(&event.payload).map_err(Failure::internal)?;
    let sealed = stored.as_object_mut().and_then(|fields| {
        fields.values_mut().find(|value| value.as_str().is_some_and(|text| SealedBox::parse(text).is_ok()))
    });
    if let Some(sealed) = sealed {
        let opened = open(codec, event).await?;
        *sealed = sealed_part(viewer, opened.event)?;
    }
    Ok(stored)
}

/// What the sealed part says, for events that have one.
fn sealed_part(viewer: &Viewer, event: DomainEvent) -> Outcome<Value> {
    match event {
        DomainEvent::Account(AccountEvent::SecretIssued(_) | AccountEvent::CredentialsReplaced(_)) => Ok(SECRET.into()),
        DomainEvent::Intake(IntakeEvent::Received(received)) => {
            json(received.body, |body| serde_json::json!({ "sizeBytes": body.0.len() }))
        }
        DomainEvent::Contact(ContactEvent::Occupied(occupied)) => {
            let kind = occupied.kind;
            json(occupied.address, |mut address| {
                address.normalised = mask::address(viewer, kind, address.normalised);
                address.source_form = mask::address(viewer, kind, address.source_form);
                address
            })
        }
        DomainEvent::Profile(ProfileEvent::AttributeRecorded(recorded)) => {
            let attribute = recorded.attribute;
            json(recorded.value, |mut value| {
                value.text = mask::attribute(viewer, attribute, value.text);
                value.source_form = value.source_form.map(|form| mask::attribute(viewer, attribute, form));
                value
            })
        }
        DomainEvent::Conversation(event) => match event {
            ConversationEvent::Opened(event) => json(event.thread, |thread| mask::thread(viewer, thread)),
            ConversationEvent::Migrated(event) => json(event.thread, |thread| mask::thread(viewer, thread)),
            ConversationEvent::MessageReceived(event) => json(event.content, |content| mask::content(viewer, content)),
            ConversationEvent::MessageEdited(event) => json(event.content, |content| mask::content(viewer, content)),
            ConversationEvent::MessageQueued(event) => json(event.content, |content| mask::content(viewer, content)),
            ConversationEvent::ActivityNoted(event) => json(event.detail, |detail| detail),
            ConversationEvent::NoteAdded(event) => json(event.content, |content| content),
            _ => Ok(SECRET.into()),
        },
        DomainEvent::Case(event) => match event {
            CaseEvent::Opened(event) => json(event.content, |content| content),
            CaseEvent::Changed(event) => json(event.content, |content| content),
            CaseEvent::NoteAdded(event) => json(event.content, |content| content),
            _ => Ok(SECRET.into()),
        },
        // A sealed part that this list does not know is not shown.
        _ => Ok(SECRET.into()),
    }
}

fn json<T, U: Serialize>(personal: Personal<T>, show: impl FnOnce(T) -> U) -> Outcome<Value> {
    match personal.into_value() {
        Some(value) => serde_json::to_value(show(value)).map_err(Failure::internal),
        None => Ok(ERASED.into()),
    }
}
