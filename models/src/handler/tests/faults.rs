//! A log that fails: nothing is believed that it does not hold.
//!
//! **Invariant:** after any fault the same command with the same id is carried out once.

use events::envelope::{NewEvent, Revision};
use events::log::ExpectedRevision;
use futures::FutureExt;

use super::*;

fn unavailable(answer: &Answer) -> bool {
    matches!(answer, Err(HandleError::Unavailable { .. }))
}

/// Appends an event that no decider wrote.
async fn smuggle(world: &World, event_type: &str, version: u16, payload: &'static str) {
    let event = NewEvent {
        id: CommandId::new(Uuid::from_u128(666)).event(0),
        event_type: event_type.into(),
        version,
        digest: [0; 16],
        metadata: origin(666).metadata(),
        payload: payload.as_bytes().into(),
    };
    world.log.append(&stream(), ExpectedRevision::Any, vec![event]).await.unwrap();
}

#[tokio::test]
async fn an_append_that_was_not_made_leaves_nothing_behind() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    world.log.fail([Fault::AppendUnavailable]);
    assert!(unavailable(&send(&handler, 2, close()).await));
    assert_eq!(told(&handler).await, told(&world.handler()).await);
    assert!(done(&handler, 3, queue(5, agent())).await.written);
    assert!(done(&handler, 2, close()).await.written);
    assert_eq!(world.types().await[3..], ["speaker_changed", "message_queued", "speaker_changed", "closed"]);
}

#[tokio::test]
async fn the_log_says_when_to_come_back() {
    let world = World::new();
    world.log.fail([Fault::AppendUnavailable]);
    let Err(HandleError::Unavailable { retry_after, .. }) = send(&world.handler(), 1, receive(1)).await else {
        panic!("the append failed");
    };
    assert_eq!(retry_after.as_secs(), 3);
}

#[tokio::test]
async fn an_append_that_was_made_all_the_same_is_not_made_again() {
    let world = World::new();
    for handler in [world.handler(), world.handler()] {
        let before = world.events().await.len();
        let id = 1 + before as u128;
        world.log.fail([Fault::WrittenButUnavailable]);
        assert!(unavailable(&send(&handler, id, receive(id)).await));
        let again = done(&handler, id, receive(id)).await;
        assert!(!again.written, "an earlier call wrote it");
        let events = world.events().await;
        assert_eq!(again.position, events.last().unwrap().position);
        assert_eq!(events.iter().filter(|event| &*event.event_type == "conversation.message_received").count(), {
            if before == 0 { 1 } else { 2 }
        });
    }
}

#[tokio::test]
async fn an_append_that_was_made_all_the_same_is_seen_by_the_next_command() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    world.log.fail([Fault::WrittenButUnavailable]);
    assert!(unavailable(&send(&handler, 2, close()).await));
    let late = send(&handler, 3, queue(5, agent())).await;
    assert!(matches!(late, Err(HandleError::Rejected(ConversationRejection::Closed))), "{late:?}");
    assert_eq!(told(&handler).await, told(&world.handler()).await);
}

#[tokio::test]
async fn a_caller_that_goes_away_in_the_middle_harms_nobody() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    world.log.fail([Fault::WrittenButSilent]);
    assert!(send(&handler, 2, close()).now_or_never().is_none(), "the answer never comes");
    assert!(!done(&handler, 2, close()).await.written);
    assert!(done(&handler, 3, receive(2)).await.written);
    assert_eq!(world.types().await[3..], ["closed", "reopened", "message_received"]);
}

#[tokio::test]
async fn a_stream_that_cannot_be_read_now_is_read_later() {
    let world = World::new();
    done(&world.handler(), 1, receive(1)).await;
    let handler = world.handler();
    world.log.fail([Fault::ReadUnavailable]);
    assert!(unavailable(&send(&handler, 2, receive(2)).await));
    assert!(done(&handler, 2, receive(2)).await.written);
    assert_eq!(world.events().await.len(), 4);
}

#[tokio::test]
async fn a_damaged_log_is_corrupt_and_not_merely_unavailable() {
    let world = World::new();
    world.log.fail([Fault::ReadCorrupt]);
    let answer = send(&world.handler(), 1, receive(1)).await;
    assert!(matches!(answer, Err(HandleError::Corrupt { .. })), "{answer:?}");
}

#[tokio::test]
async fn an_event_that_is_not_understood_stops_the_stream_for_a_new_and_for_a_kept_state() {
    for (event_type, version, payload) in [
        ("conversation.of_the_future", 1, "{}"),
        ("conversation.tagged", 99, "{}"),
        ("conversation.closed", 1, "not json"),
        ("conversation.closed", 1, "{}"),
        ("contact.vacated", 1, r#"{"occupancy":1,"reason":"erased"}"#),
    ] {
        let world = World::new();
        let kept = world.handler();
        done(&kept, 1, receive(1)).await;
        smuggle(&world, event_type, version, payload).await;
        for handler in [kept, world.handler()] {
            for _ in 0..2 {
                let answer = send(&handler, 2, receive(2)).await;
                assert!(matches!(answer, Err(HandleError::Corrupt { .. })), "{event_type}: {answer:?}");
            }
        }
        assert_eq!(world.events().await.len(), 4, "nothing is written over it");
    }
}

#[tokio::test]
async fn an_event_of_an_older_version_is_lifted() {
    let world = World::new();
    done(&world.handler(), 1, receive(1)).await;
    smuggle(&world, "conversation.tagged", 1, r#"{"tag":"vip"}"#).await;
    let quiet = done(&world.handler(), 2, tag(&["vip"], &[])).await;
    assert_eq!((quiet.written, quiet.revision), (false, Some(Revision(3))));
}

#[tokio::test]
async fn a_refusal_writes_nothing() {
    let world = World::new();
    let answer = send(&world.handler(), 1, queue(5, agent())).await;
    assert!(matches!(answer, Err(HandleError::Rejected(ConversationRejection::NotOpen))), "{answer:?}");
    assert!(world.events().await.is_empty());
}
