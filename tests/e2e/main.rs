//! Customers' stories against the whole server on this machine, with a fake Telegram and a fake mail server.
//!
//! **Invariant:** nothing is waited for by time: a test waits for an event of the log or a read model's position, and
//! fails when it does not come.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chat;
mod deliveries;
mod desk;
mod engines;
mod fakes;
mod files;
#[cfg(feature = "eventstore")]
mod late_repeats;
mod mail;
mod moving;
mod operations;
mod refusals;
mod replies;
mod stage;
