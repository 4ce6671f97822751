//! Carries one part of a message over the wire of its channel.
//!
//! **Invariant:** an error says whether the provider may have taken the part; no error names an address or a token.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use events::account::{AccountSettings, Credentials};
use events::blobs::{BlobError, Blobs, get_opened};
use events::conversation::content::{AttachmentLocation, MailHeaders, MessageContent, MessageKind, OutsideThread};
use events::envelope::Revision;
use events::ids::{ConversationId, IdHasher, MessageId};
use events::seal::Sealer;
use events::values::{Channel, EmailAddress};

use crate::accounts::ChannelAccount;
use crate::channels::email::OwnMailbox;
use crate::channels::email::deliver::{self as smtp, SmtpPatience};
use crate::channels::email::reply::{Author, OutgoingFile as MailFile, OutgoingMail, compose};
use crate::channels::telegram::deliver::{BotApi, DeliveryError, OutgoingFile, Part, Target, parts};
use crate::channels::webchat::frames;
use crate::visitors::Visitors;

/// A message with all that sending it needs.
pub struct Wire {
    account: Arc<ChannelAccount>,
    conversation: ConversationId,
    message: MessageId,
    thread: OutsideThread,
    content: MessageContent,
    reply_to: Option<String>,
    answered: Answered,
    written_at: DateTime<Utc>,
    /// Where it stands in its conversation.
    revision: Revision,
    telegram: Vec<Part>,
}

/// What is answered, as mail needs it.
#[derive(Default)]
pub(super) struct Answered {
    pub(super) subject: Option<String>,
    pub(super) mail: Option<MailHeaders>,
}

impl Wire {
    #[expect(clippy::too_many_arguments, reason = "the one constructor of what is put together in one place")]
    pub(super) fn new(
        account: Arc<ChannelAccount>,
        conversation: ConversationId,
        message: MessageId,
        thread: OutsideThread,
        content: MessageContent,
        reply_to: Option<String>,
        answered: Answered,
        (revision, written_at): (Revision, DateTime<Utc>),
    ) -> Self {
        let kinds: Vec<MessageKind> = content.attachments.iter().map(|attachment| attachment.kind).collect();
        let telegram = match account.channel() {
            Channel::Telegram => parts(content.text.as_deref(), &kinds),
            Channel::Webchat | Channel::Email => Vec::new(),
        };
        Self { account, conversation, message, thread, content, reply_to, answered, written_at, revision, telegram }
    }

    /// The channel that it goes over.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.account.channel()
    }

    /// The revision that the visitor's page has to confirm before the message counts as sent, where it has not yet:
    /// `seen` is how far it has the conversation. The sockets of web chat read the stream, so nothing is put on a wire
    /// and no attempt can be cut off: the message waits in its queue until it is confirmed.
    pub(super) fn awaits_page(&self, seen: Option<Revision>) -> Option<Revision> {
        match self.channel() {
            Channel::Telegram | Channel::Email => None,
            Channel::Webchat => seen.is_none_or(|seen| seen < self.revision).then_some(self.revision),
        }
    }

    /// In how many parts it goes; the same message always goes in the same parts.
    #[must_use]
    pub fn parts(&self) -> usize {
        match self.channel() {
            Channel::Telegram => self.telegram.len(),
            Channel::Webchat | Channel::Email => 1,
        }
    }
}

/// What the provider said of a part that it took.
pub struct Sent {
    /// The id under which the provider's events will speak of it.
    pub alias: MessageId,
    /// The provider's id of it.
    pub outside_id: Option<String>,
}

/// Why a part was not, or not surely, taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It was surely not taken: try again, after this time where the provider says one.
    #[error("not taken for now: {reason}")]
    Retry {
        /// How long to wait at least.
        after: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// It will never be taken.
    #[error("refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// It may have been taken.
    #[error("unknown: {reason}")]
    Unknown {
        /// Why.
        reason: String,
    },
}

impl From<DeliveryError> for WireError {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Retry { after, reason } => Self::Retry { after, reason },
            DeliveryError::Refused { reason } => Self::Refused { reason },
            DeliveryError::Blocked => Self::Refused { reason: "the customer does not let the bot write".to_owned() },
            DeliveryError::Migrated { .. } => Self::Refused { reason: "the group moved to another address".to_owned() },
            DeliveryError::Unknown { reason } => Self::Unknown { reason },
        }
    }
}

impl From<smtp::DeliveryError> for WireError {
    fn from(error: smtp::DeliveryError) -> Self {
        match error {
            smtp::DeliveryError::Retry { after, reason } => Self::Retry { after: Some(after), reason },
            smtp::DeliveryError::Refused { reason } => Self::Refused { reason },
            smtp::DeliveryError::Unknown { reason } => Self::Unknown { reason },
        }
    }
}

/// Speaks to every provider.
pub struct Carrier {
    /// For calls of providers; follows no redirects.
    pub client: reqwest::Client,
    /// Base URL of the Bot API for accounts that set none.
    pub telegram_api: String,
    /// Longest time for one call.
    pub timeout: Duration,
    /// Files to send.
    pub blobs: Arc<dyn Blobs>,
    /// Opens them.
    pub sealer: Sealer,
    /// Derives the ids that providers' events will use.
    pub hasher: IdHasher,
    /// Visitors of chat widgets who are connected.
    pub visitors: Arc<Visitors>,
}

impl Carrier {
    /// Waits until the visitor's page has everything of the conversation up to `revision`, and says how far it has it.
    pub async fn taken(&self, conversation: ConversationId, revision: Revision) -> Revision {
        self.visitors.seen(conversation, revision).await
    }

    /// Carries one part.
    ///
    /// # Errors
    /// See [`WireError`].
    pub async fn carry(&self, wire: &Wire, part: usize) -> Result<Sent, WireError> {
        match wire.channel() {
            Channel::Telegram => self.telegram(wire, part).await,
            Channel::Email => Box::pin(self.mail(wire)).await,
            Channel::Webchat => Ok(self.visitor(wire)),
        }
    }

    async fn telegram(&self, wire: &Wire, part: usize) -> Result<Sent, WireError> {
        let refused = |reason: &str| WireError::Refused { reason: reason.to_owned() };
        let Some(Credentials::Telegram { bot_token }) = &wire.account.credentials else {
            return Err(refused("the account has no bot token"));
        };
        let base = match &wire.account.settings {
            AccountSettings::Telegram { api_base: Some(base) } => base,
            _ => &self.telegram_api,
        };
        let bot = BotApi::new(self.client.clone(), base, bot_token)?.with_timeout(self.timeout);
        let target = Target::of(&wire.thread, wire.reply_to.as_deref().filter(|_| part == 0));
        let step = wire.telegram.get(part).ok_or_else(|| refused("the message has no such part"))?;
        let files = match step {
            Part::Text(_) => Vec::new(),
            Part::File { .. } => self.files(wire).await?,
        };
        let outside_id = bot.send(&target, step, &files).await?;
        let alias = self.hasher.message(wire.conversation, &outside_id);
        Ok(Sent { alias, outside_id: Some(outside_id) })
    }

    async fn mail(&self, wire: &Wire) -> Result<Sent, WireError> {
        let refused = |reason: &str| WireError::Refused { reason: reason.to_owned() };
        let AccountSettings::Email { address, display_name, smtp } = &wire.account.settings else {
            return Err(refused("the account is no mailbox"));
        };
        let own = EmailAddress::parse(address).map_err(|_| refused("the account's own address is malformed"))?;
        let own = OwnMailbox::new(own);
        let to = wire.thread.reply_address.clone().ok_or_else(|| refused("the customer's address is not known"))?;
        let files = self.files(wire).await?;
        let headers = wire.answered.mail.clone().unwrap_or_default();
        let mail = OutgoingMail {
            message: wire.message,
            conversation: wire.conversation,
            to,
            subject: wire.content.subject.clone().or_else(|| wire.answered.subject.clone()),
            text: wire.content.text.clone().unwrap_or_default(),
            thread_key: wire.thread.key.clone(),
            in_reply_to: headers.message_id,
            references: headers.references,
            written_at: wire.written_at,
            author: Author::Person,
            files: files
                .into_iter()
                .map(|file| MailFile {
                    name: file.file_name,
                    media_type: file.media_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
                    bytes: file.bytes.to_vec(),
                })
                .collect(),
        };
        let composed = compose(&own, display_name.as_deref(), &mail).map_err(|error| refused(&error.to_string()))?;
        let patience = SmtpPatience { before_body: self.timeout, ..SmtpPatience::default() };
        smtp::send(smtp, wire.account.credentials.as_ref(), &composed, patience).await?;
        let alias = self.hasher.message(wire.conversation, &composed.message_id);
        Ok(Sent { alias, outside_id: Some(composed.message_id) })
    }

    /// The page read it from the conversation's stream itself and said that it has it ([`Wire::awaits_page`]).
    fn visitor(&self, wire: &Wire) -> Sent {
        let outside_id = frames::own_id(wire.message);
        let alias = self.hasher.message(wire.conversation, &outside_id);
        Sent { alias, outside_id: Some(outside_id) }
    }

    async fn files(&self, wire: &Wire) -> Result<Vec<OutgoingFile>, WireError> {
        let mut files = Vec::with_capacity(wire.content.attachments.len());
        for attachment in &wire.content.attachments {
            let AttachmentLocation::Blob { blob } = &attachment.location else {
                return Err(WireError::Refused { reason: "a file of the message is not in our store".to_owned() });
            };
            let opened = get_opened(&*self.blobs, &self.sealer, &wire.account.tenant, blob).await;
            let bytes = opened.map_err(|error| match error {
                BlobError::Unavailable(_) | BlobError::Seal(_) => {
                    WireError::Retry { after: None, reason: "a file of the message cannot be read now".to_owned() }
                }
                BlobError::NotFound(_) | BlobError::Corrupt(_) | BlobError::Erased(_) => {
                    WireError::Refused { reason: "a file of the message is gone".to_owned() }
                }
            })?;
            files.push(OutgoingFile {
                kind: attachment.kind,
                file_name: attachment.file_name.clone().unwrap_or_else(|| "file".to_owned()),
                media_type: attachment.media_type.clone(),
                bytes: bytes.into(),
            });
        }
        Ok(files)
    }
}
