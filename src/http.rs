//! The HTTP server: webhooks in, GraphQL, media, health and metrics.
//!
//! **Invariant:** every refusal outside GraphQL is an RFC 9457 problem; a delivery is acknowledged only after the log
//! has taken it.

pub mod auth;
pub mod health;
pub mod problem;
pub mod webhooks;
