//! Contact points and who held them when.
//!
//! **Invariant:** a contact point has one open occupancy at most; keys, links and profiles belong to an occupancy,
//! never to the contact point (design invariant 5).

use serde::{Deserialize, Serialize};

use crate::ids::AccountId;
use crate::seal::{Personal, personal_json};
use crate::values::ContactKind;
use crate::vocabulary::vocabulary;

vocabulary! {
    /// What happens to a contact point.
    ContactEvent {
        /// A person holds the contact point from here on.
        Occupied(ContactOccupied) = "contact.occupied", 1, sealed address;
        /// That person does not hold it any more.
        Vacated(ContactVacated) = "contact.vacated", 1;
        /// The customer stopped an account from writing to them.
        Blocked(ContactBlocked) = "contact.blocked", 1;
        /// The customer lets the account write to them again.
        Unblocked(ContactUnblocked) = "contact.unblocked", 1;
    }
}

/// An occupancy opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContactOccupied {
    /// Number of the occupancy, from 1.
    pub occupancy: u32,
    /// What kind of contact point it is.
    pub kind: ContactKind,
    /// The account through which it was first seen.
    pub account: AccountId,
    /// The address.
    pub address: Personal<ContactAddress>,
}

/// The address of a contact point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactAddress {
    /// The form that its id is derived from: E.164, a lower-case mail address, a provider's user id.
    pub normalised: String,
    /// The form in which the customer or the provider wrote it.
    pub source_form: String,
}

personal_json!(ContactAddress);

/// An occupancy closes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContactVacated {
    /// Number of the occupancy.
    pub occupancy: u32,
    /// Why.
    pub reason: VacatedReason,
}

/// Why an occupancy closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VacatedReason {
    /// An operator found that the contact point passed to another person.
    Reassigned,
    /// The person was erased.
    Erased,
}

/// The customer blocked an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContactBlocked {
    /// Number of the occupancy.
    pub occupancy: u32,
    /// The account that may not write any more.
    pub account: AccountId,
}

/// The customer unblocked an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContactUnblocked {
    /// Number of the occupancy.
    pub occupancy: u32,
    /// The account that may write again.
    pub account: AccountId,
}
