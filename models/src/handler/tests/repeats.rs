//! The same command again: at once, at the same time, after a restart, after a thousand others.
//!
//! **Invariant:** it is written once and answered with the position at which it was written; another wish under its id
//! is refused.

use events::envelope::{Position, Revision, Wish};
use futures::future::join_all;

use super::*;
use crate::decider::Decider;
use crate::handler::{Loaded, REMEMBERED};

/// Enough other commands that those before are remembered no more.
async fn a_long_time(handler: &Handler) {
    for n in 0..REMEMBERED as u128 + 10 {
        let (add, remove) = if n % 2 == 0 { ("odd", "even") } else { ("even", "odd") };
        assert!(done(handler, 1_000_000 + n, tag(&[add], &[remove])).await.written);
    }
}

#[tokio::test]
async fn the_same_command_twice_writes_once_and_gets_the_same_position() {
    let world = World::new();
    let handler = world.handler();
    let first = done(&handler, 1, receive(1)).await;
    assert!(first.written);
    assert_eq!(world.types().await, ["opened", "participant_joined", "message_received"]);
    assert_eq!(first.position, world.events().await[2].position);
    done(&handler, 2, receive(2)).await;
    let again = done(&handler, 1, receive(1)).await;
    assert_eq!((again.position, again.written), (first.position, false));
    assert_eq!(world.events().await.len(), 4);
}

#[tokio::test]
async fn the_same_command_after_a_restart_writes_nothing_and_gets_the_same_position() {
    let world = World::new();
    let first = done(&world.handler(), 1, receive(1)).await;
    let again = done(&world.handler(), 1, receive(1)).await;
    assert_eq!((again.position, again.written), (first.position, false));
    assert_eq!(world.events().await.len(), 3);
}

async fn wish(handler: &Handler, id: u128, wish: u8, command: C) -> Answer {
    let origin = Origin { wish: Some(Wish::new([wish; 16])), ..origin(id) };
    handler.handle::<ConversationDecider>(conversation().uuid(), &origin, command).await
}

/// The id of the first message sent under the wish 7, again: the same wish has its answer, others are refused.
async fn assert_only_the_same_wish_is_answered(world: &World, handler: &Handler, first: &Handled) {
    let length = world.events().await.len();
    // As another message, as the same message, and as something that there is nothing to do for.
    for other in [queue(6, agent()), queue(5, agent()), C::Reopen] {
        let refused = wish(handler, 2, 8, other).await;
        assert!(matches!(refused, Err(HandleError::IdTaken)), "{refused:?}");
    }
    for again in [wish(handler, 2, 7, queue(5, agent())).await, send(handler, 2, queue(5, agent())).await] {
        let again = again.unwrap();
        assert_eq!((again.position, again.written), (first.position, false));
    }
    assert_eq!(world.events().await.len(), length);
}

#[tokio::test]
async fn another_wish_under_the_id_of_a_remembered_command_is_refused() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    let first = wish(&handler, 2, 7, queue(5, agent())).await.unwrap();
    assert!(first.written);
    for handler in [handler, world.handler()] {
        assert_only_the_same_wish_is_answered(&world, &handler, &first).await;
    }
}

#[tokio::test]
async fn another_wish_under_the_id_of_an_old_command_is_refused() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    let first = wish(&handler, 2, 7, queue(5, agent())).await.unwrap();
    a_long_time(&handler).await;
    for handler in [handler, world.handler()] {
        assert_only_the_same_wish_is_answered(&world, &handler, &first).await;
    }
}

#[tokio::test]
async fn another_wish_that_leads_to_the_same_events_is_refused_too() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    let first = wish(&handler, 2, 7, tag(&["vip"], &[])).await.unwrap();
    done(&handler, 3, tag(&[], &["vip"])).await;
    a_long_time(&handler).await;
    for handler in [handler, world.handler()] {
        let refused = wish(&handler, 2, 8, tag(&["vip"], &[])).await;
        assert!(matches!(refused, Err(HandleError::IdTaken)), "{refused:?}");
        assert_eq!(wish(&handler, 2, 7, tag(&["vip"], &[])).await.unwrap().position, first.position);
    }
}

#[tokio::test]
async fn the_id_of_a_wish_that_wrote_nothing_is_free_for_another() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    assert!(!wish(&handler, 2, 7, C::Reopen).await.unwrap().written);
    assert!(wish(&handler, 2, 8, close()).await.unwrap().written);
}

#[tokio::test]
async fn an_old_command_that_the_rules_would_refuse_today_gets_its_first_answer() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    let first = done(&handler, 2, queue(5, agent())).await;
    done(&handler, 3, close()).await;
    a_long_time(&handler).await;
    let length = world.events().await.len();
    for handler in [handler, world.handler()] {
        let anew = send(&handler, 4, queue(5, agent())).await;
        assert!(matches!(anew, Err(HandleError::Rejected(ConversationRejection::MessageExists))), "{anew:?}");
        let again = done(&handler, 2, queue(5, agent())).await;
        assert_eq!((again.position, again.written), (first.position, false));
    }
    assert_eq!(world.events().await.len(), length);
}

#[tokio::test]
async fn an_old_command_that_would_be_decided_otherwise_today_gets_its_first_answer() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    done(&handler, 2, queue(5, agent())).await;
    let first = done(&handler, 3, close()).await;
    assert_eq!(world.types().await[5..], ["speaker_changed", "closed"]);
    done(&handler, 4, C::Reopen).await;
    a_long_time(&handler).await;
    let length = world.events().await.len();
    for handler in [handler, world.handler()] {
        let again = done(&handler, 3, close()).await;
        assert_eq!((again.position, again.written), (first.position, false));
    }
    assert_eq!(world.events().await.len(), length);
}

#[tokio::test]
async fn an_old_command_with_nothing_left_to_do_gets_its_first_answer() {
    let world = World::new();
    let handler = world.handler();
    let first = done(&handler, 1, receive(1)).await;
    a_long_time(&handler).await;
    assert_eq!(done(&handler, 1, receive(1)).await.position, first.position);
    assert_eq!(done(&world.handler(), 1, receive(1)).await.position, first.position);
}

#[test]
fn no_more_commands_are_remembered_than_said() {
    let mut loaded = Loaded::<ConversationDecider>::default();
    let event = ConversationDecider::decide(&loaded.state, receive(1)).unwrap().remove(0);
    for n in 0..2 * REMEMBERED as u64 {
        let command = CommandId::new(Uuid::from_u128(u128::from(n)));
        loaded.take(&event, Revision(n), Position(n + 1), Some((command, None)));
    }
    assert_eq!((loaded.results.len(), loaded.remembered.len()), (REMEMBERED, REMEMBERED));
}

#[tokio::test]
async fn a_wish_that_is_fulfilled_already_is_answered_with_the_end_of_the_stream() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    let last = done(&handler, 2, tag(&["vip"], &[])).await;
    let quiet = done(&handler, 3, receive(1)).await;
    assert_eq!(quiet, Handled { written: false, ..last });
}

#[tokio::test]
async fn an_id_that_another_stream_used_is_refused() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    let other = handler.handle::<ConversationDecider>(Uuid::from_u128(2), &origin(1), receive(1)).await;
    assert!(matches!(other, Err(HandleError::IdTaken)), "{other:?}");
    assert_eq!(world.events().await.len(), 3);
}

#[tokio::test]
async fn an_old_id_of_another_stream_is_not_taken_for_one_of_this_stream() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    handler.handle::<ConversationDecider>(Uuid::from_u128(2), &origin(2), receive(1)).await.unwrap();
    a_long_time(&handler).await;
    let refused = send(&handler, 2, queue(1, agent())).await;
    assert!(matches!(refused, Err(HandleError::Rejected(ConversationRejection::MessageExists))), "{refused:?}");
    let taken = send(&handler, 2, receive(2)).await;
    assert!(matches!(taken, Err(HandleError::IdTaken)), "{taken:?}");
}

#[tokio::test]
async fn a_remembered_command_does_not_reach_the_log_again_even_when_it_could_act_again() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    let first = done(&handler, 2, close()).await;
    done(&handler, 3, C::Reopen).await;
    let appends = world.log.appends();
    assert_eq!(done(&handler, 2, close()).await.position, first.position);
    assert_eq!(world.log.appends(), appends);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_copies_at_once_are_written_once() {
    let world = World::new();
    let handlers = [world.handler(), world.handler()];
    let copies = (0..50).map(|n| {
        let handler = handlers[n % 2].clone();
        tokio::spawn(async move { done(&handler, 1, receive(1)).await })
    });
    let answers: Vec<Handled> = join_all(copies).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(world.types().await, ["opened", "participant_joined", "message_received"]);
    assert_eq!(answers.iter().filter(|answer| answer.written).count(), 1);
    assert!(answers.iter().all(|answer| answer.position == answers[0].position));
}
