//! Reader threads behind a bounded queue, so that no read ever runs on the caller's async thread.
//!
//! **Invariant:** each thread has one connection and does one job at a time; a job is one slice, so no snapshot is
//! held for long and no caller keeps the others out.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::reader::Reader;
use crate::log::ReadError;

type Work = Box<dyn FnOnce(&mut Reader) + Send>;

struct Job {
    work: Work,
    /// The place in the queue, given back when a thread takes the job.
    place: OwnedSemaphorePermit,
}

struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// The queue in front of the reader threads.
pub(super) struct ReadPool {
    state: Mutex<State>,
    wake: Condvar,
    places: Arc<Semaphore>,
}

impl ReadPool {
    /// A pool in which at most `queue` reads wait; the callers of more wait for a place.
    pub(super) fn new(queue: usize) -> Self {
        Self {
            state: Mutex::new(State { jobs: VecDeque::new(), closed: false }),
            wake: Condvar::new(),
            places: Arc::new(Semaphore::new(queue)),
        }
    }

    /// Runs `work` on a reader thread.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let closed = || ReadError::Unavailable("log is closed".into());
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| closed())?;
        let (answer, result) = oneshot::channel();
        let work: Work = Box::new(move |reader| {
            // A caller that went away needs no answer.
            drop(answer.send(work(reader)));
        });
        {
            let mut state = self.state.lock();
            if state.closed {
                return Err(closed());
            }
            state.jobs.push_back(Job { work, place });
        }
        self.wake.notify_one();
        result.await.map_err(|_| closed())?
    }

    /// What each reader thread does, until the pool closes.
    pub(super) fn serve(&self, mut reader: Reader) {
        loop {
            let job = {
                let mut state = self.state.lock();
                loop {
                    if state.closed {
                        return;
                    }
                    if let Some(job) = state.jobs.pop_front() {
                        break job;
                    }
                    self.wake.wait(&mut state);
                }
            };
            drop(job.place);
            (job.work)(&mut reader);
        }
    }

    /// Ends the threads after what they are doing; reads that wait answer that the log is closed.
    pub(super) fn close(&self) {
        self.places.close();
        let mut state = self.state.lock();
        state.closed = true;
        let dropped = std::mem::take(&mut state.jobs);
        drop(state);
        drop(dropped);
        self.wake.notify_all();
    }
}
