//! The one task of a process that appends: group commit without a linger timer, halting and recovery.
//!
//! **Invariant:** a waiter hears of its append after the COMMIT that made it durable, and followers after the waiters. A
//! failed transaction is never retried behind a caller's back: all of its group hear that the outcome is unknown, and a
//! new connection is made before appends are taken again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::queue::{Queue, unavailable};
use super::session::Session;
use crate::clock::Clock;
use crate::envelope::Position;
use crate::postgres::{Postgres, PostgresError};

/// The first pause before a new connection is tried; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the writer works with.
pub(super) struct Writer {
    pub(super) postgres: Postgres,
    pub(super) turn_timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) queue: Arc<Queue>,
    pub(super) head: watch::Sender<Position>,
}

/// Says so when the task ends, also by a panic, so that nobody waits for ever.
struct Farewell(Arc<Queue>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.writer_gone();
    }
}

impl Writer {
    /// A connection that is ready to append.
    pub(super) async fn connect(&self) -> Result<Session, PostgresError> {
        Session::start(&self.postgres, super::channel(&self.postgres), self.turn_timeout).await
    }

    /// Works until the queue is closed and empty.
    pub(super) async fn run(self, session: Session) {
        let _farewell = Farewell(Arc::clone(&self.queue));
        let mut next = Some(session);
        let mut pause = FIRST_PAUSE;
        let mut halted = false;
        loop {
            let session = match next.take() {
                Some(session) => Ok(session),
                None => self.connect().await,
            };
            let failure = match session {
                Ok(session) => {
                    if std::mem::take(&mut halted) {
                        tracing::info!("event log takes appends again");
                    }
                    self.serve(session, &mut pause).await
                }
                Err(error) => Err(error),
            };
            let Err(error) = failure else { return };
            if !std::mem::replace(&mut halted, true) {
                tracing::error!(reason = error.reason(), "event log halted");
            }
            self.queue.halt(&error.to_string(), pause);
            if self.queue.is_closing() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Serves groups until the queue closes (Ok) or something fails.
    async fn serve(&self, mut session: Session, pause: &mut Duration) -> Result<(), PostgresError> {
        self.queue.resume();
        loop {
            let group = tokio::select! {
                group = self.queue.take() => group,
                () = session.ended() => return Err(PostgresError::Unavailable("connection lost".into())),
            };
            let Some(group) = group else { return Ok(()) };
            match session.commit(&group, &*self.clock).await {
                Ok((answers, head)) => {
                    for (request, answer) in group.into_iter().zip(answers) {
                        request.answer(answer);
                    }
                    if let Some(head) = head {
                        super::follow::reach(&self.head, head);
                    }
                    *pause = FIRST_PAUSE;
                }
                Err(error) => {
                    let reason = error.to_string();
                    // Health says so before anybody is answered.
                    self.queue.halt(&reason, FIRST_PAUSE);
                    for request in group {
                        request.answer(Err(unavailable(&reason, FIRST_PAUSE)));
                    }
                    return Err(error);
                }
            }
        }
    }
}
