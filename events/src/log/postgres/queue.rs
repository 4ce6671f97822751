//! The bounded buffer between callers who append and the writer task.
//!
//! **Invariant:** every request pushed is answered exactly once, also when the log halts or closes. The writer takes
//! what waits and waits for nothing more. Single appends go before those that reactors hand in together, of which
//! every group takes some, so that neither keeps the other out.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::log::{AppendError, AppendRequest, Appended, LogHealth};

/// What an append answers.
pub(super) type Answer = Result<Appended, AppendError>;

/// When to come back to a full buffer: some group commits later.
const RETRY_WHEN_FULL: Duration = Duration::from_millis(100);

/// Most appends in a group.
const GROUP_APPENDS: usize = 1_024;

/// A group takes no further append once it has so many bytes.
const GROUP_BYTES: usize = 8 << 20;

/// Of those that give way, one for so many single ones goes into every group.
const GIVES_WAY_TO: usize = 4;

/// A group that is about as cheap for each event as a larger one and still a short wait for whoever comes next.
const SMALL_GROUP: usize = 64;

/// An append, and who waits for it.
pub(super) struct Request {
    pub(super) append: AppendRequest,
    /// Of each event, as JSON.
    pub(super) metadata: Vec<String>,
    size_bytes: usize,
    answer: oneshot::Sender<Answer>,
}

impl Request {
    /// Does on the caller's task what need not be done on the writer's, and refuses what PostgreSQL cannot store: the
    /// rest of its group would be refused along.
    pub(super) fn new(append: AppendRequest, answer: oneshot::Sender<Answer>) -> Result<Self, AppendError> {
        let mut metadata = Vec::with_capacity(append.events.len());
        let mut size_bytes = 0;
        for event in &append.events {
            if event.event_type.contains('\0') {
                return Err(AppendError::Invalid("event type has a NUL"));
            }
            let json = serde_json::to_string(&event.metadata)
                .map_err(|_| AppendError::Invalid("metadata cannot be written as JSON"))?;
            size_bytes += json.len() + event.payload.len();
            metadata.push(json);
        }
        Ok(Self { append, metadata, size_bytes, answer })
    }

    pub(super) const fn size_bytes(&self) -> usize {
        self.size_bytes
    }

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
    single: VecDeque<Request>,
    /// Those that give way to the others.
    patient: VecDeque<Request>,
    /// Of all that wait.
    bytes: usize,
    condition: Condition,
    closing: bool,
}

impl State {
    fn next_group(&mut self) -> Vec<Request> {
        let single = self.single.len();
        let patient = match single {
            0 => GROUP_APPENDS,
            _ => SMALL_GROUP.saturating_sub(single).max(single.div_ceil(GIVES_WAY_TO)),
        };
        let patient = patient.min(self.patient.len());
        let (mut group, mut bytes) = (Vec::with_capacity((single + patient).min(GROUP_APPENDS)), 0);
        // Some of the patient first, so that many large single ones cannot keep them out by bytes.
        for (waiting, most) in [(&mut self.patient, patient), (&mut self.single, single)] {
            for _ in 0..most {
                if group.len() >= GROUP_APPENDS || bytes >= GROUP_BYTES {
                    break;
                }
                let Some(request) = waiting.pop_front() else { break };
                bytes += request.size_bytes;
                group.push(request);
            }
        }
        self.bytes -= bytes;
        group
    }

    fn give_up(&mut self) -> Vec<Request> {
        self.bytes = 0;
        self.single.drain(..).chain(self.patient.drain(..)).collect()
    }
}

/// The buffer.
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Notify,
    most_requests: usize,
    most_bytes: usize,
}

impl Queue {
    pub(super) fn new(most_requests: usize, most_bytes: usize) -> Self {
        let state = State {
            single: VecDeque::new(),
            patient: VecDeque::new(),
            bytes: 0,
            condition: Condition::Open,
            closing: false,
        };
        Self { state: Mutex::new(state), wake: Notify::new(), most_requests, most_bytes }
    }

    /// Hands a request to the writer.
    pub(super) fn push(&self, request: Request) -> Result<(), AppendError> {
        let mut state = self.state.lock();
        self.admit(&state, &request)?;
        state.bytes += request.size_bytes;
        state.single.push_back(request);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Hands requests to the writer together, behind the single ones; those that are not taken are answered.
    pub(super) fn push_all(&self, requests: Vec<Request>) {
        let mut refused = Vec::new();
        let mut state = self.state.lock();
        for request in requests {
            match self.admit(&state, &request).and_then(|()| self.admit_patient(&state)) {
                Ok(()) => {
                    state.bytes += request.size_bytes;
                    state.patient.push_back(request);
                }
                Err(error) => refused.push((request, error)),
            }
        }
        drop(state);
        self.wake.notify_one();
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
        let waiting = state.single.len() + state.patient.len();
        if waiting >= self.most_requests || state.bytes + request.size_bytes > self.most_bytes {
            return Err(unavailable("too many appends are waiting", RETRY_WHEN_FULL));
        }
        Ok(())
    }

    /// Those that give way take half of the room at most, so that single ones find some.
    fn admit_patient(&self, state: &State) -> Result<(), AppendError> {
        if state.patient.len() < self.most_requests / 2 && state.bytes <= self.most_bytes / 2 {
            Ok(())
        } else {
            Err(unavailable("too many appends are waiting", RETRY_WHEN_FULL))
        }
    }

    /// Takes the next group, once something waits; `None` when the log is closing and nothing is left.
    pub(super) async fn take(&self) -> Option<Vec<Request>> {
        loop {
            {
                let mut state = self.state.lock();
                let group = state.next_group();
                if !group.is_empty() {
                    return Some(group);
                }
                if state.closing {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Refuses all that wait and all to come, until [`Queue::resume`].
    pub(super) fn halt(&self, reason: &str, retry_after: Duration) {
        let mut state = self.state.lock();
        state.condition = Condition::Halted { reason: reason.to_owned(), retry_after };
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

    /// Takes no more requests; what waits is still made.
    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_one();
    }

    /// True once [`Queue::close`] was called.
    pub(super) fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    /// The writer is gone: whatever still waits is refused.
    pub(super) fn writer_gone(&self) {
        self.halt("log writer has stopped", Duration::from_secs(1));
        let mut state = self.state.lock();
        if state.closing {
            state.condition = Condition::Closed;
        }
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
    use crate::log::ExpectedRevision;
    use crate::testing::{fresh_stream, fresh_tenant, sample_events};

    fn request() -> (Request, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let stream = fresh_stream(&fresh_tenant());
        let append = AppendRequest { stream, expected: ExpectedRevision::Any, events: sample_events("x", 1) };
        (Request::new(append, answer).unwrap(), answered)
    }

    fn fill(queue: &Queue, single: usize, patient: usize) {
        (0..single).for_each(|_| queue.push(request().0).unwrap());
        queue.push_all((0..patient).map(|_| request().0).collect());
    }

    /// Sizes of the groups until none that gives way waits, while so many single ones come before each.
    fn groups(single: usize, patient: usize) -> Vec<usize> {
        let queue = Queue::new(10_000, 64 << 20);
        fill(&queue, 0, patient);
        let mut sizes = Vec::new();
        while !queue.state.lock().patient.is_empty() {
            fill(&queue, single, 0);
            sizes.push(queue.state.lock().next_group().len());
        }
        assert_eq!(queue.state.lock().bytes, 0);
        sizes
    }

    #[test]
    fn what_reactors_hand_in_gives_way_to_single_appends_and_always_goes_on() {
        assert_eq!(groups(0, 1_500), [1_024, 476]);
        assert_eq!(groups(4, 130), [64, 64, 14]);
        assert_eq!(groups(60, 30), [75, 75], "a quarter of them");
    }

    #[test]
    fn a_group_has_an_end_and_what_is_left_comes_next() {
        let queue = Queue::new(10_000, 64 << 20);
        fill(&queue, 1_500, 0);
        let mut state = queue.state.lock();
        assert_eq!((state.next_group().len(), state.next_group().len()), (1_024, 476));
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
        queue.halt("server away", Duration::from_secs(1));
        assert!(queue.state.lock().next_group().is_empty(), "whatever waited was refused");
        assert!(queue.push(request().0).is_err());
    }

    #[test]
    fn a_type_that_postgresql_cannot_store_is_refused_before_it_meets_others() {
        let (answer, _answered) = oneshot::channel();
        let mut events = sample_events("x", 1);
        events[0].event_type = "conversation.\0".into();
        let append = AppendRequest { stream: fresh_stream(&fresh_tenant()), expected: ExpectedRevision::Any, events };
        assert!(matches!(Request::new(append, answer), Err(AppendError::Invalid(_))));
    }
}
