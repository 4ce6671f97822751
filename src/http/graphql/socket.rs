//! A WebSocket around the protocol machine: frames in and out, running operations, timers.
//!
//! One task per socket owns everything of it. It reads nothing while it waits to write, so a client that does not
//! read its results is not read from either; after `send_timeout` it is dropped, its operations with it, and the
//! connection is cut.
//!
//! **Invariant:** what a socket holds is bounded: one incoming message of `max_message_bytes`, `max_operations`
//! streams that are polled only when their last result is in the outgoing queue, and that queue (32 messages waiting
//! and as many being written, fixed by actix-ws).

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, rt, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session};
use async_graphql::Response;
use events::viewer::Viewer;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::StreamMap;

use super::connection::{self, Connection};
use super::problem::Problem;
use super::protocol::{Action, Close, Machine, SUBPROTOCOL};
use super::{GraphqlTransport, bearer_in, bearer_of, trace_id};

/// Opens a socket, if the request asks for the protocol and comes from no foreign page.
pub(super) fn open(
    http: &HttpRequest,
    body: web::Payload,
    transport: Arc<GraphqlTransport>,
) -> Result<HttpResponse, Problem> {
    refuse_foreign_page(http, &transport.config.allowed_origins)?;
    refuse_other_protocols(http)?;
    let (response, session, frames) = actix_ws::handle_with_protocols(http, body, &[SUBPROTOCOL])
        .map_err(|_| Problem::malformed("this is not a WebSocket handshake"))?;
    let config = &transport.config.socket;
    let messages = frames
        .max_frame_size(config.max_frame_bytes)
        .aggregate_continuations()
        .max_continuation_size(config.max_message_bytes);
    let socket = Socket {
        machine: Machine::new(config, trace_id(http), Instant::now().into_std()),
        session: Some(session),
        operations: StreamMap::new(),
        client: None,
        header_bearer: bearer_of(http).map(str::to_owned),
        transport,
    };
    rt::spawn(watch(socket, messages, connection::of(http)));
    Ok(response)
}

/// Runs a socket and sees that its connection ends with it: at once when the client does not read, else after the time
/// in which it may still read what waits for it.
async fn watch(socket: Socket, messages: AggregatedMessageStream, connection: Weak<Connection>) {
    let patience = socket.transport.config.socket.send_timeout;
    match socket.run(messages).await {
        End::TooSlow => {}
        End::Closed => sleep(patience).await,
    }
    connection::cut(&connection);
}

/// Refuses the upgrade of a page that is not on the list. Browsers send `Origin` with every handshake and do not ask
/// before it (RFC 6455, section 10.2), so this is the only guard against a foreign page using this socket.
fn refuse_foreign_page(http: &HttpRequest, allowed: &[String]) -> Result<(), Problem> {
    let mut origins = http.headers().get_all(header::ORIGIN);
    let known = origins.all(|origin| allowed.iter().any(|allowed| origin.as_bytes() == allowed.as_bytes()));
    if known { Ok(()) } else { Err(Problem::forbidden("this origin may not open sockets here")) }
}

fn refuse_other_protocols(http: &HttpRequest) -> Result<(), Problem> {
    let offered = http
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|protocol| protocol.trim() == SUBPROTOCOL);
    if offered { Ok(()) } else { Err(Problem::malformed(format!("offer the sub-protocol {SUBPROTOCOL}"))) }
}

/// Who the client is, and by which token.
struct Client {
    viewer: Viewer,
    bearer: String,
}

/// The results of an operation, and `None` at their end.
type Results = BoxStream<'static, Option<Response>>;

struct Socket {
    machine: Machine,
    /// `None` once a close frame was sent.
    session: Option<Session>,
    operations: StreamMap<String, Results>,
    client: Option<Client>,
    /// The token of the handshake's own header, for clients that are no browsers and send it there.
    header_bearer: Option<String>,
    transport: Arc<GraphqlTransport>,
}

/// How a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client closed it or went away, or was sent a close frame.
    Closed,
    /// The client does not read.
    TooSlow,
}

/// What happened next.
enum Occurrence {
    Message(Option<Result<AggregatedMessage, ProtocolError>>),
    Result(String, Option<Box<Response>>),
    Deadline,
    Shutdown,
}

impl Socket {
    async fn run(mut self, messages: AggregatedMessageStream) -> End {
        let transport = Arc::clone(&self.transport);
        let mut shutdown = pin!(transport.shutdown.cancelled());
        let mut messages = pin!(messages);
        loop {
            let occurrence = tokio::select! {
                biased;
                () = &mut shutdown => Occurrence::Shutdown,
                () = sleep_until(Instant::from_std(self.machine.deadline())) => Occurrence::Deadline,
                message = messages.next() => Occurrence::Message(message),
                Some((id, result)) = self.operations.next() => Occurrence::Result(id, result.map(Box::new)),
            };
            let actions = match occurrence {
                Occurrence::Shutdown => self.machine.shut_down().into_iter().collect(),
                Occurrence::Deadline => self.machine.elapsed(Instant::now().into_std()),
                Occurrence::Result(id, Some(response)) => self.machine.response(&id, *response),
                Occurrence::Result(id, None) => self.machine.finished(&id).into_iter().collect(),
                Occurrence::Message(None) => return End::Closed,
                Occurrence::Message(Some(message)) => match self.received(message).await {
                    ControlFlow::Continue(action) => action.into_iter().collect(),
                    ControlFlow::Break(end) => return end,
                },
            };
            for action in actions {
                if let ControlFlow::Break(end) = self.carry_out(action).await {
                    return end;
                }
            }
        }
    }

    async fn received(
        &mut self,
        message: Result<AggregatedMessage, ProtocolError>,
    ) -> ControlFlow<End, Option<Action>> {
        self.machine.heard(Instant::now().into_std());
        let action = match message {
            Ok(AggregatedMessage::Text(text)) => self.machine.text(&text),
            Ok(AggregatedMessage::Binary(_)) => self.machine.invalid(),
            Ok(AggregatedMessage::Pong(_)) => None,
            Ok(AggregatedMessage::Ping(payload)) => {
                self.bounded(async |session| session.pong(&payload).await).await?;
                None
            }
            Ok(AggregatedMessage::Close(reason)) => {
                return ControlFlow::Break(self.close(reason).await);
            }
            Err(error) => Some(Action::Close(close_of(&error))),
        };
        ControlFlow::Continue(action)
    }

    /// Does one thing and what follows from it.
    async fn carry_out(&mut self, action: Action) -> ControlFlow<End> {
        let mut next = Some(action);
        while let Some(action) = next.take() {
            match action {
                Action::Send(text) => self.bounded(async |session| session.text(text).await).await?,
                Action::Ping => self.bounded(async |session| session.ping(b"").await).await?,
                Action::Authenticate(payload) => next = self.authenticate(payload.as_ref()),
                Action::Recheck => {
                    let good = self.client.as_ref().and_then(|client| self.transport.authenticate(&client.bearer));
                    if good.is_none() {
                        next = self.machine.reject();
                    }
                }
                Action::Start { id, request } => {
                    if let Some(client) = &self.client {
                        let results = self.transport.endpoint.stream(client.viewer.clone(), *request);
                        let ended = results.map(Some).chain(futures::stream::once(async { None }));
                        self.operations.insert(id, ended.boxed());
                    }
                }
                Action::Stop(id) => drop(self.operations.remove(&id)),
                Action::Close(close) => {
                    let reason =
                        CloseReason { code: CloseCode::from(close.code), description: Some(close.reason.into()) };
                    return ControlFlow::Break(self.close(Some(reason)).await);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn authenticate(&mut self, payload: Option<&Map<String, Value>>) -> Option<Action> {
        let bearer = payload.and_then(bearer_of_payload).map(str::to_owned).or_else(|| self.header_bearer.take());
        let known = bearer.and_then(|bearer| Some((self.transport.authenticate(&bearer)?, bearer)));
        let Some(((viewer, good_for), bearer)) = known else { return self.machine.reject() };
        self.client = Some(Client { viewer, bearer });
        self.machine.accept(good_for, Instant::now().into_std())
    }

    /// Sends one frame; gives the socket up when it has gone or its reader is too slow.
    async fn bounded<F>(&mut self, send: F) -> ControlFlow<End>
    where
        F: AsyncFnOnce(&mut Session) -> Result<(), actix_ws::Closed>,
    {
        let Some(session) = &mut self.session else { return ControlFlow::Break(End::Closed) };
        match timeout(self.transport.config.socket.send_timeout, send(session)).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(actix_ws::Closed)) => ControlFlow::Break(End::Closed),
            Err(_) => {
                tracing::info!(operations = self.operations.len(), "dropped a socket whose client reads too slowly");
                ControlFlow::Break(End::TooSlow)
            }
        }
    }

    /// Sends a close frame, if the queue takes it within a moment.
    async fn close(&mut self, reason: Option<CloseReason>) -> End {
        self.operations.clear();
        let Some(session) = self.session.take() else { return End::Closed };
        let patience = self.transport.config.socket.send_timeout.min(Duration::from_secs(1));
        match timeout(patience, session.close(reason)).await {
            Ok(_told) => End::Closed,
            Err(_) => End::TooSlow,
        }
    }
}

/// How to close after frames that cannot be read.
fn close_of(error: &ProtocolError) -> Close {
    match error {
        ProtocolError::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Close::NOT_TEXT,
        // actix-ws reports too long a message of several frames as an IO error, as it does a broken connection, for
        // which the code makes no difference.
        ProtocolError::Overflow | ProtocolError::Io(_) => Close::TOO_BIG,
        _ => Close::MALFORMED_FRAME,
    }
}

/// The token in the payload of `connection_init`: `{"Authorization": "Bearer …"}`, in any case, as clients commonly
/// send it.
fn bearer_of_payload(payload: &Map<String, Value>) -> Option<&str> {
    let (_, value) = payload.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    bearer_in(value.as_str()?)
}

#[cfg(test)]
mod tests;
