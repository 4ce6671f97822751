//! Visitors of chat widgets: whose page is open, how far their conversation goes, and how far the page has it.
//!
//! **Invariant:** a message counts as delivered once the visitor's own page said that it has it, not when it was put
//! on a socket. The sockets read the conversation's stream themselves; this only wakes them.

use std::collections::HashMap;
use std::sync::Arc;

use events::envelope::{Category, Position, Revision};
use events::ids::{AccountId, ConversationId};
use events::log::{EventLog, Filter};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

/// Sockets that one conversation may have: a visitor with more is a runaway page.
const MAX_SOCKETS_PER_CONVERSATION: usize = 20;

/// Every connected visitor, and everybody who waits for one.
pub struct Visitors {
    open: Mutex<Open>,
    max_sockets_per_account: usize,
}

#[derive(Default)]
struct Open {
    conversations: HashMap<ConversationId, Entry>,
    accounts: HashMap<AccountId, usize>,
    /// Whoever wants to know of every page that connects.
    arrivals: Option<mpsc::UnboundedSender<(AccountId, ConversationId)>>,
}

struct Entry {
    /// Sockets and waiters that hold the entry.
    holders: usize,
    sockets: usize,
    /// Through which the conversation is held, once a page connected.
    account: Option<AccountId>,
    marks: Arc<Marks>,
}

/// How far a conversation goes.
struct Marks {
    /// The revision up to which there is something to read.
    news: watch::Sender<Option<Revision>>,
    /// The revision up to which a page said that it has everything.
    seen: watch::Sender<Option<Revision>>,
}

/// The account, or the visitor, has as many sockets as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many sockets are open")]
pub struct TooManySockets;

impl Visitors {
    /// Nobody yet; at most so many sockets per account at once.
    #[must_use]
    pub fn new(max_sockets_per_account: usize) -> Self {
        Self { open: Mutex::default(), max_sockets_per_account }
    }

    /// Notes that a page of the visitor is connected, for as long as what is returned lives.
    ///
    /// # Errors
    /// [`TooManySockets`].
    pub fn connect(
        self: &Arc<Self>,
        account: AccountId,
        conversation: ConversationId,
    ) -> Result<Connection, TooManySockets> {
        let mut open = self.open.lock();
        let of_account = open.accounts.get(&account).copied().unwrap_or_default();
        let of_conversation = open.conversations.get(&conversation).map_or(0, |entry| entry.sockets);
        if of_account >= self.max_sockets_per_account || of_conversation >= MAX_SOCKETS_PER_CONVERSATION {
            return Err(TooManySockets);
        }
        open.accounts.insert(account, of_account + 1);
        let entry = open.hold(conversation);
        entry.sockets += 1;
        entry.account = Some(account);
        let marks = Arc::clone(&entry.marks);
        if let Some(arrivals) = &open.arrivals {
            // Whoever listened is gone when this fails.
            let _ = arrivals.send((account, conversation));
        }
        drop(open);
        let news = marks.news.subscribe();
        Ok(Connection { account, news, hold: Hold { visitors: Arc::clone(self), conversation, marks } })
    }

    /// Every page that connects from now on. Who asked before hears of none any more. It has to be read: what connects
    /// meanwhile is kept.
    pub fn arrivals(&self) -> mpsc::UnboundedReceiver<(AccountId, ConversationId)> {
        let (sender, arrivals) = mpsc::unbounded_channel();
        self.open.lock().arrivals = Some(sender);
        arrivals
    }

    /// True while a page of the conversation is connected here.
    #[must_use]
    pub fn is_connected(&self, conversation: ConversationId) -> bool {
        self.open.lock().conversations.get(&conversation).is_some_and(|entry| entry.sockets > 0)
    }

    /// Every conversation of which a page is connected here, with its account.
    #[must_use]
    pub fn connected(&self) -> Vec<(AccountId, ConversationId)> {
        let open = self.open.lock();
        let connected = open.conversations.iter().filter(|(_, entry)| entry.sockets > 0);
        connected.filter_map(|(conversation, entry)| Some((entry.account?, *conversation))).collect()
    }

    /// How many sockets are open.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.open.lock().accounts.values().sum()
    }

    /// Waits until a page of the conversation has everything up to `revision` and says how far it has it.
    pub async fn seen(self: &Arc<Self>, conversation: ConversationId, revision: Revision) -> Revision {
        let marks = Arc::clone(&self.open.lock().hold(conversation).marks);
        let hold = Hold { visitors: Arc::clone(self), conversation, marks };
        let mut seen = hold.marks.seen.subscribe();
        let reached = seen.wait_for(|seen| seen.is_some_and(|seen| seen >= revision)).await;
        // The sender lives in `hold`, so the wait ends with a mark.
        reached.ok().and_then(|seen| *seen).unwrap_or(revision)
    }

    /// Wakes the pages of the conversation: its stream goes up to `revision`.
    pub fn wake(&self, conversation: ConversationId, revision: Revision) {
        let open = self.open.lock();
        if let Some(entry) = open.conversations.get(&conversation) {
            entry.marks.news.send_if_modified(|news| raise(news, revision));
        }
    }

    /// Follows the log after `after` and wakes pages; ends only with an error. `reached` is kept up to date, so that
    /// following can be taken up again.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn follow(&self, log: &dyn EventLog, reached: &mut Position) -> anyhow::Result<()> {
        let mut events = log.subscribe(*reached, Filter { categories: vec![Category::Conversation] });
        while let Some(event) = events.next().await {
            let event = event?;
            self.wake(ConversationId::new(event.stream.id), event.revision);
            *reached = event.position;
        }
        anyhow::bail!("the log's subscription ended")
    }
}

impl Open {
    fn hold(&mut self, conversation: ConversationId) -> &mut Entry {
        let entry = self.conversations.entry(conversation).or_insert_with(|| Entry {
            holders: 0,
            sockets: 0,
            account: None,
            marks: Arc::new(Marks { news: watch::Sender::new(None), seen: watch::Sender::new(None) }),
        });
        entry.holders += 1;
        entry
    }
}

/// Keeps the entry of a conversation.
struct Hold {
    visitors: Arc<Visitors>,
    conversation: ConversationId,
    marks: Arc<Marks>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut open = self.visitors.open.lock();
        if let Some(entry) = open.conversations.get_mut(&self.conversation) {
            entry.holders -= 1;
            if entry.holders == 0 {
                open.conversations.remove(&self.conversation);
            }
        }
    }
}

/// One page of a visitor.
pub struct Connection {
    account: AccountId,
    news: watch::Receiver<Option<Revision>>,
    hold: Hold,
}

impl Connection {
    /// Waits until there may be something new to read.
    pub async fn news(&mut self) {
        // The sender lives in `self.hold`, so this never fails.
        let _ = self.news.changed().await;
    }

    /// Notes that the page has everything up to `revision`.
    pub fn has_seen(&self, revision: Revision) {
        self.hold.marks.seen.send_if_modified(|seen| raise(seen, revision));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.hold.visitors.open.lock();
        if let Some(entry) = open.conversations.get_mut(&self.hold.conversation) {
            entry.sockets -= 1;
        }
        if let Some(sockets) = open.accounts.get_mut(&self.account) {
            *sockets -= 1;
            if *sockets == 0 {
                open.accounts.remove(&self.account);
            }
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
    use futures::FutureExt;
    use uuid::Uuid;

    use super::*;

    fn account() -> AccountId {
        AccountId::new(Uuid::from_u128(1))
    }

    fn conversation(number: u128) -> ConversationId {
        ConversationId::new(Uuid::from_u128(number))
    }

    fn visitors() -> Arc<Visitors> {
        Arc::new(Visitors::new(100))
    }

    #[tokio::test]
    async fn a_message_is_delivered_when_the_page_says_so() {
        let visitors = visitors();
        let waiting = visitors.seen(conversation(1), Revision(3));
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        let mut page = visitors.connect(account(), conversation(1)).unwrap();
        visitors.wake(conversation(1), Revision(3));
        page.news().await;
        assert!(waiting.as_mut().now_or_never().is_none(), "putting it on the socket is not enough");
        page.has_seen(Revision(2));
        assert!(waiting.as_mut().now_or_never().is_none(), "an older message is another one");
        page.has_seen(Revision(4));
        drop(page);
        assert_eq!(waiting.as_mut().now_or_never(), Some(Revision(4)), "the mark outlives the page");
    }

    #[test]
    fn every_page_that_connects_is_told_of() {
        let visitors = visitors();
        let mut arrivals = visitors.arrivals();
        drop(visitors.connect(account(), conversation(1)).unwrap());
        assert_eq!(arrivals.try_recv(), Ok((account(), conversation(1))));
        assert!(arrivals.try_recv().is_err());
    }

    #[tokio::test]
    async fn another_conversation_is_not_woken() {
        let visitors = visitors();
        let mut page = visitors.connect(account(), conversation(1)).unwrap();
        visitors.wake(conversation(2), Revision(1));
        assert!(page.news().now_or_never().is_none());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_those_who_left() {
        let visitors = visitors();
        let first = visitors.connect(account(), conversation(1)).unwrap();
        let second = visitors.connect(account(), conversation(1)).unwrap();
        assert!(visitors.seen(conversation(2), Revision(0)).now_or_never().is_none());
        drop(first);
        assert_eq!(visitors.sockets(), 1);
        drop(second);
        let open = visitors.open.lock();
        assert!(open.conversations.is_empty() && open.accounts.is_empty());
    }

    #[test]
    fn an_account_and_a_visitor_have_so_many_sockets_and_no_more() {
        let visitors = Arc::new(Visitors::new(2));
        let first = visitors.connect(account(), conversation(1)).unwrap();
        let _second = visitors.connect(account(), conversation(2)).unwrap();
        assert!(visitors.connect(account(), conversation(3)).is_err());
        drop(first);
        assert!(visitors.connect(account(), conversation(3)).is_ok());
        let visitors = Arc::new(Visitors::new(1_000));
        let pages: Vec<_> = (0..21).map(|_| visitors.connect(account(), conversation(1)).is_ok()).collect();
        assert!(pages.iter().all(|connected| *connected), "pages that are closed again do not count");
        let open: Vec<_> = (0..20).map(|_| visitors.connect(account(), conversation(1)).unwrap()).collect();
        assert!(visitors.connect(account(), conversation(1)).is_err());
        drop(open);
    }
}
