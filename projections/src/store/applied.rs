//! How far consumers have come, for whoever waits for it.
//!
//! **Invariant:** what is published never goes back, whichever process said it and however late.

use events::feed::Checkpoints;
use tokio::sync::watch;

/// A publisher per consumer.
#[derive(Debug, Default)]
pub(super) struct Publishers(parking_lot::Mutex<Vec<(String, watch::Sender<Checkpoints>)>>);

impl Publishers {
    /// Publishers of what a store holds already.
    pub(super) fn new(applied: Vec<(String, Checkpoints)>) -> Self {
        Self(applied.into_iter().map(|(name, at)| (name, watch::Sender::new(at))).collect::<Vec<_>>().into())
    }

    /// A consumer has come so far. Nobody is woken when that was known.
    pub(super) fn publish(&self, consumer: &str, checkpoints: &Checkpoints) {
        self.with(consumer, |publisher| {
            publisher.send_if_modified(|at| {
                let before = at.clone();
                at.merge(checkpoints);
                *at != before
            });
        });
    }

    /// Hears how far a consumer has come.
    pub(super) fn subscribe(&self, consumer: &str) -> watch::Receiver<Checkpoints> {
        self.with(consumer, watch::Sender::subscribe)
    }

    fn with<T>(&self, consumer: &str, act: impl FnOnce(&watch::Sender<Checkpoints>) -> T) -> T {
        let mut applied = self.0.lock();
        let index = applied.iter().position(|(name, _)| name == consumer).unwrap_or_else(|| {
            applied.push((consumer.to_owned(), watch::Sender::new(Checkpoints::start())));
            applied.len() - 1
        });
        act(&applied[index].1)
    }
}
