//! Raw deliveries, and what became of them.
//!
//! **Invariant:** the bytes of a delivery are in the log before the sender is answered (design invariant 4); each raw
//! body has a data key of its own, so that erasing a person destroys that body alone.

use serde::{Deserialize, Serialize};

use crate::blobs::BlobRef;
use crate::ids::{AccountId, ConversationId, EventId, Occupancy};
use crate::seal::{Personal, PersonalValue, SealError};
use crate::values::Channel;
use crate::vocabulary::vocabulary;

vocabulary! {
    /// What happens to raw deliveries.
    IntakeEvent {
        /// A verified delivery came in.
        Received(IntakeReceived) = "intake.received", 1, sealed body;
        /// It was understood and its commands were carried out.
        Normalised(IntakeNormalised) = "intake.normalised", 1;
        /// It was not understood; the bytes are kept for a better parser.
        Unrecognised(IntakeUnrecognised) = "intake.unrecognised", 1;
        /// It was understood, but its commands failed again and again.
        Parked(IntakeParked) = "intake.parked", 1;
        /// A person asked for another try.
        Redriven(IntakeRedriven) = "intake.redriven", 1;
    }
}

/// A verified delivery came in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntakeReceived {
    /// The account it was sent to.
    pub account: AccountId,
    /// The channel of the account.
    pub channel: Channel,
    /// Length of the body.
    pub size_bytes: u64,
    /// The body in clear, unless it is so large that it went to `blob`.
    pub body: Personal<RawBody>,
    /// Where a body over the limit was put, sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRef>,
}

/// The bytes of a delivery as received.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RawBody(pub bytes::Bytes);

impl std::fmt::Debug for RawBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawBody({} bytes)", self.0.len())
    }
}

impl PersonalValue for RawBody {
    fn to_clear(&self) -> Result<Vec<u8>, SealError> {
        Ok(self.0.to_vec())
    }

    fn from_clear(clear: Vec<u8>) -> Result<Self, SealError> {
        Ok(Self(clear.into()))
    }
}

/// A delivery was understood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntakeNormalised {
    /// The raw delivery.
    pub received: EventId,
    /// What it was, in the provider's words: `message`, `callback_query`, `bounce`.
    pub kind: String,
    /// Everyone whose data is in the raw body: erasing one of them destroys the body's key.
    pub persons: Vec<Occupancy>,
    /// The conversation it belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
}

/// A delivery was not understood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntakeUnrecognised {
    /// The raw delivery.
    pub received: EventId,
    /// Why, without anything from the body but names of fields and kinds.
    pub reason: String,
}

/// A delivery was parked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntakeParked {
    /// The raw delivery.
    pub received: EventId,
    /// The last error, without personal data.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// A delivery is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntakeRedriven {
    /// The raw delivery.
    pub received: EventId,
}
