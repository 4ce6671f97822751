//! Leases in memory, for tests.
//!
//! **Invariant:** passes `lease_contract!` like every adapter; time is that of the clock given.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::lease::{Lease, LeaseError, Leases, check_name};

/// Leases in memory. Clones are the same leases.
#[derive(Clone)]
pub struct MemoryLeases {
    /// The last lease of each name, and whether it was not released.
    leases: Arc<Mutex<HashMap<String, (Lease, bool)>>>,
    clock: Arc<dyn Clock>,
}

impl MemoryLeases {
    /// Leases that nobody holds.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { leases: Arc::default(), clock }
    }

    fn after(&self, ttl: Duration) -> DateTime<Utc> {
        let ttl = chrono::Duration::from_std(ttl).unwrap_or(chrono::Duration::MAX);
        self.clock.now().checked_add_signed(ttl).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

#[async_trait]
impl Leases for MemoryLeases {
    async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>, LeaseError> {
        check_name(name)?;
        check_name(holder)?;
        let mut leases = self.leases.lock();
        let before = leases.get(name);
        let held = before.filter(|(lease, held)| *held && lease.expires > self.clock.now());
        let term = match held {
            Some((lease, _)) if lease.holder != holder => return Ok(None),
            Some((lease, _)) => lease.term,
            None => before.map_or(1, |(lease, _)| lease.term + 1),
        };
        let lease = Lease { name: name.to_owned(), holder: holder.to_owned(), term, expires: self.after(ttl) };
        leases.insert(name.to_owned(), (lease.clone(), true));
        Ok(Some(lease))
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Option<Lease>, LeaseError> {
        let mut leases = self.leases.lock();
        let Some((stored, true)) = leases.get_mut(&lease.name) else { return Ok(None) };
        if (&stored.holder, stored.term) != (&lease.holder, lease.term) {
            return Ok(None);
        }
        stored.expires = self.after(ttl);
        Ok(Some(stored.clone()))
    }

    async fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        if let Some((stored, held)) = self.leases.lock().get_mut(&lease.name)
            && (&stored.holder, stored.term) == (&lease.holder, lease.term)
        {
            *held = false;
        }
        Ok(())
    }

    async fn holder_of(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        check_name(name)?;
        let leases = self.leases.lock();
        let held = leases.get(name).filter(|(lease, held)| *held && lease.expires > self.clock.now());
        Ok(held.map(|(lease, _)| lease.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::testing::lease_contract::LeasesUnderTest;
    use crate::testing::sample_time;

    async fn fresh() -> LeasesUnderTest {
        let clock = Arc::new(FixedClock::new(sample_time()));
        let leases = Arc::new(MemoryLeases::new(clock.clone()));
        LeasesUnderTest::new(leases.clone(), leases, (), move |_| {
            clock.advance(chrono::Duration::hours(3));
            Box::pin(std::future::ready(()))
        })
    }

    crate::lease_contract!(fresh());
}
