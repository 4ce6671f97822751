//! Cases: matters of customers that outlive a conversation.
//!
//! **Invariant:** a page of cases with their types, people and conversations costs a number of statements that does not
//! depend on how many there are.

use std::collections::HashMap;

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Json, Object, SimpleObject};
use chrono::{DateTime, NaiveDate, Utc};
use events::case::FieldValue;
use events::envelope::{Category, RecordedEvent, Revision, StreamName};
use events::ids::{CaseId, ConversationId};
use events::log::Direction;
use projections::case::{CaseFilter, CaseNoteView, CaseSort, CaseView, LinkedCase};
use projections::conversation::Assignee;
use projections::views::{Cursor, MOST_ITEMS, Order, Page, PageRequest};

use crate::case_type::CaseType;
use crate::contact::Person;
use crate::context::{Caller, Dependencies, Reading, id, loader};
use crate::conversation::{AssigneeKind, Conversation};
use crate::error::{Failure, Outcome};
use crate::page::{Connection, Paging, cost};
use crate::scalars::Token;
use crate::vocabulary::Actor;

mod input;
mod mutation;

pub(crate) use mutation::CaseMutation;

/// What is to be done about a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "CaseStatus", remote = "events::case::CaseStatus")]
pub(crate) enum CaseStatusName {
    /// Nobody has looked at it.
    New,
    /// It is worked on.
    Open,
    /// The customer has to answer first.
    WaitingForCustomer,
    /// Somebody else has to do something first: a supplier, another department.
    WaitingForOthers,
    /// It is done; the customer may disagree.
    Resolved,
    /// It is done for good.
    Closed,
}

/// What a case has to do with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "CaseRelation", remote = "events::case::CaseRelation")]
pub(crate) enum CaseRelationName {
    /// They have to do with each other.
    Related,
    /// One is a part of the other.
    PartOf,
    /// One cannot go on before the other is done.
    BlockedBy,
}

/// A matter of a customer.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Case {
    /// The id, as `case-<uuid>`.
    pub id: ID,
    /// Its number, for people: unique within the tenant, growing.
    pub number: u64,
    /// Its title; null when erased.
    pub title: Option<String>,
    /// What is to be done about it.
    pub status: CaseStatusName,
    /// Why it has this status, as a short code.
    pub status_reason: Option<String>,
    /// Since when it has it.
    pub status_since: DateTime<Utc>,
    /// 0, which waits longest, to 9.
    pub priority: u32,
    /// Until when the customer was promised that it is resolved.
    pub promised_until: Option<DateTime<Utc>>,
    /// The operator whose work it is.
    pub assignee: Option<String>,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When anything of it last changed.
    pub changed_at: DateTime<Utc>,
    /// The last revision that changed what is shown here.
    pub revision: u64,
    #[graphql(skip)]
    view: CaseView,
}

impl From<CaseView> for Case {
    fn from(view: CaseView) -> Self {
        Self {
            id: view.case.to_string().into(),
            number: view.number,
            title: view.title.clone(),
            status: view.status.into(),
            status_reason: view.status_reason.clone(),
            status_since: view.status_since,
            priority: view.priority,
            promised_until: view.promised_until,
            assignee: view.assignee.clone(),
            opened_at: view.opened_at,
            changed_at: view.changed_at,
            revision: view.revision,
            view,
        }
    }
}

/// The value of a field of a case; one of text, integer, flag and date is there.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct CaseFieldValue {
    /// The key of the field.
    pub key: String,
    /// Text, or one of several words.
    pub text: Option<String>,
    /// A whole number.
    pub integer: Option<i64>,
    /// Yes or no.
    pub flag: Option<bool>,
    /// A day.
    pub date: Option<NaiveDate>,
    /// True when there was a value and the person it is about was erased.
    pub erased: bool,
}

impl CaseFieldValue {
    fn of(key: String, value: Option<FieldValue>) -> Self {
        let mut shown = Self { key, text: None, integer: None, flag: None, date: None, erased: value.is_none() };
        match value {
            Some(FieldValue::Text(text)) => shown.text = Some(text),
            Some(FieldValue::Integer(integer)) => shown.integer = Some(integer),
            Some(FieldValue::Flag(flag)) => shown.flag = Some(flag),
            Some(FieldValue::Date(date)) => shown.date = Some(date),
            None => {}
        }
        shown
    }
}

/// What a case has to do with another.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct CaseLink {
    /// What one has to do with the other.
    pub relation: CaseRelationName,
    /// True when this case is a part of, or blocked by, the other; false the other way round.
    pub from_here: bool,
    #[graphql(skip)]
    other: CaseId,
}

#[ComplexObject]
impl CaseLink {
    /// The other case.
    #[graphql(complexity = "2 + child_complexity")]
    async fn case(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Case>> {
        Ok(loader(ctx).load_one(self.other).await.map_err(Failure::from)?.map(Case::from))
    }
}

impl From<LinkedCase> for CaseLink {
    fn from(link: LinkedCase) -> Self {
        Self { relation: link.relation.into(), from_here: link.from_here, other: link.other }
    }
}

/// An internal note of a case.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct CaseNote {
    /// The id.
    pub id: ID,
    /// What it says; null when erased.
    pub text: Option<String>,
    /// Who wrote it.
    pub actor: Actor,
    /// When.
    pub recorded_at: DateTime<Utc>,
}

impl From<CaseNoteView> for CaseNote {
    fn from(view: CaseNoteView) -> Self {
        let actor = Actor::of_stored(&view.actor_kind, view.actor);
        Self { id: view.note.to_string().into(), text: view.text, actor, recorded_at: view.recorded_at }
    }
}

/// Something that happened to a case.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct CaseStep {
    /// The event, as `event-<uuid>`.
    pub event: ID,
    /// Its type, as `case.status_changed`: a stable name.
    #[graphql(name = "type")]
    pub event_type: String,
    /// Its place in the case.
    pub revision: u64,
    /// Who made it happen.
    pub actor: Actor,
    /// When.
    pub recorded_at: DateTime<Utc>,
    #[graphql(skip)]
    recorded: RecordedEvent,
}

impl From<RecordedEvent> for CaseStep {
    fn from(recorded: RecordedEvent) -> Self {
        Self {
            event: recorded.id.to_string().into(),
            event_type: recorded.event_type.as_ref().to_owned(),
            revision: recorded.revision.0,
            actor: (&recorded.metadata.actor).into(),
            recorded_at: recorded.recorded_at,
            recorded,
        }
    }
}

#[ComplexObject]
impl CaseStep {
    /// What it says, as stored; `ERASED` where the person it is about was erased.
    #[graphql(complexity = "3")]
    async fn payload(&self, ctx: &Context<'_>) -> async_graphql::Result<Json<serde_json::Value>> {
        let codec = Dependencies::of(ctx).codec();
        Ok(Json(crate::event::payload_shown(codec, &Caller::of(ctx)?.viewer, self.recorded.clone()).await?))
    }
}

/// Cases have this many conversations, links and duplicates, as far as the cost of a query is concerned.
const USUAL: usize = 3;
/// Conversations, links or duplicates of a case that are shown at most.
const MOST_SHOWN: usize = 200;

#[ComplexObject]
impl Case {
    /// Its type.
    #[graphql(complexity = "2 + child_complexity")]
    async fn case_type(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<CaseType>> {
        Ok(loader(ctx).load_one(self.view.case_type).await.map_err(Failure::from)?.map(CaseType::from))
    }

    /// Whom it is about; null when it was opened from a group.
    async fn customer(&self) -> Option<Person> {
        self.view.customer.map(Person::from)
    }

    /// The values of its fields, by key.
    async fn fields(&self) -> Vec<CaseFieldValue> {
        let fields = self.view.fields.clone().into_iter();
        fields.map(|(key, value)| CaseFieldValue::of(key, value)).collect()
    }

    /// The conversations about it, its duplicates' included, oldest first; 200 at most.
    #[graphql(complexity = "USUAL * child_complexity + 1")]
    async fn conversations(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Conversation>> {
        let ids: Vec<ConversationId> = self.view.conversations.iter().take(MOST_SHOWN).copied().collect();
        let mut found = loader(ctx).load_many(ids.clone()).await.map_err(Failure::from)?;
        Ok(ids.iter().filter_map(|id| found.remove(id)).map(Conversation::from).collect())
    }

    /// What it has to do with other cases, from whichever side it was noted; 200 at most.
    #[graphql(complexity = "USUAL * child_complexity + 1")]
    async fn links(&self) -> Vec<CaseLink> {
        self.view.links.iter().take(MOST_SHOWN).copied().map(CaseLink::from).collect()
    }

    /// The case that stands for it.
    #[graphql(complexity = "2 + child_complexity")]
    async fn merged_into(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Case>> {
        let Some(into) = self.view.merged_into else { return Ok(None) };
        Ok(loader(ctx).load_one(into).await.map_err(Failure::from)?.map(Case::from))
    }

    /// The cases that it stands for, by number; 200 at most.
    #[graphql(complexity = "USUAL * child_complexity + 1")]
    async fn duplicates(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Case>> {
        let ids: Vec<CaseId> = self.view.duplicates.iter().take(MOST_SHOWN).copied().collect();
        let mut found: HashMap<CaseId, CaseView> = loader(ctx).load_many(ids.clone()).await.map_err(Failure::from)?;
        Ok(ids.iter().filter_map(|id| found.remove(id)).map(Case::from).collect())
    }

    /// Internal notes of the case itself, in their order.
    #[graphql(complexity = "cost(first, last, child_complexity) + 5")]
    async fn notes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 20 if neither this nor `last` is given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Stop in front of this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Connection<CaseNote>> {
        let asked = Paging { first, after, last, before }.of("caseNotes", Order::Ascending)?;
        let reading = Reading::after(ctx, None).await?;
        let page = reading.views().case_notes(reading.viewer(), self.view.case, &asked.request).await;
        Ok(asked.connection(page.map_err(Failure::from)?, CaseNote::from))
    }

    /// Everything that happened to the case, in order.
    #[graphql(complexity = "cost(first, last, child_complexity) + 20")]
    async fn history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 20 if neither this nor `last` is given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Stop in front of this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Connection<CaseStep>> {
        let asked = Paging { first, after, last, before }.of("caseHistory", Order::Ascending)?;
        let page = history(ctx, self.view.case, &asked.request).await?;
        Ok(asked.connection(page, CaseStep::from))
    }
}

async fn history(ctx: &Context<'_>, case: CaseId, request: &PageRequest) -> Outcome<Page<RecordedEvent>> {
    let (tenant, log) = (Caller::of(ctx)?.viewer.tenant.clone(), Dependencies::of(ctx).log());
    let stream = StreamName::new(Category::Case, tenant, case.uuid());
    let last = request.after.map(|cursor| cursor.value.unsigned_abs());
    let (direction, from) = match request.order {
        Order::Ascending => (Direction::Forwards, last.map(|last| Revision(last + 1))),
        Order::Descending if last == Some(0) => return Ok(Page { items: vec![], cursors: vec![], more: false }),
        Order::Descending => (Direction::Backwards, last.map(|last| Revision(last - 1))),
    };
    let limit = request.limit.clamp(1, MOST_ITEMS) as usize;
    let mut items = log.read_stream(&stream, from, direction, limit + 1).await?;
    let more = items.len() > limit;
    items.truncate(limit);
    let cursor = |event: &RecordedEvent| Cursor {
        value: i64::try_from(event.revision.0).unwrap_or(i64::MAX),
        id: uuid::Uuid::nil(),
    };
    let cursors = items.iter().map(cursor).collect();
    Ok(Page { items, cursors, more })
}

/// Which cases are wanted; all conditions must hold.
#[derive(Debug, Default, InputObject)]
pub(crate) struct CaseFilterInput {
    /// Only with one of these; any when absent.
    pub status: Option<Vec<CaseStatusName>>,
    /// Only somebody's, or nobody's.
    pub assignee: Option<AssigneeKind>,
    /// The operator meant by `assignee: OPERATOR`.
    pub assignee_id: Option<String>,
    /// Only of this type, as `casetype-<uuid>`.
    pub case_type: Option<ID>,
    /// Only of this priority or above.
    pub least_priority: Option<u8>,
    /// Only those about this person, as `profile-<uuid>`.
    pub profile: Option<ID>,
    /// Also those for which another case stands.
    pub merged: Option<bool>,
}

/// By what cases are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum CaseOrder {
    /// The latest opened first.
    Latest,
    /// The oldest first.
    Oldest,
    /// What was promised for the earliest time first; only those with a promise.
    PromisedFirst,
}

/// Queries of cases.
#[derive(Default)]
pub(crate) struct CaseQuery;

#[Object]
impl CaseQuery {
    /// A case by its id; null when there is none.
    #[graphql(complexity = "1 + child_complexity")]
    async fn case(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id, as `case-<uuid>`.")] id: ID,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<Option<Case>> {
        let case: CaseId = crate::context::id(&id)?;
        let reading = Reading::after_in(ctx, after.as_ref(), case.uuid()).await?;
        Ok(find(&reading, case).await?)
    }

    /// A case by its number; null when there is none.
    #[graphql(complexity = "2 + child_complexity")]
    async fn case_by_number(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The number.")] number: u64,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<Option<Case>> {
        let reading = Reading::after(ctx, after.as_ref()).await?;
        let found = reading.views().case_by_number(reading.viewer(), number).await.map_err(Failure::from)?;
        Ok(found.map(Case::from))
    }

    /// Cases by what is to be done with them.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a Relay connection")]
    async fn cases(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which are wanted; all that stand for themselves when absent.")] filter: Option<
            CaseFilterInput,
        >,
        #[graphql(desc = "In which order.", default_with = "CaseOrder::Latest")] sort: CaseOrder,
        #[graphql(desc = "How many from the start, 20 if neither this nor `last` is given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Stop in front of this cursor.")] before: Option<String>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after_token: Option<Token>,
    ) -> async_graphql::Result<Connection<Case>> {
        let (list, by, order) = match sort {
            CaseOrder::Latest => ("cases.latest", CaseSort::Number, Order::Descending),
            CaseOrder::Oldest => ("cases.oldest", CaseSort::Number, Order::Ascending),
            CaseOrder::PromisedFirst => ("cases.promised", CaseSort::PromisedUntil, Order::Ascending),
        };
        let asked = Paging { first, after, last, before }.of(list, order)?;
        let reading = Reading::after(ctx, after_token.as_ref()).await?;
        let Some(filter) = conditions(&reading, filter.unwrap_or_default()).await? else {
            let nothing = Page { items: vec![], cursors: vec![], more: false };
            return Ok(asked.connection(nothing, |view: CaseView| view.into()));
        };
        let page = reading.views().cases(reading.viewer(), &filter, by, &asked.request).await;
        Ok(asked.connection(page.map_err(Failure::from)?, Case::from))
    }
}

/// The filter of the read side; `None` when nothing can match.
async fn conditions(reading: &Reading<'_>, input: CaseFilterInput) -> Outcome<Option<CaseFilter>> {
    let assignee: Option<Assignee> = crate::conversation::assignee(reading, input.assignee, input.assignee_id)?;
    let customers = match &input.profile {
        None => Vec::new(),
        Some(profile) => match reading.views().profile(reading.viewer(), id(profile)?).await? {
            Some(view) => view.occupancy_ids().collect(),
            None => return Ok(None),
        },
    };
    Ok(Some(CaseFilter {
        statuses: input.status.unwrap_or_default().into_iter().map(Into::into).collect(),
        assignee,
        case_type: input.case_type.as_ref().map(id).transpose()?,
        least_priority: input.least_priority,
        customers,
        merged: input.merged.unwrap_or_default(),
    }))
}

/// One case of the viewer's tenant.
pub(crate) async fn find(reading: &Reading<'_>, case: CaseId) -> Outcome<Option<Case>> {
    Ok(reading.views().case(reading.viewer(), case).await?.map(Case::from))
}
