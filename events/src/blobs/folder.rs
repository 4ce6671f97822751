//! Blobs in a folder: `<root>/<tenant>/<first two digits of the hash>/<hash>`.
//!
//! **Invariant:** a file under its final name is whole and durable: it is written and synced under a temporary name,
//! renamed, and the folders that name it are synced before a put returns. No argument can name a path outside the
//! tenant's folder.
//!
//! Temporary files stand in `<root>/.tmp`; those that a crash left there may be removed while no letopis runs.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{BlobError, Blobs};
use crate::ids::TenantId;

/// Hex digits of a BLAKE3 hash.
const HASH_DIGITS: usize = 64;
/// The folder of temporary files; no tenant can have this name.
const TEMPORARY: &str = ".tmp";

/// Blobs in a folder.
#[derive(Clone)]
pub struct FolderBlobs(Arc<Folder>);

struct Folder {
    root: PathBuf,
    /// Folders whose own entry in their parent is known to be durable.
    durable: Mutex<HashSet<PathBuf>>,
}

impl FolderBlobs {
    /// Blobs under `root`, which is made when it is not there.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`] when it cannot be made.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, BlobError> {
        let folder = Arc::new(Folder { root: root.into(), durable: Mutex::default() });
        let opened = Arc::clone(&folder);
        blocking(move || {
            fs::create_dir_all(opened.root.join(TEMPORARY))?;
            sync_folder(&opened.root)?;
            if let Some(parent) = opened.root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_folder(parent)?;
            }
            Ok(Ok(()))
        })
        .await?;
        Ok(Self(folder))
    }
}

impl FolderBlobs {
    /// Tenant and hash of the next blobs in their order, some more than `enough` or all that are left: for whoever moves
    /// them elsewhere.
    pub(crate) async fn names(
        &self,
        after: Option<(TenantId, String)>,
        enough: usize,
    ) -> Result<Vec<(TenantId, String)>, BlobError> {
        let folder = Arc::clone(&self.0);
        blocking(move || folder.names(after.as_ref(), enough).map(Ok)).await
    }
}

#[async_trait]
impl Blobs for FolderBlobs {
    async fn put(&self, tenant: &TenantId, sealed: Bytes) -> Result<String, BlobError> {
        let (folder, tenant) = (Arc::clone(&self.0), tenant.clone());
        blocking(move || {
            let hash = blake3::hash(&sealed).to_hex().to_string();
            folder.put(&folder.path(&tenant, &hash), &sealed)?;
            Ok(Ok(hash))
        })
        .await
    }

    async fn get(&self, tenant: &TenantId, hash: &str) -> Result<Bytes, BlobError> {
        if !is_hash(hash) {
            return Err(BlobError::NotFound("under a text that is no hash".into()));
        }
        let (path, hash) = (self.0.path(tenant, hash), hash.to_owned());
        blocking(move || match fs::read(path) {
            Ok(bytes) if blake3::hash(&bytes).to_hex().as_str() == hash => Ok(Ok(bytes.into())),
            Ok(_) => Ok(Err(BlobError::Corrupt(hash))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err(BlobError::NotFound(hash))),
            Err(error) => Err(error),
        })
        .await
    }

    async fn remove(&self, tenant: &TenantId, hash: &str) -> Result<(), BlobError> {
        if !is_hash(hash) {
            return Ok(());
        }
        let path = self.0.path(tenant, hash);
        blocking(move || match fs::remove_file(&path) {
            Ok(()) => sync_folder(parent(&path)).map(Ok),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ok(())),
            Err(error) => Err(error),
        })
        .await
    }
}

impl Folder {
    fn path(&self, tenant: &TenantId, hash: &str) -> PathBuf {
        self.root.join(tenant.as_str()).join(&hash[..2]).join(hash)
    }

    /// Whole shards at a time.
    fn names(&self, after: Option<&(TenantId, String)>, enough: usize) -> io::Result<Vec<(TenantId, String)>> {
        let mut names = Vec::new();
        for tenant in sorted_names(&self.root)? {
            // What is not a tenant's is not ours.
            let Ok(tenant) = tenant.parse::<TenantId>() else { continue };
            let after = match after {
                Some((done, _)) if tenant < *done => continue,
                Some((same, hash)) if tenant == *same => hash.as_str(),
                _ => "",
            };
            for shard in sorted_names(&self.root.join(tenant.as_str()))? {
                if after.get(..2).is_some_and(|done| *shard < *done) {
                    continue;
                }
                let hashes = sorted_names(&self.root.join(tenant.as_str()).join(&shard))?;
                let hashes = hashes.into_iter().filter(|hash| is_hash(hash) && hash.as_str() > after);
                names.extend(hashes.map(|hash| (tenant.clone(), hash)));
                if names.len() >= enough {
                    return Ok(names);
                }
            }
        }
        Ok(names)
    }

    fn put(&self, path: &Path, sealed: &[u8]) -> io::Result<()> {
        let shard = parent(path);
        self.make_durable(parent(shard))?;
        self.make_durable(shard)?;
        // The bytes are read again rather than trusted: a put is the one chance to heal a damaged file.
        if fs::read(path).is_ok_and(|stored| stored == sealed) {
            return sync_folder(shard);
        }
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let temporary = self.root.join(TEMPORARY).join(hex::encode(name));
        let written = write_durably(&temporary, sealed).and_then(|()| fs::rename(&temporary, path));
        if let Err(error) = written {
            // The first error is the one to report; a file that stays behind does no harm.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        sync_folder(shard)
    }

    /// Makes a folder whose parent is durable, unless this process did so before. A folder that is there already may
    /// be another writer's that has not been synced yet.
    fn make_durable(&self, folder: &Path) -> io::Result<()> {
        if self.durable.lock().contains(folder) {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        sync_folder(parent(folder))?;
        self.durable.lock().insert(folder.to_owned());
        Ok(())
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("a path joined from root, tenant and hash has a parent")
}

/// What stands in a folder, in order; nothing where it is none.
fn sorted_names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

fn is_hash(text: &str) -> bool {
    text.len() == HASH_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<Result<T, BlobError>> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(BlobError::Unavailable(error.to_string())),
        Err(error) => Err(BlobError::Unavailable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fresh() -> (Arc<dyn Blobs>, tempfile::TempDir) {
        let root = tempfile::tempdir().unwrap();
        let blobs = FolderBlobs::open(root.path().join("blobs")).await.unwrap();
        (Arc::new(blobs), root)
    }

    crate::blobs_contract!(fresh());

    fn files(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder)
            .unwrap()
            .flat_map(|entry| {
                let path = entry.unwrap().path();
                if path.is_dir() { files(&path) } else { vec![path] }
            })
            .collect()
    }

    #[tokio::test]
    async fn a_blob_is_one_file_named_by_its_hash_and_nothing_else_stays() {
        let root = tempfile::tempdir().unwrap();
        let blobs = FolderBlobs::open(root.path()).await.unwrap();
        let tenant: TenantId = "acme".parse().unwrap();
        let hash = blobs.put(&tenant, Bytes::from_static(b"sealed")).await.unwrap();
        blobs.put(&tenant, Bytes::from_static(b"sealed")).await.unwrap();
        assert_eq!(files(root.path()), [root.path().join("acme").join(&hash[..2]).join(&hash)]);
        blobs.remove(&tenant, &hash).await.unwrap();
        assert!(files(root.path()).is_empty());
    }

    #[tokio::test]
    async fn every_blob_is_named_once_in_order_however_many_are_asked_for() {
        let root = tempfile::tempdir().unwrap();
        let blobs = FolderBlobs::open(root.path()).await.unwrap();
        let mut put = Vec::new();
        for number in 0..40 {
            let tenant: TenantId = ["acme", "globex"][number % 2].parse().unwrap();
            let hash = blobs.put(&tenant, Bytes::from(number.to_string())).await.unwrap();
            put.push((tenant, hash));
        }
        put.sort_unstable();
        for enough in [1, 7, 1_000] {
            let mut named: Vec<(TenantId, String)> = Vec::new();
            loop {
                let more = blobs.names(named.last().cloned(), enough).await.unwrap();
                if more.is_empty() {
                    break;
                }
                named.extend(more);
            }
            assert_eq!(named, put);
        }
    }

    #[tokio::test]
    async fn a_damaged_blob_is_told_and_healed_by_the_next_put() {
        let root = tempfile::tempdir().unwrap();
        let blobs = FolderBlobs::open(root.path()).await.unwrap();
        let tenant: TenantId = "acme".parse().unwrap();
        let hash = blobs.put(&tenant, Bytes::from_static(b"sealed")).await.unwrap();
        fs::write(&files(root.path())[0], b"sealeD").unwrap();
        assert_eq!(blobs.get(&tenant, &hash).await, Err(BlobError::Corrupt(hash.clone())));
        blobs.put(&tenant, Bytes::from_static(b"sealed")).await.unwrap();
        assert_eq!(blobs.get(&tenant, &hash).await, Ok(Bytes::from_static(b"sealed")));
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_unavailable() {
        let root = tempfile::tempdir().unwrap();
        let blobs = FolderBlobs::open(root.path()).await.unwrap();
        let tenant: TenantId = "acme".parse().unwrap();
        fs::write(root.path().join("acme"), b"a file in the way").unwrap();
        let put = blobs.put(&tenant, Bytes::from_static(b"sealed")).await;
        assert!(matches!(put, Err(BlobError::Unavailable(_))));
        assert_eq!(files(&root.path().join(TEMPORARY)), Vec::<PathBuf>::new());
    }
}
