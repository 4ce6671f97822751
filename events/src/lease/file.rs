//! Leases of one machine: a lock of the operating system on a file, which ends with its process.
//!
//! **Invariant:** `<name>.lock` is locked for as long as its holder lives and has not let go, so time plays no part:
//! nobody is replaced while it is stopped, and nobody waits for a process that died. The term, in `<name>.term`, is
//! durable before the lease is given. All of it happens behind one door (`.door`), so that looking who holds a name
//! never gets in the way of somebody taking it.
//!
//! The folder must be on a disk of this machine: locks of network file systems are not to be trusted.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Lease, LeaseError, Leases, check_name};

/// Leases in a folder, usually that of the log.
pub struct FileLeases(Arc<Folder>);

struct Folder {
    path: PathBuf,
    /// What this process holds: the locked files and who asked for them.
    held: Mutex<HashMap<String, (File, Term)>>,
}

/// The content of a `.term` file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Term {
    term: u64,
    holder: String,
}

impl FileLeases {
    /// Leases in `folder`, which is made when it is not there.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Folder { path: folder.into(), held: Mutex::default() }))
    }

    /// Forgets what is held, as the end of the process would.
    #[cfg(any(test, feature = "testing"))]
    pub fn end_process_for_tests(&self) {
        self.0.held.lock().clear();
    }

    async fn blocking<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&Folder, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, LeaseError> {
        check_name(name)?;
        let (folder, name) = (Arc::clone(&self.0), name.to_owned());
        let done = tokio::task::spawn_blocking(move || {
            let _door = folder.door()?;
            work(&folder, &name)
        });
        match done.await {
            Ok(done) => done.map_err(|error| LeaseError::Unavailable(error.to_string())),
            Err(error) => Err(LeaseError::Unavailable(error.to_string())),
        }
    }
}

#[async_trait]
impl Leases for FileLeases {
    async fn acquire(&self, name: &str, holder: &str, _ttl: Duration) -> Result<Option<Lease>, LeaseError> {
        check_name(holder)?;
        let holder = holder.to_owned();
        self.blocking(name, move |folder, name| folder.acquire(name, holder)).await
    }

    async fn renew(&self, lease: &Lease, _ttl: Duration) -> Result<Option<Lease>, LeaseError> {
        check_name(&lease.name)?;
        let held = self.0.held.lock();
        let same = held.get(&lease.name).is_some_and(|(_, term)| term.is_of(lease));
        Ok(same.then(|| lease.clone()))
    }

    async fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        let lease = lease.clone();
        let name = lease.name.clone();
        self.blocking(&name, move |folder, name| {
            let mut held = folder.held.lock();
            if held.get(name).is_some_and(|(_, term)| term.is_of(&lease)) {
                // Closing the file lets go of its lock.
                held.remove(name);
            }
            Ok(())
        })
        .await
    }

    async fn holder_of(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        self.blocking(name, |folder, name| folder.holder_of(name)).await
    }
}

impl Term {
    fn is_of(&self, lease: &Lease) -> bool {
        self.term == lease.term && self.holder == lease.holder
    }

    fn lease(self, name: &str) -> Lease {
        Lease { name: name.to_owned(), holder: self.holder, term: self.term, expires: DateTime::<chrono::Utc>::MAX_UTC }
    }
}

impl Folder {
    /// Waits for whoever is at work in the folder; nobody is for long.
    fn door(&self) -> io::Result<File> {
        fs::create_dir_all(&self.path)?;
        let door = open(&self.path.join(".door"))?;
        door.lock()?;
        Ok(door)
    }

    fn acquire(&self, name: &str, holder: String) -> io::Result<Option<Lease>> {
        let mut held = self.held.lock();
        if let Some((_, term)) = held.get(name) {
            return Ok((term.holder == holder).then(|| term.clone().lease(name)));
        }
        let Some(lock) = self.lock(name)? else { return Ok(None) };
        let before = self.term(name)?.unwrap_or_default();
        let term = Term { term: before.term + 1, holder };
        self.write_term(name, &term)?;
        held.insert(name.to_owned(), (lock, term.clone()));
        Ok(Some(term.lease(name)))
    }

    fn holder_of(&self, name: &str) -> io::Result<Option<Lease>> {
        if let Some((_, term)) = self.held.lock().get(name) {
            return Ok(Some(term.clone().lease(name)));
        }
        if self.lock(name)?.is_some() {
            return Ok(None);
        }
        Ok(self.term(name)?.map(|term| term.lease(name)))
    }

    /// The locked file; `None` while another has it.
    fn lock(&self, name: &str) -> io::Result<Option<File>> {
        let file = open(&self.path.join(format!("{name}.lock")))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn term(&self, name: &str) -> io::Result<Option<Term>> {
        match fs::read(self.path.join(format!("{name}.term"))) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whole or not at all, and durable.
    fn write_term(&self, name: &str, term: &Term) -> io::Result<()> {
        let temporary = self.path.join(format!(".{name}.term"));
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(term)?)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path.join(format!("{name}.term")))?;
        File::open(&self.path)?.sync_all()
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::lease_contract::LeasesUnderTest;

    async fn fresh() -> LeasesUnderTest {
        let folder = tempfile::tempdir().unwrap();
        let one = Arc::new(FileLeases::new(folder.path().join("leases")));
        let other = Arc::new(FileLeases::new(folder.path().join("leases")));
        let ending = Arc::clone(&one);
        LeasesUnderTest::new(one, other, folder, move |_| {
            ending.end_process_for_tests();
            Box::pin(std::future::ready(()))
        })
    }

    crate::lease_contract!(fresh());

    const TTL: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_term_outlives_its_process() {
        let folder = tempfile::tempdir().unwrap();
        for term in 1..=3 {
            let leases = FileLeases::new(folder.path());
            let lease = leases.acquire("relay", "a", TTL).await.unwrap().unwrap();
            assert_eq!(lease.term, term);
        }
    }

    #[tokio::test]
    async fn a_damaged_term_is_told_and_never_counted_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("relay.term"), "{").unwrap();
        let leases = FileLeases::new(folder.path());
        assert!(matches!(leases.acquire("relay", "a", TTL).await, Err(LeaseError::Unavailable(_))));
        assert_eq!(leases.holder_of("relay").await, Ok(None));
    }
}
