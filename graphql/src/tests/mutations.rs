//! Mutations: what they write, that they write it once, and why they are refused.
//!
//! **Invariant:** every mutation of the schema is carried out here at least once.

use events::envelope::{Actor, Category, StreamName};
use events::log::Direction;
use events::viewer::Role;
use models::conversation::ConversationCommand;
use models::intake::IntakeCommand;
use serde_json::{Value, json};

use super::stack::{Stack, at, caller, of_tenant};
use crate::Caller;

/// Sends a mutation that must be accepted twice and returns the first answer.
pub(super) async fn twice(stack: &Stack, caller: &Caller, name: &str, input: &str, selection: &str) -> Value {
    let query = format!(
        "mutation {{ m: {name}(input: {{{input}, idempotencyKey: \"{name} 1\"}}) \
         {{ token userErrors {{ code message field }} {selection} }} }}"
    );
    let mut first = stack.ask(caller, &query).await;
    let head = stack.handler.log().head().await.unwrap();
    let second = stack.ask(caller, &query).await;
    assert_eq!(first["m"]["userErrors"], json!([]), "{name}");
    assert!(first["m"]["token"].is_string(), "{name}");
    assert_eq!(first["m"]["token"], second["m"]["token"], "{name}: the same token");
    assert_eq!(stack.handler.log().head().await.unwrap(), head, "{name}: nothing more was written");
    first["m"].take()
}

/// The user error of a mutation that a rule must refuse.
pub(super) async fn refused(stack: &Stack, caller: &Caller, name: &str, input: &str) -> String {
    let query = format!(
        "mutation {{ m: {name}(input: {{{input}, idempotencyKey: \"refused {}\"}}) \
         {{ token userErrors {{ code }} }} }}",
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, input.as_bytes())
    );
    let data = stack.ask(caller, &query).await;
    assert_eq!(data["m"]["token"], Value::Null, "{name}");
    data["m"]["userErrors"][0]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_account_is_set_up_from_open_to_disabled() {
    let stack = Stack::start().await;
    let admin = caller(Role::Administrator);
    let settings = "settings: {telegram: {apiBase: \"https://api.example.org\"}}";
    let opened =
        twice(&stack, &admin, "openAccount", &format!("name: \"Bot\", {settings}"), "changed { id name }").await;
    let id = opened["changed"]["id"].as_str().unwrap().to_owned();
    let account = format!("account: \"{id}\"");
    let changed = "changed { name settings { ... on TelegramSettings { apiBase } } }";
    let input = format!("{account}, name: \"Robot\", settings: {{telegram: {{}}}}");
    let answer = twice(&stack, &admin, "changeAccountSettings", &input, changed).await;
    assert_eq!(answer["changed"], json!({"name": "Robot", "settings": {"apiBase": null}}));
    let made = twice(&stack, &admin, "issueAccountSecret", &account, "secret").await;
    assert_eq!(made["secret"].as_str().unwrap().len(), 64);
    let own = format!("{account}, secret: \"{}\"", "s".repeat(32));
    let query = format!(
        "mutation {{ issueAccountSecret(input: {{{own}, idempotencyKey: \"2\"}}) {{ secret userErrors {{ code }} }} }}"
    );
    let data = stack.ask(&admin, &query).await;
    assert_eq!(data["issueAccountSecret"], json!({"secret": null, "userErrors": []}), "a given secret is not repeated");
    assert_eq!(refused(&stack, &admin, "issueAccountSecret", &account).await, "TOO_MANY_SECRETS");
    let live = "changed { liveSecrets { number } }";
    let revoked = twice(&stack, &admin, "revokeAccountSecret", &format!("{account}, number: 1"), live).await;
    assert_eq!(revoked["changed"]["liveSecrets"], json!([{"number": 2}]));
    assert_eq!(refused(&stack, &admin, "revokeAccountSecret", &format!("{account}, number: 2")).await, "LAST_SECRET");
    let token = format!("{account}, credentials: {{telegram: {{botToken: \"1:x\"}}}}");
    let has = twice(&stack, &admin, "replaceAccountCredentials", &token, "changed { hasCredentials }").await;
    assert_eq!(has["changed"]["hasCredentials"], json!(true));
    let mail = format!("{account}, credentials: {{email: {{username: \"u\", password: \"p\"}}}}");
    assert_eq!(refused(&stack, &admin, "replaceAccountCredentials", &mail).await, "WRONG_CHANNEL");
    let hook = twice(&stack, &admin, "registerWebhook", &account, "changed { webhookUrl webhookSecret }").await;
    let expected = json!({"webhookUrl": format!("https://example.org/webhooks/{id}"), "webhookSecret": 1});
    assert_eq!(hook["changed"], expected);
    let reason = format!("{account}, reason: \"moved\"");
    let off = twice(&stack, &admin, "disableAccount", &reason, "changed { enabled disabledReason }").await;
    assert_eq!(off["changed"], json!({"enabled": false, "disabledReason": "moved"}));
    let on = twice(&stack, &admin, "enableAccount", &account, "changed { enabled }").await;
    assert_eq!(on["changed"], json!({"enabled": true}));
    // Nothing secret is in any event that a supervisor can see.
    let events = stack.ask(&admin, "{ events(first: 100) { nodes { type payload } } }").await.to_string();
    assert!(events.contains("account.secret_issued") && events.contains("\"SECRET\""));
    assert!(!events.contains(made["secret"].as_str().unwrap()) && !events.contains("1:x"));
    let node = stack.ask(&admin, &format!("{{ node(id: \"{id}\") {{ id ... on Account {{ name }} }} }}")).await;
    assert_eq!(node["node"], json!({"id": id, "name": "Robot"}));
    let stranger = of_tenant("globex", Role::Administrator);
    assert_eq!(refused(&stack, &stranger, "enableAccount", &account).await, "NOT_FOUND");
}

#[tokio::test]
async fn bad_settings_are_refused_as_user_errors() {
    let stack = Stack::start().await;
    let admin = caller(Role::Administrator);
    for settings in [
        "{telegram: {apiBase: \"ftp://x\"}}",
        "{webchat: {allowedOrigins: [\"https://a.example/path\"]}}",
        "{email: {address: \"nobody\", smtp: {host: \"h\", port: 25, tls: NONE}}}",
        "{email: {address: \"a@example.org\", smtp: {host: \"\", port: 25, tls: NONE}}}",
    ] {
        let input = format!("name: \"x\", settings: {settings}");
        assert_eq!(refused(&stack, &admin, "openAccount", &input).await, "INVALID_VALUE", "{settings}");
    }
    let mail = "name: \"Mail\", settings: {email: {address: \"Help@Example.org\", \
        smtp: {host: \"h\", port: 25, tls: START_TLS}}}";
    let changed = "changed { channel settings { ... on EmailSettings { smtp { tls } } } }";
    let opened = twice(&stack, &admin, "openAccount", mail, changed).await;
    assert_eq!(opened["changed"], json!({"channel": "EMAIL", "settings": {"smtp": {"tls": "START_TLS"}}}));
}

#[tokio::test]
async fn an_operator_works_on_a_conversation() {
    let stack = Stack::start().await;
    let (_, conversation) = stack.conversation().await;
    let (operator, id) = (caller(Role::Operator), format!("conversation: \"{conversation}\""));
    let seen = stack.settle().await;
    let send = format!("{id}, text: \"good morning\", attachments: [{{upload: \"upload-1\"}}], seenAt: \"{seen}\"");
    let selection = "messageId changed { speaker { kind id } waitingSince latestMessage { ... on Message { id text \
        direction kind delivery { state attempt } attachments { fileName mediaType sizeBytes url } } } }";
    let sent = twice(&stack, &operator, "sendMessage", &send, selection).await;
    let message = sent["messageId"].as_str().unwrap().to_owned();
    let file = json!({"fileName": "offer.png", "mediaType": "image/png", "sizeBytes": 7,
        "url": format!("/media/{conversation}/{message}/0")});
    let latest = json!({"id": message, "text": "good morning", "direction": "OUTBOUND", "kind": "PHOTO",
        "delivery": {"state": "QUEUED", "attempt": 0}, "attachments": [file]});
    assert_eq!(sent["changed"]["latestMessage"], latest);
    assert_eq!(sent["changed"]["speaker"], json!({"kind": "OPERATOR", "id": "operator"}));
    // What the operator saw is in the event, with role and mask policy.
    let stream = events::envelope::StreamName::new(
        events::envelope::Category::Conversation,
        "acme".parse().unwrap(),
        conversation.uuid(),
    );
    let last = stack.handler.log().read_stream(&stream, None, Direction::Backwards, 1).await.unwrap();
    let saw = last[0].metadata.seen_at.clone().unwrap();
    assert_eq!((saw.position, saw.role.as_ref(), saw.mask_policy), (seen, "operator", 1));
    assert_eq!(last[0].metadata.actor, Actor::Operator("operator".into()));
    assert_eq!(last[0].metadata.correlation, operator.correlation);

    let noted = twice(&stack, &operator, "addNote", &format!("{id}, text: \"calls back\""), "noteId").await;
    assert!(noted["noteId"].is_string());
    let tags = format!("{id}, add: [\"vip\", \"late\"], remove: [\"old\"]");
    let tagged = twice(&stack, &operator, "tagConversation", &tags, "changed { tags }").await;
    assert_eq!(tagged["changed"]["tags"], json!(["late", "vip"]));
    let mine = format!("{id}, operator: \"olga\"");
    let assigned = twice(&stack, &operator, "assignConversation", &mine, "changed { assignee }").await;
    assert_eq!(assigned["changed"]["assignee"], json!("olga"));
    let to = format!("{id}, to: {{kind: OPERATOR, id: \"olga\"}}");
    let handed = twice(&stack, &operator, "handOver", &to, "changed { speaker { id } }").await;
    assert_eq!(handed["changed"]["speaker"]["id"], json!("olga"));
    assert_eq!(refused(&stack, &operator, "sendMessage", &format!("{id}, text: \"x\"")).await, "HELD_BY_OTHER");
    let until = format!("{id}, until: \"{}\"", at(3600).to_rfc3339());
    let rests = twice(&stack, &operator, "snoozeConversation", &until, "changed { status }").await;
    assert_eq!(rests["changed"]["status"], json!("SNOOZED"));
    let woken = twice(&stack, &operator, "wakeConversation", &id, "changed { status }").await;
    assert_eq!(woken["changed"]["status"], json!("OPEN"));
    let read = twice(&stack, &operator, "markRead", &format!("{id}, upTo: 2"), "changed { unread readUpTo }").await;
    assert_eq!(read["changed"], json!({"unread": 0, "readUpTo": 2}));
    let resolved = format!("{id}, reason: \"resolved\"");
    let closed = twice(&stack, &operator, "closeConversation", &resolved, "changed { status closedReason }").await;
    assert_eq!(closed["changed"], json!({"status": "CLOSED", "closedReason": "resolved"}));
    let opened = twice(&stack, &operator, "reopenConversation", &id, "changed { status episode }").await;
    assert_eq!(opened["changed"], json!({"status": "OPEN", "episode": 2}));

    let past = format!("{id}, until: \"{}\"", at(-1).to_rfc3339());
    assert_eq!(refused(&stack, &operator, "snoozeConversation", &past).await, "INVALID_VALUE");
    assert_eq!(refused(&stack, &operator, "sendMessage", &id).await, "INVALID_VALUE");
    let unknown = format!("{id}, attachments: [{{upload: \"upload-2\"}}]");
    assert_eq!(refused(&stack, &operator, "sendMessage", &unknown).await, "NOT_FOUND");
    let (here, foreign) = (format!("acme:{}", conversation.uuid()), format!("globex:{}", conversation.uuid()));
    for seen in ["99999999".to_owned(), format!("99999999@conversation-{here}"), format!("1@conversation-{foreign}")] {
        let note = format!("{id}, text: \"x\", idempotencyKey: \"never seen\", seenAt: \"{seen}\"");
        let note = format!("mutation {{ addNote(input: {{{note}}}) {{ token }} }}");
        assert_eq!(stack.code(&operator, &note).await, "BAD_USER_INPUT", "{seen}");
    }
    let key = format!("mutation {{ addNote(input: {{{id}, text: \"x\", idempotencyKey: \" \"}}) {{ token }} }}");
    assert_eq!(stack.code(&operator, &key).await, "BAD_USER_INPUT");
}

#[tokio::test]
async fn a_dead_letter_is_listed_and_sent_again() {
    let stack = Stack::start().await;
    let (_, conversation) = stack.conversation().await;
    let (supervisor, id) = (caller(Role::Supervisor), format!("conversation: \"{conversation}\""));
    let sent = twice(&stack, &supervisor, "sendMessage", &format!("{id}, text: \"x\""), "messageId").await;
    let message = sent["messageId"].as_str().unwrap();
    let fail = ConversationCommand::FailDelivery { message: message.parse().unwrap(), reason: "blocked".to_owned() };
    stack.drive(conversation, "fail", fail).await;
    stack.settle().await;
    let query = "{ deadLetters { nodes { message state reason conversation { id } } } }";
    let dead = json!([{"message": message, "state": "FAILED", "reason": "blocked",
        "conversation": {"id": conversation.to_string()}}]);
    assert_eq!(stack.ask(&supervisor, query).await["deadLetters"]["nodes"], dead);
    let input = format!("{id}, message: \"{message}\"");
    let selection = "changed { latestMessage { ... on Message { delivery { state } } } }";
    let again = twice(&stack, &supervisor, "redriveMessage", &input, selection).await;
    assert_eq!(again["changed"]["latestMessage"]["delivery"]["state"], json!("QUEUED"));
    assert_eq!(stack.ask(&supervisor, query).await["deadLetters"]["nodes"], json!([]));
    assert_eq!(refused(&stack, &supervisor, "redriveMessage", &input).await, "WRONG_DELIVERY_STATE");
}

#[tokio::test]
async fn a_parked_delivery_is_tried_again() {
    let stack = Stack::start().await;
    let supervisor = caller(Role::Supervisor);
    let (intake, event) = stack.delivers("acme", "raw").await;
    let input = format!("stream: \"{intake}\", event: \"{event}\"");
    assert_eq!(refused(&stack, &supervisor, "redriveIntake", &input).await, "NOT_FOUND", "it has no outcome yet");
    let park = IntakeCommand::Park { received: event, reason: "conflicts".to_owned(), attempts: 5 };
    stack.decides("acme", intake, park).await;
    let answer = twice(&stack, &supervisor, "redriveIntake", &input, "").await;
    let query = format!("{{ intake(afterToken: {}) {{ nodes {{ outcome }} }} }}", answer["token"]);
    assert_eq!(stack.ask(&supervisor, &query).await["intake"]["nodes"], json!([{"outcome": "REDRIVEN"}]));
}

#[tokio::test]
async fn two_contacts_become_one_person_and_two_again() {
    let stack = Stack::start().await;
    let operator = caller(Role::Operator);
    let (one, other) = (stack.customer("acme", 1).await, stack.customer("acme", 2).await);
    let side = |who: events::ids::Occupancy| format!("{{contact: \"{}\", occupancy: {}}}", who.contact, who.number);
    let pair = format!("one: {}, other: {}", side(one), side(other));
    let selection = "changed { contacts { address } links { basis } }";
    let linked = twice(&stack, &operator, "linkContacts", &pair, selection).await;
    assert_eq!(linked["changed"]["contacts"].as_array().unwrap().len(), 2);
    assert_eq!(linked["changed"]["links"], json!([{"basis": "OPERATOR"}]));
    let apart = twice(&stack, &operator, "unlinkContacts", &pair, selection).await;
    assert_eq!(apart["changed"], json!({"contacts": [{"address": "1001"}], "links": []}));
    assert_eq!(refused(&stack, &operator, "unlinkContacts", &pair).await, "NOT_LINKED");
    let same = format!("one: {}, other: {}", side(one), side(one));
    assert_eq!(refused(&stack, &operator, "linkContacts", &same).await, "SAME_CONTACT");
    let stranger = stack.customer("globex", 3).await;
    let foreign = format!("one: {}, other: {}", side(one), side(stranger));
    assert_eq!(refused(&stack, &operator, "linkContacts", &foreign).await, "NOT_FOUND");
}

#[tokio::test]
async fn an_operator_writes_down_and_takes_back_what_a_person_is() {
    let stack = Stack::start().await;
    let (who, _) = stack.conversation().await;
    let operator = caller(Role::Operator);
    let profile = format!("profile: \"{}\"", stack.handler.codec().hasher().profile(who));
    let name = format!("{profile}, attribute: DISPLAY_NAME, value: \" Anna \"");
    let selection = "changed { displayName attributes { name value source } }";
    let named = twice(&stack, &operator, "recordAttribute", &name, selection).await;
    assert_eq!(named["changed"]["displayName"], json!("Anna"), "an operator's word is shown first");
    assert_eq!(named["changed"]["attributes"].as_array().unwrap().len(), 2);
    let take = format!("{profile}, attribute: DISPLAY_NAME");
    let taken = twice(&stack, &operator, "retractAttribute", &take, "changed { displayName }").await;
    assert_eq!(taken["changed"]["displayName"], json!("Customer 1"));
    let phone = format!("{profile}, attribute: PHONE, value: \"no number\"");
    assert_eq!(refused(&stack, &operator, "recordAttribute", &phone).await, "INVALID_VALUE");
    let vacate = format!("contact: \"{}\", occupancy: 1", who.contact);
    let selection = "changed { contacts { vacatedReason } }";
    let vacated = twice(&stack, &operator, "vacateContact", &vacate, selection).await;
    assert_eq!(vacated["changed"]["contacts"], json!([{"vacatedReason": "REASSIGNED"}]));
    let later = format!("contact: \"{}\", occupancy: 2", who.contact);
    assert_eq!(refused(&stack, &operator, "vacateContact", &later).await, "NOT_OCCUPIED");
}

#[tokio::test]
async fn one_key_for_two_conversations_is_told_apart() {
    let stack = Stack::start().await;
    let (who, conversation) = stack.conversation().await;
    let other = stack.writes("acme", who, 2, "hello").await;
    let operator = caller(Role::Operator);
    let note = |to| {
        format!(
            "mutation {{ addNote(input: {{conversation: \"{to}\", text: \"x\", idempotencyKey: \"k\"}}) \
             {{ userErrors {{ code field }} }} }}"
        )
    };
    assert_eq!(stack.ask(&operator, &note(conversation)).await["addNote"]["userErrors"], json!([]));
    let errors = stack.ask(&operator, &note(other)).await["addNote"]["userErrors"].clone();
    assert_eq!(errors, json!([{"code": "IDEMPOTENCY_KEY_REUSED", "field": "idempotencyKey"}]));
}

#[tokio::test]
async fn one_key_for_two_texts_is_told_apart_and_the_same_text_spelled_otherwise_is_not() {
    let stack = Stack::start().await;
    let (_, conversation) = stack.conversation().await;
    let operator = caller(Role::Operator);
    let selection = "{ token userErrors { code field } }";
    let send = |text: &str| {
        let input = format!("conversation: \"{conversation}\", text: \"{text}\", idempotencyKey: \"k2\"");
        format!("mutation {{ sendMessage(input: {{{input}}}) {selection} }}")
    };
    let first = stack.ask(&operator, &send("Good day")).await["sendMessage"].clone();
    assert_eq!(first["userErrors"], json!([]));
    let other = stack.ask(&operator, &send("Good night")).await["sendMessage"].clone();
    let reused = json!([{"code": "IDEMPOTENCY_KEY_REUSED", "field": "idempotencyKey"}]);
    assert_eq!(other, json!({"token": null, "userErrors": reused}));

    // The same wish: fields in another order, a null, from a variable, after another look.
    let token = first["token"].clone();
    let input = json!({
        "text": "Good day", "seenAt": token, "subject": null, "idempotencyKey": "k2",
        "conversation": conversation.to_string(),
    });
    let query = format!("mutation Send($input: SendMessageInput!) {{ sendMessage(input: $input) {selection} }}");
    let again = stack.ask_with(&operator, &query, json!({ "input": input })).await;
    assert_eq!(again["data"]["sendMessage"], first, "{again}");
    let stream = StreamName::new(Category::Conversation, "acme".parse().unwrap(), conversation.uuid());
    let read = stack.handler.log().read_stream(&stream, None, Direction::Forwards, 100);
    let sent = read.await.unwrap();
    assert_eq!(sent.iter().filter(|event| &*event.event_type == "conversation.message_queued").count(), 1);
}

#[tokio::test]
async fn one_key_for_the_webhooks_of_two_accounts_is_told_apart() {
    let stack = Stack::start().await;
    let admin = caller(Role::Administrator);
    let mut answers = Vec::new();
    for number in 1..=2 {
        let open = format!("name: \"Bot {number}\", settings: {{telegram: {{}}}}, idempotencyKey: \"{number}\"");
        let open = format!("mutation {{ openAccount(input: {{{open}}}) {{ changed {{ id }} }} }}");
        let id = stack.ask(&admin, &open).await["openAccount"]["changed"]["id"].as_str().unwrap().to_owned();
        let register = format!("account: \"{id}\", idempotencyKey: \"k\"");
        let register = format!("mutation {{ registerWebhook(input: {{{register}}}) {{ userErrors {{ code }} }} }}");
        answers.push(stack.ask(&admin, &register).await["registerWebhook"]["userErrors"].clone());
    }
    assert_eq!(answers, [json!([]), json!([{"code": "IDEMPOTENCY_KEY_REUSED"}])]);
}
