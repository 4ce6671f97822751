//! Filling empty engines from an archive.
//!
//! **Invariant:** the archive, the key-encryption key and the emptiness of the engines are checked before anything is
//! written. What is in one server is written in one transaction; what is embedded is made under another name and gets its
//! own at the end, the log last. So whatever fails, there is no log without what it needs.

use std::path::Path;

use super::read::{ArchiveReader, check};
use super::{ArchiveError, Contents, Place, Places, Progress};
use crate::seal::wrapped::{self, WrappedSecret};
use crate::seal::{KeyEncryptionKey, OpenKeyStoreError};

mod folder;
#[cfg(feature = "postgres")]
mod server;

use folder::Folder;
#[cfg(feature = "postgres")]
use server::Server;

/// Progress is told each time so many records are done.
const TOLD_EVERY: u64 = 1024;

/// The engines that are filled.
struct Targets<'a> {
    places: &'a Places,
    folder: Option<Folder>,
    #[cfg(feature = "postgres")]
    server: Option<Server>,
    progress: &'a (dyn Fn(Progress) + Send + Sync),
}

/// Fills empty engines from an archive, keeping positions, revisions and times; answers what was in it. Reads the archive
/// and writes SQLite on the caller's thread: for a command that does nothing else.
///
/// # Errors
/// See [`ArchiveError`]; then the engines are as empty as before, but for what is told below.
///
/// Where some engines are embedded and others are in a server, a failure of the very last step (the COMMIT, the new name of
/// the log) can leave keys and blobs behind; the log is empty then.
pub async fn import(
    path: &Path,
    places: &Places,
    kek: &KeyEncryptionKey,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Contents, ArchiveError> {
    check(path, progress)?;
    let mut archive = ArchiveReader::open(path)?;
    let mut secrets = Vec::new();
    while let Some(secret) = archive.secret()? {
        secrets.push(secret);
    }
    wrapped::check(&secrets, kek).map_err(|error| match error {
        OpenKeyStoreError::WrongKey => ArchiveError::WrongKey,
        other => other.into(),
    })?;
    let mut targets = Targets {
        places,
        folder: Folder::begin(places, kek).await?,
        #[cfg(feature = "postgres")]
        server: Server::begin(places).await?,
        progress,
    };
    let contents = targets.fill(&mut archive, &secrets).await?;
    targets.finish().await?;
    Ok(contents)
}

impl Targets<'_> {
    async fn fill(&mut self, archive: &mut ArchiveReader, secrets: &[WrappedSecret]) -> Result<Contents, ArchiveError> {
        let cut = archive.position();
        let mut found = Contents { position: cut, ..Contents::default() };
        match (&self.places.log, &mut self.folder) {
            (Place::Embedded, Some(folder)) => {
                while let Some(event) = archive.event()? {
                    folder.event(&event)?;
                    found.events += 1;
                    tell(self.progress, "events", found.events, Some(cut.0));
                }
            }
            #[cfg(feature = "postgres")]
            (Place::Postgres(postgres), _) => {
                let Some(server) = &self.server else { return Err(unopened()) };
                found.events = server.events(postgres, archive, self.progress).await?;
            }
            (Place::Embedded, None) => return Err(unopened()),
        }
        self.keys(archive, secrets, &mut found).await?;
        while let Some((tenant, sealed)) = archive.blob()? {
            match (&self.places.blobs, &self.folder) {
                (Place::Embedded, Some(folder)) => folder.blob(&tenant, sealed).await?,
                #[cfg(feature = "postgres")]
                (Place::Postgres(_), _) => self.server()?.blob(&tenant, &sealed).await?,
                (Place::Embedded, None) => return Err(unopened()),
            }
            found.blobs += 1;
            tell(self.progress, "blobs", found.blobs, None);
        }
        while let Some((consumer, checkpoints)) = archive.checkpoint()? {
            match (&self.places.checkpoints, &self.folder) {
                (Place::Embedded, Some(folder)) => folder.checkpoint(&consumer, &checkpoints).await?,
                #[cfg(feature = "postgres")]
                (Place::Postgres(_), _) => self.server()?.checkpoint(&consumer, &checkpoints).await?,
                (Place::Embedded, None) => return Err(unopened()),
            }
            found.checkpoints += 1;
        }
        match archive.end()? {
            Some(contents) if contents == found => Ok(contents),
            Some(_) => Err(ArchiveError::Damaged("it does not hold what it says at its end")),
            None => Err(ArchiveError::Damaged("its records are not in their order")),
        }
    }

    async fn keys(
        &self,
        archive: &mut ArchiveReader,
        secrets: &[WrappedSecret],
        found: &mut Contents,
    ) -> Result<(), ArchiveError> {
        match (&self.places.keys, &self.folder) {
            (Place::Embedded, Some(folder)) => {
                let keys = folder.keys()?;
                for secret in secrets {
                    keys.secret(secret)?;
                }
                while let Some(key) = archive.subject_key()? {
                    keys.subject_key(&key)?;
                    found.keys += 1;
                    tell(self.progress, "keys", found.keys, None);
                }
                while let Some(page) = archive.page()? {
                    keys.page(&page)?;
                    found.pages += 1;
                    tell(self.progress, "pages of keys", found.pages, None);
                }
                Ok(())
            }
            #[cfg(feature = "postgres")]
            (Place::Postgres(_), _) => self.server()?.keys(archive, secrets, found, self.progress).await,
            (Place::Embedded, None) => Err(unopened()),
        }
    }

    #[cfg(feature = "postgres")]
    fn server(&self) -> Result<&Server, ArchiveError> {
        self.server.as_ref().ok_or_else(unopened)
    }

    /// Makes everything durable and gives it its names, the log's last.
    async fn finish(self) -> Result<(), ArchiveError> {
        let named = self.folder.map(Folder::name_what_a_log_needs).transpose()?;
        #[cfg(feature = "postgres")]
        if let Some(server) = self.server {
            server.commit().await?;
        }
        #[cfg(not(feature = "postgres"))]
        std::future::ready(()).await;
        named.map_or(Ok(()), Folder::name_the_log)
    }
}

fn tell(progress: &(dyn Fn(Progress) + Send + Sync), doing: &'static str, done: u64, of: Option<u64>) {
    if done.is_multiple_of(TOLD_EVERY) {
        progress(Progress { doing, done, of });
    }
}

/// Never shown: what the places name is opened first.
fn unopened() -> ArchiveError {
    ArchiveError::Damaged("an engine was not opened")
}
