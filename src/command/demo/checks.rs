//! Whether letopis made of the story what it should have.
//!
//! **Invariant:** looks through GraphQL only, as a supervisor, and at what the fake provider took.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::desk::Desk;
use super::fake_provider::Sent;
use super::progress::Progress;
use super::story::Expected;

/// Conversations whose timelines are asked for at a time.
const TIMELINES: usize = 10;
/// How long what is on its way may take to arrive: one limited chat waits a second, and machines differ.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(150);

/// Waits until nothing is on its way any more in the server.
///
/// # Errors
/// The server is gone, or it does not come to rest.
pub(super) async fn at_rest(client: &reqwest::Client, server: &str, progress: &Progress) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut quiet = 0;
    while quiet < 3 {
        anyhow::ensure!(began.elapsed() < PATIENCE, "the server did not come to rest: see {server}/health/ready");
        let report: Value = client.get(format!("{server}/health/ready")).send().await?.json().await?;
        let consumers = report["consumers"].as_array().map_or(&[][..], Vec::as_slice);
        let behind: u64 = consumers.iter().filter_map(|consumer| consumer["lag_events"].as_u64()).sum();
        progress.show(format_args!("{behind} events to go"));
        quiet = if behind == 0 && !consumers.is_empty() { quiet + 1 } else { 0 };
        tokio::time::sleep(PAUSE / 3).await;
    }
    Ok(())
}

/// What is there.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) all: Expected,
    /// Messages that stand there more than once.
    pub(super) doubled: usize,
    /// Raw deliveries that wait or were parked, and events that a read model could not take in.
    pub(super) stuck: usize,
    /// Messages that are neither delivered nor refused nor waiting for a visitor.
    pub(super) under_way: usize,
    /// Messages that the provider took more than once.
    pub(super) sent_twice: usize,
}

/// Looks until what is there is what is expected.
///
/// # Errors
/// The server is gone, or something is still different after a while; then the first difference is named.
pub(super) async fn hold(
    desk: &Desk,
    expected: &Expected,
    sent: impl AsyncFn() -> anyhow::Result<Vec<Sent>>,
) -> anyhow::Result<Found> {
    let began = Instant::now();
    loop {
        let found = look(desk, &sent().await?).await?;
        match difference(expected, &found) {
            None => return Ok(found),
            Some(difference) if began.elapsed() > PATIENCE => anyhow::bail!("not as expected: {difference}"),
            Some(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The first difference, in words.
fn difference(expected: &Expected, found: &Found) -> Option<String> {
    let counts = [
        ("deliveries or events that got stuck", 0, found.stuck),
        ("unrecognised deliveries", expected.unrecognised, found.all.unrecognised),
        ("conversations", expected.conversations.len(), found.all.conversations.len()),
        ("messages of customers", expected.inbound, found.all.inbound),
        ("messages that are there twice", 0, found.doubled),
        ("edits", expected.edits, found.all.edits),
        ("reactions", expected.reactions, found.all.reactions),
        ("activities", expected.activities, found.all.activities),
        ("files of customers", expected.files, found.all.files),
        ("people", expected.people, found.all.people),
        ("people in two channels", expected.linked, found.all.linked),
        ("messages of operators", expected.outbound, found.all.outbound),
        ("messages under way", 0, found.under_way),
        ("refused messages", expected.refused, found.all.refused),
        ("messages waiting for visitors", expected.waiting, found.all.waiting),
        ("messages sent twice", 0, found.sent_twice),
    ];
    let first = counts.into_iter().find(|(_, expected, found)| expected != found);
    let first = first.map(|(what, expected, found)| format!("{what}: {found}, expected {expected}"));
    first.or_else(|| (expected.conversations != found.all.conversations).then(|| "other conversations".to_owned()))
}

async fn look(desk: &Desk, sent: &[Sent]) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let conversations = desk.all("conversations", "", "id channel thread { key }").await?;
    for node in &conversations {
        found.all.conversations.insert(node["thread"]["key"].as_str().unwrap_or_default().to_owned());
    }
    for some in conversations.chunks(TIMELINES) {
        let data = desk.query(&timelines(some), Value::Null).await?;
        for (place, conversation) in some.iter().enumerate() {
            let webchat = conversation["channel"] == "WEBCHAT";
            let nodes = data[format!("c{place}")]["timeline"]["nodes"].as_array();
            count(nodes.map_or(&[], Vec::as_slice), webchat, &mut found);
        }
    }
    for node in desk.all("profiles", "", "contacts { kind }").await? {
        found.all.people += 1;
        found.all.linked += usize::from(length(&node["contacts"]) > 1);
    }
    for node in desk.all("intake", "", "outcome").await? {
        match node["outcome"].as_str() {
            Some("NORMALISED") => {}
            Some("UNRECOGNISED") => found.all.unrecognised += 1,
            _ => found.stuck += 1,
        }
    }
    found.stuck += desk.all("parkedEvents", "", "event").await?.len();
    found.all.refused = desk.all("deadLetters", "", "message").await?.len();
    let mails = sent.iter().filter_map(|sent| match sent {
        Sent::Mail { mail, .. } => mail.lines().find(|line| line.to_ascii_lowercase().starts_with("message-id:")),
        Sent::Telegram { .. } => None,
    });
    let mut seen = BTreeSet::new();
    found.sent_twice = mails.filter(|id| !seen.insert(*id)).count();
    let telegram = sent.iter().filter(|sent| matches!(sent, Sent::Telegram { .. })).count();
    let taken = telegram + seen.len();
    // What the provider took beyond what is delivered was sent twice, too.
    let not_taken = found.under_way + found.all.waiting + found.all.refused;
    let delivered = found.all.outbound.saturating_sub(not_taken);
    found.sent_twice += taken.saturating_sub(delivered);
    Ok(found)
}

fn timelines(conversations: &[Value]) -> String {
    let fields = "timeline(first: 100) { nodes { __typename ... on Message { id direction delivery { state } \
                  edits { revision } reactions { reactions } attachments { url } } } }";
    let parts = conversations
        .iter()
        .enumerate()
        .map(|(place, conversation)| format!("c{place}: conversation(id: {}) {{ {fields} }}", conversation["id"]));
    format!("{{ {} }}", parts.collect::<Vec<_>>().join(" "))
}

fn count(nodes: &[Value], webchat: bool, found: &mut Found) {
    let mut seen = BTreeSet::new();
    for node in nodes {
        match node["__typename"].as_str() {
            Some("Message") => {}
            Some("Activity") => {
                found.all.activities += 1;
                continue;
            }
            _ => continue,
        }
        found.doubled += usize::from(!seen.insert(node["id"].as_str()));
        found.all.edits += length(&node["edits"]);
        found.all.reactions += length(&node["reactions"]);
        if node["direction"] == "INBOUND" {
            found.all.inbound += 1;
            let files = node["attachments"].as_array().map_or(&[][..], Vec::as_slice);
            found.all.files += files.iter().filter(|file| file["url"].is_string()).count();
            continue;
        }
        found.all.outbound += 1;
        match node["delivery"]["state"].as_str() {
            Some("DELIVERED" | "FAILED") => {}
            Some("QUEUED" | "POSTPONED") if webchat => found.all.waiting += 1,
            _ => found.under_way += 1,
        }
    }
}

fn length(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_with_both_numbers() {
        let expected = Expected { inbound: 3, ..Expected::default() };
        let found = Found::default();
        assert_eq!(difference(&expected, &found).unwrap(), "messages of customers: 0, expected 3");
        let found = Found { all: expected.clone(), doubled: 1, ..Found::default() };
        assert_eq!(difference(&expected, &found).unwrap(), "messages that are there twice: 1, expected 0");
        assert_eq!(difference(&expected, &Found { all: expected.clone(), ..Found::default() }), None);
    }
}
