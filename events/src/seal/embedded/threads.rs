//! The threads on which the embedded key store does its blocking work.
//!
//! **Invariant:** one thread writes; an answer is given after the commit that makes it true. After any failure of the
//! database the connection is dropped and opened anew, and nothing is retried behind the caller's back.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::database::{Database, Location, SubjectRow, random};
use crate::seal::key_id::{self, PageId, Place};
use crate::seal::pool::{Pages, Pool};
use crate::seal::stored::{PAGE_BYTES, Page, clear_slot, in_page, unknown};
use crate::seal::{DataKey, KeyId, KeyStoreError, StoredKey};

/// Writes committed together.
const GROUP: usize = 256;
/// Keys in flight on each queue.
pub(super) const QUEUE: usize = 1_024;

type Answer<T> = oneshot::Sender<Result<T, KeyStoreError>>;

/// What the writing thread does.
pub(super) enum Write {
    /// Gives the key of a subject, made when it has none.
    SubjectKey(KeyId, Answer<DataKey>),
    /// Destroys a key.
    Destroy(KeyId, Answer<()>),
    /// Fills the pool.
    Refill,
}

/// What the reading thread does: gives the keys with these ids, in their order.
pub(super) struct Read(pub(super) Vec<KeyId>, pub(super) oneshot::Sender<Vec<Result<StoredKey, KeyStoreError>>>);

/// A connection that is opened when it is needed, and anew after a failure.
struct Reconnecting {
    location: Location,
    database: Option<Database>,
}

impl Reconnecting {
    fn run<T>(&mut self, work: impl FnOnce(&mut Database) -> Result<T, rusqlite::Error>) -> Result<T, KeyStoreError> {
        let mut database = match self.database.take() {
            Some(database) => database,
            None => self.location.connect()?,
        };
        let done = work(&mut database)?;
        self.database = Some(database);
        Ok(done)
    }
}

/// Makes new pages: a run drawn at random, then numbers from 0.
struct PageNumbers {
    next: Option<PageId>,
}

impl PageNumbers {
    fn take(&mut self, database: &Database) -> Result<PageId, rusqlite::Error> {
        let id = match self.next {
            Some(id) => id,
            None => loop {
                let run = u32::from_be_bytes(*random::<4>()?);
                if !database.run_exists(run)? {
                    break PageId { run, page: 0 };
                }
            },
        };
        self.next = id.page.checked_add(1).map(|page| PageId { run: id.run, page });
        Ok(id)
    }
}

/// Tells those who wait for a refill that there will be none.
struct Stopping<'a>(&'a Pool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.end_refill(Err(KeyStoreError::Unavailable("its thread has stopped".into())));
    }
}

pub(super) fn write(
    location: Location,
    pool: &Pool,
    pages: &Pages,
    batch_pages: usize,
    mut queue: mpsc::Receiver<Write>,
) {
    let _stopping = Stopping(pool);
    let mut connection = Reconnecting { location, database: None };
    let mut numbers = PageNumbers { next: None };
    let mut group = Vec::with_capacity(GROUP);
    while queue.blocking_recv_many(&mut group, GROUP) > 0 {
        let (mut subjects, mut destructions, mut refill) = (Vec::new(), Vec::new(), false);
        for write in group.drain(..) {
            match write {
                Write::SubjectKey(id, answer) => subjects.push((id, answer)),
                Write::Destroy(id, answer) => destructions.push((id, answer)),
                Write::Refill => refill = true,
            }
        }
        if refill {
            refill_pool(&mut connection, &mut numbers, pool, pages, batch_pages);
        }
        if !subjects.is_empty() {
            let made = connection.run(|database| {
                database.commit(|database| subjects.iter().map(|(id, _)| subject_key(database, *id)).collect())
            });
            answer_all(subjects.into_iter().map(|(_, answer)| answer), made);
        }
        if !destructions.is_empty() {
            let ids: Vec<KeyId> = destructions.iter().map(|(id, _)| *id).collect();
            let done = destroy(&mut connection, pages, &ids);
            answer_all(destructions.into_iter().map(|(_, answer)| answer), done);
        }
    }
}

fn answer_all<T>(
    answers: impl Iterator<Item = Answer<T>>,
    results: Result<Vec<Result<T, KeyStoreError>>, KeyStoreError>,
) {
    match results {
        Ok(results) => answers.zip(results).for_each(|(answer, result)| drop(answer.send(result))),
        Err(error) => answers.for_each(|answer| drop(answer.send(Err(error.clone())))),
    }
}

fn refill_pool(
    connection: &mut Reconnecting,
    numbers: &mut PageNumbers,
    pool: &Pool,
    pages: &Pages,
    batch_pages: usize,
) {
    let destructions = pages.destructions();
    let made = connection.run(|database| {
        database.commit(|database| {
            (0..batch_pages)
                .map(|_| {
                    let id = numbers.take(database)?;
                    let mut page: Page = vec![0; PAGE_BYTES].into();
                    page.copy_from_slice(&*random::<PAGE_BYTES>()?);
                    database.insert_page(id, &page)?;
                    Ok((id, Arc::new(page)))
                })
                .collect::<Result<Vec<_>, rusqlite::Error>>()
        })
    });
    match &made {
        Ok(made) => made.iter().for_each(|(id, page)| pages.keep(*id, Arc::clone(page), destructions)),
        // Whether a failed commit took effect is not known: these numbers are never used again.
        Err(error) => {
            numbers.next = None;
            tracing::warn!(%error, "could not refill the pool of keys");
        }
    }
    pool.end_refill(made);
}

fn subject_key(database: &Database, id: KeyId) -> Result<Result<DataKey, KeyStoreError>, rusqlite::Error> {
    Ok(match database.subject_key(id)? {
        Err(error) => Err(error),
        Ok(SubjectRow::Destroyed) => Err(KeyStoreError::Destroyed),
        Ok(SubjectRow::Present(bytes)) => Ok(DataKey { id, bytes }),
        Ok(SubjectRow::Absent) => {
            let bytes = random()?;
            database.insert_subject_key(id, &*bytes)?;
            Ok(DataKey { id, bytes })
        }
    })
}

fn destroy(
    connection: &mut Reconnecting,
    pages: &Pages,
    ids: &[KeyId],
) -> Result<Vec<Result<(), KeyStoreError>>, KeyStoreError> {
    let done = connection
        .run(|database| database.commit(|database| ids.iter().map(|id| destroy_one(database, *id)).collect()))?;
    let rewritten: Vec<PageId> = ids
        .iter()
        .filter_map(|id| match key_id::place(*id) {
            Some(Place::Pool(page, _)) => Some(page),
            Some(Place::Subject) | None => None,
        })
        .collect();
    pages.forget(&rewritten);
    connection.run(|database| Ok(database.forget()))??;
    Ok(done)
}

fn destroy_one(database: &Database, id: KeyId) -> Result<Result<(), KeyStoreError>, rusqlite::Error> {
    match key_id::place(id) {
        Some(Place::Subject) => match database.subject_key(id)? {
            Ok(SubjectRow::Absent) => Ok(Err(unknown(id))),
            Ok(SubjectRow::Destroyed) => Ok(Ok(())),
            // A key that does not unwrap any more can be destroyed all the same.
            Ok(SubjectRow::Present(_)) | Err(_) => database.destroy_subject_key(id).map(Ok),
        },
        Some(Place::Pool(page_id, number)) => match database.page(page_id)? {
            Ok(Some(mut page)) => {
                clear_slot(&mut page, number);
                database.replace_page(page_id, &page).map(Ok)
            }
            Ok(None) => Ok(Err(unknown(id))),
            Err(error) => Ok(Err(error)),
        },
        None => Ok(Err(unknown(id))),
    }
}

pub(super) fn read(location: Location, pages: &Pages, mut queue: mpsc::Receiver<Read>) {
    let mut connection = Reconnecting { location, database: None };
    while let Some(Read(ids, answer)) = queue.blocking_recv() {
        let one = |id| connection.run(|database| read_one(database, pages, id)).and_then(|found| found);
        let found = ids.into_iter().map(one).collect();
        // Whoever asked may have gone away.
        let _ = answer.send(found);
    }
}

fn read_one(
    database: &Database,
    pages: &Pages,
    id: KeyId,
) -> Result<Result<StoredKey, KeyStoreError>, rusqlite::Error> {
    match key_id::place(id) {
        Some(Place::Subject) => Ok(match database.subject_key(id)? {
            Ok(SubjectRow::Present(bytes)) => Ok(StoredKey::Present(DataKey { id, bytes })),
            Ok(SubjectRow::Destroyed) => Ok(StoredKey::Destroyed),
            Ok(SubjectRow::Absent) => Err(unknown(id)),
            Err(error) => Err(error),
        }),
        Some(Place::Pool(page_id, number)) => {
            let destructions = pages.destructions();
            Ok(match database.page(page_id)? {
                Ok(Some(page)) => {
                    let page = Arc::new(page);
                    pages.keep(page_id, Arc::clone(&page), destructions);
                    Ok(in_page(&page, id, number))
                }
                Ok(None) => Err(unknown(id)),
                Err(error) => Err(error),
            })
        }
        None => Ok(Err(unknown(id))),
    }
}
