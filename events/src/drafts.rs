//! The drafts port: who is replying in a conversation right now.
//!
//! **Invariant:** one at a time, and nobody for longer than they say so: a draft ends by itself. It is no event, since it is
//! worth nothing a minute later; what keeps two from answering for good is the speaker of the conversation. Nobody learns of
//! the drafts of another tenant, whatever they know of its conversations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::clock::Clock;
use crate::ids::{ConversationId, TenantId};

#[cfg(feature = "postgres")]
pub mod postgres;

/// Why nothing is known of drafts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// Back off and try again; nobody is kept from answering because of it.
    #[error("drafts unavailable: {0}")]
    Unavailable(String),
}

/// A conversation of a tenant.
pub type Replied<'a> = (&'a TenantId, ConversationId);

/// Who is replying. All adapters pass `drafts_contract!`.
#[async_trait]
pub trait Drafts: Send + Sync {
    /// Notes for `ttl` that the operator is replying, unless somebody else is; returns who is.
    ///
    /// # Errors
    /// See [`DraftError`].
    async fn hold(&self, of: Replied<'_>, operator: &str, ttl: Duration) -> Result<Arc<str>, DraftError>;

    /// Notes that the operator is not replying any more; another's draft stays.
    ///
    /// # Errors
    /// See [`DraftError`].
    async fn release(&self, of: Replied<'_>, operator: &str) -> Result<(), DraftError>;

    /// Who is replying, if anybody.
    ///
    /// # Errors
    /// See [`DraftError`].
    async fn holder(&self, of: Replied<'_>) -> Result<Option<Arc<str>>, DraftError>;
}

/// Who is replying, and until when.
type Held = (Arc<str>, DateTime<Utc>);

/// Drafts in the memory of one process.
pub struct MemoryDrafts {
    clock: Arc<dyn Clock>,
    held: Mutex<HashMap<(TenantId, ConversationId), Held>>,
}

impl MemoryDrafts {
    /// None yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, held: Mutex::default() }
    }
}

#[async_trait]
impl Drafts for MemoryDrafts {
    async fn hold(&self, of: Replied<'_>, operator: &str, ttl: Duration) -> Result<Arc<str>, DraftError> {
        let (now, key) = (self.clock.now(), (of.0.clone(), of.1));
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // So that what nobody asks for again does not stay.
        held.retain(|_, (_, until)| *until > now);
        if let Some((other, _)) = held.get(&key).filter(|(other, _)| **other != *operator) {
            return Ok(Arc::clone(other));
        }
        let operator: Arc<str> = operator.into();
        held.insert(key, (Arc::clone(&operator), now + ttl));
        Ok(operator)
    }

    async fn release(&self, of: Replied<'_>, operator: &str) -> Result<(), DraftError> {
        let key = (of.0.clone(), of.1);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(&key).is_some_and(|(holder, _)| **holder == *operator) {
            held.remove(&key);
        }
        Ok(())
    }

    async fn holder(&self, of: Replied<'_>) -> Result<Option<Arc<str>>, DraftError> {
        let (now, key) = (self.clock.now(), (of.0.clone(), of.1));
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(held.get(&key).filter(|(_, until)| *until > now).map(|(holder, _)| Arc::clone(holder)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::testing::drafts_contract::DraftsUnderTest;

    async fn fresh() -> DraftsUnderTest {
        let clock = Arc::new(FixedClock::new(crate::testing::sample_time()));
        let drafts: Arc<dyn Drafts> = Arc::new(MemoryDrafts::new(clock.clone()));
        DraftsUnderTest::new(Arc::clone(&drafts), drafts, (), move || {
            let clock = clock.clone();
            Box::pin(async move { clock.advance(chrono::Duration::hours(2)) })
        })
    }

    crate::drafts_contract!(fresh());
}
