//! The inbound reactor: raw deliveries become commands on contacts, profiles and conversations.
//!
//! **Invariant:** deliveries of one outside conversation are normalised in the order in which they were taken in,
//! those of different ones side by side. A delivery handled twice changes nothing: its command ids follow from the
//! id of its raw event (design invariant 8). Whatever becomes of it is written beside it: normalised, unrecognised or
//! parked, never nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use events::DomainEvent;
use events::account::AccountSettings;
use events::blobs::{BlobError, Blobs, get_opened};
use events::codec::CodecError;
use events::envelope::{Actor, RecordedEvent, StreamName};
use events::ids::{CommandId, EventId};
use events::intake::{IntakeEvent, IntakeNormalised, IntakeParked, IntakeReceived, IntakeUnrecognised};
use events::log::ReadError;
use events::seal::{KeyStoreError, SealerError};
use events::values::{Channel, EmailAddress};
use futures::StreamExt;
use models::command::Origin;
use models::handler::{HandleError, Handler};

use crate::accounts::{Accounts, ChannelAccount};
use crate::channels::{Normalised, Unrecognised, email, telegram, webchat};

mod consumer;
mod plan;
mod stages;

pub use consumer::InboundConsumer;
use plan::{Planned, Raw};

/// Stable name: it keys the checkpoint and the command ids.
pub const NAME: &str = "inbound";

/// Deliveries whose bodies are read at the same time.
const SIDE_BY_SIDE: usize = 64;

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

/// The error that decides what is done: as long as something is worth another try, nothing is given up.
fn worse(one: Result<(), InboundError>, other: Result<(), InboundError>) -> Result<(), InboundError> {
    match (one, other) {
        (Err(error @ InboundError::Retry(_)), _) | (_, Err(error @ InboundError::Retry(_))) => Err(error),
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(()), Ok(())) => Ok(()),
    }
}

/// What became of a delivery, still to be written beside it.
struct Outcome {
    stream: StreamName,
    origin: Origin,
    event: IntakeEvent,
}

/// A delivery that was read.
enum Read {
    /// There is nothing to carry out.
    Ended(Outcome),
    /// So many plans follow from it, and this is what it was.
    Planned { plans: usize, received: EventId, kind: String, stream: StreamName, origin: Origin },
}

impl Inbound {
    /// A reactor that commands through `handler`.
    #[must_use]
    pub fn new(handler: Handler, accounts: Arc<Accounts>, blobs: Arc<dyn Blobs>) -> Self {
        Self { handler, accounts, blobs }
    }

    /// Handles events of intake streams: raw deliveries, and re-drives, which handle the delivery that they name.
    /// Outcomes are passed over. All of them are carried out together and what became of them is written at the end.
    /// When one cannot be read, only those after it in its own stream are left.
    ///
    /// # Errors
    /// See [`InboundError`].
    async fn handle(&self, events: Vec<RecordedEvent>) -> Result<(), InboundError> {
        let (mut reads, mut plans) = (Vec::with_capacity(events.len()), Vec::new());
        let (mut unread, mut left) = (Ok(()), HashSet::new());
        let streams: Vec<StreamName> = events.iter().map(|event| event.stream.clone()).collect();
        // Bodies may come from afar.
        let read = futures::stream::iter(events).map(|event| self.read(event)).buffered(SIDE_BY_SIDE);
        let mut read = std::pin::pin!(read.zip(futures::stream::iter(streams)));
        while let Some((read, stream)) = read.next().await {
            match read {
                _ if left.contains(&stream) => {}
                Ok(Some((read, planned))) => {
                    reads.push(read);
                    plans.extend(planned);
                }
                Ok(None) => {}
                Err(error) => {
                    left.insert(stream);
                    unread = worse(unread, Err(error));
                }
            }
        }
        let mut touched = self.carry_out(plans).await?.into_iter();
        let outcomes = reads.into_iter().map(|read| match read {
            Read::Ended(outcome) => outcome,
            Read::Planned { plans, received, kind, stream, origin } => {
                let (mut persons, mut conversation) = (Vec::new(), None);
                for touches in touched.by_ref().take(plans) {
                    persons.extend(touches.persons);
                    conversation = conversation.or(touches.conversation);
                }
                persons.sort_unstable();
                persons.dedup();
                let event = IntakeNormalised { received, kind, persons, conversation }.into();
                Outcome { stream, origin, event }
            }
        });
        let outcomes: Vec<Outcome> = outcomes.collect();
        self.record(outcomes).await?;
        unread
    }

    /// Reads one event of an intake stream, and what it asks for.
    async fn read(&self, recorded: RecordedEvent) -> Result<Option<(Read, Vec<Planned>)>, InboundError> {
        // Only these two are decoded at all: outcomes are half of the category.
        match recorded.event_type.as_ref() {
            "intake.received" => {
                let cause = recorded.id;
                self.read_raw(recorded, cause).await.map(Some)
            }
            "intake.redriven" => {
                let cause = recorded.id;
                let decoded = self.handler.codec().decode(recorded).map_err(|error| coded(&error))?;
                let DomainEvent::Intake(IntakeEvent::Redriven(redriven)) = decoded.event else { return Ok(None) };
                let found = self.handler.log().find(redriven.received).await;
                let found = found.map_err(|error| match error {
                    ReadError::Unavailable(_) => InboundError::Retry(error.to_string()),
                    ReadError::Corrupt { .. } => InboundError::Park(error.to_string()),
                })?;
                let raw = found.ok_or_else(|| InboundError::Park("raw delivery is not in the log".to_owned()))?;
                // The outcome is that of the re-drive, so it gets an id of its own.
                self.read_raw(raw, cause).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn read_raw(&self, recorded: RecordedEvent, cause: EventId) -> Result<(Read, Vec<Planned>), InboundError> {
        let decoded = self.handler.codec().decode_open(recorded).await.map_err(|error| coded(&error))?;
        let (recorded, event) = (decoded.recorded, decoded.event);
        let DomainEvent::Intake(IntakeEvent::Received(received)) = event else {
            return Err(InboundError::Park("what was re-driven is no raw delivery".to_owned()));
        };
        let origin = origin(&recorded, CommandId::of_reactor("inbound/outcome", cause, 0));
        let (stream, id) = (recorded.stream.clone(), recorded.id);
        let unrecognised = |reason: String| {
            let event = IntakeUnrecognised { received: id, reason }.into();
            Ok((Read::Ended(Outcome { stream: stream.clone(), origin: origin.clone(), event }), Vec::new()))
        };
        let account = self.accounts.get_fresh(received.account).await;
        let account = account.map_err(|error| InboundError::Retry(error.to_string()))?;
        let account = account.ok_or_else(|| InboundError::Park("the account of the delivery is unknown".to_owned()))?;
        let Some(body) = self.body(&recorded, &received).await? else {
            return unrecognised("the raw body was erased".to_owned());
        };
        match normalise_body(&account, &body, recorded.recorded_at) {
            Err(Unrecognised { reason }) => unrecognised(reason),
            Ok(Normalised { kind, interactions }) => {
                let raw = Raw::new(&recorded, account);
                let hasher = self.handler.codec().hasher();
                let planned = (0..).zip(interactions);
                let planned = planned.map(|(index, interaction)| plan::plan(&raw, index, interaction, hasher));
                let plans: Vec<Planned> = planned.collect();
                Ok((Read::Planned { plans: plans.len(), received: id, kind, stream, origin }, plans))
            }
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
        let parked = IntakeParked { received, reason, attempts: 1 };
        let origin = origin(event, CommandId::of_reactor("inbound/park", event.id, 0));
        self.record(vec![Outcome { stream: event.stream.clone(), origin, event: parked.into() }]).await
    }

    /// Writes down what became of deliveries.
    async fn record(&self, outcomes: Vec<Outcome>) -> Result<(), InboundError> {
        let mut places: HashMap<StreamName, usize> = HashMap::new();
        let mut streams: Vec<(StreamName, Vec<(Origin, DomainEvent)>)> = Vec::new();
        let mut counts = [("normalised", 0), ("unrecognised", 0), ("parked", 0)];
        for Outcome { stream, origin, event } in outcomes {
            let place = *places.entry(stream).or_insert_with_key(|stream| {
                streams.push((stream.clone(), Vec::new()));
                streams.len() - 1
            });
            let (outcome, count) = match &event {
                IntakeEvent::Unrecognised(_) => &mut counts[1],
                IntakeEvent::Parked(_) => &mut counts[2],
                IntakeEvent::Normalised(_) | IntakeEvent::Received(_) | IntakeEvent::Redriven(_) => &mut counts[0],
            };
            *count += 1;
            tracing::debug!(correlation = %origin.correlation, outcome, "raw delivery handled");
            streams[place].1.push((origin, event.into()));
        }
        self.handler.record_all::<std::convert::Infallible>(streams).await?;
        for (outcome, count) in counts {
            metrics::counter!("letopis_intake_total", "outcome" => outcome).increment(count);
        }
        Ok(())
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
    let normalised = match (account.channel(), &account.settings) {
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
    };
    normalised.map(Normalised::bounded)
}
