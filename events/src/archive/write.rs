//! Writing an archive.
//!
//! **Invariant:** a file under its final name is whole and on the disk; it never takes the place of another file. Only its
//! owner can read it.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{ArchiveError, Contents, Record, records};
use crate::envelope::Position;

/// What the first line says that the file is.
pub(super) const FORMAT: &str = "letopis archive";
/// The version of the format.
pub(super) const VERSION: u32 = 1;

/// An archive being written; dropped before its end, it leaves nothing.
pub(super) struct ArchiveWriter {
    path: PathBuf,
    partial: PathBuf,
    output: Option<BufWriter<File>>,
    hasher: blake3::Hasher,
    contents: Contents,
}

impl ArchiveWriter {
    /// Begins an archive of everything up to `position`.
    pub(super) fn create(path: &Path, position: Position) -> Result<Self, ArchiveError> {
        let exists = || std::io::Error::new(std::io::ErrorKind::AlreadyExists, "there is a file of this name already");
        if path.exists() {
            return Err(ArchiveError::of(path)(exists()));
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let output = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial);
        let output = BufWriter::with_capacity(1 << 20, output.map_err(ArchiveError::of(&partial))?);
        let contents = Contents { position, ..Contents::default() };
        let mut writer =
            Self { path: path.to_owned(), partial, output: Some(output), hasher: blake3::Hasher::new(), contents };
        let position = position.0;
        let header = format!("{{\"format\":\"{FORMAT}\",\"version\":{VERSION},\"position\":{position}}}\n");
        writer.write(header.as_bytes())?;
        Ok(writer)
    }

    /// Adds a record and counts it.
    pub(super) fn add(&mut self, record: &Record) -> Result<(), ArchiveError> {
        let (kind, head, body) = records::encode(record).map_err(|error| ArchiveError::of(&self.path)(error.into()))?;
        self.frame(kind, head.as_bytes(), body.len())?;
        self.write(&body)?;
        let Contents { position: _, events, keys, pages, blobs, checkpoints } = &mut self.contents;
        match record {
            Record::Event(_) => *events += 1,
            Record::SubjectKey(_) => *keys += 1,
            Record::Page(_) => *pages += 1,
            Record::Blob { .. } => *blobs += 1,
            Record::Checkpoint { .. } => *checkpoints += 1,
            Record::Secret(_) | Record::End(_) => {}
        }
        Ok(())
    }

    /// Ends the archive and gives the file its name.
    pub(super) fn finish(mut self) -> Result<Contents, ArchiveError> {
        let contents = self.contents;
        let (kind, head, _) =
            records::encode(&Record::End(contents)).map_err(|error| ArchiveError::of(&self.path)(error.into()))?;
        self.frame(kind, head.as_bytes(), blake3::OUT_LEN)?;
        let hash = self.hasher.finalize();
        self.write(hash.as_bytes())?;
        let Some(output) = self.output.take() else { return Ok(contents) };
        let file = output.into_inner().map_err(|error| ArchiveError::of(&self.partial)(error.into_error()))?;
        file.sync_all().map_err(ArchiveError::of(&self.partial))?;
        // Unlike a rename, a link never replaces what somebody else put there meanwhile.
        fs::hard_link(&self.partial, &self.path).map_err(ArchiveError::of(&self.path))?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(ArchiveError::of(folder))?;
        Ok(contents)
    }

    fn frame(&mut self, kind: u8, head: &[u8], body: usize) -> Result<(), ArchiveError> {
        let length = |length: usize| u32::try_from(length).map_err(|_| ArchiveError::Damaged("a record is too large"));
        let (head_length, body_length) = (length(head.len())?, length(body)?);
        self.write(&[kind])?;
        self.write(&head_length.to_be_bytes())?;
        self.write(&body_length.to_be_bytes())?;
        self.write(head)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.hasher.update(bytes);
        let Some(output) = &mut self.output else { return Ok(()) };
        output.write_all(bytes).map_err(ArchiveError::of(&self.partial))
    }
}

impl Drop for ArchiveWriter {
    fn drop(&mut self) {
        // Also after the end, when the file has its other name. What cannot be removed is no archive by its name.
        drop(self.output.take());
        let _ = fs::remove_file(&self.partial);
    }
}
