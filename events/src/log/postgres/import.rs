//! Taking over another log, by binary COPY.
//!
//! **Invariant:** all or none, within one turn, into a log without events; places and times are kept as they are, and
//! what could not have been written by a log (positions that do not grow, revisions with a gap, times that go back) is
//! refused.

use std::collections::HashMap;
use std::pin::Pin;

use futures::{Stream, StreamExt};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

use super::row::{category_number, sql};
use crate::envelope::{Position, RecordedEvent, Revision, StreamName};
use crate::log::ReadError;
use crate::postgres::{Postgres, PostgresError};

const COPY: &str = "
COPY events (position, recorded_at, revision, stream_id, event_id, category, version, tenant, type, digest, metadata,
    payload) FROM STDIN (FORMAT binary)";

const TYPES: [Type; 12] = [
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::UUID,
    Type::UUID,
    Type::INT2,
    Type::INT4,
    Type::TEXT,
    Type::TEXT,
    Type::BYTEA,
    Type::TEXT,
    Type::BYTEA,
];

/// An event to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The event with its place and time.
    pub event: RecordedEvent,
    /// The digest that it was appended with, where the other log tells; without it a repetition is recognised by id,
    /// stream and type alone.
    pub digest: Option<[u8; 16]>,
}

impl From<RecordedEvent> for Imported {
    fn from(event: RecordedEvent) -> Self {
        Self { event, digest: None }
    }
}

/// Why nothing was imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// There are events already: import into another schema.
    #[error("the log has events already")]
    NotEmpty,
    /// No log could have written these events.
    #[error("event at position {position} cannot follow the one before: {reason}")]
    Invalid {
        /// Where.
        position: Position,
        /// What is wrong.
        reason: &'static str,
    },
    /// The events could not be read.
    #[error("reading what is imported")]
    Source(#[from] ReadError),
    /// PostgreSQL did not take them.
    #[error("writing what is imported")]
    Postgres(#[from] PostgresError),
}

impl From<tokio_postgres::Error> for ImportError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

/// What the next event must follow.
#[derive(Default)]
struct Order {
    position: Position,
    recorded_at: i64,
    ends: HashMap<StreamName, Revision>,
}

impl Order {
    fn check(&mut self, event: &RecordedEvent) -> Result<(), ImportError> {
        let recorded_at = event.recorded_at.timestamp_micros();
        let expected = self.ends.get(&event.stream).map_or(Revision(0), |end| end.next());
        let reason = if event.position <= self.position {
            Some("its position is not higher")
        } else if i64::try_from(event.position.0).is_err() {
            Some("its position is out of range")
        } else if self.position > Position::START && recorded_at < self.recorded_at {
            Some("it was recorded earlier")
        } else if event.revision != expected {
            Some("its revision does not follow")
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(ImportError::Invalid { position: event.position, reason });
        }
        self.position = event.position;
        self.recorded_at = recorded_at;
        self.ends.insert(event.stream.clone(), event.revision);
        Ok(())
    }
}

/// Imports and answers the last position.
pub(super) async fn import(
    postgres: &Postgres,
    channel: &str,
    mut events: Pin<Box<dyn Stream<Item = Result<Imported, ReadError>> + Send + '_>>,
) -> Result<Position, ImportError> {
    let mut connection = postgres.connect().await?;
    // Dropped on any error, and rolled back with it.
    let transaction = connection.client.transaction().await?;
    transaction.batch_execute(super::session::TURN).await?;
    let there: bool = transaction.query_one("SELECT EXISTS (SELECT 1 FROM events)", &[]).await?.try_get(0)?;
    if there {
        return Err(ImportError::NotEmpty);
    }
    let writer = BinaryCopyInWriter::new(transaction.copy_in(COPY).await?, &TYPES);
    tokio::pin!(writer);
    let mut order = Order::default();
    while let Some(imported) = events.next().await {
        let Imported { event, digest } = imported?;
        order.check(&event)?;
        let metadata = serde_json::to_string(&event.metadata).map_err(|_| ImportError::Invalid {
            position: event.position,
            reason: "its metadata cannot be written as JSON",
        })?;
        let row: [&(dyn ToSql + Sync); 12] = [
            &sql(event.position.0),
            &event.recorded_at.timestamp_micros(),
            &sql(event.revision.0),
            &event.stream.id,
            &event.id.uuid(),
            &category_number(event.stream.category),
            &i32::from(event.version),
            &event.stream.tenant.as_str(),
            &event.event_type.as_ref(),
            &digest.as_ref().map(<[u8; 16]>::as_slice),
            &metadata.as_str(),
            &event.payload.as_ref(),
        ];
        writer.as_mut().write(&row).await?;
    }
    writer.as_mut().finish().await?;
    transaction.execute("SELECT pg_notify($1, $2)", &[&channel, &order.position.to_string()]).await?;
    transaction.commit().await?;
    Ok(order.position)
}
