//! The WebSocket of web chat visitors: `GET /webchat/{account}`. `docs/webchat.md` says it for those who write a widget.
//!
//! **Invariant:** a visitor reads their own conversation only, and proves who they are before anything is read. What a
//! socket holds is bounded: one incoming message, one slice of history, and the outgoing queue (32 messages waiting and
//! as many being written, fixed by actix-ws).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, rt, web};
use events::account::AccountSettings;
use events::codec::Codec;
use events::log::EventLog;
use events::values::Channel;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
use super::webhooks::Intake;
use crate::accounts::Accounts;
use crate::visitors::Visitors;

mod history;
mod socket;

use history::History;
use socket::Socket;

/// Bounds of a visitor's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketBounds {
    /// The largest message of the page, in bytes: a delivery with its files.
    pub max_message_bytes: usize,
    /// How long a new socket may take to say who it is.
    pub resume_timeout: Duration,
    /// Time between pings. A page that sends nothing at all for two of them is gone.
    pub keep_alive: Duration,
    /// How long a full outgoing queue may stay full before the reader counts as too slow.
    pub send_timeout: Duration,
    /// Sockets at once that have not said yet who they are.
    pub max_unproven: usize,
}

impl Default for SocketBounds {
    /// **Source:** `keep_alive` stays under the 60 s idle limit that proxies commonly have; the other bounds are ours.
    fn default() -> Self {
        Self {
            max_message_bytes: 1024 * 1024,
            resume_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(20),
            send_timeout: Duration::from_secs(10),
            max_unproven: 1_000,
        }
    }
}

/// What the sockets of visitors need.
pub struct VisitorSockets {
    /// Takes their deliveries in.
    pub intake: web::Data<Intake>,
    /// Knows whose secrets sign.
    pub accounts: Arc<Accounts>,
    /// Who is connected.
    pub visitors: Arc<Visitors>,
    /// What was said.
    pub log: Arc<dyn EventLog>,
    /// Opens it.
    pub codec: Codec,
    /// Ends every socket when cancelled.
    pub shutdown: CancellationToken,
    /// Bounds of one socket.
    pub bounds: SocketBounds,
    unproven: Arc<Mutex<usize>>,
}

impl VisitorSockets {
    /// Sockets that take their deliveries in through `intake`.
    #[must_use]
    pub fn new(
        intake: web::Data<Intake>,
        (accounts, visitors): (Arc<Accounts>, Arc<Visitors>),
        (log, codec): (Arc<dyn EventLog>, Codec),
        shutdown: CancellationToken,
        bounds: SocketBounds,
    ) -> Self {
        Self { intake, accounts, visitors, log, codec, shutdown, bounds, unproven: Arc::default() }
    }
}

/// A socket that has not said yet who it is. They are counted apart, so that strangers never take the places of
/// visitors.
struct Unproven(Arc<Mutex<usize>>);

impl Unproven {
    fn enter(unproven: &Arc<Mutex<usize>>, most: usize) -> Option<Self> {
        let mut now = unproven.lock();
        if *now >= most {
            return None;
        }
        *now += 1;
        Some(Self(Arc::clone(unproven)))
    }
}

impl Drop for Unproven {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
    }
}

/// `GET /webchat/{account}`: the WebSocket of a visitor's page.
///
/// # Errors
/// 400 when it is no WebSocket handshake, 403 for a page of another site, 404 for an unknown account, 429 and 503 with
/// `Retry-After`.
pub async fn connect(
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    sockets: web::Data<VisitorSockets>,
) -> Result<HttpResponse, Problem> {
    let sender = request.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip());
    let account = sockets.intake.account(Channel::Webchat.as_str(), &path, sender).await?;
    let AccountSettings::Webchat { allowed_origins } = &account.settings else {
        return Err(Problem::not_found("no such chat"));
    };
    refuse_foreign_page(&request, allowed_origins)?;
    let unproven = Unproven::enter(&sockets.unproven, sockets.bounds.max_unproven)
        .ok_or_else(|| Problem::rate_limited("too many new sockets at once", sockets.bounds.resume_timeout))?;
    let (response, session, frames) =
        actix_ws::handle(&request, payload).map_err(|_| Problem::bad_request("this is not a WebSocket handshake"))?;
    let messages = frames
        .max_frame_size(sockets.bounds.max_message_bytes)
        .aggregate_continuations()
        .max_continuation_size(sockets.bounds.max_message_bytes);
    rt::spawn(Socket::new(sockets, account.id, sender, session).run(messages, unproven));
    Ok(response)
}

/// Refuses the upgrade of a page that is not on the account's list. Browsers send `Origin` with every handshake and do
/// not ask before it (RFC 6455, section 10.2), so this is what keeps foreign pages out. What sends none is no browser;
/// it needs a signed visitor like all.
fn refuse_foreign_page(request: &HttpRequest, allowed: &[String]) -> Result<(), Problem> {
    let mut origins = request.headers().get_all(header::ORIGIN);
    let known = origins.all(|origin| allowed.iter().any(|allowed| origin.as_bytes() == allowed.as_bytes()));
    if known { Ok(()) } else { Err(Problem::forbidden("pages of this origin may not open the chat's socket")) }
}
