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
    /// A conversation that was answered, solved and begun again.
    pub(super) conversation: String,
    /// The raw delivery that nobody understood.
    pub(super) unrecognised: String,
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
        let lost = desk.all("intake", ", filter: { outcome: UNRECOGNISED }", "event").await?;
        let lost = lost.first().map(|node| &node["event"]).context("everything was understood")?;
        Ok(Self { conversation: text(conversation), unrecognised: text(lost), profile: text(&richest["id"]) })
    }
}

/// The five queries.
pub(super) fn ready(examples: &Examples) -> [Ready; 5] {
    let Examples { conversation, unrecognised, profile } = examples;
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
            query: format!(
                "{{ intake(filter: {{ outcome: UNRECOGNISED }}, first: 5) {{ nodes {{ channel reason receivedAt }} }} \
                 node(id: \"{unrecognised}\") {{ ... on Event {{ rawBody }} }} }}"
            ),
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
