//! Cases and their types as the schema shows them.
//!
//! **Invariant:** every mutation of cases is carried out here, sent again, and refused where a rule says so.

use events::ids::ConversationId;
use events::viewer::Role;
use serde_json::{Value, json};

use super::mutations::{refused, twice};
use super::stack::{Stack, caller};

const FIELDS: &str = "fields: [{key: \"order\", name: \"Заказ\", kind: TEXT, required: true, maxChars: 20}, \
    {key: \"pieces\", name: \"Штук\", kind: INTEGER, min: 1}, \
    {key: \"cause\", name: \"Причина\", kind: CHOICE, options: [\"брак\", \"не подошло\"]}]";

async fn case_type(stack: &Stack) -> String {
    let query = format!(
        "mutation {{ m: openCaseType(input: {{name: \"Возврат\", rules: {{priority: 3, {FIELDS}}}, \
         idempotencyKey: \"type\"}}) {{ changed {{ id }} userErrors {{ message }} }} }}"
    );
    let data = stack.ask(&caller(Role::Administrator), &query).await;
    data["m"]["changed"]["id"].as_str().unwrap_or_else(|| panic!("{data}")).to_owned()
}

/// A case of a conversation.
async fn open(stack: &Stack, conversation: ConversationId, case_type: &str, title: &str) -> Value {
    let query = format!(
        "mutation {{ m: openCase(input: {{conversation: \"{conversation}\", caseType: \"{case_type}\", \
         title: \"{title}\", idempotencyKey: \"{title}\"}}) {{ changed {{ id number }} userErrors {{ message }} }} }}"
    );
    let mut data = stack.ask(&caller(Role::Operator), &query).await;
    data["m"]["changed"].take()
}

#[tokio::test]
async fn a_type_of_cases_is_opened_changed_and_closed() {
    let stack = Stack::start().await;
    let admin = caller(Role::Administrator);
    let selection = "changed { id name priority closed fields { key kind required maxChars min options } }";
    let input = format!("name: \"Возврат\", rules: {{priority: 3, {FIELDS}}}");
    let opened = twice(&stack, &admin, "openCaseType", &input, selection).await;
    let fields = json!([
        {"key": "order", "kind": "TEXT", "required": true, "maxChars": 20, "min": null, "options": null},
        {"key": "pieces", "kind": "INTEGER", "required": false, "maxChars": null, "min": 1, "options": null},
        {"key": "cause", "kind": "CHOICE", "required": false, "maxChars": null, "min": null,
            "options": ["брак", "не подошло"]}]);
    assert_eq!((&opened["changed"]["fields"], &opened["changed"]["priority"]), (&fields, &json!(3)));
    let id = opened["changed"]["id"].as_str().unwrap();
    let input = format!("caseType: \"{id}\", name: \"Обмен\", rules: {{fields: []}}");
    let changed = twice(&stack, &admin, "changeCaseType", &input, "changed { name fields { key } }").await;
    assert_eq!(changed["changed"], json!({"name": "Обмен", "fields": []}));
    let closed = twice(&stack, &admin, "closeCaseType", &format!("caseType: \"{id}\""), "changed { closed }").await;
    assert_eq!(closed["changed"]["closed"], json!(true));
    let bad = "name: \"x\", rules: {fields: [{key: \"Key\", name: \"x\", kind: FLAG}]}";
    assert_eq!(refused(&stack, &admin, "openCaseType", bad).await, "INVALID_VALUE");
    let (_, conversation) = stack.conversation().await;
    let of_closed = format!("conversation: \"{conversation}\", caseType: \"{id}\", title: \"x\"");
    assert_eq!(refused(&stack, &admin, "openCase", &of_closed).await, "NOT_FOUND");
    let seen =
        stack.ask(&caller(Role::Agent), &format!("{{ caseTypes {{ name }} node(id: \"{id}\") {{ id }} }}")).await;
    assert_eq!(seen, json!({"caseTypes": [{"name": "Обмен"}], "node": {"id": id}}));
}

#[tokio::test]
async fn a_case_is_opened_from_a_conversation_with_the_next_number() {
    let stack = Stack::start().await;
    let (_, conversation) = stack.conversation().await;
    let case_type = case_type(&stack).await;
    let operator = caller(Role::Operator);
    let base = format!("conversation: \"{conversation}\", caseType: \"{case_type}\"");
    // What cannot be opened takes no number.
    let good = "fields: [{key: \"pieces\", integer: 2}]";
    for bad in [
        "title: \" \"".to_owned(),
        "title: \"x\", priority: 10".to_owned(),
        "title: \"x\", fields: [{key: \"pieces\", integer: 0}]".to_owned(),
        "title: \"x\", fields: [{key: \"pieces\", integer: 1, text: \"1\"}]".to_owned(),
        "title: \"x\", fields: [{key: \"pieces\"}]".to_owned(),
        format!("title: \"x\", {}", good.replace("}]", "}, {key: \"pieces\", integer: 3}]")),
        "title: \"x\", fields: [{key: \"unknown\", flag: true}]".to_owned(),
    ] {
        assert_eq!(refused(&stack, &operator, "openCase", &format!("{base}, {bad}")).await, "INVALID_VALUE", "{bad}");
    }
    let selection = "changed { id number title status priority caseType { name } customer { contact } \
        fields { key integer text erased } conversations { id cases { number } } history { nodes { type actor { id } } } }";
    let opened =
        twice(&stack, &operator, "openCase", &format!("{base}, title: \"Вернуть чайник\", {good}"), selection).await;
    let case = &opened["changed"];
    assert_eq!(
        (&case["number"], &case["title"], &case["status"]),
        (&json!(1), &json!("Вернуть чайник"), &json!("NEW"))
    );
    assert_eq!((&case["priority"], &case["caseType"]["name"]), (&json!(3), &json!("Возврат")));
    assert_eq!(case["fields"], json!([{"key": "pieces", "integer": 2, "text": null, "erased": false}]));
    assert!(case["customer"]["contact"].is_string());
    assert_eq!(case["conversations"], json!([{"id": conversation.to_string(), "cases": [{"number": 1}]}]));
    let steps = json!([{"type": "case.opened", "actor": {"id": operator.viewer.id.as_ref()}}]);
    assert_eq!(case["history"]["nodes"], steps);
    assert_eq!(open(&stack, conversation, &case_type, "Ещё").await["number"], json!(2));
    let found = stack.ask(&operator, "{ caseByNumber(number: 2) { title } none: caseByNumber(number: 3) { title } }");
    assert_eq!(found.await, json!({"caseByNumber": {"title": "Ещё"}, "none": null}));
    let nowhere =
        format!("conversation: \"conversation-{}\", caseType: \"{case_type}\", title: \"x\"", uuid::Uuid::nil());
    assert_eq!(refused(&stack, &operator, "openCase", &nowhere).await, "NOT_FOUND");
}

#[tokio::test]
async fn a_case_goes_its_way_from_new_to_resolved() {
    let stack = Stack::start().await;
    let (who, conversation) = stack.conversation().await;
    let case_type = case_type(&stack).await;
    let operator = caller(Role::Operator);
    let id = open(&stack, conversation, &case_type, "Вернуть чайник").await["id"].as_str().unwrap().to_owned();
    let case = format!("case: \"{id}\"");
    let status = |status: &str| format!("{case}, status: {status}");
    assert_eq!(refused(&stack, &operator, "setCaseStatus", &status("RESOLVED")).await, "NOT_READY");
    let input = format!("{case}, title: \"Чайник\", set: [{{key: \"order\", text: \"№ 17\"}}], clear: [\"pieces\"]");
    let changed = twice(&stack, &operator, "changeCase", &input, "changed { title fields { key text } }").await;
    assert_eq!(changed["changed"], json!({"title": "Чайник", "fields": [{"key": "order", "text": "№ 17"}]}));
    let bad = format!("{case}, set: [{{key: \"cause\", text: \"просто\"}}]");
    assert_eq!(refused(&stack, &operator, "changeCase", &bad).await, "INVALID_VALUE");
    let urgent =
        twice(&stack, &operator, "prioritiseCase", &format!("{case}, priority: 9"), "changed { priority }").await;
    assert_eq!(urgent["changed"]["priority"], json!(9));
    let until = "2099-01-01T00:00:00+00:00";
    let promise = format!("{case}, until: \"{until}\"");
    let promised = twice(&stack, &operator, "promiseCase", &promise, "changed { promisedUntil }").await;
    assert_eq!(promised["changed"]["promisedUntil"], json!(until));
    let past = format!("{case}, until: \"2000-01-01T00:00:00Z\"");
    assert_eq!(refused(&stack, &operator, "promiseCase", &past).await, "INVALID_VALUE");
    let assign = format!("{case}, operator: \"anna\"");
    let assigned = twice(&stack, &operator, "assignCase", &assign, "changed { assignee }").await;
    assert_eq!(assigned["changed"]["assignee"], json!("anna"));
    let note = twice(&stack, &operator, "addCaseNote", &format!("{case}, text: \"ждёт курьера\""), "").await;
    assert!(note["token"].is_string());
    let reply = format!("{case}, text: \"Курьер приедет завтра\"");
    let replying = format!("mutation {{ setReplying(conversation: \"{conversation}\") {{ mine }} }}");
    let mut boris = operator.clone();
    boris.viewer.id = "boris".into();
    stack.ask(&boris, &replying).await;
    assert_eq!(refused(&stack, &operator, "replyToCase", &reply).await, "HELD_BY_OTHER");
    let reply = format!("{reply}, despiteDraft: true");
    let replied = twice(&stack, &operator, "replyToCase", &reply, "changed { id latestMessage { __typename } }").await;
    assert_eq!(replied["changed"]["id"], json!(conversation.to_string()));
    let foreign = format!("{case}, text: \"x\", conversation: \"conversation-{}\"", uuid::Uuid::nil());
    assert_eq!(refused(&stack, &operator, "replyToCase", &foreign).await, "NOT_FOUND");
    let input = format!("{}, reason: \"refunded\"", status("RESOLVED"));
    let resolved = twice(&stack, &operator, "setCaseStatus", &input, "changed { status statusReason }").await;
    assert_eq!(resolved["changed"], json!({"status": "RESOLVED", "statusReason": "refunded"}));
    let query = format!(
        "{{ case(id: \"{id}\") {{ notes {{ nodes {{ text actor {{ id }} }} }} \
         history(last: 3) {{ nodes {{ type payload }} pageInfo {{ hasPreviousPage }} }} }} \
         cases(filter: {{status: [RESOLVED], assignee: OPERATOR, assigneeId: \"anna\"}}, sort: PROMISED_FIRST) \
         {{ nodes {{ id }} }} none: cases(filter: {{status: [NEW]}}) {{ nodes {{ id }} }} }}"
    );
    let data = stack.ask(&operator, &query).await;
    let notes = json!([{"text": "ждёт курьера", "actor": {"id": operator.viewer.id.as_ref()}}]);
    assert_eq!(data["case"]["notes"]["nodes"], notes);
    let steps: Vec<_> = data["case"]["history"]["nodes"].as_array().unwrap().iter().map(|step| &step["type"]).collect();
    assert_eq!(steps, ["case.assigned", "case.note_added", "case.status_changed"]);
    assert_eq!(data["case"]["history"]["nodes"][1]["payload"]["content"], json!({"text": "ждёт курьера"}));
    assert_eq!(data["case"]["history"]["pageInfo"]["hasPreviousPage"], json!(true));
    assert_eq!((&data["cases"]["nodes"], &data["none"]["nodes"]), (&json!([{"id": id}]), &json!([])));
    stack.erase(who).await;
    let data = stack.ask(&operator, &format!("{{ case(id: \"{id}\") {{ history {{ nodes {{ payload }} }} }} }}")).await;
    assert_eq!(data["case"]["history"]["nodes"][0]["payload"]["content"], json!("ERASED"));
}

#[tokio::test]
async fn duplicates_are_merged_and_taken_apart_and_cases_are_linked() {
    let stack = Stack::start().await;
    let (who, conversation) = stack.conversation().await;
    let second = stack.writes("acme", who, 2, "and another").await;
    stack.settle().await;
    let case_type = case_type(&stack).await;
    let operator = caller(Role::Operator);
    let one = open(&stack, conversation, &case_type, "one").await["id"].as_str().unwrap().to_owned();
    stack.clock.advance(chrono::TimeDelta::seconds(1));
    let two = open(&stack, second, &case_type, "two").await["id"].as_str().unwrap().to_owned();
    let into = format!("case: \"{two}\", into: \"{one}\"");
    let merged = twice(&stack, &operator, "mergeCase", &into, "changed { mergedInto { number } }").await;
    assert_eq!(merged["changed"]["mergedInto"]["number"], json!(1));
    let shown = format!(
        "{{ case(id: \"{one}\") {{ duplicates {{ number }} conversations {{ id }} }} cases {{ nodes {{ number }} }} \
         all: cases(filter: {{merged: true}}, sort: OLDEST) {{ nodes {{ number }} }} }}"
    );
    let data = stack.ask(&operator, &shown).await;
    let both = json!([{"id": conversation.to_string()}, {"id": second.to_string()}]);
    assert_eq!(data["case"], json!({"duplicates": [{"number": 2}], "conversations": both}));
    assert_eq!(
        (&data["cases"]["nodes"], &data["all"]["nodes"]),
        (&json!([{"number": 1}]), &json!([{"number": 1}, {"number": 2}]))
    );
    assert_eq!(refused(&stack, &operator, "prioritiseCase", &format!("case: \"{two}\", priority: 1")).await, "MERGED");
    assert_eq!(refused(&stack, &operator, "mergeCase", &format!("case: \"{one}\", into: \"{two}\"")).await, "MERGED");
    assert_eq!(refused(&stack, &operator, "unmergeCase", &format!("case: \"{one}\"")).await, "NOT_MERGED");
    let apart =
        twice(&stack, &operator, "unmergeCase", &format!("case: \"{two}\""), "changed { mergedInto { id } }").await;
    assert_eq!(apart["changed"]["mergedInto"], Value::Null);
    let link = format!("case: \"{one}\", other: \"{two}\", relation: BLOCKED_BY");
    let links = "changed { links { relation fromHere case { number } } }";
    let linked = twice(&stack, &operator, "linkCases", &link, links).await;
    assert_eq!(
        linked["changed"]["links"],
        json!([{"relation": "BLOCKED_BY", "fromHere": true, "case": {"number": 2}}])
    );
    let from_there = stack.ask(&operator, &format!("{{ case(id: \"{two}\") {{ links {{ fromHere }} }} }}")).await;
    assert_eq!(from_there["case"]["links"], json!([{"fromHere": false}]));
    let unlinked = twice(&stack, &operator, "unlinkCases", &link, links).await;
    assert_eq!(unlinked["changed"]["links"], json!([]));
    let with = format!("case: \"{one}\", conversation: \"{second}\"");
    let selection = "changed { conversations { id } }";
    let linked = twice(&stack, &operator, "linkCaseConversation", &with, selection).await;
    assert_eq!(linked["changed"]["conversations"], both);
    let unlinked = twice(&stack, &operator, "unlinkCaseConversation", &with, selection).await;
    assert_eq!(unlinked["changed"]["conversations"], json!([{"id": conversation.to_string()}]));
    let last = format!("case: \"{one}\", conversation: \"{conversation}\"");
    assert_eq!(refused(&stack, &operator, "unlinkCaseConversation", &last).await, "INVALID_VALUE");
}
