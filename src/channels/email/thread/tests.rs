//! Tokens and bounded keys.

use super::*;
use crate::channels::email::headers;
use crate::channels::email::tests::{conversation, own};

#[test]
fn a_token_leads_back_to_its_conversation_whatever_its_case() {
    let address = own().address_of(conversation()).unwrap();
    assert_eq!(address, "support+0123456789ab8def8123456789abcdef@shop.example");
    assert_eq!(own().conversation_in(&address), Some(conversation()));
    assert_eq!(own().conversation_in(&address.to_uppercase()), Some(conversation()));
    assert_eq!(token_of_any(&address), Some(conversation()));
    assert!(own().is_own(&address) && own().is_own("Support@Shop.Example") && !own().is_own("support+x@shop.example"));
}

#[test]
fn a_mailbox_that_has_a_plus_itself_keeps_it() {
    let mailbox = OwnMailbox::new(EmailAddress::parse("help+ru@shop.example").unwrap());
    let address = mailbox.address_of(conversation()).unwrap();
    assert_eq!(mailbox.conversation_in(&address), Some(conversation()));
    assert_eq!(mailbox.conversation_in(&own().address_of(conversation()).unwrap()), None);
}

#[test]
fn a_local_part_without_room_gets_no_token() {
    let fits = OwnMailbox::new(EmailAddress::parse(&format!("{}@shop.example", "x".repeat(31))).unwrap());
    let full = OwnMailbox::new(EmailAddress::parse(&format!("{}@shop.example", "x".repeat(32))).unwrap());
    assert!(fits.address_of(conversation()).is_some());
    assert_eq!(full.address_of(conversation()), None);
}

#[test]
fn an_endless_id_becomes_a_short_key() {
    let data = format!("Message-ID: <{}@x>\n\n", "i".repeat(900));
    let key = root_id(&headers::of_mail(data.as_bytes())).unwrap();
    assert!(key.starts_with("sha256:") && key.len() == 71);
}
