//! The lease port: at most one holder of a name at a time, for the relay, the notary and schedules.
//!
//! **Invariant:** the term of a name grows with each change of holder and never repeats, so that whoever is written to
//! can refuse a holder that was replaced and does not know it yet (fencing). A lease alone keeps nobody from acting: a
//! process that was stopped and wakes up believes what it last heard.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub mod file;
#[cfg(feature = "postgres")]
pub mod postgres;

/// Longest name of a lease and of a holder.
const LONGEST_NAME: usize = 64;

/// That somebody holds a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is held.
    pub name: String,
    /// By whom: one name per process.
    pub holder: String,
    /// The fencing number: higher than that of every holder before.
    pub term: u64,
    /// When it runs out by the clock of the engine: for people to read. A holder counts the time it asked for, on a
    /// clock that cannot be set, from before it asked.
    pub expires: DateTime<Utc>,
}

/// Why nothing is known of a lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Back off and try again; whoever holds a lease stops acting when its time is over.
    #[error("leases unavailable: {0}")]
    Unavailable(String),
    /// The name of the lease or of the holder is not 1 to 64 of `a-z`, `A-Z`, `0-9`, `.`, `_`, `-`, or begins with a dot.
    #[error("invalid name of a lease or its holder")]
    Invalid,
}

/// Who holds what. All adapters pass `lease_contract!`.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the name for `ttl` if it is free or its time is over; `None` while another holds it. Whoever holds it
    /// already gets the same term again, so that an answer which was lost does no harm.
    ///
    /// # Errors
    /// See [`LeaseError`].
    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, LeaseError>;

    /// Holds on for `ttl` from now; `None` when it was released or another took it.
    ///
    /// # Errors
    /// See [`LeaseError`].
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Option<Lease>, LeaseError>;

    /// Lets go, so that the next can take it at once. Does nothing when another holds it by now.
    ///
    /// # Errors
    /// See [`LeaseError`].
    async fn release(&self, lease: &Lease) -> Result<(), LeaseError>;

    /// Who holds the name now, if anybody.
    ///
    /// # Errors
    /// See [`LeaseError`].
    async fn holder_of(&self, name: &str) -> Result<Option<Lease>, LeaseError>;
}

/// Refuses what could not be a file name or would be confused with another.
pub(crate) fn check_name(name: &str) -> Result<(), LeaseError> {
    let valid = (1..=LONGEST_NAME).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if valid { Ok(()) } else { Err(LeaseError::Invalid) }
}
