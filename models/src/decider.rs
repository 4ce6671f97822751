//! The decider: one subject's rules as two pure functions.
//!
//! **Invariant:** `decide` and `evolve` are total, take no clock and do no IO; the same state and command give the
//! same answer.

use events::DomainEvent;
use events::envelope::{Category, Revision};

/// The rules of one subject (after Jérémie Chassaing, "Functional Event Sourcing Decider", 2021).
pub trait Decider: Send + Sync + 'static {
    /// The category of its streams.
    const CATEGORY: Category;
    /// True when folding needs the personal parts opened.
    const READS_PERSONAL: bool;
    /// What happens.
    type Event: Into<DomainEvent> + TryFrom<DomainEvent> + Clone + Send + Sync;
    /// What is wished.
    type Command: Clone + Send + Sync;
    /// What is known of one stream: the fold of its events.
    type State: Default + Send + Sync;
    /// Why a wish is refused.
    type Rejection: std::error::Error + Send + Sync + 'static;

    /// Answers a command: events to append, none when there is nothing to do (the wish is fulfilled already), or a
    /// rejection.
    ///
    /// # Errors
    /// The subject's rejection.
    fn decide(state: &Self::State, command: Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Folds one event, standing at `revision` of its stream, into the state.
    fn evolve(state: &mut Self::State, event: &Self::Event, revision: Revision);
}
