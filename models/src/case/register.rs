//! The register of a tenant's cases: one number each.
//!
//! **Invariant:** the number of a case is the place of its event in the register, so that two opened at once have
//! different ones. A number whose case was never opened stays unused.

use events::case::{CaseNumbered, CaseRegisterEvent};
use events::envelope::{Category, Revision};
use events::ids::CaseId;

use crate::decider::Decider;

/// The rules of registers.
pub struct CaseRegisterDecider;

/// What is known of a register.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CaseRegister {
    last: u64,
}

impl CaseRegister {
    /// The highest number given out; 0 before the first.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }
}

/// A wish about a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseRegisterCommand {
    /// Give the next number to a case.
    Number {
        /// Which.
        case: CaseId,
    },
}

/// A register refuses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CaseRegisterRejection {}

impl Decider for CaseRegisterDecider {
    const CATEGORY: Category = Category::CaseRegister;
    const READS_PERSONAL: bool = false;
    type Event = CaseRegisterEvent;
    type Command = CaseRegisterCommand;
    type State = CaseRegister;
    type Rejection = CaseRegisterRejection;

    fn decide(_: &CaseRegister, command: CaseRegisterCommand) -> Result<Vec<CaseRegisterEvent>, CaseRegisterRejection> {
        let CaseRegisterCommand::Number { case } = command;
        Ok(vec![CaseNumbered { case }.into()])
    }

    fn evolve(state: &mut CaseRegister, event: &CaseRegisterEvent, revision: Revision) {
        let CaseRegisterEvent::Numbered(CaseNumbered { case: _ }) = event;
        state.last = revision.0 + 1;
    }
}
