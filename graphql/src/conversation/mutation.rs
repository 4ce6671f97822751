//! Mutations of conversations.
//!
//! **Invariant:** one speaker: a message goes out in the name of the caller, never of another, and an agent cannot
//! take a conversation from a person (design invariant 10).

use std::sync::Arc;

use async_graphql::{Context, ID, Object};
use events::conversation::content::{Attachment, AttachmentLocation, MessageContent, MessageKind, NoteContent};
use events::conversation::{Speaker, WokenReason};
use events::envelope::Revision;
use events::ids::{ConversationId, MessageId};
use events::viewer::Role;
use models::conversation::{ConversationCommand, ConversationDecider, Outgoing};

use super::Conversation;
use super::draft::held_by_other;
use super::input::{
    AddNoteInput, AssignConversationInput, CloseConversationInput, HandOverInput, MarkReadInput,
    OutgoingAttachmentInput, RedriveMessageInput, ReopenConversationInput, SendMessageInput, SnoozeConversationInput,
    SpeakerInput, TagConversationInput, WakeConversationInput,
};
use crate::command::{Answered, Mutating, refusal};
use crate::context::{Reading, id};
use crate::error::{Failure, Outcome, RETRY_AFTER, UserError, UserErrorCode};
use crate::guard::{OPERATOR, SUPERVISOR};
use crate::payload::{Done, Mutation, Payload, Subject};
use crate::ports::UploadError;
use crate::vocabulary::SpeakerKind;

/// Most files of one message.
const MAX_ATTACHMENTS: usize = 10;
/// Most tags in one mutation; the conversation itself has a limit of its own.
const MAX_TAGS: usize = 100;
/// Longest name of an operator or agent, in characters.
const MAX_NAME_CHARS: usize = 200;

/// Conversations as what mutations change.
pub(crate) struct ConversationSubject;

impl Subject for ConversationSubject {
    type Object = Conversation;

    async fn load(reading: &Reading<'_>, id: uuid::Uuid) -> Outcome<Option<Conversation>> {
        super::find(reading, ConversationId::new(id)).await
    }
}

macro_rules! conversation_payloads {
    ($($marker:ident = $name:literal;)*) => {$(
        #[doc = concat!("What came of a mutation: `", $name, "`.")]
        pub(crate) struct $marker;

        impl Mutation for $marker {
            type Subject = ConversationSubject;
            const PAYLOAD: &'static str = $name;
        }
    )*};
}

conversation_payloads! {
    TagConversation = "TagConversationPayload";
    AssignConversation = "AssignConversationPayload";
    HandOver = "HandOverPayload";
    SnoozeConversation = "SnoozeConversationPayload";
    WakeConversation = "WakeConversationPayload";
    CloseConversation = "CloseConversationPayload";
    ReopenConversation = "ReopenConversationPayload";
    MarkRead = "MarkReadPayload";
    RedriveMessage = "RedriveMessagePayload";
    ChangedBySendMessage = "SendMessageChange";
    ChangedByAddNote = "AddNoteChange";
}

/// What came of `sendMessage`.
pub(crate) struct SendMessagePayload {
    made: uuid::Uuid,
    done: Payload<ChangedBySendMessage>,
}

/// What came of `sendMessage`.
#[Object]
impl SendMessagePayload {
    /// The id of the message, as `message-<uuid>`; absent when a rule refused the wish.
    async fn message_id(&self) -> Option<ID> {
        self.done.succeeded().then(|| MessageId::new(self.made).to_string().into())
    }

    #[graphql(flatten)]
    async fn done(&self) -> &Payload<ChangedBySendMessage> {
        &self.done
    }
}

/// What came of `addNote`.
pub(crate) struct AddNotePayload {
    made: uuid::Uuid,
    done: Payload<ChangedByAddNote>,
}

/// What came of `addNote`.
#[Object]
impl AddNotePayload {
    /// The id of the note; absent when a rule refused the wish.
    async fn note_id(&self) -> Option<ID> {
        self.done.succeeded().then(|| self.made.to_string().into())
    }

    #[graphql(flatten)]
    async fn done(&self) -> &Payload<ChangedByAddNote> {
        &self.done
    }
}

/// Mutations of conversations.
#[derive(Default)]
pub(crate) struct ConversationMutation;

async fn run(mutating: &Mutating<'_>, conversation: &ID, command: ConversationCommand) -> Outcome<Done> {
    let conversation: ConversationId = id(conversation)?;
    let answered = mutating.run::<ConversationDecider>(conversation.uuid(), command).await?;
    Ok(Done { id: conversation.uuid(), answered })
}

fn refused(conversation: ConversationId, error: UserError) -> Done {
    Done { id: conversation.uuid(), answered: Err(error) }
}

#[Object]
impl ConversationMutation {
    /// Queues a message to the customer; what becomes of it shows as its `delivery`. The first who writes holds the
    /// conversation; an agent is refused while a person does.
    #[graphql(complexity = "10 + child_complexity")]
    async fn send_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to send.")] input: SendMessageInput,
    ) -> async_graphql::Result<SendMessagePayload> {
        let mutating = Mutating::begin(ctx, "sendMessage", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let conversation: ConversationId = id(&input.conversation)?;
        let made = mutating.fresh("message");
        let reply_to = input.reply_to.as_ref().map(id).transpose()?;
        if !input.despite_draft.unwrap_or_default()
            && let Some(error) = held_by_other(&mutating, conversation).await?
        {
            return Ok(SendMessagePayload { made, done: refused(conversation, error).into() });
        }
        let done = match attachments(&mutating, input.attachments.unwrap_or_default()).await? {
            Err(error) => refused(conversation, error),
            Ok(attachments) => {
                let command = ConversationCommand::Queue(Outgoing {
                    conversation,
                    message: MessageId::new(made),
                    speaker: speaker_of(&mutating),
                    kind: attachments.first().map_or(MessageKind::Text, |file| file.kind),
                    reply_to,
                    content: MessageContent {
                        text: input.text,
                        subject: input.subject,
                        attachments,
                        ..MessageContent::default()
                    },
                });
                run(&mutating, &input.conversation, command).await?
            }
        };
        Ok(SendMessagePayload { made, done: done.into() })
    }

    /// Adds an internal note: never sent, sealed under the customer it is about.
    #[graphql(complexity = "10 + child_complexity")]
    async fn add_note(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to note.")] input: AddNoteInput,
    ) -> async_graphql::Result<AddNotePayload> {
        let mutating = Mutating::begin(ctx, "addNote", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let (conversation, note) = (id(&input.conversation)?, mutating.fresh("note"));
        let mentions = input.mentions.unwrap_or_default().into_iter().map(Into::into).collect();
        let content = NoteContent { text: input.text };
        let command = ConversationCommand::AddNote { conversation, note, mentions, content };
        let done = run(&mutating, &input.conversation, command).await?;
        Ok(AddNotePayload { made: note, done: done.into() })
    }

    /// Adds and takes away tags.
    #[graphql(complexity = "10 + child_complexity")]
    async fn tag_conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which tags.")] input: TagConversationInput,
    ) -> async_graphql::Result<Payload<TagConversation>> {
        let mutating = Mutating::begin(ctx, "tagConversation", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let (add, remove) = (input.add.unwrap_or_default(), input.remove.unwrap_or_default());
        if add.len() + remove.len() > MAX_TAGS {
            let error = refusal(UserErrorCode::InvalidValue, format!("at most {MAX_TAGS} tags at a time"), "add");
            return Ok(refused(id(&input.conversation)?, error).into());
        }
        let (add, remove) = (add.into_iter().collect(), remove.into_iter().collect());
        Ok(run(&mutating, &input.conversation, ConversationCommand::Tag { add, remove }).await?.into())
    }

    /// Makes a conversation somebody's work, or nobody's. For operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn assign_conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose work.")] input: AssignConversationInput,
    ) -> async_graphql::Result<Payload<AssignConversation>> {
        let mutating =
            Mutating::begin(ctx, "assignConversation", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let operator = match input.operator {
            None => None,
            Some(name) => match checked_name(&name, "operator") {
                Ok(name) => Some(name),
                Err(error) => return Ok(refused(id(&input.conversation)?, error).into()),
            },
        };
        Ok(run(&mutating, &input.conversation, ConversationCommand::Assign { operator }).await?.into())
    }

    /// Lets somebody else speak to the customer. An agent may hand over only what it holds itself or nobody holds.
    #[graphql(complexity = "10 + child_complexity")]
    async fn hand_over(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "To whom.")] input: HandOverInput,
    ) -> async_graphql::Result<Payload<HandOver>> {
        let mutating = Mutating::begin(ctx, "handOver", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let conversation: ConversationId = id(&input.conversation)?;
        let to = match speaker(input.to) {
            Ok(to) => to,
            Err(error) => return Ok(refused(conversation, error).into()),
        };
        let reason = input.reason.unwrap_or_else(|| "handed_over".to_owned());
        let command = ConversationCommand::HandOver { by: mutating.origin.actor.clone(), to, reason };
        Ok(run(&mutating, &input.conversation, command).await?.into())
    }

    /// Lets a conversation rest until a time or the customer's next message. For operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn snooze_conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Until when.")] input: SnoozeConversationInput,
    ) -> async_graphql::Result<Payload<SnoozeConversation>> {
        let mutating =
            Mutating::begin(ctx, "snoozeConversation", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let command = ConversationCommand::Snooze { until: input.until, now: mutating.origin.occurred_at };
        Ok(run(&mutating, &input.conversation, command).await?.into())
    }

    /// Ends a rest. For operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn wake_conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which conversation.")] input: WakeConversationInput,
    ) -> async_graphql::Result<Payload<WakeConversation>> {
        let mutating = Mutating::begin(ctx, "wakeConversation", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let command = ConversationCommand::Wake { reason: WokenReason::ByHand, now: mutating.origin.occurred_at };
        Ok(run(&mutating, &input.conversation, command).await?.into())
    }

    /// Closes the episode; the customer's next message begins a further one.
    #[graphql(complexity = "10 + child_complexity")]
    async fn close_conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which conversation, and why.")] input: CloseConversationInput,
    ) -> async_graphql::Result<Payload<CloseConversation>> {
        let mutating =
            Mutating::begin(ctx, "closeConversation", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let command = ConversationCommand::Close { reason: input.reason };
        Ok(run(&mutating, &input.conversation, command).await?.into())
    }

    /// Begins a further episode. For operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn reopen_conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which conversation.")] input: ReopenConversationInput,
    ) -> async_graphql::Result<Payload<ReopenConversation>> {
        let mutating =
            Mutating::begin(ctx, "reopenConversation", &input.idempotency_key, input.seen_at.as_ref()).await?;
        Ok(run(&mutating, &input.conversation, ConversationCommand::Reopen).await?.into())
    }

    /// Notes up to where the caller has read. For operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn mark_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Up to where.")] input: MarkReadInput,
    ) -> async_graphql::Result<Payload<MarkRead>> {
        let mutating = Mutating::begin(ctx, "markRead", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let operator = Arc::clone(&mutating.caller.viewer.id);
        let command = ConversationCommand::MarkRead { operator, up_to: Revision(input.up_to) };
        Ok(run(&mutating, &input.conversation, command).await?.into())
    }

    /// Sends a dead letter again, from the first part that was not delivered. Of a message whose end nobody saw, the
    /// customer may get a part twice. For supervisors.
    #[graphql(guard = "SUPERVISOR", complexity = "10 + child_complexity")]
    async fn redrive_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which message.")] input: RedriveMessageInput,
    ) -> async_graphql::Result<Payload<RedriveMessage>> {
        let mutating = Mutating::begin(ctx, "redriveMessage", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let command = ConversationCommand::Redrive { message: id(&input.message)? };
        Ok(run(&mutating, &input.conversation, command).await?.into())
    }
}

/// The caller, as the one who speaks.
pub(crate) fn speaker_of(mutating: &Mutating<'_>) -> Speaker {
    let viewer = &mutating.caller.viewer;
    match viewer.role {
        Role::Agent => Speaker::Agent(Arc::clone(&viewer.id)),
        Role::Operator | Role::Supervisor | Role::Administrator => Speaker::Operator(Arc::clone(&viewer.id)),
    }
}

pub(crate) fn checked_name(name: &str, field: &'static str) -> Result<Arc<str>, UserError> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS {
        let message = format!("a name must have 1 to {MAX_NAME_CHARS} characters");
        return Err(refusal(UserErrorCode::InvalidValue, message, field));
    }
    Ok(name.into())
}

fn speaker(input: SpeakerInput) -> Result<Speaker, UserError> {
    match (input.kind, input.id) {
        (SpeakerKind::Nobody, None) => Ok(Speaker::Nobody),
        (SpeakerKind::Agent, Some(name)) => Ok(Speaker::Agent(checked_name(&name, "to")?)),
        (SpeakerKind::Operator, Some(name)) => Ok(Speaker::Operator(checked_name(&name, "to")?)),
        (SpeakerKind::Nobody, Some(_)) | (SpeakerKind::Agent | SpeakerKind::Operator, None) => {
            Err(refusal(UserErrorCode::InvalidValue, "an agent or operator needs an id, nobody has none", "to"))
        }
    }
}

async fn attachments(
    mutating: &Mutating<'_>,
    inputs: Vec<OutgoingAttachmentInput>,
) -> Outcome<Answered<Vec<Attachment>>> {
    if inputs.len() > MAX_ATTACHMENTS {
        let message = format!("a message has at most {MAX_ATTACHMENTS} attachments");
        return Ok(Err(refusal(UserErrorCode::InvalidValue, message, "attachments")));
    }
    let mut attachments = Vec::with_capacity(inputs.len());
    for input in inputs {
        let upload = match mutating.deps.uploads.find(&mutating.origin.tenant, &input.upload).await {
            Ok(upload) => upload,
            Err(UploadError::NotFound) => {
                return Ok(Err(refusal(UserErrorCode::NotFound, "there is no such upload", "attachments")));
            }
            Err(error @ UploadError::Unavailable(_)) => return Err(Failure::unavailable(error, RETRY_AFTER)),
        };
        attachments.push(Attachment {
            kind: kind_of(upload.blob.media_type.as_deref()),
            file_name: input.file_name.or(upload.file_name),
            media_type: upload.blob.media_type.clone(),
            size_bytes: Some(upload.blob.size_bytes),
            dimensions: None,
            duration_s: None,
            inline: false,
            location: AttachmentLocation::Blob { blob: upload.blob },
        });
    }
    Ok(Ok(attachments))
}

fn kind_of(media_type: Option<&str>) -> MessageKind {
    match media_type.and_then(|media_type| media_type.split_once('/')).map(|(kind, _)| kind) {
        Some("image") => MessageKind::Photo,
        Some("video") => MessageKind::Video,
        Some("audio") => MessageKind::Audio,
        Some(_) | None => MessageKind::Document,
    }
}
