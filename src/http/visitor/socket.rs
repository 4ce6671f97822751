//! One socket of a visitor's page: who it is, what it has missed, what is new, what the visitor writes.
//!
//! **Invariant:** frames with a place go out in order and each once; an `ack` goes out only after the log has the
//! delivery. It reads nothing while it waits to write, so a page that does not read is not read from either.

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use actix_web::web::{self, Bytes};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session};
use events::envelope::{Category, Revision, StreamName};
use events::ids::AccountId;
use futures::StreamExt;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};

use super::{History, Unproven, VisitorSockets};
use crate::channels::webchat::frames::{ClientFrame, RefusalCode, Sequence, ServerFrame};
use crate::channels::webchat::{self, Identity};
use crate::visitors::Connection;

/// How a socket ends.
enum End {
    /// The page has gone.
    Gone,
    /// With this code and reason.
    Close(u16, &'static str),
}

impl End {
    const LEAVING: Self = Self::Close(1001, "the server stops: come back");
    const NOT_TEXT: Self = Self::Close(1003, "frames are text");
    const TOO_BIG: Self = Self::Close(1009, "the frame is too large");
    const LATER: Self = Self::Close(1013, "try again later");
    const NO_RESUME: Self = Self::Close(4400, "the first frame must be a resume");
    const NOT_SIGNED: Self = Self::Close(4401, "the visitor is not signed, or wrongly");
    const NO_ACCOUNT: Self = Self::Close(4404, "the chat is closed");
    const SILENT: Self = Self::Close(4408, "no resume came in time");
    const EXPIRED: Self = Self::Close(4410, "the signature is expired: get a fresh one");
    const TOO_MANY: Self = Self::Close(4429, "too many sockets or bad signatures");
}

/// One socket.
pub(super) struct Socket {
    sockets: web::Data<VisitorSockets>,
    account: AccountId,
    sender: IpAddr,
    session: Session,
}

impl Socket {
    pub(super) fn new(
        sockets: web::Data<VisitorSockets>,
        account: AccountId,
        sender: IpAddr,
        session: Session,
    ) -> Self {
        Self { sockets, account, sender, session }
    }

    pub(super) async fn run(mut self, messages: AggregatedMessageStream, unproven: Unproven) {
        let mut messages = pin!(messages);
        let Err(end) = self.serve(messages.as_mut(), unproven).await;
        metrics::gauge!("letopis_visitor_sockets").set(count(self.sockets.visitors.sockets()));
        if let End::Close(code, reason) = end {
            let reason = CloseReason { code: CloseCode::from(code), description: Some(reason.to_owned()) };
            // Whether the page still hears it makes no difference: the socket ends here.
            let _told = timeout(Duration::from_secs(1), self.session.close(Some(reason))).await;
        }
    }

    async fn serve(
        &mut self,
        mut messages: std::pin::Pin<&mut AggregatedMessageStream>,
        unproven: Unproven,
    ) -> Result<std::convert::Infallible, End> {
        let sockets = web::Data::clone(&self.sockets);
        let shutdown = sockets.shutdown.cancelled();
        let mut shutdown = pin!(shutdown);
        let deadline = Instant::now() + sockets.bounds.resume_timeout;
        let first = loop {
            let message = tokio::select! {
                biased;
                () = &mut shutdown => return Err(End::LEAVING),
                message = timeout_at(deadline, messages.next()) => message.map_err(|_| End::SILENT)?,
            };
            if let Some(text) = self.text_of(message).await? {
                break text;
            }
        };
        let Some(ClientFrame::Resume { after, thread }) = ClientFrame::parse(&first) else {
            return Err(End::NO_RESUME);
        };
        let identity = self.identify(&first).await?;
        let key = webchat::thread_key(&identity, thread.as_deref()).ok_or(End::NO_RESUME)?;
        let account = sockets.accounts.get(self.account).ok_or(End::NO_ACCOUNT)?;
        let conversation = sockets.codec.hasher().conversation(self.account, &key);
        let stream = StreamName::new(Category::Conversation, account.tenant.clone(), conversation.uuid());
        // Connected before anything is read, so that what is written meanwhile wakes it.
        let mut page = sockets.visitors.connect(self.account, conversation).map_err(|_| End::TOO_MANY)?;
        drop(unproven);
        metrics::gauge!("letopis_visitor_sockets").set(count(sockets.visitors.sockets()));
        let resumed = History::resume(&*sockets.log, &sockets.codec, stream, after).await;
        let (mut history, after, until) = resumed.map_err(|error| later(&error))?;
        let mut progress = Progress { sent: after };
        if let Some(after) = after {
            page.has_seen(after);
        }
        let place = |revision: Revision| Sequence(revision.0);
        self.send(&ServerFrame::Resumed { after: after.map(place), until: until.map(place) }).await?;

        let keep_alive = sockets.bounds.keep_alive;
        let mut tick = interval_at(Instant::now() + keep_alive, keep_alive);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            self.send_new(&mut history, &mut progress).await?;
            tokio::select! {
                biased;
                () = &mut shutdown => return Err(End::LEAVING),
                _ = tick.tick() => {
                    if heard.elapsed() > 2 * keep_alive {
                        return Err(End::Gone);
                    }
                    // Expired meanwhile, signed with a secret that was revoked, or the account was disabled.
                    self.identify(&first).await?;
                    self.bounded(async |session| session.ping(b"").await).await?;
                }
                message = messages.next() => {
                    let text = self.text_of(message).await?;
                    heard = Instant::now();
                    if let Some(text) = text {
                        self.received(text, &page, &progress).await?;
                    }
                }
                () = page.news() => {}
            }
        }
    }

    /// Who the frame is from, proven by a live secret of the account.
    async fn identify(&self, frame: &[u8]) -> Result<Identity, End> {
        let account = self.sockets.accounts.get(self.account).filter(|account| !account.disabled);
        let account = account.ok_or(End::NO_ACCOUNT)?;
        self.sockets.intake.identify(&account, self.sender, frame).await.map_err(|refused| match refused {
            RefusalCode::Expired => End::EXPIRED,
            RefusalCode::TooMany => End::TOO_MANY,
            RefusalCode::NotSigned | RefusalCode::Malformed | RefusalCode::TooLarge => End::NOT_SIGNED,
        })
    }

    async fn send_new(&mut self, history: &mut History<'_>, progress: &mut Progress) -> Result<(), End> {
        while let Some(frames) = history.read().await.map_err(|error| later(&error))? {
            for frame in frames {
                self.send(&frame).await?;
                if let ServerFrame::Message { sequence, .. } | ServerFrame::Closed { sequence } = frame {
                    progress.sent = Some(Revision(sequence.0));
                }
            }
        }
        Ok(())
    }

    async fn received(&mut self, text: Bytes, page: &Connection, progress: &Progress) -> Result<(), End> {
        match ClientFrame::parse(&text) {
            Some(ClientFrame::Seen { up_to }) => {
                // A page has at most what it was sent.
                if let Some(sent) = progress.sent {
                    page.has_seen(Revision(up_to.0).min(sent));
                }
                Ok(())
            }
            // Passed on to nobody yet; a second resume changes nothing.
            Some(ClientFrame::Typing | ClientFrame::Resume { .. }) => Ok(()),
            None => self.delivery(text).await,
        }
    }

    /// A delivery goes the way of one that was posted.
    async fn delivery(&mut self, body: Bytes) -> Result<(), End> {
        let peek = webchat::peek(&body);
        let id = peek.delivery_id.as_deref().and_then(|id| id.rsplit('/').next()).map(str::to_owned);
        let account = self.sockets.accounts.get(self.account).filter(|account| !account.disabled);
        let account = account.ok_or(End::NO_ACCOUNT)?;
        let identified = self.sockets.intake.identify(&account, self.sender, &body).await;
        let code = match (identified, id.clone()) {
            (Err(code), _) => code,
            (Ok(_), None) => RefusalCode::Malformed,
            (Ok(_), Some(id)) => match self.sockets.intake.take_delivery(&account, peek, body, None).await {
                Ok(_) => return self.send(&ServerFrame::Ack { id }).await,
                Err(problem) if problem.kind() == "rate-limited" => RefusalCode::TooMany,
                // Not acknowledged, so the page sends it again.
                Err(_) => return Err(End::LATER),
            },
        };
        self.send(&ServerFrame::Refused { id, code }).await
    }

    /// The text of a message, if it is one.
    async fn text_of(
        &mut self,
        message: Option<Result<AggregatedMessage, ProtocolError>>,
    ) -> Result<Option<Bytes>, End> {
        match message {
            None | Some(Ok(AggregatedMessage::Close(_))) => Err(End::Close(1000, "good-bye")),
            Some(Ok(AggregatedMessage::Text(text))) => Ok(Some(text.into_bytes())),
            Some(Ok(AggregatedMessage::Binary(_))) => Err(End::NOT_TEXT),
            Some(Ok(AggregatedMessage::Pong(_))) => Ok(None),
            Some(Ok(AggregatedMessage::Ping(payload))) => {
                self.bounded(async |session| session.pong(&payload).await).await?;
                Ok(None)
            }
            Some(Err(ProtocolError::Overflow)) => Err(End::TOO_BIG),
            Some(Err(ProtocolError::Io(error))) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(End::NOT_TEXT)
            }
            // actix-ws reports too long a message of several frames as an IO error, as it does a broken connection, for
            // which the code makes no difference.
            Some(Err(_)) => Err(End::TOO_BIG),
        }
    }

    async fn send(&mut self, frame: &ServerFrame) -> Result<(), End> {
        // A frame is plain data with string keys.
        let text = serde_json::to_string(frame).map_err(|_| End::LATER)?;
        self.bounded(async |session| session.text(text).await).await
    }

    /// Sends one frame; gives the socket up when it has gone or its reader is too slow.
    async fn bounded<F>(&mut self, send: F) -> Result<(), End>
    where
        F: AsyncFnOnce(&mut Session) -> Result<(), actix_ws::Closed>,
    {
        match timeout(self.sockets.bounds.send_timeout, send(&mut self.session)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(actix_ws::Closed)) => Err(End::Gone),
            Err(_) => {
                tracing::info!("dropped a visitor's socket whose page reads too slowly");
                Err(End::Gone)
            }
        }
    }
}

/// How far the page was sent the conversation.
struct Progress {
    sent: Option<Revision>,
}

fn later(error: &super::history::HistoryError) -> End {
    tracing::error!(%error, "a visitor's conversation cannot be read");
    End::LATER
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; sockets are far below 2^52")]
fn count(sockets: usize) -> f64 {
    sockets as f64
}
