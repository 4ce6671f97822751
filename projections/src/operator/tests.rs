//! Tests of operator rows, and of what operators and conversations say of each other.
//!
//! **Invariant:** every test makes its own events and store.

use events::conversation::{
    ConversationAssigned, ConversationClosed, ConversationEvent, ConversationReopened, ConversationSnoozed,
    ReopenReason,
};
use events::ids::OperatorId;
use events::operator::{
    Abilities, ConversationReleased, ConversationTaken, OperatorChanged, OperatorEvent, OperatorRegistered, Presence,
    PresenceChanged, PresenceReason, ReleaseReason, TakenBy,
};
use events::values::Channel;
use events::viewer::Role;

use crate::testing::{Story, conversation_id, id, viewer};

fn abilities(room: u32) -> Abilities {
    Abilities { languages: ["ru".into()].into(), skills: [].into(), room, room_of_channel: [].into() }
}

fn registered(story: &mut Story, number: u128, operator: &str) {
    let registered = OperatorRegistered { operator: operator.into(), name: "Имя".into(), abilities: abilities(3) };
    story.add(id(number), OperatorEvent::from(registered));
}

fn taken(conversation: u128) -> OperatorEvent {
    let conversation = conversation_id(conversation);
    ConversationTaken { conversation, channel: Channel::Email, by: TakenBy::Policy }.into()
}

fn released(conversation: u128) -> OperatorEvent {
    ConversationReleased { conversation: conversation_id(conversation), reason: ReleaseReason::Closed }.into()
}

fn assigned(operator: Option<&str>) -> ConversationEvent {
    ConversationAssigned { operator: operator.map(Into::into), reason: None }.into()
}

#[tokio::test]
async fn an_operator_shows_abilities_presence_and_what_they_hold() {
    let mut story = Story::default();
    registered(&mut story, 600, "olga");
    registered(&mut story, 601, "anna");
    story.add(id(600), OperatorEvent::from(OperatorChanged { name: "Ольга".into(), abilities: abilities(5) }));
    let here = PresenceChanged { presence: Presence::Available, reason: PresenceReason::ByThemselves };
    story.add(id(600), OperatorEvent::from(here));
    story.add(id(600), taken(100));
    story.add(id(600), taken(101));
    story.add(id(600), released(100));
    let (views, viewer) = (story.views().await, viewer(Role::Operator));
    let shown = views.operators(&viewer).await.unwrap();
    assert_eq!(shown.iter().map(|view| view.operator.as_str()).collect::<Vec<_>>(), ["anna", "olga"]);
    let (anna, olga) = (&shown[0], &shown[1]);
    assert_eq!((anna.presence, anna.presence_reason, anna.last_given), (Presence::Absent, None, None));
    assert_eq!((olga.name.as_str(), olga.abilities.room), ("Ольга", 5));
    assert_eq!((olga.presence, olga.presence_reason), (Presence::Available, Some(PresenceReason::ByThemselves)));
    assert_eq!(olga.held.iter().map(|held| held.conversation).collect::<Vec<_>>(), [conversation_id(101)]);
    assert_eq!(olga.last_given, Some(olga.held[0].since));
    assert_eq!(views.operators_by_ids(&viewer, &[OperatorId::new(id(600))]).await.unwrap(), shown[1..]);
    let on_duty = views.operators_on_duty().await.unwrap();
    let seen: Vec<_> = on_duty.iter().map(|duty| (&*duty.operator, duty.presence, duty.held.len())).collect();
    assert_eq!(seen, [("anna", Presence::Absent, 0), ("olga", Presence::Available, 1)]);
}

#[tokio::test]
async fn what_streams_say_differently_of_each_other_is_found() {
    let mut story = Story::default();
    registered(&mut story, 600, "olga");
    // Agreed; closed; resting; another's; nobody's.
    let all = [100, 101, 102, 103, 104].map(|number| story.conversation(number, number - 99));
    for (number, conversation) in (100..).zip(all) {
        story.add(id(600), taken(number));
        story.add(conversation, assigned(Some("olga")));
    }
    story.add(all[1], ConversationEvent::from(ConversationClosed { episode: 1, reason: "resolved".into() }));
    story.add(all[2], ConversationEvent::from(ConversationSnoozed { until: crate::testing::second(900) }));
    story.add(all[3], assigned(Some("pavel")));
    story.add(all[4], assigned(None));
    // Given by hand; of somebody who is not registered; taken up again after the end of an episode.
    let [by_hand, foreign, again] = [105, 106, 107].map(|number| story.conversation(number, number - 99));
    story.add(by_hand, assigned(Some("olga")));
    story.add(foreign, assigned(Some("pavel")));
    story.add(again, assigned(Some("olga")));
    story.add(id(600), taken(107));
    story.add(again, ConversationEvent::from(ConversationClosed { episode: 1, reason: "resolved".into() }));
    story.add(id(600), released(107));
    let reopened = ConversationReopened { episode: 2, reason: ReopenReason::CustomerWrote };
    story.add(again, ConversationEvent::from(reopened));
    let views = story.views().await;
    let held: Vec<_> = views.stray_held(10).await.unwrap().into_iter().map(|stray| stray.conversation).collect();
    assert_eq!(held, [101, 102, 103, 104].map(conversation_id));
    let assigned: Vec<_> = views
        .stray_assigned(10)
        .await
        .unwrap()
        .into_iter()
        .map(|stray| (stray.conversation, stray.carried, stray.channel))
        .collect();
    let (first, second) = (conversation_id(105), conversation_id(107));
    assert_eq!(assigned, [(first, false, Channel::Email), (second, true, Channel::Email)]);
    assert_eq!(views.stray_held(1).await.unwrap().len(), 1);
}
