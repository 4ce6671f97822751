//! Keys and a log that lie in different places.
//!
//! **Invariant:** every test has a server and folders of its own.

use std::path::Path;
use std::sync::Arc;

use events::log::ExpectedRevision;
use events::testing::eventstore::EventStoreDouble;
use events::testing::{fresh_stream, fresh_tenant, sample_events};

use super::{Access, Engines};
use crate::clock::SystemClock;
use crate::config::{Config, LogEngine};

async fn open(double: &EventStoreDouble, folder: &Path) -> anyhow::Result<Engines> {
    let mut config = Config { data_dir: folder.to_owned(), ..Config::default() };
    config.log.engine = LogEngine::Eventstore;
    config.eventstore.url = double.url().into();
    Engines::open(&config, Access::Append, Arc::new(SystemClock)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_keys_are_made_anew_beside_a_log_that_has_events_elsewhere() {
    let double = EventStoreDouble::start().await.unwrap();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engines = open(&double, first.path()).await.expect("an empty log may get keys");
    engines
        .event_log()
        .append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, sample_events("e", 1))
        .await
        .unwrap();
    engines.log.close().await;
    drop(engines);
    for _ in 0..2 {
        let refused = open(&double, second.path()).await.err().expect("its keys would open nothing");
        assert!(refused.to_string().contains("place without their keys"), "{refused:#}");
    }
    open(&double, first.path()).await.expect("the keys are where they were");
}
