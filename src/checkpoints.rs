//! How far each reactor has come: one small file per reactor.
//!
//! **Invariant:** a checkpoint is a cache of work done. An old or missing one makes a reactor look at events again,
//! which changes nothing (design invariant 8), so files are replaced whole and not synced.

use std::path::PathBuf;

use events::consumer::ConsumeError;
use events::feed::Checkpoint;

/// The checkpoint file of one reactor.
#[derive(Debug, Clone)]
pub struct CheckpointFile {
    path: PathBuf,
}

impl CheckpointFile {
    /// The file of the reactor with this stable name, in `folder`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(folder: PathBuf, reactor: &str) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { path: folder.join(reactor) })
    }

    /// What was stored last; the start when nothing was.
    ///
    /// # Errors
    /// [`ConsumeError::Retry`] when the file cannot be read.
    pub async fn load(&self) -> Result<Checkpoint, ConsumeError> {
        match tokio::fs::read_to_string(&self.path).await {
            // A file cut off by a crash of the machine is no position: the work is looked at again.
            Ok(text) => {
                let stored = Checkpoint::from_stored(text.trim().to_owned());
                Ok(if stored.position().is_some() { stored } else { Checkpoint::start() })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Checkpoint::start()),
            Err(error) => Err(ConsumeError::Retry(format!("checkpoint cannot be read: {error}"))),
        }
    }

    /// Replaces what is stored.
    ///
    /// # Errors
    /// [`ConsumeError::Retry`] when the file cannot be written.
    pub async fn store(&self, checkpoint: &Checkpoint) -> Result<(), ConsumeError> {
        let fresh = self.path.with_extension("new");
        let written = async {
            tokio::fs::write(&fresh, checkpoint.as_str()).await?;
            tokio::fs::rename(&fresh, &self.path).await
        };
        written.await.map_err(|error| ConsumeError::Retry(format!("checkpoint cannot be written: {error}")))
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
        assert_eq!(file.load().await.unwrap(), Checkpoint::start());
        file.store(&Checkpoint::of_position(Position(42))).await.unwrap();
        assert_eq!(file.load().await.unwrap().position(), Some(Position(42)));
        std::fs::write(folder.path().join("checkpoints/inbound"), "4\0").unwrap();
        assert_eq!(file.load().await.unwrap(), Checkpoint::start());
    }
}
