//! The schema of PostgreSQL that is rebuilt beside the live one.
//!
//! **Invariant:** live processes go on reading and writing until the moment of the swap, and from then on in the rebuilt
//! tables. What an earlier rebuild left behind is removed first.

use async_trait::async_trait;
use events::codec::Codec;
use events::envelope::Position;
use events::feed::Layout;
use events::log::EventLog;
use events::postgres::PostgresConfig;

use super::{Place, Progress, RebuildError, RebuildReport, Swap, run};
use crate::projection::Changes;
use crate::projector::CONSUMER;
use crate::registry;
use crate::store::postgres::{PostgresStore, RebuiltSchema};
use crate::store::{Commit, ReadStore, State, StoreError};

/// A rebuild of read models in PostgreSQL.
pub struct PostgresRebuild<'a> {
    /// The log.
    pub log: &'a dyn EventLog,
    /// Opens its events.
    pub codec: &'a Codec,
    /// Where the live read models are. Others are made beside them, in a schema with `_rebuild` at the end of its name.
    pub config: &'a PostgresConfig,
    /// The live store, where this release can open it; without one nothing is compared.
    pub live: Option<&'a PostgresStore>,
    /// The parts of the feed that fills the live store.
    pub layout: &'a Layout,
    /// When to swap.
    pub swap: Swap,
}

impl PostgresRebuild<'_> {
    /// Runs it. `progress` is told after each slice.
    ///
    /// # Errors
    /// See [`RebuildError`].
    pub async fn run(&self, progress: &(dyn Fn(Progress) + Send + Sync)) -> Result<RebuildReport, RebuildError> {
        let place = Beside { live: self.live, fresh: RebuiltSchema::start(self.config).await? };
        run(self.log, self.codec, self.layout, self.swap, place, progress).await
    }
}

struct Beside<'a> {
    live: Option<&'a PostgresStore>,
    fresh: RebuiltSchema,
}

#[async_trait]
impl Place for Beside<'_> {
    async fn live(&self) -> Result<Option<State>, StoreError> {
        match self.live {
            Some(live) => Ok(Some(live.state(CONSUMER, registry::tables().collect()).await?)),
            None => Ok(None),
        }
    }

    async fn commit(&self, commit: Commit) -> Result<Changes, StoreError> {
        self.fresh.commit(commit).await?;
        Ok(Changes::default())
    }

    async fn state(&self) -> Result<State, StoreError> {
        self.fresh.state().await
    }

    async fn finish(&self) -> Result<(), StoreError> {
        self.fresh.finish().await
    }

    async fn put_in_place(&mut self) -> Result<Option<Position>, RebuildError> {
        Ok(self.fresh.put_in_place().await?)
    }

    async fn remove(&mut self) -> Result<(), RebuildError> {
        Ok(self.fresh.remove().await?)
    }
}
