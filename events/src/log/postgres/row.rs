//! A row of `events`, read and checked.
//!
//! **Invariant:** what does not decode is reported as corrupt with its position, never skipped.

use bytes::Bytes;
use chrono::DateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::envelope::{Category, Metadata, Position, RecordedEvent, Revision, StreamName};
use crate::ids::EventId;
use crate::log::ReadError;

/// What [`event`] reads, in its order.
pub(super) const COLUMNS: &str =
    "position, recorded_at, revision, stream_id, event_id, category, version, tenant, type, metadata, payload";

/// The number of a category in the table, for ever; the same as in the embedded log.
pub(super) const fn category_number(category: Category) -> i16 {
    match category {
        Category::Account => 1,
        Category::Intake => 2,
        Category::Contact => 3,
        Category::Profile => 4,
        Category::Link => 5,
        Category::Conversation => 6,
        Category::Calendar => 7,
        Category::Operator => 8,
        Category::Queue => 9,
        Category::Case => 10,
        Category::CaseType => 11,
        Category::CaseRegister => 12,
        Category::ServiceLevel => 13,
    }
}

/// The category with this number in the table.
pub(super) fn category_of(number: i16) -> Option<Category> {
    Category::ALL.into_iter().find(|category| category_number(*category) == number)
}

/// A number as PostgreSQL stores it; beyond its range nothing is found, which is right.
pub(super) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The event of a row with [`COLUMNS`].
pub(super) fn event(row: &Row) -> Result<RecordedEvent, ReadError> {
    let number = |column| row.try_get::<_, i64>(column).ok().and_then(|number| u64::try_from(number).ok());
    let text = |column| row.try_get::<_, &str>(column).ok();
    let uuid = |column| row.try_get::<_, Uuid>(column).ok();
    let position = Position(number(0).unwrap_or_default());
    let decode = || -> Result<RecordedEvent, &'static str> {
        let category = row.try_get(5).ok().and_then(category_of).ok_or("category is unknown")?;
        let tenant = text(7).and_then(|tenant| tenant.parse().ok()).ok_or("tenant is not a slug")?;
        let stream = StreamName::new(category, tenant, uuid(3).ok_or("stream id is not a UUID")?);
        let version = row.try_get::<_, i32>(6).ok().and_then(|version| u16::try_from(version).ok());
        let recorded_at = row.try_get::<_, i64>(1).ok().and_then(DateTime::from_timestamp_micros);
        Ok(RecordedEvent {
            id: EventId::new(uuid(4).ok_or("event id is not a UUID")?),
            stream,
            revision: Revision(number(2).ok_or("revision is not a number")?),
            position,
            event_type: text(8).ok_or("event type is not text")?.into(),
            version: version.ok_or("schema version out of range")?,
            metadata: text(9)
                .and_then(|json| Metadata::from_json(json).ok())
                .ok_or("metadata is not of a known form")?,
            recorded_at: recorded_at.ok_or("time out of range")?,
            payload: Bytes::copy_from_slice(row.try_get(10).map_err(|_| "payload is not bytes")?),
        })
    };
    decode().map_err(|reason| ReadError::Corrupt { position, reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_has_its_number() {
        for category in Category::ALL {
            assert_eq!(category_of(category_number(category)), Some(category));
        }
        assert_eq!(category_of(0), None);
    }
}
