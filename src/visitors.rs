//! Visitors of chat widgets who are connected: who can be handed a message now, and what they have seen.
//!
//! **Invariant:** a message counts as delivered once the visitor's own page said that it has it, not when it was put
//! on a socket. The sockets read the conversation's stream themselves; this only wakes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use events::envelope::Revision;
use events::ids::AccountId;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Every connected visitor.
#[derive(Default)]
pub struct Visitors {
    threads: Mutex<HashMap<(AccountId, String), Arc<Thread>>>,
}

struct Thread {
    sockets: Mutex<usize>,
    /// The revision up to which there is something to read.
    news: watch::Sender<Option<Revision>>,
    /// The revision up to which a page said that it has everything.
    seen: watch::Sender<Option<Revision>>,
}

/// The visitor's page did not say in time that it has the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the visitor's page did not confirm the message")]
pub struct NotSeen;

impl Visitors {
    /// Notes that a page of the visitor is connected, for as long as what is returned lives.
    #[must_use]
    pub fn connect(self: &Arc<Self>, account: AccountId, thread: &str) -> Connection {
        let key = (account, thread.to_owned());
        let entry = {
            let mut threads = self.threads.lock();
            let entry = threads.entry(key.clone()).or_insert_with(|| {
                Arc::new(Thread {
                    sockets: Mutex::new(0),
                    news: watch::Sender::new(None),
                    seen: watch::Sender::new(None),
                })
            });
            *entry.sockets.lock() += 1;
            Arc::clone(entry)
        };
        Connection { visitors: Arc::clone(self), key, news: entry.news.subscribe(), thread: entry }
    }

    /// True when a page of the visitor is connected.
    #[must_use]
    pub fn connected(&self, account: AccountId, thread: &str) -> bool {
        self.find(account, thread).is_some()
    }

    /// Wakes the visitor's pages for the event at `revision` of their conversation and waits until one has it.
    ///
    /// # Errors
    /// [`NotSeen`] when none says so within `patience`.
    pub async fn hand_over(
        &self,
        account: AccountId,
        thread: &str,
        revision: Revision,
        patience: Duration,
    ) -> Result<(), NotSeen> {
        let thread = self.find(account, thread).ok_or(NotSeen)?;
        let mut seen = thread.seen.subscribe();
        thread.news.send_if_modified(|news| raise(news, revision));
        let confirmed = seen.wait_for(|seen| seen.is_some_and(|seen| seen >= revision));
        match tokio::time::timeout(patience, confirmed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotSeen),
        }
    }

    fn find(&self, account: AccountId, thread: &str) -> Option<Arc<Thread>> {
        self.threads.lock().get(&(account, thread.to_owned())).cloned()
    }
}

/// One page of a visitor.
pub struct Connection {
    visitors: Arc<Visitors>,
    key: (AccountId, String),
    thread: Arc<Thread>,
    news: watch::Receiver<Option<Revision>>,
}

impl Connection {
    /// Waits until there may be something new to read.
    pub async fn news(&mut self) {
        // The sender lives in `self.thread`, so this never fails.
        let _ = self.news.changed().await;
    }

    /// Notes that the page has everything up to `revision`.
    pub fn has_seen(&self, revision: Revision) {
        self.thread.seen.send_if_modified(|seen| raise(seen, revision));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut threads = self.visitors.threads.lock();
        let left = {
            let mut sockets = self.thread.sockets.lock();
            *sockets -= 1;
            *sockets
        };
        if left == 0 {
            threads.remove(&self.key);
        }
    }
}

fn raise(mark: &mut Option<Revision>, to: Revision) -> bool {
    let higher = mark.is_none_or(|at| to > at);
    if higher {
        *mark = Some(to);
    }
    higher
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn account() -> AccountId {
        AccountId::new(Uuid::from_u128(1))
    }

    #[tokio::test]
    async fn a_message_is_delivered_when_the_page_says_so() {
        let visitors = Arc::new(Visitors::default());
        let mut page = visitors.connect(account(), "v1");
        let reader = tokio::spawn(async move {
            page.news().await;
            page.has_seen(Revision(3));
            page
        });
        visitors.hand_over(account(), "v1", Revision(3), Duration::from_secs(5)).await.unwrap();
        drop(reader.await.unwrap());
        assert!(!visitors.connected(account(), "v1"));
    }

    #[tokio::test]
    async fn a_page_that_stays_silent_has_not_seen_it() {
        let visitors = Arc::new(Visitors::default());
        let _page = visitors.connect(account(), "v1");
        assert_eq!(visitors.hand_over(account(), "v1", Revision(3), SOON).await, Err(NotSeen));
        assert_eq!(visitors.hand_over(account(), "v2", Revision(3), SOON).await, Err(NotSeen));
    }

    #[test]
    fn a_visitor_with_two_pages_is_there_until_both_are_closed() {
        let visitors = Arc::new(Visitors::default());
        let first = visitors.connect(account(), "v1");
        let second = visitors.connect(account(), "v1");
        drop(first);
        assert!(visitors.connected(account(), "v1"));
        drop(second);
        assert!(!visitors.connected(account(), "v1"));
    }
}
