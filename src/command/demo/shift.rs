//! A shift at the desk: what waits is shared out among two operators, who note, answer, keep a case and close.
//!
//! **Invariant:** after the story was checked, so that it may go its own way; by mutation, like everything at the shop.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::catalogue::Tongue;
use super::desk::Desk;
use super::operators::{Operators, name};

/// Most conversations that an operator works on at a time.
const ROOM: u64 = 15;
/// How long what waits may take to be shared out.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// What came of a shift.
pub(super) struct Shift {
    /// Conversations that take of the operators' room, those included that were given to them by hand before.
    held: u64,
    /// Conversations that wait for room.
    waiting: u64,
    /// The number of the case.
    case: u64,
    /// Until the first answer of the conversation that the case is about: how long it took, and what was promised.
    first_response_s: (i64, i64),
}

impl std::fmt::Display for Shift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { held, waiting, case, first_response_s: (took, promised) } = self;
        write!(
            f,
            "{held} conversations with 2 operators, {waiting} wait; case {case} opened, first answer after {took} s of {promised} s promised"
        )
    }
}

/// Plays a shift.
///
/// # Errors
/// A mutation fails, or what waits is not shared out.
pub(super) async fn play(administrator: &Desk, operators: &Operators) -> anyhow::Result<Shift> {
    open(administrator, operators).await?;
    let (held, waiting) = shared_out(administrator).await?;
    let data = operators.russian.query(WORK, Value::Null).await?;
    let conversation = data["conversations"]["nodes"][0]["id"].as_str().context("nothing came out of the queue")?;
    let case = keep_case(administrator, &operators.russian, conversation).await?;
    let clocks = format!(
        "{{ conversation(id: \"{conversation}\") {{ clocks {{ kind elapsedSeconds targetSeconds state steps {{ countedSeconds }} }} }} }}"
    );
    let data = administrator.query(&clocks, Value::Null).await?;
    let clocks = data["conversation"]["clocks"].as_array().context("nothing was promised")?;
    let first = clocks.iter().find(|clock| clock["kind"] == "FIRST_RESPONSE").context("no clock ran")?;
    let seconds = |field: &str| first[field].as_i64().unwrap_or_default();
    let first_response_s = (seconds("elapsedSeconds"), seconds("targetSeconds"));
    Ok(Shift { held, waiting, case, first_response_s })
}

const WORK: &str =
    "{ conversations(filter: { assignee: ME, status: [OPEN] }, sort: LONGEST_WAITING, first: 1) { nodes { id } } }";

/// Calendar, promise, queue and operators.
async fn open(administrator: &Desk, operators: &Operators) -> anyhow::Result<()> {
    let key = |what: &str| json!(format!("demo-shift-{what}"));
    let days = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
    let week: Vec<Value> =
        days.iter().map(|day| json!({ "weekday": day, "spans": [{ "from": "00:00", "until": "24:00" }] })).collect();
    let hours = json!({ "zone": "Europe/Moscow", "week": week, "days": [] });
    let calendar = json!({ "name": "Круглосуточно", "hours": hours, "idempotencyKey": key("calendar") });
    let calendar = made(administrator, "openCalendar", calendar).await?;
    let target = json!({ "leastPriority": 0, "firstResponseSeconds": 600, "nextResponseSeconds": 300,
        "resolutionSeconds": 14_400 });
    let rules = json!({ "calendar": calendar, "targets": [target], "warnBeforeSeconds": 120 });
    let level = json!({ "name": "Обычный", "rules": rules, "idempotencyKey": key("level") });
    let level = made(administrator, "openServiceLevel", level).await?;
    for (tongue, language) in [(Tongue::Russian, "ru"), (Tongue::English, "en")] {
        let operator = name(tongue);
        let abilities = json!({ "languages": [language], "skills": [], "room": ROOM, "roomOfChannel": [] });
        let input = json!({ "operator": operator, "name": operator, "abilities": abilities,
            "idempotencyKey": key(operator) });
        administrator.change("registerOperator", input, "").await?;
    }
    for desk in [&operators.russian, &operators.english] {
        let input = json!({ "presence": "AVAILABLE", "idempotencyKey": key("presence") });
        desk.change("setPresence", input, "").await?;
    }
    let accounts = administrator.query("{ accounts { id } }", Value::Null).await?;
    let accounts: Vec<&Value> = accounts["accounts"].as_array().into_iter().flatten().map(|node| &node["id"]).collect();
    let rules = json!({ "accounts": accounts, "priority": 1, "calendar": calendar, "serviceLevel": level });
    made(administrator, "openQueue", json!({ "name": "Общая", "rules": rules, "idempotencyKey": key("queue") }))
        .await?;
    Ok(())
}

/// Opens something and returns its id.
async fn made(desk: &Desk, mutation: &str, input: Value) -> anyhow::Result<Value> {
    Ok(desk.change(mutation, input, "changed { id }").await?["changed"]["id"].take())
}

/// Waits until nothing that could be given waits, and returns what operators hold and what waits for room.
async fn shared_out(desk: &Desk) -> anyhow::Result<(u64, u64)> {
    let began = Instant::now();
    let (mut before, mut quiet) = ((0, 0), 0);
    while quiet < 4 {
        anyhow::ensure!(began.elapsed() < PATIENCE, "what waits was not shared out");
        let query = "{ operators { load } queues { load { waiting inWork } } }";
        let data = desk.query(query, Value::Null).await?;
        let load = &data["queues"][0]["load"];
        let now = (load["inWork"].as_u64().unwrap_or_default(), load["waiting"].as_u64().unwrap_or_default());
        let settled = now == before && now.0 > 0;
        quiet = if settled { quiet + 1 } else { 0 };
        before = now;
        tokio::time::sleep(PAUSE).await;
    }
    let data = desk.query("{ operators { load } }", Value::Null).await?;
    let loads = data["operators"].as_array().into_iter().flatten().filter_map(|operator| operator["load"].as_u64());
    let held: u64 = loads.sum();
    anyhow::ensure!(held >= before.0, "operators hold less than they were given");
    Ok((held, before.1))
}

/// A note for a colleague, an answer, a case that is resolved, and the end of the conversation.
async fn keep_case(administrator: &Desk, operator: &Desk, conversation: &str) -> anyhow::Result<u64> {
    let field = json!({ "key": "cause", "name": "Причина", "kind": "CHOICE", "required": true,
        "options": ["вопрос", "жалоба"] });
    let rules = json!({ "priority": 1, "fields": [field] });
    let case_type = json!({ "name": "Обращение", "rules": rules, "idempotencyKey": "demo-shift-type" });
    let case_type = made(administrator, "openCaseType", case_type).await?;
    let colleague = name(Tongue::English);
    let note = json!({ "conversation": conversation, "text": "Посмотри, пожалуйста", "mentions": [colleague],
        "idempotencyKey": "demo-shift-note" });
    operator.change("addNote", note, "").await?;
    let case = json!({ "conversation": conversation, "caseType": case_type, "title": "Вопрос покупателя",
        "fields": [{ "key": "cause", "text": "вопрос" }], "idempotencyKey": "demo-shift-case" });
    let mut opened = operator.change("openCase", case, "changed { id number }").await?;
    let (case, number) = (opened["changed"]["id"].take(), opened["changed"]["number"].as_u64());
    let reply = json!({ "case": case, "text": "Добрый день! Разобрались.", "idempotencyKey": "demo-shift-reply" });
    operator.change("replyToCase", reply, "").await?;
    let resolved = json!({ "case": case, "status": "RESOLVED", "idempotencyKey": "demo-shift-resolved" });
    operator.change("setCaseStatus", resolved, "").await?;
    let close = json!({ "conversation": conversation, "reason": "resolved", "idempotencyKey": "demo-shift-close" });
    operator.change("closeConversation", close, "").await?;
    number.context("a case without a number")
}
