//! The ready queries that the demo prints.
//!
//! **Invariant:** each is one line for a POSIX shell; the demo runs them all before it prints them.

use anyhow::Context;
use serde_json::{Value, json};

use super::desk::Desk;

/// A query with what it shows.
pub(super) struct Ready {
    /// What it shows.
    pub(super) about: &'static str,
    query: String,
}

/// What the queries are about.
pub(super) struct Examples {
    /// A conversation with an edit, an answer or the like in it.
    pub(super) conversation: String,
    /// A person known in two channels.
    pub(super) profile: String,
}

impl Examples {
    /// Finds them.
    ///
    /// # Errors
    /// The server is gone, or nothing fits.
    pub(super) async fn find(desk: &Desk) -> anyhow::Result<Self> {
        let profiles =
            desk.all("profiles", "", "id contacts { kind } conversations(first: 2) { nodes { id } }").await?;
        let size = |value: &Value| value.as_array().map_or(0, Vec::len);
        let richest = profiles
            .iter()
            .max_by_key(|profile| (size(&profile["conversations"]["nodes"]), size(&profile["contacts"])))
            .context("there are no people")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let retold = desk.all("conversations", ", filter: { tag: \"solved\" }", "id").await?;
        let conversation = retold.first().map(|node| &node["id"]).context("nothing was solved")?;
        Ok(Self { conversation: text(conversation), profile: text(&richest["id"]) })
    }
}

/// The five queries.
pub(super) fn ready(examples: &Examples) -> [Ready; 5] {
    let Examples { conversation, profile } = examples;
    [
        Ready {
            about: "Who waits longest for an answer",
            query: "{ conversations(sort: LONGEST_WAITING, first: 5) { nodes { id channel title waitingSince \
                    latestMessage { ... on Message { text } } } } }"
                .to_owned(),
        },
        Ready {
            about: "One person, two channels: contact points, what is known and from whom, conversations",
            query: format!(
                "{{ profile(id: \"{profile}\") {{ displayName contacts {{ kind address }} \
                 attributes {{ name value source }} conversations(first: 5) {{ nodes {{ id channel }} }} }} }}"
            ),
        },
        Ready {
            about: "A conversation with everything that was said and what became of the answers",
            query: format!(
                "{{ conversation(id: \"{conversation}\") {{ status episode tags timeline(first: 20) {{ nodes {{ \
                 ... on Message {{ direction text delivery {{ state }} place {{ occurredAt actor {{ kind }} }} }} }} }} }} }}"
            ),
        },
        Ready {
            about: "The delivery that nobody understood, as it came",
            query:
                "{ intake(filter: { outcome: UNRECOGNISED }, first: 5) { nodes { event channel reason receivedAt } } }"
                    .to_owned(),
        },
        Ready {
            about: "The events of the conversation: who, why, both times",
            query: format!(
                "{{ events(filter: {{ conversation: \"{conversation}\" }}, first: 20) {{ nodes {{ position type \
                 actor {{ kind id }} causationId occurredAt recordedAt }} }} }}"
            ),
        },
    ]
}

impl Ready {
    /// Runs it.
    ///
    /// # Errors
    /// The server refuses it or has nothing to show.
    pub(super) async fn run(&self, desk: &Desk) -> anyhow::Result<()> {
        let data = desk.query(&self.query, Value::Null).await?;
        let shown = data.as_object().is_some_and(|fields| fields.values().all(|field| !field.is_null()));
        anyhow::ensure!(shown, "the query \"{}\" shows nothing", self.about);
        Ok(())
    }

    /// It as a command line.
    pub(super) fn curl(&self, server: &str, token: &str) -> String {
        let body = json!({ "query": self.query }).to_string().replace('\'', "'\\''");
        format!(
            "curl -s {server}/graphql -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{body}'"
        )
    }
}
