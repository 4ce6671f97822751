//! Which waiting conversation goes to which operator.
//!
//! **Invariant:** nobody is given a conversation who is not among the candidates, who lacks a skill or the language, or
//! who has no room; of conversations that the same operators could take, the one of higher priority goes first, then the
//! older one. Waiting raises the priority, so that urgent ones never keep the others out for good.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use events::ids::ConversationId;
use events::values::Channel;

/// The highest priority of a conversation; 0 is the lowest.
pub const MAX_PRIORITY: u8 = 9;

/// After each such time of waiting a conversation counts as one priority higher, also beyond [`MAX_PRIORITY`]: the lowest
/// overtakes whatever comes later after ten of them.
pub const AGES_EVERY: Duration = Duration::minutes(10);

/// A conversation that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which one.
    pub conversation: ConversationId,
    /// The channel it is held through.
    pub channel: Channel,
    /// 0 to [`MAX_PRIORITY`].
    pub priority: u8,
    /// Since when it waits.
    pub since: DateTime<Utc>,
    /// What whoever takes it must be able to do.
    pub skills: BTreeSet<Arc<str>>,
    /// The language that whoever takes it must speak, by its ISO 639-1 code.
    pub language: Option<Arc<str>>,
    /// Who worked on it, or on another one of the same customer, last.
    pub last_operator: Option<Arc<str>>,
}

/// An operator who is available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub operator: Arc<str>,
    /// What they can do.
    pub skills: BTreeSet<Arc<str>>,
    /// What they speak, by ISO 639-1 codes.
    pub languages: BTreeSet<Arc<str>>,
    /// How many conversations they work on.
    pub held: u32,
    /// How many more they have room for.
    pub room: u32,
    /// How many more of a channel they have room for, where it has a bound of its own.
    pub room_of_channel: BTreeMap<Channel, u32>,
    /// When they were last given one.
    pub last_given: Option<DateTime<Utc>>,
}

/// Why this operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The customer is theirs already.
    Returning,
    /// They work on the fewest; of those, they have waited longest for one.
    LeastBusy,
}

/// A conversation is to go to an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Which conversation.
    pub conversation: ConversationId,
    /// To whom.
    pub operator: Arc<str>,
    /// Why to them.
    pub reason: Reason,
}

impl Waiting {
    /// What decides who goes first: the priority with what waiting has added, then the age, then the id.
    fn turn(&self, now: DateTime<Utc>) -> (Reverse<i64>, DateTime<Utc>, ConversationId) {
        let waited = (now - self.since).max(Duration::zero());
        let steps = waited.num_seconds() / AGES_EVERY.num_seconds();
        (Reverse(i64::from(self.priority.min(MAX_PRIORITY)) + steps), self.since, self.conversation)
    }
}

impl Candidate {
    fn can_take(&self, waiting: &Waiting) -> bool {
        self.room > 0
            && self.room_of_channel.get(&waiting.channel).is_none_or(|room| *room > 0)
            && waiting.skills.is_subset(&self.skills)
            && waiting.language.as_ref().is_none_or(|language| self.languages.contains(language))
    }

    fn take(&mut self, channel: Channel, now: DateTime<Utc>) {
        self.held += 1;
        self.room -= 1;
        if let Some(room) = self.room_of_channel.get_mut(&channel) {
            *room -= 1;
        }
        self.last_given = Some(now);
    }
}

/// Shares out what waits among those who are available, in the order in which it is to be carried out. Whoever vanishes
/// or fills up meanwhile is refused by their own stream, and what was meant for them waits for the next time.
#[must_use]
pub fn assign(waiting: &[Waiting], mut candidates: Vec<Candidate>, now: DateTime<Utc>) -> Vec<Assignment> {
    let mut turns: Vec<&Waiting> = waiting.iter().collect();
    turns.sort_by_cached_key(|waiting| waiting.turn(now));
    // So that equals are told apart in the same way every time.
    candidates.sort_by(|one, other| one.operator.cmp(&other.operator));
    let mut assignments = Vec::new();
    for waiting in turns {
        if candidates.iter().all(|candidate| candidate.room == 0) {
            break;
        }
        let able = || (0..candidates.len()).filter(|place| candidates[*place].can_take(waiting));
        let own = able().find(|place| waiting.last_operator.as_ref() == Some(&candidates[*place].operator));
        let (place, reason) = match own {
            Some(place) => (Some(place), Reason::Returning),
            None => {
                let busy = |place: &usize| (candidates[*place].held, candidates[*place].last_given);
                (able().min_by_key(busy), Reason::LeastBusy)
            }
        };
        let Some(candidate) = place.and_then(|place| candidates.get_mut(place)) else { continue };
        candidate.take(waiting.channel, now);
        let (conversation, operator) = (waiting.conversation, Arc::clone(&candidate.operator));
        assignments.push(Assignment { conversation, operator, reason });
    }
    assignments
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
