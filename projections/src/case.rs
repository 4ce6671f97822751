//! Cases: matters of customers, with their fields, conversations, links and notes.
//!
//! **Invariant:** every row is written from the case's own stream. That another case stands for it is told by the duplicate's
//! row alone; whoever reads joins them, so that undoing a merge loses nothing.

use events::case::{CaseContent, CaseEvent, CaseOpened, CaseStatus};
use events::codec::{Decoded, DomainEvent};
use events::envelope::Category;
use events::ids::CaseId;

use crate::projection::{Changes, Erasure, Masking, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::Set::{Given, Null};
use crate::statement::{Newer, Statement};
use crate::value::{Value, json, name, values};

mod list;
mod read;

pub use list::{CaseFilter, CaseSort};
pub use read::{CaseNoteView, CaseView, LinkedCase};

/// Folds case streams.
#[derive(Debug)]
pub struct CaseProjection;

const TABLES: &[Table] = &[
    Table {
        name: "cases",
        create: "CREATE TABLE cases (case_id BYTEA NOT NULL, tenant TEXT NOT NULL, number BIGINT NOT NULL, \
            case_type BYTEA NOT NULL, contact BYTEA, contact_number BIGINT, conversation BYTEA NOT NULL, \
            title TEXT, status TEXT NOT NULL, status_reason TEXT, status_since BIGINT NOT NULL, \
            priority SMALLINT NOT NULL, promised_until BIGINT, assignee TEXT, merged_into BYTEA, \
            opened_at BIGINT NOT NULL, changed_at BIGINT NOT NULL, revision BIGINT NOT NULL, \
            position BIGINT NOT NULL, PRIMARY KEY (case_id))",
        key: &["case_id"],
        order: RowOrder::Key,
        indexes: &[
            "CREATE INDEX case_by_number ON cases (tenant, number, case_id)",
            "CREATE INDEX case_by_status ON cases (tenant, status, number, case_id)",
            "CREATE INDEX case_by_assignee ON cases (tenant, assignee, number, case_id) WHERE assignee IS NOT NULL",
            "CREATE INDEX case_promised ON cases (tenant, promised_until, case_id) WHERE promised_until IS NOT NULL",
            "CREATE INDEX case_of_customer ON cases (contact, contact_number)",
            "CREATE INDEX case_merged ON cases (merged_into) WHERE merged_into IS NOT NULL",
        ],
        personal: PersonalColumns::Columns {
            columns: &["title"],
            masked: Masking::Open,
            erased: &[
                Erasure::OfOccupancy("UPDATE cases SET title = NULL WHERE contact = $1 AND contact_number = $2"),
                Erasure::OfConversation("UPDATE cases SET title = NULL WHERE contact IS NULL AND conversation = $1"),
            ],
        },
    },
    Table {
        name: "case_field",
        create: "CREATE TABLE case_field (case_id BYTEA NOT NULL, field TEXT NOT NULL, tenant TEXT NOT NULL, \
            value TEXT, active SMALLINT NOT NULL, revision BIGINT NOT NULL, PRIMARY KEY (case_id, field))",
        key: &["case_id", "field"],
        order: RowOrder::Key,
        indexes: &[],
        personal: PersonalColumns::Columns {
            columns: &["value"],
            masked: Masking::Open,
            erased: &[
                Erasure::OfOccupancy(
                    "UPDATE case_field SET value = NULL WHERE case_id IN \
                        (SELECT case_id FROM cases WHERE contact = $1 AND contact_number = $2)",
                ),
                Erasure::OfConversation(
                    "UPDATE case_field SET value = NULL WHERE case_id IN \
                        (SELECT case_id FROM cases WHERE contact IS NULL AND conversation = $1)",
                ),
            ],
        },
    },
    Table {
        name: "case_note",
        create: "CREATE TABLE case_note (case_id BYTEA NOT NULL, revision BIGINT NOT NULL, tenant TEXT NOT NULL, \
            note BYTEA NOT NULL, text TEXT, actor_kind TEXT NOT NULL, actor TEXT NOT NULL, \
            recorded_at BIGINT NOT NULL, PRIMARY KEY (case_id, revision))",
        key: &["case_id", "revision"],
        order: RowOrder::Key,
        indexes: &[],
        personal: PersonalColumns::Columns {
            columns: &["text"],
            masked: Masking::Open,
            erased: &[
                Erasure::OfOccupancy(
                    "UPDATE case_note SET text = NULL WHERE case_id IN \
                        (SELECT case_id FROM cases WHERE contact = $1 AND contact_number = $2)",
                ),
                Erasure::OfConversation(
                    "UPDATE case_note SET text = NULL WHERE case_id IN \
                        (SELECT case_id FROM cases WHERE contact IS NULL AND conversation = $1)",
                ),
            ],
        },
    },
    Table {
        name: "case_conversation",
        create: "CREATE TABLE case_conversation (case_id BYTEA NOT NULL, conversation BYTEA NOT NULL, \
            tenant TEXT NOT NULL, active SMALLINT NOT NULL, since BIGINT NOT NULL, revision BIGINT NOT NULL, \
            PRIMARY KEY (case_id, conversation))",
        key: &["case_id", "conversation"],
        order: RowOrder::Key,
        indexes: &["CREATE INDEX case_of_conversation ON case_conversation (conversation, case_id)"],
        personal: PersonalColumns::None,
    },
    Table {
        name: "case_link",
        create: "CREATE TABLE case_link (case_id BYTEA NOT NULL, other BYTEA NOT NULL, relation TEXT NOT NULL, \
            tenant TEXT NOT NULL, active SMALLINT NOT NULL, since BIGINT NOT NULL, revision BIGINT NOT NULL, \
            PRIMARY KEY (case_id, other, relation))",
        key: &["case_id", "other", "relation"],
        order: RowOrder::Key,
        indexes: &["CREATE INDEX case_link_back ON case_link (other, case_id)"],
        personal: PersonalColumns::None,
    },
];

static OPENED: Statement = Statement::insert(
    "cases",
    "case_id, tenant, number, case_type, contact, contact_number, conversation, title, status, priority, opened_at, \
        revision, position",
    &[("status_since", Given(11)), ("changed_at", Given(11))],
);
static RENAMED: Statement = Statement::update("cases", "title, changed_at, revision, position", &[]);
static CHANGED: Statement = Statement::update("cases", "changed_at, revision, position", &[]);
static PRIORITISED: Statement = Statement::update("cases", "priority, changed_at, revision, position", &[]);
static PROMISED: Statement = Statement::update("cases", "promised_until, changed_at, revision, position", &[]);
static STATUS: Statement =
    Statement::update("cases", "status, status_reason, status_since, revision, position", &[("changed_at", Given(3))]);
static ASSIGNED: Statement = Statement::update("cases", "assignee, changed_at, revision, position", &[]);
static MERGED: Statement = Statement::update("cases", "merged_into, changed_at, revision, position", &[]);
static UNMERGED: Statement = Statement::update("cases", "changed_at, revision, position", &[("merged_into", Null)]);
static FIELD: Statement = Statement::upsert(
    "case_field",
    "case_id, field, tenant, value, active, revision",
    &[],
    Newer { by: "revision", sets: "value, active, revision", fills: "" },
);
static NOTE: Statement =
    Statement::add("case_note", "case_id, revision, tenant, note, text, actor_kind, actor, recorded_at", &[]);
static CONVERSATION: Statement = Statement::upsert(
    "case_conversation",
    "case_id, conversation, tenant, active, since, revision",
    &[],
    Newer { by: "revision", sets: "active, since, revision", fills: "" },
);
static LINK: Statement = Statement::upsert(
    "case_link",
    "case_id, other, relation, tenant, active, since, revision",
    &[],
    Newer { by: "revision", sets: "active, since, revision", fills: "" },
);

impl Projection for CaseProjection {
    fn name(&self) -> &'static str {
        "case"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Case]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::Case(case_event) = &event.event else { return };
        let at = &event.recorded;
        let (id, now, revision, position) = (at.stream.id, at.recorded_at, at.revision, at.position);
        match case_event {
            CaseEvent::Opened(opened) => open(event, opened, changes),
            CaseEvent::Changed(changed) => {
                let content = changed.content.value();
                match content.and_then(|content| content.title.clone()) {
                    Some(title) => changes.push(&RENAMED, values![title, now, revision, position, id]),
                    None => changes.push(&CHANGED, values![now, revision, position, id]),
                }
                set_fields(event, &changed.set, content, changes);
                for key in &changed.cleared {
                    changes.push(&FIELD, values![id, key.clone(), at.tenant(), Value::Null, false, revision]);
                }
            }
            CaseEvent::Prioritised(prioritised) => {
                changes.push(&PRIORITISED, values![prioritised.priority, now, revision, position, id]);
            }
            CaseEvent::Promised(promised) => {
                changes.push(&PROMISED, values![promised.until, now, revision, position, id]);
            }
            CaseEvent::StatusChanged(changed) => {
                let row = values![changed.status.as_str(), changed.reason.clone(), now, revision, position, id];
                changes.push(&STATUS, row);
            }
            CaseEvent::Assigned(assigned) => {
                let operator = assigned.operator.as_ref().map(ToString::to_string);
                changes.push(&ASSIGNED, values![operator, now, revision, position, id]);
            }
            CaseEvent::ConversationLinked(linked) => {
                changes.push(&CONVERSATION, values![id, linked.conversation, at.tenant(), true, now, revision]);
            }
            CaseEvent::ConversationUnlinked(unlinked) => {
                changes.push(&CONVERSATION, values![id, unlinked.conversation, at.tenant(), false, now, revision]);
            }
            CaseEvent::Linked(linked) => {
                let relation = name(&linked.relation);
                changes.push(&LINK, values![id, linked.other, relation, at.tenant(), true, now, revision]);
            }
            CaseEvent::Unlinked(unlinked) => {
                let relation = name(&unlinked.relation);
                changes.push(&LINK, values![id, unlinked.other, relation, at.tenant(), false, now, revision]);
            }
            CaseEvent::Merged(merged) => changes.push(&MERGED, values![merged.into, now, revision, position, id]),
            CaseEvent::Unmerged(_) => changes.push(&UNMERGED, values![now, revision, position, id]),
            CaseEvent::NoteAdded(added) => {
                let text = added.content.value().map(|content| content.text.clone());
                let (kind, actor) = (at.metadata.actor.kind(), at.metadata.actor.id());
                changes.push(&NOTE, values![id, revision, at.tenant(), added.note, text, kind, actor, now]);
            }
        }
    }
}

fn open(event: &Decoded, opened: &CaseOpened, changes: &mut Changes) {
    let at = &event.recorded;
    let (id, content) = (CaseId::new(at.stream.id), opened.content.value());
    changes.push(
        &OPENED,
        values![
            id,
            at.tenant(),
            opened.number,
            opened.case_type,
            opened.customer.map(|customer| customer.contact),
            opened.customer.map(|customer| customer.number),
            opened.conversation,
            content.and_then(|content| content.title.clone()),
            CaseStatus::New.as_str(),
            opened.priority,
            at.recorded_at,
            at.revision,
            at.position,
        ],
    );
    set_fields(event, &opened.set, content, changes);
    changes.push(&CONVERSATION, values![id, opened.conversation, at.tenant(), true, at.recorded_at, at.revision]);
}

fn set_fields(event: &Decoded, keys: &[String], content: Option<&CaseContent>, changes: &mut Changes) {
    let at = &event.recorded;
    for key in keys {
        let value = content.and_then(|content| content.fields.get(key)).map_or(Value::Null, json);
        changes.push(&FIELD, values![at.stream.id, key.clone(), at.tenant(), value, true, at.revision]);
    }
}

#[cfg(test)]
mod tests;
