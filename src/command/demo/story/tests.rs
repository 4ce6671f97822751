//! The story without a server: the same each time, and all that it promises is in it.
//!
//! **Invariant:** deliveries are read with letopis's own normalisers, none is unrecognised but the one that must be.

use super::super::FEWEST_CUSTOMERS;
use super::*;
use crate::channels::{email, telegram as channel};

fn now() -> DateTime<Utc> {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn told(seed: u64) -> (Vec<Scene>, Expected) {
    let mut story = Story::new(seed, FEWEST_CUSTOMERS, now()).unwrap();
    let scenes = story.first_act();
    (scenes, story.expected().clone())
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let bodies = |seed| told(seed).0.into_iter().flatten().map(|delivery| delivery.body).collect::<Vec<_>>();
    assert_eq!(bodies(5), bodies(5));
    assert_ne!(bodies(5), bodies(6));
}

#[test]
fn all_that_telegram_delivers_is_understood_but_one() {
    let (scenes, expected) = told(5);
    let updates = scenes.iter().flatten().filter(|delivery| delivery.way == Way::Telegram);
    let lost = updates.filter(|update| channel::normalise(&update.body, now()).is_err()).count();
    assert_eq!(lost, expected.unrecognised);
}

#[test]
fn mails_in_old_charsets_are_read() {
    let own = email::OwnMailbox::new(events::values::EmailAddress::parse("support@example.org").unwrap());
    for seed in 0..4 {
        for delivery in told(seed).0.iter().flatten().filter(|delivery| delivery.way == Way::Email) {
            let read = email::normalise(&delivery.body, &own, now()).unwrap();
            assert_eq!((read.kind.as_str(), read.interactions.len()), ("message", 1));
            let text = format!("{:?}", read.interactions[0].what);
            assert!(!text.contains('\u{FFFD}'), "{text}");
        }
    }
}

#[test]
fn the_smallest_story_has_everything_in_it() {
    let (_, expected) = told(5);
    let counts = [
        expected.edits,
        expected.reactions,
        expected.activities,
        expected.files,
        expected.refused,
        expected.waiting,
        expected.linked,
        expected.unrecognised,
    ];
    assert!(counts.iter().all(|count| *count > 0), "{expected:?}");
    assert!(expected.inbound > FEWEST_CUSTOMERS);
}
