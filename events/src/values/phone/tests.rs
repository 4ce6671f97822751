//! Tests of phone numbers: tables of real spellings, and properties over any text.
//!
//! **Invariant:** the numbers and addresses here are made up or public.

use proptest::prelude::*;

use super::*;

#[test]
fn numbers_as_people_write_them_become_e164() {
    let cases = [
        ("+7 912 345-67-89", Region::RU, "+79123456789"),
        ("8 (912) 345-67-89", Region::RU, "+79123456789"),
        ("89123456789", Region::RU, "+79123456789"),
        ("79123456789", Region::RU, "+79123456789"),
        ("9123456789", Region::RU, "+79123456789"),
        ("\u{a0}8\u{a0}(495)\u{a0}123\u{2013}45\u{2013}67 ", Region::RU, "+74951234567"),
        ("8 (701) 234-56-78", Region::KZ, "+77012345678"),
        ("8 (701) 234-56-78", Region::RU, "+77012345678"),
        ("+7 (701) 234 56 78", Region::RU, "+77012345678"),
        ("8 (727) 250 12 34", Region::KZ, "+77272501234"),
        ("8-800-200-06-00", Region::RU, "+78002000600"),
        ("8 (912) 345-67-89", Region::KZ, "+79123456789"),
        ("+998 90 123 45 67", Region::RU, "+998901234567"),
        ("90 123 45 67", Region::UZ, "+998901234567"),
        ("+375 (29) 123-45-67", Region::RU, "+375291234567"),
        ("8 029 123 45 67", Region::BY, "+375291234567"),
        ("+1 (202) 456-1111", Region::RU, "+12024561111"),
        ("(202) 456-1111", Region::US, "+12024561111"),
        ("8 10 1 202 456 1111", Region::RU, "+12024561111"),
        ("\u{ff0b}79123456789", Region::US, "+79123456789"),
    ];
    for (text, region, expected) in cases {
        let parsed = PhoneNumber::parse(text, region);
        assert_eq!(parsed.as_ref().map(PhoneNumber::as_str), Ok(expected), "{text} in {region}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    let long = "1".repeat(200);
    let form =
        ["", "   ", "+", "звоните мне", "1-800-FLOWERS", "+7 912 345-67-89 доб. 12", "+7 912 345-67-89,12", &long];
    for text in form {
        let refused = PhoneNumber::parse(text, Region::RU);
        assert!(refused.is_err(), "{text}");
    }
    assert_eq!(PhoneNumber::parse("1-800-FLOWERS", Region::US), Err(PhoneNumberError::Form));
    for text in
        ["112", "900", "03", "0611", "+7", "+7 912 345-67-8", "+7 912 345-67-890", "+999 123 456 789", "0000000000"]
    {
        assert_eq!(PhoneNumber::parse(text, Region::RU), Err(PhoneNumberError::NoSuchNumber), "{text}");
    }
    assert_eq!(PhoneNumber::parse("79123456789 79123456780", Region::RU), Err(PhoneNumberError::NoSuchNumber));
}

#[test]
fn a_region_is_an_upper_case_code_with_a_numbering_plan() {
    assert_eq!("KZ".parse(), Ok(Region::KZ));
    assert_eq!(Region::KZ.to_string(), "KZ");
    for bad in ["", "kz", "R", "RUS", "ZZ", "001", "яя"] {
        assert!(bad.parse::<Region>().is_err(), "{bad}");
    }
}

#[test]
fn a_number_does_not_show_in_debug_output() {
    let number = PhoneNumber::parse("+79123456789", Region::RU).unwrap();
    assert!(!format!("{number:?}").contains("912"));
}

proptest! {
    #[test]
    fn any_text_is_a_number_or_refused(
        text in "\\PC*",
        digits in "[+0-9() -]{0,24}",
        russian in "(8|\\+7|7) ?\\(?[3-9][0-9]{2}\\)? ?[0-9]{3}-?[0-9]{4}",
    ) {
        for text in [text, digits, russian] {
            if let Ok(number) = PhoneNumber::parse(&text, Region::RU) {
                let e164 = number.as_str();
                prop_assert!(e164.starts_with('+') && (8..=16).contains(&e164.len()), "{}", e164);
                prop_assert!(e164[1..].bytes().all(|b| b.is_ascii_digit()));
                prop_assert_eq!(PhoneNumber::parse(e164, Region::US), Ok(number.clone()), "its own form parses to itself");
            }
        }
    }
}
