//! Taking over another log, by binary COPY.
//!
//! **Invariant:** all or none, within one turn, into a log without events; places and times are kept as they are, and
//! what could not have been written by a log is refused.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

use super::row::{category_number, sql};
use crate::envelope::Position;
use crate::log::{Imported, Misplaced, Order, ReadError};
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

impl From<Misplaced> for ImportError {
    fn from(Misplaced { position, reason }: Misplaced) -> Self {
        Self::Invalid { position, reason }
    }
}

impl From<tokio_postgres::Error> for ImportError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

/// The events to take over, in order of position.
pub(crate) type Source<'a> = Pin<Box<dyn Stream<Item = Result<Imported, ReadError>> + Send + 'a>>;

/// Imports and answers the last position.
pub(super) async fn import(postgres: &Postgres, events: Source<'_>) -> Result<Position, ImportError> {
    // Dropped on any error, and rolled back with it.
    let connection = postgres.connect().await?;
    connection.client.batch_execute("BEGIN").await?;
    let position = import_within(&connection.client, &super::channel(postgres), events).await?;
    connection.client.batch_execute("COMMIT").await?;
    Ok(position)
}

/// Imports within the transaction of this connection, which holds the turn from then on, and answers the last position.
pub(crate) async fn import_within(
    client: &Client,
    channel: &str,
    mut events: Source<'_>,
) -> Result<Position, ImportError> {
    client.batch_execute(super::session::TURN).await?;
    let there: bool = client.query_one("SELECT EXISTS (SELECT 1 FROM events)", &[]).await?.try_get(0)?;
    if there {
        return Err(ImportError::NotEmpty);
    }
    let writer = BinaryCopyInWriter::new(client.copy_in(COPY).await?, &TYPES);
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
    client.execute("SELECT pg_notify($1, $2)", &[&channel, &order.position.to_string()]).await?;
    Ok(order.position)
}
