//! The log in EventStoreDB or KurrentDB.
//!
//! **Invariant:** the connection string is shown nowhere: it may hold a password.

use std::sync::Arc;

use anyhow::Context;
use events::log::eventstore::{EventStoreConfig, EventStoreLog};

use super::Log;
use crate::config::Config;

pub(super) fn log(config: &Config) -> anyhow::Result<Log> {
    let url = match &config.eventstore.url_file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?,
        None => config.eventstore.url.reveal().to_owned(),
    };
    let log = EventStoreLog::open(EventStoreConfig::new(url.trim())).context("the log in EventStoreDB")?;
    Ok(Log::Eventstore(Arc::new(log)))
}
