//! The decider of operators: who may be given what.
//!
//! **Invariant:** the policy gives a conversation only to an operator who is available and has room, in all and in its
//! channel, by this stream alone; two that decide at once cannot both take the last place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use events::envelope::{Category, Revision};
use events::ids::ConversationId;
use events::operator::{
    Abilities, ConversationReleased, ConversationTaken, OperatorChanged, OperatorEvent, OperatorRegistered, Presence,
    PresenceChanged, PresenceReason, ReleaseReason, TakenBy,
};
use events::values::Channel;

use crate::decider::Decider;

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 100;
/// Longest skill, in characters.
pub const MAX_SKILL_CHARS: usize = 64;
/// Most skills of an operator or a queue.
pub const MAX_SKILLS: usize = 64;
/// Most conversations that an operator may have room for.
pub const MAX_ROOM: u32 = 1_000;

/// The rules of operators.
pub struct OperatorDecider;

/// What is known of an operator.
#[derive(Debug, PartialEq)]
pub struct Operator {
    registered: Option<(Arc<str>, String, Abilities)>,
    presence: Presence,
    held: BTreeMap<ConversationId, Channel>,
}

impl Default for Operator {
    fn default() -> Self {
        Self { registered: None, presence: Presence::Absent, held: BTreeMap::new() }
    }
}

impl Operator {
    /// What they can do, once they are registered.
    #[must_use]
    pub fn abilities(&self) -> Option<&Abilities> {
        self.registered.as_ref().map(|(_, _, abilities)| abilities)
    }

    /// Whether they are there.
    #[must_use]
    pub const fn presence(&self) -> Presence {
        self.presence
    }

    /// What they work on.
    pub fn held(&self) -> impl Iterator<Item = ConversationId> + '_ {
        self.held.keys().copied()
    }

    /// True when one more conversation of the channel is within their room.
    #[must_use]
    pub fn has_room(&self, channel: Channel) -> bool {
        let Some(abilities) = self.abilities() else { return false };
        let within = |held: usize, room: u32| u32::try_from(held).is_ok_and(|held| held < room);
        let of_channel = || self.held.values().filter(|held| **held == channel).count();
        within(self.held.len(), abilities.room)
            && abilities.room_of_channel.get(&channel).is_none_or(|room| within(of_channel(), *room))
    }
}

/// A wish about an operator.
#[derive(Debug, Clone, PartialEq)]
pub enum OperatorCommand {
    /// Let them be given conversations.
    Register {
        /// Who, as in their token.
        operator: Arc<str>,
        /// What they are called at the desk.
        name: String,
        /// What they can do.
        abilities: Abilities,
    },
    /// Replace name and abilities.
    Change {
        /// What they are called from here on.
        name: String,
        /// What they can do from here on.
        abilities: Abilities,
    },
    /// Note whether they are there.
    SetPresence {
        /// What they are.
        presence: Presence,
        /// How it is known.
        reason: PresenceReason,
    },
    /// Give them a conversation.
    Take {
        /// Which one.
        conversation: ConversationId,
        /// The channel it is held through.
        channel: Channel,
        /// How it comes to them.
        by: TakenBy,
    },
    /// Take one from them.
    Release {
        /// Which one.
        conversation: ConversationId,
        /// Why.
        reason: ReleaseReason,
    },
}

/// Why a wish about an operator is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OperatorRejection {
    /// They are not registered.
    #[error("operator is not registered")]
    NotRegistered,
    /// They are registered with other abilities.
    #[error("operator is registered already: change them")]
    AlreadyRegistered,
    /// The name is empty or too long.
    #[error("operator name must have 1 to {MAX_NAME_CHARS} characters")]
    BadName,
    /// A skill is empty or too long, or there are too many.
    #[error("skills must have 1 to {MAX_SKILL_CHARS} characters, {MAX_SKILLS} at most")]
    BadSkill,
    /// A language is no code.
    #[error("languages must be ISO 639-1 codes, as ru and en, one at least")]
    BadLanguage,
    /// The room is too large.
    #[error("an operator has room for {MAX_ROOM} conversations at most")]
    BadRoom,
    /// They take no conversations now.
    #[error("operator is not available")]
    NotAvailable,
    /// They have no room for one more.
    #[error("operator has no room for one more conversation")]
    Full,
}

impl Decider for OperatorDecider {
    const CATEGORY: Category = Category::Operator;
    const READS_PERSONAL: bool = false;
    type Event = OperatorEvent;
    type Command = OperatorCommand;
    type State = Operator;
    type Rejection = OperatorRejection;

    fn decide(state: &Operator, command: OperatorCommand) -> Result<Vec<OperatorEvent>, OperatorRejection> {
        let registered = state.registered.as_ref();
        Ok(match command {
            OperatorCommand::Register { operator, name, abilities } => match registered {
                Some(same) if *same == (Arc::clone(&operator), name.clone(), abilities.clone()) => vec![],
                Some(_) => return Err(OperatorRejection::AlreadyRegistered),
                None => {
                    check(&name, &abilities)?;
                    vec![OperatorRegistered { operator, name, abilities }.into()]
                }
            },
            _ if registered.is_none() => return Err(OperatorRejection::NotRegistered),
            OperatorCommand::Change { name, abilities } => {
                check(&name, &abilities)?;
                let same = registered.is_some_and(|(_, known, can)| (known, can) == (&name, &abilities));
                if same { vec![] } else { vec![OperatorChanged { name, abilities }.into()] }
            }
            OperatorCommand::SetPresence { presence, .. } if presence == state.presence => vec![],
            OperatorCommand::SetPresence { presence, reason } => vec![PresenceChanged { presence, reason }.into()],
            // Also of what they hold: an operator who left keeps nothing that was about to be given to them.
            OperatorCommand::Take { by: TakenBy::Policy, .. } if state.presence != Presence::Available => {
                return Err(OperatorRejection::NotAvailable);
            }
            OperatorCommand::Take { conversation, .. } if state.held.contains_key(&conversation) => vec![],
            OperatorCommand::Take { by: TakenBy::Policy, channel, .. } if !state.has_room(channel) => {
                return Err(OperatorRejection::Full);
            }
            OperatorCommand::Take { conversation, channel, by } => {
                vec![ConversationTaken { conversation, channel, by }.into()]
            }
            OperatorCommand::Release { conversation, .. } if !state.held.contains_key(&conversation) => vec![],
            OperatorCommand::Release { conversation, reason } => {
                vec![ConversationReleased { conversation, reason }.into()]
            }
        })
    }

    fn evolve(state: &mut Operator, event: &OperatorEvent, _revision: Revision) {
        match event {
            OperatorEvent::Registered(OperatorRegistered { operator, name, abilities }) => {
                state.registered = Some((Arc::clone(operator), name.clone(), abilities.clone()));
            }
            OperatorEvent::Changed(OperatorChanged { name, abilities }) => {
                if let Some((_, known, can)) = &mut state.registered {
                    (*known, *can) = (name.clone(), abilities.clone());
                }
            }
            OperatorEvent::PresenceChanged(changed) => state.presence = changed.presence,
            OperatorEvent::ConversationTaken(taken) => {
                state.held.insert(taken.conversation, taken.channel);
            }
            OperatorEvent::ConversationReleased(released) => {
                state.held.remove(&released.conversation);
            }
        }
    }
}

fn check(name: &str, abilities: &Abilities) -> Result<(), OperatorRejection> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS {
        return Err(OperatorRejection::BadName);
    }
    if !are_skills(&abilities.skills) {
        return Err(OperatorRejection::BadSkill);
    }
    if abilities.languages.is_empty() || !abilities.languages.iter().all(|code| is_language(code)) {
        return Err(OperatorRejection::BadLanguage);
    }
    let rooms = abilities.room_of_channel.values().chain([&abilities.room]);
    if rooms.into_iter().any(|room| *room > MAX_ROOM) {
        return Err(OperatorRejection::BadRoom);
    }
    Ok(())
}

/// True for the form of an ISO 639-1 code.
pub(crate) fn is_language(code: &str) -> bool {
    code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// True for skills that can be written down.
pub(crate) fn are_skills(skills: &BTreeSet<Arc<str>>) -> bool {
    let good = |skill: &Arc<str>| !skill.trim().is_empty() && skill.chars().count() <= MAX_SKILL_CHARS;
    skills.len() <= MAX_SKILLS && skills.iter().all(good)
}

#[cfg(test)]
mod tests;
