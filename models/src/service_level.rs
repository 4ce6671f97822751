//! The decider of service levels.
//!
//! **Invariant:** targets stand in the order of their priorities, each once, and promise something.

use events::envelope::{Category, Revision};
use events::service_level::{
    ServiceLevelChanged, ServiceLevelClosed, ServiceLevelEvent, ServiceLevelOpened, ServiceLevelRules, ServiceTarget,
};

use crate::decider::Decider;
use crate::policies::routing::MAX_PRIORITY;

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 100;
/// Longest time promised, in seconds of working time: a year around the clock.
pub const MAX_TARGET_S: u32 = 366 * 24 * 3600;

/// The rules of service levels.
pub struct ServiceLevelDecider;

/// What is known of a service level.
#[derive(Debug, Default, PartialEq)]
pub struct ServiceLevel {
    current: Option<(String, ServiceLevelRules)>,
    closed: bool,
}

impl ServiceLevel {
    /// Its rules, while it promises anything.
    #[must_use]
    pub fn rules(&self) -> Option<&ServiceLevelRules> {
        self.current.as_ref().filter(|_| !self.closed).map(|(_, rules)| rules)
    }
}

/// A wish about a service level.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceLevelCommand {
    /// Make it.
    Open {
        /// What the tenant calls it.
        name: String,
        /// Its rules.
        rules: ServiceLevelRules,
    },
    /// Replace name and rules; opens a closed one again.
    Change {
        /// What the tenant calls it from here on.
        name: String,
        /// Its rules from here on.
        rules: ServiceLevelRules,
    },
    /// Let it promise nothing.
    Close,
}

/// Why a wish about a service level is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServiceLevelRejection {
    /// There is no such level.
    #[error("service level does not exist")]
    NoSuchLevel,
    /// There is one with this id and other rules.
    #[error("service level exists already")]
    Exists,
    /// The name is empty or too long.
    #[error("service level name must have 1 to {MAX_NAME_CHARS} characters")]
    BadName,
    /// Targets are missing, out of order, double, of no priority or promise nothing.
    #[error(
        "targets must be in the order of their least priorities, 0 to {MAX_PRIORITY}, each once, and promise something \
         of 1 second to a year"
    )]
    BadTargets,
}

impl Decider for ServiceLevelDecider {
    const CATEGORY: Category = Category::ServiceLevel;
    const READS_PERSONAL: bool = false;
    type Event = ServiceLevelEvent;
    type Command = ServiceLevelCommand;
    type State = ServiceLevel;
    type Rejection = ServiceLevelRejection;

    fn decide(
        state: &ServiceLevel,
        command: ServiceLevelCommand,
    ) -> Result<Vec<ServiceLevelEvent>, ServiceLevelRejection> {
        let same = |name: &String, rules: &ServiceLevelRules| {
            !state.closed && state.current.as_ref().is_some_and(|(known, current)| (known, current) == (name, rules))
        };
        Ok(match command {
            ServiceLevelCommand::Open { name, rules } if same(&name, &rules) => vec![],
            ServiceLevelCommand::Open { .. } if state.current.is_some() => return Err(ServiceLevelRejection::Exists),
            ServiceLevelCommand::Open { name, rules } => {
                check(&name, &rules)?;
                vec![ServiceLevelOpened { name, rules }.into()]
            }
            ServiceLevelCommand::Change { .. } | ServiceLevelCommand::Close if state.current.is_none() => {
                return Err(ServiceLevelRejection::NoSuchLevel);
            }
            ServiceLevelCommand::Change { name, rules } if same(&name, &rules) => vec![],
            ServiceLevelCommand::Change { name, rules } => {
                check(&name, &rules)?;
                vec![ServiceLevelChanged { name, rules }.into()]
            }
            ServiceLevelCommand::Close if state.closed => vec![],
            ServiceLevelCommand::Close => vec![ServiceLevelClosed {}.into()],
        })
    }

    fn evolve(state: &mut ServiceLevel, event: &ServiceLevelEvent, _revision: Revision) {
        match event {
            ServiceLevelEvent::Opened(ServiceLevelOpened { name, rules })
            | ServiceLevelEvent::Changed(ServiceLevelChanged { name, rules }) => {
                state.current = Some((name.clone(), rules.clone()));
                state.closed = false;
            }
            ServiceLevelEvent::Closed(ServiceLevelClosed {}) => state.closed = true,
        }
    }
}

fn check(name: &str, rules: &ServiceLevelRules) -> Result<(), ServiceLevelRejection> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS {
        return Err(ServiceLevelRejection::BadName);
    }
    let times = |target: &ServiceTarget| [target.first_response_s, target.next_response_s, target.resolution_s];
    let promises = |target: &ServiceTarget| {
        let mut given = times(target).into_iter().flatten().peekable();
        given.peek().is_some() && given.all(|time| (1..=MAX_TARGET_S).contains(&time))
    };
    let in_order = rules.targets.is_sorted_by(|one, other| one.least_priority < other.least_priority);
    let priorities = rules.targets.iter().all(|target| target.least_priority <= MAX_PRIORITY);
    if rules.targets.is_empty() || !in_order || !priorities || !rules.targets.iter().all(promises) {
        return Err(ServiceLevelRejection::BadTargets);
    }
    Ok(())
}

/// What is promised to a conversation of this priority.
#[must_use]
pub fn target(rules: &ServiceLevelRules, priority: u8) -> Option<&ServiceTarget> {
    rules.targets.iter().rev().find(|target| target.least_priority <= priority)
}

#[cfg(test)]
mod tests;
