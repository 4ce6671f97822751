//! What a profile answers to each command.
//!
//! **Invariant:** each command acts, stays quiet and is refused here at least once, where it can.

use events::ids::{AccountId, ContactId};
use uuid::Uuid;

use super::*;
use crate::testing::given;

use ProfileCommand as C;

fn person(number: u32) -> Occupancy {
    Occupancy { contact: ContactId::new(Uuid::from_u128(1)), number }
}

fn opened() -> ProfileEvent {
    ProfileOpened { occupancy: person(1) }.into()
}

fn value(text: &str) -> AttributeValue {
    AttributeValue { text: text.into(), source_form: None }
}

fn channel() -> AttributeSource {
    AttributeSource::Channel { account: AccountId::new(Uuid::from_u128(7)) }
}

fn record(source: AttributeSource, text: &str) -> C {
    C::Record { attribute: Attribute::DisplayName, source, value: value(text) }
}

fn recorded(source: AttributeSource, text: &str) -> ProfileEvent {
    let value = Personal::new(KeySubject::Occupancy(person(1)), value(text));
    AttributeRecorded { attribute: Attribute::DisplayName, source, value }.into()
}

fn retract(source: AttributeSource) -> C {
    C::Retract { attribute: Attribute::DisplayName, source }
}

fn retracted(source: AttributeSource) -> ProfileEvent {
    AttributeRetracted { attribute: Attribute::DisplayName, source }.into()
}

#[test]
fn a_profile_opens_once_and_stays_with_its_occupancy() {
    given::<ProfileDecider>([]).when(C::Open { occupancy: person(1) }).then([opened()]);
    given::<ProfileDecider>([opened()]).when(C::Open { occupancy: person(1) }).then_nothing();
    let other = given::<ProfileDecider>([opened()]).when(C::Open { occupancy: person(2) });
    other.then_rejected(&ProfileRejection::OtherOccupancy);
    assert_eq!(given::<ProfileDecider>([opened()]).state().occupancy(), Some(person(1)));
}

#[test]
fn what_a_source_says_is_sealed_for_the_person() {
    given::<ProfileDecider>([opened()]).when(record(channel(), "Anna")).then([recorded(channel(), "Anna")]);
}

#[test]
fn saying_the_same_again_writes_nothing() {
    let given = || given::<ProfileDecider>([opened(), recorded(channel(), "Anna")]);
    given().when(record(channel(), "Anna")).then_nothing();
    given().when(record(channel(), "Anya")).then([recorded(channel(), "Anya")]);
}

#[test]
fn sources_do_not_overwrite_each_other() {
    let given = || {
        given::<ProfileDecider>([opened(), recorded(channel(), "Anna")]).and(record(AttributeSource::Customer, "Anya"))
    };
    given().when(record(channel(), "Anna")).then_nothing();
    given().and(retract(AttributeSource::Customer)).when(record(channel(), "Anna")).then_nothing();
}

#[test]
fn a_value_that_the_log_returns_opened_counts_as_said() {
    let stored = AttributeRecorded {
        attribute: Attribute::DisplayName,
        source: channel(),
        value: Personal::Opened(value("Anna")),
    };
    given::<ProfileDecider>([opened(), stored.into()]).when(record(channel(), "Anna")).then_nothing();
}

#[test]
fn an_erased_value_is_not_taken_for_the_same() {
    let erased = AttributeRecorded { attribute: Attribute::DisplayName, source: channel(), value: Personal::Erased };
    let given = given::<ProfileDecider>([opened(), erased.into()]);
    given.when(record(channel(), "Anna")).then([recorded(channel(), "Anna")]);
}

#[test]
fn an_empty_or_endless_value_is_refused() {
    for text in ["", "  ", &"x".repeat(MAX_VALUE_CHARS + 1)] {
        let answer = given::<ProfileDecider>([opened()]).when(record(channel(), text));
        answer.then_rejected(&ProfileRejection::BadValue);
    }
    let value = AttributeValue { text: "Anna".into(), source_form: Some("x".repeat(MAX_VALUE_CHARS + 1)) };
    let endless = C::Record { attribute: Attribute::DisplayName, source: channel(), value };
    given::<ProfileDecider>([opened()]).when(endless).then_rejected(&ProfileRejection::BadValue);
}

#[test]
fn a_source_takes_back_what_it_said_once() {
    let given = || given::<ProfileDecider>([opened(), recorded(channel(), "Anna")]);
    given().when(retract(channel())).then([retracted(channel())]);
    given().when(retract(AttributeSource::Customer)).then_nothing();
    given().and(retract(channel())).when(retract(channel())).then_nothing();
    given().and(retract(channel())).when(record(channel(), "Anna")).then([recorded(channel(), "Anna")]);
}

#[test]
fn nothing_is_known_of_a_profile_that_does_not_exist() {
    for command in [record(channel(), "Anna"), retract(channel())] {
        given::<ProfileDecider>([]).when(command).then_rejected(&ProfileRejection::NotOpen);
    }
}
