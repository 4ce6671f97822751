//! Tests of masking.
//!
//! **Invariant:** every test makes its own events and store.

use events::conversation::content::{Card, MailHeaders, MessageContent};
use events::viewer::Role;

use super::{content, email, phone};
use crate::testing::viewer;

#[test]
fn a_phone_keeps_two_digits_and_a_short_one_none() {
    for (full, masked) in [("+79991234567", "***67"), ("12345", "***"), ("", "***")] {
        assert_eq!(phone(full), masked);
    }
}

#[test]
fn a_mail_address_keeps_its_first_letter_and_domain_and_a_short_one_nothing() {
    for (full, masked) in [
        ("vera.petrova@example.org", "v***@example.org"),
        ("вера@почта.рф", "в***@почта.рф"),
        ("bob@example.org", "***"),
        ("no address", "***"),
        ("Vera <vera@example.org>", "***"),
    ] {
        assert_eq!(email(full), masked);
    }
}

#[test]
fn an_agent_sees_neither_mail_headers_nor_the_phone_of_a_card_but_the_text() {
    let card = Card::Contact {
        name: "Vera".into(),
        phone: Some("+79991234567".into()),
        phone_source_form: Some("8 999 123-45-67".into()),
        own: true,
    };
    let mail = MailHeaders { from: Some("Vera <vera@example.org>".into()), ..MailHeaders::default() };
    let full =
        MessageContent { text: Some("hello".into()), cards: vec![card], mail: Some(mail), ..MessageContent::default() };
    assert_eq!(content(&viewer(Role::Operator), full.clone()), full);
    let masked = content(&viewer(Role::Agent), full);
    assert_eq!(masked.text.as_deref(), Some("hello"));
    assert_eq!(masked.mail.unwrap().from.as_deref(), Some("***"));
    let Card::Contact { phone, phone_source_form, .. } = &masked.cards[0] else { panic!("another card") };
    assert_eq!((phone.as_deref(), phone_source_form.as_deref()), (Some("***67"), Some("***67")));
}
