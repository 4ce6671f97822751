//! Personal fields on their way into the log and back.
//!
//! **Invariant:** the log holds no word of a customer in clear; whoever was erased cannot be written about.

use events::envelope::RecordedEvent;
use events::profile::{Attribute, AttributeSource, AttributeValue};
use events::seal::KeySubject;

use super::*;
use crate::profile::{ProfileCommand, ProfileDecider};

fn name(name: &str) -> ProfileCommand {
    ProfileCommand::Record {
        attribute: Attribute::DisplayName,
        source: AttributeSource::Customer,
        value: AttributeValue { text: name.into(), source_form: None },
    }
}

async fn profile(handler: &Handler, id: u128, command: ProfileCommand) -> Handled {
    handler.handle::<ProfileDecider>(Uuid::from_u128(1), &origin(id), command).await.unwrap()
}

async fn erase(handler: &Handler) {
    let sealer = handler.codec().sealer();
    let key = sealer.key_for(KeySubject::Occupancy(customer())).await.unwrap();
    sealer.destroy(key.id).await.unwrap();
}

fn payload(event: &RecordedEvent) -> &str {
    std::str::from_utf8(&event.payload).unwrap()
}

#[tokio::test]
async fn what_was_said_arrives_sealed_and_opens_again() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    done(&handler, 2, queue(5, agent())).await;
    let key = handler.codec().sealer().key_for(KeySubject::Occupancy(customer())).await.unwrap();
    let mut sealed = 0;
    for event in world.events().await {
        assert!(!payload(&event).contains("hello") && !payload(&event).contains("good day"));
        let mut decoded = handler.codec().decode(event).unwrap();
        if let Some(field) = decoded.event.personal() {
            assert_eq!(field.key(), Some(key.id));
            sealed += 1;
        }
        handler.codec().open(&mut decoded).await.unwrap();
        if let events::DomainEvent::Conversation(events::conversation::ConversationEvent::MessageReceived(received)) =
            decoded.event
        {
            assert_eq!(received.content.into_value(), Some(text("hello")));
        }
    }
    assert_eq!(sealed, 3, "the thread, the message, the answer");
}

#[tokio::test]
async fn nothing_is_written_for_a_person_who_was_erased() {
    let world = World::new();
    let handler = world.handler();
    done(&handler, 1, receive(1)).await;
    erase(&handler).await;
    let answer = send(&handler, 2, receive(2)).await;
    assert!(matches!(answer, Err(HandleError::Erased)), "{answer:?}");
    assert_eq!(world.events().await.len(), 3);
    assert!(done(&handler, 3, close()).await.written, "what holds no words of theirs is still written");
}

#[tokio::test]
async fn what_a_profile_holds_is_known_after_a_restart() {
    let world = World::new();
    profile(&world.handler(), 1, ProfileCommand::Open { occupancy: customer() }).await;
    assert!(profile(&world.handler(), 2, name("Anna")).await.written);
    assert!(!profile(&world.handler(), 3, name("Anna")).await.written);
    assert!(profile(&world.handler(), 4, name("Anya")).await.written);
}

#[tokio::test]
async fn an_erased_profile_loads_and_takes_nothing_more() {
    let world = World::new();
    let handler = world.handler();
    profile(&handler, 1, ProfileCommand::Open { occupancy: customer() }).await;
    profile(&handler, 2, name("Anna")).await;
    erase(&handler).await;
    let restarted = world.handler();
    let answer = restarted.handle::<ProfileDecider>(Uuid::from_u128(1), &origin(3), name("Anna")).await;
    assert!(matches!(answer, Err(HandleError::Erased)), "{answer:?}");
}
