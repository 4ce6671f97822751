//! Who is looking: tenant, role and actor of every query, command and export.
//!
//! **Invariant:** the tenant of any read or write comes from a [`Viewer`] or from the channel account, never from an
//! argument of the caller (design invariant 15).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::envelope::Actor;
use crate::ids::{ParseIdError, TenantId};

/// Version of the mask policy in force; kept with what an actor saw ([`crate::envelope::SeenAt`]).
pub const MASK_POLICY: u32 = 1;

/// What a viewer may do; each role may do all that the ones before it may, but for [`Role::Agent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An LLM agent: reads and acts on conversations as the schema lets it.
    Agent,
    /// A person who answers customers.
    Operator,
    /// A person who watches over operators: raw intake, event replay, parked and failed messages.
    Supervisor,
    /// A person who sets up channel accounts.
    Administrator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Agent, Self::Operator, Self::Supervisor, Self::Administrator];

    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
            Self::Supervisor => "supervisor",
            Self::Administrator => "administrator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(ParseIdError { expected: "role: agent, operator, supervisor or administrator" })
    }
}

/// Who is looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// Whose data they may see.
    pub tenant: TenantId,
    /// What they may do.
    pub role: Role,
    /// The id of their token: an operator's or an agent's name.
    pub id: Arc<str>,
}

impl Viewer {
    /// The viewer as the actor of what they do.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self.role {
            Role::Agent => Actor::Agent(self.id.as_ref().into()),
            Role::Operator | Role::Supervisor | Role::Administrator => Actor::Operator(self.id.as_ref().into()),
        }
    }

    /// True when the role is `least` or above. An agent is above nobody.
    #[must_use]
    pub fn may_act_as(&self, least: Role) -> bool {
        self.role >= least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_may_do_what_an_operator_may_and_an_agent_may_not() {
        let viewer = |role| Viewer { tenant: "acme".parse().unwrap(), role, id: "x".into() };
        assert!(viewer(Role::Supervisor).may_act_as(Role::Operator));
        assert!(!viewer(Role::Operator).may_act_as(Role::Supervisor));
        assert!(!viewer(Role::Agent).may_act_as(Role::Operator));
    }
}
