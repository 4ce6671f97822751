//! What every adapter of [`CheckpointStore`] must do, clause by clause.
//!
//! **Invariant:** a clause uses the port only, so that the same text holds for every adapter.
#![expect(clippy::missing_panics_doc, reason = "a clause panics when the adapter breaks it: that is its use")]

use std::any::Any;
use std::sync::Arc;

use crate::checkpoints::CheckpointStore;
use crate::envelope::Position;
use crate::feed::{Checkpoint, Checkpoints, Part};

/// A store, and what must live as long as it does.
pub type StoreUnderTest = (Arc<dyn CheckpointStore>, Box<dyn Any + Send>);

fn of(part: &str, offset: u64, position: u64) -> Checkpoints {
    Checkpoint { part: Part::named(part), offset, position: Position(position) }.into()
}

/// Before anything is stored, the start.
pub async fn what_was_never_stored_is_the_start((store, _keep): StoreUnderTest) {
    assert_eq!(store.load("nobody").await, Ok(Checkpoints::start()));
}

/// What is stored is what is loaded, for each consumer its own.
pub async fn each_consumer_has_its_own((store, _keep): StoreUnderTest) {
    store.store("one", &Checkpoints::of_position(Position(1_234_567))).await.expect("stored");
    store.store("two", &Checkpoints::of_position(Position(7))).await.expect("stored");
    assert_eq!(store.load("one").await, Ok(Checkpoints::of_position(Position(1_234_567))));
    assert_eq!(store.load("two").await, Ok(Checkpoints::of_position(Position(7))));
}

/// Parts are stored one by one, and none goes back: two processes may store theirs in any order.
pub async fn parts_are_kept_apart_and_never_go_back((store, _keep): StoreUnderTest) {
    store.store("parts", &of("a/0", 10, 100)).await.expect("stored");
    store.store("parts", &of("a/1", 5, 50)).await.expect("stored");
    store.store("parts", &of("a/0", 8, 80)).await.expect("stored");
    let mut both = of("a/0", 10, 100);
    both.merge(&of("a/1", 5, 50));
    assert_eq!(store.load("parts").await, Ok(both));
}
