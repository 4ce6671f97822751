//! The life of an outgoing message, from queued to an end that everybody can see.
//!
//! **Invariant:** `queued → sending → delivered | failed | unknown`, with `postponed` between attempts; from a dead
//! letter (`failed`, `unknown`) only a person's re-drive leads back. Parts go in order, and one that was delivered is
//! never sent again. A postponed message holds back those behind it, a dead letter does not: the conversation would
//! fall silent until somebody looks.

use std::fmt;

use chrono::{DateTime, Utc};
use events::conversation::{
    ConversationEvent, DeliveryFailed, DeliveryPostponed, DeliveryRedriven, DeliveryStarted, DeliveryUnknown,
    MessageDelivered, PartDelivered,
};
use events::ids::MessageId;

use super::decide::stored;
use super::{Conversation, ConversationRejection};

/// What is known of an outgoing message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Where it stands.
    pub status: DeliveryStatus,
    /// The number of the last attempt; 0 before the first.
    pub attempt: u32,
    /// How many parts the provider took: the first so many.
    pub parts: u32,
}

/// Where an outgoing message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It waits for its first attempt.
    Queued,
    /// This part is on the wire: if nobody sees the end, it is lost track of.
    Sending {
        /// Which part, from 0.
        part: u32,
    },
    /// A part was taken, the next can follow.
    BetweenParts,
    /// It waits for another attempt.
    Postponed,
    /// The provider took it all.
    Delivered,
    /// It cannot be delivered.
    Failed,
    /// Nobody knows whether it was delivered.
    Unknown,
}

impl DeliveryStatus {
    /// True when nothing more happens unasked.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Delivered | Self::Failed | Self::Unknown => true,
            Self::Queued | Self::Sending { .. } | Self::BetweenParts | Self::Postponed => false,
        }
    }
}

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Sending { .. } | Self::BetweenParts => "sending",
            Self::Postponed => "postponed",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        })
    }
}

impl Delivery {
    pub(super) const fn queued() -> Self {
        Self { status: DeliveryStatus::Queued, attempt: 0, parts: 0 }
    }
}

type Decision = Result<Vec<ConversationEvent>, ConversationRejection>;

pub(super) fn start(state: &Conversation, message: MessageId, part: u32) -> Decision {
    let delivery = known(state, message)?;
    let attempt = match delivery.status {
        DeliveryStatus::Queued | DeliveryStatus::Postponed => delivery.attempt + 1,
        DeliveryStatus::BetweenParts => delivery.attempt,
        other @ (DeliveryStatus::Sending { .. }
        | DeliveryStatus::Delivered
        | DeliveryStatus::Failed
        | DeliveryStatus::Unknown) => return Err(ConversationRejection::WrongDeliveryState(other)),
    };
    if state.queue.first() != Some(&message) {
        return Err(ConversationRejection::NotItsTurn);
    }
    if part != delivery.parts {
        return Err(ConversationRejection::WrongPart { next: delivery.parts });
    }
    Ok(vec![DeliveryStarted { message, attempt, part }.into()])
}

pub(super) fn record_part(
    state: &Conversation,
    message: MessageId,
    part: u32,
    alias: MessageId,
    outside_id: Option<String>,
) -> Decision {
    let delivery = known(state, message)?;
    if part < delivery.parts {
        return Ok(vec![]);
    }
    match delivery.status {
        DeliveryStatus::Sending { part: sent } if sent == part => {
            Ok(vec![PartDelivered { message, part, alias, outside_id }.into()])
        }
        other @ (DeliveryStatus::Sending { .. }
        | DeliveryStatus::Queued
        | DeliveryStatus::BetweenParts
        | DeliveryStatus::Postponed
        | DeliveryStatus::Delivered
        | DeliveryStatus::Failed
        | DeliveryStatus::Unknown) => Err(ConversationRejection::WrongDeliveryState(other)),
    }
}

pub(super) fn complete(state: &Conversation, message: MessageId) -> Decision {
    let delivery = known(state, message)?;
    match delivery.status {
        DeliveryStatus::Delivered => Ok(vec![]),
        // Queued: it was given up between its last part and this, and driven again.
        DeliveryStatus::BetweenParts | DeliveryStatus::Queued if delivery.parts > 0 => {
            Ok(vec![MessageDelivered { message, parts: delivery.parts }.into()])
        }
        other @ (DeliveryStatus::Queued
        | DeliveryStatus::BetweenParts
        | DeliveryStatus::Sending { .. }
        | DeliveryStatus::Postponed
        | DeliveryStatus::Failed
        | DeliveryStatus::Unknown) => Err(ConversationRejection::WrongDeliveryState(other)),
    }
}

pub(super) fn postpone(state: &Conversation, message: MessageId, reason: String, retry_at: DateTime<Utc>) -> Decision {
    let delivery = under_way(state, message)?;
    let retry_at = stored(retry_at);
    Ok(vec![DeliveryPostponed { message, attempt: delivery.attempt, reason: short(reason), retry_at }.into()])
}

pub(super) fn lose_track(state: &Conversation, message: MessageId, reason: String) -> Decision {
    if known(state, message)?.status == DeliveryStatus::Unknown {
        return Ok(vec![]);
    }
    let delivery = under_way(state, message)?;
    Ok(vec![DeliveryUnknown { message, attempt: delivery.attempt, reason: short(reason) }.into()])
}

/// Also a message that was never tried can fail: its account is gone, the customer blocked it.
pub(super) fn fail(state: &Conversation, message: MessageId, reason: String) -> Decision {
    let delivery = known(state, message)?;
    if delivery.status == DeliveryStatus::Failed {
        return Ok(vec![]);
    }
    if delivery.status.is_final() {
        return Err(ConversationRejection::WrongDeliveryState(delivery.status));
    }
    Ok(vec![DeliveryFailed { message, attempt: delivery.attempt, reason: short(reason) }.into()])
}

fn under_way(state: &Conversation, message: MessageId) -> Result<&Delivery, ConversationRejection> {
    let delivery = known(state, message)?;
    if matches!(delivery.status, DeliveryStatus::Sending { .. }) {
        Ok(delivery)
    } else {
        Err(ConversationRejection::WrongDeliveryState(delivery.status))
    }
}

pub(super) fn redrive(state: &Conversation, message: MessageId) -> Decision {
    let delivery = known(state, message)?;
    match delivery.status {
        DeliveryStatus::Failed | DeliveryStatus::Unknown => Ok(vec![DeliveryRedriven { message }.into()]),
        other @ (DeliveryStatus::Queued
        | DeliveryStatus::Sending { .. }
        | DeliveryStatus::BetweenParts
        | DeliveryStatus::Postponed
        | DeliveryStatus::Delivered) => Err(ConversationRejection::WrongDeliveryState(other)),
    }
}

fn known(state: &Conversation, message: MessageId) -> Result<&Delivery, ConversationRejection> {
    state.delivery(message).ok_or(ConversationRejection::NoSuchMessage)
}

/// A provider's reason, cut to a length that a list can show.
pub(super) fn short(reason: String) -> String {
    if reason.chars().count() <= super::MAX_REASON_CHARS {
        reason
    } else {
        reason.chars().take(super::MAX_REASON_CHARS).collect()
    }
}
