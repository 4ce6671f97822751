//! The messages and services of the protocol, compiled by `build.rs` from `protos/eventstore`.
//!
//! **Invariant:** nothing here is written by hand.
include!(concat!(env!("OUT_DIR"), "/eventstore.rs"));
