//! The decider of raw deliveries: what became of each, and which may be tried again.
//!
//! The raw delivery itself is appended by the webhook (design invariant 3) and its payload does not name its own
//! event id; so the state speaks of the deliveries that have an outcome, and a re-drive proves by it that the delivery
//! exists.
//!
//! **Invariant:** a delivery that was normalised stays so; only what was not understood or was parked is tried again.

use std::collections::HashMap;

use events::envelope::{Category, Revision};
use events::ids::{ConversationId, EventId, Occupancy};
use events::intake::{IntakeEvent, IntakeNormalised, IntakeParked, IntakeRedriven, IntakeUnrecognised};

use crate::decider::Decider;

/// Longest reason, in characters: what a list can show. Longer ones are cut.
pub const MAX_REASON_CHARS: usize = 200;

/// The rules of raw deliveries.
pub struct IntakeDecider;

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was understood and carried out.
    Normalised,
    /// It was not understood.
    Unrecognised,
    /// Its commands failed again and again.
    Parked,
    /// A person asked for another try, whose outcome is not known yet.
    Redriven,
}

/// What is known of the raw deliveries of one outside conversation.
#[derive(Debug, Default, PartialEq)]
pub struct Intake {
    outcomes: HashMap<EventId, Outcome>,
}

impl Intake {
    /// What became of a delivery; `None` while nothing has, and for what is no delivery of this stream.
    #[must_use]
    pub fn outcome(&self, received: EventId) -> Option<Outcome> {
        self.outcomes.get(&received).copied()
    }
}

/// A wish about a raw delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum IntakeCommand {
    /// Note that a delivery was understood and its commands were carried out.
    Normalise {
        /// The raw delivery.
        received: EventId,
        /// What it was, in the provider's words.
        kind: String,
        /// Everyone whose data is in the raw body.
        persons: Vec<Occupancy>,
        /// The conversation it belongs to, if any.
        conversation: Option<ConversationId>,
    },
    /// Note that a delivery was not understood.
    Unrecognise {
        /// The raw delivery.
        received: EventId,
        /// Why, without anything from the body but names of fields and kinds.
        reason: String,
    },
    /// Put a delivery aside after its tries.
    Park {
        /// The raw delivery.
        received: EventId,
        /// The last error, without personal data.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// Ask for another try.
    Redrive {
        /// The raw delivery.
        received: EventId,
    },
}

/// Why a wish about a raw delivery is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntakeRejection {
    /// It was understood: there is no way back from that.
    #[error("delivery was normalised already")]
    AlreadyNormalised,
    /// It is not known here, or its first outcome is still to come.
    #[error("no unrecognised or parked delivery has this id")]
    NothingToRedrive,
}

impl Decider for IntakeDecider {
    const CATEGORY: Category = Category::Intake;
    const READS_PERSONAL: bool = false;
    type Event = IntakeEvent;
    type Command = IntakeCommand;
    type State = Intake;
    type Rejection = IntakeRejection;

    fn decide(state: &Intake, command: IntakeCommand) -> Result<Vec<IntakeEvent>, IntakeRejection> {
        Ok(match command {
            IntakeCommand::Normalise { received, kind, persons, conversation } => match state.outcome(received) {
                Some(Outcome::Normalised) => vec![],
                None | Some(Outcome::Unrecognised | Outcome::Parked | Outcome::Redriven) => {
                    vec![IntakeNormalised { received, kind, persons, conversation }.into()]
                }
            },
            IntakeCommand::Unrecognise { received, reason } => match state.outcome(received) {
                Some(Outcome::Unrecognised) => vec![],
                Some(Outcome::Normalised) => return Err(IntakeRejection::AlreadyNormalised),
                None | Some(Outcome::Parked | Outcome::Redriven) => {
                    vec![IntakeUnrecognised { received, reason: short(reason) }.into()]
                }
            },
            IntakeCommand::Park { received, reason, attempts } => match state.outcome(received) {
                Some(Outcome::Parked) => vec![],
                Some(Outcome::Normalised) => return Err(IntakeRejection::AlreadyNormalised),
                None | Some(Outcome::Unrecognised | Outcome::Redriven) => {
                    vec![IntakeParked { received, reason: short(reason), attempts }.into()]
                }
            },
            IntakeCommand::Redrive { received } => match state.outcome(received) {
                Some(Outcome::Redriven) => vec![],
                Some(Outcome::Unrecognised | Outcome::Parked) => vec![IntakeRedriven { received }.into()],
                Some(Outcome::Normalised) => return Err(IntakeRejection::AlreadyNormalised),
                None => return Err(IntakeRejection::NothingToRedrive),
            },
        })
    }

    fn evolve(state: &mut Intake, event: &IntakeEvent, _revision: Revision) {
        let (received, outcome) = match event {
            IntakeEvent::Received(_) => return,
            IntakeEvent::Normalised(normalised) => (normalised.received, Outcome::Normalised),
            IntakeEvent::Unrecognised(unrecognised) => (unrecognised.received, Outcome::Unrecognised),
            IntakeEvent::Parked(parked) => (parked.received, Outcome::Parked),
            IntakeEvent::Redriven(redriven) => (redriven.received, Outcome::Redriven),
        };
        state.outcomes.insert(received, outcome);
    }
}

fn short(reason: String) -> String {
    if reason.chars().count() <= MAX_REASON_CHARS { reason } else { reason.chars().take(MAX_REASON_CHARS).collect() }
}

#[cfg(test)]
mod tests;
