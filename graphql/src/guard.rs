//! Role guards: which role may use which field.
//!
//! **Invariant:** a field without a guard is open to every authenticated viewer of the tenant; a guarded field is
//! refused before anything is read.

use async_graphql::{Context, Guard};
use events::viewer::Role;

use crate::context::Caller;
use crate::error::Failure;

/// Lets viewers through whose role is this one or above. An agent is above nobody.
pub(crate) struct AtLeast(pub(crate) Role);

impl Guard for AtLeast {
    async fn check(&self, ctx: &Context<'_>) -> async_graphql::Result<()> {
        let caller = Caller::of(ctx)?;
        if caller.viewer.may_act_as(self.0) {
            Ok(())
        } else {
            Err(Failure::forbidden(format!("this needs the role {} or above", self.0)).into())
        }
    }
}

/// A person who answers customers, or above.
pub(crate) const OPERATOR: AtLeast = AtLeast(Role::Operator);
/// A person who watches over operators, or above.
pub(crate) const SUPERVISOR: AtLeast = AtLeast(Role::Supervisor);
/// A person who sets up channel accounts.
pub(crate) const ADMINISTRATOR: AtLeast = AtLeast(Role::Administrator);
