//! Profiles of single occupancies: what each source says about the person. They are joined when read.
//!
//! **Invariant:** a row per (profile, attribute, source): what one source says never overwrites another's; which one
//! is shown is decided when reading.

use events::codec::{Decoded, DomainEvent};
use events::envelope::Category;
use events::profile::{AttributeSource, ProfileEvent};

use crate::projection::{Changes, Erasure, Masking, PersonalColumns, Projection, RowOrder, Table};
use crate::statement::{Newer, Statement};
use crate::value::{Value, values};

mod list;
mod read;

pub use list::{ProfileFilter, ProfileSort};
pub use read::{AttributeView, ProfileView};

/// Folds profile streams.
#[derive(Debug)]
pub struct ProfileProjection;

const TABLES: &[Table] = &[
    Table {
        name: "profile",
        create: "CREATE TABLE profile (profile BYTEA NOT NULL, tenant TEXT NOT NULL, contact BYTEA NOT NULL, \
            number BIGINT NOT NULL, opened_at BIGINT NOT NULL, revision BIGINT NOT NULL, position BIGINT NOT NULL, \
            PRIMARY KEY (profile))",
        key: &["profile"],
        order: RowOrder::Key,
        indexes: &[
            "CREATE INDEX profile_of_occupancy ON profile (contact, number)",
            "CREATE INDEX profile_by_age ON profile (tenant, opened_at, profile)",
        ],
        personal: PersonalColumns::None,
    },
    Table {
        name: "attribute",
        create: "CREATE TABLE attribute (profile BYTEA NOT NULL, attribute TEXT NOT NULL, source_kind TEXT NOT NULL, \
            source_id TEXT NOT NULL, tenant TEXT NOT NULL, value TEXT, source_form TEXT, retracted SMALLINT NOT NULL, \
            occurred_at BIGINT NOT NULL, recorded_at BIGINT NOT NULL, event BYTEA NOT NULL, revision BIGINT NOT NULL, \
            position BIGINT NOT NULL, PRIMARY KEY (profile, attribute, source_kind, source_id))",
        key: &["profile", "attribute", "source_kind", "source_id"],
        order: RowOrder::Key,
        indexes: &[],
        personal: PersonalColumns::Columns {
            columns: &["value", "source_form"],
            masked: Masking::Addresses,
            erased: &[Erasure::OfOccupancy(
                "UPDATE attribute SET value = NULL, source_form = NULL WHERE profile IN \
                    (SELECT profile FROM profile WHERE contact = $1 AND number = $2)",
            )],
        },
    },
];

static OPENED: Statement =
    Statement::insert("profile", "profile, tenant, contact, number, opened_at, revision, position", &[]);
static RECORDED: Statement = Statement::upsert(
    "attribute",
    "profile, attribute, source_kind, source_id, tenant, value, source_form, retracted, occurred_at, \
        recorded_at, event, revision, position",
    &[],
    Newer {
        by: "revision",
        sets: "value, source_form, retracted, occurred_at, recorded_at, event, revision, position",
        fills: "",
    },
);

/// Kind and id of a source, as columns.
fn source_columns(source: &AttributeSource) -> (&'static str, Value) {
    match source {
        AttributeSource::Channel { account } => ("channel", account.to_string().into()),
        AttributeSource::Customer => ("customer", Value::Name("")),
        AttributeSource::Operator { operator } => ("operator", operator.clone().into()),
    }
}

impl Projection for ProfileProjection {
    fn name(&self) -> &'static str {
        "profile"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Profile]
    }

    fn apply(&self, event: &Decoded, changes: &mut Changes) {
        let DomainEvent::Profile(profile_event) = &event.event else { return };
        let at = &event.recorded;
        let (attribute, source, value, retracted) = match profile_event {
            ProfileEvent::Opened(opened) => {
                let occupancy = opened.occupancy;
                let (contact, number) = (occupancy.contact, occupancy.number);
                return changes.push(
                    &OPENED,
                    values![at.stream.id, at.tenant(), contact, number, at.recorded_at, at.revision, at.position],
                );
            }
            ProfileEvent::AttributeRecorded(recorded) => {
                (recorded.attribute, &recorded.source, recorded.value.value(), false)
            }
            ProfileEvent::AttributeRetracted(retracted) => (retracted.attribute, &retracted.source, None, true),
        };
        let (source_kind, source_id) = source_columns(source);
        changes.push(
            &RECORDED,
            values![
                at.stream.id,
                attribute.as_str(),
                source_kind,
                source_id,
                at.tenant(),
                value.map(|value| value.text.clone()),
                value.and_then(|value| value.source_form.clone()),
                retracted,
                at.metadata.occurred_at,
                at.recorded_at,
                at.id,
                at.revision,
                at.position,
            ],
        );
    }
}

#[cfg(test)]
mod tests;
