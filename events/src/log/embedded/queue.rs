//! The bounded buffer between callers who append and the writer thread.
//!
//! **Invariant:** every request pushed is answered exactly once, also when the log halts or closes. The writer takes
//! what waits at once and waits for nothing more: the commit in progress is the batching window. Single appends, for
//! which a sender or a person waits, all go into the next group; of those that reactors hand in together it takes what
//! leaves the group small, and always some, so that neither keeps the other out.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::session::Append;
use crate::log::{AppendError, Appended, LogHealth};

/// What an append answers.
pub(super) type Answer = Result<Appended, AppendError>;

/// When to come back to a full buffer: some group commits later.
const RETRY_WHEN_FULL: Duration = Duration::from_millis(100);

/// A group that is about as cheap for each event as a larger one and still a short wait for whoever comes next.
const SMALL_GROUP: usize = 64;

/// Of those that give way, one for so many single ones goes into every group.
const GIVES_WAY_TO: usize = 4;

/// Most of those that give way in a group without single ones.
const LARGE_GROUP: usize = 2_048;

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
    /// Those that give way to the others.
    patient: VecDeque<Request>,
    /// Of all that wait.
    bytes: usize,
    patient_bytes: usize,
    condition: Condition,
    writer_sleeps: bool,
    closing: bool,
    /// How often the log has halted or failed to come back.
    #[cfg(test)]
    halts: u64,
}

impl State {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.patient.is_empty()
    }

    fn len(&self) -> usize {
        self.waiting.len() + self.patient.len()
    }

    /// Moves the next group into `group`, which is empty.
    fn next_group(&mut self, group: &mut Vec<Request>) {
        std::mem::swap(&mut self.waiting, group);
        let most = match group.len() {
            0 => LARGE_GROUP,
            single => SMALL_GROUP.saturating_sub(single).max(single.div_ceil(GIVES_WAY_TO)),
        };
        for request in self.patient.drain(..most.min(self.patient.len())) {
            self.patient_bytes -= request.size_bytes;
            group.push(request);
        }
        self.bytes -= group.iter().map(|request| request.size_bytes).sum::<usize>();
    }

    /// Everything, because nothing of it will be written.
    fn give_up(&mut self) -> Vec<Request> {
        (self.bytes, self.patient_bytes) = (0, 0);
        let mut given_up = std::mem::take(&mut self.waiting);
        given_up.extend(std::mem::take(&mut self.patient));
        given_up
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
            patient: VecDeque::new(),
            bytes: 0,
            patient_bytes: 0,
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
        state.bytes += request.size_bytes;
        state.waiting.push(request);
        self.wake_writer(state);
        Ok(())
    }

    /// Hands requests to the writer together, behind the single ones; those that are not taken are answered.
    pub(super) fn push_all(&self, requests: Vec<Request>) {
        let mut refused = Vec::new();
        let mut state = self.state.lock();
        for request in requests {
            match self.admit(&state, &request).and_then(|()| self.admit_patient(&state, &request)) {
                Ok(()) => {
                    state.bytes += request.size_bytes;
                    state.patient_bytes += request.size_bytes;
                    state.patient.push_back(request);
                }
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
        if state.len() >= self.most_requests || state.bytes + request.size_bytes > self.most_bytes {
            return Err(unavailable("too many appends are waiting", RETRY_WHEN_FULL));
        }
        Ok(())
    }

    /// Those that give way take half of the room at most, so that single ones find some.
    fn admit_patient(&self, state: &State, request: &Request) -> Result<(), AppendError> {
        let bytes = state.patient_bytes + request.size_bytes;
        let fits = state.patient.len() < self.most_requests / 2 && bytes <= self.most_bytes / 2;
        if fits || state.patient.is_empty() {
            Ok(())
        } else {
            Err(unavailable("too many appends are waiting", RETRY_WHEN_FULL))
        }
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let wake = !state.is_empty() && std::mem::take(&mut state.writer_sleeps);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Moves the next group into `group`, which must be empty; sleeps while nothing waits. False when the log is closing
    /// and nothing is left.
    pub(super) fn take(&self, group: &mut Vec<Request>) -> bool {
        let mut state = self.state.lock();
        while state.is_empty() {
            if state.closing {
                return false;
            }
            state.writer_sleeps = true;
            self.wake.wait(&mut state);
            state.writer_sleeps = false;
        }
        state.next_group(group);
        true
    }

    /// Refuses all that wait and all to come, until [`Queue::resume`].
    pub(super) fn halt(&self, reason: &str, retry_after: Duration) {
        let mut state = self.state.lock();
        state.condition = Condition::Halted { reason: reason.to_owned(), retry_after };
        #[cfg(test)]
        {
            state.halts += 1;
        }
        let refused = state.give_up();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Category, StreamName};
    use crate::log::ExpectedRevision;

    fn request() -> (Request, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let stream = StreamName::new(Category::Contact, "acme".parse().unwrap(), uuid::Uuid::nil());
        let append = Append { stream, expected: ExpectedRevision::Any, events: Vec::new() };
        (Request { append, size_bytes: 10, answer }, answered)
    }

    fn fill(queue: &Queue, single: usize, patient: usize) {
        (0..single).for_each(|_| queue.push(request().0).unwrap());
        queue.push_all((0..patient).map(|_| request().0).collect());
    }

    /// Sizes of the groups until nothing waits, while so many single ones come before each.
    fn groups(single: usize, patient: usize) -> Vec<usize> {
        let queue = Queue::new(10_000, 1 << 20);
        fill(&queue, 0, patient);
        let mut sizes = Vec::new();
        while !queue.state.lock().patient.is_empty() {
            fill(&queue, single, 0);
            let mut group = Vec::new();
            assert!(queue.take(&mut group));
            sizes.push(group.len());
        }
        let state = queue.state.lock();
        assert_eq!((state.bytes, state.patient_bytes), (0, 0));
        drop(state);
        sizes
    }

    #[test]
    fn what_reactors_hand_in_gives_way_to_single_appends_and_always_goes_on() {
        assert_eq!(groups(0, 3_000), [2_048, 952]);
        assert_eq!(groups(4, 130), [64, 64, 14]);
        assert_eq!(groups(60, 30), [75, 75], "a quarter of them");
    }

    #[test]
    fn a_full_queue_answers_each_request_that_it_does_not_take() {
        let queue = Queue::new(6, 1 << 20);
        let (requests, answers): (Vec<_>, Vec<_>) = (0..5).map(|_| request()).unzip();
        queue.push_all(requests);
        let refused = answers.into_iter().filter_map(|mut answer| answer.try_recv().ok()).collect::<Vec<_>>();
        assert_eq!(refused.len(), 2, "half of the room is left");
        assert!(queue.push(request().0).is_ok());
        assert!(refused.iter().all(|answer| matches!(answer, Err(AppendError::Unavailable { .. }))));
        queue.halt("full disk", Duration::from_secs(1));
        assert_eq!(queue.state.lock().len(), 0, "whatever waited was refused");
    }
}
