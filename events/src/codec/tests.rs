//! Tests of the codec over samples of every event type.
//!
//! **Invariant:** nothing here knows a single event type: a new one is tested as soon as it has a sample.

use bytes::Bytes;
use futures::executor::block_on;
use proptest::prelude::*;
use uuid::Uuid;

use super::golden::{codec, metadata, recorded};
use super::*;
use crate::envelope::RecordedEvent;
use crate::seal::{SealError, SealedBox};
use crate::testing::samples::{samples, samples_saying};

fn id(number: u128) -> EventId {
    EventId::new(Uuid::from_u128(number))
}

fn stream_of(event: &DomainEvent) -> StreamName {
    StreamName::new(event.category(), "acme".parse().unwrap(), Uuid::from_u128(1))
}

fn encode(codec: &Codec, event: DomainEvent) -> RecordedEvent {
    let stream = stream_of(&event);
    recorded(&stream, block_on(codec.encode(id(1), &stream, metadata(), event)).unwrap())
}

fn digest(codec: &Codec, id: EventId, event: DomainEvent) -> ([u8; 16], Bytes) {
    let event = block_on(codec.encode(id, &stream_of(&event), metadata(), event)).unwrap();
    (event.digest, event.payload)
}

fn personal_samples(text: &str) -> Vec<DomainEvent> {
    samples_saying(text).into_iter().filter_map(|mut event| event.personal().is_some().then_some(event)).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_encoded_decodes_and_opens_to_the_same(text in any::<String>()) {
        let codec = codec();
        for mut event in samples_saying(&text) {
            let clear_part = event.to_json().unwrap();
            let said = event.personal().map(|field| field.said_bytes().unwrap());
            let mut decoded = block_on(codec.decode_open(encode(&codec, event))).unwrap();
            prop_assert_eq!(decoded.event.to_json().unwrap(), clear_part);
            prop_assert_eq!(decoded.event.personal().map(|field| field.said_bytes().unwrap()), said);
        }
    }

    #[test]
    fn a_box_with_any_bit_changed_does_not_open(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let codec = codec();
        for event in personal_samples("некто") {
            let event_type = event.event_type();
            let recorded = encode(&codec, event);
            let mut decoded = codec.decode(recorded.clone()).unwrap();
            let key = decoded.event.personal().and_then(|field| field.key()).unwrap();
            let payload = String::from_utf8(recorded.payload.to_vec()).unwrap();
            let start = payload.find("\"x1.").unwrap() + 1;
            let end = start + payload[start..].find('"').unwrap();
            let mut bytes = SealedBox::parse(&payload[start..end]).unwrap().bytes().unwrap().into_owned();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let forged = SealedBox::from_parts(key, bytes).to_string();
            let payload = [&payload[..start], &forged, &payload[end..]].concat();
            let opened = block_on(codec.decode_open(RecordedEvent { payload: payload.into(), ..recorded }));
            prop_assert_eq!(opened, Err(CodecError::Seal(SealerError::Seal(SealError::Forged))), "{}", event_type);
        }
    }
}

#[test]
fn what_a_person_says_never_stands_in_a_payload() {
    let (codec, needle) = (codec(), "Needle-Иголка-1");
    for mut event in personal_samples(needle) {
        let event_type = event.event_type();
        let said = event.personal().unwrap().said_bytes().unwrap();
        assert!(contains(&said, needle.as_bytes()), "{event_type}: the sample says it");
        let payload = encode(&codec, event).payload;
        for part in [needle, "Needle", "Иголка"] {
            assert!(!contains(&payload, part.as_bytes()), "{event_type}");
        }
    }
}

#[test]
fn a_box_moved_to_another_event_stream_tenant_or_version_does_not_open() {
    let codec = codec();
    for event in personal_samples("некто") {
        let event_type = event.event_type();
        let here = encode(&codec, event);
        assert!(block_on(codec.decode_open(here.clone())).is_ok());
        let elsewhere = |id: Uuid, tenant: &str| StreamName::new(here.stream.category, tenant.parse().unwrap(), id);
        let moved = [
            RecordedEvent { id: id(2), ..here.clone() },
            RecordedEvent { stream: elsewhere(Uuid::from_u128(2), "acme"), ..here.clone() },
            RecordedEvent { stream: elsewhere(here.stream.id, "other"), ..here.clone() },
        ];
        for moved in moved {
            let opened = block_on(codec.decode_open(moved));
            assert_eq!(opened, Err(CodecError::Seal(SealerError::Seal(SealError::Forged))), "{event_type}");
        }
    }
}

#[test]
fn a_box_moved_to_another_event_type_does_not_open() {
    let codec = codec();
    let of_type = |name: &str| samples().into_iter().find(|event| event.event_type() == name).unwrap();
    let (opened, migrated) = (of_type("conversation.opened"), of_type("conversation.migrated"));
    let text = |event: &RecordedEvent| {
        let json: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
        json["thread"].as_str().unwrap().to_owned()
    };
    let (opened, migrated) = (encode(&codec, opened), encode(&codec, migrated));
    let payload = String::from_utf8(migrated.payload.to_vec()).unwrap().replace(&text(&migrated), &text(&opened));
    let forged = block_on(codec.decode_open(RecordedEvent { payload: payload.into(), ..migrated }));
    assert_eq!(forged, Err(CodecError::Seal(SealerError::Seal(SealError::Forged))));
}

#[test]
fn destroying_the_key_erases_what_it_sealed() {
    for event in personal_samples("некто") {
        let codec = codec();
        let recorded = encode(&codec, event);
        let mut decoded = codec.decode(recorded.clone()).unwrap();
        let key = decoded.event.personal().and_then(|field| field.key()).unwrap();
        block_on(codec.sealer().destroy(key)).unwrap();
        let mut erased = block_on(codec.decode_open(recorded)).unwrap();
        assert!(format!("{:?}", erased.event).contains("Personal(erased)"));
        assert_eq!(erased.event.personal().unwrap().said_bytes(), Err(SealError::State("sealed or erased")));
        let again = block_on(codec.encode(id(1), &erased.recorded.stream, metadata(), erased.event));
        assert!(again.is_err(), "an erased event cannot be written again");
    }
}

#[test]
fn the_digest_tells_the_same_event_from_another() {
    let codec = codec();
    for (event, other) in samples().into_iter().zip(samples_saying("нечто другое")) {
        let event_type = event.event_type();
        let personal = other.clone().personal().is_some();
        let (first, second) = (digest(&codec, id(1), event.clone()), digest(&codec, id(1), event.clone()));
        assert_eq!(first.0, second.0, "{event_type}: the same event");
        assert_eq!(first.1 == second.1, !personal, "{event_type}: sealing is randomised");
        assert_ne!(first.0, digest(&codec, id(2), event).0, "{event_type}: another id");
        assert_eq!(first.0 == digest(&codec, id(1), other).0, !personal, "{event_type}: another content");
    }
}

#[test]
fn an_event_of_an_unknown_type_or_a_newer_version_is_told_apart_from_damage() {
    let codec = codec();
    let event = encode(&codec, samples().remove(0));
    let unknown = RecordedEvent { event_type: "account.danced".into(), ..event.clone() };
    assert_eq!(codec.decode(unknown), Err(CodecError::UnknownType("account.danced".into())));
    let newer = codec.decode(RecordedEvent { version: 99, ..event.clone() });
    assert!(matches!(newer, Err(CodecError::Upcast { source: UpcastError::UnknownVersion, .. })));
    let damaged = codec.decode(RecordedEvent { payload: Bytes::from_static(b"{"), ..event });
    assert!(matches!(damaged, Err(CodecError::Malformed(_))));
}
