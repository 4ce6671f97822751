//! What goes wrong between operators, and what others do beside the policy.

use events::conversation::WokenReason;

use super::*;

#[tokio::test]
async fn a_queue_of_another_tenant_takes_no_account_away() {
    let mut scene = Scene::set().await;
    let (queue, other) = (queue_id(0), "other".parse::<TenantId>().unwrap());
    let rules_of_other = QueueRules { accounts: [ACCOUNT].into(), ..rules() };
    let command = QueueCommand::Open { queue, name: "theirs".to_owned(), rules: rules_of_other };
    let id = scene.ids.next();
    let origin = Origin {
        id: CommandId::new(id),
        tenant: other,
        actor: Actor::System("test".into()),
        causation: None,
        correlation: id,
        occurred_at: scene.clock.now(),
        traceparent: None,
        seen_at: None,
        wish: None,
    };
    scene.routing.handler.handle::<QueueDecider>(queue.uuid(), &origin, command).await.unwrap();
    scene.queue(1, QueueRules { accounts: [ACCOUNT].into(), ..rules() }).await;
    scene.operator("anna", abilities(1)).await;
    scene.writes(1).await;
    scene.round().await;
    assert_eq!(scene.assignee(1).await.as_deref(), Some("anna"));
}

#[tokio::test]
async fn nobody_is_absent_because_signs_of_life_were_forgotten() {
    let mut scene = Scene::set().await;
    scene.operator("anna", abilities(5)).await;
    for _ in 0..10 {
        scene.pass(60);
        scene.beat("anna").await;
        scene.round().await;
    }
    let events = scene.events().await.len();
    scene.routing.heartbeats = Arc::new(MemoryHeartbeats::new(scene.clock.clone()));
    scene.pass(60);
    scene.round().await;
    scene.pass(90);
    scene.round().await;
    assert_eq!(scene.events().await.len(), events, "90 seconds since they were missed");
    scene.pass(1);
    scene.round().await;
    assert_eq!(scene.events().await.len(), events + 1);
}

#[tokio::test]
async fn what_was_taken_from_a_vanished_operator_waits_anew_before_it_falls_through() {
    let mut scene = Scene::set().await;
    let fallback = Some(Fallback { queue: queue_id(2), after_s: 600 });
    scene.queue(1, QueueRules { fallback, ..rules() }).await;
    scene.queue(2, rules()).await;
    scene.operator("anna", abilities(1)).await;
    scene.writes(1).await;
    scene.enqueue(1, 1, 0).await;
    scene.round().await;
    scene.pass(3600);
    scene.presence("anna", Presence::Absent).await;
    let queue = async |scene: &Scene| {
        let stream = conversation_stream(&tenant(), conversation_id(1));
        let of = |state: &models::conversation::Conversation| state.queued().map(|queued| queued.queue);
        scene.routing.handler.inspect::<ConversationDecider, _>(&stream, of).await.unwrap()
    };
    for _ in 0..2 {
        scene.round().await;
        assert_eq!((scene.assignee(1).await, queue(&scene).await), (None, Some(queue_id(1))));
    }
    scene.pass(600);
    scene.round().await;
    assert_eq!(queue(&scene).await, Some(queue_id(2)));
}

#[tokio::test]
async fn what_was_put_back_goes_to_somebody_else() {
    let mut scene = Scene::set().await;
    scene.queue(1, rules()).await;
    scene.operator("anna", abilities(5)).await;
    scene.writes(1).await;
    scene.enqueue(1, 1, 0).await;
    scene.round().await;
    assert_eq!(scene.assignee(1).await.as_deref(), Some("anna"));
    scene.operator("boris", abilities(5)).await;
    scene.enqueue(1, 1, 0).await;
    scene.round().await;
    scene.round().await;
    assert_eq!(scene.assignee(1).await.as_deref(), Some("boris"));
}

#[tokio::test]
async fn whoever_wakes_their_own_has_it_also_beyond_their_room() {
    let mut scene = Scene::set().await;
    scene.queue(1, rules()).await;
    scene.operator("anna", abilities(1)).await;
    for number in 1..=2 {
        scene.writes(number).await;
        scene.enqueue(number, 1, 0).await;
        scene.pass(1);
    }
    scene.round().await;
    let (until, now) = (scene.clock.now() + TimeDelta::hours(1), scene.clock.now());
    scene.on(1, ConversationCommand::Snooze { until, now }).await;
    scene.round().await;
    scene.round().await;
    assert_eq!(scene.held("anna").await, [conversation_id(2)]);
    let (wake, id) = (ConversationCommand::Wake { reason: WokenReason::ByHand, now }, conversation_id(1).uuid());
    scene.wish::<ConversationDecider>(id, Actor::Operator("anna".into()), wake).await.unwrap();
    scene.round().await;
    scene.round().await;
    assert_eq!(scene.held("anna").await, [1, 2].map(conversation_id));
    assert_eq!(scene.assignee(1).await.as_deref(), Some("anna"));
}

#[tokio::test]
async fn whoever_is_given_what_another_speaks_in_can_answer() {
    let mut scene = Scene::set().await;
    scene.queue(1, rules()).await;
    scene.writes(1).await;
    scene.enqueue(1, 1, 0).await;
    assert!(scene.answers("boris", 1).await.is_ok());
    scene.operator("anna", abilities(1)).await;
    scene.writes(1).await;
    scene.round().await;
    assert_eq!(scene.assignee(1).await.as_deref(), Some("anna"));
    assert!(scene.answers("anna", 1).await.is_ok());
}

#[tokio::test]
async fn what_a_vanished_operator_wanted_to_come_back_to_is_not_lost() {
    let mut scene = Scene::set().await;
    scene.queue(1, QueueRules { accounts: [ACCOUNT].into(), ..rules() }).await;
    scene.operator("anna", abilities(1)).await;
    scene.writes(1).await;
    scene.assign(1, "anna").await;
    scene.round().await;
    assert!(scene.answers("anna", 1).await.is_ok());
    scene.pass(10);
    scene.presence("anna", Presence::Absent).await;
    scene.operator("boris", abilities(1)).await;
    for _ in 0..3 {
        scene.round().await;
    }
    assert_eq!(scene.assignee(1).await.as_deref(), Some("boris"));
}
