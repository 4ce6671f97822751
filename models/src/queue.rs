//! The decider of queues.
//!
//! **Invariant:** a queue falls back to another one only, never to itself; longer circles are found by whoever follows
//! them, who goes round once.

use events::envelope::{Category, Revision};
use events::ids::QueueId;
use events::queue::{QueueChanged, QueueClosed, QueueEvent, QueueOpened, QueueRules};

use crate::decider::Decider;
use crate::operator::are_skills;
use crate::policies::routing::MAX_PRIORITY;

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 100;
/// Most accounts whose conversations come into one queue.
pub const MAX_ACCOUNTS: usize = 1_000;

/// The rules of queues.
pub struct QueueDecider;

/// What is known of a queue.
#[derive(Debug, Default, PartialEq)]
pub struct Queue {
    current: Option<(String, QueueRules)>,
    closed: bool,
}

impl Queue {
    /// Its rules, while it takes conversations.
    #[must_use]
    pub fn rules(&self) -> Option<&QueueRules> {
        self.current.as_ref().filter(|_| !self.closed).map(|(_, rules)| rules)
    }
}

/// A wish about a queue.
#[derive(Debug, Clone, PartialEq)]
pub enum QueueCommand {
    /// Make it.
    Open {
        /// The queue itself, which it may not fall back to.
        queue: QueueId,
        /// What the tenant calls it.
        name: String,
        /// Its rules.
        rules: QueueRules,
    },
    /// Replace name and rules; opens a closed one again.
    Change {
        /// The queue itself, which it may not fall back to.
        queue: QueueId,
        /// What the tenant calls it from here on.
        name: String,
        /// Its rules from here on.
        rules: QueueRules,
    },
    /// Let nothing new into it.
    Close,
}

/// Why a wish about a queue is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueRejection {
    /// There is no such queue.
    #[error("queue does not exist")]
    NoSuchQueue,
    /// There is one with this id and other rules.
    #[error("queue exists already")]
    Exists,
    /// The name is empty or too long.
    #[error("queue name must have 1 to {MAX_NAME_CHARS} characters")]
    BadName,
    /// A skill is empty or too long, or there are too many.
    #[error("skills must have 1 to 64 characters, 64 at most")]
    BadSkill,
    /// The priority is too high.
    #[error("priority must be 0 to {MAX_PRIORITY}")]
    BadPriority,
    /// There are too many accounts.
    #[error("conversations of {MAX_ACCOUNTS} accounts at most come into one queue")]
    TooManyAccounts,
    /// It would fall back to itself.
    #[error("a queue cannot fall back to itself")]
    FallsBackToItself,
}

impl Decider for QueueDecider {
    const CATEGORY: Category = Category::Queue;
    const READS_PERSONAL: bool = false;
    type Event = QueueEvent;
    type Command = QueueCommand;
    type State = Queue;
    type Rejection = QueueRejection;

    fn decide(state: &Queue, command: QueueCommand) -> Result<Vec<QueueEvent>, QueueRejection> {
        let same = |name: &String, rules: &QueueRules| {
            !state.closed && state.current.as_ref().is_some_and(|(known, current)| (known, current) == (name, rules))
        };
        Ok(match command {
            QueueCommand::Open { name, rules, .. } if same(&name, &rules) => vec![],
            QueueCommand::Open { .. } if state.current.is_some() => return Err(QueueRejection::Exists),
            QueueCommand::Open { queue, name, rules } => {
                check(queue, &name, &rules)?;
                vec![QueueOpened { name, rules }.into()]
            }
            QueueCommand::Change { .. } | QueueCommand::Close if state.current.is_none() => {
                return Err(QueueRejection::NoSuchQueue);
            }
            QueueCommand::Change { name, rules, .. } if same(&name, &rules) => vec![],
            QueueCommand::Change { queue, name, rules } => {
                check(queue, &name, &rules)?;
                vec![QueueChanged { name, rules }.into()]
            }
            QueueCommand::Close if state.closed => vec![],
            QueueCommand::Close => vec![QueueClosed {}.into()],
        })
    }

    fn evolve(state: &mut Queue, event: &QueueEvent, _revision: Revision) {
        match event {
            QueueEvent::Opened(QueueOpened { name, rules }) | QueueEvent::Changed(QueueChanged { name, rules }) => {
                state.current = Some((name.clone(), rules.clone()));
                state.closed = false;
            }
            QueueEvent::Closed(QueueClosed {}) => state.closed = true,
        }
    }
}

fn check(queue: QueueId, name: &str, rules: &QueueRules) -> Result<(), QueueRejection> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS {
        return Err(QueueRejection::BadName);
    }
    if !are_skills(&rules.skills) {
        return Err(QueueRejection::BadSkill);
    }
    if rules.priority > MAX_PRIORITY {
        return Err(QueueRejection::BadPriority);
    }
    if rules.accounts.len() > MAX_ACCOUNTS {
        return Err(QueueRejection::TooManyAccounts);
    }
    if rules.fallback.is_some_and(|fallback| fallback.queue == queue) {
        return Err(QueueRejection::FallsBackToItself);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
