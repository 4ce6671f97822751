//! The tables of timelines.
//!
//! **Invariant:** `entry` is read in the order of its key, conversation by conversation; the tables beside it are keyed by
//! message first, so that a page of messages finds its rows by one list of ids.

use crate::projection::{Erasure, Masking, PersonalColumns, RowOrder, Table};

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "entry",
        create: "CREATE TABLE entry (conversation BYTEA NOT NULL, revision BIGINT NOT NULL, tenant TEXT NOT NULL, \
            kind TEXT NOT NULL, item BYTEA NOT NULL, episode BIGINT, person BYTEA, number BIGINT, \
            actor_kind TEXT NOT NULL, actor TEXT NOT NULL, message_kind TEXT, marks TEXT, reply_to BYTEA, album BYTEA, \
            activity TEXT, about BYTEA, edited_at BIGINT, content TEXT, event BYTEA NOT NULL, \
            occurred_at BIGINT NOT NULL, recorded_at BIGINT NOT NULL, position BIGINT NOT NULL)",
        key: &["conversation", "revision"],
        order: RowOrder::Arrival,
        // With the conversation named first, or without the revision, SQLite would rather look through the conversation.
        indexes: &["CREATE INDEX entry_of_item ON entry (item, conversation, revision)"],
        personal: PersonalColumns::Columns {
            columns: &["content"],
            masked: Masking::Addresses,
            erased: &[
                // Every event that makes an entry with a person makes a source of events about them, too.
                Erasure::OfOccupancy(
                    "UPDATE entry SET content = NULL WHERE person = $1 AND number = $2 AND conversation IN \
                        (SELECT stream FROM event_source WHERE subject = $1 AND number = $2)",
                ),
                // Notes name no person: in a conversation with one customer they are about that one.
                Erasure::OfOccupancy(
                    "UPDATE entry SET content = NULL WHERE kind IN ('note', 'queued') AND conversation IN \
                        (SELECT p.conversation FROM participant p JOIN conversation c \
                        ON c.conversation = p.conversation \
                        WHERE p.contact = $1 AND p.number = $2 AND c.kind = 'direct')",
                ),
                Erasure::OfConversation("UPDATE entry SET content = NULL WHERE conversation = $1"),
            ],
        },
    },
    Table {
        name: "delivery",
        create: "CREATE TABLE delivery (message BYTEA NOT NULL, conversation BYTEA NOT NULL, tenant TEXT NOT NULL, \
            state TEXT NOT NULL, attempt BIGINT NOT NULL, reason TEXT, retry_at BIGINT, parts BIGINT, \
            changed_at BIGINT NOT NULL, revision BIGINT NOT NULL, position BIGINT NOT NULL, \
            PRIMARY KEY (message, conversation))",
        key: &["message", "conversation"],
        order: RowOrder::Key,
        indexes: &["CREATE INDEX delivery_dead ON delivery (tenant, changed_at, message) \
                WHERE state IN ('failed', 'unknown')"],
        personal: PersonalColumns::None,
    },
    Table {
        name: "message_part",
        create: "CREATE TABLE message_part (message BYTEA NOT NULL, conversation BYTEA NOT NULL, part BIGINT NOT NULL, \
            tenant TEXT NOT NULL, alias BYTEA NOT NULL, outside_id TEXT, delivered_at BIGINT NOT NULL, \
            revision BIGINT NOT NULL, PRIMARY KEY (message, conversation, part))",
        key: &["message", "conversation", "part"],
        order: RowOrder::Key,
        indexes: &["CREATE INDEX part_of_alias ON message_part (alias)"],
        personal: PersonalColumns::None,
    },
    Table {
        name: "retraction",
        create: "CREATE TABLE retraction (message BYTEA NOT NULL, conversation BYTEA NOT NULL, tenant TEXT NOT NULL, \
            retracted_at BIGINT NOT NULL, revision BIGINT NOT NULL, PRIMARY KEY (message, conversation))",
        key: &["message", "conversation"],
        order: RowOrder::Key,
        indexes: &[],
        personal: PersonalColumns::None,
    },
    Table {
        name: "reaction",
        create: "CREATE TABLE reaction (message BYTEA NOT NULL, conversation BYTEA NOT NULL, contact BYTEA NOT NULL, \
            number BIGINT NOT NULL, tenant TEXT NOT NULL, reactions TEXT NOT NULL, changed_at BIGINT NOT NULL, \
            revision BIGINT NOT NULL, PRIMARY KEY (message, conversation, contact, number))",
        key: &["message", "conversation", "contact", "number"],
        order: RowOrder::Key,
        indexes: &[],
        personal: PersonalColumns::None,
    },
    Table {
        name: "attachment",
        create: "CREATE TABLE attachment (message BYTEA NOT NULL, conversation BYTEA NOT NULL, place BIGINT NOT NULL, \
            tenant TEXT NOT NULL, blob TEXT, lost_reason TEXT, revision BIGINT NOT NULL, \
            PRIMARY KEY (message, conversation, place))",
        key: &["message", "conversation", "place"],
        order: RowOrder::Key,
        indexes: &[],
        personal: PersonalColumns::None,
    },
];
