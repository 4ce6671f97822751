//! Clauses with several readers and writers at once.
//!
//! **Invariant:** as in the parent.
#![expect(clippy::missing_panics_doc, reason = "a clause panics when the contract is broken: that is its work")]

use std::sync::Arc;

use super::{append, follow, head, in_time, read};
use crate::envelope::{Category, RecordedEvent, Revision, StreamName};
use crate::ids::TenantId;
use crate::log::{AppendError, AppendRequest, EventLog, ExpectedRevision, Filter};
use crate::testing::{LogUnderTest, fresh_stream, fresh_tenant, fresh_uuid, sample_events};

/// Writers at once.
const WRITERS: usize = 4;

/// Appends of each writer.
const APPENDS: usize = 30;

/// Starts writers that append one to three events at a time to a few streams; answers the number of events.
fn start_writers(log: &Arc<dyn EventLog>, tenant: &TenantId) -> usize {
    let streams = [fresh_stream(tenant), fresh_stream(tenant), fresh_stream(tenant)];
    let mut count = 0;
    for writer in 0..WRITERS {
        let sizes: Vec<usize> = (0..APPENDS).map(|n| 1 + (n + writer) % 3).collect();
        count += sizes.iter().sum::<usize>();
        let (log, streams) = (Arc::clone(log), streams.clone());
        tokio::spawn(async move {
            for (n, size) in sizes.into_iter().enumerate() {
                append(&*log, &streams[(n + writer) % streams.len()], sample_events("w", size)).await;
            }
        });
    }
    count
}

fn assert_whole_and_in_order(events: &[RecordedEvent], count: usize) {
    assert_eq!(events.len(), count);
    assert!(events.windows(2).all(|pair| pair[0].position < pair[1].position), "order of position, none twice");
    let mut next = std::collections::HashMap::new();
    for event in events {
        let expected = next.entry(event.stream.clone()).or_insert(Revision(0));
        assert_eq!(event.revision, *expected, "no revision is missing");
        *expected = expected.next();
    }
}

/// Clause of the common level.
pub async fn a_subscription_neither_misses_nor_repeats_under_concurrent_writers(test: LogUnderTest) {
    let tenant = fresh_tenant();
    let start = head(&*test.log).await;
    let early = test.log.subscribe(start, Filter::default());
    let count = start_writers(&test.log, &tenant);
    let seen_early = follow(early, &tenant, count / 2).await;
    // Joins while the writers are at work: part catch-up, part tail.
    let late = test.log.subscribe(start, Filter::default());
    let resumed_after = seen_early.last().expect("some were seen").position;
    let resumed = test.log.subscribe(resumed_after, Filter::default());
    let seen_late = follow(late, &tenant, count).await;
    let seen_resumed = follow(resumed, &tenant, count - count / 2).await;
    assert_whole_and_in_order(&seen_late, count);
    let joined: Vec<_> = seen_early.into_iter().chain(seen_resumed).collect();
    assert_eq!(joined, seen_late);
}

/// Clause of the common level.
pub async fn what_a_subscription_yields_at_once_is_what_is_read_later(test: LogUnderTest) {
    let tenant = fresh_tenant();
    let start = head(&*test.log).await;
    let followed = test.log.subscribe(start, Filter::default());
    let stream = fresh_stream(&tenant);
    let mut events = sample_events("exact", 3);
    // Finer than what is stored.
    events[1].metadata.occurred_at += chrono::TimeDelta::nanoseconds(1_999);
    append(&*test.log, &stream, events).await;
    let seen = follow(followed, &tenant, 3).await;
    assert_eq!(seen, read(&*test.log, &stream).await);
}

/// Clause of the common level.
pub async fn several_appends_at_once_stand_or_fall_alone(test: LogUnderTest) {
    let tenant = fresh_tenant();
    let (known, free) = (fresh_stream(&tenant), fresh_stream(&tenant));
    append(&*test.log, &known, sample_events("known", 1)).await;
    let request = |stream: &StreamName, expected, events| AppendRequest { stream: stream.clone(), expected, events };
    let made = test.log.append_all(vec![
        request(&known, ExpectedRevision::NoStream, sample_events("late", 1)),
        request(&free, ExpectedRevision::NoStream, sample_events("free", 2)),
        request(&fresh_stream(&tenant), ExpectedRevision::Any, Vec::new()),
    ]);
    let made = in_time(made).await;
    assert!(matches!(made[0], Err(AppendError::Conflict { .. })), "{:?}", made[0]);
    assert_eq!(made[1].as_ref().expect("nothing is in its way").last_revision, Revision(1));
    assert!(matches!(made[2], Err(AppendError::Invalid(_))), "{:?}", made[2]);
    assert_eq!((made.len(), read(&*test.log, &known).await.len(), read(&*test.log, &free).await.len()), (3, 1, 2));
}

/// Clause of the common level.
pub async fn a_subscription_passes_on_only_wanted_categories(test: LogUnderTest) {
    let tenant = fresh_tenant();
    let filter = Filter { categories: vec![Category::Contact, Category::Account] };
    let events = test.log.subscribe(head(&*test.log).await, filter);
    for category in Category::ALL {
        append(&*test.log, &StreamName::new(category, tenant.clone(), fresh_uuid()), sample_events("c", 2)).await;
    }
    let seen: Vec<_> = follow(events, &tenant, 4).await.iter().map(|event| event.stream.category).collect();
    assert_eq!(seen, [Category::Account, Category::Account, Category::Contact, Category::Contact]);
}

/// Clause of the common level.
pub async fn many_subscribers_see_the_same_events(test: LogUnderTest) {
    let tenant = fresh_tenant();
    let start = head(&*test.log).await;
    let subscriptions: Vec<_> = (0..20).map(|_| test.log.subscribe(start, Filter::default())).collect();
    let count = start_writers(&test.log, &tenant);
    let seen = futures::future::join_all(subscriptions.into_iter().map(|events| follow(events, &tenant, count))).await;
    assert_whole_and_in_order(&seen[0], count);
    assert!(seen.iter().all(|events| *events == seen[0]));
}

/// Clause of the common level.
pub async fn exactly_one_of_several_writers_wins_each_revision(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    append(&*test.log, &stream, sample_events("start", 1)).await;
    for round in 0..10u64 {
        let expected = ExpectedRevision::Exact(Revision(round));
        let attempts = (0..WRITERS).map(|_| {
            let (log, stream) = (Arc::clone(&test.log), stream.clone());
            tokio::spawn(async move { log.append(&stream, expected, sample_events("race", 1)).await })
        });
        let results = in_time(futures::future::join_all(attempts)).await;
        let (mut won, mut lost) = (0, 0);
        for result in results {
            match result.expect("no writer panics") {
                Ok(appended) => {
                    assert_eq!(appended.last_revision, Revision(round + 1));
                    won += 1;
                }
                Err(AppendError::Conflict { .. }) => lost += 1,
                Err(other) => panic!("neither won nor lost: {other}"),
            }
        }
        assert_eq!((won, lost), (1, WRITERS - 1), "round {round}");
    }
    assert_eq!(read(&*test.log, &stream).await.len(), 11);
}
