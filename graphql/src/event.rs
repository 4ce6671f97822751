//! Events as they stand in the log: the audit trail, for supervisors.
//!
//! **Invariant:** an event is shown as it was stored, under the version it was stored with; its sealed part is opened
//! for whoever may see it, reads `ERASED` once its key is gone, and secrets of accounts are never shown.

use async_graphql::{ComplexObject, Context, ID, InputObject, Json, Object, SimpleObject, Subscription};
use chrono::{DateTime, Utc};
use events::codec::DomainEvent;
use events::envelope::{Category, RecordedEvent, StreamName};
use events::ids::{ConversationId, ProfileId};
use futures::stream::{Stream, StreamExt};
use projections::event_index::{EventFilter, EventFinder};
use projections::views::{Order, Page, ParkedView};

use crate::context::{Caller, Dependencies, Reading, id, loader};
use crate::error::{Failure, Outcome};
use crate::follow::{follow, token_of};
use crate::guard::SUPERVISOR;
use crate::page::{Connection, Paging, cost};
use crate::scalars::{LogPosition, Token};
use crate::vocabulary::Actor;

mod payload;

pub(crate) use payload::shown as payload_shown;

/// An event in the log.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Event {
    /// The id, as `event-<uuid>`.
    pub id: ID,
    /// Its type, as `conversation.message_received`: a stable name.
    #[graphql(name = "type")]
    pub event_type: String,
    /// The schema version of the payload, from 1.
    pub version: u16,
    /// The stream that it stands in, as `<category>-<tenant>:<uuid>`.
    pub stream: String,
    /// Its place in the stream, from 0.
    pub revision: u64,
    /// Its place in the log.
    pub position: LogPosition,
    /// Who made it happen.
    pub actor: Actor,
    /// The command that wrote it, as `command-<uuid>`; null for raw intake.
    pub command: Option<ID>,
    /// The same for everything that follows from one outside cause.
    pub correlation: ID,
    /// The event that led to it, as `event-<uuid>`.
    pub causation_id: Option<ID>,
    /// When it happened, by the provider's clock.
    pub occurred_at: DateTime<Utc>,
    /// When the log took it.
    pub recorded_at: DateTime<Utc>,
    /// What the actor saw when they acted.
    pub seen_at: Option<SeenAt>,
    /// W3C trace context of the request that caused it.
    pub traceparent: Option<String>,
    /// Give it as `after` or `from` to go on behind this event.
    pub token: Token,
    #[graphql(skip)]
    recorded: RecordedEvent,
}

/// What somebody saw when they acted.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct SeenAt {
    /// The read position of the answer that they acted on.
    pub position: LogPosition,
    /// The role that they saw it in.
    pub role: String,
    /// The version of the mask policy in force.
    pub mask_policy: u32,
}

impl From<RecordedEvent> for Event {
    fn from(event: RecordedEvent) -> Self {
        let metadata = &event.metadata;
        Self {
            id: event.id.to_string().into(),
            event_type: event.event_type.as_ref().to_owned(),
            version: event.version,
            stream: event.stream.to_string(),
            revision: event.revision.0,
            position: LogPosition(event.position),
            actor: (&metadata.actor).into(),
            command: metadata.command.map(|command| command.to_string().into()),
            correlation: metadata.correlation.to_string().into(),
            causation_id: metadata.causation.map(|cause| cause.to_string().into()),
            occurred_at: metadata.occurred_at,
            recorded_at: event.recorded_at,
            seen_at: metadata.seen_at.as_ref().map(|seen| SeenAt {
                position: LogPosition(seen.position),
                role: seen.role.as_ref().to_owned(),
                mask_policy: seen.mask_policy,
            }),
            traceparent: metadata.traceparent.as_ref().map(|trace| trace.as_ref().to_owned()),
            token: token_of(&event),
            recorded: event,
        }
    }
}

#[ComplexObject]
impl Event {
    /// The event that led to it.
    #[graphql(complexity = "2 + child_complexity")]
    async fn causation(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Self>> {
        let Some(cause) = self.recorded.metadata.causation else { return Ok(None) };
        Ok(loader(ctx).load_one(cause).await.map_err(Failure::from)?.map(Self::from))
    }

    /// What it says, as stored; the sealed part opened, or `ERASED`. Of a raw delivery without the body: see
    /// `rawBody`.
    #[graphql(complexity = "3")]
    async fn payload(&self, ctx: &Context<'_>) -> async_graphql::Result<Json<serde_json::Value>> {
        let codec = Dependencies::of(ctx).codec();
        Ok(Json(payload::shown(codec, &Caller::of(ctx)?.viewer, self.recorded.clone()).await?))
    }

    /// The body of a raw delivery as text, bytes that are not UTF-8 replaced; null for other events, for bodies over
    /// 256 KiB, and when erased.
    #[graphql(complexity = "200")]
    async fn raw_body(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<String>> {
        if self.recorded.stream.category != Category::Intake {
            return Ok(None);
        }
        let opened = payload::open(Dependencies::of(ctx).codec(), self.recorded.clone()).await?;
        Ok(match &opened.event {
            DomainEvent::Intake(events::intake::IntakeEvent::Received(received)) if received.blob.is_none() => {
                received.body.value().map(|body| String::from_utf8_lossy(&body.0).into_owned())
            }
            _ => None,
        })
    }
}

/// Which events are wanted; all conditions must hold.
#[derive(Debug, Default, InputObject)]
pub(crate) struct EventFilterInput {
    /// Only of this stream, as `<category>-<tenant>:<uuid>`.
    pub stream: Option<String>,
    /// Only about this conversation, as `conversation-<uuid>`; what became of its raw deliveries included.
    pub conversation: Option<ID>,
    /// Only about this person, as `profile-<uuid>`: of all contact points, in all streams.
    pub profile: Option<ID>,
    /// Only of this type, as `conversation.message_received`.
    #[graphql(name = "type")]
    pub event_type: Option<String>,
    /// Only those that follow from this outside cause. They are looked for: give a narrower condition beside it.
    pub correlation: Option<ID>,
    /// Only those recorded at or after this time.
    pub recorded_from: Option<DateTime<Utc>>,
    /// Only those recorded before this time.
    pub recorded_before: Option<DateTime<Utc>>,
    /// Only those up to this place in the log.
    pub up_to: Option<LogPosition>,
}

/// An event that a read model could not take in.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct ParkedEvent {
    /// The consumer that put it aside.
    pub consumer: String,
    /// The event, as `event-<uuid>`.
    pub event: ID,
    /// Its type.
    #[graphql(name = "type")]
    pub event_type: String,
    /// The stream that it stands in.
    pub stream: String,
    /// Its place in the log.
    pub position: LogPosition,
    /// Why.
    pub reason: String,
    /// When the log took it.
    pub recorded_at: DateTime<Utc>,
}

impl From<ParkedView> for ParkedEvent {
    fn from(view: ParkedView) -> Self {
        Self {
            consumer: view.consumer,
            event: view.event.to_string().into(),
            event_type: view.event_type,
            stream: view.stream,
            position: LogPosition(view.position),
            reason: view.reason,
            recorded_at: view.recorded_at,
        }
    }
}

/// Queries of events.
#[derive(Default)]
pub(crate) struct EventQuery;

#[Object]
impl EventQuery {
    /// Events in the order of the log: by stream, conversation, person, type, time or position. A page that had to
    /// look at very many events may have fewer than asked for, or none, and yet another page behind it: go on from its
    /// `endCursor` (`startCursor` when paging backwards). For supervisors.
    #[graphql(guard = "SUPERVISOR", complexity = "cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a Relay connection")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which are wanted; all when absent.")] filter: Option<EventFilterInput>,
        #[graphql(desc = "How many from the start, 20 if neither this nor `last` is given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Stop in front of this cursor.")] before: Option<String>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after_token: Option<Token>,
    ) -> async_graphql::Result<Connection<Event>> {
        let asked = Paging { first, after, last, before }.of("events", Order::Ascending)?;
        let reading = Reading::after(ctx, after_token.as_ref()).await?;
        let Some(filter) = conditions(&reading, filter.unwrap_or_default()).await? else {
            return Ok(
                asked.connection(Page::<RecordedEvent> { items: vec![], cursors: vec![], more: false }, Event::from)
            );
        };
        let finder = EventFinder::new(&**reading.deps.log(), reading.deps.codec(), reading.views());
        let found = finder.events(reading.viewer(), &filter, &asked.request).await.map_err(Failure::from)?;
        Ok(asked.connection(found.page, Event::from).searched_up_to(found.searched, &asked))
    }

    /// Events that a read model could not take in, the latest first. For supervisors.
    #[graphql(guard = "SUPERVISOR", complexity = "cost(first, last, child_complexity)")]
    async fn parked_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 20 if neither this nor `last` is given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Stop in front of this cursor.")] before: Option<String>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after_token: Option<Token>,
    ) -> async_graphql::Result<Connection<ParkedEvent>> {
        let asked = Paging { first, after, last, before }.of("parkedEvents", Order::Descending)?;
        let reading = Reading::after(ctx, after_token.as_ref()).await?;
        let page = reading.views().parked(reading.viewer(), &asked.request).await;
        Ok(asked.connection(page.map_err(Failure::from)?, ParkedEvent::from))
    }
}

/// The filter of the read side; `None` when nothing can match.
async fn conditions(reading: &Reading<'_>, input: EventFilterInput) -> Outcome<Option<EventFilter>> {
    let stream = match &input.stream {
        None => None,
        Some(name) => {
            let name: StreamName = name.parse()?;
            if name.tenant != reading.viewer().tenant {
                return Ok(None);
            }
            Some((name.category, name.id))
        }
    };
    let persons = match &input.profile {
        None => None,
        Some(profile) => {
            let profile: ProfileId = id(profile)?;
            let Some(view) = reading.views().profile(reading.viewer(), profile).await? else { return Ok(None) };
            Some((view.occupancy_ids().collect(), view.members.clone()))
        }
    };
    let correlation = input.correlation.map(|text| text.parse()).transpose();
    Ok(Some(EventFilter {
        stream,
        conversation: input.conversation.as_ref().map(id::<ConversationId>).transpose()?,
        persons,
        event_type: input.event_type,
        correlation: correlation.map_err(|_| Failure::bad_input("correlation must be a UUID"))?,
        from: input.recorded_from,
        before: input.recorded_before,
        up_to: input.up_to.map(|position| position.0),
    }))
}

/// One event of the viewer's tenant, by its printed id.
pub(crate) async fn find(reading: &Reading<'_>, printed: &ID) -> Outcome<Option<Event>> {
    let found = reading.deps.log().find(id(printed)?).await?;
    Ok(found.filter(|event| *event.tenant() == reading.viewer().tenant).map(Event::from))
}

/// Subscriptions to events.
#[derive(Default)]
pub(crate) struct EventSubscription;

#[Subscription]
impl EventSubscription {
    /// Every event of the tenant, once the read models have reached it. For supervisors.
    #[graphql(guard = "SUPERVISOR")]
    async fn event_appended(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Begin behind this token: that of the last event seen, or the read position of a query; `0` \
                          for the beginning. From now on when absent."
        )]
        from: Option<Token>,
        #[graphql(desc = "Only events of these types; all when absent.")] types: Option<Vec<String>>,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<Event>> + use<>> {
        // The categories of those types; all if one is of no type that there is.
        let categories = types.iter().flatten().map(|name| DomainEvent::types().find(|(_, row)| row.name == name));
        let categories: Option<Vec<Category>> = categories.map(|found| found.map(|(category, _)| category)).collect();
        let wanted = move |event: &RecordedEvent| {
            types.as_ref().is_none_or(|types| types.iter().any(|wanted| *wanted == *event.event_type))
        };
        let events = follow(ctx, from, categories.unwrap_or_default(), wanted).await?;
        Ok(events.map(|event| Ok(event?.into())))
    }
}
