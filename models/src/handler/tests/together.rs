//! Several commands at once: fewer appends, and nothing else is different.
//!
//! **Invariant:** the stream and the answers are those of the same commands sent one after the other.

use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::handler::Commands;

async fn send_all(handler: &Handler, commands: &[(u128, C)]) -> Result<Vec<bool>, HandleError<ConversationRejection>> {
    let commands: Vec<_> = commands.iter().map(|(id, command)| (origin(*id), command.clone())).collect();
    let asked = [Commands { id: conversation().uuid(), commands }];
    let answers = handler.handle_all::<ConversationDecider>(&asked).await?;
    assert_eq!(answers[0].len(), asked[0].commands.len());
    Ok(answers[0].iter().map(|answer| answer.as_ref().is_ok_and(|handled| handled.written)).collect())
}

fn messages(numbers: std::ops::Range<u128>) -> Vec<(u128, C)> {
    numbers.map(|n| (n, receive(n))).collect()
}

#[tokio::test]
async fn a_burst_of_messages_is_one_append() {
    let world = World::new();
    let handler = world.handler().sole_writer();
    assert_eq!(send_all(&handler, &messages(1..21)).await.unwrap(), vec![true; 20]);
    assert_eq!(world.log.appends(), 1);
    let events = world.events().await;
    assert_eq!(events.len(), 22, "opened, joined and each message");
    assert_eq!(told(&handler).await, told(&world.handler()).await);
    // The same again, as after a crash before the checkpoint: answered from memory and from the log.
    for handler in [handler, world.handler().sole_writer()] {
        assert_eq!(send_all(&handler, &messages(1..21)).await.unwrap(), vec![false; 20]);
    }
    assert_eq!(world.events().await, events);
}

#[tokio::test]
async fn a_refused_command_keeps_neither_those_before_nor_those_after_it_back() {
    let world = World::new();
    let handler = world.handler().sole_writer();
    let commands = [(1, receive(1)), (2, close()), (3, queue(5, agent())), (4, receive(2))];
    assert_eq!(send_all(&handler, &commands).await.unwrap(), [true, true, false, true]);
    assert_eq!(world.types().await[3..], ["closed", "reopened", "message_received"]);
}

#[tokio::test]
async fn some_that_were_carried_out_before_are_not_carried_out_again() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 2, receive(2)).await;
    // Known to this handler, and not known to one that has just started and to one that another process was faster than.
    assert_eq!(send_all(&handler, &messages(1..5)).await.unwrap(), [true, false, true, true]);
    let behind = world.handler();
    told(&behind).await;
    done(&handler, 6, receive(6)).await;
    assert_eq!(send_all(&behind, &messages(4..8)).await.unwrap(), [false, true, false, true]);
    assert_eq!(told(&behind).await, told(&world.handler()).await);
    let received = world.types().await.iter().filter(|name| *name == "message_received").count();
    assert_eq!(received, 7);
}

#[tokio::test]
async fn an_append_that_fails_or_is_left_leaves_no_state_that_is_ahead() {
    for fault in [Fault::AppendUnavailable, Fault::WrittenButUnavailable, Fault::WrittenButSilent, Fault::Conflict] {
        let world = World::new();
        let handler = world.handler().sole_writer();
        done(&handler, 1, receive(1)).await;
        world.log.fail([fault]);
        let commands = [(2, close()), (3, receive(3))];
        let left = send_all(&handler, &commands).now_or_never().is_none();
        assert_eq!((left, world.log.failed_all()), (fault == Fault::WrittenButSilent, true), "{fault:?}");
        send_all(&handler, &commands).await.unwrap();
        assert_eq!(world.types().await[3..], ["closed", "reopened", "message_received"], "{fault:?}");
        assert_eq!(told(&handler).await, told(&world.handler()).await, "{fault:?}");
    }
}

#[tokio::test]
async fn an_append_that_is_made_after_its_caller_went_away_is_seen() {
    for together in [true, false] {
        let world = World::new();
        let handler = world.handler().sole_writer();
        done(&handler, 1, receive(1)).await;
        world.log.fail([Fault::Silent]);
        let left = match together {
            true => send_all(&handler, &[(2, queue(5, agent()))]).now_or_never().is_none(),
            false => send(&handler, 2, queue(5, agent())).now_or_never().is_none(),
        };
        assert!(left, "the answer never comes");
        let before = told(&handler).await;
        // What was on its way arrives.
        done(&world.handler(), 2, queue(5, agent())).await;
        assert_ne!(told(&handler).await, before);
        assert_eq!(told(&handler).await, told(&world.handler()).await);
    }
}

fn commands() -> impl Strategy<Value = Vec<(u128, C)>> {
    let command = prop_oneof![
        4 => (1..9u128).prop_map(receive),
        1 => Just(close()),
        1 => Just(C::Reopen),
        2 => (20..24u128).prop_map(|n| queue(n, agent())),
        1 => Just(tag(&["vip"], &[])),
        1 => Just(tag(&[], &["vip"])),
    ];
    proptest::collection::vec((1..12u128, command), 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn together_and_one_by_one_write_the_same(commands in commands(), sole in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let handler = |world: &World| if sole { world.handler().sole_writer() } else { world.handler() };
            let (together, single) = (World::new(), World::new());
            let written = send_all(&handler(&together), &commands).await.unwrap();
            let alone = handler(&single);
            for ((id, command), written) in commands.into_iter().zip(written) {
                let answer = send(&alone, id, command).await;
                prop_assert_eq!(answer.is_ok_and(|handled| handled.written), written);
            }
            let strip = |events: Vec<RecordedEvent>| -> Vec<_> {
                events.into_iter().map(|event| (event.id, event.event_type, event.revision, event.metadata)).collect()
            };
            prop_assert_eq!(strip(together.events().await), strip(single.events().await));
            Ok(())
        })?;
    }
}
