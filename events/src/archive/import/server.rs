//! What is in PostgreSQL, written in one transaction.
//!
//! **Invariant:** nothing is visible before the COMMIT; a connection that is dropped takes everything back.

use futures::stream;
use tokio_postgres::Client;

use super::tell;
use crate::archive::read::ArchiveReader;
use crate::archive::{ArchiveError, Contents, Place, Places, Progress};
use crate::feed::Checkpoints;
use crate::ids::TenantId;
use crate::log::ReadError;
use crate::postgres::{Postgres, PostgresError};
use crate::seal::postgres::moving;
use crate::seal::wrapped::WrappedSecret;
use crate::{blobs, checkpoints, log, seal};

/// Rows of keys in one statement; a page is 8 KiB.
const ROWS: usize = 256;

/// The engines in a server being filled.
pub(super) struct Server(Client);

impl Server {
    /// Refuses tables with data; `None` where nothing is in a server.
    pub(super) async fn begin(places: &Places) -> Result<Option<Self>, ArchiveError> {
        let Places { log, keys, blobs, checkpoints, folder: _ } = places;
        let server_of = |place: &Place| match place {
            Place::Postgres(postgres) => Some(postgres.clone()),
            Place::Embedded => None,
        };
        // The configuration knows one server.
        let Some(postgres) = [log, keys, blobs, checkpoints].into_iter().find_map(server_of) else { return Ok(None) };
        let parts = [
            (log, &log::postgres::MIGRATIONS),
            (keys, &seal::postgres::MIGRATIONS),
            (blobs, &blobs::postgres::MIGRATIONS),
            (checkpoints, &checkpoints::postgres::MIGRATIONS),
        ];
        for (_, migrations) in parts.into_iter().filter(|(place, _)| server_of(place).is_some()) {
            postgres.migrate(migrations).await?;
        }
        let client = postgres.connect().await?.client;
        client.batch_execute("BEGIN").await.map_err(PostgresError::from)?;
        let in_server = |place| server_of(place).is_some();
        let taken = if in_server(log) && log::postgres::head(&postgres).await? > crate::envelope::Position::START {
            Some("events")
        } else if in_server(keys) && !moving::is_empty(&client).await? {
            Some("keys")
        } else if in_server(blobs) && !blobs::postgres::is_empty(&client).await? {
            Some("blobs")
        } else if in_server(checkpoints) && !checkpoints::postgres::is_empty(&client).await? {
            Some("checkpoints of reactors")
        } else {
            None
        };
        match taken {
            None => Ok(Some(Self(client))),
            Some(what) => Err(ArchiveError::NotEmpty {
                place: format!("schema {}: {what}", postgres.schema()),
                remedy: "name another postgres.schema, or drop that one if nobody needs it",
            }),
        }
    }

    /// Copies the events and answers how many there were.
    pub(super) async fn events(
        &self,
        postgres: &Postgres,
        archive: &mut ArchiveReader,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<u64, ArchiveError> {
        let (mut events, cut) = (0, archive.position().0);
        let next = || {
            let event = archive.event().map_err(|error| ReadError::Unavailable(error.to_string())).transpose();
            if event.is_some() {
                events += 1;
                tell(progress, "events", events, Some(cut));
            }
            event
        };
        let source = Box::pin(stream::iter(std::iter::from_fn(next)));
        log::postgres::import_within(&self.0, &log::postgres::channel(postgres), source).await?;
        Ok(events)
    }

    pub(super) async fn keys(
        &self,
        archive: &mut ArchiveReader,
        secrets: &[WrappedSecret],
        found: &mut Contents,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(), ArchiveError> {
        moving::write_secrets(&self.0, secrets).await?;
        loop {
            let mut keys = Vec::with_capacity(ROWS);
            while keys.len() < ROWS
                && let Some(key) = archive.subject_key()?
            {
                keys.push(key);
            }
            if keys.is_empty() {
                break;
            }
            moving::write_subject_keys(&self.0, &keys).await?;
            found.keys += keys.len() as u64;
            tell(progress, "keys", found.keys, None);
        }
        loop {
            let mut pages = Vec::with_capacity(ROWS);
            while pages.len() < ROWS
                && let Some(page) = archive.page()?
            {
                pages.push(page);
            }
            if pages.is_empty() {
                return Ok(());
            }
            moving::write_pages(&self.0, &pages).await?;
            found.pages += pages.len() as u64;
            tell(progress, "pages of keys", found.pages, None);
        }
    }

    pub(super) async fn blob(&self, tenant: &TenantId, sealed: &[u8]) -> Result<(), ArchiveError> {
        Ok(blobs::postgres::put_within(&self.0, tenant, sealed).await?)
    }

    pub(super) async fn checkpoint(&self, consumer: &str, checkpoints: &Checkpoints) -> Result<(), ArchiveError> {
        Ok(checkpoints::postgres::store_within(&self.0, consumer, checkpoints).await?)
    }

    pub(super) async fn commit(self) -> Result<(), ArchiveError> {
        Ok(self.0.batch_execute("COMMIT").await.map_err(PostgresError::from)?)
    }
}
