//! An event as a Kafka record and back: CloudEvents in the binary mode.
//!
//! **Invariant:** what is written reads back equal; the payload is the log's own bytes, its personal fields sealed.
//!
//! **Source:** CloudEvents 1.0.2 and its Kafka protocol binding 1.0.2 (`ce_` headers, `content-type`), the extensions
//! Distributed Tracing (`traceparent`) and Recorded Time (`recordedtime`).

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
    /// Every event of the partition up to this position stands before it.
    Watermark(Position),
    /// Not written by the relay.
    Foreign,
}

impl Record {
    /// Its place in the log, if the relay wrote it.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Self::Event(event) => Some(event.position),
            Self::Watermark(position) => Some(*position),
            Self::Foreign => None,
        }
    }
}

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

/// The headers of a watermark at this position.
pub(crate) fn watermark_headers(position: Position) -> OwnedHeaders {
    let id = format!("watermark-{position}");
    let at = position.to_string();
    [
        ("ce_specversion", "1.0"),
        ("ce_id", id.as_str()),
        ("ce_source", "/letopis"),
        ("ce_type", WATERMARK_TYPE),
        ("ce_position", at.as_str()),
    ]
    .into_iter()
    .fold(OwnedHeaders::new_with_capacity(5), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}

/// Microseconds, as the envelope counts them.
fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Reads a record.
pub(crate) fn read(message: &impl Message) -> Record {
    let Some(headers) = message.headers() else { return Record::Foreign };
    let mut fields = Fields::default();
    for header in headers.iter() {
        let Some(value) = header.value.and_then(|value| std::str::from_utf8(value).ok()) else { continue };
        match header.key {
            "ce_id" => fields.id = Some(value),
            "ce_type" => fields.event_type = Some(value),
            "ce_recordedtime" => fields.recorded = Some(value),
            "ce_subject" => fields.stream = Some(value),
            "ce_position" => fields.position = Some(value),
            "ce_revision" => fields.revision = Some(value),
            "ce_schemaversion" => fields.version = Some(value),
            "letopis_metadata" => fields.metadata = Some(value),
            _ => {}
        }
    }
    fields.record(message.payload().unwrap_or_default()).unwrap_or(Record::Foreign)
}

#[derive(Default)]
struct Fields<'a> {
    id: Option<&'a str>,
    event_type: Option<&'a str>,
    recorded: Option<&'a str>,
    stream: Option<&'a str>,
    position: Option<&'a str>,
    revision: Option<&'a str>,
    version: Option<&'a str>,
    metadata: Option<&'a str>,
}

impl Fields<'_> {
    fn record(&self, payload: &[u8]) -> Option<Record> {
        let event_type = self.event_type?;
        let position = Position(self.position?.parse().ok()?);
        if event_type == WATERMARK_TYPE {
            return Some(Record::Watermark(position));
        }
        Some(Record::Event(RecordedEvent {
            id: EventId::new(self.id?.parse().ok()?),
            stream: self.stream?.parse::<StreamName>().ok()?,
            revision: Revision(self.revision?.parse().ok()?),
            position,
            event_type: Arc::from(event_type),
            version: self.version?.parse().ok()?,
            metadata: Metadata::from_json(self.metadata?).ok()?,
            recorded_at: DateTime::parse_from_rfc3339(self.recorded?).ok()?.to_utc(),
            payload: Bytes::copy_from_slice(payload),
        }))
    }
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
            assert_eq!(read(&message(headers(&event), &event.payload)), Record::Event(event));
        }
    }

    #[test]
    fn a_watermark_reads_back_and_others_records_are_known_as_such() {
        assert_eq!(read(&message(watermark_headers(Position(9)), b"")), Record::Watermark(Position(9)));
        assert_eq!(read(&message(OwnedHeaders::new(), b"{}")), Record::Foreign);
        let half = OwnedHeaders::new().insert(Header { key: "ce_type", value: Some("conversation.opened") });
        assert_eq!(read(&message(half, b"{}")), Record::Foreign);
    }
}
