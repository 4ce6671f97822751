//! Conversations as work: status, episode, who works on them and who speaks, tags, participants, who has read what.
//!
//! **Invariant:** every row is written from the conversation's own stream. What can be derived (counts, the text of
//! the last message, unread) is derived when read and not stored here.

use events::codec::{Decoded, DomainEvent};
use events::conversation::{ConversationEnqueued, ConversationEvent, ConversationOpened, EnqueuedReason, Speaker};
use events::envelope::{Actor, Category};

use crate::projection::{Changes, Erasure, Masking, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::Set::{Given, Null, Number, Text};
use crate::statement::{Newer, Statement};
use crate::value::{Value, json, name, values};

mod inbox;
mod read;
mod snooze;
mod waiting;

pub use inbox::{Assignee, ConversationFilter, ConversationSort};
pub use read::{ConversationStatus, ConversationView, ParticipantView, QueuedView};
pub use snooze::EndedSnooze;
pub use waiting::{Unqueued, WaitingConversation};
pub(crate) use waiting::{WAITS_SINCE, tenant};

/// Folds conversation streams into the inbox.
#[derive(Debug)]
pub struct ConversationProjection;

const TABLES: &[Table] = &[
    Table {
        name: "conversation",
        create: "CREATE TABLE conversation (conversation BYTEA NOT NULL, tenant TEXT NOT NULL, account BYTEA NOT NULL, \
            channel TEXT NOT NULL, kind TEXT NOT NULL, thread TEXT, status TEXT NOT NULL, episode BIGINT NOT NULL, \
            closed_reason TEXT, snoozed_until BIGINT, assignee TEXT, speaker_kind TEXT NOT NULL, speaker TEXT, \
            migrated_to BYTEA, opened_at BIGINT NOT NULL, last_activity_at BIGINT NOT NULL, \
            last_message_revision BIGINT, last_inbound_revision BIGINT, waiting_since BIGINT, \
            queue BYTEA, priority SMALLINT, queue_language TEXT, queued_since BIGINT, entered_at BIGINT, \
            fallbacks SMALLINT, served_at BIGINT, unassigned_at BIGINT, last_assignee TEXT, carried SMALLINT, \
            revision BIGINT NOT NULL, position BIGINT NOT NULL, PRIMARY KEY (conversation))",
        key: &["conversation"],
        order: RowOrder::Key,
        indexes: &[
            "CREATE INDEX conversation_by_status ON conversation (tenant, status, last_activity_at, conversation)",
            "CREATE INDEX conversation_by_assignee ON conversation (tenant, assignee, last_activity_at, conversation) \
                WHERE assignee IS NOT NULL",
            "CREATE INDEX conversation_waiting ON conversation (tenant, waiting_since, conversation) \
                WHERE waiting_since IS NOT NULL",
            "CREATE INDEX conversation_held ON conversation (tenant, assignee, conversation) \
                WHERE assignee IS NOT NULL AND status = 'open'",
            "CREATE INDEX conversation_queued ON conversation (queue, entered_at, conversation) \
                WHERE queue IS NOT NULL AND assignee IS NULL AND status = 'open'",
            "CREATE INDEX conversation_timed ON conversation (opened_at, conversation) \
                WHERE (queue IS NOT NULL OR assignee IS NOT NULL) AND status <> 'closed'",
            "CREATE INDEX conversation_unqueued ON conversation (account, coalesce(waiting_since, unassigned_at), \
                conversation) WHERE queue IS NULL AND assignee IS NULL \
                AND coalesce(waiting_since, unassigned_at) IS NOT NULL",
            "CREATE INDEX conversation_snoozed ON conversation (snoozed_until, conversation) \
                WHERE snoozed_until IS NOT NULL",
        ],
        personal: PersonalColumns::Columns {
            columns: &["thread"],
            masked: Masking::Addresses,
            erased: &[
                Erasure::OfOccupancy(
                    "UPDATE conversation SET thread = NULL WHERE kind = 'direct' AND conversation IN \
                        (SELECT conversation FROM participant WHERE contact = $1 AND number = $2)",
                ),
                Erasure::OfConversation("UPDATE conversation SET thread = NULL WHERE conversation = $1"),
            ],
        },
    },
    Table {
        name: "conversation_tag",
        create: "CREATE TABLE conversation_tag (conversation BYTEA NOT NULL, tag TEXT NOT NULL, tenant TEXT NOT NULL, \
            active SMALLINT NOT NULL, revision BIGINT NOT NULL, PRIMARY KEY (conversation, tag))",
        key: &["conversation", "tag"],
        order: RowOrder::Key,
        indexes: &["CREATE INDEX conversation_of_tag ON conversation_tag (tenant, tag, conversation)"],
        personal: PersonalColumns::None,
    },
    Table {
        name: "participant",
        create: "CREATE TABLE participant (conversation BYTEA NOT NULL, contact BYTEA NOT NULL, number BIGINT NOT NULL, \
            tenant TEXT NOT NULL, active SMALLINT NOT NULL, since BIGINT NOT NULL, revision BIGINT NOT NULL, \
            PRIMARY KEY (conversation, contact, number))",
        key: &["conversation", "contact", "number"],
        order: RowOrder::Key,
        indexes: &["CREATE INDEX conversation_of_person ON participant (contact, number, conversation)"],
        personal: PersonalColumns::None,
    },
    Table {
        name: "mention",
        create: "CREATE TABLE mention (conversation BYTEA NOT NULL, operator TEXT NOT NULL, tenant TEXT NOT NULL, \
            revision BIGINT NOT NULL, PRIMARY KEY (conversation, operator))",
        key: &["conversation", "operator"],
        order: RowOrder::Key,
        indexes: &["CREATE INDEX mention_of_operator ON mention (tenant, operator, conversation)"],
        personal: PersonalColumns::None,
    },
    Table {
        name: "read_state",
        create: "CREATE TABLE read_state (conversation BYTEA NOT NULL, operator TEXT NOT NULL, tenant TEXT NOT NULL, \
            up_to BIGINT NOT NULL, read_at BIGINT NOT NULL, revision BIGINT NOT NULL, \
            PRIMARY KEY (conversation, operator))",
        key: &["conversation", "operator"],
        order: RowOrder::Key,
        indexes: &[],
        personal: PersonalColumns::None,
    },
];

static OPENED: Statement = Statement::insert(
    "conversation",
    "conversation, tenant, account, channel, kind, thread, opened_at, revision, position",
    &[
        ("status", Text("open")),
        ("episode", Number(1)),
        ("speaker_kind", Text("nobody")),
        ("last_activity_at", Given(7)),
    ],
);
static REOPENED: Statement = Statement::update(
    "conversation",
    "episode, last_activity_at, revision, position",
    &[("status", Text("open")), ("closed_reason", Null), ("snoozed_until", Null), ("carried", Number(1))],
);
static CLOSED: Statement = Statement::update(
    "conversation",
    "closed_reason, revision, position",
    &[
        ("status", Text("closed")),
        ("snoozed_until", Null),
        ("waiting_since", Null),
        ("queue", Null),
        ("priority", Null),
        ("queue_language", Null),
        ("queued_since", Null),
        ("entered_at", Null),
        ("fallbacks", Null),
        ("unassigned_at", Null),
    ],
);
static MIGRATED: Statement = Statement::update("conversation", "migrated_to, revision, position", &[]);
static RECEIVED: Statement = Statement::update(
    "conversation",
    "last_message_revision, last_activity_at, position",
    &[("last_inbound_revision", Given(1)), ("revision", Given(1))],
);
static WAITING: Statement = Statement::fill("conversation", "waiting_since, revision");
static QUEUED: Statement = Statement::update(
    "conversation",
    "last_message_revision, last_activity_at, position",
    &[("waiting_since", Null), ("revision", Given(1))],
);
/// The answer of a person, as opposed to that of an agent.
static SERVED: Statement = Statement::update(
    "conversation",
    "last_message_revision, last_activity_at, position",
    &[("waiting_since", Null), ("served_at", Given(2)), ("revision", Given(1))],
);
/// Its waiting begins.
static ENQUEUED: Statement = Statement::update(
    "conversation",
    "queue, priority, queue_language, queued_since, fallbacks, revision, position",
    &[("entered_at", Given(4))],
);
/// Its waiting begins where somebody put it: whoever had it last is no better for it than anybody else.
static PUT: Statement = Statement::update(
    "conversation",
    "queue, priority, queue_language, queued_since, fallbacks, revision, position",
    &[("entered_at", Given(4)), ("last_assignee", Null)],
);
/// Its waiting goes on.
static MOVED: Statement = Statement::update(
    "conversation",
    "queue, priority, queue_language, entered_at, fallbacks, revision, position",
    &[],
);
static ASSIGNED: Statement = Statement::update(
    "conversation",
    "assignee, revision, position",
    &[("last_assignee", Given(1)), ("carried", Number(0))],
);
static UNASSIGNED: Statement = Statement::update(
    "conversation",
    "unassigned_at, revision, position",
    &[("assignee", Null), ("carried", Number(0))],
);
static SPEAKER: Statement = Statement::update("conversation", "speaker_kind, speaker, revision, position", &[]);
static SNOOZED: Statement =
    Statement::update("conversation", "snoozed_until, revision, position", &[("status", Text("snoozed"))]);
static WOKEN: Statement = Statement::update(
    "conversation",
    "revision, position",
    &[("status", Text("open")), ("snoozed_until", Null), ("carried", Number(1))],
);
static TAGGED: Statement = Statement::upsert(
    "conversation_tag",
    "conversation, tag, tenant, active, revision",
    &[],
    Newer { by: "revision", sets: "active, revision", fills: "" },
);
static PARTICIPANT: Statement = Statement::upsert(
    "participant",
    "conversation, contact, number, tenant, active, since, revision",
    &[],
    Newer { by: "revision", sets: "active, since, revision", fills: "" },
);
static MENTIONED: Statement = Statement::upsert(
    "mention",
    "conversation, operator, tenant, revision",
    &[],
    Newer { by: "revision", sets: "revision", fills: "" },
);
static READ: Statement = Statement::upsert(
    "read_state",
    "conversation, operator, tenant, up_to, read_at, revision",
    &[],
    Newer { by: "revision", sets: "up_to, read_at, revision", fills: "" },
);

impl Projection for ConversationProjection {
    fn name(&self) -> &'static str {
        "conversation"
    }

    fn version(&self) -> u32 {
        4
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Conversation]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::Conversation(conversation_event) = &event.event else { return };
        let at = &event.recorded;
        let (id, now, revision, position) = (at.stream.id, at.recorded_at, at.revision, at.position);
        match conversation_event {
            ConversationEvent::Opened(opened) => open(event, opened, changes),
            ConversationEvent::Reopened(reopened) => {
                changes.push(&REOPENED, values![reopened.episode, now, revision, position, id]);
            }
            ConversationEvent::Closed(closed) => {
                changes.push(&CLOSED, values![closed.reason.clone(), revision, position, id]);
            }
            ConversationEvent::Migrated(migrated) => {
                changes.push(&MIGRATED, values![migrated.to, revision, position, id]);
            }
            ConversationEvent::ParticipantJoined(joined) => {
                let person = joined.participant;
                let row = values![id, person.contact, person.number, at.tenant(), true, now, revision];
                changes.push(&PARTICIPANT, row);
            }
            ConversationEvent::ParticipantLeft(left) => {
                let person = left.participant;
                let row = values![id, person.contact, person.number, at.tenant(), false, now, revision];
                changes.push(&PARTICIPANT, row);
            }
            ConversationEvent::MessageReceived(received) => {
                if !received.marks.iter().any(|mark| mark.is_of_machine()) {
                    changes.push(&WAITING, values![now, revision, id]);
                }
                changes.push(&RECEIVED, values![revision, now, position, id]);
            }
            ConversationEvent::MessageQueued(_) => {
                let by_person = matches!(at.metadata.actor, Actor::Operator(_));
                changes.push(if by_person { &SERVED } else { &QUEUED }, values![revision, now, position, id]);
            }
            ConversationEvent::Tagged(tagged) => {
                let added = tagged.added.iter().map(|tag| (tag, true));
                for (tag, active) in added.chain(tagged.removed.iter().map(|tag| (tag, false))) {
                    changes.push(&TAGGED, values![id, tag.clone(), at.tenant(), active, revision]);
                }
            }
            ConversationEvent::Enqueued(enqueued) => {
                let ConversationEnqueued { queue, priority, language, reason, fallbacks } = enqueued;
                let language = language.as_ref().map(ToString::to_string);
                let statement = match reason {
                    EnqueuedReason::ByHand => &PUT,
                    _ if reason.begins_to_wait() => &ENQUEUED,
                    _ => &MOVED,
                };
                changes.push(statement, values![*queue, *priority, language, now, *fallbacks, revision, position, id]);
            }
            ConversationEvent::Assigned(assigned) => match &assigned.operator {
                Some(operator) => changes.push(&ASSIGNED, values![operator.to_string(), revision, position, id]),
                None => changes.push(&UNASSIGNED, values![now, revision, position, id]),
            },
            ConversationEvent::SpeakerChanged(changed) => {
                let (kind, who) = speaker_columns(&changed.speaker);
                changes.push(&SPEAKER, values![kind, who, revision, position, id]);
            }
            ConversationEvent::Snoozed(snoozed) => {
                changes.push(&SNOOZED, values![snoozed.until, revision, position, id]);
            }
            ConversationEvent::Woken(_) => changes.push(&WOKEN, values![revision, position, id]),
            ConversationEvent::NoteAdded(note) => {
                for operator in &note.mentions {
                    changes.push(&MENTIONED, values![id, operator.to_string(), at.tenant(), revision]);
                }
            }
            ConversationEvent::Read(read) => {
                changes.push(&READ, values![id, read.operator.to_string(), at.tenant(), read.up_to, now, revision])
            }
            // The timeline's.
            ConversationEvent::MessageEdited(_)
            | ConversationEvent::MessageRetracted(_)
            | ConversationEvent::ReactionsChanged(_)
            | ConversationEvent::ActivityNoted(_)
            | ConversationEvent::AttachmentStored(_)
            | ConversationEvent::AttachmentLost(_)
            | ConversationEvent::DeliveryStarted(_)
            | ConversationEvent::PartDelivered(_)
            | ConversationEvent::MessageDelivered(_)
            | ConversationEvent::DeliveryPostponed(_)
            | ConversationEvent::DeliveryFailed(_)
            | ConversationEvent::DeliveryUnknown(_)
            | ConversationEvent::DeliveryRedriven(_)
            | ConversationEvent::ClockNoted(_) => {}
        }
    }
}

fn open(event: &Decoded, opened: &ConversationOpened, changes: &mut Changes) {
    let at = &event.recorded;
    changes.push(
        &OPENED,
        values![
            at.stream.id,
            at.tenant(),
            opened.account,
            opened.channel.as_str(),
            name(&opened.kind),
            opened.thread.value().map_or(Value::Null, json),
            at.recorded_at,
            at.revision,
            at.position,
        ],
    );
}

fn speaker_columns(speaker: &Speaker) -> (&'static str, Option<String>) {
    match speaker {
        Speaker::Agent(agent) => ("agent", Some(agent.to_string())),
        Speaker::Operator(operator) => ("operator", Some(operator.to_string())),
        Speaker::Nobody => ("nobody", None),
    }
}

#[cfg(test)]
mod tests;
