//! Processes that share engines: the built program, one process per role, on servers that `make engines` started.
//!
//! **Invariant:** a test that finds no server fails; nothing is skipped. Processes are real: they share nothing with the
//! test but the engines.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod balancer;
mod faults;
mod fleet;
mod processes;
mod replicas;
mod visitor;

/// The address of a server that `make engines` started.
///
/// # Panics
/// When it is not set: these tests run against servers or fail.
pub(crate) fn server(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run `make engines`, which starts the servers"))
}
