//! Whole mails through peek and normalise.

use super::*;
use events::ids::ConversationId;
use proptest::prelude::*;
use uuid::Uuid;

pub(super) fn own() -> OwnMailbox {
    OwnMailbox::new(EmailAddress::parse("support@shop.example").unwrap())
}

pub(super) fn conversation() -> ConversationId {
    ConversationId::new(Uuid::from_u128(0x0123_4567_89ab_8def_8123_4567_89ab_cdef))
}

fn received_at() -> DateTime<Utc> {
    "2026-03-02T10:00:00Z".parse().unwrap()
}

/// What a test looks at.
struct Mail {
    kind: String,
    interaction: Interaction,
}

impl Mail {
    fn of(body: impl AsRef<[u8]>) -> Self {
        let mut normalised = normalise(body.as_ref(), &own(), received_at()).unwrap();
        assert_eq!(normalised.interactions.len(), 1);
        Self { kind: normalised.kind, interaction: normalised.interactions.remove(0) }
    }

    fn content(&self) -> &MessageContent {
        let Happening::Message { content, .. } = &self.interaction.what else { panic!("not a message") };
        content
    }

    fn marks(&self) -> &[MessageMark] {
        let Happening::Message { marks, .. } = &self.interaction.what else { panic!("not a message") };
        marks
    }

    fn text(&self) -> &str {
        self.content().text.as_deref().unwrap_or_default()
    }

    fn subject(&self) -> &str {
        self.content().subject.as_deref().unwrap_or_default()
    }

    fn sender(&self) -> &Party {
        self.interaction.party.as_ref().unwrap()
    }

    fn thread(&self) -> &Thread {
        self.interaction.thread.as_ref().unwrap()
    }
}

fn koi8(text: &str) -> Vec<u8> {
    encoding_rs::KOI8_R.encode(text).0.into_owned()
}

fn cp1251(text: &str) -> Vec<u8> {
    encoding_rs::WINDOWS_1251.encode(text).0.into_owned()
}

fn mail(header: &str, body: &[u8]) -> Vec<u8> {
    let mut mail = format!("From: Olga <Olga@Client.example>\r\n{header}\r\n").into_bytes();
    mail.extend_from_slice(body);
    mail
}

const LETTER: &str = "Здравствуйте! Когда приедет мой заказ? Жду его уже вторую неделю.";

#[test]
fn a_secret_proves_itself_from_either_field_and_only_while_it_is_live() {
    let live = ["first-secret", "second-secret"];
    let cases = [
        (Some("Bearer first-secret"), None, true),
        (Some("bearer  second-secret "), None, true),
        (None, Some("second-secret"), true),
        (Some("Basic first-secret"), Some("first-secret"), true),
        (Some("Basic first-secret"), None, false),
        (Some("Bearer first-secreT"), None, false),
        (Some("Bearer "), None, false),
        (None, Some(""), false),
        (None, None, false),
    ];
    for (authorization, own_header, proven) in cases {
        let presented = presented_secret(authorization.map(str::as_bytes), own_header.map(str::as_bytes));
        assert_eq!(verify(presented, &live), proven, "{authorization:?} {own_header:?}");
    }
    assert!(!verify(Some(b""), &[""]), "an empty secret proves nothing");
    assert!(!verify(Some(b"first-secret"), &[] as &[&[u8]]));
}

#[test]
fn a_plain_mail_gives_sender_text_ids_and_addresses() {
    let body = "Return-Path: <olga@client.example>\r\n\
        From: =?utf-8?B?0J7Qu9GM0LPQsA==?= <Olga@Client.example>\r\nTo: Shop <support@shop.example>, b@c.example\r\n\
        Cc: d@e.example\r\nReply-To: answers@client.example\r\nSubject: =?utf-8?Q?Re[2]:_=D0=97=D0=B0=D0=BA=D0=B0=D0=B7?=\r\n\
        Message-ID: <one@client.example>\r\nIn-Reply-To: <zero@shop.example>\r\n\
        References: <root@client.example>\r\n <zero@shop.example>\r\n\
        Date: Mon, 2 Mar 2026 12:00:00 +0300\r\n\r\nHello,\r\n\r\nwhere is it?  \r\n";
    let mail = Mail::of(body);
    assert_eq!(mail.kind, "message");
    assert_eq!(mail.marks(), &[]);
    assert_eq!(mail.text(), "Hello,\n\nwhere is it?");
    assert_eq!(mail.subject(), "Re[2]: Заказ");
    assert_eq!(mail.sender().kind, ContactKind::Email);
    assert_eq!(mail.sender().address.normalised, "olga@client.example");
    assert_eq!(mail.sender().address.source_form, "Olga@Client.example");
    assert_eq!(mail.sender().attributes, [(Attribute::DisplayName, "Ольга".to_owned())]);
    assert_eq!(mail.interaction.occurred_at, "2026-03-02T09:00:00Z".parse::<DateTime<Utc>>().unwrap());
    let thread = mail.thread();
    assert_eq!((thread.key.as_str(), thread.conversation), ("root@client.example", None));
    assert_eq!(thread.outside.title.as_deref(), Some("Заказ"));
    assert_eq!(thread.outside.reply_address.as_deref(), Some("answers@client.example"));
    let headers = mail.content().mail.clone().unwrap();
    assert_eq!(headers.message_id.as_deref(), Some("one@client.example"));
    assert_eq!(headers.references, ["root@client.example", "zero@shop.example"]);
    assert_eq!(headers.to, ["Shop <support@shop.example>", "b@c.example"]);
    assert_eq!(headers.cc, ["d@e.example"]);
    assert_eq!(headers.reply_to.as_deref(), Some("answers@client.example"));
    let Happening::Message { reply_to, outside_id, .. } = &mail.interaction.what else { panic!() };
    assert_eq!((reply_to.as_deref(), outside_id.as_str()), (Some("zero@shop.example"), "one@client.example"));

    let peek = peek(body.as_bytes());
    assert_eq!(peek.delivery_id.as_deref(), Some("one@client.example"));
    assert_eq!(peek.conversation_key.as_deref(), Some("root@client.example"));
    assert_eq!(peek.occurred_at, Some(mail.interaction.occurred_at));
}

#[test]
fn the_key_is_the_root_then_the_answered_then_the_own_id_then_a_hash_and_never_the_subject() {
    let key = |header: &str| Mail::of(mail(&format!("Subject: Re: same\r\n{header}"), b"x")).thread().key.clone();
    assert_eq!(key("References: <a@x> <b@x>\r\nIn-Reply-To: <b@x>\r\nMessage-ID: <c@x>\r\n"), "a@x");
    assert_eq!(key("In-Reply-To: <b@x> <d@x>\r\nMessage-ID: <c@x>\r\n"), "b@x");
    assert_eq!(key("Message-Id:\r\n <c@x>\r\n"), "c@x");
    assert_eq!(key("Message-ID: bare@x\r\n"), "bare@x");
    let hashed = key("");
    assert!(hashed.starts_with("sha256:") && hashed.len() == 7 + 64);
    assert_ne!(hashed, key("X-Other: 1\r\n"));
    assert_eq!(peek(&mail("", b"x")).conversation_key, None, "the caller takes the hash");
}

#[test]
fn our_token_names_the_conversation_and_leaves_the_key_as_it_is() {
    let address = own().address_of(conversation()).unwrap();
    for field in ["To", "Cc", "Delivered-To", "X-Original-To"] {
        let body = mail(&format!("{field}: \"Shop\" <{}>\r\nMessage-ID: <n@x>\r\n", address.to_uppercase()), b"x");
        let mail = Mail::of(&body);
        assert_eq!(mail.thread().conversation, Some(conversation()), "{field}");
        assert_eq!(mail.thread().key, "n@x");
        assert_eq!(peek(&body).conversation_key, Some(conversation().to_string()));
    }
    for foreign in ["support+0123@shop.example", "other+0123456789ab8def8123456789abcdef@shop.example"] {
        assert_eq!(Mail::of(mail(&format!("To: {foreign}\r\n"), b"x")).thread().conversation, None, "{foreign}");
    }
}

#[test]
fn a_missing_or_absurd_date_gives_way_to_the_time_of_receipt() {
    let date = |field: &str| Mail::of(mail(field, b"x")).interaction.occurred_at;
    for field in [
        "",
        "Date: yesterday\r\n",
        "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n",
        "Date: Sat, 1 Jan 2039 00:00:00 +0000\r\n",
    ] {
        assert_eq!(date(field), received_at(), "{field}");
    }
    assert_ne!(date("Date: Mon, 2 Mar 2026 20:00:00 +0000\r\n"), received_at(), "a few hours ahead are believed");
}

#[test]
fn cyrillic_comes_out_of_every_charset_and_label() {
    let utf8 = LETTER.as_bytes().to_vec();
    let cases: [(&str, Vec<u8>, bool); 12] = [
        ("text/plain; charset=koi8-r", koi8(LETTER), false),
        ("text/plain; charset=KOI8-R; format=flowed", koi8(LETTER), false),
        ("text/plain; charset=\"windows-1251\"", cp1251(LETTER), false),
        ("text/plain; charset=cp1251", cp1251(LETTER), false),
        ("text/plain; charset=iso-8859-5", encoding_rs::ISO_8859_5.encode(LETTER).0.into_owned(), false),
        ("text/plain; charset=utf-8", utf8.clone(), false),
        ("text/plain", utf8.clone(), true),
        ("text/plain", cp1251(LETTER), true),
        ("text/plain; charset=us-ascii", koi8(LETTER), true),
        ("text/plane; charset=koi8-r", utf8.clone(), true),
        ("text/plain; charset=windows-1251", utf8, true),
        ("text/plain; charset=utf-8", koi8(LETTER), true),
    ];
    for (content_type, bytes, guessed) in cases {
        let mail = Mail::of(mail(&format!("Content-Type: {content_type}\r\n"), &bytes));
        assert_eq!(mail.text(), LETTER, "{content_type}");
        assert_eq!(mail.marks().contains(&MessageMark::GuessedCharset), guessed, "{content_type}");
    }
}

#[test]
fn raw_letters_in_header_fields_are_read() {
    for encode in [koi8, cp1251] {
        let mut body = b"From: \"".to_vec();
        body.extend(encode("Сергей Иванов"));
        body.extend_from_slice(b"\" <s@client.example>\nSubject: ");
        body.extend(encode("Вопрос про доставку заказа"));
        body.extend_from_slice(b"\n\nhello\n");
        let mail = Mail::of(&body);
        assert_eq!(mail.sender().attributes, [(Attribute::DisplayName, "Сергей Иванов".to_owned())]);
        assert_eq!(mail.subject(), "Вопрос про доставку заказа");
        assert!(mail.marks().contains(&MessageMark::GuessedCharset));
    }
    let mut cut = "From: s@client.example\nSubject: Привет, мир".as_bytes().to_vec();
    cut.pop();
    cut.extend_from_slice(b"\n\nhello\n");
    assert_eq!(Mail::of(cut).subject(), "Привет, ми\u{fffd}");
}

const MIXED: &str = "From: a@b.example\r\nMessage-ID: <m@x>\r\nContent-Type: multipart/mixed; boundary=\"out\"\r\n\r\npreamble\r\n\
--out\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n\
--in\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nplain\r\n\
--in\r\nContent-Type: multipart/related; boundary=rel\r\n\r\n\
--rel\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>html <img src=\"cid:1\"></p>\r\n\
--rel\r\nContent-Type: image/png\r\nContent-ID: <1>\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n\
--rel--\r\n--in--\r\n\
--out\r\nContent-Type: application/pdf; name*=koi8-r''%D3%DE%A3%D4.pdf\r\nContent-Disposition: attachment;\r\n\
\x20filename*0*=utf-8''%D1%81%D1%87; filename*1*=%D1%91%D1%82.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n\
--out\r\nContent-Type: text/csv; name=\"=?koi8-r?B?09DJ08/L?=.csv\"\r\n\r\na;b\r\n\
--out\r\nContent-Type: message/rfc822\r\n\r\nFrom: inner@x.example\r\nSubject: inner\r\n\r\ninner text\r\n\
--out--\r\nepilogue\r\n";

#[test]
fn files_pictures_and_enclosed_messages_are_attachments_with_bytes() {
    let mail = Mail::of(MIXED);
    assert_eq!(mail.text(), "plain");
    assert_eq!(mail.content().html.as_deref(), Some("<p>html <img src=\"cid:1\"></p>"));
    assert_eq!(mail.marks(), &[]);
    let found: Vec<_> = mail
        .content()
        .attachments
        .iter()
        .map(|it| {
            (it.kind, it.media_type.as_deref().unwrap(), it.file_name.as_deref(), it.size_bytes.unwrap(), it.inline)
        })
        .collect();
    assert_eq!(
        found,
        [
            (MessageKind::Photo, "image/png", None, 8, true),
            (MessageKind::Document, "application/pdf", Some("счёт.pdf"), 4, false),
            (MessageKind::Document, "text/csv", Some("список.csv"), 3, false),
            (MessageKind::Document, "message/rfc822", None, 51, false),
        ]
    );
    let expected: [&[u8]; 4] =
        [b"\x89PNG\r\n\x1a\n", b"%PDF", b"a;b", b"From: inner@x.example\r\nSubject: inner\r\n\r\ninner text"];
    for (place, attachment) in mail.content().attachments.iter().enumerate() {
        let AttachmentLocation::RawDelivery { index } = attachment.location else { panic!("not in the delivery") };
        assert_eq!(usize::try_from(index).unwrap(), place);
        assert_eq!(attachment_bytes(MIXED.as_bytes(), index).unwrap(), expected[place]);
    }
    assert_eq!(attachment_bytes(MIXED.as_bytes(), 4), None);
    assert_eq!(attachment_bytes(b"", 0), None);
}

#[test]
fn broken_mails_still_say_who_wrote_what() {
    let cases: [(&str, &str, bool); 12] = [
        (
            "From: a@b.example\nContent-Type: multipart/mixed;\nboundary=b\n\n--b\nContent-Type: text/plain\n\nfound\n--b--\n",
            "parameter without fold",
            true,
        ),
        ("\r\n\r\n  From: a@b.example\nSubject: s\n\nfound\n", "leading blanks", false),
        ("From a@b.example Mon Mar  2 10:00:00 2026\nFrom: a@b.example\n\nfound\n", "mbox line", false),
        ("From: a@b.example\nSubject: s\nfound\n", "no blank line", true),
        ("From: a@b.example\nthis is odd\nSubject: s\n\nfound\n", "odd line in the header", true),
        (
            "From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nfound\n",
            "no final boundary",
            true,
        ),
        (
            "From: a@b.example\nContent-Type: multipart/mixed; boundary=never\n\n--b\nContent-Type: text/plain\n\nfound\n--b--\n",
            "boundary never matches",
            true,
        ),
        ("From: a@b.example\nContent-Type: multipart/mixed; boundary=never\n\nfound\n", "no boundary at all", true),
        ("From: a@b.example\nContent-Type: multipart/mixed\n\nfound\n", "no boundary parameter", true),
        ("From: a@b.example\nContent-Transfer-Encoding: base64\n\nfound\n", "no base64", true),
        (
            "From: a@b.example\nContent-Type: multipart/mixed; boundary=\"a--\"\n\n--a--\n\
             Content-Type: multipart/mixed; boundary=\"a----\"\n\n--a----\nContent-Type: text/plain\n\nfound\n--a----\n",
            "dashes at the ends of boundaries",
            true,
        ),
        ("Subject: s\nReply-To: a@b.example\n\nfound\n", "no From", false),
    ];
    for (body, name, damaged) in cases {
        let mail = Mail::of(body);
        assert_eq!(mail.text(), "found", "{name}");
        assert_eq!(mail.sender().address.normalised, "a@b.example", "{name}");
        assert_eq!(mail.marks().contains(&MessageMark::Damaged), damaged, "{name}");
    }
}

#[test]
fn a_mail_without_sender_is_shown_under_an_address_of_its_own() {
    let first = Mail::of("Subject: one\n\nfound\n");
    let second = Mail::of("Subject: two\n\nfound\n");
    assert_eq!(first.text(), "found");
    assert!(first.sender().address.normalised.ends_with("@unknown.invalid"));
    assert_ne!(first.sender().address, second.sender().address, "two unknown people stay two");
    assert_eq!(first.thread().outside.reply_address, None);
    assert_eq!(first.content().mail.as_ref().unwrap().from, None);
    assert!(first.marks().contains(&MessageMark::Damaged));
    for bytes in ["", "hello", "{\"a\": 1}", "key: value\n\nrest"] {
        assert!(normalise(bytes.as_bytes(), &own(), received_at()).is_err(), "{bytes}");
    }
}

#[test]
fn a_form_that_writes_in_our_name_speaks_for_the_customer_in_reply_to() {
    let form = "From: Shop <support@shop.example>\nReply-To: Ivan <ivan@client.example>\nSubject: form\n\nhello\n";
    assert_eq!(Mail::of(form).sender().address.normalised, "ivan@client.example");
    let own_mail =
        "From: support@shop.example\nTo: x@y.example\nReturn-Path: <bounce@host.example>\nSubject: copy\n\nhello\n";
    let normalised = normalise(own_mail.as_bytes(), &own(), received_at()).unwrap();
    assert_eq!((normalised.kind.as_str(), normalised.interactions.len()), ("own", 0));
}

#[test]
fn html_alone_gives_text_and_a_plain_footer_does_not_hide_it() {
    let html = "From: a@b.example\nContent-Type: text/html; charset=windows-1251\nContent-Transfer-Encoding: quoted-printable\n\n\
        <html><head><title>t</title><style>p{}</style></head><body><p>=CF=F0=E8=E2=E5=F2</p><div>b &amp; c</div></body></html>";
    let mail = Mail::of(html);
    assert_eq!(mail.text(), "Привет\nb & c");
    assert!(mail.content().html.as_deref().unwrap().contains("<p>Привет</p>"));
    let footer = "From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<b>body</b>\n\
        --b\nContent-Type: text/plain\n\nlist footer\n--b--\n";
    assert_eq!(Mail::of(footer).text(), "body\n\nlist footer");
}

#[test]
fn an_overlong_text_is_cut_and_says_so() {
    let long = mail("", "длинно ".repeat(60_000).as_bytes());
    let mail = Mail::of(long);
    assert!(mail.text().len() <= 192 * 1024 && mail.text().len() > 190 * 1024);
    assert!(mail.marks().contains(&MessageMark::Damaged));
}

#[test]
fn hostile_numbers_of_ids_and_recipients_stay_small_events() {
    let ids: String = (0..50_000).map(|n| format!(" <{n}@x>")).collect();
    let to: String = (0..50_000).map(|n| format!("a{n}@x.example, ")).collect();
    let header = format!("References:{}\r\nTo: {to}\r\nSubject: {}\r\n", &ids[..60_000], "s".repeat(60_000)).repeat(20);
    let mail = Mail::of(mail(&header, b"x"));
    let headers = mail.content().mail.clone().unwrap();
    assert_eq!((headers.references.len(), headers.references[0].as_str()), (100, "0@x"));
    assert_eq!(headers.to.len(), 200);
    assert_eq!(mail.subject().len(), 2000);
}

#[test]
fn hostile_depth_and_numbers_of_parts_are_bounded() {
    let mut nested = String::from("From: a@b.example\n");
    for depth in 0..5_000 {
        nested.push_str(&format!("Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n"));
    }
    assert!(Mail::of(&nested).marks().contains(&MessageMark::Damaged));
    let enclosed = format!("From: a@b.example\n{}", "Content-Type: message/rfc822\n\n".repeat(20_000));
    assert_eq!(Mail::of(enclosed).content().attachments.len(), 1);
    let many =
        format!("From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(10_000));
    assert!(Mail::of(many).marks().contains(&MessageMark::Damaged));
}

fn check_total(body: &[u8]) {
    let _ = peek(body);
    let first = normalise(body, &own(), received_at());
    assert_eq!(first, normalise(body, &own(), received_at()), "the same bytes give the same result");
    if let Ok(normalised) = first {
        for interaction in normalised.interactions {
            let Happening::Message { content, .. } = interaction.what else { continue };
            for attachment in content.attachments {
                let AttachmentLocation::RawDelivery { index } = attachment.location else { panic!("elsewhere") };
                let bytes = attachment_bytes(body, index).unwrap();
                assert_eq!(u64::try_from(bytes.len()).ok(), attachment.size_bytes);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_normalised_or_unrecognised(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        check_total(&body);
    }

    #[test]
    fn any_header_values_are_survived(from in "\\PC{0,60}", subject in proptest::collection::vec(any::<u8>(), 0..80), kind in "[ -~]{0,80}") {
        let mut body = format!("From: {from} <a@b.example>\nTo: {from}\nContent-Type: {kind}\nContent-Disposition: {kind}\nDate: {kind}\nReferences: {from}\nSubject: ").into_bytes();
        body.extend(subject);
        body.extend_from_slice(b"\n\ntext");
        check_total(&body);
    }

    #[test]
    fn mutated_mails_are_survived(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..30)) {
        let mut body = MIXED.as_bytes().to_vec();
        for (place, byte, how) in changes {
            let at = place.index(body.len().max(1)).min(body.len().saturating_sub(1));
            match how {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 if body.len() > 1 => { body.remove(at); }
                _ => { let line = b"\n--out\r\n"; body.splice(at..at, line.iter().copied()); }
            }
        }
        check_total(&body);
    }
}
