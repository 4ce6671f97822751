//! The embedded log agrees with the log in memory on any sequence of appends, reads and restarts.

use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::envelope::Category;
use crate::testing::{MemoryLog, event_with_id};

/// Few streams, ids and contents, so that conflicts and repetitions are frequent.
#[derive(Debug, Clone)]
enum Step {
    Append { stream: u8, expected: ExpectedRevision, events: Vec<(u8, bool)> },
    ReadStream { stream: u8, from: Option<u64>, direction: Direction, limit: usize },
    ReadAll { after: u64, categories: Vec<Category>, limit: usize },
    Find(u8),
    PositionAt(i64),
    Tick(i64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let expected = prop_oneof![
        2 => Just(ExpectedRevision::Any),
        1 => Just(ExpectedRevision::NoStream),
        3 => (0..6u64).prop_map(|revision| ExpectedRevision::Exact(Revision(revision))),
    ];
    // Mostly fresh ids: 40 of them, each with a usual and an unusual content.
    let events = vec((0..40u8, prop::bool::weighted(0.1)), 0..4);
    let direction = prop_oneof![Just(Direction::Forwards), Just(Direction::Backwards)];
    let categories = prop::sample::subsequence(Category::ALL.to_vec(), 0..3);
    let step = prop_oneof![
        12 => (0..4u8, expected, events).prop_map(|(stream, expected, events)| Step::Append { stream, expected, events }),
        3 => (0..5u8, prop::option::of(0..8u64), direction, 0..6usize)
            .prop_map(|(stream, from, direction, limit)| Step::ReadStream { stream, from, direction, limit }),
        3 => (0..30u64, categories, 0..10usize)
            .prop_map(|(after, categories, limit)| Step::ReadAll { after, categories, limit }),
        1 => (0..40u8).prop_map(Step::Find),
        2 => (-50..50i64).prop_map(Step::PositionAt),
        2 => (-5..20i64).prop_map(Step::Tick),
        1 => Just(Step::Reopen),
    ];
    vec(step, 1..60)
}

fn stream(number: u8) -> StreamName {
    let category = Category::ALL[usize::from(number) % Category::ALL.len()];
    StreamName::new(category, "acme".parse().unwrap(), Uuid::from_u128(u128::from(number / 2)))
}

fn event((id, unusual): (u8, bool)) -> NewEvent {
    event_with_id(EventId::new(Uuid::from_u128(u128::from(id))), if unusual { "unusual" } else { "usual" })
}

async fn agree(steps: Vec<Step>) {
    let (folder, clock) = (folder(), clock());
    let model = MemoryLog::new(clock.clone());
    // What is compared does not depend on syncs, and without them many more cases fit in the same time.
    let config = EmbeddedLogConfig { durability: Durability::Unsafe, readers: 1, ..config(&folder) };
    let mut log = EmbeddedLog::open(config.clone(), clock.clone()).unwrap();
    for step in steps {
        match step {
            Step::Append { stream: number, expected, events } => {
                let (stream, events) = (stream(number), events.into_iter().map(event).collect::<Vec<_>>());
                let made = log.append(&stream, expected, events.clone()).await;
                assert_eq!(made, model.append(&stream, expected, events).await);
            }
            Step::ReadStream { stream: number, from, direction, limit } => {
                let (stream, from) = (stream(number), from.map(Revision));
                let read = log.read_stream(&stream, from, direction, limit).await;
                assert_eq!(read, model.read_stream(&stream, from, direction, limit).await);
            }
            Step::ReadAll { after, categories, limit } => {
                let filter = Filter { categories };
                let read = log.read_all(Position(after), &filter, limit).await;
                assert_eq!(read, model.read_all(Position(after), &filter, limit).await);
            }
            Step::Find(id) => {
                let id = event((id, false)).id;
                assert_eq!(log.find(id).await, model.find(id).await);
            }
            Step::PositionAt(offset) => {
                let time = clock.now() + chrono::Duration::microseconds(offset);
                assert_eq!(log.position_at(time).await, model.position_at(time).await);
            }
            Step::Tick(step) => clock.advance(chrono::Duration::microseconds(step)),
            Step::Reopen => {
                log.close().await;
                log = EmbeddedLog::open(config.clone(), clock.clone()).unwrap();
            }
        }
        assert_eq!(log.head().await, model.head().await);
    }
    let other_process = EmbeddedLog::open_read_only(config).unwrap();
    for number in 0..=u8::MAX {
        let id = event((number, false)).id;
        assert_eq!(log.find(id).await, model.find(id).await);
        assert_eq!(other_process.find(id).await, model.find(id).await);
    }
    let all = log.read_all(Position::START, &Filter::default(), usize::MAX).await;
    assert_eq!(all, model.read_all(Position::START, &Filter::default(), usize::MAX).await);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_embedded_log_agrees_with_the_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(agree(steps));
    }
}
