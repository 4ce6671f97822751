//! Records of an archive as bytes: heads in JSON, and back.
//!
//! **Invariant:** a persisted format: fields are never renamed or given another meaning. A record reads back as it was
//! written.

use bytes::Bytes;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ArchiveError, Contents, Record};
use crate::envelope::{Metadata, Position, RecordedEvent, Revision, StreamName};
use crate::feed::{Checkpoint, Checkpoints, Part};
use crate::ids::{EventId, TenantId};
use crate::log::Imported;
use crate::seal::KeyId;
use crate::seal::wrapped::{WrappedPage, WrappedSecret, WrappedSubjectKey};

#[derive(Serialize, Deserialize)]
struct SecretHead {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct EventHead<M> {
    position: u64,
    stream: StreamName,
    revision: u64,
    id: Uuid,
    #[serde(rename = "type")]
    event_type: String,
    version: u16,
    recorded_at: i64,
    /// 32 hexadecimal digits; absent where the log did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    metadata: M,
}

#[derive(Serialize, Deserialize)]
struct SubjectKeyHead {
    id: Uuid,
    destroyed: bool,
}

#[derive(Serialize, Deserialize)]
struct PageHead {
    run: u32,
    page: u32,
}

#[derive(Serialize, Deserialize)]
struct BlobHead {
    tenant: TenantId,
    hash: String,
}

#[derive(Serialize, Deserialize)]
struct CheckpointHead {
    consumer: String,
    part: String,
    place: u64,
    position: u64,
}

#[derive(Serialize, Deserialize)]
struct EndHead {
    events: u64,
    keys: u64,
    pages: u64,
    blobs: u64,
    checkpoints: u64,
}

/// The kind, head and body of a record. The end's body is the writer's to add; a checkpoint has one part.
pub(super) fn encode(record: &Record) -> serde_json::Result<(u8, String, Bytes)> {
    let boxed = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    Ok(match record {
        Record::Secret(WrappedSecret { name, wrapped }) => {
            (b's', serde_json::to_string(&SecretHead { name: name.clone() })?, boxed(wrapped))
        }
        Record::Event(imported) => {
            let Imported { event, digest } = &**imported;
            let head = EventHead {
                position: event.position.0,
                stream: event.stream.clone(),
                revision: event.revision.0,
                id: event.id.uuid(),
                event_type: event.event_type.as_ref().to_owned(),
                version: event.version,
                recorded_at: event.recorded_at.timestamp_micros(),
                digest: digest.map(hex::encode),
                metadata: &event.metadata,
            };
            (b'e', serde_json::to_string(&head)?, event.payload.clone())
        }
        Record::SubjectKey(WrappedSubjectKey { id, wrapped }) => {
            let head = SubjectKeyHead { id: id.0, destroyed: wrapped.is_none() };
            (b'k', serde_json::to_string(&head)?, boxed(wrapped.as_deref().unwrap_or_default()))
        }
        Record::Page(WrappedPage { run, page, wrapped }) => {
            (b'p', serde_json::to_string(&PageHead { run: *run, page: *page })?, boxed(wrapped))
        }
        Record::Blob { tenant, sealed } => {
            let head = BlobHead { tenant: tenant.clone(), hash: blake3::hash(sealed).to_hex().to_string() };
            (b'b', serde_json::to_string(&head)?, sealed.clone())
        }
        Record::Checkpoint { consumer, checkpoints } => {
            let checkpoint = checkpoints.iter().next().unwrap_or(Checkpoint::of_position(Position::START));
            let head = CheckpointHead {
                consumer: consumer.clone(),
                part: checkpoint.part.as_str().to_owned(),
                place: checkpoint.offset,
                position: checkpoint.position.0,
            };
            (b'c', serde_json::to_string(&head)?, Bytes::new())
        }
        Record::End(Contents { position: _, events, keys, pages, blobs, checkpoints }) => {
            let head =
                EndHead { events: *events, keys: *keys, pages: *pages, blobs: *blobs, checkpoints: *checkpoints };
            (b'z', serde_json::to_string(&head)?, Bytes::new())
        }
    })
}

/// The record of this kind, head and body, in an archive cut at `position`.
pub(super) fn decode(kind: u8, head: &[u8], body: Bytes, position: Position) -> Result<Record, ArchiveError> {
    let bad_json = |_| ArchiveError::Damaged("a record has a head that cannot be read");
    Ok(match kind {
        b's' => {
            let SecretHead { name } = serde_json::from_slice(head).map_err(bad_json)?;
            Record::Secret(WrappedSecret { name, wrapped: body.into() })
        }
        b'e' => {
            let head: EventHead<Metadata> = serde_json::from_slice(head).map_err(bad_json)?;
            Record::Event(Box::new(event(head, body)?))
        }
        b'k' => {
            let SubjectKeyHead { id, destroyed } = serde_json::from_slice(head).map_err(bad_json)?;
            if destroyed != body.is_empty() {
                return Err(ArchiveError::Damaged("a destroyed key has a body, or another has none"));
            }
            let wrapped = (!destroyed).then(|| body.into());
            Record::SubjectKey(WrappedSubjectKey { id: KeyId(id), wrapped })
        }
        b'p' => {
            let PageHead { run, page } = serde_json::from_slice(head).map_err(bad_json)?;
            Record::Page(WrappedPage { run, page, wrapped: body.into() })
        }
        b'b' => {
            let BlobHead { tenant, hash } = serde_json::from_slice(head).map_err(bad_json)?;
            if blake3::hash(&body).to_hex().as_str() != hash {
                return Err(ArchiveError::Damaged("a blob is not what its hash says"));
            }
            Record::Blob { tenant, sealed: body }
        }
        b'c' => {
            let head: CheckpointHead = serde_json::from_slice(head).map_err(bad_json)?;
            let checkpoint =
                Checkpoint { part: Part::named(&head.part), offset: head.place, position: Position(head.position) };
            Record::Checkpoint { consumer: head.consumer, checkpoints: Checkpoints::from(checkpoint) }
        }
        b'z' => {
            let EndHead { events, keys, pages, blobs, checkpoints } = serde_json::from_slice(head).map_err(bad_json)?;
            Record::End(Contents { position, events, keys, pages, blobs, checkpoints })
        }
        _ => return Err(ArchiveError::Damaged("a record is of a kind that is not known")),
    })
}

fn event(head: EventHead<Metadata>, payload: Bytes) -> Result<Imported, ArchiveError> {
    let bad = |_| ArchiveError::Damaged("a digest cannot be read");
    let digest = match head.digest {
        Some(text) => {
            let mut digest = [0; 16];
            hex::decode_to_slice(text, &mut digest).map_err(bad)?;
            Some(digest)
        }
        None => None,
    };
    let recorded_at = DateTime::from_timestamp_micros(head.recorded_at);
    let event = RecordedEvent {
        id: EventId::new(head.id),
        stream: head.stream,
        revision: Revision(head.revision),
        position: Position(head.position),
        event_type: head.event_type.into(),
        version: head.version,
        metadata: head.metadata,
        recorded_at: recorded_at.ok_or(ArchiveError::Damaged("a time is out of range"))?,
        payload,
    };
    Ok(Imported { event, digest })
}
