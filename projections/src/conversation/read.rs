//! Reads of conversations by id, in batches.
//!
//! **Invariant:** a batch of conversations costs the same number of statements as one.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use events::conversation::content::OutsideThread;
use events::conversation::{ConversationKind, Speaker};
use events::envelope::Revision;
use events::ids::{AccountId, ContactId, ConversationId, Occupancy, QueueId};
use events::values::Channel;
use events::viewer::Viewer;
use serde::{Deserialize, Serialize};

use super::waiting::WAITS_SINCE;
use crate::mask;
use crate::store::{Query, StoreError, padded, placeholders};
use crate::value::{Columns, Row, Value};
use crate::views::{MOST_ITEMS, Views, check_ids};

/// Whether a conversation wants work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationStatus {
    /// An episode is open.
    Open,
    /// It rests.
    Snoozed,
    /// No episode is open.
    Closed,
}

impl ConversationStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Open, Self::Snoozed, Self::Closed];

    /// The name as stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Snoozed => "snoozed",
            Self::Closed => "closed",
        }
    }
}

/// A conversation as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ConversationView {
    /// Its id.
    pub conversation: ConversationId,
    /// The account it is held through.
    pub account: AccountId,
    /// The channel of the account.
    pub channel: Channel,
    /// With one customer or a group.
    pub kind: ConversationKind,
    /// Where it is held outside, masked for the viewer; `None` when erased.
    pub thread: Option<OutsideThread>,
    /// Whether it wants work.
    pub status: ConversationStatus,
    /// The number of the current or last episode, from 1.
    pub episode: u32,
    /// Why the last episode ended, if it did.
    pub closed_reason: Option<String>,
    /// Until when it rests.
    pub snoozed_until: Option<DateTime<Utc>>,
    /// Whose work it is.
    pub assignee: Option<String>,
    /// Where it waits for an operator, or came from; `None` when it is in no queue.
    pub queued: Option<QueuedView>,
    /// Who may speak to the customer.
    pub speaker: Speaker,
    /// Where further messages go after a migration.
    pub migrated_to: Option<ConversationId>,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When the last message went in or out, or the last episode began; by our clock.
    pub last_activity_at: DateTime<Utc>,
    /// Since when the customer waits for an answer.
    pub waiting_since: Option<DateTime<Utc>>,
    /// Tags, by name.
    pub tags: Vec<String>,
    /// Customers that take or took part: at most 200 of a group.
    pub participants: Vec<ParticipantView>,
    /// Customer's messages that the viewer has not read: 1000 stands for 1000 or more.
    pub unread: u64,
    /// Up to which revision the viewer has read.
    pub read_up_to: Option<Revision>,
    /// Revision of the last message, in or out.
    pub last_message: Option<Revision>,
    /// The last revision that changed what is shown here (messages' deliveries and edits do not).
    pub revision: Revision,
}

/// Where a conversation waits for an operator, or came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedView {
    /// Which queue.
    pub queue: QueueId,
    /// 0 to 9.
    pub priority: u32,
    /// The language that whoever takes it must speak, by its ISO 639-1 code.
    pub language: Option<String>,
    /// Since when it waits for an operator, over all queues that it fell through.
    pub since: DateTime<Utc>,
}

/// A customer in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantView {
    /// Who.
    pub participant: Occupancy,
    /// False when they left.
    pub active: bool,
    /// Since when they take part, or do not any more.
    pub since: DateTime<Utc>,
}

/// Unread messages are counted up to here, so that a long conversation that nobody read costs no more than others.
const MOST_UNREAD: u32 = 1000;

const COLUMNS: &str = "c.conversation, c.account, c.channel, c.kind, c.thread, c.status, c.episode, c.closed_reason, \
    c.snoozed_until, c.assignee, c.speaker_kind, c.speaker, c.migrated_to, c.opened_at, c.last_activity_at, \
    c.waiting_since, c.last_message_revision, c.revision, c.queue, c.priority, c.queue_language";

fn speaker_of(kind: &str, who: Option<String>) -> Speaker {
    match (kind, who) {
        ("agent", Some(who)) => Speaker::Agent(who.into()),
        ("operator", Some(who)) => Speaker::Operator(who.into()),
        _ => Speaker::Nobody,
    }
}

fn conversation_of(viewer: &Viewer, row: Row) -> Result<ConversationView, StoreError> {
    let mut row = Columns::from(row);
    Ok(ConversationView {
        conversation: ConversationId::new(row.id()?),
        account: AccountId::new(row.id()?),
        channel: row.named()?,
        kind: row.named()?,
        thread: row.opt_json()?.map(|thread| mask::thread(viewer, thread)),
        status: row.named()?,
        episode: row.small()?,
        closed_reason: row.opt_text()?,
        snoozed_until: row.opt_time()?,
        assignee: row.opt_text()?,
        speaker: {
            let kind = row.text()?;
            speaker_of(&kind, row.opt_text()?)
        },
        migrated_to: row.opt_id()?.map(ConversationId::new),
        opened_at: row.time()?,
        last_activity_at: row.time()?,
        waiting_since: row.opt_time()?,
        last_message: row.opt_int()?.map(|revision| Revision(revision.unsigned_abs())),
        revision: Revision(row.count()?),
        queued: {
            let (queue, priority, language) = (row.opt_id()?, row.opt_small()?, row.opt_text()?);
            let whole = queue.zip(priority).zip(row.opt_time()?);
            whole.map(|((queue, priority), since)| QueuedView { queue: QueueId::new(queue), priority, language, since })
        },
        read_up_to: row.opt_int()?.map(|revision| Revision(revision.unsigned_abs())),
        unread: row.count()?,
        tags: Vec::new(),
        participants: Vec::new(),
    })
}

impl Views {
    /// One conversation.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn conversation(
        &self,
        viewer: &Viewer,
        id: ConversationId,
    ) -> Result<Option<ConversationView>, StoreError> {
        Ok(self.conversations_by_ids(viewer, &[id]).await?.pop())
    }

    /// Conversations by id, in the order asked for; unknown ones are left out. Three statements.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn conversations_by_ids(
        &self,
        viewer: &Viewer,
        ids: &[ConversationId],
    ) -> Result<Vec<ConversationView>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        check_ids(ids.len())?;
        let list = placeholders(3, ids.len());
        let mut parameters = vec![viewer.id.to_string().into(), Value::from(&viewer.tenant)];
        padded(&mut parameters, ids);
        let conversations = format!(
            "SELECT {COLUMNS}, {WAITS_SINCE}, r.up_to, (SELECT count(*) FROM (SELECT 1 FROM entry e WHERE e.conversation = c.conversation \
             AND e.revision > coalesce(r.up_to, -1) AND e.kind = 'received' LIMIT {MOST_UNREAD}) AS unread) FROM conversation c \
             LEFT JOIN read_state r ON r.conversation = c.conversation AND r.operator = $1 \
             WHERE c.tenant = $2 AND c.conversation IN {list}"
        );
        let list = placeholders(2, ids.len());
        let mut plain = vec![Value::from(&viewer.tenant)];
        padded(&mut plain, ids);
        let tags = format!(
            "SELECT conversation, tag FROM conversation_tag WHERE tenant = $1 AND conversation IN {list} \
             AND active = 1 ORDER BY conversation, tag"
        );
        let participants = format!(
            "SELECT conversation, contact, number, active, since FROM (SELECT p.*, row_number() OVER \
             (PARTITION BY conversation ORDER BY active DESC, since, contact, number) AS place FROM participant p \
             WHERE p.tenant = $1 AND p.conversation IN {list}) AS ranked WHERE place <= {MOST_ITEMS} \
             ORDER BY conversation, place"
        );
        let [conversations, tags, participants] = self
            .snapshot([
                Query::new(conversations, parameters),
                Query::new(tags, plain.clone()),
                Query::new(participants, plain),
            ])
            .await?;
        let mut found = HashMap::with_capacity(conversations.len());
        for row in conversations {
            let view = conversation_of(viewer, row)?;
            found.insert(view.conversation.uuid(), view);
        }
        for row in tags {
            let mut row = Columns::from(row);
            if let Some(view) = found.get_mut(&row.id()?) {
                view.tags.push(row.text()?);
            }
        }
        for row in participants {
            let mut row = Columns::from(row);
            if let Some(view) = found.get_mut(&row.id()?) {
                let participant = Occupancy { contact: ContactId::new(row.id()?), number: row.small()? };
                view.participants.push(ParticipantView { participant, active: row.flag()?, since: row.time()? });
            }
        }
        Ok(ids.iter().filter_map(|id| found.remove(&id.uuid())).collect())
    }
}
