//! Reading an archive.
//!
//! **Invariant:** nothing is believed before the whole file was checked against the hash at its end. What is in memory is
//! one record.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;

use super::write::{FORMAT, VERSION};
use super::{ArchiveError, Contents, Progress, Record, records};
use crate::envelope::Position;
use crate::feed::Checkpoints;
use crate::ids::TenantId;
use crate::log::Imported;
use crate::seal::wrapped::{WrappedPage, WrappedSecret, WrappedSubjectKey};

/// Longest first line.
const LONGEST_HEADER: u64 = 1024;
/// Bytes hashed at a time.
const CHUNK: usize = 1 << 20;
/// How often progress is told, in chunks.
const TOLD_EVERY: u64 = 64;

#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
    #[serde(default)]
    position: u64,
}

/// Checks the whole file against the hash at its end.
pub(super) fn check(path: &Path, progress: &dyn Fn(Progress)) -> Result<(), ArchiveError> {
    let failed = || ArchiveError::of(path);
    let mut file = File::open(path).map_err(failed())?;
    let length = file.metadata().map_err(failed())?.len();
    header(&mut BufReader::new(&file), path)?;
    std::io::Seek::rewind(&mut file).map_err(failed())?;
    let cut_off = ArchiveError::Damaged("it is cut off or was changed: copy it again, or export again");
    let Some(hashed) = length.checked_sub(blake3::OUT_LEN as u64) else { return Err(cut_off) };
    let (mut hasher, mut chunk, mut done, mut chunks) = (blake3::Hasher::new(), vec![0; CHUNK], 0, 0_u64);
    while done < hashed {
        let wanted = usize::try_from(hashed - done).unwrap_or(CHUNK).min(CHUNK);
        file.read_exact(&mut chunk[..wanted]).map_err(failed())?;
        hasher.update(&chunk[..wanted]);
        done += wanted as u64;
        if chunks.is_multiple_of(TOLD_EVERY) {
            progress(Progress { doing: "checking bytes", done, of: Some(hashed) });
        }
        chunks += 1;
    }
    let mut stored = [0; blake3::OUT_LEN];
    file.read_exact(&mut stored).map_err(failed())?;
    if hasher.finalize() == stored { Ok(()) } else { Err(cut_off) }
}

/// Reads the first line.
fn header(input: &mut impl BufRead, path: &Path) -> Result<Position, ArchiveError> {
    let mut line = Vec::new();
    input.take(LONGEST_HEADER).read_until(b'\n', &mut line).map_err(ArchiveError::of(path))?;
    let header = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<Header>(line).ok());
    match header {
        Some(header) if header.format == FORMAT && header.version == VERSION => Ok(Position(header.position)),
        Some(header) if header.format == FORMAT => Err(ArchiveError::Version(header.version)),
        _ => Err(ArchiveError::Damaged("it is no archive of letopis")),
    }
}

/// An archive that was checked, record by record.
pub(super) struct ArchiveReader {
    path: PathBuf,
    input: BufReader<File>,
    position: Position,
    /// Read and not given yet.
    next: Option<Record>,
}

/// Gives the next record where it is of one kind; leaves it where it is not.
macro_rules! next_of {
    ($($(#[$doc:meta])* $name:ident -> $given:ty: $pattern:pat => $value:expr;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name(&mut self) -> Result<Option<$given>, ArchiveError> {
            let record = match self.next.take() {
                Some(record) => record,
                None => self.read()?,
            };
            match record {
                $pattern => Ok(Some($value)),
                other => {
                    self.next = Some(other);
                    Ok(None)
                }
            }
        }
    )*};
}

impl ArchiveReader {
    /// Opens an archive.
    pub(super) fn open(path: &Path) -> Result<Self, ArchiveError> {
        let mut input = BufReader::with_capacity(CHUNK, File::open(path).map_err(ArchiveError::of(path))?);
        let position = header(&mut input, path)?;
        Ok(Self { path: path.to_owned(), input, position, next: None })
    }

    /// Every event up to here is in it.
    pub(super) const fn position(&self) -> Position {
        self.position
    }

    next_of! {
        /// The next secret.
        secret -> WrappedSecret: Record::Secret(secret) => secret;
        /// The next event.
        event -> Imported: Record::Event(event) => *event;
        /// The next key of a subject.
        subject_key -> WrappedSubjectKey: Record::SubjectKey(key) => key;
        /// The next page.
        page -> WrappedPage: Record::Page(page) => page;
        /// The next blob.
        blob -> (TenantId, Bytes): Record::Blob { tenant, sealed } => (tenant, sealed);
        /// The next checkpoint.
        checkpoint -> (String, Checkpoints): Record::Checkpoint { consumer, checkpoints } => (consumer, checkpoints);
        /// The end.
        end -> Contents: Record::End(contents) => contents;
    }

    fn read(&mut self) -> Result<Record, ArchiveError> {
        let mut frame = [0; 9];
        self.input.read_exact(&mut frame).map_err(ArchiveError::of(&self.path))?;
        let [kind, h0, h1, h2, h3, b0, b1, b2, b3] = frame;
        let head = self.bytes(u32::from_be_bytes([h0, h1, h2, h3]))?;
        let body = self.bytes(u32::from_be_bytes([b0, b1, b2, b3]))?;
        records::decode(kind, &head, body.into(), self.position)
    }

    fn bytes(&mut self, length: u32) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = Vec::new();
        let read =
            (&mut self.input).take(length.into()).read_to_end(&mut bytes).map_err(ArchiveError::of(&self.path))?;
        if read as u64 == u64::from(length) { Ok(bytes) } else { Err(ArchiveError::Damaged("a record is cut off")) }
    }
}
