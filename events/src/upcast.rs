//! Old payloads lifted to the current vocabulary, one version at a time.
//!
//! **Invariant:** an upcaster sees the clear part of a payload only; sealed fields pass through untouched and open
//! with the version they were stored under. Each version ever stored has a golden file in `testdata/`.

use serde_json::Value;

/// Lifts a payload from `version` to the next one.
type Upcaster = fn(Value) -> Result<Value, UpcastError>;

/// Why a payload could not be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpcastError {
    /// The payload is not of the form that its version had.
    #[error("payload is not of the form of its version")]
    Malformed,
    /// The version is unknown: the event was written by a newer letopis.
    #[error("unknown payload version: written by a newer release")]
    UnknownVersion,
}

/// Every step there is: type, the version it starts from, and the step to the next version.
const STEPS: &[(&str, u16, Upcaster)] = &[("conversation.tagged", 1, tagged_v1_to_v2)];

/// Lifts a payload stored under `version` to `current`. `None` when it is current already.
///
/// # Errors
/// See [`UpcastError`].
pub fn upcast(event_type: &str, version: u16, current: u16, json: &[u8]) -> Result<Option<Vec<u8>>, UpcastError> {
    if version == current {
        return Ok(None);
    }
    if version > current {
        return Err(UpcastError::UnknownVersion);
    }
    let mut value = serde_json::from_slice(json).map_err(|_| UpcastError::Malformed)?;
    for from in version..current {
        let step = STEPS.iter().find(|(name, start, _)| *name == event_type && *start == from);
        let (_, _, lift) = step.ok_or(UpcastError::UnknownVersion)?;
        value = lift(value)?;
    }
    serde_json::to_vec(&value).map(Some).map_err(|_| UpcastError::Malformed)
}

/// Version 1 had one tag, added; version 2 has the tags added and removed.
fn tagged_v1_to_v2(mut payload: Value) -> Result<Value, UpcastError> {
    let object = payload.as_object_mut().ok_or(UpcastError::Malformed)?;
    let tag = object.remove("tag").ok_or(UpcastError::Malformed)?;
    object.insert("added".into(), Value::Array(vec![tag]));
    object.insert("removed".into(), Value::Array(Vec::new()));
    Ok(payload)
}
