//! The heartbeats port: when an operator last showed a sign of life.
//!
//! **Invariant:** a sign of life is no event: it is of no use once the next one has come, and a hundred operators show
//! thousands an hour. That one has shown none for too long is an event, written by whoever looks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::clock::Clock;
use crate::ids::TenantId;

#[cfg(feature = "postgres")]
pub mod postgres;

/// Why nothing is known of heartbeats.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeartbeatError {
    /// Back off and try again; nobody is absent because of it.
    #[error("heartbeats unavailable: {0}")]
    Unavailable(String),
}

/// An operator, by tenant and name in tokens.
pub type Who = (TenantId, Arc<str>);

/// How long ago each operator showed a sign of life.
pub type Ages = HashMap<Who, Duration>;

/// Signs of life. All adapters pass `heartbeats_contract!`.
#[async_trait]
pub trait Heartbeats: Send + Sync {
    /// Notes that the operator is there now.
    ///
    /// # Errors
    /// See [`HeartbeatError`].
    async fn beat(&self, tenant: &TenantId, operator: &str) -> Result<(), HeartbeatError>;

    /// How long ago each of them last was; whoever never was is missing.
    ///
    /// # Errors
    /// See [`HeartbeatError`].
    async fn ages(&self) -> Result<Ages, HeartbeatError>;
}

/// Signs of life in the memory of one process: after a restart nothing is known of anybody.
pub struct MemoryHeartbeats {
    clock: Arc<dyn Clock>,
    last: Mutex<HashMap<Who, DateTime<Utc>>>,
}

impl MemoryHeartbeats {
    /// None yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last: Mutex::default() }
    }
}

#[async_trait]
impl Heartbeats for MemoryHeartbeats {
    async fn beat(&self, tenant: &TenantId, operator: &str) -> Result<(), HeartbeatError> {
        let now = self.clock.now();
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert((tenant.clone(), operator.into()), now);
        Ok(())
    }

    async fn ages(&self) -> Result<Ages, HeartbeatError> {
        let now = self.clock.now();
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(last.iter().map(|(who, at)| (who.clone(), (now - *at).to_std().unwrap_or_default())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::testing::heartbeats_contract::HeartbeatsUnderTest;

    async fn fresh() -> HeartbeatsUnderTest {
        let heartbeats: Arc<dyn Heartbeats> =
            Arc::new(MemoryHeartbeats::new(Arc::new(FixedClock::new(crate::testing::sample_time()))));
        HeartbeatsUnderTest { one: Arc::clone(&heartbeats), other: heartbeats, keep: Box::new(()) }
    }

    crate::heartbeats_contract!(fresh());
}
