//! The sub-protocol graphql-transport-ws as a state machine without IO: what arrives and what time it is go in, what
//! to do comes out.
//!
//! Close codes, those of the protocol's reference server where it has one:
//!
//! | code | when |
//! |---|---|
//! | 1001 | this process stops; come back, another one answers |
//! | 1002, 1007, 1009 | a frame is malformed, is not UTF-8, or is larger than allowed (sent by the socket around this machine) |
//! | 3008 | nothing was heard of the client for two keep-alives |
//! | 4400 | a message that the protocol does not know |
//! | 4401 | `subscribe` before the acknowledgement |
//! | 4403 | the token is unknown, expired **or stopped being good meanwhile**: clients take 4401 for final and give up, but 4403 for a reason to connect again, which is where they fetch a new token and resume |
//! | 4408 | no `connection_init` in time |
//! | 4409 | `subscribe` with the id of an operation that still runs |
//! | 4429 | a second `connection_init` |
//!
//! **Source:** github.com/enisdenjo/graphql-ws, PROTOCOL.md and the lists of fatal close codes in its client (5.16.2).
//!
//! **Invariant:** at most `max_operations` run at once and nothing runs before the client is known; after a
//! [`Action::Close`] the machine is silent.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use async_graphql::{ErrorExtensionValues, Request, Response, ServerError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::SocketConfig;
use super::request::Parameters;
use super::response::{complete_errors, is_request_error};

/// The name of the sub-protocol.
pub(super) const SUBPROTOCOL: &str = "graphql-transport-ws";

/// The longest id of an operation, in bytes. Clients use UUIDs or counters.
const MAX_ID_BYTES: usize = 128;

/// What the socket must do.
#[derive(Debug)]
pub(super) enum Action {
    /// Send this text.
    Send(String),
    /// Send a ping frame.
    Ping,
    /// Find out who the client is from the payload of its `connection_init`, and tell by [`Machine::accept`] or
    /// [`Machine::reject`].
    Authenticate(Option<Map<String, Value>>),
    /// Find out whether the client's token is still good, and tell by [`Machine::reject`] if not.
    Recheck,
    /// Run an operation; tell its results by [`Machine::response`] and its end by [`Machine::finished`].
    Start {
        /// The client's id of it.
        id: String,
        /// What to run.
        request: Box<Request>,
    },
    /// Stop an operation and forget it.
    Stop(String),
    /// Close the socket and stop everything.
    Close(Close),
}

/// Why and with which code a socket closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Close {
    /// The code.
    pub(super) code: u16,
    /// The reason, at most 123 bytes (RFC 6455, section 5.5).
    pub(super) reason: &'static str,
}

impl Close {
    pub(super) const GOING_AWAY: Self = Self::new(1001, "Going away");
    pub(super) const NOT_TEXT: Self = Self::new(1007, "Text is not UTF-8");
    pub(super) const TOO_BIG: Self = Self::new(1009, "Message too big");
    pub(super) const MALFORMED_FRAME: Self = Self::new(1002, "Malformed frame");
    const SILENT: Self = Self::new(3008, "Nothing heard for too long");
    const INVALID: Self = Self::new(4400, "Invalid message received");
    const UNAUTHORIZED: Self = Self::new(4401, "Unauthorized");
    const FORBIDDEN: Self = Self::new(4403, "Forbidden");
    const EXPIRED: Self = Self::new(4403, "Token expired");
    const INIT_TIMEOUT: Self = Self::new(4408, "Connection initialisation timeout");
    const DUPLICATE: Self = Self::new(4409, "Subscriber for this id already exists");
    const TOO_MANY_INITS: Self = Self::new(4429, "Too many initialisation requests");

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ClientMessage {
    ConnectionInit { payload: Option<Map<String, Value>> },
    Subscribe { id: String, payload: Parameters },
    Complete { id: String },
    Ping {},
    Pong {},
}

/// What the server says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ServerMessage<'a> {
    ConnectionAck,
    /// Without the payload of the ping: a stranger's bytes are not kept to be sent back.
    Pong,
    Next {
        id: &'a str,
        payload: &'a Response,
    },
    Error {
        id: &'a str,
        payload: &'a [ServerError],
    },
    Complete {
        id: &'a str,
    },
}

impl From<&ServerMessage<'_>> for Action {
    fn from(message: &ServerMessage<'_>) -> Self {
        match serde_json::to_string(message) {
            Ok(text) => Self::Send(text),
            Err(_) => Self::Close(Close::new(1011, "A result could not be written")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waiting for `connection_init`, until then.
    Opened { init_by: Instant },
    /// Waiting to be told who the client is.
    Introduced,
    /// Acknowledged, until then.
    Acknowledged { expires: Option<Instant> },
    /// Done.
    Closed,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Machine {
    phase: Phase,
    operations: HashSet<String>,
    max_operations: usize,
    keep_alive: Duration,
    heard_at: Instant,
    ping_at: Instant,
    trace_id: Option<String>,
}

impl Machine {
    /// A connection that was opened at `now`; errors carry `trace_id`.
    pub(super) fn new(config: &SocketConfig, trace_id: Option<String>, now: Instant) -> Self {
        Self {
            phase: Phase::Opened { init_by: now + config.init_timeout },
            operations: HashSet::new(),
            max_operations: config.max_operations,
            keep_alive: config.keep_alive,
            heard_at: now,
            ping_at: now + config.keep_alive,
            trace_id,
        }
    }

    /// Anything arrived: the client lives.
    pub(super) const fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// A text message arrived.
    pub(super) fn text(&mut self, text: &str) -> Option<Action> {
        if self.phase == Phase::Closed {
            return None;
        }
        match serde_json::from_str(text) {
            Ok(ClientMessage::ConnectionInit { payload }) => Some(match self.phase {
                Phase::Opened { .. } => {
                    self.phase = Phase::Introduced;
                    Action::Authenticate(payload)
                }
                Phase::Introduced | Phase::Acknowledged { .. } | Phase::Closed => self.close(Close::TOO_MANY_INITS),
            }),
            Ok(ClientMessage::Subscribe { id, payload }) => Some(self.subscribe(id, payload)),
            Ok(ClientMessage::Complete { id }) => self.operations.remove(&id).then_some(Action::Stop(id)),
            Ok(ClientMessage::Ping {}) => Some(Action::from(&ServerMessage::Pong)),
            Ok(ClientMessage::Pong {}) => None,
            Err(_) => Some(self.close(Close::INVALID)),
        }
    }

    /// A message arrived that the protocol has no use for.
    pub(super) fn invalid(&mut self) -> Option<Action> {
        (self.phase != Phase::Closed).then(|| self.close(Close::INVALID))
    }

    fn subscribe(&mut self, id: String, parameters: Parameters) -> Action {
        if !matches!(self.phase, Phase::Acknowledged { .. }) {
            return self.close(Close::UNAUTHORIZED);
        }
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return self.close(Close::INVALID);
        }
        if self.operations.contains(&id) {
            return self.close(Close::DUPLICATE);
        }
        if self.operations.len() >= self.max_operations {
            return self.refuse(&id, "RATE_LIMITED", "too many operations run on this socket");
        }
        match parameters.into_request() {
            Ok(request) => {
                self.operations.insert(id.clone());
                Action::Start { id, request: Box::new(request) }
            }
            Err(reason) => self.refuse(&id, "BAD_USER_INPUT", reason),
        }
    }

    fn refuse(&self, id: &str, code: &str, reason: &str) -> Action {
        let mut error = ServerError::new(reason, None);
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", code);
        error.extensions = Some(extensions);
        let mut errors = [error];
        complete_errors(&mut errors, self.trace_id.as_deref());
        Action::from(&ServerMessage::Error { id, payload: &errors })
    }

    /// The client is known; its token is good for this long.
    pub(super) fn accept(&mut self, good_for: Option<Duration>, now: Instant) -> Option<Action> {
        if self.phase != Phase::Introduced {
            return None;
        }
        self.phase = Phase::Acknowledged { expires: good_for.and_then(|time| now.checked_add(time)) };
        Some(Action::from(&ServerMessage::ConnectionAck))
    }

    /// The client's token is not good, or not any more.
    pub(super) fn reject(&mut self) -> Option<Action> {
        match self.phase {
            Phase::Opened { .. } | Phase::Introduced => Some(self.close(Close::FORBIDDEN)),
            Phase::Acknowledged { .. } => Some(self.close(Close::EXPIRED)),
            Phase::Closed => None,
        }
    }

    /// An operation has a result. One that was not executed at all ends with it.
    pub(super) fn response(&mut self, id: &str, mut response: Response) -> Vec<Action> {
        if !self.operations.contains(id) {
            return Vec::new();
        }
        complete_errors(&mut response.errors, self.trace_id.as_deref());
        if !is_request_error(&response) {
            return vec![Action::from(&ServerMessage::Next { id, payload: &response })];
        }
        self.operations.remove(id);
        vec![Action::from(&ServerMessage::Error { id, payload: &response.errors }), Action::Stop(id.to_owned())]
    }

    /// An operation came to its end.
    pub(super) fn finished(&mut self, id: &str) -> Option<Action> {
        self.operations.remove(id).then(|| Action::from(&ServerMessage::Complete { id }))
    }

    /// This process stops.
    pub(super) fn shut_down(&mut self) -> Option<Action> {
        (self.phase != Phase::Closed).then(|| self.close(Close::GOING_AWAY))
    }

    /// When [`Machine::elapsed`] has something to do next.
    pub(super) fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Opened { init_by } => init_by.min(self.ping_at),
            Phase::Acknowledged { expires: Some(expires) } => expires.min(self.ping_at),
            Phase::Introduced | Phase::Acknowledged { expires: None } | Phase::Closed => self.ping_at,
        }
    }

    /// Does what is due at `now`.
    pub(super) fn elapsed(&mut self, now: Instant) -> Vec<Action> {
        match self.phase {
            Phase::Closed => return Vec::new(),
            Phase::Opened { init_by } if now >= init_by => return vec![self.close(Close::INIT_TIMEOUT)],
            Phase::Acknowledged { expires: Some(expires) } if now >= expires => {
                return vec![self.close(Close::EXPIRED)];
            }
            Phase::Opened { .. } | Phase::Introduced | Phase::Acknowledged { .. } => {}
        }
        if now < self.ping_at {
            return Vec::new();
        }
        if now.duration_since(self.heard_at) >= self.keep_alive * 2 {
            return vec![self.close(Close::SILENT)];
        }
        self.ping_at = now + self.keep_alive;
        match self.phase {
            Phase::Acknowledged { .. } => vec![Action::Recheck, Action::Ping],
            Phase::Opened { .. } | Phase::Introduced | Phase::Closed => vec![Action::Ping],
        }
    }

    fn close(&mut self, close: Close) -> Action {
        self.phase = Phase::Closed;
        self.operations.clear();
        Action::Close(close)
    }
}

#[cfg(test)]
mod tests;
