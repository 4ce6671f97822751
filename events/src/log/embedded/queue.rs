//! The bounded buffer between callers who append and the writer thread.
//!
//! **Invariant:** every request pushed is answered exactly once, also when the log halts or closes. The writer takes
//! everything that waits at once and waits for nothing more: the commit in progress is the batching window.

use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::session::Append;
use crate::log::{AppendError, Appended, LogHealth};

/// What an append answers.
pub(super) type Answer = Result<Appended, AppendError>;

/// When to come back to a full buffer: some group commits later.
const RETRY_WHEN_FULL: Duration = Duration::from_millis(100);

/// An append and who waits for it.
pub(super) struct Request {
    pub(super) append: Append,
    pub(super) size_bytes: usize,
    pub(super) answer: oneshot::Sender<Answer>,
}

impl Request {
    /// Tells the waiter, if it still waits.
    pub(super) fn answer(self, answer: Answer) {
        // A caller that went away needs no answer; its event is in the log all the same.
        drop(self.answer.send(answer));
    }
}

enum Condition {
    Open,
    Halted { reason: String, retry_after: Duration },
    Closed,
}

struct State {
    waiting: Vec<Request>,
    bytes: usize,
    condition: Condition,
    writer_sleeps: bool,
    closing: bool,
    /// How often the log has halted or failed to come back.
    #[cfg(test)]
    halts: u64,
}

impl State {
    fn take_in(&mut self, request: Request) {
        self.bytes += request.size_bytes;
        self.waiting.push(request);
    }
}

/// The buffer.
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    most_requests: usize,
    most_bytes: usize,
}

impl Queue {
    pub(super) fn new(most_requests: usize, most_bytes: usize) -> Self {
        let state = State {
            waiting: Vec::new(),
            bytes: 0,
            condition: Condition::Open,
            writer_sleeps: false,
            closing: false,
            #[cfg(test)]
            halts: 0,
        };
        Self { state: Mutex::new(state), wake: Condvar::new(), most_requests, most_bytes }
    }

    /// Hands a request to the writer.
    pub(super) fn push(&self, request: Request) -> Result<(), AppendError> {
        let mut state = self.state.lock();
        self.admit(&state, &request)?;
        state.take_in(request);
        self.wake_writer(state);
        Ok(())
    }

    /// Hands requests to the writer together; those that are not taken are answered.
    pub(super) fn push_all(&self, requests: Vec<Request>) {
        let mut refused = Vec::new();
        let mut state = self.state.lock();
        for request in requests {
            match self.admit(&state, &request) {
                Ok(()) => state.take_in(request),
                Err(error) => refused.push((request, error)),
            }
        }
        self.wake_writer(state);
        for (request, error) in refused {
            request.answer(Err(error));
        }
    }

    fn admit(&self, state: &State, request: &Request) -> Result<(), AppendError> {
        if state.closing {
            return Err(unavailable("log is closed", Duration::from_secs(1)));
        }
        match &state.condition {
            Condition::Open => {}
            Condition::Halted { reason, retry_after } => return Err(unavailable(reason, *retry_after)),
            Condition::Closed => return Err(unavailable("log is closed", Duration::from_secs(1))),
        }
        if state.waiting.len() >= self.most_requests || state.bytes + request.size_bytes > self.most_bytes {
            return Err(unavailable("too many appends are waiting", RETRY_WHEN_FULL));
        }
        Ok(())
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let wake = !state.waiting.is_empty() && std::mem::take(&mut state.writer_sleeps);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Swaps everything that waits into `group`, which must be empty; sleeps while there is nothing. False when the
    /// log is closing and nothing is left.
    pub(super) fn take(&self, group: &mut Vec<Request>) -> bool {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closing {
                return false;
            }
            state.writer_sleeps = true;
            self.wake.wait(&mut state);
            state.writer_sleeps = false;
        }
        std::mem::swap(&mut state.waiting, group);
        state.bytes = 0;
        true
    }

    /// Refuses all that wait and all to come, until [`Queue::resume`].
    pub(super) fn halt(&self, reason: &str, retry_after: Duration) {
        let mut state = self.state.lock();
        state.condition = Condition::Halted { reason: reason.to_owned(), retry_after };
        state.bytes = 0;
        #[cfg(test)]
        {
            state.halts += 1;
        }
        let refused = std::mem::take(&mut state.waiting);
        drop(state);
        for request in refused {
            request.answer(Err(unavailable(reason, retry_after)));
        }
    }

    /// Takes requests again.
    pub(super) fn resume(&self) {
        self.state.lock().condition = Condition::Open;
    }

    /// Takes no more requests; what waits is still written.
    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_all();
    }

    /// The writer is gone: whatever still waits is refused.
    pub(super) fn writer_gone(&self) {
        self.halt("log writer has stopped", Duration::from_secs(1));
        let mut state = self.state.lock();
        if state.closing {
            state.condition = Condition::Closed;
        }
    }

    /// Sleeps for `time` or until the log closes; true when it closes.
    pub(super) fn wait_for_close(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.closing {
            self.wake.wait_for(&mut state, time);
        }
        state.closing
    }

    /// How often the log has halted or failed to come back.
    #[cfg(test)]
    pub(super) fn halts(&self) -> u64 {
        self.state.lock().halts
    }

    /// Whether appends are taken.
    pub(super) fn health(&self) -> LogHealth {
        let state = self.state.lock();
        match &state.condition {
            Condition::Open if !state.closing => LogHealth::Writable,
            Condition::Open | Condition::Closed => LogHealth::Halted { reason: "log is closed".into() },
            Condition::Halted { reason, .. } => LogHealth::Halted { reason: reason.clone() },
        }
    }
}

/// The answer to an append that may or may not have been made.
pub(super) fn unavailable(reason: &str, retry_after: Duration) -> AppendError {
    AppendError::Unavailable { reason: reason.to_owned(), retry_after }
}
