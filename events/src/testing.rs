//! What tests of this and other crates share: contracts of the ports, adapters in memory, sample events.
//!
//! **Invariant:** nothing here is compiled into a release build: the module exists in tests and with the feature
//! `testing` only.

pub mod blobs_contract;
pub mod key_store_contract;
pub mod memory_blobs;
pub mod memory_keys;
pub mod samples;
