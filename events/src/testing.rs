//! What every adapter's tests run: contract suites, sample events and a log in memory as their model.
//!
//! **Invariant:** a clause of a contract speaks only of the events of its own fresh tenant, so that it also passes on
//! a shared server with other events in it. Nothing here is part of the running program.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::clock::FixedClock;
use crate::envelope::{Actor, Category, Metadata, NewEvent, Position, SeenAt, StreamName};
use crate::feed::EventFeed;
use crate::ids::{CommandId, ContactId, EventId, TenantId};
use crate::log::EventLog;

pub mod blobs_contract;
pub mod checkpoint_store_contract;
pub mod drafts_contract;
#[cfg(feature = "testing")]
pub mod eventstore;
pub mod feed_contract;
pub mod heartbeats_contract;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod key_store_contract;
pub mod lease_contract;
pub mod log_contract;
mod memory;
pub mod memory_blobs;
pub mod memory_keys;
pub mod memory_leases;
pub mod samples;

pub use memory::MemoryLog;

/// A log to run the contract on, with what must live as long as it does.
pub struct LogUnderTest {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The clock it takes `recorded_at` from; a log with a clock of its own has none, and passes the common level.
    pub clock: Option<Arc<FixedClock>>,
    /// A folder, a server: dropped after the log.
    pub keep: Box<dyn Any + Send>,
}

impl LogUnderTest {
    /// A log with what must outlive it.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>, keep: impl Any + Send) -> Self {
        Self { log, clock: None, keep: Box::new(keep) }
    }

    /// Says which clock the log reads.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<FixedClock>) -> Self {
        self.clock = Some(clock);
        self
    }
}

/// A feed to run the contract on, and the log whose events it carries.
pub struct FeedUnderTest {
    /// Where events are appended.
    pub log: Arc<dyn EventLog>,
    /// Where they come out; for a relayed feed the relay must be running.
    pub feed: Arc<dyn EventFeed>,
    /// A folder, a server, a relay: dropped after the feed.
    pub keep: Box<dyn Any + Send>,
}

impl FeedUnderTest {
    /// A feed with what must outlive it.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>, feed: Arc<dyn EventFeed>, keep: impl Any + Send) -> Self {
        Self { log, feed, keep: Box::new(keep) }
    }
}

/// Makes one test per clause of the contract of [`EventLog`], so that a failure names its clause.
///
/// `event_log_contract!(common, factory)` is what every engine promises, EventStoreDB too: idempotence only for the
/// same append sent again at once with the same expected revision, and no comparison of content.
/// `event_log_contract!(strict, factory)` is all of the port, and includes the common level.
/// `factory` is an expression whose value is a future of a fresh [`LogUnderTest`]; strict needs its clock.
#[macro_export]
macro_rules! event_log_contract {
    (common, $factory:expr) => {
        $crate::contract_tests! { log_contract, $factory;
            an_empty_stream_reads_as_empty
            an_append_with_any_revision_is_read_back_whole
            no_stream_is_refused_once_the_stream_exists
            an_exact_revision_is_refused_when_the_stream_has_moved_on
            an_exact_revision_of_a_missing_stream_is_refused
            an_empty_append_is_invalid
            an_append_with_the_same_id_twice_is_invalid
            the_largest_payload_comes_back_whole_and_a_larger_one_is_invalid
            an_append_sent_again_at_once_gives_the_first_result
            the_last_revision_is_that_of_the_last_event
            several_events_are_appended_all_or_none
            a_thousand_events_fit_in_one_append
            a_payload_of_256_kib_comes_back_whole
            a_stream_reads_forwards_with_limits_and_from_a_revision
            a_stream_reads_backwards_with_limits_and_from_a_revision
            the_whole_log_reads_in_order_of_position_in_pages
            a_filtered_read_says_how_far_it_searched
            an_event_is_found_by_its_id
            the_head_moves_with_each_append
            recorded_at_never_decreases_with_position
            a_time_finds_the_last_position_recorded_by_then
            tenants_with_the_same_ids_are_kept_apart
            a_subscription_neither_misses_nor_repeats_under_concurrent_writers
            what_a_subscription_yields_at_once_is_what_is_read_later
            several_appends_at_once_stand_or_fall_alone
            a_subscription_passes_on_only_wanted_categories
            many_subscribers_see_the_same_events
            exactly_one_of_several_writers_wins_each_revision
        }
    };
    (strict, $factory:expr) => {
        $crate::event_log_contract! { common, $factory }
        $crate::contract_tests! { log_contract, $factory;
            a_repeated_append_is_recognised_whatever_it_expects
            a_repeated_append_is_recognised_long_afterwards
            a_conflict_says_where_the_stream_is
            an_id_with_other_content_is_taken
            an_id_with_another_type_is_taken
            an_id_of_another_stream_is_taken
            an_append_that_is_partly_there_is_refused
            repeated_events_in_another_order_are_refused
            a_refused_append_leaves_its_neighbours_alone
            concurrent_copies_of_one_append_are_written_once
            recorded_at_is_the_clock_and_stands_still_when_the_clock_goes_back
            a_time_between_two_appends_finds_the_first
        }
    };
}

/// Makes one test per clause of the contract of [`EventFeed`]; `factory` is an expression whose value is a future of
/// a fresh [`FeedUnderTest`].
#[macro_export]
macro_rules! event_feed_contract {
    ($factory:expr) => {
        $crate::contract_tests! { feed_contract, $factory;
            a_feed_delivers_history_and_then_what_is_appended
            a_feed_keeps_the_order_of_each_stream
            a_feed_goes_on_after_a_stored_checkpoint
            a_feed_passes_on_only_wanted_categories
            two_consumers_do_not_disturb_each_other
            a_consumer_whose_checkpoints_cannot_be_read_is_told
            a_position_of_the_log_is_where_any_feed_can_be_taken_up
        }
    };
}

/// Makes one test per clause of the contract of [`CheckpointStore`](crate::checkpoints::CheckpointStore); `factory` is an
/// expression whose value is a future of a fresh store and of what must outlive it.
#[macro_export]
macro_rules! checkpoint_store_contract {
    ($factory:expr) => {
        $crate::contract_tests! { checkpoint_store_contract, async {
            let (store, keep) = $factory.await;
            (store, ::std::boxed::Box::new(keep) as ::std::boxed::Box<dyn ::std::any::Any + Send>)
        };
            what_was_never_stored_is_the_start
            each_consumer_has_its_own
            parts_are_kept_apart_and_never_go_back
        }
    };
}

/// One tokio test per clause. Used by the contract macros only.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($suite:ident, $factory:expr; $($clause:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $clause() {
            let under_test = $factory.await;
            Box::pin($crate::testing::$suite::$clause(under_test)).await;
        }
    )*};
}

/// A tenant that no other test has.
///
/// # Panics
/// When the system gives no randomness.
#[must_use]
pub fn fresh_tenant() -> TenantId {
    let name = format!("t{}", fresh_uuid().simple());
    name.parse().expect("a letter and hexadecimal digits are a tenant")
}

/// A stream that no other test has.
#[must_use]
pub fn fresh_stream(tenant: &TenantId) -> StreamName {
    StreamName::new(Category::Conversation, tenant.clone(), fresh_uuid())
}

/// A random UUID.
///
/// # Panics
/// When the system gives no randomness.
#[must_use]
pub fn fresh_uuid() -> Uuid {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives randomness");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// A time to start clocks at: 2026-01-01T00:00:00Z.
#[must_use]
pub fn sample_time() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_767_225_600_000_000).unwrap_or_default()
}

/// Metadata as a command of the system would have it.
#[must_use]
pub fn sample_metadata() -> Metadata {
    Metadata {
        actor: Actor::System("contract".into()),
        command: None,
        causation: None,
        correlation: Uuid::from_u128(7),
        occurred_at: sample_time(),
        traceparent: None,
        seen_at: None,
        wish: None,
    }
}

/// An event with this payload and a fresh id.
#[must_use]
pub fn sample_event(payload: &str) -> NewEvent {
    event_with_id(EventId::new(fresh_uuid()), payload)
}

/// An event with this id and payload; its digest is that of the payload.
#[must_use]
pub fn event_with_id(id: EventId, payload: &str) -> NewEvent {
    let mut digest = [0; 16];
    digest.copy_from_slice(&blake3::hash(payload.as_bytes()).as_bytes()[..16]);
    NewEvent {
        id,
        event_type: "conversation.sampled".into(),
        version: 1,
        digest,
        metadata: sample_metadata(),
        payload: Bytes::from(serde_json::json!({ "text": payload }).to_string()),
    }
}

/// `count` events with payloads `<name> 0`, `<name> 1` and so on.
#[must_use]
pub fn sample_events(name: &str, count: usize) -> Vec<NewEvent> {
    (0..count).map(|n| sample_event(&format!("{name} {n}"))).collect()
}

/// Metadata with every field set but the wish, which came later: as the oldest rows hold it.
#[must_use]
pub fn rich_metadata() -> Metadata {
    Metadata {
        actor: Actor::Customer(ContactId::new(Uuid::from_u128(1))),
        command: Some(CommandId::new(Uuid::from_u128(2))),
        causation: Some(EventId::new(Uuid::from_u128(3))),
        correlation: Uuid::from_u128(4),
        occurred_at: sample_time() + chrono::Duration::microseconds(123_456),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        seen_at: Some(SeenAt { position: Position(9), role: "operator".into(), mask_policy: 1 }),
        wish: None,
    }
}
