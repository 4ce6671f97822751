//! Sample events: at least one of every type, with every variant of the enums they hold.
//!
//! **Invariant:** the text given to [`samples_saying`] goes into sealed fields only, so that a test can look for it
//! where it must not be. Samples are the same in every run.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::DomainEvent;
use crate::blobs::BlobRef;
use crate::ids::{AccountId, ContactId, ConversationId, EventId, MessageId, Occupancy};
use crate::seal::{KeyId, KeySubject};
use crate::values::Channel;

mod cases;
mod conversation;
mod desk;
mod people;

/// Sample events of every type, in the order of [`DomainEvent::types`].
#[must_use]
pub fn samples() -> Vec<DomainEvent> {
    samples_saying("Здравствуйте, где мой заказ № 17? 🙂")
}

/// Sample events of every type whose sealed fields say `text`.
#[must_use]
pub fn samples_saying(text: &str) -> Vec<DomainEvent> {
    let mut samples = people::accounts(text);
    samples.extend(people::intakes(text));
    samples.extend(people::contacts(text));
    samples.extend(people::profiles(text));
    samples.extend(people::links());
    samples.extend(conversation::conversations(text));
    samples.extend(desk::calendars());
    samples.extend(desk::operators());
    samples.extend(desk::queues());
    samples.extend(cases::cases(text));
    samples.extend(cases::types());
    samples.extend(cases::register());
    samples.extend(desk::service_levels());
    samples
}

const fn uuid(last: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + last)
}

const fn account() -> AccountId {
    AccountId::new(uuid(1))
}

const fn conversation_id() -> ConversationId {
    ConversationId::new(uuid(2))
}

const fn message() -> MessageId {
    MessageId::new(uuid(3))
}

const fn other_message() -> MessageId {
    MessageId::new(uuid(4))
}

const fn event() -> EventId {
    EventId::new(uuid(5))
}

const fn person() -> Occupancy {
    Occupancy { contact: ContactId::new(uuid(6)), number: 1 }
}

const fn other_person() -> Occupancy {
    Occupancy { contact: ContactId::new(uuid(7)), number: 2 }
}

const fn of_person() -> KeySubject {
    KeySubject::Occupancy(person())
}

const fn of_account() -> KeySubject {
    KeySubject::Account(account())
}

fn time() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_790_000_000_123_456).unwrap_or_default()
}

fn blob() -> BlobRef {
    BlobRef {
        hash: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262".into(),
        key: KeyId(uuid(8)),
        size_bytes: 300_000,
        media_type: Some("image/jpeg".into()),
    }
}

const CHANNELS: [Channel; 3] = Channel::ALL;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_sample_of_every_event_type() {
        let sampled: Vec<&str> = samples().iter().map(DomainEvent::event_type).collect();
        for (_, event_type) in DomainEvent::types() {
            assert!(sampled.contains(&event_type.name), "no sample of {}", event_type.name);
        }
    }
}
