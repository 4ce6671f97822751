//! Subscriptions: catch up in pages, then wait for the head to move.
//!
//! **Invariant:** the head is marked as seen before the log is read and moves only after a COMMIT, so an event that the
//! read did not show moves the head afterwards: none is missed, and since reading goes on from the position searched,
//! none comes twice. One connection listens for all subscriptions of a log.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::reader::{self, PAGE_EVENTS};
use crate::clock::Clock;
use crate::envelope::{Position, RecordedEvent};
use crate::log::{Filter, ReadError};
use crate::postgres::{Heard, Listener, Postgres};

/// How long a subscription waits before it reads again after a failure.
const PAUSE: Duration = Duration::from_millis(200);

struct Subscription {
    postgres: Postgres,
    head: watch::Receiver<Position>,
    filter: Filter,
    after: Position,
    buffered: std::vec::IntoIter<RecordedEvent>,
    clock: Arc<dyn Clock>,
    outages_hidden_for: Duration,
    /// Since when reading fails.
    failing_since: Option<DateTime<Utc>>,
    ended: bool,
}

/// Every wanted event after `after`, those to come included.
pub(super) fn subscribe(
    postgres: Postgres,
    head: watch::Receiver<Position>,
    after: Position,
    filter: Filter,
    outages_hidden_for: Duration,
    clock: Arc<dyn Clock>,
) -> BoxStream<'static, Result<RecordedEvent, ReadError>> {
    let start = Subscription {
        postgres,
        head,
        filter,
        after,
        buffered: Vec::new().into_iter(),
        clock,
        outages_hidden_for,
        failing_since: None,
        ended: false,
    };
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
            match reader::page(&self.postgres, self.after, &self.filter, PAGE_EVENTS).await {
                Ok(page) => {
                    self.failing_since = None;
                    if page.searched <= self.after {
                        // The log is not where its head was seen: a standby that took over is behind.
                        tokio::time::sleep(PAUSE).await;
                    }
                    self.after = page.searched.max(self.after);
                    self.buffered = page.events.into_iter();
                }
                Err(ReadError::Unavailable(reason)) => {
                    let now = self.clock.now();
                    let since = *self.failing_since.get_or_insert(now);
                    if (now - since).to_std().unwrap_or_default() >= self.outages_hidden_for {
                        return Some(Err(ReadError::Unavailable(reason)));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Moves the head, never back.
pub(super) fn reach(head: &watch::Sender<Position>, to: Position) {
    head.send_if_modified(|head| {
        let moved = to > *head;
        *head = to.max(*head);
        moved
    });
}

/// Keeps the head up to date with what other processes append; says in `away` why it cannot. Runs until it is aborted.
pub(super) async fn watch_log(mut listener: Listener, head: watch::Sender<Position>, away: Arc<Mutex<Option<String>>>) {
    loop {
        let mut heard = listener.next().await;
        let told = match &heard {
            Heard::Payload(payload) => payload.parse().ok().map(Position),
            _ => None,
        };
        match (told, listener.client()) {
            (Some(told), _) => reach(&head, told),
            (None, Some(client)) => match reader::head_with(client).await {
                Ok(found) => reach(&head, found),
                Err(error) => heard = listener.lost(error),
            },
            (None, None) => {}
        }
        let mut away = away.lock();
        match heard {
            Heard::Lost(error) => {
                if away.is_none() {
                    tracing::warn!(reason = error.reason(), "event log cannot be followed");
                }
                *away = Some(error.to_string());
            }
            Heard::Connected | Heard::Payload(_) | Heard::Quiet => *away = None,
        }
    }
}
