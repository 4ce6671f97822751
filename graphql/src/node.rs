//! `node(id:)`: anything with a global id.
//!
//! **Invariant:** the prefix of the id says what it is; the same guards hold as on the fields of their own.

use async_graphql::{Context, ID, Interface, Object};
use events::ids::{
    AccountId, CalendarId, CaseId, CaseTypeId, ConversationId, EventId, OperatorId, ProfileId, QueueId, ServiceLevelId,
};
use events::viewer::Role;

use crate::account::{self, Account};
use crate::calendar::{self, Calendar};
use crate::case::{self, Case};
use crate::case_type::{self, CaseType};
use crate::context::Reading;
use crate::conversation::{self, Conversation};
use crate::error::Failure;
use crate::event::{self, Event};
use crate::operator::{self, Operator};
use crate::profile::{self, Profile};
use crate::queue::{self, Queue};
use crate::scalars::Token;
use crate::service_level::{self, ServiceLevel};

/// Something with a global id.
#[expect(clippy::large_enum_variant, reason = "one per answer, moved a few times")]
#[derive(Clone, Interface)]
#[graphql(field(name = "id", ty = "&ID", desc = "The global id: what it is, and which."))]
pub(crate) enum Node {
    /// A person.
    Profile(Profile),
    /// A conversation.
    Conversation(Box<Conversation>),
    /// A channel account.
    Account(Account),
    /// A case.
    Case(Box<Case>),
    /// A type of cases.
    CaseType(CaseType),
    /// A service level.
    ServiceLevel(ServiceLevel),
    /// A calendar.
    Calendar(Calendar),
    /// A queue.
    Queue(Queue),
    /// An operator.
    Operator(Operator),
    /// An event.
    Event(Event),
}

/// The query of anything by its id.
#[derive(Default)]
pub(crate) struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Anything by its global id: a profile, a conversation, a case, a type of cases, a queue, a calendar, a
    /// service level or an operator (for operators), an account
    /// (for administrators) or an event (for supervisors); null when there is none.
    #[graphql(complexity = "child_complexity + 1")]
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id, as it stands in the `id` of a thing.")] id: ID,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<Option<Node>> {
        let reading = Reading::after(ctx, after.as_ref()).await?;
        let needs = |least: Role| {
            if reading.viewer().may_act_as(least) {
                Ok(())
            } else {
                Err(Failure::forbidden(format!("this needs the role {least} or above")))
            }
        };
        Ok(match id.split_once('-').map_or("", |(prefix, _)| prefix) {
            ProfileId::PREFIX => profile::node(&reading, &id).await?.map(Node::Profile),
            ConversationId::PREFIX => {
                let found = conversation::find(&reading, crate::context::id(&id)?).await?;
                found.map(|found| Node::Conversation(Box::new(found)))
            }
            CaseId::PREFIX => {
                let found = case::find(&reading, crate::context::id(&id)?).await?;
                found.map(|found| Node::Case(Box::new(found)))
            }
            CaseTypeId::PREFIX => case_type::find(&reading, crate::context::id(&id)?).await?.map(Node::CaseType),
            QueueId::PREFIX => queue::find(&reading, crate::context::id(&id)?).await?.map(Node::Queue),
            ServiceLevelId::PREFIX => {
                needs(Role::Operator)?;
                service_level::find(&reading, crate::context::id(&id)?).await?.map(Node::ServiceLevel)
            }
            CalendarId::PREFIX => {
                needs(Role::Operator)?;
                calendar::find(&reading, crate::context::id(&id)?).await?.map(Node::Calendar)
            }
            OperatorId::PREFIX => {
                needs(Role::Operator)?;
                operator::find(&reading, crate::context::id(&id)?).await?.map(Node::Operator)
            }
            AccountId::PREFIX => {
                needs(Role::Administrator)?;
                account::find(&reading, &id).await?.map(Node::Account)
            }
            EventId::PREFIX => {
                needs(Role::Supervisor)?;
                event::find(&reading, &id).await?.map(Node::Event)
            }
            _ => return Err(Failure::bad_input("no thing has an id of this form").into()),
        })
    }
}
