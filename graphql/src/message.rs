//! What stands in a conversation: messages with their edits, reactions, files and delivery, notes and activities.
//!
//! **Invariant:** what was erased shows as null beside `erased: true`, never as an empty text. A file is named by its
//! address on this server, never by where it is stored.

use async_graphql::{ComplexObject, ID, SimpleObject, Union};
use chrono::{DateTime, Utc};
use events::conversation::content::{AttachmentLocation, MessageContent};
use events::ids::{ConversationId, MessageId};
use projections::timeline::{DeliveryView, EditView, EntryBody, MessageView, ReactionView, TimelineEntry as EntryView};

use crate::contact::Person;
use crate::scalars::LogPosition;
use crate::vocabulary::{Actor, DeliveryStateName, MessageDirectionName, MessageKindName, MessageMarkName};

mod content;

pub(crate) use content::Content;

/// One thing in a conversation.
#[derive(Debug, Clone, Union)]
pub(crate) enum TimelineEntry {
    /// A message in or out.
    Message(Box<Message>),
    /// An internal note.
    Note(Note),
    /// Something that is no message.
    Activity(Activity),
}

/// Where an entry stands and where it comes from.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Place {
    /// The place in the conversation, from 0: order is by this alone. Give it to `markRead`.
    pub revision: u64,
    /// The place in the log.
    pub position: LogPosition,
    /// The event that made it, as `event-<uuid>`.
    pub event: ID,
    /// Who did it.
    pub actor: Actor,
    /// When, by the provider's clock.
    pub occurred_at: DateTime<Utc>,
    /// When letopis recorded it.
    pub recorded_at: DateTime<Utc>,
}

/// A message in or out, as it stands, with its history.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Message {
    /// The id, as `message-<uuid>`.
    pub id: ID,
    /// The conversation, as `conversation-<uuid>`.
    pub conversation_id: ID,
    /// Where it stands and where it comes from.
    pub place: Place,
    /// Which way it went.
    pub direction: MessageDirectionName,
    /// The episode it belongs to; null while only an edit of it has come.
    pub episode: Option<u32>,
    /// The author of an inbound, the addressee of an outbound message; null for what is said to a group.
    pub person: Option<Person>,
    /// What kind of message it is.
    pub kind: MessageKindName,
    /// What is special about it.
    pub marks: Vec<MessageMarkName>,
    /// The message that it answers, as `message-<uuid>`.
    pub reply_to: Option<ID>,
    /// The same for all messages that were sent as one album.
    pub album: Option<String>,
    /// True when its author was erased: what it said is gone.
    pub erased: bool,
    /// What it says now; null when erased.
    pub content: Option<Content>,
    /// What it said first; null when erased, or while only an edit of it has come.
    pub original: Option<Content>,
    /// Its edits, oldest first; the last is what it says now.
    pub edits: Vec<Edit>,
    /// When the customer took it back.
    pub retracted_at: Option<DateTime<Utc>>,
    /// Reactions to it.
    pub reactions: Vec<Reaction>,
    /// What became of an outbound message; null for an inbound one.
    pub delivery: Option<Delivery>,
    #[graphql(skip)]
    view: MessageView,
    #[graphql(skip)]
    conversation: ConversationId,
}

#[ComplexObject]
impl Message {
    /// The text as it stands: of a mail its plain part, of a picture its caption.
    async fn text(&self) -> Option<&str> {
        self.content.as_ref().and_then(|content| content.text.as_deref())
    }

    /// Its files.
    async fn attachments(&self) -> Vec<Attachment> {
        attachments(self.conversation, &self.view)
    }
}

/// One edit of a message by the customer.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Edit {
    /// The place in the conversation.
    pub revision: u64,
    /// The event, as `event-<uuid>`.
    pub event: ID,
    /// What kind of message it was then.
    pub kind: MessageKindName,
    /// When, by the provider's clock.
    pub edited_at: DateTime<Utc>,
    /// When letopis recorded it.
    pub recorded_at: DateTime<Utc>,
    /// What it said then; null when erased.
    pub content: Option<Content>,
}

impl From<EditView> for Edit {
    fn from(view: EditView) -> Self {
        Self {
            revision: view.revision.0,
            event: view.event.to_string().into(),
            kind: view.kind.into(),
            edited_at: view.edited_at,
            recorded_at: view.recorded_at,
            content: view.content.map(Content::from),
        }
    }
}

/// The reactions of one person, or of all that stay unnamed.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Reaction {
    /// Who; null for a count of anonymous reactions.
    pub person: Option<Person>,
    /// What: emoji, or the provider's ids of its own ones.
    pub reactions: Vec<String>,
    /// When, by the provider's clock.
    pub changed_at: DateTime<Utc>,
}

impl From<ReactionView> for Reaction {
    fn from(view: ReactionView) -> Self {
        Self { person: view.by.map(Person::from), reactions: view.reactions, changed_at: view.changed_at }
    }
}

/// What became of an outbound message.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Delivery {
    /// Where it is.
    pub state: DeliveryStateName,
    /// The last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Why the last attempt failed, without personal data.
    pub reason: Option<String>,
    /// Not before this time will it be tried again.
    pub retry_at: Option<DateTime<Utc>>,
    /// Since when it is there.
    pub changed_at: DateTime<Utc>,
    /// How many parts the provider took: a long text goes in several.
    pub delivered_parts: u32,
}

impl From<DeliveryView> for Delivery {
    fn from(view: DeliveryView) -> Self {
        Self {
            state: view.state.into(),
            attempt: view.attempt,
            reason: view.reason,
            retry_at: view.retry_at,
            changed_at: view.changed_at,
            delivered_parts: u32::try_from(view.parts.len()).unwrap_or(u32::MAX),
        }
    }
}

/// A file of a message.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Attachment {
    /// Its place among the files of the message, from 0.
    pub index: u32,
    /// What kind of message it would be alone.
    pub kind: MessageKindName,
    /// Its name, as sent.
    pub file_name: Option<String>,
    /// Its media type, as claimed by the sender.
    pub media_type: Option<String>,
    /// Its length, as claimed by the sender, in bytes.
    pub size_bytes: Option<u64>,
    /// Width of a picture, in pixels.
    pub width: Option<u32>,
    /// Height of a picture, in pixels.
    pub height: Option<u32>,
    /// Length of a sound or video, in seconds.
    pub duration_seconds: Option<u32>,
    /// True for a picture that is shown inside the text of a mail.
    pub inline: bool,
    /// Where to fetch it from this server, with the caller's own authentication; null until it is stored.
    pub url: Option<String>,
    /// Why it could not be had: `too_big`, `gone`.
    pub lost_reason: Option<String>,
}

fn attachments(conversation: ConversationId, view: &MessageView) -> Vec<Attachment> {
    let files = view.content.as_ref().map_or(&[][..], |content| &content.attachments);
    let files = (0_u32..).zip(files);
    files
        .map(|(index, file)| {
            let state = view.attachments.iter().find(|state| state.index == index);
            let stored = state.is_some_and(|state| state.blob.is_some());
            let ours = matches!(file.location, AttachmentLocation::Blob { .. });
            Attachment {
                index,
                kind: file.kind.into(),
                file_name: file.file_name.clone(),
                media_type: file.media_type.clone(),
                size_bytes: file.size_bytes,
                width: file.dimensions.map(|(width, _)| width),
                height: file.dimensions.map(|(_, height)| height),
                duration_seconds: file.duration_s,
                inline: file.inline,
                url: (stored || ours).then(|| media_url(conversation, view.message, index)),
                lost_reason: state.and_then(|state| state.lost_reason.clone()),
            }
        })
        .collect()
}

/// Where the server serves a file of a message.
#[must_use]
pub fn media_url(conversation: ConversationId, message: MessageId, index: u32) -> String {
    format!("/media/{conversation}/{message}/{index}")
}

/// An internal note: never sent.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Note {
    /// The id.
    pub id: ID,
    /// Where it stands and where it comes from.
    pub place: Place,
    /// True when the customer was erased: what it said is gone.
    pub erased: bool,
    /// What it says; null when erased.
    pub text: Option<String>,
}

/// Something that is no message: a pressed button, a vote, a pinned message.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Activity {
    /// The id.
    pub id: ID,
    /// Where it stands and where it comes from.
    pub place: Place,
    /// What, in the provider's words: `callback_query`, `poll_answer`, `pinned_message`.
    pub activity: String,
    /// Who did it, if a customer.
    pub person: Option<Person>,
    /// The message that it is about, as `message-<uuid>`.
    pub message_id: Option<ID>,
    /// True when who did it was erased: what it said is gone.
    pub erased: bool,
    /// The payload of a button, the choice of a vote, the text of a query; null when there is none or erased.
    pub data: Option<String>,
}

impl From<EntryView> for TimelineEntry {
    fn from(entry: EntryView) -> Self {
        let conversation = entry.conversation;
        let place = Place {
            revision: entry.revision.0,
            position: LogPosition(entry.position),
            event: entry.event.to_string().into(),
            actor: Actor::of_stored(&entry.actor_kind, entry.actor),
            occurred_at: entry.occurred_at,
            recorded_at: entry.recorded_at,
        };
        match entry.body {
            EntryBody::Message(view) => Self::Message(Box::new(message(conversation, place, *view))),
            EntryBody::Note { note, content } => Self::Note(Note {
                id: note.to_string().into(),
                place,
                erased: content.is_none(),
                text: content.map(|content| content.text),
            }),
            EntryBody::Activity { id, activity, by, message, detail } => Self::Activity(Activity {
                id: id.to_string().into(),
                place,
                activity,
                person: by.map(Person::from),
                message_id: message.map(|message| message.to_string().into()),
                erased: detail.is_none(),
                data: detail.and_then(|detail| detail.data),
            }),
        }
    }
}

fn message(conversation: ConversationId, place: Place, view: MessageView) -> Message {
    let said = |content: &Option<MessageContent>| content.clone().map(Content::from);
    Message {
        id: view.message.to_string().into(),
        conversation_id: conversation.to_string().into(),
        place,
        direction: view.direction.into(),
        episode: view.episode,
        person: view.person.map(Person::from),
        kind: view.kind.into(),
        marks: view.marks.iter().copied().map(Into::into).collect(),
        reply_to: view.reply_to.map(|answered| answered.to_string().into()),
        album: view.album.map(|album| album.to_string()),
        erased: view.content.is_none(),
        content: said(&view.content),
        original: said(&view.original),
        edits: view.edits.iter().cloned().map(Edit::from).collect(),
        retracted_at: view.retracted_at,
        reactions: view.reactions.iter().cloned().map(Reaction::from).collect(),
        delivery: view.delivery.clone().map(Delivery::from),
        view,
        conversation,
    }
}
