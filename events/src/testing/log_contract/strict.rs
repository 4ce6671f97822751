//! Clauses of the strict level: what the port asks for and some engines cannot promise.
//!
//! **Invariant:** as in the parent.
#![expect(clippy::missing_panics_doc, reason = "a clause panics when the contract is broken: that is its work")]

use std::sync::Arc;

use chrono::Duration;

use super::{append, head, ids, in_time, new_ids, read, with_other_content};
use crate::clock::Clock;
use crate::envelope::Revision;
use crate::log::{AppendError, ExpectedRevision};
use crate::testing::{LogUnderTest, fresh_stream, fresh_tenant, sample_event, sample_events};

/// Clause of the strict level.
pub async fn a_repeated_append_is_recognised_whatever_it_expects(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    for size in [1, 3] {
        let events = sample_events("repeat", size);
        let first = append(&*test.log, &stream, events.clone()).await;
        let all = [ExpectedRevision::Any, ExpectedRevision::NoStream, ExpectedRevision::Exact(Revision(77))];
        for expected in all {
            let again = test.log.append(&stream, expected, events.clone()).await.expect("it is recognised");
            assert_eq!(again, crate::log::Appended { repeated: true, ..first });
        }
    }
    assert_eq!(read(&*test.log, &stream).await.len(), 4);
}

/// Clause of the strict level.
pub async fn a_repeated_append_is_recognised_long_afterwards(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let events = sample_events("old", 2);
    let first = test.log.append(&stream, ExpectedRevision::NoStream, events.clone()).await.expect("it is made");
    for _ in 0..50 {
        append(&*test.log, &stream, sample_events("between", 1)).await;
    }
    // The same content sealed anew is other bytes, but the same event.
    let mut sealed_anew = events;
    sealed_anew[0].payload = bytes::Bytes::from_static(b"{\"text\":\"sealed anew\"}");
    let again = test.log.append(&stream, ExpectedRevision::NoStream, sealed_anew).await.expect("it is recognised");
    assert_eq!(again, crate::log::Appended { repeated: true, ..first });
}

/// Clause of the strict level.
pub async fn a_conflict_says_where_the_stream_is(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let expected = ExpectedRevision::Exact(Revision(3));
    let refused = test.log.append(&stream, expected, sample_events("x", 1)).await;
    assert_eq!(refused, Err(AppendError::Conflict { expected, actual: None }));
    append(&*test.log, &stream, sample_events("a", 2)).await;
    for expected in [expected, ExpectedRevision::NoStream] {
        let refused = test.log.append(&stream, expected, sample_events("x", 2)).await;
        assert_eq!(refused, Err(AppendError::Conflict { expected, actual: Some(Revision(1)) }));
    }
}

/// Clause of the strict level.
pub async fn an_id_with_other_content_is_taken(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let events = sample_events("taken", 2);
    append(&*test.log, &stream, events.clone()).await;
    let other = vec![events[0].clone(), with_other_content(&events[1])];
    for expected in [ExpectedRevision::Any, ExpectedRevision::NoStream] {
        let refused = test.log.append(&stream, expected, other.clone()).await;
        assert_eq!(refused, Err(AppendError::IdTaken(events[1].id)));
    }
    let single = test.log.append(&stream, ExpectedRevision::Any, vec![with_other_content(&events[0])]).await;
    assert_eq!(single, Err(AppendError::IdTaken(events[0].id)));
    assert_eq!(ids(&read(&*test.log, &stream).await), new_ids(&events));
}

/// Clause of the strict level.
pub async fn an_id_with_another_type_is_taken(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let mut event = sample_event("typed");
    append(&*test.log, &stream, vec![event.clone()]).await;
    event.event_type = "conversation.other".into();
    let refused = test.log.append(&stream, ExpectedRevision::Any, vec![event.clone()]).await;
    assert_eq!(refused, Err(AppendError::IdTaken(event.id)));
}

/// Clause of the strict level.
pub async fn an_id_of_another_stream_is_taken(test: LogUnderTest) {
    let tenant = fresh_tenant();
    let (one, other) = (fresh_stream(&tenant), fresh_stream(&tenant));
    let event = sample_event("elsewhere");
    append(&*test.log, &one, vec![event.clone()]).await;
    // Once while the other stream does not exist, and once when it does.
    for _ in 0..2 {
        let refused = test.log.append(&other, ExpectedRevision::Any, vec![event.clone()]).await;
        assert_eq!(refused, Err(AppendError::IdTaken(event.id)));
        append(&*test.log, &other, sample_events("own", 1)).await;
    }
    assert_eq!(read(&*test.log, &other).await.len(), 2);
}

/// Clause of the strict level.
pub async fn an_append_that_is_partly_there_is_refused(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let old = sample_events("old", 2);
    append(&*test.log, &stream, old.clone()).await;
    for mixed in [
        vec![sample_event("new"), old[1].clone()],
        vec![old[1].clone(), sample_event("new")],
        vec![sample_event("new"), old[1].clone(), sample_event("new")],
    ] {
        let refused = test.log.append(&stream, ExpectedRevision::Exact(Revision(1)), mixed).await;
        assert_eq!(refused, Err(AppendError::IdTaken(old[1].id)));
    }
    assert_eq!(ids(&read(&*test.log, &stream).await), new_ids(&old));
}

/// Clause of the strict level.
pub async fn repeated_events_in_another_order_are_refused(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let events = sample_events("order", 3);
    append(&*test.log, &stream, events.clone()).await;
    let swapped = vec![events[0].clone(), events[2].clone()];
    let refused = test.log.append(&stream, ExpectedRevision::Any, swapped).await;
    assert_eq!(refused, Err(AppendError::IdTaken(events[2].id)));
    let part = test.log.append(&stream, ExpectedRevision::Any, events[1..].to_vec()).await.expect("it is recognised");
    assert_eq!((part.first_revision, part.last_revision, part.repeated), (Revision(1), Revision(2), true));
}

/// Clause of the strict level.
pub async fn a_refused_append_leaves_its_neighbours_alone(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let taken = sample_event("taken");
    append(&*test.log, &stream, vec![taken.clone()]).await;
    let start = head(&*test.log).await;
    // All at once, so that good and bad ones meet in one group.
    let attempts = (0..60).map(|n| {
        let (log, stream, taken) = (Arc::clone(&test.log), stream.clone(), taken.clone());
        tokio::spawn(async move {
            let (expected, events) = match n % 3 {
                0 => (ExpectedRevision::Any, sample_events("good", 2)),
                1 => (ExpectedRevision::NoStream, sample_events("conflict", 2)),
                _ => (ExpectedRevision::Any, vec![sample_event("mixed"), with_other_content(&taken)]),
            };
            let made = log.append(&stream, expected, events).await;
            assert_eq!(made.is_ok(), n % 3 == 0, "{made:?}");
        })
    });
    for attempt in in_time(futures::future::join_all(attempts)).await {
        attempt.expect("each is answered as it deserves");
    }
    let events = read(&*test.log, &stream).await;
    assert_eq!(events.len(), 41);
    assert!(events.iter().enumerate().all(|(n, event)| event.revision == Revision(n as u64)));
    assert!(head(&*test.log).await > start);
}

/// Clause of the strict level.
pub async fn concurrent_copies_of_one_append_are_written_once(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    for size in [1, 2] {
        let events = sample_events("copy", size);
        let copies = (0..20).map(|_| {
            let (log, stream, events) = (Arc::clone(&test.log), stream.clone(), events.clone());
            tokio::spawn(async move { log.append(&stream, ExpectedRevision::Any, events).await })
        });
        let results = in_time(futures::future::join_all(copies)).await;
        let results: Vec<_> =
            results.into_iter().map(|r| r.expect("no writer panics").expect("each is made or recognised")).collect();
        assert_eq!(results.iter().filter(|appended| !appended.repeated).count(), 1);
        assert!(results.iter().all(|appended| appended.last_revision == results[0].last_revision));
    }
    assert_eq!(read(&*test.log, &stream).await.len(), 3);
}

/// Clause of the strict level.
pub async fn recorded_at_is_the_clock_and_stands_still_when_the_clock_goes_back(test: LogUnderTest) {
    let clock = test.clock.as_ref().expect("the strict level needs the clock");
    let stream = fresh_stream(&fresh_tenant());
    let mut expected = Vec::new();
    for (step, recorded_after) in [(0, 0), (5, 5), (-3, 5), (-10, 5), (9, 5), (100, 101)] {
        clock.advance(Duration::microseconds(step));
        append(&*test.log, &stream, sample_events("tick", 1)).await;
        expected.push(recorded_after);
    }
    let start = clock.now() - Duration::microseconds(101);
    let recorded: Vec<_> = read(&*test.log, &stream)
        .await
        .iter()
        .map(|event| (event.recorded_at - start).num_microseconds().unwrap_or(-1))
        .collect();
    assert_eq!(recorded, expected);
}

/// Clause of the strict level.
pub async fn a_time_between_two_appends_finds_the_first(test: LogUnderTest) {
    let clock = test.clock.as_ref().expect("the strict level needs the clock");
    let start = head(&*test.log).await;
    let stream = fresh_stream(&fresh_tenant());
    let mut made = vec![(clock.now() - Duration::microseconds(1), start)];
    for n in 0..20 {
        let appended = append(&*test.log, &stream, sample_events("at", 1 + n % 4)).await;
        made.push((clock.now(), appended.position));
        clock.advance(Duration::seconds(10));
    }
    for (time, position) in &made[1..] {
        for later in [Duration::zero(), Duration::microseconds(9_999_999)] {
            assert_eq!(test.log.position_at(*time + later).await, Ok(*position));
        }
    }
    assert_eq!(test.log.position_at(made[0].0).await, Ok(made[0].1));
    assert_eq!(test.log.position_at(clock.now() + Duration::days(999)).await, Ok(made[20].1));
}
