//! Archives: the data of one installation in one file, to move it between engines or to keep a copy.
//!
//! **Invariant:** personal data stands in an archive as it stands in the engines: sealed, its keys wrapped by the
//! key-encryption key, which is not in it. An archive that is cut off or changed is refused before anything is written.
//!
//! Format 1. A line of JSON, `{"format":"letopis archive","version":1,"position":42}`, where `position` is the cut: every
//! event up to it is in the archive and none after it. Then records, each
//!
//! | bytes | what |
//! |---|---|
//! | 1 | kind, an ASCII letter |
//! | 4 | length of the head, big-endian |
//! | 4 | length of the body, big-endian |
//! | | head: JSON in UTF-8 |
//! | | body: bytes as they are stored |
//!
//! in this order of kinds:
//!
//! | kind | head | body |
//! |---|---|---|
//! | `s` secret of the installation | `name` | wrapped |
//! | `e` event | `position`, `stream`, `revision`, `id`, `type`, `version`, `recorded_at` (µs since 1970), `digest`, `metadata` | payload |
//! | `k` key of a subject | `id`, `destroyed` | wrapped; empty when destroyed |
//! | `p` page of pool keys | `run`, `page` | wrapped |
//! | `b` blob | `tenant`, `hash` | sealed |
//! | `c` checkpoint of a reactor | `consumer`, `part`, `place`, `position` | |
//! | `z` end | `events`, `keys`, `pages`, `blobs`, `checkpoints` | BLAKE3 of everything before the body |
//!
//! The log is append-only, so that the events up to the cut are the same whenever they are read. What they need is read
//! after them: a key and a blob are durable before the event that needs them. Checkpoints are read last and cut to the
//! position of the archive.
//!
//! The hash tells damage, not malice: keep an archive where the data itself might be kept. It holds keys, wrapped, also of
//! people who are erased later: destroy it when it has done its work.

use std::path::PathBuf;

use crate::blobs::BlobError;
use crate::consumer::ConsumeError;
use crate::envelope::Position;
use crate::feed::Checkpoints;
use crate::ids::TenantId;
use crate::log::{Imported, Misplaced, ReadError};
#[cfg(feature = "postgres")]
use crate::postgres::{Postgres, PostgresError};
use crate::seal::OpenKeyStoreError;
use crate::seal::wrapped::{WrappedPage, WrappedSecret, WrappedSubjectKey};

mod export;
mod import;
mod read;
mod records;
mod write;

#[cfg(test)]
mod tests;

pub use export::export;
pub use import::import;

/// Where the parts of an installation are kept.
#[derive(Debug, Clone)]
pub struct Places {
    /// The log.
    pub log: Place,
    /// The key store.
    pub keys: Place,
    /// The blobs.
    pub blobs: Place,
    /// Checkpoints of reactors.
    pub checkpoints: Place,
    /// The data folder, of what is embedded.
    pub folder: PathBuf,
}

/// Where a part is kept.
#[derive(Debug, Clone)]
pub enum Place {
    /// In the data folder, under its usual name.
    Embedded,
    /// In this server and schema.
    #[cfg(feature = "postgres")]
    Postgres(Postgres),
}

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// Every event up to this position.
    pub position: Position,
    /// Events.
    pub events: u64,
    /// Keys of subjects, those that were destroyed among them.
    pub keys: u64,
    /// Pages of 256 keys of the pool.
    pub pages: u64,
    /// Blobs.
    pub blobs: u64,
    /// Checkpoints of reactors.
    pub checkpoints: u64,
}

/// How far an export or import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, in a word or two.
    pub doing: &'static str,
    /// Done of it.
    pub done: u64,
    /// All of it, where that is known.
    pub of: Option<u64>,
}

/// Why there is no archive, or nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive, or a file of the data folder, cannot be read or written.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file that is no archive, is cut off or was changed: make it anew, or copy it again.
    #[error("the archive cannot be used: {0}")]
    Damaged(&'static str),
    /// A newer letopis made it.
    #[error("the archive has format {0}, which this release does not know")]
    Version(u32),
    /// The keys in the archive are wrapped by another key-encryption key: configure that of the old place.
    #[error("the keys in the archive were wrapped by another key-encryption key than the configured one")]
    WrongKey,
    /// There is data already; an import wants a place without any.
    #[error("there is data already, in {place}: an import needs empty engines, so {remedy}")]
    NotEmpty {
        /// What was found, and where.
        place: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The log could not be read.
    #[error("the log")]
    Log(#[from] ReadError),
    /// The log did not take the events.
    #[error("the log")]
    EmbeddedLog(#[from] crate::log::embedded::ImportError),
    /// The events are not those of a log.
    #[error("the log")]
    Misplaced(#[from] Misplaced),
    /// The key store could not be read or written, or the key-encryption key is another one.
    #[error("the key store")]
    Keys(#[from] OpenKeyStoreError),
    /// A blob could not be read or written.
    #[error("the blobs")]
    Blobs(#[from] BlobError),
    /// Checkpoints could not be read or written.
    #[error("the checkpoints of reactors")]
    Checkpoints(#[from] ConsumeError),
    /// The server did not do it.
    #[cfg(feature = "postgres")]
    #[error("the server")]
    Postgres(#[from] PostgresError),
    /// The log in the server did not take the events.
    #[cfg(feature = "postgres")]
    #[error("the log")]
    PostgresLog(#[from] crate::log::postgres::ImportError),
}

impl ArchiveError {
    /// For errors of this file.
    fn of(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        |error| Self::File { path, error }
    }
}

/// A record of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Record {
    Secret(WrappedSecret),
    Event(Box<Imported>),
    SubjectKey(WrappedSubjectKey),
    Page(WrappedPage),
    Blob { tenant: TenantId, sealed: bytes::Bytes },
    Checkpoint { consumer: String, checkpoints: Checkpoints },
    End(Contents),
}
