//! Checkpoints in a folder: one small file per consumer.
//!
//! **Invariant:** files are overwritten in place and not synced. One write of some twenty bytes is never half there after
//! a crash of the process; whatever is no checkpoint counts as none.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::CheckpointStore;
use crate::consumer::ConsumeError;
use crate::feed::Checkpoints;

/// Bytes of a stored position and a line feed. Padding keeps a shorter one from leaving digits behind.
const WIDTH: usize = 21;

/// Checkpoints in a folder.
#[derive(Debug, Clone)]
pub struct FolderCheckpoints {
    folder: PathBuf,
    files: Arc<Mutex<HashMap<String, Kept>>>,
}

/// A file with what is in it.
#[derive(Debug, Clone)]
struct Kept(Arc<Mutex<(File, Checkpoints)>>);

impl FolderCheckpoints {
    /// In this folder, which is made.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, files: Arc::default() })
    }

    /// Names of the consumers that have one, in order.
    pub(crate) fn names(&self) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    async fn with_file<T: Send + 'static>(
        &self,
        consumer: &str,
        act: impl FnOnce(&mut File, &mut Checkpoints) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, ConsumeError> {
        let (all, consumer) = (self.clone(), consumer.to_owned());
        let done = tokio::task::spawn_blocking(move || {
            let kept = all.kept(&consumer)?;
            let mut kept = kept.0.lock();
            let (file, checkpoints) = &mut *kept;
            act(file, checkpoints)
        });
        let done = done.await.map_err(|error| ConsumeError::Retry(format!("checkpoint: {error}")))?;
        done.map_err(|error| ConsumeError::Retry(format!("checkpoint file: {error}")))
    }

    fn kept(&self, consumer: &str) -> std::io::Result<Kept> {
        let mut files = self.files.lock();
        if let Some(kept) = files.get(consumer) {
            return Ok(kept.clone());
        }
        let path = self.folder.join(consumer);
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let kept = Kept(Arc::new(Mutex::new((file, Checkpoints::start()))));
        files.insert(consumer.to_owned(), kept.clone());
        Ok(kept)
    }
}

#[async_trait]
impl CheckpointStore for FolderCheckpoints {
    async fn load(&self, consumer: &str) -> Result<Checkpoints, ConsumeError> {
        self.with_file(consumer, |file, kept| {
            let mut bytes = Vec::with_capacity(WIDTH);
            file.seek(SeekFrom::Start(0))?;
            file.read_to_end(&mut bytes)?;
            *kept = String::from_utf8(bytes).unwrap_or_default().trim().parse().unwrap_or_default();
            Ok(kept.clone())
        })
        .await
    }

    async fn store(&self, consumer: &str, checkpoints: &Checkpoints) -> Result<(), ConsumeError> {
        let checkpoints = checkpoints.clone();
        self.with_file(consumer, move |file, kept| {
            kept.merge(&checkpoints);
            let text = format!("{:<width$}\n", kept.to_string(), width = WIDTH - 1);
            file.seek(SeekFrom::Start(0))?;
            file.write_all(text.as_bytes())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Position;

    crate::checkpoint_store_contract!(async {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderCheckpoints::open(folder.path().join("checkpoints")).unwrap();
        (Arc::new(store) as Arc<dyn CheckpointStore>, folder)
    });

    #[tokio::test]
    async fn a_checkpoint_is_there_after_opening_again_and_a_broken_file_starts_over() {
        let folder = tempfile::tempdir().unwrap();
        let open = || FolderCheckpoints::open(folder.path().to_owned()).unwrap();
        open().store("inbound", &Checkpoints::of_position(Position(42))).await.unwrap();
        assert_eq!(open().load("inbound").await, Ok(Checkpoints::of_position(Position(42))));
        std::fs::write(folder.path().join("inbound"), "4\0").unwrap();
        assert_eq!(open().load("inbound").await, Ok(Checkpoints::start()));
    }
}
