//! Raw deliveries and what became of them.
//!
//! **Invariant:** bodies are not copied here: only the facts of the envelope and the outcome.

use events::codec::{Decoded, DomainEvent};
use events::envelope::Category;
use events::intake::IntakeEvent;

use crate::projection::{Changes, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::Set::{Given, Null, Number, Text};
use crate::statement::Statement;
use crate::value::values;

mod read;

pub use read::{IntakeFilter, IntakeOutcome, IntakeView};

/// Folds intake streams.
#[derive(Debug)]
pub struct IntakeProjection;

const TABLES: &[Table] = &[Table {
    name: "intake",
    create: "CREATE TABLE intake (received BYTEA NOT NULL, tenant TEXT NOT NULL, stream BYTEA NOT NULL, \
        account BYTEA NOT NULL, channel TEXT NOT NULL, size_bytes BIGINT NOT NULL, outcome TEXT NOT NULL, kind TEXT, \
        reason TEXT, attempts BIGINT NOT NULL, conversation BYTEA, occurred_at BIGINT NOT NULL, \
        received_at BIGINT NOT NULL, outcome_at BIGINT NOT NULL, received_revision BIGINT NOT NULL, \
        received_position BIGINT NOT NULL, revision BIGINT NOT NULL, position BIGINT NOT NULL)",
    key: &["stream", "received"],
    order: RowOrder::Arrival,
    indexes: &[
        "CREATE INDEX intake_by_place ON intake (tenant, received_position)",
        // Almost every delivery is normalised: those are found by place.
        "CREATE INDEX intake_unsettled ON intake (tenant, outcome, received_position) WHERE outcome <> 'normalised'",
    ],
    personal: PersonalColumns::None,
}];

static RECEIVED: Statement = Statement::add(
    "intake",
    "received, tenant, stream, account, channel, size_bytes, occurred_at, received_at, \
        received_revision, received_position",
    &[
        ("outcome", Text("received")),
        ("attempts", Number(0)),
        ("outcome_at", Given(8)),
        ("revision", Given(9)),
        ("position", Given(10)),
    ],
);
static NORMALISED: Statement = Statement::update(
    "intake",
    "kind, conversation, outcome_at, revision, position",
    &[("outcome", Text("normalised")), ("reason", Null)],
);
static UNRECOGNISED: Statement =
    Statement::update("intake", "reason, outcome_at, revision, position", &[("outcome", Text("unrecognised"))]);
static PARKED: Statement =
    Statement::update("intake", "reason, attempts, outcome_at, revision, position", &[("outcome", Text("parked"))]);
static REDRIVEN: Statement =
    Statement::update("intake", "outcome_at, revision, position", &[("outcome", Text("redriven"))]);

impl Projection for IntakeProjection {
    fn name(&self) -> &'static str {
        "intake"
    }

    fn version(&self) -> u32 {
        4
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Intake]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::Intake(intake_event) = &event.event else { return };
        let at = &event.recorded;
        let (recorded_at, revision, position) = (at.recorded_at, at.revision, at.position);
        match intake_event {
            IntakeEvent::Received(received) => changes.push(
                &RECEIVED,
                values![
                    at.id,
                    at.tenant(),
                    at.stream.id,
                    received.account,
                    received.channel.as_str(),
                    received.size_bytes,
                    at.metadata.occurred_at,
                    recorded_at,
                    revision,
                    position,
                ],
            ),
            IntakeEvent::Normalised(normalised) => changes.push(
                &NORMALISED,
                values![
                    normalised.kind.clone(),
                    normalised.conversation,
                    recorded_at,
                    revision,
                    position,
                    at.stream.id,
                    normalised.received,
                ],
            ),
            IntakeEvent::Unrecognised(unrecognised) => changes.push(
                &UNRECOGNISED,
                values![
                    unrecognised.reason.clone(),
                    recorded_at,
                    revision,
                    position,
                    at.stream.id,
                    unrecognised.received
                ],
            ),
            IntakeEvent::Parked(parked) => changes.push(
                &PARKED,
                values![
                    parked.reason.clone(),
                    parked.attempts,
                    recorded_at,
                    revision,
                    position,
                    at.stream.id,
                    parked.received
                ],
            ),
            IntakeEvent::Redriven(redriven) => {
                changes.push(&REDRIVEN, values![recorded_at, revision, position, at.stream.id, redriven.received]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
