//! The operators of the demo: they find conversations and do their work on them by mutation.
//!
//! **Invariant:** each wish has a key of its own, so that none is carried out twice.

use std::collections::HashMap;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::catalogue::Tongue;
use super::desk::Desk;
use super::progress::Progress;
use super::story::{Step, Task};

/// Tasks worked on at the same time.
const AT_ONCE: usize = 8;

/// Who answers in which language.
pub(super) struct Operators {
    pub(super) russian: Desk,
    pub(super) english: Desk,
}

/// The name of whoever answers in a language, which is the id of their token, too.
pub(super) const fn name(tongue: Tongue) -> &'static str {
    match tongue {
        Tongue::Russian => "pelageya",
        Tongue::English => "rowena",
    }
}

impl Operators {
    /// Does all tasks.
    ///
    /// # Errors
    /// A conversation is missing or a mutation fails.
    pub(super) async fn work(
        &self,
        tasks: Vec<Task>,
        now: DateTime<Utc>,
        progress: &Progress,
    ) -> anyhow::Result<usize> {
        let conversations = conversations(&self.russian).await?;
        let runs = tasks.iter().enumerate().map(|(number, task)| {
            let conversation = conversations.get(&task.thread);
            async move {
                let conversation = conversation.with_context(|| format!("task {number} has no conversation"))?;
                self.carry_out(number, task, conversation, now).await?;
                progress.step();
                anyhow::Ok(task.steps.len())
            }
        });
        futures::stream::iter(runs).buffer_unordered(AT_ONCE).try_fold(0, async |sum, steps| Ok(sum + steps)).await
    }

    async fn carry_out(&self, number: usize, task: &Task, id: &str, now: DateTime<Utc>) -> anyhow::Result<()> {
        let desk = match task.tongue {
            Tongue::Russian => &self.russian,
            Tongue::English => &self.english,
        };
        for (place, step) in task.steps.iter().enumerate() {
            let (mutation, mut input) = wish(step, task.tongue, now);
            input["conversation"] = id.into();
            input["idempotencyKey"] = format!("demo-{number}-{place}").into();
            desk.change(mutation, input.clone(), "").await?;
            if matches!(step, Step::Answer(_)) && number.is_multiple_of(10) {
                // A double click: the same key is the same wish.
                desk.change(mutation, input, "").await?;
            }
        }
        Ok(())
    }
}

fn wish(step: &Step, tongue: Tongue, now: DateTime<Utc>) -> (&'static str, Value) {
    match step {
        Step::Answer(text) => ("sendMessage", json!({ "text": text })),
        Step::Note(text) => ("addNote", json!({ "text": text })),
        Step::Tag(tag) => ("tagConversation", json!({ "add": [tag] })),
        Step::Assign => ("assignConversation", json!({ "operator": name(tongue) })),
        Step::Snooze => {
            let until = (now + TimeDelta::hours(20)).to_rfc3339_opts(SecondsFormat::Secs, true);
            ("snoozeConversation", json!({ "until": until }))
        }
        Step::Close => ("closeConversation", json!({ "reason": "resolved" })),
        Step::Reopen => ("reopenConversation", json!({})),
    }
}

/// The ids of all conversations by their outside keys.
pub(super) async fn conversations(desk: &Desk) -> anyhow::Result<HashMap<String, String>> {
    let nodes = desk.all("conversations", "", "id thread { key }").await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(nodes.iter().map(|node| (text(&node["thread"]["key"]), text(&node["id"]))).collect())
}
