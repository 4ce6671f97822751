//! Who asks, and how fresh the answers are.
//!
//! **Invariant:** shows the caller nothing but the caller.

use async_graphql::{Context, Enum, Object, SimpleObject};
use events::viewer::Role;

use crate::context::{Caller, Reading};
use crate::scalars::{LogPosition, Token};

/// What a viewer may do; each role may do all that the ones before it may, but for agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "Role", remote = "Role")]
pub(crate) enum RoleName {
    /// An LLM agent: reads and acts on conversations as far as the schema lets it.
    Agent,
    /// A person who answers customers.
    Operator,
    /// A person who watches over operators: raw intake, event replay, parked and failed messages.
    Supervisor,
    /// A person who sets up channel accounts.
    Administrator,
}

/// Who asks.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(name = "Viewer")]
pub(crate) struct ViewerObject {
    /// The tenant whose data they see.
    pub tenant: String,
    /// What they may do.
    pub role: RoleName,
    /// The id of their token: an operator's or an agent's name.
    pub id: String,
}

/// Queries about the caller and the installation.
#[derive(Default)]
pub(crate) struct ViewerQuery;

#[Object]
impl ViewerQuery {
    /// Who asks.
    async fn viewer(&self, ctx: &Context<'_>) -> async_graphql::Result<ViewerObject> {
        let viewer = &Caller::of(ctx)?.viewer;
        Ok(ViewerObject {
            tenant: viewer.tenant.as_str().to_owned(),
            role: viewer.role.into(),
            id: viewer.id.as_ref().to_owned(),
        })
    }

    /// The position that the read models have reached: everything up to it is in the answers. The same stands in
    /// `extensions.readPosition` of every response that reads. A bare position is a token, too.
    async fn read_position(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<LogPosition> {
        let reading = Reading::after(ctx, after.as_ref()).await?;
        Ok(LogPosition(reading.views().position()))
    }
}
