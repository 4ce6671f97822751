//! A connection of the pool on which requests are sent without waiting between them.
//!
//! **Invariant:** a connection goes back to the pool only when no transaction is open on it: one that is given up half
//! way, whatever dropped it, is closed, which rolls back.

use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::task::Poll;

use deadpool_postgres::{ClientWrapper, Object};
use events::postgres::Postgres;
use tokio_postgres::Statement;

use super::errors::Failure;
use crate::store::StoreError;

/// Statements that a connection keeps prepared: more than there are usual texts. Filters of lists make more; then all
/// are forgotten, which costs each one round trip again.
const MOST_PREPARED: usize = 512;

/// A connection.
pub(super) struct Session {
    connection: Option<Object>,
    /// True while a transaction is open on it.
    open: bool,
}

impl Session {
    /// Takes a connection of the pool.
    pub(super) async fn of(postgres: &Postgres) -> Result<Self, StoreError> {
        let connection = postgres.client().await?;
        if connection.statement_cache.size() > MOST_PREPARED {
            connection.statement_cache.clear();
        }
        Ok(Self { connection: Some(connection), open: false })
    }

    /// A transaction was begun.
    pub(super) fn opened(&mut self) {
        self.open = true;
    }

    /// It has ended.
    pub(super) fn ended(&mut self) {
        self.open = false;
    }

    /// Prepares texts, all at once, but those that are prepared.
    pub(super) async fn prepare(&self, texts: impl Iterator<Item = &str>) -> Result<Vec<Statement>, Failure> {
        let prepared = pipelined(texts.map(|text| self.prepare_cached(text))).await;
        Ok(prepared.into_iter().collect::<Result<_, _>>()?)
    }
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.connection.as_ref().expect("it is taken by drop alone")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (true, Some(connection)) = (self.open, self.connection.take()) {
            drop(Object::take(connection));
        }
    }
}

/// Sends requests in their order without waiting for answers between them; gives the answers. All are sent when this is
/// first polled, so that a caller who goes away leaves none of them unsent.
pub(super) async fn pipelined<F: Future>(requests: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<Pin<Box<F>>> = requests.into_iter().map(Box::pin).collect();
    let mut answers: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut all = true;
        for (request, answer) in waiting.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match request.as_mut().poll(context) {
                    Poll::Ready(ready) => *answer = Some(ready),
                    Poll::Pending => all = false,
                }
            }
        }
        if all { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.into_iter().flatten().collect()
}
