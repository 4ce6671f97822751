//! Raw deliveries and what became of them.
//!
//! **Invariant:** bodies are not copied here: only the facts of the envelope and the outcome.

use events::codec::{Decoded, DomainEvent};
use events::envelope::Category;
use events::intake::IntakeEvent;

use crate::projection::{Changes, PersonalColumns, Projection, Table};
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
        received_position BIGINT NOT NULL, revision BIGINT NOT NULL, position BIGINT NOT NULL, PRIMARY KEY (stream, received))",
    key: &["stream", "received"],
    indexes: &[
        "CREATE INDEX intake_by_place ON intake (tenant, received_position)",
        // Almost every delivery is normalised: those are found by place.
        "CREATE INDEX intake_unsettled ON intake (tenant, outcome, received_position) WHERE outcome <> 'normalised'",
    ],
    personal: PersonalColumns::None,
}];

const RECEIVED: &str = "INSERT INTO intake (received, tenant, stream, account, channel, size_bytes, outcome, attempts, \
    occurred_at, received_at, outcome_at, received_revision, received_position, revision, position) \
    VALUES ($1, $2, $3, $4, $5, $6, 'received', 0, $7, $8, $8, $9, $10, $9, $10) ON CONFLICT (stream, received) DO NOTHING";
const NORMALISED: &str = "UPDATE intake SET outcome = 'normalised', reason = NULL, kind = $1, conversation = $2, \
    outcome_at = $3, revision = $4, position = $5 WHERE stream = $6 AND received = $7 AND revision < $4";
const UNRECOGNISED: &str = "UPDATE intake SET outcome = 'unrecognised', reason = $1, outcome_at = $2, revision = $3, \
    position = $4 WHERE stream = $5 AND received = $6 AND revision < $3";
const PARKED: &str = "UPDATE intake SET outcome = 'parked', reason = $1, attempts = $2, outcome_at = $3, \
    revision = $4, position = $5 WHERE stream = $6 AND received = $7 AND revision < $4";
const REDRIVEN: &str = "UPDATE intake SET outcome = 'redriven', outcome_at = $1, revision = $2, position = $3 \
    WHERE stream = $4 AND received = $5 AND revision < $2";

impl Projection for IntakeProjection {
    fn name(&self) -> &'static str {
        "intake"
    }

    fn version(&self) -> u32 {
        2
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
                RECEIVED,
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
                NORMALISED,
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
                UNRECOGNISED,
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
                PARKED,
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
                changes.push(REDRIVEN, values![recorded_at, revision, position, at.stream.id, redriven.received]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
