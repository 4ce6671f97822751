//! Tests of the embedded log: the contract, and what only it has.
//!
//! **Invariant:** every test works on a real file in a folder of its own.

use std::sync::Arc;

use super::*;
use crate::clock::FixedClock;
use crate::feed::LogFeed;
use crate::testing::{FeedUnderTest, LogUnderTest, sample_time};

mod faults;
mod model;
mod opening;

fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock::new(sample_time()))
}

fn config(folder: &tempfile::TempDir) -> EmbeddedLogConfig {
    // So few ids are gathered that those of most tests are in memory, on their way and in the table.
    EmbeddedLogConfig { gathered_ids: 3, ..EmbeddedLogConfig::new(folder.path().join("log.db")) }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for the test")
}

mod log_contract {
    use super::*;

    async fn fresh() -> LogUnderTest {
        let (folder, clock) = (folder(), clock());
        let log = EmbeddedLog::open(config(&folder), clock.clone()).expect("the log opens");
        LogUnderTest::new(Arc::new(log), folder).with_clock(clock)
    }

    crate::event_log_contract!(strict, fresh());
}

/// The same for readers that look at the file where the system has it.
mod mapped_log_contract {
    use super::*;

    async fn fresh() -> LogUnderTest {
        let (folder, clock) = (folder(), clock());
        let config = EmbeddedLogConfig { mapped_bytes: u64::MAX, ..config(&folder) };
        let log = EmbeddedLog::open(config, clock.clone()).expect("the log opens");
        LogUnderTest::new(Arc::new(log), folder).with_clock(clock)
    }

    crate::event_log_contract!(strict, fresh());
}

mod feed_contract {
    use super::*;

    async fn fresh() -> FeedUnderTest {
        let folder = folder();
        let log = Arc::new(EmbeddedLog::open(config(&folder), clock()).expect("the log opens"));
        FeedUnderTest::new(log.clone(), Arc::new(LogFeed::new(log)), folder)
    }

    crate::event_feed_contract!(fresh());
}
