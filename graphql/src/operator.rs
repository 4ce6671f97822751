//! Operators: what they can do, whether they are there, what they work on.
//!
//! **Invariant:** an operator is known by the name in their token; whoever is not registered is given nothing by a queue
//! and may work all the same.

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use events::ids::OperatorId;
use events::operator::Abilities;
use projections::operator::{HeldConversation, OperatorView};

use crate::account::ChannelName;
use crate::context::{Reading, loader};
use crate::conversation::Conversation;
use crate::error::{Failure, Outcome};
use crate::guard::OPERATOR;
use crate::scalars::Token;

mod mutation;

pub(crate) use mutation::OperatorMutation;

/// Whether an operator is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "Presence", remote = "events::operator::Presence")]
pub(crate) enum PresenceName {
    /// They take conversations.
    Available,
    /// They work on what they have and take no more.
    Busy,
    /// They are not there; what they have goes to others.
    Absent,
}

/// How the presence of an operator is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "PresenceReason", remote = "events::operator::PresenceReason")]
pub(crate) enum PresenceReasonName {
    /// They said so.
    ByThemselves,
    /// A supervisor said so.
    BySupervisor,
    /// There was no sign of life for too long.
    NoSignOfLife,
}

/// Most conversations of one channel at a time.
#[derive(Debug, Clone, SimpleObject, InputObject)]
#[graphql(input_name = "ChannelRoomInput")]
pub(crate) struct ChannelRoom {
    /// The channel.
    pub channel: ChannelName,
    /// Most conversations of it at a time.
    pub room: u32,
}

/// What an operator can do.
#[derive(Debug, Clone, SimpleObject, InputObject)]
#[graphql(name = "Abilities", input_name = "AbilitiesInput")]
pub(crate) struct AbilitiesObject {
    /// What they speak, by ISO 639-1 codes, as `ru`; one at least.
    pub languages: Vec<String>,
    /// What they are trained for, in the tenant's words: a queue asks for them by the same words.
    pub skills: Vec<String>,
    /// Most conversations at a time.
    pub room: u32,
    /// Channels that have a bound of their own.
    pub room_of_channel: Vec<ChannelRoom>,
}

impl From<Abilities> for AbilitiesObject {
    fn from(abilities: Abilities) -> Self {
        let room = |(channel, room): (events::values::Channel, u32)| ChannelRoom { channel: channel.into(), room };
        Self {
            languages: abilities.languages.iter().map(ToString::to_string).collect(),
            skills: abilities.skills.iter().map(ToString::to_string).collect(),
            room: abilities.room,
            room_of_channel: abilities.room_of_channel.into_iter().map(room).collect(),
        }
    }
}

impl From<AbilitiesObject> for Abilities {
    fn from(input: AbilitiesObject) -> Self {
        Self {
            languages: input.languages.into_iter().map(Into::into).collect(),
            skills: input.skills.into_iter().map(Into::into).collect(),
            room: input.room,
            room_of_channel: input.room_of_channel.into_iter().map(|of| (of.channel.into(), of.room)).collect(),
        }
    }
}

/// A person who answers customers, as queues know them.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Operator {
    /// The id, as `operator-<uuid>`.
    pub id: ID,
    /// Who, as in their token and in `assignee` of conversations.
    pub operator: String,
    /// What they are called at the desk.
    pub name: String,
    /// What they can do.
    pub abilities: AbilitiesObject,
    /// Whether they are there.
    pub presence: PresenceName,
    /// How it is known; null before they came for the first time.
    pub presence_reason: Option<PresenceReasonName>,
    /// Since when.
    pub presence_since: DateTime<Utc>,
    /// When they were last given a conversation.
    pub last_given: Option<DateTime<Utc>>,
    /// When they were registered.
    pub registered_at: DateTime<Utc>,
    /// How many conversations take of their room now.
    pub load: usize,
    #[graphql(skip)]
    held: Vec<HeldConversation>,
}

impl From<OperatorView> for Operator {
    fn from(view: OperatorView) -> Self {
        Self {
            id: view.id.to_string().into(),
            operator: view.operator,
            name: view.name,
            abilities: view.abilities.into(),
            presence: view.presence.into(),
            presence_reason: view.presence_reason.map(Into::into),
            presence_since: view.presence_since,
            last_given: view.last_given,
            registered_at: view.registered_at,
            load: view.held.len(),
            held: view.held,
        }
    }
}

/// A conversation that takes of an operator's room.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub(crate) struct WorkItem {
    /// Since when it does.
    pub since: DateTime<Utc>,
    /// The channel it is held through.
    pub channel: ChannelName,
    #[graphql(skip)]
    held: HeldConversation,
}

#[ComplexObject]
impl WorkItem {
    /// The conversation.
    #[graphql(complexity = "2 + child_complexity")]
    async fn conversation(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Conversation>> {
        let found = loader(ctx).load_one(self.held.conversation).await.map_err(Failure::from)?;
        Ok(found.map(Conversation::from))
    }
}

/// Operators work on this many, as far as the cost of a query is concerned.
const WORK_COST: usize = 10;

#[ComplexObject]
impl Operator {
    /// What they work on, oldest first; 100 at most.
    #[graphql(complexity = "WORK_COST * child_complexity + 1")]
    async fn work(&self) -> Vec<WorkItem> {
        let held = self.held.iter().take(100);
        held.map(|held| WorkItem { since: held.since, channel: held.channel.into(), held: *held }).collect()
    }
}

/// Queries of operators.
#[derive(Default)]
pub(crate) struct OperatorQuery;

#[Object]
impl OperatorQuery {
    /// The registered operators of the tenant, by their name in tokens. For operators.
    #[graphql(guard = "OPERATOR", complexity = "50 * child_complexity + 1")]
    async fn operators(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<Vec<Operator>> {
        let reading = Reading::after(ctx, after.as_ref()).await?;
        let operators = reading.views().operators(reading.viewer()).await.map_err(Failure::from)?;
        Ok(operators.into_iter().map(Operator::from).collect())
    }
}

/// One operator of the viewer's tenant.
pub(crate) async fn find(reading: &Reading<'_>, operator: OperatorId) -> Outcome<Option<Operator>> {
    let mut found = reading.views().operators_by_ids(reading.viewer(), &[operator]).await?;
    Ok(found.pop().map(Operator::from))
}
