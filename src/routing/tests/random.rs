//! Any presence, any arrivals, any ends: what holds all the time and what holds in the end.
//!
//! **Invariant:** the onlooker judges by the events alone, in the order of the log.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Operators of the random desk, with their room.
const OPERATORS: [(&str, u32); 3] = [("anna", 1), ("boris", 2), ("vera", 3)];
/// Conversations of the random desk.
const CONVERSATIONS: u128 = 8;

/// What happens at the desk.
#[derive(Debug, Clone)]
enum Happening {
    Presence(usize, Presence),
    Beat(usize),
    Writes(u128),
    Answers(u128),
    Closes(u128),
    Snoozes(u128),
    ByHand(u128, usize),
    Passes(i64),
    Round,
}

fn happening() -> impl Strategy<Value = Happening> {
    let who = || 0..OPERATORS.len();
    let conversation = || 0..CONVERSATIONS;
    let presence = prop_oneof![Just(Presence::Available), Just(Presence::Busy), Just(Presence::Absent)];
    prop_oneof![
        3 => (who(), presence).prop_map(|(who, presence)| Happening::Presence(who, presence)),
        3 => who().prop_map(Happening::Beat),
        6 => conversation().prop_map(Happening::Writes),
        2 => conversation().prop_map(Happening::Answers),
        2 => conversation().prop_map(Happening::Closes),
        1 => conversation().prop_map(Happening::Snoozes),
        1 => (conversation(), who()).prop_map(|(conversation, who)| Happening::ByHand(conversation, who)),
        3 => (1_i64..100).prop_map(Happening::Passes),
        6 => Just(Happening::Round),
    ]
}

/// What the events say of operators and conversations.
#[derive(Default)]
struct Onlooker {
    presence: BTreeMap<&'static str, Presence>,
    held: BTreeMap<&'static str, BTreeSet<ConversationId>>,
    given: u32,
}

impl Onlooker {
    fn see(&mut self, who: Option<&'static str>, stream: Uuid, event: &DomainEvent) {
        match (event, who) {
            (DomainEvent::Operator(OperatorEvent::PresenceChanged(changed)), Some(name)) => {
                self.presence.insert(name, changed.presence);
            }
            (DomainEvent::Operator(OperatorEvent::ConversationTaken(taken)), Some(name)) => {
                let held = self.held.entry(name).or_default();
                if taken.by == TakenBy::Policy {
                    assert_eq!(self.presence.get(name), Some(&Presence::Available), "given to {name}, who is away");
                    let room = OPERATORS.iter().find(|(known, _)| *known == name).unwrap().1;
                    assert!(held.len() < room as usize, "given to {name}, who is full");
                }
                assert!(held.insert(taken.conversation));
            }
            (DomainEvent::Operator(OperatorEvent::ConversationReleased(released)), Some(name)) => {
                assert!(self.held.entry(name).or_default().remove(&released.conversation));
            }
            (DomainEvent::Conversation(ConversationEvent::Assigned(assigned)), _) => {
                let by_policy = [Some(AssignedReason::LeastBusy), Some(AssignedReason::Returning)];
                if let (Some(operator), true) = (&assigned.operator, by_policy.contains(&assigned.reason)) {
                    let conversation = ConversationId::new(stream);
                    let held = self.held.get(&**operator).is_some_and(|held| held.contains(&conversation));
                    assert!(held, "assigned and not taken");
                    self.given += 1;
                }
            }
            _ => {}
        }
    }
}

async fn play(happenings: Vec<Happening>) -> u32 {
    let mut scene = Scene::set().await;
    scene.queue(1, QueueRules { accounts: [ACCOUNT].into(), ..rules() }).await;
    for (name, room) in OPERATORS {
        scene.operator(name, abilities(room)).await;
    }
    let mut written = BTreeSet::new();
    for happening in happenings {
        happens(&mut scene, happening, &mut written).await;
    }
    // In the end everybody is there, and what they were given comes to an end: nothing is left waiting.
    for _ in 0..CONVERSATIONS {
        for (name, _) in OPERATORS {
            scene.presence(name, Presence::Available).await;
        }
        scene.round().await;
        scene.round().await;
        for (name, _) in OPERATORS {
            for held in scene.held(name).await {
                scene.close(held.uuid().as_u128() - 0xC000).await;
            }
        }
        scene.pass(1);
    }
    scene.round().await;
    scene.round().await;
    let waiting = scene.routing.views.waiting_conversations(TimeDelta::minutes(10), 100).await.unwrap();
    assert_eq!(waiting, [], "somebody was left waiting");
    judge(&scene).await
}

async fn judge(scene: &Scene) -> u32 {
    let mut onlooker = Onlooker::default();
    let named = OPERATORS.map(|(name, _)| (scene.operator_id(name).uuid(), name));
    for (stream, event) in scene.events().await {
        let who = named.iter().find(|(id, _)| *id == stream).map(|(_, name)| *name);
        onlooker.see(who, stream, &event);
    }
    // Both streams agree.
    for (name, _) in OPERATORS {
        for conversation in scene.held(name).await {
            let number = conversation.uuid().as_u128() - 0xC000;
            assert_eq!(scene.assignee(number).await.as_deref(), Some(name));
        }
    }
    onlooker.given
}

async fn happens(scene: &mut Scene, happening: Happening, written: &mut BTreeSet<u128>) {
    match happening {
        Happening::Presence(who, presence) => scene.presence(OPERATORS[who].0, presence).await,
        Happening::Beat(who) => scene.beat(OPERATORS[who].0).await,
        Happening::Writes(number) => {
            scene.writes(number).await;
            written.insert(number);
        }
        Happening::Answers(number) if written.contains(&number) => {
            if let Some(operator) = scene.assignee(number).await {
                // Somebody else may speak; then the answer is refused and nothing happens.
                let _ = scene.answers(&operator, number).await;
            }
        }
        Happening::Closes(number) if written.contains(&number) => scene.close(number).await,
        Happening::Snoozes(number) if written.contains(&number) => {
            let now = scene.clock.now();
            let snooze = ConversationCommand::Snooze { until: now + TimeDelta::hours(1), now };
            let id = conversation_id(number).uuid();
            // A closed one cannot rest.
            let _ = scene.wish::<ConversationDecider>(id, Actor::System("test".into()), snooze).await;
        }
        Happening::ByHand(number, who) if written.contains(&number) => scene.assign(number, OPERATORS[who].0).await,
        Happening::Passes(seconds) => scene.pass(seconds),
        Happening::Round => scene.round().await,
        Happening::Answers(_) | Happening::Closes(_) | Happening::Snoozes(_) | Happening::ByHand(..) => {}
    }
}

#[test]
fn whoever_comes_and_goes_nobody_absent_or_full_is_given_anything_and_nobody_is_left_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(48));
    let given = std::cell::Cell::new(0);
    let histories = prop::collection::vec(happening(), 1..60);
    let ran = runner.run(&histories, |happenings| {
        given.set(given.get() + runtime.block_on(play(happenings)));
        Ok(())
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(given.get() > 100, "only {} were given to anybody: the test would prove little", given.get());
}
