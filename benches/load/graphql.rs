//! What GraphQL shows and when: a query that is asked again and again, and a subscription.
//!
//! **Invariant:** both only note when something was there; whoever drives the load says when it was accepted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use uuid::Uuid;

use crate::client::{Connection, Target};

/// Pause between two rounds of queries.
const ASK_EVERY: Duration = Duration::from_millis(2);

/// What was accepted longer ago is looked for further back.
const LATE: Duration = Duration::from_millis(500);

/// Where and as whom to ask.
#[derive(Clone)]
pub(crate) struct Asker {
    /// As `host:port`.
    pub(crate) address: String,
    /// A supervisor's token.
    pub(crate) token: String,
}

/// A message that is waited for.
pub(crate) struct Wanted {
    /// Its conversation.
    pub(crate) conversation: Uuid,
    /// The message.
    pub(crate) message: Uuid,
    /// When its delivery was accepted.
    pub(crate) accepted: Instant,
    /// False while warming up.
    pub(crate) counts: bool,
}

impl Asker {
    /// Asks for the end of the conversation of each message until it stands there; gives how long each that counts took. Ends when
    /// `wanted` is closed and nothing is left, or after half a minute without progress.
    pub(crate) async fn poll(self, mut wanted: UnboundedReceiver<Wanted>) -> anyhow::Result<Vec<Duration>> {
        let target = Target::post(&self.address, "/graphql", &format!("Authorization: Bearer {}\r\n", self.token));
        let mut connection = Connection::open(&self.address).await?;
        let (mut waiting, mut took) = (Vec::new(), Vec::new());
        let mut progress = Instant::now();
        loop {
            if waiting.is_empty() {
                match wanted.recv().await {
                    Some(next) => waiting.push(next),
                    None => return Ok(took),
                }
                progress = Instant::now();
            }
            while let Ok(next) = wanted.try_recv() {
                waiting.push(next);
            }
            let mut left = Vec::with_capacity(waiting.len());
            for item in waiting {
                // What comes late may have many others behind it.
                let last = if item.accepted.elapsed() < LATE { 20 } else { 100 };
                let query = format!(
                    r#"{{"query":"{{ conversation(id: \"conversation-{}\") {{ timeline(last: {last}) {{ nodes {{ ... on Message {{ id }} }} }} }} }}"}}"#,
                    item.conversation
                );
                let (status, answer) = connection.ask(&target, query.as_bytes()).await?;
                if status != 200 || answer.contains("\"errors\"") {
                    bail!("the query failed: {status} {answer}");
                }
                if answer.contains(&item.message.to_string()) {
                    if item.counts {
                        took.push(item.accepted.elapsed());
                    }
                    progress = Instant::now();
                } else {
                    left.push(item);
                }
            }
            waiting = left;
            if progress.elapsed() > Duration::from_secs(30) {
                bail!("{} messages did not become visible", waiting.len());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Subscribes to the messages of all customers and notes in `seen` when each came, by correlation id (that of the
    /// raw delivery). Gives the task that listens, once the server has taken the subscription.
    pub(crate) async fn listen(
        self,
        seen: Arc<Mutex<HashMap<Uuid, Instant>>>,
    ) -> anyhow::Result<tokio::task::JoinHandle<anyhow::Result<()>>> {
        let mut request = format!("ws://{}/graphql", self.address).into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", "graphql-transport-ws".parse()?);
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;
        let hello = serde_json::json!({
            "type": "connection_init", "payload": { "Authorization": format!("Bearer {}", self.token) }
        });
        socket.send(Message::text(hello.to_string())).await?;
        let answer = socket.next().await.context("the server said nothing")??;
        anyhow::ensure!(answer.to_text()?.contains("connection_ack"), "no acknowledgement: {answer}");
        let query = "subscription { eventAppended(types: [\"conversation.message_received\"]) { correlation } }";
        let subscribe = serde_json::json!({ "id": "1", "type": "subscribe", "payload": { "query": query } });
        socket.send(Message::text(subscribe.to_string())).await?;
        Ok(tokio::spawn(async move {
            while let Some(message) = socket.next().await {
                let message = message?;
                let Ok(text) = message.to_text() else { continue };
                if text.contains("\"error\"") || text.contains("\"complete\"") {
                    bail!("the subscription ended: {text}");
                }
                // Cheaper than parsing: the only id in the message is the one asked for.
                let Some((_, rest)) = text.split_once("\"correlation\":\"") else { continue };
                if let Some(id) = rest.split('"').next().and_then(|id| Uuid::parse_str(id).ok()) {
                    seen.lock().insert(id, Instant::now());
                }
            }
            Ok(())
        }))
    }
}
