//! Bounces, delays, complaints, automatic answers and lists.

use super::*;
use crate::channels::email::tests::{conversation, own};
use crate::channels::email::text;
use crate::channels::email::{Happening, Interaction, normalise};

fn report(data: &str) -> Report {
    let header = headers::of_mail(data.as_bytes());
    let parts = Parts::of(data.as_bytes(), &header);
    of(&header, &parts, text::read(&parts).text.as_deref())
}

fn dsn(recipients: &str) -> String {
    let token = own().address_of(conversation()).unwrap();
    format!(
        "Return-Path: <>\nFrom: MAILER-DAEMON@mx.example (Mail Delivery System)\nSubject: Undelivered Mail\n\
         Message-ID: <dsn@mx.example>\nAuto-Submitted: auto-replied\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\n\nIt did not work.\n--b\nContent-Type: message/delivery-status\n\n\
         Reporting-MTA: dns; mx.example\nArrival-Date: Mon, 2 Mar 2026 10:00:00 +0000\n\n{recipients}\n\
         --b\nContent-Type: text/rfc822-headers\n\nMessage-ID: <ours@shop.example>\nReferences: <root@x>\n\
         Reply-To: <{token}>\nSubject: Re: order\n\n--b--\n"
    )
}

fn interaction(data: &str) -> Interaction {
    let received_at = "2026-03-02T10:00:00Z".parse().unwrap();
    normalise(data.as_bytes(), &own(), received_at).unwrap().interactions.remove(0)
}

#[test]
fn a_bounce_names_its_recipients_and_finds_our_conversation() {
    let data = dsn("Final-Recipient: rfc822; a@client.example\nAction: failed\nStatus: 5.1.1 (no such user)\n\n\
         Original-Recipient: rfc822;b@client.example\nFinal-Recipient: rfc822;<B2@client.example>\nAction: delayed\nStatus: 4.4.1\n");
    let found = report(&data);
    assert_eq!(
        (found.kind, found.marks.as_slice()),
        ("bounce", [MessageMark::Bounce, MessageMark::AutoReply].as_slice())
    );
    let expected = [
        recipient("a@client.example".to_owned(), Some("failed"), Some("5.1.1".to_owned())),
        recipient("B2@client.example".to_owned(), Some("delayed"), Some("4.4.1".to_owned())),
    ];
    assert_eq!(found.failed_recipients, expected);
    let interaction = interaction(&data);
    let thread = interaction.thread.unwrap();
    assert_eq!(thread.conversation, Some(conversation()), "the returned Reply-To carries our token");
    assert_eq!((thread.key.as_str(), thread.outside.reply_address), ("root@x", None));
    assert_eq!(interaction.party.unwrap().address.normalised, "mailer-daemon@mx.example");
}

#[test]
fn the_action_tells_a_bounce_from_a_delay_and_a_receipt() {
    let kind = |fields: &str| report(&dsn(&format!("Final-Recipient: rfc822; a@b.example\n{fields}\n"))).kind;
    assert_eq!(kind("Action: failed\nStatus: 4.2.2"), "bounce");
    assert_eq!(kind("Action: Delayed\nStatus: 4.4.4"), "delay_notice");
    assert_eq!(kind("Status: 4.4.4"), "delay_notice");
    assert_eq!(kind("Status: 5.4.4"), "bounce");
    assert_eq!(kind("Action: delivered\nStatus: 2.0.0"), "delivery_report");
    assert_eq!(report(&dsn("")).kind, "bounce");
}

#[test]
fn a_bare_delivery_status_without_from_speaks_for_its_host() {
    let data = "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx7.example.net\n\n\
        Final-Recipient: rfc822; a@client.example\nAction: failed\nStatus: 5.0.0\n";
    assert_eq!(interaction(data).party.unwrap().address.normalised, "mailer-daemon@mx7.example.net");
    let data = data.replace("Reporting-MTA: dns; mx7.example.net", "X-Nothing: 1");
    assert_eq!(interaction(&data).party.unwrap().address.normalised, "mailer-daemon@unknown.invalid");
}

#[test]
fn a_bounce_in_plain_words_is_known_by_its_sender_and_its_words() {
    let body = "I am sorry.\n\n<lost@client.example>:\nHost said: 550 5.1.1 No such user\n\n--- Below this line is a copy of the message.\n\n\
        Message-ID: <ours@shop.example>\nFrom: support@shop.example\n";
    let bounce = |header: &str| report(&format!("{header}\n\n{body}"));
    let found = bounce("Return-Path: <>\nFrom: MAILER-DAEMON@mx.example\nSubject: failure notice");
    assert_eq!(found.kind, "bounce");
    let expected = [recipient("lost@client.example".to_owned(), Some("failed"), Some("5.1.1".to_owned()))];
    assert_eq!(found.failed_recipients, expected);
    assert_eq!(thread_key(&found), "ours@shop.example");
    let delayed = bounce(
        "From: postmaster@mx.example\nSubject: Delayed Mail (still being retried)\nX-Failed-Recipients: x@y.example",
    );
    assert_eq!((delayed.kind, delayed.failed_recipients[0].address.as_str()), ("delay_notice", "x@y.example"));
    assert_eq!(bounce("Return-Path: <>\nFrom: robot@mx.example\nSubject: Сообщение не доставлено").kind, "bounce");
    assert_eq!(bounce("From: olga@client.example\nSubject: Посылка не доставлена!").kind, "message");
    assert_eq!(bounce("From: postmaster@client.example\nSubject: a question").kind, "message");
}

fn thread_key(report: &Report) -> String {
    let original = report.original.as_deref().map(headers::of_mail).unwrap();
    crate::channels::email::thread::root_id(&original).unwrap()
}

#[test]
fn a_complaint_names_who_complained() {
    let data = "From: fbl@mail.example\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nabuse\n\
        --b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: <olga@client.example>\n\n\
        --b\nContent-Type: message/rfc822\n\nMessage-ID: <ours@shop.example>\n\nx\n--b--\n";
    let found = report(data);
    assert_eq!((found.kind, found.marks.as_slice()), ("complaint", [MessageMark::Complaint].as_slice()));
    assert_eq!(found.failed_recipients[0].address, "olga@client.example");
    assert_eq!(thread_key(&found), "ours@shop.example");
}

#[test]
fn machines_and_lists_are_marked() {
    let marks = |field: &str| report(&format!("From: a@b.example\n{field}\n\nx")).marks;
    for field in [
        "Auto-Submitted: auto-replied (vacation)",
        "Auto-Submitted: auto-generated",
        "X-Autoreply: yes",
        "X-Autorespond: x",
        "Precedence: auto_reply",
    ] {
        assert_eq!(marks(field), [MessageMark::AutoReply], "{field}");
    }
    for field in
        ["Precedence: bulk", "Precedence: list", "List-Unsubscribe: <https://x.example>", "List-Id: <l.example>"]
    {
        assert_eq!(marks(field), [MessageMark::Bulk], "{field}");
    }
    for field in ["Auto-Submitted: no", "Precedence: first-class", "X-Other: 1"] {
        assert_eq!(marks(field), [], "{field}");
    }
    assert_eq!(report("From: a@b.example\nAuto-Submitted: auto-replied\n\nx").kind, "auto_reply");
    assert!(matches!(
        interaction("From: a@b.example\nAuto-Submitted: auto-replied\n\nx").what,
        Happening::Message { .. }
    ));
}

#[test]
fn status_codes_are_found_in_running_text() {
    let cases = [
        ("550 5.1.1 no", Some("5.1.1")),
        ("at 10.0.0.1 host", None),
        ("4.2.2.", Some("4.2.2")),
        ("3.1.1", None),
        ("", None),
    ];
    for (text, status) in cases {
        assert_eq!(status_in(text).as_deref(), status, "{text}");
    }
}
