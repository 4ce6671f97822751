//! Tests of mail addresses: tables of real spellings, and properties over any text.
//!
//! **Invariant:** the numbers and addresses here are made up or public.

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<String, EmailAddressError> {
    EmailAddress::parse(text).map(|address| address.as_str().to_owned())
}

#[test]
fn an_address_is_normalised_only_where_that_is_safe() {
    let cases = [
        (" Ivan.Petrov@Example.COM\n", "ivan.petrov@example.com"),
        ("ivan+orders@example.com", "ivan+orders@example.com"),
        ("i.v.a.n@gmail.com", "i.v.a.n@gmail.com"),
        ("info@Почта.РФ", "info@xn--80a1acny.xn--p1ai"),
        ("info@xn--80a1acny.xn--p1ai", "info@xn--80a1acny.xn--p1ai"),
        ("Иван@почта.рф", "иван@xn--80a1acny.xn--p1ai"),
        ("o'brien_1/x=y@sub.example.co.uk", "o'brien_1/x=y@sub.example.co.uk"),
        ("a@ｅｘａｍｐｌｅ.com", "a@example.com"),
    ];
    for (text, expected) in cases {
        assert_eq!(parsed(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn tags_and_dots_keep_addresses_apart() {
    assert_ne!(parsed("ivan@gmail.com"), parsed("ivan+a@gmail.com"));
    assert_ne!(parsed("ivan@gmail.com"), parsed("i.van@gmail.com"));
    assert_eq!(parsed("IVAN@gmail.com"), parsed("ivan@gmail.com"));
}

#[test]
fn what_is_no_bare_address_is_refused() {
    for text in ["", "@", "ivan", "ivan@", "@example.com"] {
        assert_eq!(parsed(text), Err(EmailAddressError::Form), "{text}");
    }
    let long = format!("{}@example.com", "x".repeat(65));
    for text in [
        ".ivan@example.com",
        "ivan.@example.com",
        "i..van@example.com",
        "i van@example.com",
        "\"i van\"@example.com",
        "a@b@example.com",
        "Иван <a@example.com>",
        &long,
    ] {
        assert!(matches!(parsed(text), Err(EmailAddressError::LocalPart | EmailAddressError::Domain)), "{text}");
    }
    let deep = format!("a@{}com", "abcdefgh.".repeat(40));
    for text in [
        "a@localhost",
        "a@example",
        "a@-example.com",
        "a@exam ple.com",
        "a@example..com",
        "a@example.com.",
        "a@[192.0.2.1]",
        "a@192.0.2.1",
        "a@example.com>",
        "a@ex_ample.com",
        "a@xn--a.com",
        &deep,
    ] {
        assert_eq!(parsed(text), Err(EmailAddressError::Domain), "{text}");
    }
}

#[test]
fn the_parts_can_be_asked_for_and_do_not_show_in_debug_output() {
    let address = EmailAddress::parse("Ivan@Example.com").unwrap();
    assert_eq!((address.local_part(), address.domain()), ("ivan", "example.com"));
    assert!(!format!("{address:?}").contains("ivan"));
}

proptest! {
    #[test]
    fn any_text_is_an_address_or_refused(text in "\\PC*", local in "\\PC{0,12}", domain in "[a-zA-Zа-я0-9.-]{1,20}") {
        for text in [text, format!("{local}@{domain}")] {
            if let Ok(address) = EmailAddress::parse(&text) {
                prop_assert!(address.domain().is_ascii());
                prop_assert_eq!(EmailAddress::parse(address.as_str()), Ok(address.clone()), "its own form parses to itself");
            }
        }
    }
}
