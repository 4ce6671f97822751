//! Real sockets against a real server on this machine.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::http::StatusCode;
use chrono::TimeDelta;
use futures::SinkExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::super::toy::{Bench, TOKEN, bench, serve, serve_watched, toy_now};
use super::super::{GraphqlConfig, SocketConfig};
use super::*;

/// What a test waits at most for what must happen; it is reached only when the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client of the protocol.
struct Client(WebSocketStream<TcpStream>);

/// A handshake with these headers.
async fn handshake(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<(Client, Option<String>), Error> {
    let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let (stream, response) = client_async(request, TcpStream::connect(address).await.unwrap()).await?;
    let protocol = response.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap().to_owned());
    Ok((Client(stream), protocol))
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        handshake(address, &[("sec-websocket-protocol", SUBPROTOCOL)]).await.unwrap().0
    }

    async fn ready(address: SocketAddr) -> Self {
        let mut client = Self::connect(address).await;
        client.init(TOKEN).await;
        assert_eq!(client.next().await, json!({ "type": "connection_ack" }));
        client
    }

    async fn init(&mut self, token: &str) {
        self.say(&json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}") } }))
            .await;
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(&json!({ "type": "subscribe", "id": id, "payload": { "query": query } })).await;
    }

    async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn receive(&mut self) -> Option<Result<Message, Error>> {
        timeout(PATIENCE, self.0.next()).await.expect("the server must say something")
    }

    /// The next message of the protocol.
    async fn next(&mut self) -> Value {
        loop {
            match self.receive().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a message, got {other:?}"),
            }
        }
    }

    /// The close code, once everything before it is read.
    async fn close_code(&mut self) -> u16 {
        loop {
            match self.receive().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a close frame, got {other:?}"),
            }
        }
    }
}

fn with(socket: SocketConfig) -> (Bench, SocketAddr) {
    let bench = bench(GraphqlConfig { socket, ..GraphqlConfig::default() });
    let address = serve(&bench.transport);
    (bench, address)
}

fn plain() -> (Bench, SocketAddr) {
    with(SocketConfig::default())
}

async fn dropped(bench: &mut Bench) -> &'static str {
    timeout(PATIENCE, bench.dropped.recv()).await.expect("a subscription must be dropped").unwrap()
}

#[actix_web::test]
async fn a_subscription_gives_its_results_and_completes() {
    let (_bench, address) = plain();
    let (mut client, protocol) = handshake(address, &[("sec-websocket-protocol", SUBPROTOCOL)]).await.unwrap();
    assert_eq!(protocol.as_deref(), Some(SUBPROTOCOL));
    client.init(TOKEN).await;
    assert_eq!(client.next().await, json!({ "type": "connection_ack" }));
    client.subscribe("1", "subscription { count(to: 3) }").await;
    for number in 1..=3 {
        assert_eq!(
            client.next().await,
            json!({ "type": "next", "id": "1", "payload": { "data": { "count": number } } })
        );
    }
    assert_eq!(client.next().await, json!({ "type": "complete", "id": "1" }));
}

#[actix_web::test]
async fn a_query_runs_over_the_socket_for_the_viewer_of_its_token() {
    let (_bench, address) = plain();
    let mut client = Client::ready(address).await;
    client.subscribe("q", "{ tenant }").await;
    assert_eq!(client.next().await, json!({ "type": "next", "id": "q", "payload": { "data": { "tenant": "acme" } } }));
    assert_eq!(client.next().await, json!({ "type": "complete", "id": "q" }));
}

#[actix_web::test]
async fn an_invalid_operation_is_answered_with_its_errors_and_the_socket_stays() {
    let (_bench, address) = plain();
    let mut client = Client::ready(address).await;
    client.subscribe("bad", "subscription { nonsense }").await;
    let error = client.next().await;
    assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("bad")));
    assert_eq!(error["payload"][0]["extensions"]["code"], "BAD_USER_INPUT");
    client.subscribe("bad", "subscription { count(to: 1) }").await;
    assert_eq!(client.next().await["payload"]["data"]["count"], 1);
}

#[actix_web::test]
async fn completing_an_operation_drops_its_stream() {
    let (mut bench, address) = plain();
    let mut client = Client::ready(address).await;
    client.subscribe("n", "subscription { never }").await;
    assert_eq!(client.next().await["type"], "next");
    client.say(&json!({ "type": "complete", "id": "n" })).await;
    assert_eq!(dropped(&mut bench).await, "never");
}

#[actix_web::test]
async fn a_client_that_goes_away_takes_its_operations_with_it() {
    let (mut bench, address) = plain();
    let mut client = Client::ready(address).await;
    client.subscribe("n", "subscription { never }").await;
    assert_eq!(client.next().await["type"], "next");
    drop(client);
    assert_eq!(dropped(&mut bench).await, "never");
}

#[actix_web::test]
async fn breaches_of_the_protocol_close_with_its_codes() {
    let (_bench, address) = plain();
    let subscribe = json!({ "type": "subscribe", "id": "1", "payload": { "query": "subscription { never }" } });

    let mut client = Client::connect(address).await;
    client.say(&subscribe).await;
    assert_eq!(client.close_code().await, 4401);

    let mut client = Client::connect(address).await;
    client.init("unknown").await;
    assert_eq!(client.close_code().await, 4403);

    let mut client = Client::connect(address).await;
    client.say(&json!({ "type": "connection_init" })).await;
    assert_eq!(client.close_code().await, 4403);

    let mut client = Client::ready(address).await;
    client.say(&json!({ "type": "start" })).await;
    assert_eq!(client.close_code().await, 4400);

    let mut client = Client::ready(address).await;
    client.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(client.close_code().await, 4400);

    let mut client = Client::ready(address).await;
    client.init(TOKEN).await;
    assert_eq!(client.close_code().await, 4429);

    let mut client = Client::ready(address).await;
    client.say(&subscribe).await;
    client.say(&subscribe).await;
    assert_eq!(client.close_code().await, 4409);
}

#[actix_web::test]
async fn a_client_that_does_not_introduce_itself_is_closed_with_4408() {
    let (_bench, address) = with(SocketConfig { init_timeout: Duration::from_millis(30), ..SocketConfig::default() });
    assert_eq!(Client::connect(address).await.close_code().await, 4408);
}

#[actix_web::test]
async fn a_token_that_expires_closes_the_socket_with_4403() {
    let (mut bench, address) = plain();
    let soon = toy_now() + TimeDelta::milliseconds(200);
    bench.toy.tokens.lock().insert("short".to_owned(), Some(soon));
    let mut client = Client::connect(address).await;
    client.init("short").await;
    client.subscribe("n", "subscription { never }").await;
    assert_eq!(client.next().await, json!({ "type": "connection_ack" }));
    assert_eq!(client.next().await["type"], "next");
    assert_eq!(client.close_code().await, 4403);
    assert_eq!(dropped(&mut bench).await, "never");
}

#[actix_web::test]
async fn a_token_that_is_revoked_closes_the_socket_at_the_next_keep_alive() {
    let (bench, address) = with(SocketConfig { keep_alive: Duration::from_millis(30), ..SocketConfig::default() });
    let mut client = Client::ready(address).await;
    bench.toy.tokens.lock().clear();
    assert_eq!(client.close_code().await, 4403);
}

#[actix_web::test]
async fn a_client_is_pinged_and_lives_on_as_long_as_it_answers() {
    let (_bench, address) = with(SocketConfig { keep_alive: Duration::from_millis(50), ..SocketConfig::default() });
    let mut client = Client::ready(address).await;
    for _ in 0..5 {
        // The client's library answers each ping when it is asked for the next message.
        assert!(matches!(client.receive().await, Some(Ok(Message::Ping(_)))));
    }
    client.subscribe("q", "{ tenant }").await;
    assert_eq!(client.next().await["type"], "next");
}

#[actix_web::test]
async fn a_client_that_answers_nothing_is_closed_with_3008() {
    let (_bench, address) = with(SocketConfig { keep_alive: Duration::from_millis(30), ..SocketConfig::default() });
    let client = Client::ready(address).await;
    // Reads frames off the wire without the library's automatic answers.
    let mut stream = client.0.into_inner();
    let mut read = Vec::new();
    timeout(PATIENCE, tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut read)).await.unwrap().unwrap();
    let close = [0x88, 2 + u8::try_from("Nothing heard for too long".len()).unwrap(), 0x0b, 0xc0];
    assert!(read.windows(4).any(|window| window == close), "no close frame with 3008 in {read:?}");
}

#[actix_web::test]
async fn a_stopping_process_closes_its_sockets_with_1001() {
    let (bench, address) = plain();
    let mut client = Client::ready(address).await;
    bench.shutdown.cancel();
    assert_eq!(client.close_code().await, 1001);
}

#[actix_web::test]
async fn too_large_a_frame_or_message_closes_with_1009() {
    let socket = SocketConfig { max_frame_bytes: 1000, max_message_bytes: 2500, ..SocketConfig::default() };
    let (_bench, address) = with(socket);
    let mut client = Client::ready(address).await;
    client.say(&json!({ "type": "ping", "payload": { "x": "x".repeat(900) } })).await;
    assert_eq!(client.next().await["type"], "pong");
    client.say(&json!({ "type": "ping", "payload": { "x": "x".repeat(1000) } })).await;
    assert_eq!(client.close_code().await, 1009);

    let mut client = Client::ready(address).await;
    let piece = |code, last| Message::Frame(Frame::message(vec![b' '; 900], OpCode::Data(code), last));
    client.0.send(piece(Data::Text, false)).await.unwrap();
    client.0.send(piece(Data::Continue, false)).await.unwrap();
    client.0.send(piece(Data::Continue, false)).await.unwrap();
    assert_eq!(client.close_code().await, 1009);
}

#[actix_web::test]
async fn a_client_that_does_not_read_is_dropped_with_its_operations() {
    let socket = SocketConfig { send_timeout: Duration::from_millis(100), ..SocketConfig::default() };
    let (mut bench, address) = with(socket);
    let mut client = Client::ready(address).await;
    client.subscribe("f", "subscription { flood }").await;
    assert_eq!(dropped(&mut bench).await, "flood");
    // What was under way is still delivered, and then the connection ends.
    let mut bytes = 0;
    while let Some(Ok(message)) = client.receive().await {
        bytes += message.len();
    }
    assert!(bytes < 64 * 1024 * 1024, "{bytes} bytes were held for a client that does not read");
}

#[actix_web::test]
async fn a_client_that_never_reads_is_not_waited_for() {
    let socket = SocketConfig { send_timeout: Duration::from_millis(100), ..SocketConfig::default() };
    let mut bench = bench(GraphqlConfig { socket, ..GraphqlConfig::default() });
    let (closed, mut connections) = tokio::sync::mpsc::unbounded_channel();
    let address = serve_watched(&bench.transport, closed);
    let mut client = Client::ready(address).await;
    client.subscribe("f", "subscription { flood }").await;
    assert_eq!(dropped(&mut bench).await, "flood");
    let gone = timeout(PATIENCE, connections.recv()).await.expect("the server must give the connection up");
    assert_eq!(gone, Some("connection"));
    drop(client);
}

#[actix_web::test]
async fn a_page_of_a_foreign_origin_gets_no_socket() {
    let config =
        GraphqlConfig { allowed_origins: vec!["https://crm.example.com".to_owned()], ..GraphqlConfig::default() };
    let bench = bench(config);
    let address = serve(&bench.transport);
    let protocol = ("sec-websocket-protocol", SUBPROTOCOL);
    assert!(handshake(address, &[protocol, ("origin", "https://crm.example.com")]).await.is_ok());
    assert!(handshake(address, &[protocol]).await.is_ok());
    for foreign in ["https://evil.example", "null", "https://crm.example.com.evil.example", "http://crm.example.com"] {
        let refused = handshake(address, &[protocol, ("origin", foreign)]).await;
        assert_eq!(status(refused.err()), StatusCode::FORBIDDEN.as_u16(), "{foreign}");
    }
}

#[actix_web::test]
async fn a_socket_without_the_sub_protocol_is_refused() {
    let (_bench, address) = plain();
    for offered in [&[][..], &[("sec-websocket-protocol", "graphql-ws")], &[("sec-websocket-protocol", "soap, wamp")]] {
        assert_eq!(status(handshake(address, offered).await.err()), 400, "{offered:?}");
    }
    let several = [("sec-websocket-protocol", "graphql-ws, graphql-transport-ws")];
    assert_eq!(handshake(address, &several).await.unwrap().1.as_deref(), Some(SUBPROTOCOL));
}

#[actix_web::test]
async fn a_client_that_is_no_browser_may_send_its_token_with_the_handshake() {
    let (_bench, address) = plain();
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("sec-websocket-protocol", SUBPROTOCOL), ("authorization", bearer.as_str())];
    let mut client = handshake(address, &headers).await.unwrap().0;
    client.say(&json!({ "type": "connection_init" })).await;
    assert_eq!(client.next().await, json!({ "type": "connection_ack" }));
}

fn status(error: Option<Error>) -> u16 {
    match error {
        Some(Error::Http(response)) => response.status().as_u16(),
        other => panic!("expected a refused handshake, got {other:?}"),
    }
}
