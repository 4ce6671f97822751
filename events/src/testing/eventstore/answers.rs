//! Requests and answers of the protocol, to and from what the store has.
//!
//! **Invariant:** no field is left out whose absence makes the Rust client panic: the result of an append, both options of
//! a success, both of a wrong expected version, the id of an event.

use std::collections::HashMap;

use ::uuid::Uuid;
use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

use super::store::{Expected, Outcome, Proposed, Record};
use super::wire::event_store::client::streams::append_req::options::ExpectedStreamRevision;
use super::wire::event_store::client::streams::append_resp::wrong_expected_version::{
    CurrentRevisionOption, CurrentRevisionOption2060, ExpectedRevisionOption, ExpectedRevisionOption2060,
};
use super::wire::event_store::client::streams::append_resp::{self, success};
use super::wire::event_store::client::streams::batch_append_req::options::ExpectedStreamPosition;
use super::wire::event_store::client::streams::read_resp::{ReadEvent, read_event};
use super::wire::event_store::client::streams::{AppendResp, BatchAppendResp, batch_append_resp, read_resp};
use super::wire::event_store::client::{
    AllStreamPosition, Empty, StreamIdentifier, Uuid as WireUuid, WrongExpectedVersion, uuid, wrong_expected_version,
};
use super::wire::google;

type GoogleEmpty = google::protobuf::Empty;

/// The name of a stream.
pub(super) fn stream_name(identifier: Option<StreamIdentifier>) -> Result<String, Status> {
    let name = identifier.ok_or_else(|| Status::invalid_argument("no stream identifier"))?.stream_name;
    String::from_utf8(name.to_vec()).map_err(|_| Status::invalid_argument("the stream name is not UTF-8"))
}

/// An event to append. The server wants to know its type and whether it is JSON.
pub(super) fn proposed(
    id: Option<WireUuid>,
    mut metadata: HashMap<String, String>,
    custom_metadata: Bytes,
    data: Bytes,
) -> Result<Proposed, Status> {
    let mut required = |name: &str| {
        let missing = || Status::invalid_argument(format!("Required Metadata Property '{name}' is missing"));
        metadata.remove(name).ok_or_else(missing)
    };
    Ok(Proposed {
        id: id_of(id)?,
        event_type: required("type")?,
        content_type: required("content-type")?,
        custom_metadata,
        data,
    })
}

fn id_of(id: Option<WireUuid>) -> Result<Uuid, Status> {
    let bits = |signed: i64| u64::from_be_bytes(signed.to_be_bytes());
    match id.and_then(|id| id.value) {
        Some(uuid::Value::Structured(halves)) => {
            Ok(Uuid::from_u64_pair(bits(halves.most_significant_bits), bits(halves.least_significant_bits)))
        }
        Some(uuid::Value::String(text)) => text.parse().map_err(|_| Status::invalid_argument("not a UUID")),
        None => Err(Status::invalid_argument("no event id")),
    }
}

fn wire_id(id: Uuid, structured: bool) -> WireUuid {
    let signed = |bits: u64| i64::from_be_bytes(bits.to_be_bytes());
    let (most, least) = id.as_u64_pair();
    let value = if structured {
        let halves = uuid::Structured { most_significant_bits: signed(most), least_significant_bits: signed(least) };
        uuid::Value::Structured(halves)
    } else {
        uuid::Value::String(id.to_string())
    };
    WireUuid { value: Some(value) }
}

/// A record as it is read.
pub(super) fn read(record: &Record, structured: bool) -> read_resp::Content {
    let event = &record.event;
    let metadata = [
        ("type", event.event_type.clone()),
        ("content-type", event.content_type.clone()),
        ("created", record.created_ticks.to_string()),
    ];
    let recorded = read_event::RecordedEvent {
        id: Some(wire_id(event.id, structured)),
        stream_identifier: Some(StreamIdentifier { stream_name: Bytes::from(record.stream.clone()) }),
        stream_revision: record.revision,
        prepare_position: record.position,
        commit_position: record.position,
        metadata: metadata.map(|(name, value)| (name.to_owned(), value)).into(),
        custom_metadata: event.custom_metadata.clone(),
        data: event.data.clone(),
    };
    read_resp::Content::Event(ReadEvent {
        event: Some(recorded),
        link: None,
        position: Some(read_event::Position::CommitPosition(record.position)),
    })
}

/// What a plain append expects.
pub(super) fn expected(option: Option<ExpectedStreamRevision>) -> Result<Expected, Status> {
    Ok(match option.ok_or_else(|| Status::invalid_argument("no expected revision"))? {
        ExpectedStreamRevision::Revision(revision) => Expected::Revision(revision),
        ExpectedStreamRevision::NoStream(_) => Expected::NoStream,
        ExpectedStreamRevision::Any(_) => Expected::Any,
        ExpectedStreamRevision::StreamExists(_) => Expected::StreamExists,
    })
}

/// What an append of a batch expects.
pub(super) fn expected_of_batch(option: Option<ExpectedStreamPosition>) -> Result<Expected, Status> {
    Ok(match option.ok_or_else(|| Status::invalid_argument("no expected position"))? {
        ExpectedStreamPosition::StreamPosition(revision) => Expected::Revision(revision),
        ExpectedStreamPosition::NoStream(_) => Expected::NoStream,
        ExpectedStreamPosition::Any(_) => Expected::Any,
        ExpectedStreamPosition::StreamExists(_) => Expected::StreamExists,
    })
}

/// The answer to a plain append.
pub(super) fn appended(outcome: Outcome, expected: Expected) -> AppendResp {
    let result = match outcome {
        Outcome::Success { revision, position } => {
            let position = append_resp::Position { commit_position: position, prepare_position: position };
            append_resp::Result::Success(append_resp::Success {
                current_revision_option: Some(success::CurrentRevisionOption::CurrentRevision(revision)),
                position_option: Some(success::PositionOption::Position(position)),
            })
        }
        Outcome::WrongExpectedVersion { current } => {
            let none = || {
                (CurrentRevisionOption::CurrentNoStream(Empty {}), CurrentRevisionOption2060::NoStream2060(Empty {}))
            };
            let some = |revision| {
                (
                    CurrentRevisionOption::CurrentRevision(revision),
                    CurrentRevisionOption2060::CurrentRevision2060(revision),
                )
            };
            let (current, current_2060) = current.map_or_else(none, some);
            let (expected, expected_2060) = match expected {
                Expected::Any => {
                    (ExpectedRevisionOption::ExpectedAny(Empty {}), Some(ExpectedRevisionOption2060::Any2060(Empty {})))
                }
                Expected::StreamExists => (
                    ExpectedRevisionOption::ExpectedStreamExists(Empty {}),
                    Some(ExpectedRevisionOption2060::StreamExists2060(Empty {})),
                ),
                Expected::NoStream => (ExpectedRevisionOption::ExpectedNoStream(Empty {}), None),
                Expected::Revision(revision) => (
                    ExpectedRevisionOption::ExpectedRevision(revision),
                    Some(ExpectedRevisionOption2060::ExpectedRevision2060(revision)),
                ),
            };
            append_resp::Result::WrongExpectedVersion(append_resp::WrongExpectedVersion {
                current_revision_option: Some(current),
                current_revision_option_20_6_0: Some(current_2060),
                expected_revision_option: Some(expected),
                expected_revision_option_20_6_0: expected_2060,
            })
        }
    };
    AppendResp { result: Some(result) }
}

/// The answer to an append of a batch.
pub(super) fn appended_of_batch(
    correlation_id: Option<WireUuid>,
    stream: &str,
    outcome: Result<(Outcome, Expected), Status>,
) -> BatchAppendResp {
    let result = match outcome {
        Ok((Outcome::Success { revision, position }, _)) => {
            use batch_append_resp::success;
            let position = AllStreamPosition { commit_position: position, prepare_position: position };
            batch_append_resp::Result::Success(batch_append_resp::Success {
                current_revision_option: Some(success::CurrentRevisionOption::CurrentRevision(revision)),
                position_option: Some(success::PositionOption::Position(position)),
            })
        }
        Ok((Outcome::WrongExpectedVersion { current }, expected)) => {
            batch_append_resp::Result::Error(google::rpc::Status {
                code: google::rpc::Code::Unknown.into(),
                message: "WrongExpectedVersion".to_owned(),
                details: Some(google::protobuf::Any {
                    type_url: "type.googleapis.com/event_store.client.WrongExpectedVersion".to_owned(),
                    value: wrong_expected_version(current, expected).encode_to_vec().into(),
                }),
            })
        }
        Err(status) => batch_append_resp::Result::Error(google::rpc::Status {
            code: i32::from(status.code()),
            message: status.message().to_owned(),
            details: Some(google::protobuf::Any {
                type_url: "type.googleapis.com/event_store.client.Unknown".to_owned(),
                value: Bytes::new(),
            }),
        }),
    };
    BatchAppendResp {
        correlation_id,
        stream_identifier: Some(StreamIdentifier { stream_name: Bytes::from(stream.to_owned()) }),
        result: Some(result),
        expected_stream_position: None,
    }
}

fn wrong_expected_version(current: Option<u64>, expected: Expected) -> WrongExpectedVersion {
    use wrong_expected_version::{CurrentStreamRevisionOption, ExpectedStreamPositionOption};
    let none = CurrentStreamRevisionOption::CurrentNoStream(GoogleEmpty {});
    let expected = match expected {
        Expected::Any => ExpectedStreamPositionOption::ExpectedAny(GoogleEmpty {}),
        Expected::StreamExists => ExpectedStreamPositionOption::ExpectedStreamExists(GoogleEmpty {}),
        Expected::NoStream => ExpectedStreamPositionOption::ExpectedNoStream(GoogleEmpty {}),
        Expected::Revision(revision) => ExpectedStreamPositionOption::ExpectedStreamPosition(revision),
    };
    WrongExpectedVersion {
        current_stream_revision_option: Some(current.map_or(none, CurrentStreamRevisionOption::CurrentStreamRevision)),
        expected_stream_position_option: Some(expected),
    }
}

/// The server's word for an append over its limit, with what clients look at.
pub(super) fn too_large(limit_bytes: usize) -> Status {
    let mut status = Status::new(Code::InvalidArgument, format!("Maximum Append Size of {limit_bytes} Exceeded."));
    let value = |text: &str| text.parse().unwrap_or_else(|_| tonic::metadata::MetadataValue::from_static(""));
    status.metadata_mut().insert("exception", value("maximum-append-size-exceeded"));
    status.metadata_mut().insert("maximum-append-size", value(&limit_bytes.to_string()));
    status
}

/// A follower's word to who requires the leader.
pub(super) fn not_leader(host: &str, port: u16) -> Status {
    let mut status = Status::new(Code::NotFound, "Leader info available");
    let value = |text: &str| text.parse().unwrap_or_else(|_| tonic::metadata::MetadataValue::from_static(""));
    status.metadata_mut().insert("exception", value("not-leader"));
    status.metadata_mut().insert("leader-endpoint-host", value(host));
    status.metadata_mut().insert("leader-endpoint-port", value(&port.to_string()));
    status
}
