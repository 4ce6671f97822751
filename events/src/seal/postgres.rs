//! The key store in PostgreSQL, its keys wrapped by a key-encryption key that comes from outside
//! ([`KeyEncryptionKey`]): tables and boxes as in the embedded store.
//!
//! **Invariant:** a key is durable before it is given out, and a key of the pool is given out once. Each process makes
//! pages of 256 keys ahead of time under a run number of its own and gives out only those; what it had not given out
//! when it ended is never given out. A store whose check does not open is refused and never made anew.
//!
//! It belongs in another database than the log, better on another server: whoever copies the log must not copy the
//! keys along. A key destroyed in one process is forgotten by the others' page caches within ten seconds.
//!
//! PostgreSQL does not overwrite: a destroyed key stays on its disk, **wrapped**, until the row's old version is
//! vacuumed (the tables ask for that at once), the write-ahead log is recycled, and backups have gone. The
//! key-encryption key is what keeps such copies shut, so it must be kept apart from the server and its backups.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::key_id::{self, PageId, Place};
use super::pool::{Pages, Pool, PoolConfig, Taken};
use super::stored::{
    KEY_BYTES, OpenKeyStoreError, PAGE_BYTES, Page, clear_slot, in_page, key_bytes, page_purpose, subject_purpose,
    unknown,
};
use super::{DataKey, KeyEncryptionKey, KeyId, KeyStore, KeyStoreError, KeySubject, SealError, StoredKey};
use crate::postgres::{Migrations, Postgres, PostgresError};

pub(crate) mod moving;
mod secrets;

/// Old versions of rows hold destroyed keys: hence no patience with them.
pub(crate) const MIGRATIONS: Migrations = Migrations {
    part: "keys",
    steps: &[(
        "V1__keys",
        "CREATE TABLE secret (name text PRIMARY KEY, wrapped bytea NOT NULL);
         CREATE TABLE subject_key (id uuid PRIMARY KEY, wrapped bytea)
             WITH (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0);
         CREATE TABLE pool_page (run bigint, page bigint, wrapped bytea NOT NULL, PRIMARY KEY (run, page))
             WITH (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0,
                   toast.autovacuum_vacuum_threshold = 0, toast.autovacuum_vacuum_scale_factor = 0);
         ALTER TABLE pool_page ALTER COLUMN wrapped SET STORAGE EXTERNAL;",
    )],
};

/// Both kinds of rows in one question.
const FIND: &str = "
SELECT id, NULL::bigint, NULL::bigint, wrapped FROM subject_key WHERE id = ANY ($1::uuid[])
UNION ALL
SELECT NULL::uuid, run, page, wrapped
FROM unnest($2::bigint[], $3::bigint[]) AS wanted (run, page) JOIN pool_page USING (run, page)";

/// Pages that were made, in the order in which they are given out.
type Made = Vec<(PageId, Arc<Page>)>;

/// The key store in PostgreSQL.
pub struct PostgresKeyStore {
    inner: Arc<Inner>,
    id_secret: Zeroizing<[u8; KEY_BYTES]>,
}

struct Inner {
    postgres: Postgres,
    kek: KeyEncryptionKey,
    pool: Pool,
    pages: Pages,
    batch_pages: usize,
    /// The next page to make; `None` before the first and after a failure, when a new run is drawn.
    next_page: Mutex<Option<PageId>>,
}

/// Rows found, unwrapped where they can be.
#[derive(Default)]
struct Rows {
    subjects: HashMap<KeyId, Result<StoredKey, KeyStoreError>>,
    pages: HashMap<PageId, Result<Arc<Page>, KeyStoreError>>,
}

impl PostgresKeyStore {
    /// True when the store was made before: opening one that was not makes a secret that gives other ids.
    ///
    /// # Errors
    /// See [`OpenKeyStoreError`].
    pub async fn is_made(postgres: &Postgres) -> Result<bool, OpenKeyStoreError> {
        postgres.migrate(&MIGRATIONS).await?;
        let made = "SELECT EXISTS (SELECT 1 FROM secret)";
        let made = postgres.client().await?.query_one(made, &[]).await.map_err(PostgresError::from)?;
        Ok(made.try_get(0).map_err(PostgresError::from)?)
    }

    /// Opens the store, making its tables when they are not there.
    ///
    /// # Errors
    /// See [`OpenKeyStoreError`].
    pub async fn open(
        postgres: Postgres,
        kek: KeyEncryptionKey,
        config: PoolConfig,
    ) -> Result<Self, OpenKeyStoreError> {
        postgres.migrate(&MIGRATIONS).await?;
        let id_secret = secrets::open_secrets(&postgres, &kek).await?;
        let inner = Arc::new(Inner {
            postgres,
            kek,
            pool: Pool::new(config.low_water_keys),
            pages: Pages::new(),
            batch_pages: config.batch_pages.max(1),
            next_page: Mutex::new(None),
        });
        if config.low_water_keys > 0 {
            inner.start_refill();
        }
        Ok(Self { inner, id_secret })
    }

    async fn take_from_pool(&self) -> Result<DataKey, KeyStoreError> {
        let pool = &self.inner.pool;
        let mut seen = None;
        loop {
            let refilled = pool.refilled.notified();
            tokio::pin!(refilled);
            refilled.as_mut().enable();
            let (taken, wanted) = pool.take();
            let failed = match &taken {
                Taken::Empty { failures } => pool.failed_since(*seen.get_or_insert(*failures)),
                Taken::Key(_) => None,
            };
            if let Some(error) = failed {
                if wanted {
                    pool.end_refill(Ok(Vec::new()));
                }
                return Err(error);
            }
            if wanted {
                self.inner.start_refill();
            }
            match taken {
                Taken::Key(key) => return Ok(key),
                Taken::Empty { .. } => refilled.await,
            }
        }
    }

    async fn subject_key(&self, id: KeyId) -> Result<DataKey, KeyStoreError> {
        if let Some(found) = self.inner.find(&[id]).await?.subjects.remove(&id) {
            return found?.present().ok_or(KeyStoreError::Destroyed);
        }
        let wrapped = self.inner.kek.wrap(&subject_purpose(id), &*random::<KEY_BYTES>()?).map_err(sealing)?;
        let made = async {
            let client = self.inner.postgres.client().await?;
            let insert = "INSERT INTO subject_key (id, wrapped) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
            let insert = client.prepare_cached(insert).await?;
            client.execute(&insert, &[&id.0, &wrapped]).await?;
            Ok::<_, PostgresError>(())
        };
        made.await?;
        // Ours or that of whoever was quicker; either way it is the one that is stored.
        let found = self.inner.find(&[id]).await?.subjects.remove(&id).unwrap_or_else(|| Err(unknown(id)));
        found?.present().ok_or(KeyStoreError::Destroyed)
    }
}

#[async_trait]
impl KeyStore for PostgresKeyStore {
    async fn key_for(&self, subject: KeySubject) -> Result<DataKey, KeyStoreError> {
        match key_id::of_subject(subject) {
            Some(id) => self.subject_key(id).await,
            None => self.take_from_pool().await,
        }
    }

    async fn key(&self, id: KeyId) -> Result<StoredKey, KeyStoreError> {
        self.keys(&[id]).await.pop().unwrap_or_else(|| Err(unknown(id)))
    }

    async fn keys(&self, ids: &[KeyId]) -> Vec<Result<StoredKey, KeyStoreError>> {
        let cached = |id: KeyId| match key_id::place(id) {
            Some(Place::Pool(page, number)) => self.inner.pages.get(page).map(|page| in_page(&page, id, number)),
            Some(Place::Subject) | None => None,
        };
        let mut answers: Vec<Option<StoredKey>> = ids.iter().map(|id| cached(*id)).collect();
        let missing: Vec<KeyId> =
            ids.iter().zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(id, _)| *id).collect();
        let rows = self.inner.find(&missing).await;
        let find = |id: KeyId| match (&rows, key_id::place(id)) {
            (Err(error), _) => Err(error.clone()),
            (Ok(rows), Some(Place::Subject)) => rows.subjects.get(&id).cloned().unwrap_or_else(|| Err(unknown(id))),
            (Ok(rows), Some(Place::Pool(page, number))) => match rows.pages.get(&page) {
                Some(Ok(page)) => Ok(in_page(page, id, number)),
                Some(Err(error)) => Err(error.clone()),
                None => Err(unknown(id)),
            },
            (Ok(_), None) => Err(unknown(id)),
        };
        ids.iter().zip(&mut answers).map(|(id, answer)| answer.take().map_or_else(|| find(*id), Ok)).collect()
    }

    async fn destroy(&self, id: KeyId) -> Result<(), KeyStoreError> {
        match key_id::place(id) {
            Some(Place::Subject) => self.inner.destroy_subject_key(id).await,
            Some(Place::Pool(page, number)) => self.inner.destroy_in_page(id, page, number).await,
            None => Err(unknown(id)),
        }
    }

    async fn id_secret(&self) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyStoreError> {
        Ok(self.id_secret.clone())
    }
}

impl Inner {
    /// Asks for the rows of keys, each row once.
    async fn find(&self, ids: &[KeyId]) -> Result<Rows, KeyStoreError> {
        let (mut subjects, mut pages) = (HashSet::new(), HashSet::new());
        for id in ids {
            match key_id::place(*id) {
                Some(Place::Subject) => drop(subjects.insert(id.0)),
                Some(Place::Pool(page, _)) => drop(pages.insert(page)),
                None => {}
            }
        }
        if subjects.is_empty() && pages.is_empty() {
            return Ok(Rows::default());
        }
        let subjects: Vec<_> = subjects.into_iter().collect();
        let (runs, numbers): (Vec<i64>, Vec<i64>) =
            pages.into_iter().map(|page| (i64::from(page.run), i64::from(page.page))).unzip();
        let destructions = self.pages.destructions();
        let asked = async {
            let client = self.postgres.client().await?;
            let statement = client.prepare_cached(FIND).await?;
            let mut rows = Rows::default();
            for row in client.query(&statement, &[&subjects, &runs, &numbers]).await? {
                match row.try_get::<_, Option<uuid::Uuid>>(0)?.map(KeyId) {
                    Some(id) => drop(rows.subjects.insert(id, self.unwrap_subject_key(id, row.try_get(3)?))),
                    None => {
                        let id = page_id(row.try_get(1)?, row.try_get(2)?)?;
                        let page = self.unwrap_page(id, row.try_get(3)?);
                        if let Ok(page) = &page {
                            self.pages.keep(id, Arc::clone(page), destructions);
                        }
                        rows.pages.insert(id, page);
                    }
                }
            }
            Ok::<_, PostgresError>(rows)
        };
        Ok(asked.await?)
    }

    fn unwrap_subject_key(&self, id: KeyId, wrapped: Option<&[u8]>) -> Result<StoredKey, KeyStoreError> {
        let Some(wrapped) = wrapped else { return Ok(StoredKey::Destroyed) };
        let clear = self.kek.unwrap(&subject_purpose(id), wrapped).ok();
        let bytes = clear.and_then(|clear| key_bytes(&clear));
        let bytes = bytes.ok_or_else(|| KeyStoreError::Corrupt(format!("key {} does not unwrap", id.0)))?;
        Ok(StoredKey::Present(DataKey { id, bytes }))
    }

    fn unwrap_page(&self, id: PageId, wrapped: &[u8]) -> Result<Arc<Page>, KeyStoreError> {
        let page = self.kek.unwrap(&page_purpose(id), wrapped).ok().filter(|page| page.len() == PAGE_BYTES);
        page.map(Arc::new)
            .ok_or_else(|| KeyStoreError::Corrupt(format!("page {} of run {} does not unwrap", id.page, id.run)))
    }

    async fn destroy_subject_key(&self, id: KeyId) -> Result<(), KeyStoreError> {
        let destroyed = async {
            let client = self.postgres.client().await?;
            let update = client.prepare_cached("UPDATE subject_key SET wrapped = NULL WHERE id = $1").await?;
            Ok::<_, PostgresError>(client.execute(&update, &[&id.0]).await?)
        };
        if destroyed.await? == 0 { Err(unknown(id)) } else { Ok(()) }
    }

    async fn destroy_in_page(&self, id: KeyId, page: PageId, number: u8) -> Result<(), KeyStoreError> {
        let (run, place) = (i64::from(page.run), i64::from(page.page));
        let mut client = self.postgres.client().await?;
        // Rolled back when it is dropped.
        let transaction = client.transaction().await.map_err(PostgresError::from)?;
        // Locked, so that two processes which destroy keys of one page do so one after the other.
        let lock = "SELECT wrapped FROM pool_page WHERE run = $1 AND page = $2 FOR UPDATE";
        let row = transaction.query_opt(lock, &[&run, &place]).await.map_err(PostgresError::from)?;
        let row = row.ok_or_else(|| unknown(id))?;
        let wrapped = row.try_get(0).map_err(PostgresError::from)?;
        let mut clear = Page::clone(&*self.unwrap_page(page, wrapped)?);
        clear_slot(&mut clear, number);
        let wrapped = self.kek.wrap(&page_purpose(page), &clear).map_err(sealing)?;
        let update = "UPDATE pool_page SET wrapped = $3 WHERE run = $1 AND page = $2";
        transaction.execute(update, &[&run, &place, &wrapped]).await.map_err(PostgresError::from)?;
        let committed = transaction.commit().await;
        // Also when it is not known whether the commit took effect.
        self.pages.forget(&[page]);
        Ok(committed.map_err(PostgresError::from)?)
    }

    /// Fills the pool in a task of its own, so that nobody who goes away takes the refill along.
    fn start_refill(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let mut refill = Refill { inner: &inner, made: None };
            let made = inner.make_pages().await;
            if let Err(error) = &made {
                tracing::warn!(%error, "could not refill the pool of keys");
            }
            refill.made = Some(made);
        });
    }

    /// Makes pages durable, all in one statement.
    async fn make_pages(&self) -> Result<Made, KeyStoreError> {
        let destructions = self.pages.destructions();
        let client = self.postgres.client().await?;
        let first = self.next_page.lock().take();
        let mut next = match first {
            Some(next) => next,
            None => loop {
                let run = u32::from_be_bytes(*random::<4>()?);
                let used = "SELECT EXISTS (SELECT 1 FROM pool_page WHERE run = $1)";
                let used = client.query_one(used, &[&i64::from(run)]).await.map_err(PostgresError::from)?;
                if !used.try_get::<_, bool>(0).map_err(PostgresError::from)? {
                    break PageId { run, page: 0 };
                }
            },
        };
        let (mut made, mut wrapped) = (Vec::with_capacity(self.batch_pages), Vec::with_capacity(self.batch_pages));
        for _ in 0..self.batch_pages {
            let page: Page = random::<PAGE_BYTES>()?.to_vec().into();
            wrapped.push(self.kek.wrap(&page_purpose(next), &page).map_err(sealing)?);
            made.push((next, Arc::new(page)));
            let number = next.page.checked_add(1);
            next.page = number.ok_or_else(|| KeyStoreError::Unavailable("page numbers of a run ran out".into()))?;
        }
        let numbers: Vec<i64> = made.iter().map(|(id, _)| i64::from(id.page)).collect();
        // Refused as a whole if another process drew the same run at the same moment: the next refill draws again.
        let insert = "INSERT INTO pool_page (run, page, wrapped) SELECT $1, * FROM unnest($2::bigint[], $3::bytea[])";
        let inserted = client.execute(insert, &[&i64::from(next.run), &numbers, &wrapped]).await;
        // Whether a statement that failed took effect is not known: its numbers are never used again.
        inserted.map_err(|error| KeyStoreError::Unavailable(PostgresError::from(error).to_string()))?;
        made.iter().for_each(|(id, page)| self.pages.keep(*id, Arc::clone(page), destructions));
        *self.next_page.lock() = Some(next);
        Ok(made)
    }
}

/// Ends a refill however its task ends, so that nobody waits for ever.
struct Refill<'a> {
    inner: &'a Inner,
    made: Option<Result<Made, KeyStoreError>>,
}

impl Drop for Refill<'_> {
    fn drop(&mut self) {
        let stopped = || Err(KeyStoreError::Unavailable("the refill of keys stopped".into()));
        self.inner.pool.end_refill(self.made.take().unwrap_or_else(stopped));
    }
}

fn page_id(run: i64, page: i64) -> Result<PageId, PostgresError> {
    match (u32::try_from(run), u32::try_from(page)) {
        (Ok(run), Ok(page)) => Ok(PageId { run, page }),
        _ => Err(PostgresError::Corrupt("a page of keys with a number out of range".into())),
    }
}

/// `N` random bytes.
fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyStoreError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(|_| sealing(SealError::NoRandomness))?;
    Ok(bytes)
}

fn sealing(error: SealError) -> KeyStoreError {
    KeyStoreError::Unavailable(error.to_string())
}

impl From<PostgresError> for KeyStoreError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Corrupt(reason) => Self::Corrupt(reason),
            PostgresError::Unavailable(_) | PostgresError::Refused(_) => Self::Unavailable(error.to_string()),
        }
    }
}
