//! The system clock and fresh ids: the only place that reads either.
//!
//! **Invariant:** everything else is given a [`Clock`] and an [`IdGenerator`].

use chrono::{DateTime, SubsecRound, Utc};
use events::clock::{Clock, IdGenerator};
use uuid::Uuid;

/// The clock of the operating system, cut to microseconds: the precision of the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
}

/// `UUIDv7` of the system clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl IdGenerator for SystemIds {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes ids")]
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}
