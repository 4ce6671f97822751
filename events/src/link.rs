//! Links between occupancies: which contact points belong to the same person.
//!
//! **Invariant:** a link is a stream of its own per pair, so that linking and unlinking lose nothing; a profile is
//! the connected component of active links (design invariant 5).

use serde::{Deserialize, Serialize};

use crate::ids::Occupancy;
use crate::vocabulary::vocabulary;

vocabulary! {
    /// What happens to a pair of occupancies.
    LinkEvent {
        /// Both belong to the same person.
        Linked(OccupanciesLinked) = "link.linked", 1;
        /// They do not, or it is not known any more.
        Unlinked(OccupanciesUnlinked) = "link.unlinked", 1;
    }
}

/// Both occupancies belong to the same person. `one` is the lesser of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OccupanciesLinked {
    /// One side.
    pub one: Occupancy,
    /// The other side.
    pub other: Occupancy,
    /// Why this is believed.
    pub basis: LinkBasis,
}

/// Why two occupancies are believed to be the same person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkBasis {
    /// An operator says so.
    Operator,
    /// The customer shared the other contact point in a message of their own.
    SharedByCustomer,
    /// The host site vouched for it in a signed visitor identity.
    SignedIdentity,
}

/// The link is taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OccupanciesUnlinked {
    /// One side.
    pub one: Occupancy,
    /// The other side.
    pub other: Occupancy,
    /// Why, as a short code: `operator`, `mistake`.
    pub reason: String,
}
