//! Given events, when a command, then events: how the rules of a decider are told in tests.
//!
//! **Invariant:** uses the decider alone; no log, no codec.

use std::fmt::Debug;
use std::marker::PhantomData;

use events::envelope::Revision;

use crate::decider::Decider;

/// The history that a test starts from.
pub(crate) struct Given<D: Decider> {
    state: D::State,
    next: u64,
    decider: PhantomData<D>,
}

/// The answer to the command.
pub(crate) struct Answer<D: Decider>(Result<Vec<D::Event>, D::Rejection>);

/// Starts from these events.
pub(crate) fn given<D: Decider>(history: impl IntoIterator<Item = D::Event>) -> Given<D> {
    let mut given = Given { state: D::State::default(), next: 0, decider: PhantomData };
    for event in history {
        given.take(&event);
    }
    given
}

impl<D: Decider> Given<D> {
    fn take(&mut self, event: &D::Event) {
        D::evolve(&mut self.state, event, Revision(self.next));
        self.next += 1;
    }

    /// Carries out a command that must be accepted, and goes on from its events.
    #[track_caller]
    pub(crate) fn and(mut self, command: D::Command) -> Self {
        let events = D::decide(&self.state, command).expect("a step of the history is accepted");
        for event in &events {
            self.take(event);
        }
        self
    }

    /// Asks the decider.
    pub(crate) fn when(self, command: D::Command) -> Answer<D> {
        Answer(D::decide(&self.state, command))
    }

    /// The folded state.
    pub(crate) fn state(&self) -> &D::State {
        &self.state
    }
}

impl<D: Decider> Answer<D>
where
    D::Event: PartialEq + Debug,
    D::Rejection: PartialEq,
{
    /// The command acts: these events.
    #[track_caller]
    pub(crate) fn then(self, expected: impl IntoIterator<Item = D::Event>) {
        let events = self.0.expect("the command is accepted");
        assert_eq!(events, expected.into_iter().collect::<Vec<_>>());
    }

    /// The command stays quiet.
    #[track_caller]
    pub(crate) fn then_nothing(self) {
        self.then([]);
    }

    /// The command is refused.
    #[track_caller]
    pub(crate) fn then_rejected(self, expected: &D::Rejection) {
        match self.0 {
            Ok(events) => panic!("accepted with {events:?}"),
            Err(rejection) => assert_eq!(&rejection, expected),
        }
    }

    /// The type names of the events: for tests that care for what happens, not for every field.
    #[track_caller]
    pub(crate) fn then_types(self, expected: &[&str]) {
        let events = self.0.expect("the command is accepted");
        let types: Vec<&str> = events.into_iter().map(|event| event.into().event_type()).collect();
        assert_eq!(types, expected);
    }
}
