//! Guesses: short and long texts, the wrong label, encoded words.

use super::*;
use proptest::prelude::*;

const TEXTS: [&str; 10] = [
    "Привет",
    "Добрый день! Подскажите, пожалуйста, есть ли товар в наличии?",
    "ЗДРАВСТВУЙТЕ, ГДЕ МОЙ ЗАКАЗ?",
    "Заказ № 1234 – не пришёл",
    "Спасибо",
    "Re: счёт на оплату",
    "Ирина Ковалёва",
    "ООО «Ромашка», г. Екатеринбург",
    "Не работает личный кабинет, выдаёт ошибку 502",
    "отмена",
];

#[test]
fn unlabelled_russian_is_told_apart_by_its_letters() {
    for text in TEXTS {
        for encoding in [WINDOWS_1251, KOI8_R, UTF_8] {
            let (bytes, _, unmappable) = encoding.encode(text);
            if unmappable {
                continue;
            }
            let decoded = guess(&bytes);
            assert_eq!(decoded.text, text, "{}", encoding.name());
            assert!(decoded.guessed);
        }
    }
}

#[test]
fn a_right_label_is_believed() {
    for text in TEXTS {
        for encoding in [WINDOWS_1251, KOI8_R] {
            let (bytes, _, unmappable) = encoding.encode(text);
            if !unmappable {
                let decoded = decode(&bytes, Some(encoding.name()));
                assert_eq!((decoded.text.as_ref(), decoded.guessed), (text, false), "{}", encoding.name());
            }
        }
    }
    let german = "Grüße aus Köln, schöne Straße";
    let (bytes, _, _) = WINDOWS_1252.encode(german);
    assert_eq!(decode(&bytes, Some("iso-8859-1")), Decoded { text: german.into(), guessed: false });
    assert_eq!(guess(&bytes).text, german, "and western letters are guessed as such");
}

#[test]
fn a_wrong_label_is_seen_through() {
    let text = TEXTS[1];
    let cases: [(&'static Encoding, &str); 5] = [
        (UTF_8, "koi8-r"),
        (UTF_8, "iso-8859-1"),
        (KOI8_R, "utf-8"),
        (KOI8_R, "windows-1251"),
        (WINDOWS_1251, "iso-8859-1"),
    ];
    for (encoding, label) in cases {
        let (bytes, _, _) = encoding.encode(text);
        let decoded = decode(&bytes, Some(label));
        assert_eq!((decoded.text.as_ref(), decoded.guessed), (text, true), "{} as {label}", encoding.name());
    }
}

#[test]
fn rare_and_wide_charsets_follow_their_label_or_mark() {
    let cases: [(&[u8], Option<&str>, &str); 5] = [
        (b"\xff\xfe\x1f\x04", None, "П"),
        (b"\xef\xbb\xbf\xd0\x9f", Some("koi8-r"), "П"),
        (b"+BB8-", Some("utf-7"), "П"),
        (b"\x1b$B$3\x1b(B", Some("iso-2022-jp"), "こ"),
        (b"plain", Some("no-such-charset"), "plain"),
    ];
    for (bytes, label, text) in cases {
        assert_eq!(decode(bytes, label).text, text, "{label:?}");
    }
}

#[test]
fn words_cut_within_a_letter_or_under_a_lying_label_are_joined() {
    let plain = |value: &[u8]| String::from_utf8(plain_header(value).0).unwrap();
    let word = |text: &str| format!("=?utf-8?B?{}?=", base64(text.as_bytes()));
    assert_eq!(plain(b"=?utf-8?B?0J/R?=\r\n =?UTF-8?Q?=80=D0=B8?= tail"), format!("{} tail", word("При")));
    assert_eq!(plain(b"=?koi8-r?B?8NLJ18XU?= <a@b.c>"), format!("{} <a@b.c>", word("Привет")));
    assert_eq!(plain(b"=?utf-8?B?8NLJ18XU?="), word("Привет"));
    assert_eq!(plain(b"=?broken and =?x?Z?y?= end"), "=?broken and =?x?Z?y?= end");
    assert_eq!(plain(b"=?utf-8?Q?a=0D=0ABcc:_x?="), word("a  Bcc: x"), "no line break comes out of a word");
}

proptest! {
    #[test]
    fn any_bytes_decode_under_any_label(bytes in proptest::collection::vec(any::<u8>(), 0..200), label in "[a-z0-9-]{0,12}") {
        let _ = decode(&bytes, Some(&label));
        let (plain, _) = plain_header(&bytes);
        prop_assert!(String::from_utf8(plain).is_ok());
    }
}
