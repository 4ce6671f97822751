//! The media reactor: files of customers' messages are fetched, sealed and stored as blobs.
//!
//! **Invariant:** a file is sealed for the same subject as the message that it came with, and stored once; what cannot
//! be had is written down with the reason, never silently missing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::DomainEvent;
use events::account::{AccountSettings, Credentials};
use events::blobs::{BlobError, BlobRef, Blobs, get_opened, put_sealed};
use events::checkpoints::CheckpointStore;
use events::clock::Clock;
use events::codec::CodecError;
use events::consumer::{self, Batch, ConsumeError};
use events::conversation::content::{Attachment, AttachmentLocation, MessageContent, MessageKind};
use events::conversation::{ConversationEvent, ConversationKind};
use events::envelope::{Actor, Category, RecordedEvent, StreamName};
use events::feed::{Checkpoints, Delivery};
use events::ids::{CommandId, ConversationId, MessageId, Occupancy};
use events::intake::{IntakeEvent, IntakeReceived};
use events::log::{Filter, ReadError};
use events::seal::{KeyStoreError, KeySubject, SealError, SealerError};
use futures::StreamExt;
use models::command::Origin;
use models::conversation::{ConversationCommand, ConversationDecider};
use models::handler::{HandleError, Handler};

use crate::accounts::Accounts;
use crate::channels::telegram::deliver::{BotApi, DeliveryError, MAX_DOWNLOAD_BYTES};
use crate::channels::{email, webchat};

/// Stable name: it keys the checkpoint and the command ids.
pub const NAME: &str = "media";
/// Files fetched at the same time.
const SIDE_BY_SIDE: usize = 8;
/// Tries of one file before it counts as lost.
const TRIES: u32 = 5;
/// Wait before the second try of a file; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Fetches files.
pub struct Media {
    /// Writes down what became of them.
    pub handler: Handler,
    /// The bots to fetch as.
    pub accounts: Arc<Accounts>,
    /// Where they go.
    pub blobs: Arc<dyn Blobs>,
    /// For calls of providers; follows no redirects.
    pub client: reqwest::Client,
    /// Base URL of the Bot API for accounts that set none.
    pub telegram_api: String,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
    /// How far it has come.
    pub checkpoints: Arc<dyn CheckpointStore>,
}

/// Why a file was not stored.
enum MediaError {
    /// Something of ours is away: the same again.
    Retry(String),
    /// The provider is away: try again a few times.
    Later(String),
    /// It cannot be had.
    Lost(&'static str),
    /// What the log holds of its conversation cannot be read, so nothing can be written down there either.
    Park(String),
}

#[async_trait]
impl consumer::Handler for Media {
    fn name(&self) -> &str {
        NAME
    }

    fn filter(&self) -> Filter {
        Filter { categories: vec![Category::Conversation] }
    }

    async fn load_checkpoints(&self) -> Result<Checkpoints, ConsumeError> {
        self.checkpoints.load(NAME).await
    }

    async fn handle(&self, batch: &Batch) -> Result<(), ConsumeError> {
        let events: Vec<RecordedEvent> = batch.events().cloned().collect();
        let mut runs =
            futures::stream::iter(events.into_iter().map(|event| self.message(event))).buffer_unordered(SIDE_BY_SIDE);
        let mut outcome = Ok(());
        while let Some(run) = runs.next().await {
            outcome = outcome.and(run);
        }
        drop(runs);
        outcome?;
        self.checkpoints.store(NAME, &batch.checkpoints()).await
    }

    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), ConsumeError> {
        tracing::error!(event.id = %delivery.event.id, reason, "files of a message are not fetched");
        self.checkpoints.store(NAME, &delivery.checkpoint.clone().into()).await
    }
}

impl Media {
    async fn message(&self, recorded: RecordedEvent) -> Result<(), ConsumeError> {
        let wanted =
            matches!(recorded.event_type.as_ref(), "conversation.message_received" | "conversation.message_edited");
        if !wanted {
            return Ok(());
        }
        let mut decoded = self.handler.codec().decode(recorded.clone()).map_err(|error| coded(&error))?;
        // A message with a file is of the file's kind, so most need no key.
        let kind = match &decoded.event {
            DomainEvent::Conversation(ConversationEvent::MessageReceived(received)) => received.kind,
            DomainEvent::Conversation(ConversationEvent::MessageEdited(edited)) => edited.kind,
            _ => return Ok(()),
        };
        if kind == MessageKind::Text {
            return Ok(());
        }
        self.handler.codec().open(&mut decoded).await.map_err(|error| coded(&error.into()))?;
        let (message, author, content) = match decoded.event {
            DomainEvent::Conversation(ConversationEvent::MessageReceived(received)) => {
                (received.message, received.author, received.content.into_value())
            }
            DomainEvent::Conversation(ConversationEvent::MessageEdited(edited)) => {
                (edited.message, edited.author, edited.content.into_value())
            }
            _ => return Ok(()),
        };
        let Some(MessageContent { attachments, .. }) = content else { return Ok(()) };
        for (index, attachment) in (0..).zip(attachments) {
            self.attachment(&recorded, message, author, index, &attachment).await?;
        }
        Ok(())
    }

    async fn attachment(
        &self,
        recorded: &RecordedEvent,
        message: MessageId,
        author: Occupancy,
        index: u32,
        attachment: &Attachment,
    ) -> Result<(), ConsumeError> {
        let mut tries = 0;
        let fetched = loop {
            match self.fetch(recorded, author, attachment).await {
                Ok(fetched) => break Ok(fetched),
                Err(MediaError::Retry(reason)) => return Err(ConsumeError::Retry(reason)),
                Err(MediaError::Park(reason)) => return Err(ConsumeError::Park(reason)),
                Err(MediaError::Lost(reason)) => break Err(reason),
                Err(MediaError::Later(_)) if tries + 1 >= TRIES => break Err("provider_unavailable"),
                Err(MediaError::Later(reason)) => {
                    tries += 1;
                    tracing::info!(event.id = %recorded.id, reason, tries, "a file has to wait");
                    tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(tries - 1)).await;
                }
            }
        };
        let (outcome, command) = match fetched {
            Ok(None) => return Ok(()),
            Ok(Some(blob)) => (0, ConversationCommand::StoreAttachment { message, index, blob }),
            Err(reason) => (1, ConversationCommand::LoseAttachment { message, index, reason: reason.to_owned() }),
        };
        let origin = Origin {
            id: CommandId::of_reactor(NAME, recorded.id, 2 * index + outcome),
            tenant: recorded.tenant().clone(),
            actor: Actor::System(NAME.into()),
            causation: Some(recorded.id),
            correlation: recorded.metadata.correlation,
            occurred_at: self.clock.now(),
            traceparent: recorded.metadata.traceparent.clone(),
            seen_at: None,
            wish: None,
        };
        match self.handler.handle::<ConversationDecider>(recorded.stream.id, &origin, command).await {
            // The same file under another blob, from a run that a crash cut off: the first one stands.
            Ok(_) | Err(HandleError::IdTaken | HandleError::Rejected(_) | HandleError::Erased) => Ok(()),
            Err(error @ (HandleError::Unavailable { .. } | HandleError::Contended(_))) => {
                Err(ConsumeError::Retry(error.to_string()))
            }
            Err(error @ HandleError::Corrupt { .. }) => Err(ConsumeError::Park(error.to_string())),
        }
    }

    /// The stored file; `None` when it was stored with its message.
    async fn fetch(
        &self,
        recorded: &RecordedEvent,
        author: Occupancy,
        attachment: &Attachment,
    ) -> Result<Option<BlobRef>, MediaError> {
        let bytes = match &attachment.location {
            AttachmentLocation::Blob { .. } => return Ok(None),
            AttachmentLocation::Provider { reference, .. } => self.fetch_provided(recorded, reference).await?,
            AttachmentLocation::RawDelivery { index } => self.fetch_raw(recorded, *index).await?,
        };
        let subject = self.subject(&recorded.stream, author).await?;
        let sealer = self.handler.codec().sealer();
        let media_type = attachment.media_type.clone();
        put_sealed(&*self.blobs, sealer, recorded.tenant(), subject, &bytes, media_type)
            .await
            .map(Some)
            .map_err(|error| stored(&error))
    }

    async fn subject(&self, stream: &StreamName, author: Occupancy) -> Result<KeySubject, MediaError> {
        let kind = self.handler.inspect::<ConversationDecider, _>(stream, |state| state.kind()).await;
        Ok(match kind.map_err(|error| inspected(&error))? {
            Some(ConversationKind::Group) => KeySubject::Conversation(ConversationId::new(stream.id)),
            Some(ConversationKind::Direct) | None => KeySubject::Occupancy(author),
        })
    }

    async fn fetch_provided(&self, recorded: &RecordedEvent, reference: &str) -> Result<bytes::Bytes, MediaError> {
        let account = self.handler.inspect::<ConversationDecider, _>(&recorded.stream, |state| state.account()).await;
        let account = account.map_err(|error| inspected(&error))?;
        let account = account.and_then(|account| self.accounts.get(account)).ok_or(MediaError::Lost("no_account"))?;
        let Some(Credentials::Telegram { bot_token }) = &account.credentials else {
            return Err(MediaError::Lost("no_credentials"));
        };
        let base = match &account.settings {
            AccountSettings::Telegram { api_base: Some(base) } => base,
            _ => &self.telegram_api,
        };
        let bot = BotApi::new(self.client.clone(), base, bot_token).map_err(|_| MediaError::Lost("no_provider"))?;
        bot.download(reference, MAX_DOWNLOAD_BYTES).await.map_err(|error| match error {
            DeliveryError::Retry { reason, .. } | DeliveryError::Unknown { reason } => MediaError::Later(reason),
            DeliveryError::Refused { .. } => MediaError::Lost("refused"),
            DeliveryError::Blocked | DeliveryError::Migrated { .. } => MediaError::Lost("gone"),
        })
    }

    async fn fetch_raw(&self, recorded: &RecordedEvent, index: u32) -> Result<bytes::Bytes, MediaError> {
        let raw = recorded.metadata.causation.ok_or(MediaError::Lost("no_raw_delivery"))?;
        let raw = self.handler.log().find(raw).await.map_err(|error| match error {
            ReadError::Unavailable(_) => MediaError::Retry(error.to_string()),
            ReadError::Corrupt { .. } => MediaError::Park(error.to_string()),
        })?;
        let raw = raw.ok_or(MediaError::Lost("no_raw_delivery"))?;
        let raw = self.handler.codec().decode_open(raw).await.map_err(|error| match &error {
            CodecError::Seal(error) => unsealed(error),
            CodecError::UnknownType(_)
            | CodecError::Upcast { .. }
            | CodecError::Malformed(_)
            | CodecError::NotSealed(_) => MediaError::Lost("raw_delivery_unreadable"),
        })?;
        let DomainEvent::Intake(IntakeEvent::Received(IntakeReceived { channel, body, blob, .. })) = raw.event else {
            return Err(MediaError::Lost("no_raw_delivery"));
        };
        let body = match blob {
            None => body.into_value().map(|body| body.0).ok_or(MediaError::Lost("erased"))?,
            Some(blob) => {
                let sealer = self.handler.codec().sealer();
                let opened = get_opened(&*self.blobs, sealer, recorded.tenant(), &blob).await;
                opened.map_err(|error| stored(&error))?.into()
            }
        };
        let found = match channel {
            events::values::Channel::Email => email::attachment_bytes(&body, index).map(bytes::Bytes::from),
            events::values::Channel::Webchat => webchat::attachment(&body, index),
            events::values::Channel::Telegram => None,
        };
        found.ok_or(MediaError::Lost("not_in_raw_delivery"))
    }
}

fn coded(error: &CodecError) -> ConsumeError {
    match error {
        CodecError::Seal(SealerError::Keys(KeyStoreError::Unavailable(_))) => ConsumeError::Retry(error.to_string()),
        _ => ConsumeError::Park(error.to_string()),
    }
}

fn inspected<R: std::error::Error>(error: &HandleError<R>) -> MediaError {
    match error {
        HandleError::Corrupt { .. } => MediaError::Park(error.to_string()),
        HandleError::Erased => MediaError::Lost("erased"),
        HandleError::Unavailable { .. }
        | HandleError::Contended(_)
        | HandleError::IdTaken
        | HandleError::Rejected(_) => MediaError::Retry(error.to_string()),
    }
}

/// Only what may be different the next time is tried again: all else would hold up every file behind it.
fn stored(error: &BlobError) -> MediaError {
    match error {
        BlobError::Unavailable(_) => MediaError::Retry(error.to_string()),
        BlobError::NotFound(_) => MediaError::Lost("blob_not_found"),
        BlobError::Corrupt(_) => MediaError::Lost("blob_corrupt"),
        BlobError::Erased(_) => MediaError::Lost("erased"),
        BlobError::Seal(error) => unsealed(error),
    }
}

fn unsealed(error: &SealerError) -> MediaError {
    match error {
        SealerError::Keys(KeyStoreError::Unavailable(_)) | SealerError::Seal(SealError::NoRandomness) => {
            MediaError::Retry(error.to_string())
        }
        SealerError::Keys(KeyStoreError::Destroyed) => MediaError::Lost("erased"),
        SealerError::Keys(KeyStoreError::Corrupt(_)) => MediaError::Lost("key_corrupt"),
        SealerError::Seal(SealError::Malformed | SealError::Forged | SealError::Content | SealError::State(_)) => {
            MediaError::Lost("seal_broken")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_come_back_is_fetched_again() {
        let away = || KeyStoreError::Unavailable("away".to_owned());
        let again = [
            BlobError::Unavailable("away".to_owned()),
            BlobError::Seal(SealerError::Keys(away())),
            BlobError::Seal(SealerError::Seal(SealError::NoRandomness)),
        ];
        assert!(again.iter().all(|error| matches!(stored(error), MediaError::Retry(_))));
        let lost = [
            (BlobError::NotFound("b".to_owned()), "blob_not_found"),
            (BlobError::Corrupt("b".to_owned()), "blob_corrupt"),
            (BlobError::Erased("b".to_owned()), "erased"),
            (BlobError::Seal(SealerError::Keys(KeyStoreError::Destroyed)), "erased"),
            (BlobError::Seal(SealerError::Keys(KeyStoreError::Corrupt("k".to_owned()))), "key_corrupt"),
            (BlobError::Seal(SealerError::Seal(SealError::Forged)), "seal_broken"),
        ];
        for (error, reason) in lost {
            assert!(matches!(stored(&error), MediaError::Lost(lost) if lost == reason), "{error}");
        }
    }
}
