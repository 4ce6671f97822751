//! What waits to be sent, who works on it, and how far the checkpoint may go.
//!
//! **Invariant:** a message leaves the table only when a look at its conversation that began after it was queued did
//! not find it in the queue. What waits for a visitor does not hold the checkpoint: it is found again when the visitor
//! connects.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};
use events::envelope::Position;
use events::ids::{ConversationId, MessageId};
use parking_lot::Mutex;

/// The table of what waits.
#[derive(Default)]
pub(super) struct Work {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    conversations: HashMap<ConversationId, Conversation>,
    /// Where messages were queued that have not ended and that the checkpoint waits for, each with the place before it.
    holding: BTreeMap<Position, Position>,
    seen: Position,
}

#[derive(Default)]
struct Conversation {
    worker: Worker,
    waits: Option<Wait>,
    /// When it last stopped waiting for somebody else.
    free_since: Option<DateTime<Utc>>,
    /// What was queued, where.
    messages: BTreeMap<Position, Message>,
}

#[derive(Clone, Copy)]
struct Message {
    id: MessageId,
    at: DateTime<Utc>,
    /// The last place that was read before it: positions are not counted, and one between two events is of no log.
    before: Position,
}

#[derive(Default, PartialEq, Eq)]
enum Worker {
    #[default]
    Nobody,
    /// It has seen, or will see, all there is.
    Busy,
    /// More was queued since its last look.
    Behind,
}

/// What a conversation waits for that is not for us to hurry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// The time of the next attempt.
    Time,
    /// The visitor's page.
    Visitor,
}

impl Work {
    /// The log is read from here on, and nobody works on anything.
    pub(super) fn begin(&self, after: Position) {
        *self.table.lock() = Table { seen: after, ..Table::default() };
    }

    /// Everything up to here was read.
    pub(super) fn passed(&self, position: Position) {
        self.table.lock().seen = position;
    }

    /// A message was queued. True when the caller has to start a worker.
    #[must_use]
    pub(super) fn queued(
        &self,
        position: Position,
        conversation: ConversationId,
        message: MessageId,
        at: DateTime<Utc>,
    ) -> bool {
        let mut table = self.table.lock();
        let before = table.seen;
        let entry = table.conversations.entry(conversation).or_default();
        entry.messages.insert(position, Message { id: message, at, before });
        let begin = entry.wake();
        if entry.waits != Some(Wait::Visitor) {
            table.holding.insert(position, before);
        }
        begin
    }

    /// Somebody has to look at the conversation. True when the caller has to start a worker.
    #[must_use]
    pub(super) fn wake(&self, conversation: ConversationId) -> bool {
        self.table.lock().conversations.entry(conversation).or_default().wake()
    }

    /// A worker begins to look. Returns the newest position that the look is sure to cover.
    pub(super) fn look(&self, conversation: ConversationId) -> Position {
        let mut table = self.table.lock();
        let entry = table.conversations.entry(conversation).or_default();
        entry.worker = Worker::Busy;
        entry.messages.keys().next_back().copied().unwrap_or(Position::START)
    }

    /// The look found these messages in the queue: of what was queued up to `covered`, the others have ended.
    pub(super) fn settle(&self, conversation: ConversationId, covered: Position, queue: &[MessageId]) {
        let mut table = self.table.lock();
        let Table { conversations, holding, .. } = &mut *table;
        let Some(entry) = conversations.get_mut(&conversation) else { return };
        entry.messages.retain(|position, message| {
            let keep = *position > covered || queue.contains(&message.id);
            if !keep {
                holding.remove(position);
            }
            keep
        });
    }

    /// The conversation waits for somebody else now.
    pub(super) fn defer(&self, conversation: ConversationId, wait: Wait) {
        let mut table = self.table.lock();
        let Table { conversations, holding, .. } = &mut *table;
        let Some(entry) = conversations.get_mut(&conversation) else { return };
        entry.waits = Some(wait);
        if wait == Wait::Visitor {
            for position in entry.messages.keys() {
                holding.remove(position);
            }
        }
    }

    /// The conversation waits for nobody else any more.
    pub(super) fn resume(&self, conversation: ConversationId, now: DateTime<Utc>) {
        let mut table = self.table.lock();
        let Table { conversations, holding, .. } = &mut *table;
        let Some(entry) = conversations.get_mut(&conversation) else { return };
        if entry.waits.take().is_some() {
            entry.free_since = Some(now);
            holding.extend(entry.messages.iter().map(|(position, message)| (*position, message.before)));
        }
    }

    /// The worker found the queue empty. True when it may leave, false when more was queued since it looked.
    #[must_use]
    pub(super) fn finish(&self, conversation: ConversationId) -> bool {
        let mut table = self.table.lock();
        let Some(entry) = table.conversations.get_mut(&conversation) else { return true };
        if entry.worker == Worker::Behind {
            return false;
        }
        entry.worker = Worker::Nobody;
        if entry.messages.is_empty() {
            table.conversations.remove(&conversation);
        }
        true
    }

    /// The conversation is another process's: nothing of it is waited for here.
    pub(super) fn leave(&self, conversation: ConversationId) {
        let mut table = self.table.lock();
        if let Some(entry) = table.conversations.remove(&conversation) {
            for position in entry.messages.keys() {
                table.holding.remove(position);
            }
        }
    }

    /// How far the checkpoint may go.
    pub(super) fn safe(&self) -> Position {
        let table = self.table.lock();
        table.holding.values().next().copied().unwrap_or(table.seen)
    }

    /// How many messages wait for us, not for a time or a visitor, and since when the oldest does.
    pub(super) fn lag(&self, now: DateTime<Utc>) -> (u64, Duration) {
        let table = self.table.lock();
        let free = table.conversations.values().filter(|conversation| conversation.waits.is_none());
        free.flat_map(|conversation| {
            let since = conversation.free_since.unwrap_or(DateTime::<Utc>::MIN_UTC);
            conversation
                .messages
                .values()
                .map(move |message| (now - since.max(message.at)).to_std().unwrap_or_default())
        })
        .fold((0, Duration::ZERO), |(count, oldest), age| (count + 1, oldest.max(age)))
    }
}

impl Conversation {
    fn wake(&mut self) -> bool {
        let begin = self.worker == Worker::Nobody;
        self.worker = if begin { Worker::Busy } else { Worker::Behind };
        begin
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const CHAT: ConversationId = ConversationId::new(Uuid::from_u128(1));
    const OTHER: ConversationId = ConversationId::new(Uuid::from_u128(2));

    fn message(number: u128) -> MessageId {
        MessageId::new(Uuid::from_u128(number))
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn a_message_queued_after_the_last_look_is_kept_and_looked_at() {
        let work = Work::default();
        assert!(work.queued(Position(5), CHAT, message(1), at(0)));
        work.passed(Position(5));
        let covered = work.look(CHAT);
        work.passed(Position(7));
        assert!(!work.queued(Position(8), CHAT, message(2), at(0)), "there is a worker");
        work.passed(Position(8));
        work.settle(CHAT, covered, &[]);
        assert_eq!(work.safe(), Position(7), "the checkpoint waits for the newer one");
        assert!(!work.finish(CHAT), "the worker has to look again");
        let covered = work.look(CHAT);
        work.settle(CHAT, covered, &[]);
        assert!(work.finish(CHAT));
        assert_eq!(work.safe(), Position(8));
        assert!(work.queued(Position(9), CHAT, message(3), at(0)), "nobody works on it any more");
    }

    #[test]
    fn what_has_ended_no_longer_holds_the_checkpoint_while_the_next_one_waits() {
        let work = Work::default();
        let _ = work.queued(Position(5), CHAT, message(1), at(0));
        work.passed(Position(5));
        let _ = work.queued(Position(7), CHAT, message(2), at(0));
        work.passed(Position(9));
        let covered = work.look(CHAT);
        work.settle(CHAT, covered, &[message(2)]);
        assert_eq!(work.safe(), Position(5), "the last event before it, for 6 may be no event");
    }

    #[test]
    fn a_visitor_who_stays_away_does_not_hold_the_checkpoint() {
        let work = Work::default();
        work.begin(Position(4));
        let _ = work.queued(Position(5), CHAT, message(1), at(0));
        work.passed(Position(5));
        work.defer(CHAT, Wait::Visitor);
        let _ = work.queued(Position(6), CHAT, message(2), at(0));
        work.passed(Position(6));
        let _ = work.queued(Position(7), OTHER, message(3), at(0));
        work.passed(Position(9));
        assert_eq!(work.safe(), Position(6), "only the other conversation does");
        work.resume(CHAT, at(9));
        assert_eq!(work.safe(), Position(4), "what is sent now does");
    }

    #[test]
    fn a_conversation_that_another_process_sends_holds_nothing() {
        let work = Work::default();
        let _ = work.queued(Position(5), CHAT, message(1), at(0));
        work.passed(Position(6));
        assert!(!work.queued(Position(7), CHAT, message(2), at(0)));
        work.leave(CHAT);
        assert_eq!((work.safe(), work.lag(at(9)).0), (Position(6), 0));
        assert!(work.queued(Position(8), CHAT, message(3), at(0)), "a later message is looked at again");
    }

    #[test]
    fn only_what_waits_for_us_counts_as_lag() {
        let work = Work::default();
        assert_eq!(work.lag(at(100)), (0, Duration::ZERO));
        let _ = work.queued(Position(5), CHAT, message(1), at(10));
        let _ = work.queued(Position(6), OTHER, message(2), at(40));
        assert_eq!(work.lag(at(100)), (2, Duration::from_secs(90)));
        work.defer(CHAT, Wait::Time);
        assert_eq!(work.lag(at(100)), (1, Duration::from_secs(60)));
        work.defer(OTHER, Wait::Visitor);
        assert_eq!(work.lag(at(100)), (0, Duration::ZERO));
        work.resume(CHAT, at(95));
        assert_eq!(work.lag(at(100)), (1, Duration::from_secs(5)), "it counts since it may go on");
    }
}
