//! Tests of intake rows.
//!
//! **Invariant:** every test makes its own events and store.

use events::ids::AccountId;
use events::intake::{IntakeEvent, IntakeNormalised, IntakeParked, IntakeReceived, IntakeRedriven, IntakeUnrecognised};
use events::seal::Personal;
use events::values::Channel;
use events::viewer::Role;

use super::{IntakeFilter, IntakeOutcome, IntakeView};
use crate::testing::{Story, conversation_id, id, viewer};
use crate::views::{Order, PageRequest};

async fn read(story: &Story, outcome: Option<IntakeOutcome>) -> Vec<IntakeView> {
    let filter = IntakeFilter { outcome, ..IntakeFilter::default() };
    let page = PageRequest::first(10, Order::Ascending);
    story.views().await.intake(&viewer(Role::Supervisor), &filter, &page).await.unwrap().items
}

#[tokio::test]
async fn a_delivery_shows_what_became_of_it_until_it_is_understood() {
    let mut story = Story::default();
    let received = IntakeReceived {
        account: AccountId::new(id(0xA)),
        channel: Channel::Telegram,
        size_bytes: 42,
        body: Personal::Erased,
        blob: None,
    };
    story.add(id(700), IntakeEvent::from(received.clone()));
    story.add(id(700), IntakeEvent::from(received));
    let raw = story.events[0].recorded.id;
    let unrecognised = IntakeUnrecognised { received: raw, reason: "unknown kind".into() };
    story.add(id(700), IntakeEvent::from(unrecognised));
    let [stuck] = &read(&story, Some(IntakeOutcome::Unrecognised)).await[..] else { panic!("not one") };
    assert_eq!((stuck.received, stuck.size_bytes, stuck.reason.as_deref()), (raw, 42, Some("unknown kind")));
    assert_eq!(read(&story, Some(IntakeOutcome::Received)).await.len(), 1);

    story.add(id(700), IntakeEvent::from(IntakeRedriven { received: raw }));
    story.add(id(700), IntakeEvent::from(IntakeParked { received: raw, reason: "no answer".into(), attempts: 5 }));
    assert_eq!(read(&story, Some(IntakeOutcome::Parked)).await[0].attempts, 5);
    let normalised = IntakeNormalised {
        received: raw,
        kind: "message".into(),
        persons: Vec::new(),
        conversation: Some(conversation_id(100)),
    };
    story.add(id(700), IntakeEvent::from(normalised));
    let done = read(&story, Some(IntakeOutcome::Normalised)).await;
    assert_eq!((done[0].conversation, done[0].reason.as_deref()), (Some(conversation_id(100)), None));
    assert_eq!(read(&story, None).await.len(), 2);
}
