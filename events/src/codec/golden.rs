//! Golden files: every version of every event type, as it was stored, must decode and open for ever.
//!
//! **Invariant:** a golden file is never edited or overwritten. `testdata/<type>.v<N>.json` holds stored payloads with
//! the envelope they were sealed for; `testdata/<type>.v<N>.expected.json` holds, case by case, what they decode to:
//! the clear part lifted to the current version, and what the sealed part says.
//!
//! A new event type, or a new version of one: add it to `testing/samples`, run
//! `LETOPIS_WRITE_GOLDEN=1 cargo test -p events golden` once, look at the two files it wrote and commit them. Only
//! missing files are written. A new version needs an upcaster too, and the old files stay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Codec, DomainEvent};
use crate::envelope::{Actor, Metadata, NewEvent, Position, RecordedEvent, Revision, StreamName};
use crate::ids::{EventId, IdHasher};
use crate::seal::Sealer;
use crate::testing::memory_keys::MemoryKeyStore;
use crate::testing::samples::samples;

/// Every key of the golden files follows from this.
const SEED: [u8; 32] = *b"letopis golden files, not secret";

/// One stored event.
#[derive(Serialize, Deserialize)]
struct Stored {
    id: EventId,
    stream: StreamName,
    payload: Box<RawValue>,
}

/// What it decodes to.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Expected {
    /// The clear part; the sealed one stands as null.
    event: Value,
    /// What the sealed part says, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    personal: Option<String>,
}

pub(super) fn codec() -> Codec {
    Codec::new(Sealer::new(Arc::new(MemoryKeyStore::seeded(SEED))), IdHasher::new(SEED))
}

pub(super) fn metadata() -> Metadata {
    Metadata {
        actor: Actor::System("golden".into()),
        command: None,
        causation: None,
        correlation: Uuid::nil(),
        occurred_at: DateTime::UNIX_EPOCH,
        traceparent: None,
        seen_at: None,
        wish: None,
    }
}

pub(super) fn recorded(stream: &StreamName, event: NewEvent) -> RecordedEvent {
    RecordedEvent {
        id: event.id,
        stream: stream.clone(),
        revision: Revision(0),
        position: Position(1),
        event_type: event.event_type,
        version: event.version,
        metadata: event.metadata,
        recorded_at: DateTime::UNIX_EPOCH,
        payload: event.payload,
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn derived(parts: &[&str]) -> Uuid {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    IdHasher::new(SEED).derive("golden", &parts)
}

/// Every type and version that was ever stored.
fn versions() -> Vec<(&'static str, u16)> {
    DomainEvent::types().flat_map(|(_, row)| (1..=row.version).map(|version| (row.name, version))).collect()
}

async fn write_missing() {
    let codec = codec();
    let mut by_type: BTreeMap<(&str, u16), Vec<DomainEvent>> = BTreeMap::new();
    for event in samples() {
        by_type.entry((event.event_type(), event.version())).or_default().push(event);
    }
    for ((event_type, version), events) in by_type {
        let path = folder().join(format!("{event_type}.v{version}.json"));
        let expected_path = folder().join(format!("{event_type}.v{version}.expected.json"));
        if path.exists() || expected_path.exists() {
            continue;
        }
        let (mut stored, mut expected) = (Vec::new(), Vec::new());
        for (index, mut event) in events.into_iter().enumerate() {
            let id = EventId::new(derived(&["event", event_type, &index.to_string()]));
            let stream = StreamName::new(event.category(), "golden".parse().unwrap(), derived(&["stream", event_type]));
            expected.push(expectation(&mut event));
            let event = codec.encode(id, &stream, metadata(), event).await.unwrap();
            let payload = RawValue::from_string(String::from_utf8(event.payload.to_vec()).unwrap()).unwrap();
            stored.push(Stored { id, stream, payload });
        }
        std::fs::write(path, serde_json::to_string_pretty(&stored).unwrap() + "\n").unwrap();
        std::fs::write(expected_path, serde_json::to_string_pretty(&expected).unwrap() + "\n").unwrap();
    }
}

/// What an event says, be it in clear or opened.
fn expectation(event: &mut DomainEvent) -> Expected {
    let event_json = serde_json::from_slice(&event.to_json().unwrap()).unwrap();
    let personal = event.personal().map(|field| String::from_utf8(field.said_bytes().unwrap().to_vec()).unwrap());
    Expected { event: event_json, personal }
}

/// JSON text is compared as JSON: the order of fields may change.
fn comparable(expected: &Expected) -> (&Value, Option<Value>) {
    let personal = expected.personal.as_deref();
    (&expected.event, personal.map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.into()))))
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let text = std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[tokio::test]
async fn every_version_ever_stored_decodes_opens_and_says_the_same() {
    if std::env::var_os("LETOPIS_WRITE_GOLDEN").is_some() {
        write_missing().await;
    }
    let codec = codec();
    for (event_type, version) in versions() {
        let name = format!("{event_type}.v{version}");
        let stored: Vec<Stored> = read(&format!("{name}.json"));
        let expected: Vec<Expected> = read(&format!("{name}.expected.json"));
        assert!(!stored.is_empty() && stored.len() == expected.len(), "{name}: one expectation for each case");
        for (case, (stored, expected)) in stored.into_iter().zip(expected).enumerate() {
            let payload = stored.payload.get().to_owned();
            let event = NewEvent {
                id: stored.id,
                event_type: event_type.into(),
                version,
                digest: [0; 16],
                metadata: metadata(),
                payload: payload.clone().into(),
            };
            let mut decoded = codec
                .decode(recorded(&stored.stream, event))
                .unwrap_or_else(|error| panic!("{name}, case {case}: {error}"));
            assert_eq!(decoded.event.event_type(), event_type);
            if version == decoded.event.version() {
                let again: Value = serde_json::from_slice(&decoded.event.to_json().unwrap()).unwrap();
                let before: Value = serde_json::from_str(&payload).unwrap();
                assert_eq!(again, before, "{name}, case {case}: encodes to what was stored");
            }
            codec.open(&mut decoded).await.unwrap_or_else(|error| panic!("{name}, case {case}: {error}"));
            let found = expectation(&mut decoded.event);
            assert_eq!(comparable(&found), comparable(&expected), "{name}, case {case}");
        }
    }
}

#[test]
fn there_is_no_golden_file_of_an_unknown_type_or_version() {
    let known: Vec<String> = versions()
        .into_iter()
        .flat_map(|(name, version)| [format!("{name}.v{version}.json"), format!("{name}.v{version}.expected.json")])
        .collect();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name} belongs to no event type: was one renamed or removed?");
    }
}
