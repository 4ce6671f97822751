//! The decisions of groups against the plainest log.
//!
//! **Invariant:** a group sees of the table only what the writer asks for.

use std::sync::Arc;

use futures::FutureExt;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;
use crate::clock::FixedClock;
use crate::envelope::NewEvent;
use crate::log::EventLog;
use crate::testing::{MemoryLog, event_with_id, fresh_tenant, sample_time};

/// An append among few streams, ids and contents, so that repetitions, conflicts and taken ids are common.
#[derive(Debug, Clone)]
struct Wanted {
    stream: u8,
    expected: ExpectedRevision,
    /// Id, content and type.
    events: Vec<(u8, bool, bool)>,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let expected = prop_oneof![
        4 => Just(ExpectedRevision::Any),
        1 => Just(ExpectedRevision::NoStream),
        2 => (0..6_u64).prop_map(|revision| ExpectedRevision::Exact(Revision(revision))),
    ];
    let event = (0..12_u8, prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (0..3_u8, expected, proptest::collection::vec(event, 1..4)).prop_map(|(stream, expected, mut events)| {
        events.sort_unstable();
        events.dedup_by_key(|event| event.0);
        Wanted { stream, expected, events }
    })
}

fn new_event((id, other_content, other_type): (u8, bool, bool)) -> NewEvent {
    let id = EventId::new(uuid::Uuid::from_u128(u128::from(id) + 1));
    let mut event = event_with_id(id, if other_content { "other" } else { "same" });
    if other_type {
        event.event_type = "conversation.other".into();
    }
    event
}

/// A log of groups: what [`Held`] decides, kept as the table would keep it.
#[derive(Default)]
struct Table {
    all: Held,
}

impl Table {
    /// What the writer's questions would find for a group: no more than it asks for.
    fn held_for(&self, group: &[Request]) -> Held {
        let mut held = Held { head: self.all.head, ..Held::default() };
        for request in group {
            let stream = &request.append.stream;
            held.ends.extend(self.all.ends.get(stream).map(|end| (stream.clone(), *end)));
            for event in &request.append.events {
                held.ids.extend(self.all.ids.get(&event.id).map(|found| (event.id, found.clone())));
            }
        }
        held
    }

    fn append(&mut self, group: &[Request]) -> Vec<Answer> {
        let mut held = self.held_for(group);
        let (answers, rows) = held.decide(group);
        let made = rows.position.len() as u64;
        let positions: Vec<i64> = (1..=made).map(|n| (self.all.head.0 + n).cast_signed()).collect();
        assert_eq!(rows.position, positions, "dense, in order");
        assert_eq!(
            [rows.payload.len(), rows.digest.len(), rows.metadata.len(), rows.tenant.len()],
            [rows.position.len(); 4]
        );
        self.all.head = held.head;
        self.all.ends.extend(held.ends);
        self.all.ids.extend(held.ids);
        answers
    }
}

proptest! {
    #[test]
    fn groups_of_any_size_answer_as_the_plainest_log_does_one_by_one(
        appends in proptest::collection::vec(wanted(), 1..40),
        sizes in proptest::collection::vec(1..9_usize, 40),
    ) {
        let tenant = fresh_tenant();
        let stream = |number: u8| {
            let id = uuid::Uuid::from_u128(number.into());
            StreamName::new(crate::envelope::Category::Conversation, tenant.clone(), id)
        };
        let model = MemoryLog::new(Arc::new(FixedClock::new(sample_time())));
        let mut table = Table::default();
        let mut rest = appends.as_slice();
        for size in sizes {
            let (group, others) = rest.split_at(size.min(rest.len()));
            rest = others;
            let requests: Vec<Request> = group
                .iter()
                .map(|wanted| {
                    let events = wanted.events.iter().copied().map(new_event).collect();
                    let append = AppendRequest { stream: stream(wanted.stream), expected: wanted.expected, events };
                    Request::new(append, oneshot::channel().0).unwrap()
                })
                .collect();
            let answers = table.append(&requests);
            for (request, answer) in requests.into_iter().zip(answers) {
                let AppendRequest { stream, expected, events } = request.append;
                let plain = model.append(&stream, expected, events).now_or_never().expect("memory is ready at once");
                prop_assert_eq!(answer, plain);
            }
        }
    }
}

#[test]
fn an_imported_event_without_a_digest_is_recognised_by_id_stream_and_type() {
    let stream = crate::testing::fresh_stream(&fresh_tenant());
    let event = new_event((1, false, false));
    let found = Found {
        stream: stream.clone(),
        position: Position(70),
        revision: Revision(3),
        event_type: Arc::clone(&event.event_type),
        digest: None,
    };
    for (other_type, recognised) in [(false, true), (true, false)] {
        let mut held = Held::default();
        held.ids.insert(event.id, found.clone());
        let events = vec![new_event((1, true, other_type))];
        let append = AppendRequest { stream: stream.clone(), expected: ExpectedRevision::NoStream, events };
        let group = [Request::new(append, oneshot::channel().0).unwrap()];
        let (answers, rows) = held.decide(&group);
        assert!(rows.position.is_empty());
        match &answers[0] {
            Ok(appended) => assert!(recognised && appended.repeated && appended.position == Position(70)),
            Err(error) => assert!(!recognised && *error == AppendError::IdTaken(event.id)),
        }
    }
}
