//! Subscriptions: read to the end in pages, wait for the bell, read on.
//!
//! **Invariant:** reading goes on after the position searched last, whatever the bell or a failure does between: no event
//! is missed and none comes twice.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Log;
use crate::envelope::{Position, RecordedEvent};
use crate::log::{Filter, ReadError};

/// Most events that a subscription holds ahead of its consumer.
const BUFFERED_EVENTS: usize = 256;

/// How long to wait after a failure: at first, and at most.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How long to wait for what was heard of and cannot be read yet.
const UNTIL_IT_SHOWS: Duration = Duration::from_millis(20);

struct Subscription {
    log: Arc<Log>,
    head: watch::Receiver<Position>,
    filter: Filter,
    after: Position,
    buffered: std::vec::IntoIter<RecordedEvent>,
    has_read: bool,
    failing: Option<Failing>,
    ended: bool,
}

struct Failing {
    since: Instant,
    wait: Duration,
}

/// Every wanted event after `after`, those to come included.
pub(super) fn subscribe(
    log: Arc<Log>,
    after: Position,
    filter: Filter,
) -> BoxStream<'static, Result<RecordedEvent, ReadError>> {
    let head = log.head.subscribe();
    let buffered = Vec::new().into_iter();
    let start = Subscription { log, head, filter, after, buffered, has_read: false, failing: None, ended: false };
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
            let head = *self.head.borrow_and_update();
            // The first read is made in any case: what was there before is not rung for.
            if self.has_read && head <= self.after {
                if self.head.changed().await.is_err() {
                    return Some(Err(ReadError::Unavailable("log is closed".into())));
                }
                continue;
            }
            match self.log.read_all(self.after, &self.filter, BUFFERED_EVENTS).await {
                Ok((events, searched)) => {
                    (self.has_read, self.failing) = (true, None);
                    self.after = searched;
                    if events.is_empty() && searched < head {
                        tokio::time::sleep(UNTIL_IT_SHOWS).await;
                    }
                    self.buffered = events.into_iter();
                }
                Err(ReadError::Unavailable(reason)) => {
                    if let Err(error) = self.hold_out(reason).await {
                        return Some(Err(error));
                    }
                }
                Err(corrupt) => return Some(Err(corrupt)),
            }
        }
    }

    /// Waits after a failure, or gives up after too many.
    async fn hold_out(&mut self, reason: String) -> Result<(), ReadError> {
        let (shortest, longest) = WAITS;
        let failing = self.failing.get_or_insert_with(|| Failing { since: Instant::now(), wait: shortest });
        if failing.since.elapsed() >= self.log.give_up_after {
            return Err(ReadError::Unavailable(reason));
        }
        tokio::time::sleep(failing.wait).await;
        failing.wait = longest.min(failing.wait * 2);
        Ok(())
    }
}
