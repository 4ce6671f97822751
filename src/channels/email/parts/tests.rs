//! Boundaries, roles and the order of attachments.

use super::*;

fn of(data: &str) -> Vec<(Role, String)> {
    let parts = Parts::of(data.as_bytes(), &headers::of_mail(data.as_bytes()));
    parts.leaves.iter().map(|leaf| (leaf.role, String::from_utf8(leaf.bytes().0.into_owned()).unwrap())).collect()
}

#[test]
fn a_boundary_that_begins_like_another_is_not_taken_for_it() {
    let data =
        "Content-Type: multipart/mixed; boundary=abc\n\n--abc\n\none\n--abcd\nstill one --abc\n--abc\n\ntwo\n--abc--\n";
    let expected = [(Role::Plain, "one\n--abcd\nstill one --abc".to_owned()), (Role::Plain, "two".to_owned())];
    assert_eq!(of(data), expected);
}

#[test]
fn what_has_a_file_name_or_is_no_text_is_an_attachment() {
    let role = |header: &str| of(&format!("{header}\n\nx"))[0].0;
    let cases = [
        ("Content-Type: text/plain", Role::Plain),
        ("Content-Type: text/plane", Role::Plain),
        ("Content-Type: text", Role::Plain),
        ("Content-Type: nonsense", Role::Plain),
        ("Content-Type: text/html", Role::Html),
        ("Content-Type: text/plain; name=a.txt", Role::Attachment),
        ("Content-Disposition: attachment", Role::Attachment),
        ("Content-Disposition: inline; filename=a.txt", Role::Attachment),
        ("Content-Type: text/calendar", Role::Attachment),
        ("Content-Type: application/pdf", Role::Attachment),
    ];
    for (header, expected) in cases {
        assert_eq!(role(header), expected, "{header}");
    }
}

#[test]
fn parts_of_a_digest_are_messages() {
    let data = "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: one\n\ntext\n--b--\n";
    assert_eq!(of(data), [(Role::Attachment, "Subject: one\n\ntext".to_owned())]);
}
