//! Listening to a channel over outages.
//!
//! **Invariant:** whoever calls [`Listener::next`] in turn is told to look for itself after every connection made, and
//! at least each quiet period, so that a notification which was lost delays and never hides anything.

use std::time::Duration;

use tokio_postgres::Client;

use super::{Dedicated, Postgres, PostgresError};

/// The first pause after a connection was lost; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a listener heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Listens (again): anything may have happened before, so look.
    Connected,
    /// Somebody notified the channel.
    Payload(String),
    /// Nothing came for the quiet period: look, for a notification can get lost.
    Quiet,
    /// The connection is lost or cannot be made; the next call tries again after a pause.
    Lost(PostgresError),
}

/// Hears what is notified on one channel.
pub struct Listener {
    postgres: Postgres,
    channel: String,
    quiet: Duration,
    connection: Option<Dedicated>,
    pause: Option<Duration>,
}

impl Listener {
    pub(super) const fn new(postgres: Postgres, channel: String, quiet: Duration) -> Self {
        Self { postgres, channel, quiet, connection: None, pause: None }
    }

    /// Waits for the next thing to hear.
    pub async fn next(&mut self) -> Heard {
        let Some(connection) = &mut self.connection else { return self.connect().await };
        match tokio::time::timeout(self.quiet, connection.notifications.recv()).await {
            Ok(Some(payload)) => Heard::Payload(payload),
            Ok(None) => self.lost(PostgresError::Unavailable("connection lost".into())),
            Err(_) => Heard::Quiet,
        }
    }

    /// The connection that listens, to look with; `None` while there is none.
    #[must_use]
    pub fn client(&self) -> Option<&Client> {
        self.connection.as_ref().map(|connection| &connection.client)
    }

    /// Gives the connection up, after a look with it failed.
    pub fn lost(&mut self, error: PostgresError) -> Heard {
        self.connection = None;
        self.pause = Some(self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE)));
        Heard::Lost(error)
    }

    async fn connect(&mut self) -> Heard {
        if let Some(pause) = self.pause {
            tokio::time::sleep(pause).await;
        }
        let made = async {
            let connection = self.postgres.connect().await?;
            connection.client.batch_execute(&format!("LISTEN {}", self.channel)).await?;
            Ok(connection)
        };
        match made.await {
            Ok(connection) => {
                self.connection = Some(connection);
                self.pause = None;
                Heard::Connected
            }
            Err(error) => self.lost(error),
        }
    }
}
