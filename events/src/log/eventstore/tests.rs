//! Tests of the log in EventStoreDB, on the double of the server: the contract, and each failure it has to survive.
//!
//! **Invariant:** nothing here is a result on a server; `tests/engines` runs the same suite on one.

use super::*;
use crate::envelope::Category;
use crate::feed::LogFeed;
use crate::testing::eventstore::EventStoreDouble;
use crate::testing::log_contract::{append, follow, ids, in_time, new_ids, read};
use crate::testing::{
    FeedUnderTest, LogUnderTest, event_with_id, fresh_stream, fresh_tenant, sample_event, sample_events,
};

mod failures;
mod neighbours;
mod repeats;
mod subscriptions;

async fn double() -> EventStoreDouble {
    EventStoreDouble::start().await.expect("the double listens")
}

fn open(connection: impl Into<String>) -> EventStoreLog {
    EventStoreLog::open(EventStoreConfig::new(connection)).expect("the log opens")
}

mod on_the_double {
    use super::*;

    async fn fresh() -> LogUnderTest {
        let double = double().await;
        LogUnderTest::new(Arc::new(open(double.url())), double)
    }

    crate::event_log_contract!(common, fresh());
}

mod feed_on_the_double {
    use super::*;

    async fn fresh() -> FeedUnderTest {
        let double = double().await;
        let log = Arc::new(open(double.url()));
        FeedUnderTest::new(log.clone(), Arc::new(LogFeed::new(log)), double)
    }

    crate::event_feed_contract!(fresh());
}
