//! Fields, names, ids and dates.

use super::*;

#[test]
fn fields_are_found_without_case_and_over_folds() {
    let data = b"SUBJECT : one\r\n two\r\nX-Empty:\r\nTo: a@b.example,\r\n\tc@d.example\r\n\r\nbody: no field\r\n";
    let header = of_mail(data);
    assert_eq!(header.text("Subject").unwrap().0, "one two");
    assert_eq!(header.text("x-empty"), None);
    assert!(header.has("X-Empty") && !header.has("body"));
    assert_eq!(header.addresses("to").0.len(), 2);
    assert_eq!(&data[header.body..], b"body: no field\r\n");
    assert!(!header.damaged);
}

#[test]
fn addresses_come_out_of_quotes_comments_groups_and_encoded_words() {
    let named = |value: &str| {
        let data = format!("From: {value}\n\n");
        let (addresses, _) = of_mail(data.as_bytes()).addresses("From");
        addresses.into_iter().map(|it| (it.name.unwrap_or_default(), it.address)).collect::<Vec<_>>()
    };
    let one = |name: &str, address: &str| vec![(name.to_owned(), address.to_owned())];
    assert_eq!(named("\"Petrov, Ivan\" <i@x.example>"), one("Petrov, Ivan", "i@x.example"));
    assert_eq!(named("=?utf-8?B?0JjQstCw0L0sINCf?= <i@x.example>"), one("Иван, П", "i@x.example"));
    assert_eq!(named("\"=?utf-8?B?0JjQstCw0L0=?=\" <i@x.example>"), one("Иван", "i@x.example"));
    assert_eq!(named("i@x.example (Ivan)"), one("Ivan", "i@x.example"));
    assert_eq!(named("<i@x.example>"), one("", "i@x.example"));
    assert_eq!(named("team: i@x.example;"), one("", "i@x.example"));
    assert_eq!(named("undisclosed-recipients:;"), vec![]);
}

#[test]
fn ids_are_read_once_each_with_or_without_brackets() {
    let ids = |value: &str| of_mail(format!("References: {value}\n\n").as_bytes()).ids("References");
    assert_eq!(ids("<a@x> <b@x>\r\n <a@x>"), ["a@x", "b@x"]);
    assert_eq!(ids("<a@x><b@x>,<broken"), ["a@x", "b@x"]);
    assert_eq!(ids("a@x b@x"), ["a@x", "b@x"]);
    assert_eq!(ids("<split\r\n @x>"), ["split@x"]);
    assert_eq!(ids("none"), Vec::<String>::new());
}

#[test]
fn a_header_ends_at_the_first_line_that_cannot_be_one() {
    let cases: [(&[u8], &[u8], bool); 5] = [
        (b"A: 1\n\nbody", b"body", false),
        (b"A: 1\nbody without blank line\n", b"body without blank line\n", true),
        (b"A: 1\n \t\nbody", b"body", false),
        (b"\nbody", b"body", false),
        (b"A: 1", b"", false),
    ];
    for (data, body, damaged) in cases {
        let header = of_part(data);
        assert_eq!((&data[header.body..], header.damaged), (body, damaged), "{}", data.escape_ascii());
    }
}
