//! An event as a Kafka record and back: CloudEvents in the binary mode.
//!
//! **Invariant:** what is written reads back equal; the payload is the log's own bytes, its personal fields sealed.
//!
//! **Source:** CloudEvents 1.0.2 and its Kafka protocol binding 1.0.2 (`ce_` headers, `content-type`), the extensions
//! Distributed Tracing (`traceparent`) and Recorded Time (`recordedtime`).

use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

use crate::envelope::{Metadata, Position, RecordedEvent, Revision, StreamName};
use crate::ids::EventId;

/// The type of a watermark record.
pub const WATERMARK_TYPE: &str = "letopis.watermark";

/// What a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events, moved a few times each; a box would cost more")]
pub(crate) enum Record {
    /// An event.
    Event(RecordedEvent),
    /// What the partition holds is told.
    Watermark(Watermark),
    /// Not written by the relay.
    Foreign,
}

/// What a relay says of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// Every event of the partition up to this position stands before it.
    pub(crate) position: Position,
    /// Every event beyond this position stands behind it, if not before it, too. It is the later of the two while
    /// events are on their way.
    pub(crate) sent: Position,
}

impl Record {
    /// Its place in the log, if the relay wrote it.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Self::Event(event) => Some(event.position),
            Self::Watermark(watermark) => Some(watermark.position),
            Self::Foreign => None,
        }
    }

    /// True when every event beyond this position stands behind the record: a relay writes in order, and one that takes
    /// over begins no later than where something could be missing.
    pub(crate) fn precedes_all_after(&self, position: Position) -> bool {
        match self {
            Self::Event(event) => event.position <= position,
            Self::Watermark(watermark) => watermark.sent <= position,
            Self::Foreign => false,
        }
    }
}

/// A record of a relay that cannot be read: of a later release, or damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} of a record cannot be read")]
pub(crate) struct Unreadable(&'static str);

/// The headers of an event.
pub(crate) fn headers(event: &RecordedEvent) -> OwnedHeaders {
    let metadata = &event.metadata;
    // A map with text keys and values that serialise always has a JSON text.
    let all = serde_json::to_string(metadata).unwrap_or_default();
    let mut headers = OwnedHeaders::new_with_capacity(14);
    let mut add = |key: &str, value: &str| {
        headers = std::mem::replace(&mut headers, OwnedHeaders::new_with_capacity(0))
            .insert(Header { key, value: Some(value.as_bytes()) });
    };
    add("content-type", "application/json");
    add("ce_specversion", "1.0");
    add("ce_id", &event.id.uuid().hyphenated().to_string());
    add("ce_source", &format!("/letopis/{}", event.tenant()));
    add("ce_type", &event.event_type);
    add("ce_time", &time(metadata.occurred_at));
    add("ce_recordedtime", &time(event.recorded_at));
    add("ce_subject", &event.stream.to_string());
    add("ce_tenant", event.tenant().as_str());
    add("ce_position", &event.position.to_string());
    add("ce_revision", &event.revision.0.to_string());
    add("ce_schemaversion", &event.version.to_string());
    if let Some(traceparent) = &metadata.traceparent {
        add("ce_traceparent", traceparent);
    }
    add("letopis_metadata", &all);
    headers
}

/// The headers of a watermark.
pub(crate) fn watermark_headers(watermark: Watermark) -> OwnedHeaders {
    let Watermark { position, sent } = watermark;
    let (id, at, sent) = (format!("watermark-{position}"), position.to_string(), sent.to_string());
    [
        ("ce_specversion", "1.0"),
        ("ce_id", id.as_str()),
        ("ce_source", "/letopis"),
        ("ce_type", WATERMARK_TYPE),
        ("ce_position", at.as_str()),
        ("ce_sent", sent.as_str()),
    ]
    .into_iter()
    .fold(OwnedHeaders::new_with_capacity(6), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}

/// Microseconds, as the envelope counts them.
fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Reads a record.
///
/// # Errors
/// A relay wrote it, and it cannot be read.
pub(crate) fn read(message: &impl Message) -> Result<Record, Unreadable> {
    let Some(headers) = message.headers() else { return Ok(Record::Foreign) };
    let mut fields = Fields::default();
    for header in headers.iter() {
        let Some(value) = header.value.and_then(|value| std::str::from_utf8(value).ok()) else { continue };
        match header.key {
            "ce_id" => fields.id = Some(value),
            "ce_type" => fields.event_type = Some(value),
            "ce_recordedtime" => fields.recorded = Some(value),
            "ce_subject" => fields.stream = Some(value),
            "ce_position" => fields.position = Some(value),
            "ce_sent" => fields.sent = Some(value),
            "ce_revision" => fields.revision = Some(value),
            "ce_schemaversion" => fields.version = Some(value),
            "letopis_metadata" => fields.metadata = Some(value),
            _ => {}
        }
    }
    fields.record(message.payload().unwrap_or_default())
}

#[derive(Default)]
struct Fields<'a> {
    id: Option<&'a str>,
    event_type: Option<&'a str>,
    recorded: Option<&'a str>,
    stream: Option<&'a str>,
    position: Option<&'a str>,
    sent: Option<&'a str>,
    revision: Option<&'a str>,
    version: Option<&'a str>,
    metadata: Option<&'a str>,
}

impl Fields<'_> {
    fn record(&self, payload: &[u8]) -> Result<Record, Unreadable> {
        // Whatever has a type and a position is the relay's.
        let (Some(event_type), Some(position)) = (self.event_type, self.position) else { return Ok(Record::Foreign) };
        let position = Position(parsed(Some(position), "ce_position")?);
        if event_type == WATERMARK_TYPE {
            let sent = Position(parsed(self.sent, "ce_sent")?);
            return Ok(Record::Watermark(Watermark { position, sent }));
        }
        let metadata = self.metadata.and_then(|metadata| Metadata::from_json(metadata).ok());
        let recorded = self.recorded.and_then(|recorded| DateTime::parse_from_rfc3339(recorded).ok());
        Ok(Record::Event(RecordedEvent {
            id: EventId::new(parsed(self.id, "ce_id")?),
            stream: parsed::<StreamName>(self.stream, "ce_subject")?,
            revision: Revision(parsed(self.revision, "ce_revision")?),
            position,
            event_type: Arc::from(event_type),
            version: parsed(self.version, "ce_schemaversion")?,
            metadata: metadata.ok_or(Unreadable("letopis_metadata"))?,
            recorded_at: recorded.ok_or(Unreadable("ce_recordedtime"))?.to_utc(),
            payload: Bytes::copy_from_slice(payload),
        }))
    }
}

fn parsed<T: FromStr>(value: Option<&str>, header: &'static str) -> Result<T, Unreadable> {
    value.and_then(|value| value.parse().ok()).ok_or(Unreadable(header))
}

#[cfg(test)]
mod tests {
    use rdkafka::message::{OwnedMessage, Timestamp};

    use super::*;
    use crate::testing::{fresh_stream, fresh_tenant, rich_metadata, sample_event, sample_metadata, sample_time};

    fn message(headers: OwnedHeaders, payload: &[u8]) -> OwnedMessage {
        let payload = Some(payload.to_vec());
        OwnedMessage::new(payload, None, "t".into(), Timestamp::NotAvailable, 0, 0, Some(headers))
    }

    #[test]
    fn an_event_reads_back_equal() {
        for metadata in [sample_metadata(), rich_metadata()] {
            let new = sample_event("привет");
            let event = RecordedEvent {
                id: new.id,
                stream: fresh_stream(&fresh_tenant()),
                revision: Revision(3),
                position: Position(77),
                event_type: new.event_type,
                version: 2,
                metadata,
                recorded_at: sample_time() + chrono::Duration::microseconds(1),
                payload: new.payload,
            };
            assert_eq!(read(&message(headers(&event), &event.payload)), Ok(Record::Event(event)));
        }
    }

    #[test]
    fn a_watermark_reads_back_and_others_records_are_known_as_such() {
        let watermark = Watermark { position: Position(9), sent: Position(12) };
        assert_eq!(read(&message(watermark_headers(watermark), b"")), Ok(Record::Watermark(watermark)));
        assert_eq!(read(&message(OwnedHeaders::new(), b"{}")), Ok(Record::Foreign));
        let half = OwnedHeaders::new().insert(Header { key: "ce_type", value: Some("conversation.opened") });
        assert_eq!(read(&message(half, b"{}")), Ok(Record::Foreign));
    }

    #[test]
    fn a_record_of_a_later_relay_is_not_taken_for_somebody_elses() {
        let later = [("ce_type", "conversation.opened"), ("ce_position", "9"), ("ce_id", "not an id of today")];
        let headers = later
            .into_iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        assert_eq!(read(&message(headers, b"{}")), Err(Unreadable("ce_id")));
    }

    #[test]
    fn a_watermark_shows_where_events_stand_only_as_far_as_they_were_sent() {
        let watermark = Record::Watermark(Watermark { position: Position(5), sent: Position(9) });
        assert!(!watermark.precedes_all_after(Position(7)), "8 or 9 may stand before it");
        assert!(watermark.precedes_all_after(Position(9)));
    }
}
