//! Warnings and breaches on a log in memory.
//!
//! **Invariant:** time stands still until a test moves it.

use events::DomainEvent;
use events::conversation::ConversationEvent;
use events::ids::ServiceLevelId;
use events::queue::QueueRules;
use events::service_level::{ClockKind, ServiceLevelRules, ServiceTarget};
use models::service_level::{ServiceLevelCommand, ServiceLevelDecider};
use uuid::Uuid;

use super::*;
use crate::routing::tests::{Scene, conversation_id, rules, tenant};

/// A desk whose first queue promises a first answer within ten minutes and a further one within five, and warns two minutes
/// before; the second promises nothing.
struct Desk {
    scene: Scene,
    clocks: Clocks,
    agenda: Agenda,
}

fn level() -> ServiceLevelId {
    ServiceLevelId::new(Uuid::from_u128(0x7001))
}

fn promise(first_response_s: u32) -> ServiceLevelRules {
    let target = ServiceTarget {
        first_response_s: Some(first_response_s),
        next_response_s: Some(300),
        ..ServiceTarget::default()
    };
    ServiceLevelRules { calendar: None, targets: vec![target], warn_before_s: 120 }
}

impl Desk {
    async fn set() -> Self {
        let mut scene = Scene::set().await;
        let open = ServiceLevelCommand::Open { name: "Золотой".to_owned(), rules: promise(600) };
        scene.wish::<ServiceLevelDecider>(level().uuid(), Actor::System("test".into()), open).await.unwrap();
        scene.queue(1, QueueRules { service_level: Some(level()), ..rules() }).await;
        scene.queue(2, rules()).await;
        let clocks = Clocks {
            handler: scene.routing.handler.clone(),
            views: scene.routing.views.clone(),
            clock: scene.clock.clone(),
        };
        let mut desk = Self { scene, clocks, agenda: Agenda::default() };
        desk.begin().await;
        desk
    }

    async fn begin(&mut self) {
        let head = self.scene.log.head().await.unwrap();
        self.clocks.begin(&mut self.agenda, head).await.unwrap();
    }

    /// Something happened in a conversation, as the log tells.
    async fn told(&mut self, number: u128) {
        self.agenda.touch((tenant(), conversation_id(number)));
        self.look().await;
    }

    async fn asks(&mut self, number: u128, queue: u128) {
        self.scene.writes(number).await;
        self.scene.enqueue(number, queue, 0).await;
        self.told(number).await;
    }

    async fn look(&mut self) {
        self.clocks.look(&mut self.agenda).await;
    }

    async fn passes(&mut self, seconds: i64) {
        self.scene.pass(seconds);
        self.look().await;
    }

    async fn notes(&self) -> Vec<(ClockKind, ClockNote)> {
        let events = self.scene.events().await.into_iter();
        let noted = events.filter_map(|(_, event)| match event {
            DomainEvent::Conversation(ConversationEvent::ClockNoted(noted)) => Some((noted.clock, noted.note)),
            _ => None,
        });
        noted.collect()
    }
}

use ClockKind::{FirstResponse, NextResponse};
use ClockNote::{Breach, Warning};

#[tokio::test]
async fn a_promise_warns_and_then_breaks_once() {
    let mut desk = Desk::set().await;
    desk.asks(1, 1).await;
    desk.asks(2, 2).await;
    assert_eq!(desk.agenda.len(), 1, "the other queue promises nothing");
    desk.passes(479).await;
    assert_eq!(desk.notes().await, []);
    desk.passes(1).await;
    assert_eq!(desk.notes().await, [(FirstResponse, Warning)]);
    desk.passes(119).await;
    desk.passes(1).await;
    assert_eq!(desk.notes().await, [(FirstResponse, Warning), (FirstResponse, Breach)]);
    for _ in 0..3 {
        desk.told(1).await;
        desk.passes(1000).await;
    }
    assert_eq!(desk.notes().await.len(), 2);
    assert!(desk.agenda.is_empty());
}

#[tokio::test]
async fn whoever_answers_in_time_is_not_warned_and_the_next_question_counts_anew() {
    let mut desk = Desk::set().await;
    desk.asks(1, 1).await;
    desk.passes(400).await;
    assert!(desk.scene.answers("anna", 1).await.is_ok());
    desk.told(1).await;
    desk.passes(5000).await;
    assert_eq!(desk.notes().await, []);
    desk.scene.writes(1).await;
    desk.told(1).await;
    desk.passes(180).await;
    assert_eq!(desk.notes().await, [(NextResponse, Warning)]);
    desk.scene.close(1).await;
    desk.told(1).await;
    desk.passes(5000).await;
    assert_eq!(desk.notes().await.len(), 1, "closed in time");
}

#[tokio::test]
async fn after_a_restart_nothing_is_forgotten_and_nothing_noted_twice() {
    let mut desk = Desk::set().await;
    desk.asks(1, 1).await;
    desk.passes(480).await;
    desk.agenda = Agenda::default();
    desk.scene.pass(60);
    desk.begin().await;
    desk.look().await;
    assert_eq!(desk.notes().await, [(FirstResponse, Warning)]);
    desk.agenda = Agenda::default();
    desk.scene.pass(6000);
    desk.begin().await;
    desk.look().await;
    assert_eq!(desk.notes().await, [(FirstResponse, Warning), (FirstResponse, Breach)]);
}

#[tokio::test]
async fn a_shorter_promise_breaks_without_a_warning() {
    let mut desk = Desk::set().await;
    desk.asks(1, 1).await;
    desk.passes(200).await;
    let change = ServiceLevelCommand::Change { name: "Платиновый".to_owned(), rules: promise(60) };
    desk.scene.wish::<ServiceLevelDecider>(level().uuid(), Actor::System("test".into()), change).await.unwrap();
    desk.begin().await;
    desk.look().await;
    assert_eq!(desk.notes().await, [(FirstResponse, Breach)], "to warn of what is broken is of no use");
}

#[tokio::test]
async fn what_is_opened_again_and_goes_on_with_its_operator_has_clocks_too() {
    let mut desk = Desk::set().await;
    desk.scene.operator("anna", crate::routing::tests::abilities(5)).await;
    desk.asks(1, 1).await;
    desk.scene.round().await;
    assert!(desk.scene.answers("anna", 1).await.is_ok());
    desk.scene.close(1).await;
    desk.scene.round().await;
    desk.scene.writes(1).await;
    desk.agenda = Agenda::default();
    desk.begin().await;
    desk.look().await;
    assert_eq!(desk.agenda.len(), 1, "also after a restart");
    desk.passes(180).await;
    assert_eq!(desk.notes().await, [(NextResponse, Warning)]);
    desk.passes(120).await;
    assert_eq!(desk.notes().await, [(NextResponse, Warning), (NextResponse, Breach)]);
}

#[tokio::test]
async fn what_was_answered_late_is_broken_also_if_nobody_looked_meanwhile() {
    let mut desk = Desk::set().await;
    desk.asks(1, 1).await;
    desk.scene.pass(700);
    assert!(desk.scene.answers("anna", 1).await.is_ok());
    desk.told(1).await;
    desk.told(1).await;
    assert_eq!(desk.notes().await, [(FirstResponse, Breach)]);
}
