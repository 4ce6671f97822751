//! The decider of links between occupancies.
//!
//! **Invariant:** a pair is linked or not; linking and unlinking may follow each other any number of times and each
//! leaves its event.

use events::envelope::{Category, Revision};
use events::ids::Occupancy;
use events::link::{LinkBasis, LinkEvent, OccupanciesLinked, OccupanciesUnlinked};

use crate::decider::Decider;

/// The rules of links.
pub struct LinkDecider;

/// What is known of a pair.
#[derive(Debug, Default, PartialEq)]
pub struct Link {
    linked: bool,
}

/// A wish about a pair of occupancies.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkCommand {
    /// Both belong to the same person.
    Link {
        /// One side.
        one: Occupancy,
        /// The other side.
        other: Occupancy,
        /// Why this is believed.
        basis: LinkBasis,
    },
    /// They do not.
    Unlink {
        /// One side.
        one: Occupancy,
        /// The other side.
        other: Occupancy,
        /// Why, as a short code.
        reason: String,
    },
}

/// Why a wish about a pair is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkRejection {
    /// Both sides are the same.
    #[error("an occupancy cannot be linked with itself")]
    SameOccupancy,
    /// The pair is not linked.
    #[error("these occupancies are not linked")]
    NotLinked,
}

impl Decider for LinkDecider {
    const CATEGORY: Category = Category::Link;
    const READS_PERSONAL: bool = false;
    type Event = LinkEvent;
    type Command = LinkCommand;
    type State = Link;
    type Rejection = LinkRejection;

    fn decide(state: &Link, command: LinkCommand) -> Result<Vec<LinkEvent>, LinkRejection> {
        Ok(match command {
            LinkCommand::Link { one, other, .. } if one == other => return Err(LinkRejection::SameOccupancy),
            LinkCommand::Link { .. } if state.linked => vec![],
            LinkCommand::Link { one, other, basis } => {
                let (one, other) = (one.min(other), one.max(other));
                vec![OccupanciesLinked { one, other, basis }.into()]
            }
            LinkCommand::Unlink { .. } if !state.linked => return Err(LinkRejection::NotLinked),
            LinkCommand::Unlink { one, other, reason } => {
                let (one, other) = (one.min(other), one.max(other));
                vec![OccupanciesUnlinked { one, other, reason }.into()]
            }
        })
    }

    fn evolve(state: &mut Link, event: &LinkEvent, _revision: Revision) {
        match event {
            LinkEvent::Linked(_) => state.linked = true,
            LinkEvent::Unlinked(_) => state.linked = false,
        }
    }
}

#[cfg(test)]
mod tests;
