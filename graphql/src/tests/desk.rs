//! Calendars, queues and operators as the schema shows them.
//!
//! **Invariant:** every mutation of the desk is carried out here, sent again, and refused where a rule says so.

use events::viewer::Role;
use serde_json::json;

use super::mutations::{refused, twice};
use super::stack::{Stack, caller};

const HOURS: &str = "hours: {zone: \"Europe/Moscow\", week: [{weekday: MONDAY, spans: [{from: \"09:00\", \
    until: \"18:00\"}]}], days: [{date: \"2026-11-30\", name: \"Учёт\", spans: []}]}";

#[tokio::test]
async fn a_calendar_is_opened_changed_and_counted_by() {
    let stack = Stack::start().await;
    let admin = caller(Role::Administrator);
    let input = format!("name: \"Офис\", {HOURS}");
    let selection = "changed { id name hours { zone week { weekday spans { from until } } days { date name } } }";
    let opened = twice(&stack, &admin, "openCalendar", &input, selection).await;
    let calendar = &opened["changed"];
    let week = json!([{"weekday": "MONDAY", "spans": [{"from": "09:00", "until": "18:00"}]}]);
    assert_eq!((&calendar["hours"]["zone"], &calendar["hours"]["week"]), (&json!("Europe/Moscow"), &week));
    assert_eq!(calendar["hours"]["days"], json!([{"date": "2026-11-30", "name": "Учёт"}]));
    let id = calendar["id"].as_str().unwrap();
    let name = format!("calendar: \"{id}\", name: \"Склад\", {HOURS}");
    let changed = twice(&stack, &admin, "changeCalendar", &name, "changed { name }").await;
    assert_eq!(changed["changed"]["name"], "Склад");
    // Moscow is three hours ahead of UTC. Monday the 30th is free, so the next opening is on the 7th.
    let query = "{ calendars { before: isOpen(at: \"2026-11-23T05:59:00Z\") open: isOpen(at: \"2026-11-23T06:00:00Z\") \
        nextOpening(at: \"2026-11-28T00:00:00Z\") \
        workingSeconds(from: \"2026-11-23T14:00:00Z\", to: \"2026-12-07T07:00:00Z\") \
        due(from: \"2026-11-23T14:00:00Z\", seconds: 7200) } }";
    let counted = json!([{"before": false, "open": true, "nextOpening": "2026-12-07T06:00:00+00:00",
        "workingSeconds": 7200, "due": "2026-12-07T07:00:00+00:00"}]);
    assert_eq!(stack.ask(&caller(Role::Operator), query).await["calendars"], counted);
    let node = format!("{{ node(id: \"{id}\") {{ ... on Calendar {{ name }} }} }}");
    assert_eq!(stack.ask(&caller(Role::Operator), &node).await["node"]["name"], "Склад");
    let far = "{ calendars { workingSeconds(from: \"1900-01-01T00:00:00Z\", to: \"2026-01-01T00:00:00Z\") } }";
    assert_eq!(stack.code(&admin, far).await, "BAD_USER_INPUT");
    for bad in [
        HOURS.replace("09:00", "9:00"),
        HOURS.replace("18:00", "24:01"),
        HOURS.replace("18:00", "08:00"),
        HOURS.replace("Europe/Moscow", "Mars/Olympus"),
    ] {
        let code = refused(&stack, &admin, "openCalendar", &format!("name: \"Офис\", {bad}")).await;
        assert_eq!(code, "INVALID_VALUE", "{bad}");
    }
    let unknown = format!("calendar: \"calendar-{}\", name: \"x\", {HOURS}", uuid::Uuid::from_u128(7));
    assert_eq!(refused(&stack, &admin, "changeCalendar", &unknown).await, "NOT_FOUND");
}

#[tokio::test]
async fn a_service_level_is_opened_changed_and_closed_and_its_clocks_are_explained() {
    let stack = Stack::start().await;
    let admin = caller(Role::Administrator);
    let rules = "rules: {targets: [{leastPriority: 0, firstResponseSeconds: 600, resolutionSeconds: 3600}, \
        {leastPriority: 5, firstResponseSeconds: 60}], warnBeforeSeconds: 120}";
    let selection = "changed { id name closed warnBeforeSeconds targets { leastPriority firstResponseSeconds } \
        calendar { name } }";
    let opened = twice(&stack, &admin, "openServiceLevel", &format!("name: \"Золотой\", {rules}"), selection).await;
    let id = opened["changed"]["id"].as_str().unwrap().to_owned();
    let targets = json!([{"leastPriority": 0, "firstResponseSeconds": 600},
        {"leastPriority": 5, "firstResponseSeconds": 60}]);
    assert_eq!(opened["changed"]["targets"], targets);
    let bad = "name: \"x\", rules: {targets: [{leastPriority: 0}]}";
    assert_eq!(refused(&stack, &admin, "openServiceLevel", bad).await, "INVALID_VALUE");
    let (_, conversation) = stack.conversation().await;
    let queue = queue(&stack, "Общая", &format!("serviceLevel: \"{id}\"")).await;
    stack.clock.advance(chrono::TimeDelta::seconds(100));
    let into = format!("conversation: \"{conversation}\", queue: \"{queue}\"");
    twice(&stack, &admin, "enqueueConversation", &into, "").await;
    stack.settle().await;
    stack.clock.advance(chrono::TimeDelta::seconds(200));
    let query = format!(
        "{{ conversation(id: \"{conversation}\") {{ queued {{ queue {{ serviceLevel {{ name }} }} }} \
         clocks {{ kind state elapsedSeconds remainingSeconds targetSeconds steps {{ countedSeconds pause }} }} \
         timeInStates {{ state times seconds }} }} }}"
    );
    let data = stack.ask(&caller(Role::Operator), &query).await;
    let shown = &data["conversation"];
    assert_eq!(shown["queued"]["queue"]["serviceLevel"]["name"], "Золотой");
    let steps = json!([{"countedSeconds": 100, "pause": null}, {"countedSeconds": 200, "pause": null}]);
    let clock = |kind: &str, target: i64| {
        json!({"kind": kind, "state": "RUNNING", "elapsedSeconds": 300, "remainingSeconds": target - 300,
            "targetSeconds": target, "steps": steps})
    };
    assert_eq!(shown["clocks"], json!([clock("FIRST_RESPONSE", 600), clock("RESOLUTION", 3600)]));
    let states = json!([{"state": "QUEUED", "times": 1, "seconds": 200},
        {"state": "WAITING_FOR_US", "times": 1, "seconds": 100}]);
    let without_instants: Vec<_> =
        shown["timeInStates"].as_array().unwrap().iter().filter(|time| time["seconds"] != json!(0)).collect();
    assert_eq!(json!(without_instants), states);
    let later = format!("serviceLevel: \"{id}\", name: \"Серебряный\", {}", rules.replace("600", "60"));
    let changed = twice(&stack, &admin, "changeServiceLevel", &later, "changed { name }").await;
    assert_eq!(changed["changed"]["name"], "Серебряный");
    let data = stack.ask(&caller(Role::Operator), &query).await;
    assert_eq!(data["conversation"]["clocks"][0]["state"], "MISSED", "by the shorter promise");
    let close = format!("serviceLevel: \"{id}\"");
    let closed = twice(&stack, &admin, "closeServiceLevel", &close, "changed { closed }").await;
    assert_eq!(closed["changed"]["closed"], json!(true));
    stack.clock.advance(chrono::TimeDelta::seconds(1));
    assert_eq!(stack.ask(&caller(Role::Operator), &query).await["conversation"]["clocks"], json!([]));
    let query = format!("{{ serviceLevels {{ name }} node(id: \"{id}\") {{ id }} }}");
    assert_eq!(
        stack.ask(&caller(Role::Operator), &query).await,
        json!({"serviceLevels": [{"name": "Серебряный"}], "node": {"id": id}})
    );
}

async fn queue(stack: &Stack, name: &str, rules: &str) -> String {
    let query = format!(
        "mutation {{ m: openQueue(input: {{name: \"{name}\", rules: {{{rules}}}, idempotencyKey: \"{name}\"}}) \
         {{ changed {{ id }} userErrors {{ message }} }} }}"
    );
    let data = stack.ask(&caller(Role::Administrator), &query).await;
    data["m"]["changed"]["id"].as_str().unwrap_or_else(|| panic!("{data}")).to_owned()
}

#[tokio::test]
async fn a_queue_is_opened_changed_and_closed() {
    let stack = Stack::start().await;
    let admin = caller(Role::Administrator);
    let general = queue(&stack, "Общая", "").await;
    let rules = format!("skills: [\"refunds\"], priority: 3, fallback: {{queue: \"{general}\", afterSeconds: 600}}");
    let selection = "changed { id name skills priority closed fallbackAfterSeconds fallback { name } \
        calendar { name } load { waiting longestSince inWork } }";
    let input = format!("name: \"Возвраты\", rules: {{{rules}}}");
    let opened = twice(&stack, &admin, "openQueue", &input, selection).await;
    let shown = json!({"id": opened["changed"]["id"], "name": "Возвраты", "skills": ["refunds"], "priority": 3,
        "closed": false, "fallbackAfterSeconds": 600, "fallback": {"name": "Общая"}, "calendar": null,
        "load": {"waiting": 0, "longestSince": null, "inWork": 0}});
    assert_eq!(opened["changed"], shown);
    let id = opened["changed"]["id"].as_str().unwrap();
    let input = format!("queue: \"{id}\", name: \"Деньги\", rules: {{}}");
    let changed = twice(&stack, &admin, "changeQueue", &input, "changed { name priority fallback { name } }").await;
    assert_eq!(changed["changed"], json!({"name": "Деньги", "priority": 0, "fallback": null}));
    let closed = twice(&stack, &admin, "closeQueue", &format!("queue: \"{id}\""), "changed { closed }").await;
    assert_eq!(closed["changed"]["closed"], json!(true));
    let itself = format!("queue: \"{id}\", name: \"x\", rules: {{fallback: {{queue: \"{id}\", afterSeconds: 1}}}}");
    assert_eq!(refused(&stack, &admin, "changeQueue", &itself).await, "INVALID_VALUE");
    assert_eq!(refused(&stack, &admin, "openQueue", "name: \"x\", rules: {priority: 10}").await, "INVALID_VALUE");
    let node = format!("{{ node(id: \"{id}\") {{ ... on Queue {{ name }} }} queues {{ name }} }}");
    let data = stack.ask(&caller(Role::Agent), &node).await;
    assert_eq!(data, json!({"node": {"name": "Деньги"}, "queues": [{"name": "Деньги"}, {"name": "Общая"}]}));
}

#[tokio::test]
async fn a_conversation_is_put_into_a_queue_and_seen_there() {
    let stack = Stack::start().await;
    let (_, conversation) = stack.conversation().await;
    let (refunds, closed) = (queue(&stack, "Возвраты", "priority: 4").await, queue(&stack, "Старая", "").await);
    twice(&stack, &caller(Role::Administrator), "closeQueue", &format!("queue: \"{closed}\""), "").await;
    let agent = caller(Role::Agent);
    let into = |queue: &str, more: &str| format!("conversation: \"{conversation}\", queue: \"{queue}\"{more}");
    let selection = "changed { speaker { kind } queued { priority language since queue { name load { waiting } } } \
        waitingSince }";
    let done = twice(&stack, &agent, "enqueueConversation", &into(&refunds, ", language: \"ru\""), selection).await;
    let queued = &done["changed"]["queued"];
    assert_eq!((&queued["priority"], &queued["language"]), (&json!(4), &json!("ru")));
    assert_eq!(queued["queue"], json!({"name": "Возвраты", "load": {"waiting": 1}}));
    assert_eq!(queued["since"], done["changed"]["waitingSince"], "since the customer waits");
    assert_eq!(refused(&stack, &agent, "enqueueConversation", &into(&closed, "")).await, "NOT_FOUND");
    assert_eq!(
        refused(&stack, &agent, "enqueueConversation", &into(&refunds, ", priority: 10")).await,
        "INVALID_VALUE"
    );
    let listed = format!("{{ conversations(filter: {{queue: \"{refunds}\"}}) {{ nodes {{ id }} }} }}");
    let data = stack.ask(&caller(Role::Operator), &listed).await;
    assert_eq!(data["conversations"]["nodes"], json!([{"id": conversation.to_string()}]));
}

#[tokio::test]
async fn an_operator_is_registered_comes_and_shows_signs_of_life() {
    let stack = Stack::start().await;
    let (admin, olga) = (caller(Role::Administrator), caller(Role::Operator));
    let who = olga.viewer.id.as_ref();
    let abilities = "abilities: {languages: [\"ru\", \"en\"], skills: [\"refunds\"], room: 5, \
        roomOfChannel: [{channel: EMAIL, room: 2}]}";
    let selection = "changed { id operator name presence load work { since } abilities { languages skills room \
        roomOfChannel { channel room } } }";
    let input = format!("operator: \"{who}\", name: \"Ольга\", {abilities}");
    let registered = twice(&stack, &admin, "registerOperator", &input, selection).await;
    let shown = json!({"id": registered["changed"]["id"], "operator": who, "name": "Ольга", "presence": "ABSENT",
        "load": 0, "work": [], "abilities": {"languages": ["en", "ru"], "skills": ["refunds"], "room": 5,
        "roomOfChannel": [{"channel": "EMAIL", "room": 2}]}});
    assert_eq!(registered["changed"], shown);
    let fewer = abilities.replace("room: 5", "room: 1");
    let input = format!("operator: \"{who}\", name: \"Ольга П.\", {fewer}");
    let changed = twice(&stack, &admin, "changeOperator", &input, "changed { name abilities { room } }").await;
    assert_eq!(changed["changed"], json!({"name": "Ольга П.", "abilities": {"room": 1}}));
    let here = twice(&stack, &olga, "setPresence", "presence: AVAILABLE", "changed { presence presenceReason }").await;
    assert_eq!(here["changed"], json!({"presence": "AVAILABLE", "presenceReason": "BY_THEMSELVES"}));
    let beat = stack.ask(&olga, "mutation { heartbeat { timeoutSeconds } }").await;
    assert_eq!(beat["heartbeat"], json!({"timeoutSeconds": 90}));
    let ages = stack.deps.heartbeats.ages().await.unwrap();
    assert!(ages.contains_key(&(olga.viewer.tenant.clone(), olga.viewer.id.clone())));
    let of_other = |who: &str| {
        format!(
            "mutation {{ m: setPresence(input: {{presence: BUSY, operator: \"{who}\", idempotencyKey: \"other {who}\"}}) \
             {{ userErrors {{ code }} changed {{ presenceReason }} }} }}"
        )
    };
    assert_eq!(stack.code(&olga, &of_other("somebody else")).await, "FORBIDDEN");
    let mut supervisor = caller(Role::Supervisor);
    supervisor.viewer.id = "the supervisor".into();
    let data = stack.ask(&supervisor, &of_other(who)).await;
    assert_eq!(data["m"], json!({"userErrors": [], "changed": {"presenceReason": "BY_SUPERVISOR"}}));
    let data = stack.ask(&supervisor, &of_other("nobody")).await;
    assert_eq!(data["m"]["userErrors"][0]["code"], "NOT_FOUND");
    let listed = stack.ask(&olga, "{ operators { operator presence } }").await;
    assert_eq!(listed["operators"], json!([{"operator": who, "presence": "BUSY"}]));
    for bad in [abilities.replace("\"ru\"", "\"russian\""), abilities.replace("room: 5", "room: 5000")] {
        let input = format!("operator: \"x\", name: \"x\", {bad}");
        assert_eq!(refused(&stack, &admin, "registerOperator", &input).await, "INVALID_VALUE", "{bad}");
    }
    assert_eq!(stack.code(&caller(Role::Agent), "mutation { heartbeat { timeoutSeconds } }").await, "FORBIDDEN");
}

#[tokio::test]
async fn whoever_is_replying_is_seen_and_keeps_others_from_sending() {
    let stack = Stack::start().await;
    let (_, conversation) = stack.conversation().await;
    let (olga, mut boris) = (caller(Role::Operator), caller(Role::Operator));
    boris.viewer.id = "boris".into();
    let me = olga.viewer.id.to_string();
    let replying = |more: &str| {
        format!("mutation {{ setReplying(conversation: \"{conversation}\"{more}) {{ operator mine heldSeconds }} }}")
    };
    let held = stack.ask(&olga, &replying("")).await;
    assert_eq!(held["setReplying"], json!({"operator": me, "mine": true, "heldSeconds": 30}));
    let ages = stack.deps.heartbeats.ages().await.unwrap();
    assert!(ages.contains_key(&(olga.viewer.tenant.clone(), olga.viewer.id.clone())), "a sign of life");
    let tried = stack.ask(&boris, &replying("")).await;
    assert_eq!(tried["setReplying"], json!({"operator": me, "mine": false, "heldSeconds": 30}));
    let shown = format!("{{ conversation(id: \"{conversation}\") {{ replying }} }}");
    assert_eq!(stack.ask(&boris, &shown).await["conversation"]["replying"], json!(me));
    let send = format!("conversation: \"{conversation}\", text: \"Здравствуйте\"");
    for other in [&boris, &caller(Role::Agent)] {
        assert_eq!(refused(&stack, other, "sendMessage", &send).await, "HELD_BY_OTHER");
    }
    let mut stranger = boris.clone();
    stranger.viewer.tenant = "globex".parse().unwrap();
    assert_eq!(refused(&stack, &stranger, "sendMessage", &send).await, "NOT_FOUND", "nor is it told who is replying");
    let subscription = format!("subscription {{ replyingUpdated(conversation: \"{conversation}\") {{ operator }} }}");
    let mut updates = crate::subscribe(&stack.schema, async_graphql::Request::new(subscription), boris.clone());
    let mut next = async || {
        let update = futures::StreamExt::next(&mut updates).await.unwrap();
        serde_json::to_value(update.data).unwrap()["replyingUpdated"]["operator"].take()
    };
    assert_eq!(next().await, json!(me));
    let released = stack.ask(&boris, &replying(", replying: false")).await;
    assert_eq!(released["setReplying"]["operator"], json!(me), "nobody lets go for another");
    stack.ask(&olga, &replying(", replying: false")).await;
    assert_eq!(next().await, json!(null));
    stack.ask(&olga, &replying("")).await;
    let despite = format!("{send}, despiteDraft: true");
    twice(&stack, &boris, "sendMessage", &despite, "").await;
    stack.clock.advance(chrono::TimeDelta::seconds(31));
    assert_eq!(stack.ask(&boris, &shown).await["conversation"]["replying"], json!(null), "it ends by itself");
    assert_eq!(stack.code(&stranger, &replying("")).await, "NOT_FOUND");
    assert_eq!(stack.code(&caller(Role::Agent), &replying("")).await, "FORBIDDEN");
}

#[tokio::test]
async fn whoever_is_mentioned_in_a_note_finds_it() {
    let stack = Stack::start().await;
    let (_, conversation) = stack.conversation().await;
    let olga = caller(Role::Operator);
    let note = format!("conversation: \"{conversation}\", text: \"посмотри\", mentions: [\"{}\"]", olga.viewer.id);
    twice(&stack, &olga, "addNote", &note, "").await;
    stack.settle().await;
    let query = "{ conversations(filter: {mentionsMe: true}) { nodes { id revision } } }";
    let found = stack.ask(&olga, query).await;
    assert_eq!(found["conversations"]["nodes"][0]["id"], json!(conversation.to_string()));
    let read = format!("conversation: \"{conversation}\", upTo: 3");
    twice(&stack, &olga, "markRead", &read, "").await;
    stack.settle().await;
    assert_eq!(stack.ask(&olga, query).await["conversations"]["nodes"], json!([]));
    let empty = format!("conversation: \"{conversation}\", text: \"x\", mentions: [\" \"]");
    assert_eq!(refused(&stack, &olga, "addNote", &empty).await, "INVALID_VALUE");
}
