//! Conversations as work: status, episode, who works on them and who speaks, tags, participants, who has read what.
//!
//! **Invariant:** every row is written from the conversation's own stream. What can be derived (counts, the text of
//! the last message, unread) is derived when read and not stored here.

use events::codec::{Decoded, DomainEvent};
use events::conversation::{ConversationEvent, ConversationOpened, Speaker};
use events::envelope::Category;

use crate::projection::{Changes, Erasure, Masking, PersonalColumns, Projection, Table};
use crate::value::{Value, json, name, values};

mod inbox;
mod read;

pub use inbox::{Assignee, ConversationFilter, ConversationSort};
pub use read::{ConversationStatus, ConversationView, ParticipantView};

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
            revision BIGINT NOT NULL, position BIGINT NOT NULL, PRIMARY KEY (conversation))",
        key: &["conversation"],
        indexes: &[
            "CREATE INDEX conversation_by_status ON conversation (tenant, status, last_activity_at, conversation)",
            "CREATE INDEX conversation_by_assignee ON conversation (tenant, assignee, last_activity_at, conversation) \
                WHERE assignee IS NOT NULL",
            "CREATE INDEX conversation_waiting ON conversation (tenant, waiting_since, conversation) \
                WHERE waiting_since IS NOT NULL",
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
        indexes: &["CREATE INDEX conversation_of_tag ON conversation_tag (tenant, tag, conversation)"],
        personal: PersonalColumns::None,
    },
    Table {
        name: "participant",
        create: "CREATE TABLE participant (conversation BYTEA NOT NULL, contact BYTEA NOT NULL, number BIGINT NOT NULL, \
            tenant TEXT NOT NULL, active SMALLINT NOT NULL, since BIGINT NOT NULL, revision BIGINT NOT NULL, \
            PRIMARY KEY (conversation, contact, number))",
        key: &["conversation", "contact", "number"],
        indexes: &["CREATE INDEX conversation_of_person ON participant (contact, number, conversation)"],
        personal: PersonalColumns::None,
    },
    Table {
        name: "read_state",
        create: "CREATE TABLE read_state (conversation BYTEA NOT NULL, operator TEXT NOT NULL, tenant TEXT NOT NULL, \
            up_to BIGINT NOT NULL, read_at BIGINT NOT NULL, revision BIGINT NOT NULL, \
            PRIMARY KEY (conversation, operator))",
        key: &["conversation", "operator"],
        indexes: &[],
        personal: PersonalColumns::None,
    },
];

const OPENED: &str = "INSERT INTO conversation (conversation, tenant, account, channel, kind, thread, status, episode, \
    speaker_kind, opened_at, last_activity_at, revision, position) \
    VALUES ($1, $2, $3, $4, $5, $6, 'open', 1, 'nobody', $7, $7, $8, $9) ON CONFLICT (conversation) DO NOTHING";
const REOPENED: &str = "UPDATE conversation SET status = 'open', episode = $1, closed_reason = NULL, \
    snoozed_until = NULL, last_activity_at = $2, revision = $3, position = $4 WHERE conversation = $5 AND revision < $3";
const CLOSED: &str = "UPDATE conversation SET status = 'closed', closed_reason = $1, snoozed_until = NULL, \
    waiting_since = NULL, revision = $2, position = $3 WHERE conversation = $4 AND revision < $2";
const MIGRATED: &str = "UPDATE conversation SET migrated_to = $1, revision = $2, position = $3 \
    WHERE conversation = $4 AND revision < $2";
const RECEIVED: &str = "UPDATE conversation SET last_message_revision = $1, last_inbound_revision = $1, \
    last_activity_at = $2, waiting_since = coalesce(waiting_since, $2), revision = $1, position = $3 \
    WHERE conversation = $4 AND revision < $1";
const QUEUED: &str = "UPDATE conversation SET last_message_revision = $1, last_activity_at = $2, waiting_since = NULL, \
    revision = $1, position = $3 WHERE conversation = $4 AND revision < $1";
const ASSIGNED: &str = "UPDATE conversation SET assignee = $1, revision = $2, position = $3 \
    WHERE conversation = $4 AND revision < $2";
const SPEAKER: &str = "UPDATE conversation SET speaker_kind = $1, speaker = $2, revision = $3, position = $4 \
    WHERE conversation = $5 AND revision < $3";
const SNOOZED: &str = "UPDATE conversation SET status = 'snoozed', snoozed_until = $1, revision = $2, position = $3 \
    WHERE conversation = $4 AND revision < $2";
const WOKEN: &str = "UPDATE conversation SET status = 'open', snoozed_until = NULL, revision = $1, position = $2 \
    WHERE conversation = $3 AND revision < $1";
const TAGGED: &str = "INSERT INTO conversation_tag (conversation, tag, tenant, active, revision) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (conversation, tag) DO UPDATE SET active = excluded.active, \
    revision = excluded.revision WHERE excluded.revision > conversation_tag.revision";
const PARTICIPANT: &str = "INSERT INTO participant (conversation, contact, number, tenant, active, since, revision) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (conversation, contact, number) DO UPDATE SET \
    active = excluded.active, since = excluded.since, revision = excluded.revision \
    WHERE excluded.revision > participant.revision";
const READ: &str = "INSERT INTO read_state (conversation, operator, tenant, up_to, read_at, revision) \
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (conversation, operator) DO UPDATE SET up_to = excluded.up_to, \
    read_at = excluded.read_at, revision = excluded.revision WHERE excluded.revision > read_state.revision";

impl Projection for ConversationProjection {
    fn name(&self) -> &'static str {
        "conversation"
    }

    fn version(&self) -> u32 {
        2
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
                changes.push(REOPENED, values![reopened.episode, now, revision, position, id]);
            }
            ConversationEvent::Closed(closed) => {
                changes.push(CLOSED, values![closed.reason.clone(), revision, position, id]);
            }
            ConversationEvent::Migrated(migrated) => {
                changes.push(MIGRATED, values![migrated.to, revision, position, id]);
            }
            ConversationEvent::ParticipantJoined(joined) => {
                let person = joined.participant;
                let row = values![id, person.contact, person.number, at.tenant(), true, now, revision];
                changes.push(PARTICIPANT, row);
            }
            ConversationEvent::ParticipantLeft(left) => {
                let person = left.participant;
                let row = values![id, person.contact, person.number, at.tenant(), false, now, revision];
                changes.push(PARTICIPANT, row);
            }
            ConversationEvent::MessageReceived(_) => changes.push(RECEIVED, values![revision, now, position, id]),
            ConversationEvent::MessageQueued(_) => changes.push(QUEUED, values![revision, now, position, id]),
            ConversationEvent::Tagged(tagged) => {
                let added = tagged.added.iter().map(|tag| (tag, true));
                for (tag, active) in added.chain(tagged.removed.iter().map(|tag| (tag, false))) {
                    changes.push(TAGGED, values![id, tag.clone(), at.tenant(), active, revision]);
                }
            }
            ConversationEvent::Assigned(assigned) => {
                let operator = assigned.operator.as_ref().map(ToString::to_string);
                changes.push(ASSIGNED, values![operator, revision, position, id]);
            }
            ConversationEvent::SpeakerChanged(changed) => {
                let (kind, who) = speaker_columns(&changed.speaker);
                changes.push(SPEAKER, values![kind, who, revision, position, id]);
            }
            ConversationEvent::Snoozed(snoozed) => {
                changes.push(SNOOZED, values![snoozed.until, revision, position, id]);
            }
            ConversationEvent::Woken(_) => changes.push(WOKEN, values![revision, position, id]),
            ConversationEvent::Read(read) => {
                changes.push(READ, values![id, read.operator.to_string(), at.tenant(), read.up_to, now, revision])
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
            | ConversationEvent::NoteAdded(_) => {}
        }
    }
}

fn open(event: &Decoded, opened: &ConversationOpened, changes: &mut Changes) {
    let at = &event.recorded;
    changes.push(
        OPENED,
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
