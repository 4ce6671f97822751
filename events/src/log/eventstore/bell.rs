//! Tells subscriptions that the log has grown.
//!
//! **Invariant:** the bell only says that something is there; whoever hears it reads the log, in order and from where it
//! was. So a bell that rings twice or too late makes nobody miss or repeat an event.
//!
//! It is rung three ways: by each append of this process, by a live subscription to `$all` (events of other processes,
//! within milliseconds), and by looking at the end of the log every now and then, which also tells whether the server
//! is there.
//!
//! The live subscription is the client's weakest part, so it is one for all, in a thread and with a client of its own.
//! Its retries are off: they end after a few attempts, and here it is made anew for as long as there is a log, from the
//! furthest position heard of. If a server ends a subscription as if all had been said, the client (1.2) turns in a loop
//! that never waits (`commands.rs`, `next_subscription_event`: an ended stream is asked again at once). No server should,
//! yet a proxy may; then this one thread is lost, and the end of the log is still looked at.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use eventstore::{Client, ClientSettings, StreamPosition, SubscribeToAllOptions, SubscriptionEvent};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;

use super::Log;
use super::reads::names;
use super::records::{place, position};
use crate::envelope::Position;
use crate::log::Filter;

/// How long to wait before a subscription is made anew: at first, and at most.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

pub(super) struct Bell {
    head: Arc<watch::Sender<Position>>,
    look: AbortHandle,
    /// Ends the thread when it is dropped.
    _stop: oneshot::Sender<()>,
}

impl Bell {
    /// Starts to listen and to look.
    pub(super) fn hang(settings: ClientSettings, log: &Arc<Log>, look_every: Duration) -> io::Result<Self> {
        let head = Arc::clone(&log.head);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let heard = Arc::clone(&head);
        let begun = Arc::new(Notify::new());
        let begins = Arc::clone(&begun);
        std::thread::Builder::new().name("eventstore-bell".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = listen(settings, &heard, &begins) => {}
                    _ = stopped => {}
                }
            });
        })?;
        let look = tokio::spawn(look(Arc::downgrade(log), look_every, begun)).abort_handle();
        Ok(Self { head, look, _stop: stop })
    }

    /// Says that there is something at `position`.
    pub(super) fn ring(&self, position: Position) {
        ring(&self.head, position);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.look.abort();
    }
}

fn ring(head: &watch::Sender<Position>, position: Position) {
    head.send_if_modified(|head| {
        let is_news = position > *head;
        *head = position.max(*head);
        is_news
    });
}

/// Listens for as long as there is a log.
async fn listen(settings: ClientSettings, head: &watch::Sender<Position>, begun: &Notify) {
    let (shortest, longest) = WAITS;
    let (mut wait, mut kept) = (shortest, None);
    loop {
        let client = match kept.take() {
            Some(client) => Ok(client),
            None => Client::new(settings.clone()),
        };
        match client {
            Ok(client) => {
                if listen_once(&client, head, begun).await {
                    (wait, kept) = (shortest, Some(client));
                }
            }
            Err(error) => tracing::warn!(%error, "cannot make a client of EventStoreDB"),
        }
        tokio::time::sleep(wait).await;
        wait = longest.min(wait * 2);
    }
}

/// Listens until the subscription ends; true when it had begun.
async fn listen_once(client: &Client, head: &watch::Sender<Position>, begun: &Notify) -> bool {
    let from = place(*head.borrow()).map_or(StreamPosition::End, StreamPosition::Position);
    let options = SubscribeToAllOptions::default().position(from).filter(names(&Filter::default()));
    let mut subscription = client.subscribe_to_all(&options.requires_leader(true)).await;
    let mut has_begun = false;
    loop {
        match subscription.next_subscription_event().await {
            Ok(SubscriptionEvent::EventAppeared(event)) => ring(head, position(event.get_original_event())),
            // One from the end does not tell of what was written while it was not there: somebody has to look.
            Ok(SubscriptionEvent::Confirmed(_)) => begun.notify_one(),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a subscription of EventStoreDB has ended");
                return has_begun;
            }
        }
        has_begun = true;
    }
}

/// Looks at the end of the log until it is gone: every now and then, and when a subscription has begun.
async fn look(log: Weak<Log>, every: Duration, begun: Arc<Notify>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = begun.notified() => {}
        }
        let Some(log) = log.upgrade() else { return };
        // Whoever reads meanwhile gets the error.
        if let Ok(position) = log.head().await {
            ring(&log.head, position);
        }
    }
}
