//! The schema against a whole installation in a folder: embedded log, key store, read models.
//!
//! **Invariant:** nothing is waited for by time: reads wait for tokens.

mod cases;
mod desk;
mod limits;
mod mutations;
mod reads;
mod roles;
mod schema;
mod stack;
mod subscriptions;
