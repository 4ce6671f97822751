//! Queries: what they show, in how many statements, and how fresh.
//!
//! **Invariant:** what one tenant has is nothing to another.

use events::conversation::content::{MessageContent, MessageKind};
use events::ids::{AccountId, EventId};
use events::viewer::Role;
use models::conversation::ConversationCommand;
use models::intake::IntakeCommand;
use serde_json::{Value, json};

use super::stack::{Following, Stack, at, caller, first_message, of_tenant, thread};
use crate::documents::DocumentPolicy;

#[tokio::test]
async fn the_inbox_shows_who_wrote_what() {
    let stack = Stack::start().await;
    let (who, conversation) = stack.conversation().await;
    let query = "{ conversations(filter: {status: [OPEN], unread: true, channel: TELEGRAM, assignee: NOBODY}) {
        nodes { id unread status speaker { kind }
            participants { active person { contact profile { displayName contacts { address } } } }
            latestMessage { ... on Message { text direction person { profile { displayName } } } } }
        pageInfo { hasNextPage hasPreviousPage } } }";
    let data = stack.ask(&caller(Role::Operator), query).await;
    let profile = json!({"displayName": "Customer 1", "contacts": [{"address": "1001"}]});
    let node = json!({
        "id": conversation.to_string(), "unread": 1, "status": "OPEN", "speaker": {"kind": "NOBODY"},
        "participants": [{"active": true, "person": {"contact": who.contact.to_string(), "profile": profile}}],
        "latestMessage": {"text": "hello", "direction": "INBOUND", "person": {"profile": {"displayName": "Customer 1"}}},
    });
    assert_eq!(data["conversations"]["nodes"], json!([node]));
    assert_eq!(data["conversations"]["pageInfo"], json!({"hasNextPage": false, "hasPreviousPage": false}));
    // An agent sees the address masked: masking is the read side's.
    let data = stack.ask(&caller(Role::Agent), query).await;
    let seen = &data["conversations"]["nodes"][0]["participants"][0]["person"]["profile"];
    assert_eq!(seen["contacts"][0]["address"], json!("***"));
}

#[tokio::test]
async fn a_page_of_fifty_conversations_costs_as_many_statements_as_a_page_of_two() {
    let stack = Stack::start().await;
    for number in 0..50 {
        let who = stack.customer("acme", number).await;
        stack.writes("acme", who, number, "hello").await;
    }
    stack.settle().await;
    let mut costs = Vec::new();
    for first in [2, 50] {
        let query = format!(
            "{{ conversations(first: {first}) {{ nodes {{ id account {{ name }}
                participants {{ person {{ profile {{ displayName }} }} }}
                latestMessage {{ ... on Message {{ text }} }} }} }} }}"
        );
        // Loaders gather keys for a millisecond: on a busy machine a page may be loaded in two gos, so the least counts.
        let mut least = u64::MAX;
        for _ in 0..5 {
            let before = stack.statements();
            let data = stack.ask(&caller(Role::Operator), &query).await;
            least = least.min(stack.statements() - before);
            let nodes = data["conversations"]["nodes"].as_array().unwrap();
            assert_eq!(nodes.len(), first);
            let named = |node: &Value| node["participants"][0]["person"]["profile"]["displayName"].is_string();
            assert!(nodes.iter().all(|node| named(node) && node["latestMessage"]["text"] == "hello"));
        }
        costs.push(least);
    }
    assert_eq!(costs[0], costs[1], "statements for 2 and for 50");
    assert!(costs[1] <= 20, "{} statements", costs[1]);
}

#[tokio::test]
async fn pages_follow_one_another_in_both_directions() {
    let stack = Stack::start().await;
    for number in 0..5 {
        let who = stack.customer("acme", number).await;
        stack.writes("acme", who, number, "hello").await;
        stack.clock.advance(chrono::Duration::seconds(1));
    }
    stack.settle().await;
    let operator = caller(Role::Operator);
    let page = async |arguments: String| {
        let query = format!(
            "{{ conversations({arguments}) {{ nodes {{ thread {{ key }} }} pageInfo {{ startCursor endCursor \
             hasNextPage hasPreviousPage }} }} }}"
        );
        let mut data = stack.ask(&operator, &query).await;
        let keys: Vec<String> = data["conversations"]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["thread"]["key"].as_str().unwrap().to_owned())
            .collect();
        (keys.concat(), data["conversations"]["pageInfo"].take())
    };
    let (keys, info) = page("first: 2".to_owned()).await;
    assert_eq!((keys.as_str(), &info["hasNextPage"]), ("43", &json!(true)));
    let (keys, info) = page(format!("first: 2, after: {}", info["endCursor"])).await;
    assert_eq!(keys, "21");
    let (keys, last) = page(format!("first: 2, after: {}", info["endCursor"])).await;
    assert_eq!((keys.as_str(), &last["hasNextPage"]), ("0", &json!(false)));
    let (keys, before) = page(format!("last: 2, before: {}", last["startCursor"])).await;
    assert_eq!((keys.as_str(), &before["hasPreviousPage"]), ("21", &json!(true)));
    // A cursor of another order is refused.
    let query =
        format!("{{ conversations(sort: OLDEST_ACTIVITY, after: {}) {{ nodes {{ id }} }} }}", info["endCursor"]);
    assert_eq!(stack.code(&operator, &query).await, "BAD_USER_INPUT");
}

#[tokio::test]
async fn a_timeline_shows_edits_reactions_notes_and_what_was_said_first() {
    let stack = Stack::start().await;
    let (who, conversation) = stack.conversation().await;
    let message = first_message(stack.handler.codec().hasher(), conversation);
    let content = MessageContent { text: Some("hello there".to_owned()), ..MessageContent::default() };
    let edit = ConversationCommand::ReceiveEdit {
        thread: thread(conversation, 1),
        message,
        author: who,
        kind: MessageKind::Text,
        edited_at: at(5),
        content,
    };
    stack.drive(conversation, "edit", edit).await;
    let reactions = vec!["👍".to_owned()];
    let react = ConversationCommand::React {
        thread: thread(conversation, 1),
        message,
        by: Some(who),
        changed_at: at(6),
        reactions,
    };
    stack.drive(conversation, "react", react).await;
    stack.settle().await;
    let operator = caller(Role::Operator);
    let note = format!(
        "mutation {{ addNote(input: {{conversation: \"{conversation}\", text: \"rings twice\", idempotencyKey: \"n\"}}) \
         {{ noteId token userErrors {{ code }} }} }}"
    );
    let token = stack.ask(&operator, &note).await["addNote"]["token"].clone();
    let query = format!(
        "{{ conversation(id: \"{conversation}\", after: {token}) {{ timeline(first: 10) {{ nodes {{ __typename \
         ... on Message {{ text original {{ text }} edits {{ content {{ text }} }} reactions {{ reactions }} erased }} \
         ... on Note {{ note: text place {{ actor {{ kind id }} }} }} }} }} }} }}"
    );
    let data = stack.ask(&operator, &query).await;
    let expected = json!([
        {"__typename": "Message", "text": "hello there", "original": {"text": "hello"},
            "edits": [{"content": {"text": "hello there"}}], "reactions": [{"reactions": ["👍"]}], "erased": false},
        {"__typename": "Note", "note": "rings twice", "place": {"actor": {"kind": "OPERATOR", "id": "operator"}}},
    ]);
    assert_eq!(data["conversation"]["timeline"]["nodes"], expected);
}

#[tokio::test]
async fn profiles_are_found_by_id_by_identity_and_in_a_list() {
    let stack = Stack::start().await;
    let (who, _) = stack.conversation().await;
    let profile = stack.handler.codec().hasher().profile(who);
    let query = format!(
        "{{ profile(id: \"{profile}\") {{ displayName conversations {{ nodes {{ episode }} }} }} \
         profileByIdentity(kind: TELEGRAM_USER, value: \" 1001 \") {{ id members }} \
         unknown: profileByIdentity(kind: PHONE, value: \"+79161234567\") {{ id }} \
         profiles(filter: {{contactKind: TELEGRAM_USER}}) {{ nodes {{ id }} }} \
         none: profiles(filter: {{contactKind: EMAIL}}) {{ nodes {{ id }} }} \
         node(id: \"{profile}\") {{ __typename id }} viewer {{ tenant role id }} }}"
    );
    let data = stack.ask(&caller(Role::Operator), &query).await;
    assert_eq!(data["profile"], json!({"displayName": "Customer 1", "conversations": {"nodes": [{"episode": 1}]}}));
    let (id, members) = (profile.to_string(), json!([profile.to_string()]));
    assert_eq!(data["profileByIdentity"], json!({"id": id, "members": members}));
    assert_eq!((&data["unknown"], &data["none"]["nodes"]), (&Value::Null, &json!([])));
    assert_eq!(data["profiles"]["nodes"], json!([{"id": id}]));
    assert_eq!(data["node"], json!({"__typename": "Profile", "id": id}));
    assert_eq!(data["viewer"], json!({"tenant": "acme", "role": "OPERATOR", "id": "operator"}));
}

#[tokio::test]
async fn a_conversation_as_of_an_earlier_position_shows_what_was_there_then() {
    let stack = Stack::start().await;
    let (who, conversation) = stack.conversation().await;
    let then = stack.settle().await;
    stack.writes("acme", who, 1, "anybody there?").await;
    stack.settle().await;
    let query = format!(
        "{{ now: conversation(id: \"{conversation}\") {{ ...F }} \
         then: conversation(id: \"{conversation}\", asOf: {{position: \"{then}\"}}) {{ ...F }} \
         before: conversation(id: \"{conversation}\", asOf: {{position: \"1\"}}) {{ ...F }} }} \
         fragment F on Conversation {{ unread latestMessage {{ ... on Message {{ text }} }} \
         timeline {{ nodes {{ ... on Message {{ text }} }} }} }}"
    );
    let data = stack.ask(&caller(Role::Operator), &query).await;
    let messages = |texts: &[&str]| {
        let nodes: Vec<Value> = texts.iter().map(|text| json!({"text": text})).collect();
        json!({"unread": texts.len(), "latestMessage": nodes.last(), "timeline": {"nodes": nodes}})
    };
    assert_eq!(data["now"], messages(&["hello", "anybody there?"]));
    assert_eq!(data["then"], messages(&["hello"]));
    assert_eq!(data["before"], Value::Null);
    let profile = stack.handler.codec().hasher().profile(who);
    let query = format!("{{ profile(id: \"{profile}\", asOf: {{position: \"1\"}}) {{ displayName }} }}");
    assert_eq!(stack.ask(&caller(Role::Operator), &query).await["profile"], Value::Null);
}

#[tokio::test]
async fn events_show_actor_cause_both_times_and_the_opened_payload() {
    let stack = Stack::start().await;
    let (who, conversation) = stack.conversation().await;
    let (intake, event) = stack.delivers("acme", "{\"update\": \"привет\"}").await;
    let unrecognised = IntakeCommand::Unrecognise { received: event, reason: "no such kind".to_owned() };
    stack.decides("acme", intake, unrecognised).await;
    stack.settle().await;
    let supervisor = caller(Role::Supervisor);
    let query = format!(
        "{{ events(filter: {{conversation: \"{conversation}\", type: \"conversation.message_received\"}}) {{ nodes {{ \
         type revision actor {{ kind id }} correlation occurredAt recordedAt payload }} }} \
         intake(filter: {{outcome: UNRECOGNISED}}) {{ nodes {{ event outcome reason sizeBytes }} }} \
         node(id: \"{event}\") {{ ... on Event {{ type rawBody payload }} }} \
         parkedEvents {{ nodes {{ event }} }} deadLetters {{ nodes {{ message }} }} }}"
    );
    let data = stack.ask(&supervisor, &query).await;
    let found = &data["events"]["nodes"][0];
    assert_eq!(data["events"]["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(found["payload"]["content"]["text"], json!("hello"));
    assert_eq!(found["actor"], json!({"kind": "SYSTEM", "id": "test"}));
    assert!(found["occurredAt"].is_string() && found["recordedAt"].is_string());
    let raw = json!({"event": event.to_string(), "outcome": "UNRECOGNISED", "reason": "no such kind", "sizeBytes": 26});
    assert_eq!(data["intake"]["nodes"], json!([raw]));
    assert_eq!(data["node"]["rawBody"], json!("{\"update\": \"привет\"}"));
    assert_eq!(data["node"]["payload"]["body"], json!({"sizeBytes": 26}));
    // After an erasure the event stands and says nothing.
    stack.erase(who).await;
    let data = stack.ask(&supervisor, &query).await;
    assert_eq!(data["events"]["nodes"][0]["payload"]["content"], json!("ERASED"));
    let profile = stack.handler.codec().hasher().profile(who);
    let query = format!("{{ events(filter: {{profile: \"{profile}\"}}, last: 100) {{ nodes {{ type }} }} }}");
    let types = stack.ask(&supervisor, &query).await["events"]["nodes"].to_string();
    for expected in ["contact.occupied", "profile.attribute_recorded", "conversation.message_received"] {
        assert!(types.contains(expected), "{types}");
    }
}

#[tokio::test]
async fn another_tenant_sees_and_changes_nothing() {
    let stack = Stack::start().await;
    let (who, conversation) = stack.conversation().await;
    let (intake, event) = stack.delivers("acme", "raw").await;
    let park = IntakeCommand::Park { received: event, reason: "x".to_owned(), attempts: 1 };
    stack.decides("acme", intake, park).await;
    let stream = format!("conversation-acme:{}", conversation.uuid());
    stack.settle().await;
    let stranger = of_tenant("globex", Role::Administrator);
    let profile = stack.handler.codec().hasher().profile(who);
    let query = format!(
        "{{ conversation(id: \"{conversation}\") {{ id }} profile(id: \"{profile}\") {{ id }} \
         then: conversation(id: \"{conversation}\", asOf: {{position: \"1000\"}}) {{ id }} \
         known: profile(id: \"{profile}\", asOf: {{position: \"1000\"}}) {{ id }} \
         profileByIdentity(kind: TELEGRAM_USER, value: \"1001\") {{ id }} \
         conversations {{ nodes {{ id }} }} profiles {{ nodes {{ id }} }} intake {{ nodes {{ event }} }} \
         events {{ nodes {{ id }} }} stream: events(filter: {{stream: \"{stream}\"}}) {{ nodes {{ id }} }} \
         about: events(filter: {{conversation: \"{conversation}\"}}) {{ nodes {{ id }} }} \
         accounts {{ id }} event: node(id: \"{event}\") {{ id }} node(id: \"{conversation}\") {{ id }} }}"
    );
    let data = stack.ask(&stranger, &query).await;
    for (field, value) in data.as_object().unwrap() {
        let nothing = [Value::Null, json!([]), json!({"nodes": []})];
        assert!(nothing.contains(value), "{field}: {value}");
    }
    let before = stack.handler.log().head().await.unwrap();
    for mutation in [
        format!("sendMessage(input: {{conversation: \"{conversation}\", text: \"x\", idempotencyKey: \"k\"}})"),
        format!("addNote(input: {{conversation: \"{conversation}\", text: \"x\", idempotencyKey: \"k\"}})"),
        format!("closeConversation(input: {{conversation: \"{conversation}\", reason: \"x\", idempotencyKey: \"k\"}})"),
        format!("markRead(input: {{conversation: \"{conversation}\", upTo: 0, idempotencyKey: \"k\"}})"),
        format!("redriveIntake(input: {{stream: \"{intake}\", event: \"{event}\", idempotencyKey: \"k\"}})"),
        format!(
            "recordAttribute(input: {{profile: \"{profile}\", attribute: PLACE, value: \"x\", idempotencyKey: \"k\"}})"
        ),
    ] {
        let data =
            stack.ask(&stranger, &format!("mutation {{ m: {mutation} {{ token userErrors {{ code }} }} }}")).await;
        assert_eq!(data["m"], json!({"token": null, "userErrors": [{"code": "NOT_FOUND"}]}), "{mutation}");
    }
    assert_eq!(stack.handler.log().head().await.unwrap(), before, "nothing was written");
}

#[tokio::test]
async fn a_read_waits_for_its_token_or_says_that_it_is_stale() {
    let stack = Stack::with(Following::No, DocumentPolicy::Any).await;
    let operator = caller(Role::Operator);
    assert_eq!(stack.code(&operator, "{ conversations(afterToken: \"1\") { nodes { id } } }").await, "STALE_READ");
    assert_eq!(stack.code(&operator, "{ readPosition(after: \"1\") }").await, "STALE_READ");
    assert_eq!(stack.code(&operator, "{ readPosition(after: \"nonsense\") }").await, "BAD_USER_INPUT");
    let answer = stack.ask_with(&operator, "{ conversations { nodes { id } } }", Value::Null).await;
    assert_eq!(answer["extensions"]["readPosition"], json!("0"));
}

#[tokio::test]
async fn every_response_carries_its_read_position_and_request_id() {
    let stack = Stack::start().await;
    stack.conversation().await;
    let head = stack.settle().await;
    let operator = caller(Role::Operator);
    let answer = stack.ask_with(&operator, "{ conversations { nodes { id } } readPosition }", Value::Null).await;
    assert_eq!(answer["extensions"]["readPosition"], json!(head.to_string()));
    assert_eq!(answer["data"]["readPosition"], json!(head.to_string()));
    assert_eq!(answer["extensions"]["requestId"], json!(operator.correlation.to_string()));
    // Also one that read nothing, was refused or could not be understood.
    let unknown = format!("conversation-{}", uuid::Uuid::from_u128(9));
    for query in [
        format!(
            "mutation {{ addNote(input: {{ idempotencyKey: \"k\", conversation: \"{unknown}\", text: \"t\" }}) {{ token }} }}"
        ),
        "{ conversation(id: \"nonsense\") { id } }".to_owned(),
        "{ nothing }".to_owned(),
        "{ conversations(".to_owned(),
    ] {
        let answer = stack.ask_with(&operator, &query, Value::Null).await;
        assert_eq!(answer["extensions"]["readPosition"], json!(head.to_string()), "{query}: {answer}");
        assert_eq!(answer["extensions"]["requestId"], json!(operator.correlation.to_string()), "{query}");
    }
}

#[tokio::test]
async fn an_id_of_another_form_is_bad_input() {
    let stack = Stack::start().await;
    let (event, account) = (EventId::new(uuid::Uuid::nil()), AccountId::new(uuid::Uuid::nil()));
    for query in [
        format!("{{ conversation(id: \"{event}\") {{ id }} }}"),
        "{ profile(id: \"7\") { id } }".to_owned(),
        "{ node(id: \"thing-7\") { id } }".to_owned(),
        "{ profileByIdentity(kind: PHONE, value: \"not a number\") { id } }".to_owned(),
        "{ nothing }".to_owned(),
        "{ conversations(".to_owned(),
    ] {
        assert_eq!(stack.code(&caller(Role::Operator), &query).await, "BAD_USER_INPUT", "{query}");
    }
    let unknown = format!("{{ node(id: \"{account}\") {{ id }} }}");
    assert_eq!(stack.ask(&caller(Role::Administrator), &unknown).await["node"], Value::Null);
}
