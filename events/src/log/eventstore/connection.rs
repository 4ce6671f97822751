//! The client, and another one when it is of no use any more.
//!
//! **Invariant:** no failure outlasts its cause. The client (1.2) by itself does not go that far:
//!
//! - One whose first connection fails has no task left that could make another: every later call says that the connection
//!   is closed. So a closed connection means a new client.
//! - On `Unavailable` it keeps the server it has, also when others could answer. So some failures in a row mean a new
//!   client, which asks again who leads.
//! - It waits for an answer as long as there is a connection; its deadline is only told to the server. So we wait no
//!   longer than [`EventStoreConfig::patience`](super::EventStoreConfig::patience).
//! - Before its first connection it waits for the connection string's `discoveryInterval`, half a second by default: a log
//!   that lost its server is back no sooner.

use std::future::Future;
use std::time::Duration;

use eventstore::{Client, ClientSettings, Error};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::OpenError;
use crate::log::LogHealth;

/// Clients are made no faster than this: making one reads certificates.
const BETWEEN_CLIENTS: Duration = Duration::from_millis(200);

/// How often a call is sent on to the server that leads: once is usual, twice when the leader changes meanwhile.
const SENT_ON: u32 = 3;

/// The code of what the server calls a wrong argument: an append that is too large, a position that it does not have.
/// **Source:** gRPC, "Status codes and their use in gRPC".
const INVALID_ARGUMENT: i32 = 3;

pub(super) struct Connection {
    settings: ClientSettings,
    patience: Duration,
    rebuild_after: u32,
    state: Mutex<State>,
}

struct State {
    client: Client,
    /// Which client it is: a failure of an earlier one says nothing of this.
    number: u64,
    made_at: Instant,
    failures_of_client: u32,
    failures: u32,
    last_failure: String,
}

impl Connection {
    pub(super) fn open(settings: ClientSettings, patience: Duration, rebuild_after: u32) -> Result<Self, OpenError> {
        let client = Client::new(settings.clone()).map_err(|error| OpenError::Client(error.to_string()))?;
        let state = State {
            client,
            number: 0,
            made_at: Instant::now(),
            failures_of_client: 0,
            failures: 0,
            last_failure: String::new(),
        };
        Ok(Self { settings, patience, rebuild_after: rebuild_after.max(1), state: Mutex::new(state) })
    }

    /// How long a call may wait for its answer.
    pub(super) const fn patience(&self) -> Duration {
        self.patience
    }

    /// Makes a call, again where another server leads: there nothing was done.
    pub(super) async fn run<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut sent = 0;
        loop {
            let (client, number) = {
                let state = self.state.lock();
                (state.client.clone(), state.number)
            };
            let result = call(client).await;
            self.note(number, result.as_ref().err());
            sent += 1;
            match result {
                Err(Error::NotLeaderException(_)) if sent < SENT_ON => {}
                result => return result,
            }
        }
    }

    fn note(&self, number: u64, error: Option<&Error>) {
        let mut state = self.state.lock();
        let Some(error) = error.filter(|error| is_failure(error)) else {
            state.failures = 0;
            if state.number == number {
                state.failures_of_client = 0;
            }
            return;
        };
        state.failures = state.failures.saturating_add(1);
        state.last_failure = reason(error);
        if state.number != number {
            return;
        }
        state.failures_of_client = state.failures_of_client.saturating_add(1);
        let is_dead = matches!(error, Error::ConnectionClosed | Error::GrpcConnectionError(_));
        if (is_dead || state.failures_of_client >= self.rebuild_after) && state.made_at.elapsed() >= BETWEEN_CLIENTS {
            self.rebuild(&mut state);
        }
    }

    fn rebuild(&self, state: &mut State) {
        match Client::new(self.settings.clone()) {
            Ok(client) => {
                tracing::debug!(failures = state.failures, "made another client of EventStoreDB");
                state.client = client;
                state.number += 1;
                state.failures_of_client = 0;
            }
            Err(error) => tracing::warn!(%error, "cannot make another client of EventStoreDB"),
        }
        state.made_at = Instant::now();
    }

    pub(super) fn health(&self) -> LogHealth {
        let state = self.state.lock();
        if state.failures >= self.rebuild_after {
            LogHealth::Halted { reason: state.last_failure.clone() }
        } else {
            LogHealth::Writable
        }
    }
}

/// True when the server was not reached or did not do its work; a refusal is no failure.
fn is_failure(error: &Error) -> bool {
    match error {
        Error::WrongExpectedVersion { .. }
        | Error::ResourceNotFound
        | Error::ResourceDeleted
        | Error::ResourceAlreadyExists
        | Error::NotLeaderException(_) => false,
        Error::Grpc { code, .. } => i32::from(*code) != INVALID_ARGUMENT,
        _ => true,
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn in_time<T>(patience: Duration, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(patience, answer).await.unwrap_or(Err(Error::DeadlineExceeded))
}

/// What to say of an error: without what a server may have put into it.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::ServerError(_) => "EventStoreDB failed or cannot be reached".into(),
        Error::Grpc { code, .. } => format!("EventStoreDB answered {code:?}"),
        Error::GrpcConnectionError(_) | Error::ConnectionClosed => "no connection to EventStoreDB".into(),
        Error::DeadlineExceeded => "EventStoreDB did not answer in time".into(),
        Error::NotLeaderException(_) => "EventStoreDB has no leader for now".into(),
        Error::AccessDenied => "EventStoreDB denies access".into(),
        other => format!("EventStoreDB: {other}"),
    }
}
