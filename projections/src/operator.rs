//! Operators: what they can do, whether they are there, what they work on.
//!
//! **Invariant:** what an operator holds is what their own stream says; whether the conversation agrees stands with the
//! conversations.

use events::codec::{Decoded, DomainEvent};
use events::envelope::Category;
use events::operator::{OperatorEvent, Presence};

use crate::projection::{Changes, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::Set::Given;
use crate::statement::{Newer, Statement};
use crate::value::{json, name, values};

mod read;
mod stray;

pub use read::{HeldConversation, OperatorOnDuty, OperatorView};
pub use stray::{StrayAssigned, StrayHeld};

/// Folds operator streams.
#[derive(Debug)]
pub struct OperatorProjection;

const TABLES: &[Table] = &[
    Table {
        name: "operator",
        create: "CREATE TABLE operator (operator_id BYTEA NOT NULL, tenant TEXT NOT NULL, operator TEXT NOT NULL, \
            name TEXT NOT NULL, abilities TEXT NOT NULL, presence TEXT NOT NULL, presence_reason TEXT, \
            presence_since BIGINT NOT NULL, last_given BIGINT, registered_at BIGINT NOT NULL, revision BIGINT NOT NULL, \
            position BIGINT NOT NULL, PRIMARY KEY (operator_id))",
        key: &["operator_id"],
        order: RowOrder::Key,
        indexes: &["CREATE INDEX operator_of_tenant ON operator (tenant, operator)"],
        personal: PersonalColumns::None,
    },
    Table {
        name: "held_conversation",
        create: "CREATE TABLE held_conversation (operator_id BYTEA NOT NULL, conversation BYTEA NOT NULL, \
            tenant TEXT NOT NULL, channel TEXT, active SMALLINT NOT NULL, since BIGINT NOT NULL, \
            revision BIGINT NOT NULL, PRIMARY KEY (operator_id, conversation))",
        key: &["operator_id", "conversation"],
        order: RowOrder::Key,
        indexes: &["CREATE INDEX held_now ON held_conversation (operator_id, since, conversation) WHERE active = 1"],
        personal: PersonalColumns::None,
    },
];

static REGISTERED: Statement = Statement::insert(
    "operator",
    "operator_id, tenant, operator, name, abilities, presence, registered_at, revision, position",
    &[("presence_since", Given(7))],
);
static CHANGED: Statement = Statement::update("operator", "name, abilities, revision, position", &[]);
static PRESENCE: Statement =
    Statement::update("operator", "presence, presence_reason, presence_since, revision, position", &[]);
static GIVEN: Statement = Statement::update("operator", "last_given, revision, position", &[]);
static TAKEN: Statement = Statement::upsert(
    "held_conversation",
    "operator_id, conversation, tenant, channel, active, since, revision",
    &[],
    Newer { by: "revision", sets: "active, since, revision", fills: "channel" },
);

impl Projection for OperatorProjection {
    fn name(&self) -> &'static str {
        "operator"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Operator]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::Operator(operator_event) = &event.event else { return };
        let at = &event.recorded;
        let (operator, now, revision, position) = (at.stream.id, at.recorded_at, at.revision, at.position);
        match operator_event {
            OperatorEvent::Registered(registered) => changes.push(
                &REGISTERED,
                values![
                    operator,
                    at.tenant(),
                    registered.operator.to_string(),
                    registered.name.clone(),
                    json(&registered.abilities),
                    name(&Presence::Absent),
                    now,
                    revision,
                    position,
                ],
            ),
            OperatorEvent::Changed(changed) => {
                let (name, abilities) = (changed.name.clone(), json(&changed.abilities));
                changes.push(&CHANGED, values![name, abilities, revision, position, operator]);
            }
            OperatorEvent::PresenceChanged(changed) => {
                let (presence, reason) = (name(&changed.presence), name(&changed.reason));
                changes.push(&PRESENCE, values![presence, reason, now, revision, position, operator]);
            }
            OperatorEvent::ConversationTaken(taken) => {
                changes.push(&GIVEN, values![now, revision, position, operator]);
                let row =
                    values![operator, taken.conversation, at.tenant(), taken.channel.as_str(), true, now, revision];
                changes.push(&TAKEN, row);
            }
            OperatorEvent::ConversationReleased(released) => {
                let nothing: Option<&'static str> = None;
                let row = values![operator, released.conversation, at.tenant(), nothing, false, now, revision];
                changes.push(&TAKEN, row);
            }
        }
    }
}

#[cfg(test)]
mod tests;
