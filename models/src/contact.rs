//! The decider of contact points: who holds them, and whom they let write.
//!
//! **Invariant:** one open occupancy at most; numbers grow by one and are never used again.

use std::collections::BTreeSet;

use events::contact::{
    ContactAddress, ContactBlocked, ContactEvent, ContactOccupied, ContactUnblocked, ContactVacated, VacatedReason,
};
use events::envelope::{Category, Revision};
use events::ids::{AccountId, ContactId, Occupancy};
use events::seal::{KeySubject, Personal};
use events::values::ContactKind;

use crate::decider::Decider;

/// The rules of contact points.
pub struct ContactDecider;

/// What is known of a contact point.
#[derive(Debug, Default, PartialEq)]
pub struct Contact {
    last: u32,
    open: bool,
    blocked: BTreeSet<AccountId>,
}

impl Contact {
    /// The number of the open occupancy.
    #[must_use]
    pub fn occupancy(&self) -> Option<u32> {
        self.open.then_some(self.last)
    }

    /// True when the customer lets the account write to them.
    #[must_use]
    pub fn admits(&self, account: AccountId) -> bool {
        !self.blocked.contains(&account)
    }
}

/// A wish about a contact point.
#[derive(Debug, Clone, PartialEq)]
pub enum ContactCommand {
    /// Open an occupancy unless one is open.
    Occupy {
        /// The contact point itself, to seal its address for the right person.
        contact: ContactId,
        /// What kind of contact point it is.
        kind: ContactKind,
        /// The account through which it was seen.
        account: AccountId,
        /// Its address.
        address: ContactAddress,
    },
    /// Close the open occupancy.
    Vacate {
        /// Its number: nothing happens to a later one.
        occupancy: u32,
        /// Why.
        reason: VacatedReason,
    },
    /// Note that the customer blocked the account.
    Block {
        /// The account.
        account: AccountId,
    },
    /// Note that the customer unblocked the account.
    Unblock {
        /// The account.
        account: AccountId,
    },
}

/// Why a wish about a contact point is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContactRejection {
    /// Nobody holds the contact point, or never did under that number.
    #[error("contact point has no such occupancy")]
    NotOccupied,
}

impl Decider for ContactDecider {
    const CATEGORY: Category = Category::Contact;
    const READS_PERSONAL: bool = false;
    type Event = ContactEvent;
    type Command = ContactCommand;
    type State = Contact;
    type Rejection = ContactRejection;

    fn decide(state: &Contact, command: ContactCommand) -> Result<Vec<ContactEvent>, ContactRejection> {
        let open = state.occupancy();
        Ok(match command {
            ContactCommand::Occupy { .. } if open.is_some() => vec![],
            ContactCommand::Occupy { contact, kind, account, address } => {
                let number = state.last + 1;
                let subject = KeySubject::Occupancy(Occupancy { contact, number });
                let address = Personal::new(subject, address);
                vec![ContactOccupied { occupancy: number, kind, account, address }.into()]
            }
            ContactCommand::Vacate { occupancy, reason } => match open {
                Some(number) if number == occupancy => vec![ContactVacated { occupancy, reason }.into()],
                Some(_) | None if (1..=state.last).contains(&occupancy) => vec![],
                Some(_) | None => return Err(ContactRejection::NotOccupied),
            },
            ContactCommand::Block { account } => {
                let occupancy = open.ok_or(ContactRejection::NotOccupied)?;
                if state.admits(account) { vec![ContactBlocked { occupancy, account }.into()] } else { vec![] }
            }
            ContactCommand::Unblock { account } => {
                let occupancy = open.ok_or(ContactRejection::NotOccupied)?;
                if state.admits(account) { vec![] } else { vec![ContactUnblocked { occupancy, account }.into()] }
            }
        })
    }

    fn evolve(state: &mut Contact, event: &ContactEvent, _revision: Revision) {
        match event {
            ContactEvent::Occupied(occupied) => {
                state.last = occupied.occupancy;
                state.open = true;
                state.blocked.clear();
            }
            ContactEvent::Vacated(_) => state.open = false,
            ContactEvent::Blocked(blocked) => {
                state.blocked.insert(blocked.account);
            }
            ContactEvent::Unblocked(unblocked) => {
                state.blocked.remove(&unblocked.account);
            }
        }
    }
}

#[cfg(test)]
mod tests;
