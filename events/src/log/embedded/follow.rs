//! Subscriptions: catch up in slices, then wait for the head to move.
//!
//! **Invariant:** the head is marked as seen before the log is read and moves only after a COMMIT, so an event that
//! the read did not show moves the head afterwards: none is missed, and since reading goes on from the position
//! searched, none comes twice. Who keeps up is served from memory ([`Tail`]), which holds an event before the head
//! shows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;

use super::pool::ReadPool;
use super::reader::Reader;
use super::tail::Tail;
use crate::envelope::{Position, RecordedEvent};
use crate::log::{Filter, ReadError};

/// Most events that a subscription holds ahead of its consumer.
const BUFFERED_EVENTS: usize = 1024;

struct Subscription {
    pool: Arc<ReadPool>,
    tail: Arc<Tail>,
    head: watch::Receiver<Position>,
    filter: Filter,
    after: Position,
    buffered: std::vec::IntoIter<RecordedEvent>,
    ended: bool,
}

/// Every wanted event after `after`, those to come included.
pub(super) fn subscribe(
    pool: Arc<ReadPool>,
    tail: Arc<Tail>,
    head: watch::Receiver<Position>,
    after: Position,
    filter: Filter,
) -> BoxStream<'static, Result<RecordedEvent, ReadError>> {
    let start = Subscription { pool, tail, head, filter, after, buffered: Vec::new().into_iter(), ended: false };
    stream::unfold(start, |mut subscription| async move {
        let next = subscription.next().await?;
        subscription.ended = next.is_err();
        Some((next, subscription))
    })
    .boxed()
}

impl Subscription {
    async fn next(&mut self) -> Option<Result<RecordedEvent, ReadError>> {
        if self.ended {
            return None;
        }
        loop {
            if let Some(event) = self.buffered.next() {
                return Some(Ok(event));
            }
            if *self.head.borrow_and_update() <= self.after {
                if self.head.changed().await.is_err() {
                    return Some(Err(ReadError::Unavailable("log is closed".into())));
                }
                continue;
            }
            if let Some(found) = self.tail.read(self.after, &self.filter, BUFFERED_EVENTS) {
                self.after = found.searched;
                self.buffered = found.events.into_iter();
                continue;
            }
            let (after, filter) = (self.after, self.filter.clone());
            match self.pool.read(move |reader| reader.read_all(after, &filter, BUFFERED_EVENTS)).await {
                Ok(slice) => {
                    self.after = slice.searched;
                    self.buffered = slice.events.into_iter();
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Watches a log that another process writes, until told to stop; unpark the thread to make it look at once.
pub(super) fn watch_other_process(
    mut reader: Reader,
    every: Duration,
    head: &watch::Sender<Position>,
    stop: &AtomicBool,
) {
    let mut seen = None;
    let mut failing = false;
    while !stop.load(Ordering::Acquire) {
        match look(&mut reader, &mut seen) {
            Ok(Some(position)) => {
                failing = false;
                head.send_replace(position);
            }
            Ok(None) => failing = false,
            // Whoever reads meanwhile gets the error; here it is enough to try again.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "cannot see whether the event log moved");
            }
            Err(_) => {}
        }
        std::thread::park_timeout(every);
    }
}

/// The head, if anything was committed since `seen`.
fn look(reader: &mut Reader, seen: &mut Option<i64>) -> Result<Option<Position>, ReadError> {
    let version = reader.data_version()?;
    if *seen == Some(version) {
        return Ok(None);
    }
    let head = reader.head()?;
    *seen = Some(version);
    Ok(Some(head))
}
