//! The inbound reactor: raw deliveries become commands on contacts, profiles and conversations.
//!
//! **Invariant:** deliveries of one outside conversation are normalised in the order in which they were taken in,
//! those of different ones side by side. A delivery handled twice changes nothing: its command ids follow from the
//! id of its raw event (design invariant 8). Whatever becomes of it is written beside it: normalised, unrecognised or
//! parked, never nothing.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use events::DomainEvent;
use events::account::AccountSettings;
use events::blobs::{BlobError, Blobs, get_opened};
use events::codec::CodecError;
use events::consumer::ConsumeError;
use events::contact::ContactAddress;
use events::envelope::{Actor, Category, RecordedEvent, StreamName};
use events::ids::{CommandId, ContactId, ConversationId, EventId, Occupancy};
use events::intake::{IntakeEvent, IntakeNormalised, IntakeParked, IntakeReceived, IntakeUnrecognised};
use events::link::LinkBasis;
use events::profile::{Attribute, AttributeSource, AttributeValue};
use events::seal::{KeyStoreError, SealerError};
use events::values::{Channel, EmailAddress};
use models::command::Origin;
use models::contact::{ContactCommand, ContactDecider};
use models::conversation::{ConversationCommand, ConversationDecider, ThreadFacts};
use models::decider::Decider;
use models::handler::{HandleError, Handled, Handler};
use models::link::{LinkCommand, LinkDecider};
use models::profile::{ProfileCommand, ProfileDecider};

use crate::accounts::{Accounts, ChannelAccount};
use crate::channels::{Happening, Interaction, Normalised, Party, Thread, Unrecognised, email, telegram, webchat};

mod consumer;

pub use consumer::InboundConsumer;

/// Stable name: it keys the checkpoint and the command ids.
pub const NAME: &str = "inbound";

/// Commands that one interaction may lead to; each has its own ordinal.
const ORDINALS_PER_INTERACTION: u32 = 64;

/// Tries to read a large body before its delivery is parked.
const BLOB_TRIES: u32 = 5;
/// Wait between them.
const BLOB_PAUSE: Duration = Duration::from_millis(200);

/// Normalises raw deliveries.
pub struct Inbound {
    handler: Handler,
    accounts: Arc<Accounts>,
    blobs: Arc<dyn Blobs>,
}

/// Why a delivery could not be normalised now.
#[derive(Debug, thiserror::Error)]
pub enum InboundError {
    /// Something it needs is unavailable: try again.
    #[error("{0}")]
    Retry(String),
    /// It will fail again: park it.
    #[error("{0}")]
    Park(String),
}

impl<R: std::error::Error + 'static> From<HandleError<R>> for InboundError {
    fn from(error: HandleError<R>) -> Self {
        match error {
            HandleError::Unavailable { .. } | HandleError::Contended(_) => Self::Retry(error.to_string()),
            HandleError::Rejected(_) | HandleError::IdTaken | HandleError::Erased | HandleError::Corrupt { .. } => {
                Self::Park(error.to_string())
            }
        }
    }
}

/// What is done about an event that does not decode.
fn coded(error: &CodecError) -> InboundError {
    match error {
        CodecError::Seal(SealerError::Keys(KeyStoreError::Unavailable(_))) => InboundError::Retry(error.to_string()),
        _ => InboundError::Park(error.to_string()),
    }
}

/// What became of a delivery, still to be written beside it.
struct Outcome {
    stream: StreamName,
    origin: Origin,
    event: IntakeEvent,
}

/// The raw delivery that a run is about.
struct Raw<'a> {
    id: EventId,
    stream: &'a StreamName,
    account: Arc<ChannelAccount>,
    traceparent: Option<Arc<str>>,
}

impl Inbound {
    /// A reactor that commands through `handler`.
    #[must_use]
    pub fn new(handler: Handler, accounts: Arc<Accounts>, blobs: Arc<dyn Blobs>) -> Self {
        Self { handler, accounts, blobs }
    }

    /// Handles events of one stream. What became of them is written at the end, in one group: until then only their
    /// commands wait for each other. When one fails, the outcomes of those before it are written all the same.
    async fn handle_in_order(&self, events: Vec<RecordedEvent>) -> Result<(), ConsumeError> {
        let mut outcomes = Vec::with_capacity(events.len());
        let mut handled = Ok(());
        for event in events {
            match self.carry_out_event(event).await {
                Ok(outcome) => outcomes.extend(outcome),
                Err(error) => {
                    handled = Err(error);
                    break;
                }
            }
        }
        let written = outcomes.into_iter().map(|outcome| self.record(outcome));
        let written = futures::future::join_all(written).await.into_iter().find(Result::is_err);
        Ok(written.unwrap_or(Ok(())).and(handled)?)
    }

    /// Handles one event of an intake stream: a raw delivery, or a re-drive, which handles the delivery that it names.
    /// Outcomes are passed over.
    ///
    /// # Errors
    /// See [`InboundError`].
    pub async fn handle(&self, recorded: RecordedEvent) -> Result<(), InboundError> {
        match self.carry_out_event(recorded).await? {
            Some(outcome) => self.record(outcome).await,
            None => Ok(()),
        }
    }

    /// Carries out the commands of one event of an intake stream; gives what became of it, still to be written.
    async fn carry_out_event(&self, recorded: RecordedEvent) -> Result<Option<Outcome>, InboundError> {
        // Only these two are decoded at all: outcomes are half of the category.
        match recorded.event_type.as_ref() {
            "intake.received" => {
                let cause = recorded.id;
                self.handle_raw(recorded, cause).await
            }
            "intake.redriven" => {
                let cause = recorded.id;
                let decoded = self.handler.codec().decode(recorded).map_err(|error| coded(&error))?;
                let DomainEvent::Intake(IntakeEvent::Redriven(redriven)) = decoded.event else { return Ok(None) };
                let found = self.handler.log().find(redriven.received).await;
                let found = found.map_err(|error| InboundError::Retry(error.to_string()))?;
                let raw = found.ok_or_else(|| InboundError::Park("raw delivery is not in the log".to_owned()))?;
                // The outcome is that of the re-drive, so it gets an id of its own.
                self.handle_raw(raw, cause).await
            }
            _ => Ok(None),
        }
    }

    async fn handle_raw(&self, recorded: RecordedEvent, cause: EventId) -> Result<Option<Outcome>, InboundError> {
        let decoded = self.handler.codec().decode_open(recorded).await.map_err(|error| coded(&error))?;
        match decoded.event {
            DomainEvent::Intake(IntakeEvent::Received(received)) => {
                self.normalise(&decoded.recorded, &received, cause).await.map(Some)
            }
            _ => Err(InboundError::Park("what was re-driven is no raw delivery".to_owned())),
        }
    }

    /// Notes that a delivery failed for good.
    ///
    /// # Errors
    /// [`InboundError::Retry`] when not even that could be written.
    pub async fn park(&self, event: &RecordedEvent, reason: String) -> Result<(), InboundError> {
        let received = match self.handler.codec().decode(event.clone()).map(|decoded| decoded.event) {
            Ok(DomainEvent::Intake(IntakeEvent::Redriven(redriven))) => redriven.received,
            _ => event.id,
        };
        metrics::counter!("letopis_intake_total", "outcome" => "parked").increment(1);
        let parked = IntakeParked { received, reason, attempts: 1 };
        let origin = origin(event, CommandId::of_reactor("inbound/park", event.id, 0));
        self.record(Outcome { stream: event.stream.clone(), origin, event: parked.into() }).await
    }

    async fn normalise(
        &self,
        recorded: &RecordedEvent,
        received: &IntakeReceived,
        cause: EventId,
    ) -> Result<Outcome, InboundError> {
        let origin = origin(recorded, CommandId::of_reactor("inbound/outcome", cause, 0));
        let (kind, event) = match self.carry_out(recorded, received).await? {
            Ok(normalised) => ("normalised", IntakeEvent::from(normalised)),
            Err(Unrecognised { reason }) => {
                ("unrecognised", IntakeUnrecognised { received: recorded.id, reason }.into())
            }
        };
        metrics::counter!("letopis_intake_total", "outcome" => kind).increment(1);
        tracing::debug!(
            intake.id = %recorded.id,
            correlation = %recorded.metadata.correlation,
            outcome = kind,
            "raw delivery handled"
        );
        Ok(Outcome { stream: recorded.stream.clone(), origin, event })
    }

    async fn record(&self, outcome: Outcome) -> Result<(), InboundError> {
        let Outcome { stream, origin, event } = outcome;
        let written = self.handler.record::<std::convert::Infallible>(&stream, &origin, vec![event.into()]).await;
        match written {
            // Another outcome was written for the same cause before: the first one stands.
            Ok(_) | Err(HandleError::IdTaken) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn carry_out(
        &self,
        recorded: &RecordedEvent,
        received: &IntakeReceived,
    ) -> Result<Result<IntakeNormalised, Unrecognised>, InboundError> {
        let account = self.accounts.get_fresh(received.account).await;
        let account = account.map_err(|error| InboundError::Retry(error.to_string()))?;
        let account = account.ok_or_else(|| InboundError::Park("the account of the delivery is unknown".to_owned()))?;
        let Some(body) = self.body(recorded, received).await? else {
            return Ok(Err(Unrecognised { reason: "the raw body was erased".to_owned() }));
        };
        let normalised = match normalise_body(&account, &body, recorded.recorded_at) {
            Ok(normalised) => normalised,
            Err(unrecognised) => return Ok(Err(unrecognised)),
        };
        let raw = Raw {
            id: recorded.id,
            stream: &recorded.stream,
            account,
            traceparent: recorded.metadata.traceparent.clone(),
        };
        let Normalised { kind, interactions } = normalised;
        let mut persons = Vec::new();
        let mut conversation = None;
        for (index, interaction) in (0..).zip(interactions) {
            let first = index * ORDINALS_PER_INTERACTION;
            let touched = self.interaction(&raw, first, interaction, &mut persons).await?;
            conversation = conversation.or(touched);
        }
        persons.sort_unstable();
        persons.dedup();
        Ok(Ok(IntakeNormalised { received: recorded.id, kind, persons, conversation }))
    }

    /// The body in clear; `None` when it was erased.
    async fn body(
        &self,
        recorded: &RecordedEvent,
        received: &IntakeReceived,
    ) -> Result<Option<bytes::Bytes>, InboundError> {
        match &received.blob {
            None => Ok(received.body.value().map(|body| body.0.clone())),
            Some(blob) => {
                let sealer = self.handler.codec().sealer();
                let mut tries = 0;
                loop {
                    tries += 1;
                    match get_opened(&*self.blobs, sealer, recorded.tenant(), blob).await {
                        Ok(clear) => return Ok(Some(clear.into())),
                        Err(BlobError::Erased(_)) => return Ok(None),
                        Err(error @ BlobError::Seal(SealerError::Keys(KeyStoreError::Unavailable(_)))) => {
                            return Err(InboundError::Retry(error.to_string()));
                        }
                        // One body that cannot be read must not hold up the others for ever.
                        Err(BlobError::Unavailable(_)) if tries < BLOB_TRIES => tokio::time::sleep(BLOB_PAUSE).await,
                        Err(error) => return Err(InboundError::Park(error.to_string())),
                    }
                }
            }
        }
    }

    async fn interaction(
        &self,
        raw: &Raw<'_>,
        first: u32,
        interaction: Interaction,
        persons: &mut Vec<Occupancy>,
    ) -> Result<Option<ConversationId>, InboundError> {
        let Interaction { thread, party, occurred_at, what } = interaction;
        let mut steps = Steps { raw, next: first, occurred_at, actor: Actor::System(NAME.into()) };
        let mut author = None;
        if let Some(party) = party {
            let occupancy = self.meet(&mut steps, party).await?;
            steps.actor = Actor::Customer(occupancy.contact);
            persons.push(occupancy);
            author = Some(occupancy);
        }
        if let (Some(author), Some(command)) = (author, contact_command(&what, raw.account.id)) {
            self.command::<ContactDecider>(&mut steps, author.contact.uuid(), command).await?;
        }
        if let (Some(author), Happening::SharedContact { other }) = (author, &what) {
            let other = self.meet(&mut steps, other.clone()).await?;
            persons.push(other);
            let link = self.handler.codec().hasher().link(author, other);
            let command = LinkCommand::Link { one: author, other, basis: LinkBasis::SharedByCustomer };
            self.command::<LinkDecider>(&mut steps, link.uuid(), command).await?;
        }
        let Some(thread) = thread else { return Ok(None) };
        let conversation = self.conversation_of(raw, &thread).await?;
        let facts = thread_facts(conversation, &raw.account, thread);
        if let Some(command) = self.conversation_command(raw, facts, author, occurred_at, what) {
            self.command::<ConversationDecider>(&mut steps, conversation.uuid(), command).await?;
        }
        Ok(Some(conversation))
    }

    /// Opens the occupancy of a party's contact point and its profile, and records what the channel shows of it.
    async fn meet(&self, steps: &mut Steps<'_>, party: Party) -> Result<Occupancy, InboundError> {
        let hasher = self.handler.codec().hasher();
        let account = steps.raw.account.id;
        let tenant = &steps.raw.account.tenant;
        let contact = hasher.contact(tenant, party.kind.as_str(), &party.address.normalised);
        let number = self.occupy(steps, contact, party.kind, party.address).await?;
        let occupancy = Occupancy { contact, number };
        let profile = hasher.profile(occupancy).uuid();
        self.command::<ProfileDecider>(steps, profile, ProfileCommand::Open { occupancy }).await?;
        for (attribute, text) in party.attributes {
            let Some(value) = attribute_value(attribute, text) else { continue };
            let source = AttributeSource::Channel { account };
            let command = ProfileCommand::Record { attribute, source, value };
            self.command::<ProfileDecider>(steps, profile, command).await?;
        }
        Ok(occupancy)
    }

    async fn occupy(
        &self,
        steps: &mut Steps<'_>,
        contact: ContactId,
        kind: events::values::ContactKind,
        address: ContactAddress,
    ) -> Result<u32, InboundError> {
        let account = steps.raw.account.id;
        let origin = steps.origin();
        let command = ContactCommand::Occupy { contact, kind, account, address };
        let occupied = self.handler.handle_then::<ContactDecider, _>(
            contact.uuid(),
            &origin,
            command,
            models::contact::Contact::occupancy,
        );
        let (_, number) = occupied.await?;
        // A command of long ago repeated after the occupancy closed: the delivery belongs to the one that it opened.
        number.ok_or_else(|| InboundError::Park("the contact point was vacated since".to_owned()))
    }

    async fn command<D: Decider>(
        &self,
        steps: &mut Steps<'_>,
        id: uuid::Uuid,
        command: D::Command,
    ) -> Result<Option<Handled>, InboundError> {
        let origin = steps.origin();
        match self.handler.handle::<D>(id, &origin, command).await {
            Ok(handled) => Ok(Some(handled)),
            // What a customer did is never refused for its conversation's state; what is left are reactions and
            // retractions in conversations that we never heard of. The raw delivery keeps them.
            Err(HandleError::Rejected(rejection)) => {
                tracing::info!(intake.id = %steps.raw.id, intake.stream = %steps.raw.stream, %rejection, "nothing to do");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The conversation that a delivery belongs to: the one that its token names, if that is one of the account's,
    /// else the one of its thread.
    async fn conversation_of(&self, raw: &Raw<'_>, thread: &Thread) -> Result<ConversationId, InboundError> {
        if let Some(named) = thread.conversation {
            let stream = StreamName::new(Category::Conversation, raw.account.tenant.clone(), named.uuid());
            let account = self.handler.inspect::<ConversationDecider, _>(&stream, |state| state.account()).await?;
            if account == Some(raw.account.id) {
                return Ok(named);
            }
        }
        Ok(self.handler.codec().hasher().conversation(raw.account.id, &thread.key))
    }

    fn conversation_command(
        &self,
        raw: &Raw<'_>,
        thread: ThreadFacts,
        author: Option<Occupancy>,
        occurred_at: DateTime<Utc>,
        what: Happening,
    ) -> Option<ConversationCommand> {
        let hasher = self.handler.codec().hasher();
        let conversation = thread.conversation;
        let id = |outside: &str| hasher.message(conversation, outside);
        Some(match what {
            Happening::Message { outside_id, kind, marks, reply_to, album, content } => ConversationCommand::Receive {
                message: id(&outside_id),
                author: author?,
                kind,
                marks,
                reply_to: reply_to.as_deref().map(id),
                album: album.map(|album| hasher.derive("album", &[conversation.uuid().as_bytes(), album.as_bytes()])),
                content,
                thread,
            },
            Happening::Edit { outside_id, kind, edited_at, content } => ConversationCommand::ReceiveEdit {
                message: id(&outside_id),
                author: author?,
                kind,
                edited_at,
                content,
                thread,
            },
            Happening::Retraction { outside_id } => ConversationCommand::Retract { thread, message: id(&outside_id) },
            Happening::Reactions { outside_id, reactions } => ConversationCommand::React {
                thread,
                message: id(&outside_id),
                by: author,
                changed_at: occurred_at,
                reactions,
            },
            Happening::Activity { activity, activity_id, about, detail } => ConversationCommand::NoteActivity {
                activity_id: hasher.derive(
                    "activity",
                    &[raw.account.id.uuid().as_bytes(), activity.as_bytes(), activity_id.as_bytes()],
                ),
                activity,
                by: author,
                message: about.as_deref().map(id),
                detail,
                thread,
            },
            Happening::Joined => ConversationCommand::Join { participant: author?, thread },
            Happening::Left => ConversationCommand::Leave { participant: author? },
            Happening::Migrated { to } => ConversationCommand::Migrate {
                thread,
                to: hasher.conversation(raw.account.id, &to.key),
                outside: to.outside,
            },
            Happening::Blocked | Happening::Unblocked | Happening::SharedContact { .. } => return None,
        })
    }
}

/// The commands of one interaction, numbered.
struct Steps<'a> {
    raw: &'a Raw<'a>,
    next: u32,
    occurred_at: DateTime<Utc>,
    actor: Actor,
}

impl Steps<'_> {
    fn origin(&mut self) -> Origin {
        let ordinal = self.next;
        self.next += 1;
        Origin {
            id: CommandId::of_reactor(NAME, self.raw.id, ordinal),
            tenant: self.raw.account.tenant.clone(),
            actor: self.actor.clone(),
            causation: Some(self.raw.id),
            correlation: self.raw.id.uuid(),
            occurred_at: self.occurred_at,
            traceparent: self.raw.traceparent.clone(),
            seen_at: None,
            wish: None,
        }
    }
}

fn origin(recorded: &RecordedEvent, id: CommandId) -> Origin {
    Origin {
        id,
        tenant: recorded.tenant().clone(),
        actor: Actor::System(NAME.into()),
        causation: Some(recorded.id),
        correlation: recorded.metadata.correlation,
        occurred_at: recorded.recorded_at,
        traceparent: recorded.metadata.traceparent.clone(),
        seen_at: None,
        wish: None,
    }
}

fn normalise_body(
    account: &ChannelAccount,
    body: &[u8],
    received_at: DateTime<Utc>,
) -> Result<Normalised, Unrecognised> {
    match (account.channel(), &account.settings) {
        (Channel::Telegram, _) => telegram::normalise(body, received_at),
        (Channel::Webchat, _) => webchat::normalise(body, account.id, received_at),
        (Channel::Email, AccountSettings::Email { address, .. }) => {
            let own = EmailAddress::parse(address)
                .map_err(|_| Unrecognised { reason: "the account's own address is malformed".to_owned() })?;
            email::normalise(body, &email::OwnMailbox::new(own), received_at)
        }
        (Channel::Email, AccountSettings::Telegram { .. } | AccountSettings::Webchat { .. }) => {
            Err(Unrecognised { reason: "the account's settings are of another channel".to_owned() })
        }
    }
}

fn thread_facts(conversation: ConversationId, account: &ChannelAccount, thread: Thread) -> ThreadFacts {
    ThreadFacts {
        conversation,
        account: account.id,
        channel: account.channel(),
        kind: thread.kind,
        outside: thread.outside,
    }
}

fn contact_command(what: &Happening, account: events::ids::AccountId) -> Option<ContactCommand> {
    match what {
        Happening::Blocked => Some(ContactCommand::Block { account }),
        Happening::Unblocked => Some(ContactCommand::Unblock { account }),
        Happening::Message { .. }
        | Happening::Edit { .. }
        | Happening::Retraction { .. }
        | Happening::Reactions { .. }
        | Happening::Activity { .. }
        | Happening::Joined
        | Happening::Left
        | Happening::Migrated { .. }
        | Happening::SharedContact { .. } => None,
    }
}

/// A value that a profile takes, or nothing: a channel's empty or endless name is no name.
fn attribute_value(attribute: Attribute, text: String) -> Option<AttributeValue> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return None;
    }
    let limit = models::profile::MAX_VALUE_CHARS;
    let cut: String = trimmed.chars().take(limit).collect();
    let normal = match attribute {
        Attribute::Email => {
            EmailAddress::parse(&cut).map_or_else(|_| cut.clone(), |address| address.as_str().to_owned())
        }
        Attribute::DisplayName
        | Attribute::Username
        | Attribute::Language
        | Attribute::Phone
        | Attribute::Company
        | Attribute::Place => cut,
    };
    let source_form = (normal != text).then_some(text).filter(|text| text.chars().count() <= limit);
    Some(AttributeValue { text: normal, source_form })
}
