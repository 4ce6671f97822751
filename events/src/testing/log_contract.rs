//! The clauses of the contract of [`EventLog`] that every engine keeps; `log_contract/strict.rs` has the rest.
//!
//! **Invariant:** a clause can fail for one reason, its name; it waits for events with a deadline and never sleeps.
#![expect(clippy::missing_panics_doc, reason = "a clause panics when the contract is broken: that is its work")]

use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;

use super::{LogUnderTest, event_with_id, fresh_stream, fresh_tenant, fresh_uuid, sample_event, sample_events};
use crate::envelope::{Category, NewEvent, Position, RecordedEvent, Revision, StreamName};
use crate::ids::{EventId, TenantId};
use crate::log::{AppendError, Appended, Direction, EventLog, ExpectedRevision, Filter, LARGEST_PAYLOAD, ReadError};

mod following;
mod strict;

pub use following::*;
pub use strict::*;

/// How long a clause waits for what must come: long, for it only ends a test that hangs, also on a busy disk.
const DEADLINE: Duration = Duration::from_secs(300);

/// Waits for `future`, but not for ever.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("what must come comes within the deadline")
}

/// Appends whatever is there.
pub(crate) async fn append(log: &dyn EventLog, stream: &StreamName, events: Vec<NewEvent>) -> Appended {
    log.append(stream, ExpectedRevision::Any, events).await.expect("an append with any revision is made")
}

/// The whole stream, oldest first.
pub(crate) async fn read(log: &dyn EventLog, stream: &StreamName) -> Vec<RecordedEvent> {
    log.read_stream(stream, None, Direction::Forwards, usize::MAX).await.expect("the stream can be read")
}

/// The ids of events.
pub(crate) fn ids(events: &[RecordedEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

/// The ids of new events.
pub(crate) fn new_ids(events: &[NewEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

/// The end of the log.
pub(crate) async fn head(log: &dyn EventLog) -> Position {
    log.head().await.expect("the head can be read")
}

/// The first `count` events of the tenant that a subscription yields.
pub(crate) async fn follow(
    events: BoxStream<'static, Result<RecordedEvent, ReadError>>,
    tenant: &TenantId,
    count: usize,
) -> Vec<RecordedEvent> {
    let own = events
        .map(|event| event.expect("the subscription goes on"))
        .filter(|event| std::future::ready(event.tenant() == tenant))
        .take(count);
    in_time(own.collect()).await
}

/// Clause of the common level.
pub async fn an_empty_stream_reads_as_empty(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    assert_eq!(read(&*test.log, &stream).await, []);
    let backwards = test.log.read_stream(&stream, None, Direction::Backwards, 10).await;
    assert_eq!(backwards, Ok(Vec::new()));
}

/// Clause of the common level.
pub async fn an_append_with_any_revision_is_read_back_whole(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let mut events = sample_events("привет", 2);
    events[1].event_type = "conversation.other".into();
    events[1].version = 2;
    events[1].metadata = super::rich_metadata();
    let first = append(&*test.log, &stream, events.clone()).await;
    assert_eq!((first.first_revision, first.last_revision, first.repeated), (Revision(0), Revision(1), false));
    let second = append(&*test.log, &stream, sample_events("more", 1)).await;
    assert_eq!((second.first_revision, second.last_revision), (Revision(2), Revision(2)));
    let back = read(&*test.log, &stream).await;
    assert_eq!(back.len(), 3);
    assert_eq!(back[1].position, first.position);
    for (index, (new, old)) in events.iter().zip(&back).enumerate() {
        assert_eq!((old.id, &old.stream, old.revision), (new.id, &stream, Revision(index as u64)));
        assert_eq!((&old.event_type, old.version), (&new.event_type, new.version));
        assert_eq!(old.metadata, new.metadata);
        assert_eq!(old.payload, new.payload);
    }
}

/// Clause of the common level.
pub async fn no_stream_is_refused_once_the_stream_exists(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let first = test.log.append(&stream, ExpectedRevision::NoStream, sample_events("a", 1)).await;
    assert!(first.is_ok(), "{first:?}");
    let second = test.log.append(&stream, ExpectedRevision::NoStream, sample_events("b", 1)).await;
    assert!(matches!(second, Err(AppendError::Conflict { .. })), "{second:?}");
    assert_eq!(read(&*test.log, &stream).await.len(), 1);
}

/// Clause of the common level.
pub async fn an_exact_revision_is_refused_when_the_stream_has_moved_on(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    append(&*test.log, &stream, sample_events("a", 2)).await;
    let good = test.log.append(&stream, ExpectedRevision::Exact(Revision(1)), sample_events("b", 1)).await;
    assert_eq!(good.map(|appended| appended.last_revision), Ok(Revision(2)));
    for wrong in [0, 1, 3, 1000] {
        let expected = ExpectedRevision::Exact(Revision(wrong));
        let refused = test.log.append(&stream, expected, sample_events("c", 1)).await;
        assert!(matches!(refused, Err(AppendError::Conflict { .. })), "{wrong}: {refused:?}");
    }
    assert_eq!(read(&*test.log, &stream).await.len(), 3);
}

/// Clause of the common level.
pub async fn an_exact_revision_of_a_missing_stream_is_refused(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let refused = test.log.append(&stream, ExpectedRevision::Exact(Revision(0)), sample_events("a", 1)).await;
    assert!(matches!(refused, Err(AppendError::Conflict { .. })), "{refused:?}");
    assert_eq!(read(&*test.log, &stream).await, []);
}

/// Clause of the common level.
pub async fn an_empty_append_is_invalid(test: LogUnderTest) {
    let refused = test.log.append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, Vec::new()).await;
    assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
}

/// Clause of the common level.
pub async fn an_append_with_the_same_id_twice_is_invalid(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let event = sample_event("twice");
    let refused = test.log.append(&stream, ExpectedRevision::Any, vec![event.clone(), event]).await;
    assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
    assert_eq!(read(&*test.log, &stream).await, []);
}

/// Clause of the common level.
pub async fn the_largest_payload_comes_back_whole_and_a_larger_one_is_invalid(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let around = sample_event("").payload.len();
    let largest = sample_event(&"x".repeat(LARGEST_PAYLOAD - around));
    assert_eq!(largest.payload.len(), LARGEST_PAYLOAD);
    append(&*test.log, &stream, vec![largest.clone()]).await;
    let larger = sample_event(&"x".repeat(LARGEST_PAYLOAD - around + 1));
    let refused = test.log.append(&stream, ExpectedRevision::Any, vec![larger]).await;
    assert!(matches!(refused, Err(AppendError::Invalid(_))), "{refused:?}");
    let back = read(&*test.log, &stream).await;
    assert_eq!(back.len(), 1);
    assert!(back[0].payload == largest.payload, "the payload is another");
}

/// Clause of the common level.
pub async fn an_append_sent_again_at_once_gives_the_first_result(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    for expected in [ExpectedRevision::NoStream, ExpectedRevision::Exact(Revision(1))] {
        let events = sample_events("again", 2);
        let first = test.log.append(&stream, expected, events.clone()).await.expect("the first is made");
        let again = test.log.append(&stream, expected, events).await.expect("the second is recognised");
        assert_eq!((again.first_revision, again.last_revision), (first.first_revision, first.last_revision));
    }
    assert_eq!(read(&*test.log, &stream).await.len(), 4);
}

/// Clause of the common level.
pub async fn the_last_revision_is_that_of_the_last_event(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    assert_eq!(test.log.last_revision(&stream).await, Ok(None));
    append(&*test.log, &stream, sample_events("a", 3)).await;
    assert_eq!(test.log.last_revision(&stream).await, Ok(Some(Revision(2))));
    let refused = test.log.append(&stream, ExpectedRevision::NoStream, sample_events("b", 1)).await;
    assert!(refused.is_err());
    for n in 3..20 {
        append(&*test.log, &fresh_stream(&fresh_tenant()), sample_events("other", 1)).await;
        let made = append(&*test.log, &stream, sample_events(&format!("c{n}"), 1)).await;
        assert_eq!(test.log.last_revision(&stream).await, Ok(Some(made.last_revision)));
    }
}

/// Clause of the common level.
pub async fn several_events_are_appended_all_or_none(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let events = sample_events("batch", 5);
    let made = append(&*test.log, &stream, events.clone()).await;
    assert_eq!((made.first_revision, made.last_revision), (Revision(0), Revision(4)));
    let refused = test.log.append(&stream, ExpectedRevision::NoStream, sample_events("refused", 5)).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(ids(&read(&*test.log, &stream).await), new_ids(&events));
}

/// Clause of the common level.
pub async fn a_thousand_events_fit_in_one_append(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let events = sample_events("thousand", 1000);
    let made = in_time(append(&*test.log, &stream, events.clone())).await;
    assert_eq!(made.last_revision, Revision(999));
    let back = read(&*test.log, &stream).await;
    assert_eq!(ids(&back), new_ids(&events));
    assert!(back.windows(2).all(|pair| pair[0].position < pair[1].position));
}

/// Clause of the common level.
pub async fn a_payload_of_256_kib_comes_back_whole(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let event = sample_event(&"я".repeat(128 * 1024));
    append(&*test.log, &stream, vec![sample_event("before"), event.clone(), sample_event("after")]).await;
    let back = read(&*test.log, &stream).await;
    assert_eq!(back.len(), 3);
    assert!(back[1].payload == event.payload, "the payload is another");
}

/// Clause of the common level.
pub async fn a_stream_reads_forwards_with_limits_and_from_a_revision(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    append(&*test.log, &stream, sample_events("n", 10)).await;
    let check = |from: Option<u64>, limit, expected: std::ops::Range<u64>| {
        let (log, stream) = (&test.log, &stream);
        async move {
            let read = log.read_stream(stream, from.map(Revision), Direction::Forwards, limit).await;
            let revisions: Vec<u64> = read.expect("the stream can be read").iter().map(|e| e.revision.0).collect();
            assert_eq!(revisions, expected.collect::<Vec<_>>(), "from {from:?} limit {limit}");
        }
    };
    check(None, 3, 0..3).await;
    check(Some(0), 100, 0..10).await;
    check(Some(4), 3, 4..7).await;
    check(Some(9), 3, 9..10).await;
    check(Some(10), 3, 0..0).await;
}

/// Clause of the common level.
pub async fn a_stream_reads_backwards_with_limits_and_from_a_revision(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    append(&*test.log, &stream, sample_events("n", 10)).await;
    let check = |from: Option<u64>, limit, expected: &'static [u64]| {
        let (log, stream) = (&test.log, &stream);
        async move {
            let read = log.read_stream(stream, from.map(Revision), Direction::Backwards, limit).await;
            let revisions: Vec<u64> = read.expect("the stream can be read").iter().map(|e| e.revision.0).collect();
            assert_eq!(revisions, expected, "from {from:?} limit {limit}");
        }
    };
    check(None, 3, &[9, 8, 7]).await;
    check(Some(4), 3, &[4, 3, 2]).await;
    check(Some(1), 100, &[1, 0]).await;
    check(Some(0), 100, &[0]).await;
    check(Some(100), 2, &[9, 8]).await;
}

/// Clause of the common level.
pub async fn the_whole_log_reads_in_order_of_position_in_pages(test: LogUnderTest) {
    let tenant = fresh_tenant();
    let start = head(&*test.log).await;
    let streams = [fresh_stream(&tenant), fresh_stream(&tenant), fresh_stream(&tenant)];
    let mut expected = Vec::new();
    for n in 0..20 {
        let events = sample_events("page", 1 + n % 3);
        expected.extend(new_ids(&events));
        append(&*test.log, &streams[n % 3], events).await;
    }
    let (mut after, mut found) = (start, Vec::new());
    loop {
        let (page, searched) = test.log.read_all(after, &Filter::default(), 7).await.expect("the log can be read");
        assert!(page.len() <= 7 && page.iter().all(|event| event.position > after && event.position <= searched));
        assert!(page.windows(2).all(|pair| pair[0].position < pair[1].position));
        if page.is_empty() {
            break;
        }
        found.extend(page.iter().filter(|event| *event.tenant() == tenant).map(|event| event.id));
        after = searched;
    }
    assert_eq!(found, expected);
}

/// Clause of the common level.
pub async fn a_filtered_read_says_how_far_it_searched(test: LogUnderTest) {
    let tenant = fresh_tenant();
    let start = head(&*test.log).await;
    let wanted = StreamName::new(Category::Link, tenant.clone(), fresh_uuid());
    let unwanted = fresh_stream(&tenant);
    append(&*test.log, &unwanted, sample_events("no", 3)).await;
    let yes = sample_events("yes", 2);
    append(&*test.log, &wanted, yes.clone()).await;
    let last = append(&*test.log, &unwanted, sample_events("no", 30)).await;
    let filter = Filter { categories: vec![Category::Link] };
    let (mut after, mut found) = (start, Vec::new());
    while after < last.position {
        let (page, searched) = test.log.read_all(after, &filter, 100).await.expect("the log can be read");
        assert!(searched > after, "a search makes headway");
        assert!(page.iter().all(|event| event.stream.category == Category::Link && event.position <= searched));
        found.extend(page.iter().filter(|event| *event.tenant() == tenant).map(|event| event.id));
        after = searched;
    }
    assert_eq!(found, new_ids(&yes));
}

/// Clause of the common level.
pub async fn an_event_is_found_by_its_id(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let events = sample_events("find", 3);
    append(&*test.log, &stream, events.clone()).await;
    let found = test.log.find(events[1].id).await.expect("the log can be read").expect("the event is found");
    assert_eq!((found.id, found.revision, found.stream), (events[1].id, Revision(1), stream));
    assert_eq!(test.log.find(EventId::new(fresh_uuid())).await, Ok(None));
}

/// Clause of the common level.
pub async fn the_head_moves_with_each_append(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    let mut before = head(&*test.log).await;
    for _ in 0..3 {
        let made = append(&*test.log, &stream, sample_events("head", 2)).await;
        assert!(made.position > before);
        let now = head(&*test.log).await;
        assert!(now >= made.position, "the head has reached what was acknowledged");
        before = now;
    }
}

/// Clause of the common level.
pub async fn recorded_at_never_decreases_with_position(test: LogUnderTest) {
    let tenant = fresh_tenant();
    let start = head(&*test.log).await;
    for _ in 0..10 {
        append(&*test.log, &fresh_stream(&tenant), sample_events("time", 2)).await;
    }
    let (events, _) = test.log.read_all(start, &Filter::default(), 20).await.expect("the log can be read");
    assert_eq!(events.len(), 20);
    assert!(events.windows(2).all(|pair| pair[0].recorded_at <= pair[1].recorded_at));
}

/// Clause of the common level.
pub async fn a_time_finds_the_last_position_recorded_by_then(test: LogUnderTest) {
    let stream = fresh_stream(&fresh_tenant());
    append(&*test.log, &stream, sample_events("then", 3)).await;
    let events = read(&*test.log, &stream).await;
    let at = test.log.position_at(events[2].recorded_at).await.expect("the log can be read");
    assert!(at >= events[2].position);
    let before = events[0].recorded_at - chrono::Duration::milliseconds(1);
    let earlier = test.log.position_at(before).await.expect("the log can be read");
    assert!(earlier < events[0].position);
}

/// Clause of the common level.
pub async fn tenants_with_the_same_ids_are_kept_apart(test: LogUnderTest) {
    let id = fresh_uuid();
    let streams = [fresh_tenant(), fresh_tenant()].map(|tenant| StreamName::new(Category::Profile, tenant, id));
    for (index, stream) in streams.iter().enumerate() {
        let made = test.log.append(stream, ExpectedRevision::NoStream, sample_events("own", index + 1)).await;
        assert_eq!(made.map(|appended| appended.first_revision), Ok(Revision(0)));
    }
    for (index, stream) in streams.iter().enumerate() {
        let events = read(&*test.log, stream).await;
        assert_eq!(events.len(), index + 1);
        assert!(events.iter().all(|event| event.stream == *stream));
    }
}

/// An event like `event` in all but its content.
pub(crate) fn with_other_content(event: &NewEvent) -> NewEvent {
    event_with_id(event.id, "something else")
}
