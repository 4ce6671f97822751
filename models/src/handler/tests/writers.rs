//! Several writers on one log: two handlers stand for two processes.
//!
//! **Invariant:** nobody's events are lost, doubled or decided on a past state.

use futures::future::join_all;

use super::*;

#[tokio::test]
async fn what_another_writer_wrote_is_folded_in_and_the_command_decided_anew() {
    let world = World::new();
    let (here, there) = (world.handler(), world.handler());
    done(&here, 1, receive(1)).await;
    done(&there, 2, close()).await;
    assert!(done(&here, 3, receive(2)).await.written);
    assert_eq!(world.types().await[3..], ["closed", "reopened", "message_received"]);
}

#[tokio::test]
async fn nobody_is_refused_for_a_state_that_is_past() {
    let world = World::new();
    let (here, there) = (world.handler(), world.handler());
    done(&here, 1, receive(1)).await;
    done(&here, 2, close()).await;
    done(&there, 3, C::Reopen).await;
    assert!(done(&here, 4, queue(5, agent())).await.written);
}

#[tokio::test]
async fn nobody_is_told_that_there_is_nothing_to_do_for_a_state_that_is_past() {
    let world = World::new();
    let (here, there) = (world.handler(), world.handler());
    done(&here, 1, receive(1)).await;
    done(&here, 2, tag(&["vip"], &[])).await;
    done(&there, 3, tag(&[], &["vip"])).await;
    assert!(done(&here, 4, tag(&["vip"], &[])).await.written);
}

#[tokio::test]
async fn a_command_that_the_other_process_carried_out_is_known_here() {
    let world = World::new();
    let (here, there) = (world.handler(), world.handler());
    done(&here, 1, receive(1)).await;
    let first = done(&there, 2, close()).await;
    done(&there, 3, C::Reopen).await;
    let again = done(&here, 2, close()).await;
    assert_eq!((again.position, again.written), (first.position, false));
    assert_eq!(world.types().await[3..], ["closed", "reopened"]);
}

#[tokio::test]
async fn conflicts_without_end_are_given_up() {
    let world = World::new();
    let handler = world.handler();
    world.log.fail(vec![Fault::Conflict; 32]);
    assert!(matches!(send(&handler, 1, receive(1)).await, Err(HandleError::Contended(_))));
    assert!(world.log.failed_all());
    assert!(done(&handler, 1, receive(1)).await.written);
}

#[tokio::test]
async fn a_conflict_that_left_nothing_new_is_tried_again() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    world.log.fail([Fault::Conflict]);
    assert!(done(&handler, 2, receive(2)).await.written);
    assert_eq!(told(&handler).await, told(&world.handler()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_that_write_at_once_lose_and_double_nothing() {
    let world = World::new();
    let handlers = [world.handler(), world.handler()];
    let writers = (0..60_u128).map(|n| {
        let handler = handlers[(n % 2) as usize].clone();
        tokio::spawn(async move {
            // Each command comes twice, to both processes.
            done(&handler, 1 + n / 2, receive(1 + n / 2)).await;
        })
    });
    for outcome in join_all(writers).await {
        outcome.unwrap();
    }
    let (events, types) = (world.events().await, world.types().await);
    assert!((0..).zip(&events).all(|(revision, event)| event.revision.0 == revision));
    assert_eq!(types.iter().filter(|name| *name == "message_received").count(), 30);
    assert_eq!(types.len(), 32);
    let [here, there] = &handlers;
    assert_eq!(told(here).await, told(there).await);
    assert_eq!(told(here).await, told(&world.handler()).await);
}

#[tokio::test]
async fn a_kept_state_decides_like_a_loaded_one_also_below_the_microsecond() {
    let world = World::new();
    let here = world.handler();
    let react = |nanos| C::React {
        thread: thread(),
        message: MessageId::new(Uuid::from_u128(1)),
        by: None,
        changed_at: DateTime::UNIX_EPOCH + TimeDelta::nanoseconds(nanos),
        reactions: vec![],
    };
    done(&here, 1, receive(1)).await;
    done(&here, 2, react(1_900)).await;
    for handler in [here, world.handler()] {
        let id = 3 + world.events().await.len() as u128;
        assert!(done(&handler, id, react(1_100)).await.written);
    }
}
