//! The contract suites on real servers, one module per engine, so that every test names the engine it ran on.
//!
//! **Invariant:** a test that finds no server fails; nothing is skipped.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;

mod eventstore;
mod kafka;
mod kafka_tls;
mod postgres;

/// The address of a server that `make engines` started.
///
/// # Panics
/// When it is not set: these tests run against servers or fail.
pub(crate) fn server(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `make engines`, which starts the servers"))
}
