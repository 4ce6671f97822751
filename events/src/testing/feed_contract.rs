//! The clauses of the contract of [`EventFeed`](crate::feed::EventFeed).
//!
//! **Invariant:** a clause asks for no more than at least once and order within one stream, so that Kafka passes it.
#![expect(clippy::missing_panics_doc, reason = "a clause panics when the contract is broken: that is its work")]

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;

use super::log_contract::{append, in_time};
use super::{FeedUnderTest, fresh_stream, fresh_tenant, fresh_uuid, sample_events};
use crate::envelope::{Category, Position, Revision, StreamName};
use crate::feed::{Checkpoints, Delivery, Fed, FeedError, Follower};
use crate::ids::TenantId;
use crate::log::Filter;

type Deliveries = BoxStream<'static, Result<Fed, FeedError>>;

async fn follow(test: &FeedUnderTest, consumer: &str, from: Checkpoints, filter: Filter) -> Deliveries {
    test.feed.follow(&name(consumer), Arc::new(from), filter).await.expect("the feed can be followed")
}

/// A consumer that no other test has, on a shared server either.
fn name(consumer: &str) -> String {
    format!("{consumer}-{}", fresh_uuid().simple())
}

/// The next event.
async fn next(deliveries: &mut Deliveries) -> Delivery {
    loop {
        let fed = deliveries.next().await.expect("a feed does not end").expect("the feed goes on");
        if let Fed::Event(delivery) = fed {
            return delivery;
        }
    }
}

/// Deliveries of the tenant until `count` different events have come; a repeated one is kept out, as a consumer
/// does: by its revision.
async fn collect(deliveries: &mut Deliveries, tenant: &TenantId, count: usize) -> Vec<Delivery> {
    let mut last: HashMap<StreamName, Revision> = HashMap::new();
    let mut seen = Vec::new();
    in_time(async {
        while seen.len() < count {
            let delivery = next(deliveries).await;
            let event = &delivery.event;
            if event.tenant() != tenant || last.get(&event.stream).is_some_and(|last| event.revision <= *last) {
                continue;
            }
            last.insert(event.stream.clone(), event.revision);
            seen.push(delivery);
        }
    })
    .await;
    seen
}

/// Clause of the feed's contract.
pub async fn a_feed_delivers_history_and_then_what_is_appended(test: FeedUnderTest) {
    let tenant = fresh_tenant();
    let stream = fresh_stream(&tenant);
    append(&*test.log, &stream, sample_events("history", 5)).await;
    let mut deliveries = follow(&test, "history", Checkpoints::start(), Filter::default()).await;
    let history = collect(&mut deliveries, &tenant, 5).await;
    let new = sample_events("new", 3);
    append(&*test.log, &stream, new.clone()).await;
    let live = in_time(async {
        let mut live = Vec::new();
        while live.len() < 3 {
            let delivery = next(&mut deliveries).await;
            if delivery.event.stream == stream && delivery.event.revision > Revision(4) {
                live.push(delivery.event);
            }
        }
        live
    })
    .await;
    assert_eq!(history.iter().map(|d| d.event.revision.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    for (new, delivered) in new.iter().zip(&live) {
        assert_eq!((new.id, &new.payload, &new.metadata), (delivered.id, &delivered.payload, &delivered.metadata));
    }
}

/// Clause of the feed's contract.
pub async fn a_feed_keeps_the_order_of_each_stream(test: FeedUnderTest) {
    let tenant = fresh_tenant();
    let streams: Vec<_> = (0..5).map(|_| fresh_stream(&tenant)).collect();
    let mut deliveries = follow(&test, "order", Checkpoints::start(), Filter::default()).await;
    for n in 0..40 {
        append(&*test.log, &streams[n % 5], sample_events("o", 1 + n % 2)).await;
    }
    let mut next: HashMap<StreamName, Revision> = HashMap::new();
    for delivery in collect(&mut deliveries, &tenant, 60).await {
        let expected = next.entry(delivery.event.stream.clone()).or_insert(Revision(0));
        assert_eq!(delivery.event.revision, *expected, "none is missing and none comes early");
        *expected = expected.next();
    }
}

/// Clause of the feed's contract.
pub async fn a_feed_goes_on_after_a_stored_checkpoint(test: FeedUnderTest) {
    let tenant = fresh_tenant();
    let stream = fresh_stream(&tenant);
    append(&*test.log, &stream, sample_events("resume", 10)).await;
    let mut deliveries = follow(&test, "resume", Checkpoints::start(), Filter::default()).await;
    let first = collect(&mut deliveries, &tenant, 6).await;
    drop(deliveries);
    let stored: Checkpoints = first.iter().map(|delivery| &delivery.checkpoint).collect();
    let stored = stored.to_string().parse().expect("what was stored reads back");
    let mut deliveries = follow(&test, "resume", stored, Filter::default()).await;
    // At least once: some may come again, but after those the next one must be the seventh.
    let mut revisions = Vec::new();
    in_time(async {
        while revisions.last() != Some(&9) {
            let delivery = next(&mut deliveries).await;
            if delivery.event.stream == stream {
                revisions.push(delivery.event.revision.0);
            }
        }
    })
    .await;
    let fresh: Vec<_> = revisions.into_iter().filter(|revision| *revision > 5).collect();
    assert_eq!(fresh, [6, 7, 8, 9]);
}

/// Clause of the feed's contract.
pub async fn a_feed_passes_on_only_wanted_categories(test: FeedUnderTest) {
    let tenant = fresh_tenant();
    for category in Category::ALL {
        append(&*test.log, &StreamName::new(category, tenant.clone(), fresh_uuid()), sample_events("c", 1)).await;
    }
    let last = StreamName::new(Category::Link, tenant.clone(), fresh_uuid());
    append(&*test.log, &last, sample_events("c", 1)).await;
    let filter = Filter { categories: vec![Category::Link] };
    let mut deliveries = follow(&test, "filter", Checkpoints::start(), filter).await;
    let seen = collect(&mut deliveries, &tenant, 2).await;
    assert!(seen.iter().all(|delivery| delivery.event.stream.category == Category::Link));
}

/// Clause of the feed's contract.
pub async fn two_consumers_do_not_disturb_each_other(test: FeedUnderTest) {
    let tenant = fresh_tenant();
    append(&*test.log, &fresh_stream(&tenant), sample_events("two", 20)).await;
    let mut one = follow(&test, "one", Checkpoints::start(), Filter::default()).await;
    assert_eq!(collect(&mut one, &tenant, 10).await.len(), 10);
    let mut two = follow(&test, "two", Checkpoints::start(), Filter::default()).await;
    let all: Vec<_> = collect(&mut two, &tenant, 20).await.iter().map(|d| d.event.revision.0).collect();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
}

/// What is away when a feed asks.
struct Away;

#[async_trait::async_trait]
impl Follower for Away {
    async fn load(&self) -> Result<Checkpoints, FeedError> {
        Err(FeedError::Unavailable("store away".to_owned()))
    }
}

/// Clause of the feed's contract.
pub async fn a_consumer_whose_checkpoints_cannot_be_read_is_told(test: FeedUnderTest) {
    let refused = in_time(async {
        let mut followed = test.feed.follow(&name("away"), Arc::new(Away), Filter::default()).await?;
        match followed.next().await {
            Some(Err(error)) => Err(error),
            fed => panic!("{fed:?}"),
        }
    });
    let refused: Result<(), FeedError> = refused.await;
    assert_eq!(refused, Err(FeedError::Unavailable("store away".to_owned())));
}

/// Clause of the feed's contract.
pub async fn a_position_of_the_log_is_where_any_feed_can_be_taken_up(test: FeedUnderTest) {
    let tenant = fresh_tenant();
    let streams: Vec<_> = (0..3).map(|_| fresh_stream(&tenant)).collect();
    let mut position = Position::START;
    for (n, stream) in streams.iter().cycle().take(12).enumerate() {
        let appended = append(&*test.log, stream, sample_events("seek", 1)).await;
        if n == 6 {
            position = appended.position;
        }
    }
    let mut deliveries = follow(&test, "seek", Checkpoints::of_position(position), Filter::default()).await;
    let mut seen: Vec<_> = collect(&mut deliveries, &tenant, 5).await;
    seen.sort_by_key(|delivery| delivery.event.position);
    assert!(seen.iter().all(|delivery| delivery.event.position > position), "nothing before the position");
    assert_eq!(seen.len(), 5, "and everything after it");
}
