//! Tests of the contract, the page about it included.

use chrono::{DateTime, TimeDelta, Utc};
use events::conversation::content::{AttachmentLocation, MessageKind, MessageMark};
use events::ids::AccountId;
use events::values::ContactKind;
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

use super::frames::{Author, ClientFrame, RefusalCode, Sequence, ServerFrame};
use super::*;
use crate::channels::{Happening, Interaction, Normalised};

const SECRET: &str = "correct horse battery staple";
const PAGE: &str = include_str!("../../../docs/webchat.md");

fn now() -> DateTime<Utc> {
    "2026-08-31T15:31:00Z".parse().unwrap()
}

fn account() -> AccountId {
    AccountId::new(uuid::Uuid::from_u128(0xacc))
}

fn sign(visitor: &mut Value, secret: &str) {
    let line = |name: &str| match &visitor[name] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let lines = ["id", "expires_at", "name", "email", "phone", "language"].map(line);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("letopis-webchat-1\n{}", lines.join("\n")).as_bytes());
    visitor["signature"] = json!(hex::encode(mac.finalize().into_bytes()));
}

fn visitor() -> Value {
    let mut visitor = json!({"id": "client-1842", "expires_at": 1_788_264_000, "name": "Анна Орлова",
        "email": "anna@Example.org", "phone": "8 916 123-45-67", "language": "ru"});
    sign(&mut visitor, SECRET);
    visitor
}

fn delivery(fields: Value) -> Value {
    let mut body =
        json!({"id": "0199-1", "type": "message", "visitor": visitor(), "sent_at": "2026-08-31T18:30:05+03:00"});
    let (Value::Object(base), Value::Object(fields)) = (&mut body, fields) else { panic!("objects") };
    base.extend(fields);
    body
}

fn read(body: &Value) -> Normalised {
    normalise(body.to_string().as_bytes(), account(), now()).unwrap()
}

fn only(body: &Value) -> Interaction {
    let mut interactions = read(body).interactions;
    assert_eq!(interactions.len(), 1);
    interactions.remove(0)
}

fn refused(body: &Value) -> String {
    normalise(body.to_string().as_bytes(), account(), now()).unwrap_err().reason
}

fn verified(body: &Value) -> Result<Identity, VerifyError> {
    verify(body.to_string().as_bytes(), &[SECRET], now())
}

/// The n-th code block of the page in this language.
fn block(language: &str, n: usize) -> &'static str {
    PAGE.split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix(&format!("{language}\n")))
        .nth(n)
        .unwrap()
}

#[test]
fn the_example_of_the_page_is_proven_and_understood() {
    let body = block("json", 0);
    let identity = verify(body.as_bytes(), &[SECRET], now()).unwrap();
    assert_eq!(identity.signature, block("", 0).trim());
    let read = normalise(body.as_bytes(), account(), now()).unwrap();
    assert_eq!(read.interactions.len(), 1);
    assert_eq!(attachment(body.as_bytes(), 0).as_deref(), Some(&b"\x89PNG\r\n\x1a\n"[..]));
}

#[test]
fn the_guest_of_the_page_is_proven() {
    let visitor = json!({"id": "guest-7f3a", "expires_at": 1_788_264_000, "signature": block("", 1).trim()});
    assert!(verified(&json!({"id": "1", "type": "message", "visitor": visitor})).is_ok());
}

#[test]
fn the_page_names_every_frame_and_every_refusal() {
    for name in ["resumed", "ack", "refused", "message", "typing", "closed"] {
        assert!(PAGE.contains(&format!("{{\"type\":\"{name}\"")), "{name}");
    }
    for code in ["malformed", "not_signed", "expired", "too_large", "too_many"] {
        assert!(PAGE.contains(&format!("`{code}`")) || PAGE.contains(&format!("\"{code}\"")), "{code}");
    }
}

#[test]
fn either_live_secret_proves_a_visitor_and_no_other_does() {
    let body = delivery(json!({"text": "?"})).to_string();
    let check = |secrets: &[&str]| verify(body.as_bytes(), secrets, now()).map(|identity| identity.id);
    assert_eq!(check(&["newer", SECRET]), Ok("client-1842".to_owned()));
    assert_eq!(check(&[SECRET, "older"]), Ok("client-1842".to_owned()));
    assert_eq!(check(&["newer"]), Err(VerifyError::WrongSignature));
    assert_eq!(check(&[]), Err(VerifyError::WrongSignature));
}

#[test]
fn an_empty_secret_proves_nothing() {
    let mut visitor = visitor();
    sign(&mut visitor, "");
    let body = delivery(json!({"visitor": visitor})).to_string();
    assert_eq!(verify(body.as_bytes(), &[""], now()), Err(VerifyError::WrongSignature));
}

#[test]
fn whoever_changes_a_signed_part_is_found_out() {
    for (part, value) in [
        ("id", json!("client-1843")),
        ("expires_at", json!(1_788_264_001)),
        ("name", json!("Анна")),
        ("name", Value::Null),
        ("email", json!("eve@example.org")),
        ("phone", json!("+79160000000")),
        ("language", json!("en")),
        ("signature", json!("00")),
        ("signature", json!("не шестнадцатеричное")),
    ] {
        let mut visitor = visitor();
        visitor[part] = value;
        assert_eq!(verified(&delivery(json!({"visitor": visitor}))), Err(VerifyError::WrongSignature), "{part}");
    }
}

#[test]
fn parts_cannot_be_moved_from_one_line_to_another() {
    let mut visitor = json!({"id": "a", "expires_at": 1_788_264_000, "name": "x\ny"});
    sign(&mut visitor, SECRET);
    assert_eq!(verified(&delivery(json!({"visitor": visitor}))), Err(VerifyError::NotSigned));
}

#[test]
fn what_is_not_signed_at_all_is_said_so() {
    for body in
        [json!({}), json!({"visitor": {}}), json!({"visitor": {"id": "a/b", "expires_at": 1, "signature": "00"}})]
    {
        assert_eq!(verified(&body), Err(VerifyError::NotSigned));
    }
    assert_eq!(verify(b"\xff", &[SECRET], now()), Err(VerifyError::NotSigned));
}

#[test]
fn a_signature_counts_until_it_expires_and_not_for_ever() {
    let body = delivery(json!({})).to_string();
    let at = |now| verify(body.as_bytes(), &[SECRET], now).err();
    let expires_at = DateTime::from_timestamp(1_788_264_000, 0).unwrap();
    assert_eq!(at(expires_at - TimeDelta::seconds(1)), None);
    assert_eq!(at(expires_at), Some(VerifyError::Expired));
    assert_eq!(at(expires_at - identity::MAX_LIFETIME), None);
    assert_eq!(at(expires_at - identity::MAX_LIFETIME - TimeDelta::seconds(1)), Some(VerifyError::TooLong));
    let mut visitor = visitor();
    visitor["expires_at"] = json!(i64::MAX);
    sign(&mut visitor, SECRET);
    assert_eq!(verified(&delivery(json!({"visitor": visitor}))), Err(VerifyError::TooLong));
}

#[test]
fn of_two_visitors_the_one_that_is_proven_is_the_one_that_writes() {
    let signed = visitor().to_string();
    let forged = signed.replace("client-1842", "client-1");
    for (first, second) in [(&signed, &forged), (&forged, &signed)] {
        let body = format!(r#"{{"id":"1","type":"message","text":"?","visitor":{first},"visitor":{second}}}"#);
        let read = normalise(body.as_bytes(), account(), now()).unwrap().interactions.remove(0);
        let writes = read.party.unwrap().address.source_form;
        match verify(body.as_bytes(), &[SECRET], now()) {
            Ok(identity) => assert_eq!(writes, identity.id),
            Err(error) => assert_eq!((error, writes.as_str()), (VerifyError::WrongSignature, "client-1")),
        }
        assert_eq!(peek(body.as_bytes()).conversation_key, Some(writes));
    }
}

#[test]
fn the_peek_names_a_delivery_below_its_visitor() {
    let peeked = peek(delivery(json!({"text": "?"})).to_string().as_bytes());
    assert_eq!(peeked.delivery_id.as_deref(), Some("client-1842/0199-1"));
    assert_eq!(peeked.conversation_key.as_deref(), Some("client-1842"));
    assert_eq!(peeked.occurred_at, "2026-08-31T15:30:05Z".parse().ok());
    for body in ["", "[]", "{}", "{\"id\":\"1\"", "{\"visitor\":3}"] {
        assert_eq!(peek(body.as_bytes()), Peek::default(), "{body}");
    }
}

#[test]
fn a_message_has_its_thread_visitor_and_time() {
    let happened = only(&delivery(json!({"text": "Где мой заказ?", "reply_to": "0198-9"})));
    insta::assert_debug_snapshot!(happened);
}

#[test]
fn further_threads_stand_below_the_visitor() {
    let key = |thread: Value| only(&delivery(json!({"text": "?", "thread": thread}))).thread.unwrap().key;
    assert_eq!(key(Value::Null), "client-1842");
    assert_eq!(key(json!("order-17")), "client-1842/order-17");
    for wrong in [json!("../client-1"), json!(""), json!(3)] {
        assert_eq!(refused(&delivery(json!({"text": "?", "thread": wrong}))), "thread is not an id");
    }
}

#[test]
fn a_clock_that_is_fast_gives_way_to_the_time_of_receipt() {
    let at = |sent_at: Value| only(&delivery(json!({"text": "?", "sent_at": sent_at}))).occurred_at;
    assert_eq!(at(json!("2031-01-01T00:00:00Z")), now());
    assert_eq!(at(json!("вчера")), now());
    assert_eq!(at(Value::Null), now());
}

#[test]
fn files_stand_in_the_body_and_a_broken_one_marks_the_message() {
    let files = json!([
        {"name": "a.png", "media_type": "image/png", "data": "AAEC", "width": 1, "height": 3},
        {"name": "b", "media_type": "image/png", "data": "***"},
        {"name": "c.ogg", "media_type": "audio/ogg", "data": "AA==", "voice": true, "duration_s": 2},
        {"name": "d.txt", "data": ""}
    ]);
    let body = delivery(json!({"attachments": files}));
    let Happening::Message { kind, marks, content, .. } = only(&body).what else { panic!("a message") };
    assert_eq!((kind, marks), (MessageKind::Photo, vec![MessageMark::Damaged]));
    let found: Vec<_> = content.attachments.iter().map(|file| (file.kind, &file.location)).collect();
    let at = |index| AttachmentLocation::RawDelivery { index };
    assert_eq!(found, [(MessageKind::Photo, &at(0)), (MessageKind::Voice, &at(2))]);
    let body = body.to_string();
    assert_eq!(attachment(body.as_bytes(), 0).as_deref(), Some(&[0, 1, 2][..]));
    assert_eq!(attachment(body.as_bytes(), 2).as_deref(), Some(&[0][..]));
    assert_eq!((attachment(body.as_bytes(), 1), attachment(body.as_bytes(), 9)), (None, None));
}

#[test]
fn edits_retractions_and_reactions_are_about_a_message() {
    let edit = only(&delivery(json!({"type": "edit", "message": "0199-0", "text": "№ 18"}))).what;
    let Happening::Edit { outside_id, content, .. } = edit else { panic!("an edit") };
    assert_eq!((outside_id.as_str(), content.text.as_deref()), ("0199-0", Some("№ 18")));
    let retract = only(&delivery(json!({"type": "retract", "message": "0199-0"}))).what;
    assert_eq!(retract, Happening::Retraction { outside_id: "0199-0".into() });
    let reaction = only(&delivery(json!({"type": "reaction", "message": "m-1", "reactions": ["👍", "", 3]}))).what;
    assert_eq!(reaction, Happening::Reactions { outside_id: "m-1".into(), reactions: vec!["👍".into()] });
    for kind in ["edit", "retract", "reaction"] {
        assert_eq!(refused(&delivery(json!({"type": kind, "text": "?"}))), format!("{kind} without message"));
    }
}

#[test]
fn a_pressed_button_is_an_activity_with_the_id_of_its_delivery() {
    let pressed = json!({"type": "activity", "activity": "button", "data": "order:17", "message": "m-1"});
    let Happening::Activity { activity, activity_id, about, detail } = only(&delivery(pressed)).what else { panic!() };
    assert_eq!((activity.as_str(), activity_id.as_str(), about.as_deref()), ("button", "0199-1", Some("m-1")));
    assert_eq!(detail.data.as_deref(), Some("order:17"));
    let named = json!({"type": "activity", "activity": "Анна"});
    assert_eq!(refused(&delivery(named)), "activity without activity");
}

#[test]
fn contact_points_are_shared_only_when_the_site_says_so() {
    let shared = read(&delivery(json!({"type": "identify"}))).interactions;
    let points = shared.iter().map(|one| match &one.what {
        Happening::SharedContact { other } => (other.kind, other.address.normalised.as_str()),
        other => panic!("{other:?}"),
    });
    let points: Vec<_> = points.collect();
    assert_eq!(points, [(ContactKind::Phone, "+79161234567"), (ContactKind::Email, "anna@example.org")]);
    let mut nobody = json!({"id": "guest-7f3a", "expires_at": 1_788_264_000, "phone": "позже"});
    sign(&mut nobody, SECRET);
    assert_eq!(read(&delivery(json!({"type": "identify", "visitor": nobody}))).interactions, []);
}

#[test]
fn what_is_no_delivery_is_said_so_without_quoting_it() {
    assert_eq!(refused(&json!([])), "not a JSON object");
    assert_eq!(refused(&json!({"id": "1"})), "no signed visitor");
    assert_eq!(refused(&delivery(json!({"id": "Анна Орлова"}))), "no id");
    assert_eq!(refused(&delivery(json!({"type": null}))), "no type");
    assert_eq!(refused(&delivery(json!({"type": "dance"}))), "unknown type: dance");
    assert_eq!(refused(&delivery(json!({"type": "Привет"}))), "unknown type: (a name that is not printed)");
    assert_eq!(refused(&delivery(json!({}))), "message without text and attachments");
}

#[test]
fn frames_to_the_visitor_are_as_the_page_says() {
    let message = ServerFrame::Message {
        sequence: Sequence(9_007_199_254_740_993),
        id: "m-1".into(),
        from: Author::Operator { name: Some("Олег".into()) },
        text: Some("Добрый день".into()),
        reply_to: None,
        attachments: Vec::new(),
        sent_at: now(),
    };
    let check = |frame: ServerFrame, expected: Value| assert_eq!(serde_json::to_value(frame).unwrap(), expected);
    check(
        message,
        json!({"type": "message", "sequence": "9007199254740993", "id": "m-1", "from": {"kind": "operator",
            "name": "Олег"}, "text": "Добрый день", "sent_at": "2026-08-31T15:31:00Z"}),
    );
    check(ServerFrame::Ack { id: "0199-1".into() }, json!({"type": "ack", "id": "0199-1"}));
    check(
        ServerFrame::Refused { id: None, code: RefusalCode::NotSigned },
        json!({"type": "refused", "code": "not_signed"}),
    );
    check(
        ServerFrame::Resumed { after: Some(Sequence(41)), until: None },
        json!({"type": "resumed", "after": "41", "until": null}),
    );
    check(ServerFrame::Typing { from: Author::Bot }, json!({"type": "typing", "from": {"kind": "bot"}}));
    check(ServerFrame::Closed { sequence: Sequence(45) }, json!({"type": "closed", "sequence": "45"}));
}

#[test]
fn frames_of_the_widget_are_told_from_deliveries() {
    let resume = |body: Value| ClientFrame::parse(body.to_string().as_bytes());
    let after = Some(Sequence(41));
    let expected = Some(ClientFrame::Resume { after, thread: None });
    assert_eq!(resume(json!({"type": "resume", "after": "41", "visitor": visitor()})), expected);
    assert_eq!(resume(json!({"type": "resume"})), Some(ClientFrame::Resume { after: None, thread: None }));
    assert_eq!(resume(json!({"type": "typing"})), Some(ClientFrame::Typing));
    let seen = Some(ClientFrame::Seen { up_to: Sequence(44) });
    assert_eq!(resume(json!({"type": "seen", "up_to": "44"})), seen);
    assert_eq!(resume(json!({"type": "seen", "up_to": 44})), None, "a number above 2^53 would have been rounded");
    assert_eq!(resume(delivery(json!({"text": "?"}))), None);
    assert_eq!(resume(json!({"type": "resume", "after": -1})), None);
}

#[test]
fn an_identity_is_not_printed() {
    assert_eq!(format!("{:?}", verified(&delivery(json!({}))).unwrap()), "Identity(..)");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = peek(&body);
        let _ = normalise(&body, account(), now());
        prop_assert!(verify(&body, &[SECRET], now()).is_err());
    }

    #[test]
    fn any_damage_to_a_delivery_is_read_without_a_panic_and_never_writes_as_another(
        at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut body = delivery(json!({"text": "Привет 😀"})).to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = peek(&body);
        let read = normalise(&body, account(), now());
        if let (Ok(identity), Ok(read)) = (verify(&body, &[SECRET], now()), read) {
            prop_assert_eq!(&identity.id, "client-1842");
            for one in read.interactions {
                prop_assert_eq!(one.party.unwrap().address.source_form, "client-1842");
            }
        }
    }

    #[test]
    fn what_is_signed_in_any_values_is_proven(name in "\\PC{0,40}", language in "[a-z]{0,3}", id in "[A-Za-z0-9._~@:+=-]{1,40}") {
        let mut visitor = json!({"id": id, "expires_at": 1_788_264_000, "name": name, "language": language});
        sign(&mut visitor, SECRET);
        let identity = verified(&delivery(json!({"visitor": visitor}))).unwrap();
        prop_assert_eq!(identity.id, id);
    }
}
