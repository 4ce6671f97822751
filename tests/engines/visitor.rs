//! The page of a web chat visitor, and a subscriber: sockets of a process.
//!
//! **Invariant:** frames are waited for with a deadline that only ends a test that hangs.

use std::net::SocketAddr;

use events::clock::Clock;
use futures::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use letopis::clock::SystemClock;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::fleet::in_time;

/// The site of the chat.
pub(crate) const SITE: &str = "https://shop.example";

/// A socket that speaks JSON.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// The page of a visitor, resumed.
    pub(crate) async fn page(at: SocketAddr, account: &str, secret: &str, visitor: &str) -> Self {
        let mut request = format!("ws://{at}/webchat/{account}").into_client_request().unwrap();
        request.headers_mut().insert("origin", SITE.parse().unwrap());
        let (socket, _) = client_async(request, TcpStream::connect(at).await.unwrap()).await.unwrap();
        let mut page = Self(socket);
        page.say(&json!({"type": "resume", "visitor": signed(secret, visitor)})).await;
        assert_eq!(page.next().await["type"], "resumed");
        page
    }

    /// A GraphQL subscriber.
    pub(crate) async fn subscriber(at: SocketAddr, query: &str, variables: Value) -> Self {
        let mut request = format!("ws://{at}/graphql").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        let (socket, _) = client_async(request, TcpStream::connect(at).await.unwrap()).await.unwrap();
        let mut subscriber = Self(socket);
        let token = "Bearer token-of-an-administrator";
        subscriber.say(&json!({"type": "connection_init", "payload": {"Authorization": token}})).await;
        assert_eq!(subscriber.next().await["type"], "connection_ack");
        let payload = json!({"query": query, "variables": variables});
        subscriber.say(&json!({"type": "subscribe", "id": "1", "payload": payload})).await;
        subscriber
    }

    pub(crate) async fn say(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match in_time(self.0.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["type"] != "ping" {
                        return frame;
                    }
                    self.say(&json!({"type": "pong"})).await;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a frame, got {other:?}"),
            }
        }
    }

    /// The next frame of this type.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
            assert!(frame["type"] != "error" && frame["type"] != "complete", "{frame}");
        }
    }
}

/// A visitor as the site signs them.
fn signed(secret: &str, id: &str) -> Value {
    let expires_at = SystemClock.now().timestamp() + 600;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("letopis-webchat-1\n{id}\n{expires_at}\n\n\n\n").as_bytes());
    json!({"id": id, "expires_at": expires_at, "signature": hex::encode(mac.finalize().into_bytes())})
}

/// What a visitor writes.
pub(crate) fn delivery(secret: &str, visitor: &str, id: &str, text: &str) -> Value {
    json!({"id": id, "type": "message", "visitor": signed(secret, visitor), "text": text})
}
