//! The HTTP surface: what the outside reaches letopis by.
//!
//! **Invariant:** nothing is read from a request before its size is bounded, and nothing is done for it before it is
//! known whose it is.

pub mod graphql;
