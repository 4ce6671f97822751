//! Conversations: the inbox, one conversation with its timeline, and what happens to them.
//!
//! **Invariant:** a page of conversations with their people, accounts and last messages costs a number of statements
//! that does not depend on how many there are. Read as of a time, timeline and last message are of that time, too;
//! people and accounts are shown as they are now.

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use events::ids::ConversationId;
use events::viewer::Viewer;
use projections::conversation::{Assignee, ConversationFilter, ConversationSort, ConversationView, ParticipantView};
use projections::views::{Order, PageRequest, Views};

use crate::account::{Account, ChannelName};
use crate::case::Case;
use crate::clock::{self, ClockObject, TimeInState};
use crate::contact::Person;
use crate::context::{Reading, id, loader};
use crate::error::{Failure, Outcome};
use crate::loaders::{CasesOf, LatestOf};
use crate::message::TimelineEntry;
use crate::page::{Connection, Paging, cost};
use crate::profile::{AS_OF_COST, AsOfInput, audit};
use crate::queue::Queued;
use crate::scalars::Token;
use crate::vocabulary::{ConversationKindName, ConversationStatusName, SpeakerObject};

mod draft;
mod input;
mod mutation;
mod subscription;

pub(crate) use draft::{DraftMutation, DraftSubscription, held_by_other};
pub(crate) use mutation::{ConversationMutation, ConversationSubject, checked_name, speaker_of};
pub(crate) use subscription::ConversationSubscription;

/// A conversation: one outside thread of one account, in numbered episodes.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Conversation {
    /// The id, as `conversation-<uuid>`.
    pub id: ID,
    /// The channel of the account that it is held through.
    pub channel: ChannelName,
    /// With one customer or with many people.
    pub kind: ConversationKindName,
    /// The title of a group or the subject of a mail thread.
    pub title: Option<String>,
    /// Whether it wants work.
    pub status: ConversationStatusName,
    /// The number of the current or last episode, from 1.
    pub episode: u32,
    /// Why the last episode ended, if it did: `resolved`, `spam`, `no_answer`, `migrated` or the caller's own code.
    pub closed_reason: Option<String>,
    /// Until when it rests.
    pub snoozed_until: Option<DateTime<Utc>>,
    /// The operator whose work it is.
    pub assignee: Option<String>,
    /// Where it waits for an operator, or came from; null when it is in no queue.
    pub queued: Option<Queued>,
    /// Who may speak to the customer.
    pub speaker: SpeakerObject,
    /// Where further messages go after a group got another address, as `conversation-<uuid>`.
    pub migrated_to: Option<ID>,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When the last message went in or out, or the last episode began.
    pub last_activity_at: DateTime<Utc>,
    /// Since when the customer waits for an answer.
    pub waiting_since: Option<DateTime<Utc>>,
    /// Tags, by name.
    pub tags: Vec<String>,
    /// Customer's messages that the caller has not read.
    pub unread: u64,
    /// Up to which revision the caller has read.
    pub read_up_to: Option<u64>,
    /// The last revision that changed what is shown here; edits and deliveries of messages do not count.
    pub revision: u64,
    #[graphql(skip)]
    view: ConversationView,
    /// Where the past is read from; absent for the present.
    #[graphql(skip)]
    past: Option<Views>,
}

impl From<ConversationView> for Conversation {
    fn from(view: ConversationView) -> Self {
        Self {
            id: view.conversation.to_string().into(),
            channel: view.channel.into(),
            kind: view.kind.into(),
            title: view.thread.as_ref().and_then(|thread| thread.title.clone()),
            status: view.status.into(),
            episode: view.episode,
            closed_reason: view.closed_reason.clone(),
            snoozed_until: view.snoozed_until,
            assignee: view.assignee.clone(),
            queued: view.queued.clone().map(Queued::from),
            speaker: view.speaker.clone().into(),
            migrated_to: view.migrated_to.map(|to| to.to_string().into()),
            opened_at: view.opened_at,
            last_activity_at: view.last_activity_at,
            waiting_since: view.waiting_since,
            tags: view.tags.clone(),
            unread: view.unread,
            read_up_to: view.read_up_to.map(|revision| revision.0),
            revision: view.revision.0,
            view,
            past: None,
        }
    }
}

/// A customer in a conversation.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Participant {
    /// Who.
    pub person: Person,
    /// False when they left.
    pub active: bool,
    /// Since when they take part, or do not any more.
    pub since: DateTime<Utc>,
}

impl From<ParticipantView> for Participant {
    fn from(view: ParticipantView) -> Self {
        Self { person: view.participant.into(), active: view.active, since: view.since }
    }
}

/// Where a conversation is held outside, as far as answering needs it.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct OutsideThread {
    /// The provider's key of the thread: a chat id, a visitor id, the Message-ID of the first mail. Masked for agents.
    pub key: String,
    /// A topic within it.
    pub topic: Option<String>,
    /// The address that answers go to, where it is not the key. Masked for agents.
    pub reply_address: Option<String>,
}

/// Groups with more people show this many.
const PARTICIPANTS_COST: usize = 3;

#[ComplexObject]
impl Conversation {
    /// The account that it is held through.
    #[graphql(complexity = "2 + child_complexity")]
    async fn account(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Account>> {
        Ok(loader(ctx).load_one(self.view.account).await.map_err(Failure::from)?.map(Account::from))
    }

    /// Where it is held outside; null when erased.
    async fn thread(&self) -> Option<OutsideThread> {
        self.view.thread.clone().map(|thread| OutsideThread {
            key: thread.key,
            topic: thread.topic,
            reply_address: thread.reply_address,
        })
    }

    /// Customers that take or took part, those who still do first; at most 200 of a group.
    #[graphql(complexity = "PARTICIPANTS_COST * child_complexity + 1")]
    async fn participants(&self) -> Vec<Participant> {
        self.view.participants.iter().cloned().map(Participant::from).collect()
    }

    /// The clocks of what is promised to its customer, in the order in which they began; none while it never was in a queue
    /// that promises anything. Counted to this moment, also when read as of a time.
    #[graphql(complexity = "40 + child_complexity")]
    async fn clocks(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<ClockObject>> {
        Ok(clock::of_conversation(ctx, self.view.conversation).await?)
    }

    /// How long it was in which state until now.
    #[graphql(complexity = "40 + child_complexity")]
    async fn time_in_states(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<TimeInState>> {
        Ok(clock::states(ctx, self.view.conversation).await?)
    }

    /// The operator who is replying right now, if anybody.
    #[graphql(complexity = "5")]
    async fn replying(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<String>> {
        Ok(draft::holder(ctx, self.view.conversation).await?)
    }

    /// The cases that it is about, oldest first.
    #[graphql(complexity = "3 + 2 * child_complexity")]
    async fn cases(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Case>> {
        let of = loader(ctx).load_one(CasesOf(self.view.conversation)).await.map_err(Failure::from)?;
        let ids = of.unwrap_or_default();
        let mut found = loader(ctx).load_many(ids.clone()).await.map_err(Failure::from)?;
        Ok(ids.iter().filter_map(|id| found.remove(id)).map(Case::from).collect())
    }

    /// The last message, in or out.
    #[graphql(complexity = "5 + child_complexity")]
    async fn latest_message(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<TimelineEntry>> {
        let found = match &self.past {
            None => loader(ctx).load_one(LatestOf(self.view.conversation)).await.map_err(Failure::from)?,
            Some(past) => {
                let viewer = &crate::context::Caller::of(ctx)?.viewer;
                let found = past.latest_messages(viewer, &[self.view.conversation]).await.map_err(Failure::from)?;
                found.into_iter().next()
            }
        };
        Ok(found.map(TimelineEntry::from))
    }

    /// Messages, notes and activities in the order of the conversation.
    #[graphql(complexity = "cost(first, last, child_complexity) + 50")]
    async fn timeline(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 20 if neither this nor `last` is given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Stop in front of this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<Connection<TimelineEntry>> {
        let asked = Paging { first, after, last, before }.of("timeline", Order::Ascending)?;
        let reading = Reading::after(ctx, None).await?;
        let views = self.past.as_ref().unwrap_or_else(|| reading.views());
        let page = timeline(views, reading.viewer(), self.view.conversation, &asked.request).await?;
        Ok(asked.connection(page, TimelineEntry::from))
    }
}

async fn timeline(
    views: &Views,
    viewer: &Viewer,
    conversation: ConversationId,
    request: &PageRequest,
) -> Outcome<projections::views::Page<projections::timeline::TimelineEntry>> {
    Ok(views.timeline(viewer, conversation, request).await?)
}

/// Whose work conversations are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum AssigneeKind {
    /// The caller's.
    Me,
    /// Nobody's.
    Nobody,
    /// That of the operator named in `assigneeId`.
    Operator,
}

/// Which conversations are wanted; all conditions must hold.
#[derive(Debug, Default, InputObject)]
pub(crate) struct ConversationFilterInput {
    /// Only those that are open, resting or closed; any when absent.
    pub status: Option<Vec<ConversationStatusName>>,
    /// Only somebody's, or nobody's.
    pub assignee: Option<AssigneeKind>,
    /// The operator meant by `assignee: OPERATOR`.
    pub assignee_id: Option<String>,
    /// Only of this channel.
    pub channel: Option<ChannelName>,
    /// Only of this account, as `account-<uuid>`.
    pub account: Option<ID>,
    /// Only those that wait in this queue or came from it, as `queue-<uuid>`.
    pub queue: Option<ID>,
    /// Only with this tag.
    pub tag: Option<String>,
    /// Only with a customer's message that the caller has not read.
    pub unread: Option<bool>,
    /// Only with a note that mentions the caller and that they have not read.
    pub mentions_me: Option<bool>,
    /// Only those in which this person takes or took part, as `profile-<uuid>`.
    pub profile: Option<ID>,
}

/// By what conversations are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum ConversationOrder {
    /// The latest activity first.
    LatestActivity,
    /// The oldest activity first.
    OldestActivity,
    /// Who waits longest first; only those in which a customer waits.
    LongestWaiting,
}

/// Queries of conversations.
#[derive(Default)]
pub(crate) struct ConversationQuery;

#[Object]
impl ConversationQuery {
    /// A conversation by its id; null when there is none.
    #[graphql(complexity = "child_complexity + if as_of.is_some() { AS_OF_COST } else { 1 }")]
    async fn conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id, as `conversation-<uuid>`.")] id: ID,
        #[graphql(desc = "Show what was known then, by folding the events up to there.")] as_of: Option<AsOfInput>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<Option<Conversation>> {
        let conversation: ConversationId = crate::context::id(&id)?;
        let reading = Reading::after_in(ctx, after.as_ref(), conversation.uuid()).await?;
        let Some(as_of) = as_of else { return Ok(find(&reading, conversation).await?) };
        let past = audit(&reading).conversation(reading.viewer(), conversation, as_of.into()).await;
        Ok(past.map_err(Failure::from)?.map(|(view, past)| Conversation { past: Some(past.views), ..view.into() }))
    }

    /// The inbox: conversations by what is to be done with them.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a Relay connection")]
    async fn conversations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which are wanted; all when absent.")] filter: Option<ConversationFilterInput>,
        #[graphql(desc = "In which order.", default_with = "ConversationOrder::LatestActivity")]
        sort: ConversationOrder,
        #[graphql(desc = "How many from the start, 20 if neither this nor `last` is given, 100 at most.")]
        first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Stop in front of this cursor.")] before: Option<String>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after_token: Option<Token>,
    ) -> async_graphql::Result<Connection<Conversation>> {
        let (list, by, order) = match sort {
            ConversationOrder::LatestActivity => {
                ("conversations.latest", ConversationSort::LastActivity, Order::Descending)
            }
            ConversationOrder::OldestActivity => {
                ("conversations.oldest", ConversationSort::LastActivity, Order::Ascending)
            }
            ConversationOrder::LongestWaiting => {
                ("conversations.waiting", ConversationSort::WaitingSince, Order::Ascending)
            }
        };
        let asked = Paging { first, after, last, before }.of(list, order)?;
        let reading = Reading::after(ctx, after_token.as_ref()).await?;
        let Some(filter) = conditions(&reading, filter.unwrap_or_default()).await? else {
            let nothing = projections::views::Page { items: vec![], cursors: vec![], more: false };
            return Ok(asked.connection(nothing, |view: ConversationView| view.into()));
        };
        let page = reading.views().conversations(reading.viewer(), &filter, by, &asked.request).await;
        Ok(asked.connection(page.map_err(Failure::from)?, Conversation::from))
    }
}

/// Whose work is meant.
pub(crate) fn assignee(
    reading: &Reading<'_>,
    kind: Option<AssigneeKind>,
    operator: Option<String>,
) -> Outcome<Option<Assignee>> {
    Ok(match (kind, operator) {
        (Some(AssigneeKind::Operator), Some(operator)) => Some(Assignee::Operator(operator)),
        (Some(AssigneeKind::Operator), None) => return Err(Failure::bad_input("assignee OPERATOR needs assigneeId")),
        (_, Some(_)) => return Err(Failure::bad_input("assigneeId needs assignee OPERATOR")),
        (Some(AssigneeKind::Me), None) => Some(Assignee::Operator(reading.viewer().id.as_ref().to_owned())),
        (Some(AssigneeKind::Nobody), None) => Some(Assignee::Nobody),
        (None, None) => None,
    })
}

/// The filter of the read side; `None` when nothing can match.
async fn conditions(reading: &Reading<'_>, input: ConversationFilterInput) -> Outcome<Option<ConversationFilter>> {
    let assignee = assignee(reading, input.assignee, input.assignee_id)?;
    let participants = match &input.profile {
        None => Vec::new(),
        Some(profile) => match reading.views().profile(reading.viewer(), id(profile)?).await? {
            Some(view) => view.occupancy_ids().collect(),
            None => return Ok(None),
        },
    };
    Ok(Some(ConversationFilter {
        statuses: input.status.unwrap_or_default().into_iter().map(Into::into).collect(),
        assignee,
        channel: input.channel.map(Into::into),
        account: input.account.as_ref().map(id).transpose()?,
        queue: input.queue.as_ref().map(id).transpose()?,
        tag: input.tag,
        unread: input.unread.unwrap_or_default(),
        mentions_me: input.mentions_me.unwrap_or_default(),
        participants,
    }))
}

/// One conversation of the viewer's tenant.
pub(crate) async fn find(reading: &Reading<'_>, conversation: ConversationId) -> Outcome<Option<Conversation>> {
    Ok(reading.views().conversation(reading.viewer(), conversation).await?.map(Conversation::from))
}
