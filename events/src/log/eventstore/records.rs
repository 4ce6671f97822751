//! Events to records of the server and back.
//!
//! **Invariant:** the custom metadata is a persisted format: `{"version", "digest", "append", "metadata"}`, where `append`
//! is the number of the append that wrote the event and tells one written now from one that was there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::DateTime;
use eventstore::EventData;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::envelope::{Metadata, NewEvent, Position, RecordedEvent, Revision, StreamName};
use crate::ids::EventId;
use crate::log::{AppendError, ReadError};

/// What stands in the custom metadata of a record.
#[derive(Serialize, Deserialize)]
struct Custom<'a> {
    version: u16,
    /// 32 hexadecimal digits.
    digest: &'a str,
    append: &'a str,
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// Numbers of appends, unlike those of any other process.
pub(super) struct Appends {
    process: String,
    count: AtomicU64,
}

impl Appends {
    /// Numbers of this process.
    pub(super) fn new() -> Self {
        let mut process = [0; 8];
        getrandom::fill(&mut process).expect("the system gives randomness");
        Self { process: hex::encode(process), count: AtomicU64::new(0) }
    }

    /// The next one.
    pub(super) fn next(&self) -> String {
        format!("{}-{}", self.process, self.count.fetch_add(1, Ordering::Relaxed))
    }
}

/// Makes records of events; answers them with what the server will count against its limit.
pub(super) fn encode(events: &[NewEvent], append: &str) -> Result<(Vec<EventData>, usize), AppendError> {
    let mut size_bytes = 0;
    let mut encoded = Vec::with_capacity(events.len());
    for event in events {
        let unwritable = |_| AppendError::Invalid("metadata cannot be written as JSON");
        let metadata = serde_json::value::to_raw_value(&event.metadata).map_err(unwritable)?;
        let digest = hex::encode(event.digest);
        let custom = Custom { version: event.version, digest: &digest, append, metadata: &metadata };
        let custom = serde_json::to_vec(&custom).map_err(unwritable)?;
        // `Event.SizeOnDisk` in EventStore.Core: the type's name is UTF-16 there.
        size_bytes += custom.len() + event.payload.len() + 2 * event.event_type.len();
        // The payload is JSON already, and the client offers to serialise what it is given: so that it does nothing here,
        // it is given the text as it stands.
        encoded.push(json(event)?.id(event.id.uuid()).metadata(custom.into()));
    }
    Ok((encoded, size_bytes))
}

/// The record of an event marked as JSON, with the payload byte for byte.
fn json(event: &NewEvent) -> Result<EventData, AppendError> {
    let payload: Result<&RawValue, _> = serde_json::from_slice(&event.payload);
    let payload = payload.map_err(|_| AppendError::Invalid("a payload is not JSON"))?;
    let trimmed = payload.get().len() != event.payload.len();
    match EventData::json(&*event.event_type, &payload) {
        Ok(data) if !trimmed => Ok(data),
        // White space around it would be lost.
        Ok(_) => Ok(EventData::binary(&*event.event_type, event.payload.clone())),
        Err(_) => Err(AppendError::Invalid("a payload is not JSON")),
    }
}

/// An event as stored, with what only this adapter looks at.
pub(super) struct Stored {
    pub(super) event: RecordedEvent,
    pub(super) digest: [u8; 16],
    pub(super) append: String,
}

/// Where a record is.
pub(super) fn position(record: &eventstore::RecordedEvent) -> Position {
    // A record may begin at 0, and `Position::START` is before it.
    Position(record.position.commit.saturating_add(1))
}

/// Where the server knows what is at a position.
pub(super) fn place(position: Position) -> Option<eventstore::Position> {
    let at = position.0.checked_sub(1)?;
    // They are one for all that is appended through gRPC.
    Some(eventstore::Position { commit: at, prepare: at })
}

/// When the server took a record, in microseconds since 1970.
pub(super) fn created_micros(record: &eventstore::RecordedEvent) -> Option<i64> {
    // The client's own `created` is cut to whole seconds.
    let ticks: i64 = record.metadata.get("created")?.parse().ok()?;
    Some(ticks / 10)
}

/// The event of a record; `None` when it is in a stream that is not ours.
pub(super) fn decode(record: &eventstore::RecordedEvent) -> Result<Option<Stored>, ReadError> {
    let Ok(stream) = record.stream_id().parse::<StreamName>() else { return Ok(None) };
    let position = position(record);
    let corrupt = |reason: &str| ReadError::Corrupt { position, reason: reason.into() };
    let custom: Custom<'_> = serde_json::from_slice(&record.custom_metadata)
        .map_err(|_| corrupt("a stream of ours holds an event whose custom metadata are not"))?;
    let mut digest = [0; 16];
    hex::decode_to_slice(custom.digest, &mut digest).map_err(|_| corrupt("the digest cannot be read"))?;
    let metadata = Metadata::from_json(custom.metadata.get()).map_err(|_| corrupt("the metadata cannot be read"))?;
    let recorded_at = created_micros(record).and_then(DateTime::from_timestamp_micros);
    let event = RecordedEvent {
        id: EventId::new(record.id),
        stream,
        revision: Revision(record.revision),
        position,
        event_type: Arc::from(record.event_type.as_str()),
        version: custom.version,
        metadata,
        recorded_at: recorded_at.ok_or_else(|| corrupt("the server does not say when it took the event"))?,
        payload: record.data.clone(),
    };
    Ok(Some(Stored { event, digest, append: custom.append.to_owned() }))
}
