//! Answers: threading fields, subjects, files, and that our own reader understands them.

use super::*;
use crate::channels::email::tests::{conversation, own};
use crate::channels::email::{attachment_bytes, headers, peek};
use uuid::Uuid;

pub(in crate::channels::email) fn outgoing() -> OutgoingMail {
    OutgoingMail {
        message: MessageId::new(Uuid::from_u128(7)),
        conversation: conversation(),
        to: "Olga@Client.example".to_owned(),
        subject: Some("Заказ 12".to_owned()),
        text: "Добрый день!\nЗаказ в пути.".to_owned(),
        thread_key: "root@client.example".to_owned(),
        in_reply_to: Some("last@client.example".to_owned()),
        references: vec!["root@client.example".to_owned(), "mid@shop.example".to_owned()],
        written_at: "2026-03-02T10:00:00Z".parse().unwrap(),
        author: Author::Person,
        files: Vec::new(),
    }
}

fn composed(mail: &OutgoingMail) -> Vec<u8> {
    compose(&own(), Some("Магазин"), mail).unwrap().bytes
}

#[test]
fn an_answer_carries_the_ids_and_the_token_that_lead_back() {
    let bytes = composed(&outgoing());
    assert!(bytes.is_ascii(), "any server can carry it");
    let header = headers::of_mail(&bytes);
    assert_eq!(header.ids("Message-ID"), ["00000000-0000-0000-0000-000000000007@shop.example"]);
    assert_eq!(header.ids("In-Reply-To"), ["last@client.example"]);
    assert_eq!(header.ids("References"), ["root@client.example", "mid@shop.example", "last@client.example"]);
    assert_eq!(header.text("Subject").unwrap().0, "Re: Заказ 12");
    assert_eq!(header.addresses("From").0[0].as_written(), "Магазин <support@shop.example>");
    assert_eq!(header.addresses("To").0[0].address, "Olga@client.example");
    assert_eq!(own().conversation_in(&header.addresses("Reply-To").0[0].address), Some(conversation()));
    assert_eq!(header.date("Date"), Some(outgoing().written_at));
    assert!(!header.has("Auto-Submitted"));
    assert_eq!(peek(&bytes).conversation_key.as_deref(), Some("root@client.example"));
}

#[test]
fn the_same_message_has_the_same_id_each_time() {
    assert_eq!(compose(&own(), None, &outgoing()).unwrap().message_id, message_id_of(outgoing().message, &own()));
    assert_ne!(message_id_of(MessageId::new(Uuid::from_u128(8)), &own()), message_id_of(outgoing().message, &own()));
}

#[test]
fn a_machine_says_so_and_a_first_mail_answers_nothing() {
    let mail = OutgoingMail {
        author: Author::Machine,
        in_reply_to: None,
        references: Vec::new(),
        thread_key: "sha256:0".to_owned(),
        ..outgoing()
    };
    let bytes = composed(&mail);
    let header = headers::of_mail(&bytes);
    assert_eq!(header.token("Auto-Submitted").as_deref(), Some("auto-replied"));
    assert!(!header.has("In-Reply-To") && !header.has("References"));
    assert_eq!(header.text("Subject").unwrap().0, "Заказ 12");
}

#[test]
fn references_keep_the_root_and_the_latest() {
    let references = (0..100).map(|n| format!("{n}@x.example")).collect();
    let bytes = composed(&OutgoingMail { references, ..outgoing() });
    let ids = headers::of_mail(&bytes).ids("References");
    assert_eq!((ids.len(), ids[0].as_str(), ids[1].as_str()), (12, "root@client.example", "90@x.example"));
    assert_eq!(ids[11], "last@client.example");
}

#[test]
fn nothing_breaks_out_of_a_header() {
    let evil = "x\r\nBcc: victim@x.example";
    let mail = OutgoingMail {
        subject: Some(evil.to_owned()),
        in_reply_to: Some("a@b\r\nBcc: victim@x.example".to_owned()),
        references: vec!["a>\r\nBcc: victim@x.example".to_owned()],
        files: vec![OutgoingFile { name: evil.to_owned(), media_type: evil.to_owned(), bytes: vec![1] }],
        ..outgoing()
    };
    let bytes = compose(&own(), Some(evil), &mail).unwrap().bytes;
    assert!(!headers::of_mail(&bytes).has("Bcc"));
    assert!(!bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"Bcc")));
}

#[test]
fn files_go_out_and_come_back_whole() {
    let files = vec![
        OutgoingFile {
            name: "счёт.pdf".to_owned(),
            media_type: "application/pdf".to_owned(),
            bytes: b"%PDF\x00\xff".to_vec(),
        },
        OutgoingFile { name: "a.bin".to_owned(), media_type: "nonsense".to_owned(), bytes: (0..=255).collect() },
    ];
    let bytes = composed(&OutgoingMail { files: files.clone(), ..outgoing() });
    for (index, file) in (0..).zip(&files) {
        assert_eq!(attachment_bytes(&bytes, index).unwrap(), file.bytes);
    }
}

#[test]
fn an_answer_is_marked_once_whatever_stood_before() {
    let cases = [
        ("Заказ", "Re: Заказ"),
        ("Re: Заказ", "Re: Заказ"),
        ("RE: re: Заказ", "Re: Заказ"),
        ("Re[2]: Заказ", "Re: Заказ"),
        ("Re(3): Отв: AW: Заказ", "Re: Заказ"),
        ("Ответ: Заказ", "Re: Заказ"),
        ("Отв.: Заказ", "Re: Отв.: Заказ"),
        ("Fwd: Re: Заказ", "Re: Fwd: Re: Заказ"),
        ("Ремонт: срочно", "Re: Ремонт: срочно"),
        ("", "Re:"),
    ];
    for (subject, expected) in cases {
        assert_eq!(reply_subject(subject), expected, "{subject}");
    }
}

#[test]
fn nobody_is_written_to_at_an_address_that_leads_nowhere() {
    for to in
        ["", "olga", "mailer-daemon@unknown.invalid", "a@b.example, c@d.example", "a@b.example\r\nBcc: c@d.example"]
    {
        let error = compose(&own(), None, &OutgoingMail { to: to.to_owned(), ..outgoing() }).unwrap_err();
        assert_eq!(error, ComposeError::Recipient, "{to}");
    }
}
