//! How far each reactor has come: one small file per reactor.
//!
//! **Invariant:** a checkpoint is a cache of work done. An old or missing one makes a reactor look at events again,
//! which changes nothing (design invariant 8), so files are overwritten in place and not synced. One write of some
//! twenty bytes is never half there after a crash of the process; whatever is no checkpoint counts as none.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use events::consumer::ConsumeError;
use events::feed::Checkpoints;
use parking_lot::Mutex;

/// Bytes of a stored checkpoint: any position and a line feed. Padding keeps a shorter one from leaving digits behind.
const WIDTH: usize = 21;

/// The checkpoint file of one reactor.
#[derive(Debug, Clone)]
pub struct CheckpointFile {
    file: Arc<Mutex<File>>,
}

impl CheckpointFile {
    /// The file of the reactor with this stable name, in `folder`.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn new(folder: PathBuf, reactor: &str) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let file = File::options().create(true).truncate(false).read(true).write(true).open(folder.join(reactor))?;
        Ok(Self { file: Arc::new(Mutex::new(file)) })
    }

    /// What was stored last; the start when nothing was.
    ///
    /// # Errors
    /// [`ConsumeError::Retry`] when the file cannot be read.
    pub async fn load(&self) -> Result<Checkpoints, ConsumeError> {
        let text = self.with_file(|file| {
            let mut bytes = Vec::with_capacity(WIDTH);
            file.seek(SeekFrom::Start(0))?;
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8(bytes).unwrap_or_default())
        });
        Ok(text.await?.trim().parse().unwrap_or_default())
    }

    /// Overwrites what is stored.
    ///
    /// # Errors
    /// [`ConsumeError::Retry`] when the file cannot be written.
    pub async fn store(&self, checkpoints: &Checkpoints) -> Result<(), ConsumeError> {
        let text = format!("{:<width$}\n", checkpoints.to_string(), width = WIDTH - 1);
        self.with_file(move |file| {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(text.as_bytes())
        })
        .await
    }

    async fn with_file<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut File) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, ConsumeError> {
        let file = Arc::clone(&self.file);
        let done = tokio::task::spawn_blocking(move || act(&mut file.lock())).await;
        let done = done.map_err(|error| ConsumeError::Retry(format!("checkpoint: {error}")))?;
        done.map_err(|error| ConsumeError::Retry(format!("checkpoint file: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use events::envelope::Position;

    use super::*;

    #[tokio::test]
    async fn a_checkpoint_comes_back_and_a_broken_file_starts_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = CheckpointFile::new(folder.path().join("checkpoints"), "inbound").unwrap();
        assert_eq!(file.load().await.unwrap(), Checkpoints::start());
        file.store(&Checkpoints::of_position(Position(42))).await.unwrap();
        assert_eq!(file.load().await.unwrap().least(), Position(42));
        file.store(&Checkpoints::of_position(Position(7))).await.unwrap();
        assert_eq!(file.load().await.unwrap().least(), Position(7), "no digit of the longer one is left");
        std::fs::write(folder.path().join("checkpoints/inbound"), "4\0").unwrap();
        assert_eq!(file.load().await.unwrap(), Checkpoints::start());
    }
}
