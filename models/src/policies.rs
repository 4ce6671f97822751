//! Policies: from what is known to what is wished, without a clock or a log.
//!
//! **Invariant:** pure; a policy proposes, the decider of each stream disposes.

pub mod routing;
