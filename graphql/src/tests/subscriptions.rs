//! Subscriptions: from now, from a token, no gap, no repeat, own tenant only.
//!
//! **Invariant:** what an update shows is never older than the update.

use async_graphql::Request;
use events::viewer::Role;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};

use super::stack::{Stack, caller, of_tenant};
use crate::{Caller, subscribe};

fn updates(stack: &Stack, caller: &Caller, query: &str) -> BoxStream<'static, Value> {
    let stream = subscribe(&stack.schema, Request::new(query), caller.clone());
    stream.map(|response| serde_json::to_value(response).unwrap()).boxed()
}

#[tokio::test]
async fn a_conversation_is_followed_and_resumed_without_gap_or_repeat() {
    let stack = Stack::start().await;
    let (who, conversation) = stack.conversation().await;
    let from = stack.settle().await;
    let query = |after: &str| {
        format!(
            "subscription {{ conversationUpdated(id: \"{conversation}\", after: \"{after}\") {{ token eventType \
             revision conversation {{ unread latestMessage {{ ... on Message {{ text }} }} }} }} }}"
        )
    };
    let other = stack.customer("acme", 2).await;
    for text in ["one", "two", "three"] {
        stack.writes("acme", who, 1, text).await;
        stack.writes("acme", other, 2, text).await;
    }
    let operator = caller(Role::Operator);
    let mut first = updates(&stack, &operator, &query(&from.to_string()));
    let seen = first.next().await.unwrap();
    let update = &seen["data"]["conversationUpdated"];
    assert_eq!((&update["eventType"], &update["revision"]), (&json!("conversation.message_received"), &json!(3)));
    assert!(update["conversation"]["unread"].as_u64().unwrap() >= 2, "shown at this update or later: {update}");
    drop(first);
    let mut resumed = updates(&stack, &operator, &query(update["token"].as_str().unwrap()));
    let mut revisions = Vec::new();
    for _ in 0..2 {
        revisions.push(resumed.next().await.unwrap()["data"]["conversationUpdated"]["revision"].clone());
    }
    // And it goes on with what happens from now on.
    stack.writes("acme", who, 1, "four").await;
    revisions.push(resumed.next().await.unwrap()["data"]["conversationUpdated"]["revision"].clone());
    assert_eq!(revisions, [json!(4), json!(5), json!(6)]);
}

#[tokio::test]
async fn every_update_has_a_read_position_of_its_own() {
    let stack = Stack::start().await;
    let (who, conversation) = stack.conversation().await;
    let from = stack.settle().await;
    let operator = caller(Role::Operator);
    let asked = |fields: &str| {
        [
            format!(
                "subscription {{ conversationUpdated(id: \"{conversation}\", after: \"{from}\") {{ token {fields} }} }}"
            ),
            format!("subscription {{ inboxUpdated(after: \"{from}\") {{ token {fields} }} }}"),
        ]
    };
    for query in asked("").into_iter().chain(asked("conversation { unread }")) {
        let mut followed = updates(&stack, &operator, &query);
        // It begins before the message comes: what it read then is not what the update was read at.
        let (seen, ()) = tokio::join!(followed.next(), async {
            stack.writes("acme", who, 1, "one more").await;
        });
        let seen = seen.unwrap();
        let update = seen["data"].as_object().unwrap().values().next().unwrap();
        let happened: u64 = update["token"].as_str().unwrap().split('@').next().unwrap().parse().unwrap();
        let read: u64 = seen["extensions"]["readPosition"].as_str().unwrap().parse().unwrap();
        assert!(read >= happened, "{query}: {seen}");
    }
}

#[tokio::test]
async fn the_inbox_is_followed_across_conversations() {
    let stack = Stack::start().await;
    let (who, conversation) = stack.conversation().await;
    let from = stack.settle().await;
    let other = stack.customer("acme", 2).await;
    let foreign = stack.customer("globex", 3).await;
    stack.writes("acme", who, 1, "one").await;
    stack.writes("globex", foreign, 3, "not for acme").await;
    let second = stack.writes("acme", other, 2, "two").await;
    stack.settle().await;
    let query = format!(
        "subscription {{ inboxUpdated(after: \"{from}\") {{ conversationId revision conversation {{ unread }} }} }}"
    );
    let mut inbox = updates(&stack, &caller(Role::Operator), &query);
    let mut last = std::collections::HashMap::new();
    while last.get(&second.to_string()) != Some(&json!(2)) {
        let update = inbox.next().await.unwrap()["data"]["inboxUpdated"].clone();
        last.insert(update["conversationId"].as_str().unwrap().to_owned(), update["revision"].clone());
    }
    assert_eq!(last.get(&conversation.to_string()), Some(&json!(3)));
    assert_eq!(last.len(), 2, "nothing of another tenant");
}

#[tokio::test]
async fn every_event_of_the_tenant_is_followed_from_the_beginning() {
    let stack = Stack::start().await;
    let foreign = stack.customer("globex", 3).await;
    let (who, _) = stack.conversation().await;
    stack.writes("globex", foreign, 3, "not for acme").await;
    stack.writes("acme", who, 1, "last").await;
    let query = "subscription { eventAppended(from: \"0\") { type position token stream } }";
    let mut events = updates(&stack, &caller(Role::Supervisor), query);
    let mut types = Vec::new();
    for _ in 0..7 {
        let event = events.next().await.unwrap()["data"]["eventAppended"].clone();
        assert!(event["stream"].as_str().unwrap().contains("-acme:"));
        types.push(event["type"].as_str().unwrap().to_owned());
    }
    let expected = [
        "contact.occupied",
        "profile.opened",
        "profile.attribute_recorded",
        "conversation.opened",
        "conversation.participant_joined",
        "conversation.message_received",
        "conversation.message_received",
    ];
    assert_eq!(types, expected);
    let one = "subscription { eventAppended(from: \"0\", types: [\"profile.opened\"]) { type } }";
    let event = updates(&stack, &caller(Role::Supervisor), one).next().await.unwrap();
    assert_eq!(event["data"]["eventAppended"]["type"], "profile.opened");
}

#[tokio::test]
async fn a_subscription_is_refused_to_strangers_lower_roles_and_tokens_of_the_future() {
    let stack = Stack::start().await;
    let (_, conversation) = stack.conversation().await;
    let follow = format!("subscription {{ conversationUpdated(id: \"{conversation}\") {{ token }} }}");
    let all = "subscription { eventAppended { token } }";
    let future = "subscription { inboxUpdated(after: \"1000\") { token } }";
    for (caller, query, code) in [
        (of_tenant("globex", Role::Administrator), follow.as_str(), "NOT_FOUND"),
        (caller(Role::Operator), all, "FORBIDDEN"),
        (caller(Role::Operator), future, "BAD_USER_INPUT"),
        (caller(Role::Operator), "subscription { inboxUpdated { token } eventAppended { token } }", "QUERY_TOO_COSTLY"),
    ] {
        let answer = updates(&stack, &caller, query).next().await.unwrap();
        assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{query}");
    }
}
