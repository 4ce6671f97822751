//! Threads that own connections and run jobs on them.
//!
//! **Invariant:** a bounded queue; a job that was queued is run, or its caller learns that the store is closed.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::engine::Engine;
use crate::store::StoreError;

type Job = Box<dyn FnOnce(&mut Engine) + Send>;

/// Threads that share one queue of jobs.
pub(super) struct Threads {
    /// Taken when the store closes, which ends the threads.
    queue: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts a thread per engine.
    pub(super) fn spawn(name: &str, engines: Vec<Engine>, queue: usize) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel::<Job>(queue.max(1));
        let receiver = Arc::new(parking_lot::Mutex::new(receiver));
        let mut threads = Vec::with_capacity(engines.len());
        for mut engine in engines {
            let receiver = Arc::clone(&receiver);
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                loop {
                    // The lock is held while waiting: the others wait for the lock, one job wakes one thread.
                    let job = receiver.lock().blocking_recv();
                    let Some(job) = job else { break };
                    job(&mut engine);
                }
            });
            threads.push(thread.map_err(|error| StoreError::Unavailable(format!("no thread: {error}")))?);
        }
        Ok(Self { queue: Some(sender), threads })
    }

    /// Has `act` run on one of the threads, some time; not when the queue is full.
    pub(super) fn start(&self, act: impl FnOnce(&mut Engine) + Send + 'static) {
        if let Some(queue) = &self.queue {
            // Full means that one like it waits already.
            let _ = queue.try_send(Box::new(act));
        }
    }

    /// Runs `act` on one of the threads.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Engine) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |engine| {
            // The caller may have gone: then nobody wants the answer.
            let _ = answer.send(act(engine));
        });
        let queue = self.queue.as_ref().ok_or_else(closed)?;
        queue.send(job).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to close.
            let _ = thread.join();
        }
    }
}
