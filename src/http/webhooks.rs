//! Webhook intake: verify over the raw bytes, append them durably, acknowledge. Nothing else happens before the answer.
//!
//! **Invariant:** no 2xx before the log has taken the bytes; nothing authentic is refused for what it says
//! (design invariant 4). The same delivery sent again is the same event.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use events::blobs::{BlobError, Blobs, put_sealed};
use events::clock::Clock;
use events::codec::{Codec, CodecError};
use events::envelope::{Actor, Category, Metadata, StreamName};
use events::ids::{AccountId, EventId};
use events::intake::{IntakeEvent, IntakeReceived, RawBody};
use events::log::{AppendError, EventLog, ExpectedRevision};
use events::seal::{KeySubject, Personal};
use events::values::Channel;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::body::read_body;
use super::problem::Problem;
use crate::accounts::{Accounts, ChannelAccount};
use crate::channels::webchat::VerifyError;
use crate::channels::webchat::frames::RefusalCode;
use crate::channels::{Peek, email, telegram, webchat};
use crate::config::WebhooksConfig;
use crate::pressure::Pressure;

/// Bodies over this go to the blobs, the log keeps hash and length: EventStoreDB and Kafka refuse megabytes
/// (design invariant 4).
pub const MAX_BODY_IN_LOG_BYTES: usize = 256 * 1024;

/// What a sender is told when the log cannot say when it will be back.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Takes deliveries in.
pub struct Intake {
    accounts: Arc<Accounts>,
    log: Arc<dyn EventLog>,
    codec: Codec,
    blobs: Arc<dyn Blobs>,
    clock: Arc<dyn Clock>,
    config: WebhooksConfig,
    deliveries: DefaultKeyedRateLimiter<AccountId>,
    /// Bad signatures are counted apart, by account and sender, so that they never use up the account's own rate.
    refusals: DefaultKeyedRateLimiter<(AccountId, IpAddr)>,
    unknown: DefaultKeyedRateLimiter<IpAddr>,
    pressure: Arc<Pressure>,
}

impl Intake {
    /// An intake that appends to `log`.
    #[must_use]
    pub fn new(
        accounts: Arc<Accounts>,
        log: Arc<dyn EventLog>,
        codec: Codec,
        blobs: Arc<dyn Blobs>,
        clock: Arc<dyn Clock>,
        config: WebhooksConfig,
        pressure: Arc<Pressure>,
    ) -> Self {
        let per_second = NonZeroU32::new(config.deliveries_per_second).unwrap_or(NonZeroU32::MIN);
        let per_minute = NonZeroU32::new(config.bad_signatures_per_minute).unwrap_or(NonZeroU32::MIN);
        Self {
            accounts,
            log,
            codec,
            blobs,
            clock,
            config,
            deliveries: RateLimiter::keyed(Quota::per_second(per_second)),
            refusals: RateLimiter::keyed(Quota::per_minute(per_minute)),
            unknown: RateLimiter::keyed(Quota::per_minute(per_minute)),
            pressure,
        }
    }

    /// Forgets senders that have been quiet: call it from time to time.
    pub fn tidy_up(&self) {
        self.deliveries.retain_recent();
        self.refusals.retain_recent();
        self.unknown.retain_recent();
    }

    /// The account that an address names.
    ///
    /// # Errors
    /// 404 when there is none, 429 when too many unknown ones were asked for, 503.
    pub(super) async fn account(
        &self,
        channel: &str,
        account: &str,
        sender: IpAddr,
    ) -> Result<Arc<ChannelAccount>, Problem> {
        let unknown = || Problem::not_found("no such account: check the address that the provider was given");
        let found = async {
            let channel: Channel = channel.parse().ok()?;
            let id: AccountId = account.parse().ok()?;
            if let Some(account) = self.accounts.get(id) {
                return Some(Ok((channel, account)));
            }
            match self.accounts.get_fresh(id).await {
                Ok(found) => Some(Ok((channel, found?))),
                Err(error) => Some(Err(Problem::unavailable(error.to_string(), RETRY_AFTER))),
            }
        };
        // Looking an unknown account up costs a read, so it is limited before it is done.
        let known = account.parse().is_ok_and(|id| self.accounts.get(id).is_some());
        if !known {
            check(&self.unknown, &sender, "too many deliveries to unknown accounts")?;
        }
        let (channel, account) = found.await.transpose()?.ok_or_else(unknown)?;
        if account.channel() != channel || account.disabled {
            return Err(unknown());
        }
        Ok(account)
    }

    fn limit(&self, account: &ChannelAccount) -> usize {
        match account.channel() {
            Channel::Telegram | Channel::Webchat => self.config.max_body_bytes,
            Channel::Email => self.config.max_mail_bytes,
        }
    }

    /// Counts a bad signature and gives the account as the log has it now, if its secrets are others than those that
    /// did not fit: they are followed, so one that was issued a moment ago may not have arrived.
    async fn other_secrets(
        &self,
        account: &ChannelAccount,
        sender: IpAddr,
    ) -> Result<Option<Arc<ChannelAccount>>, Problem> {
        check(&self.refusals, &(account.id, sender), "too many deliveries with a bad signature")?;
        let fresh = self.accounts.get_caught_up(account.id).await;
        let fresh = fresh.map_err(|error| Problem::unavailable(error.to_string(), RETRY_AFTER))?;
        Ok(fresh.filter(|fresh| !fresh.disabled && fresh.secrets != account.secrets))
    }

    /// The account, once `proves` is true for its secrets.
    async fn prove(
        &self,
        account: Arc<ChannelAccount>,
        sender: IpAddr,
        proves: impl Fn(&ChannelAccount) -> bool,
    ) -> Result<Arc<ChannelAccount>, Problem> {
        if proves(&account) {
            return Ok(account);
        }
        let fresh = self.other_secrets(&account, sender).await?;
        fresh
            .filter(|fresh| proves(fresh))
            .ok_or_else(|| Problem::unauthenticated("the delivery is not signed with a live secret of this account"))
    }

    /// Proves who the visitor of a body is. A failure counts as a bad signature, unless it is only expired: the page
    /// shall get a fresh signature, which is no attack.
    async fn visitor(
        &self,
        account: &ChannelAccount,
        sender: IpAddr,
        body: &[u8],
    ) -> Result<Result<webchat::Identity, VerifyError>, Problem> {
        match webchat::verify(body, &secrets(account), self.clock.now()) {
            Err(error @ (VerifyError::NotSigned | VerifyError::WrongSignature | VerifyError::TooLong)) => {
                let fresh = self.other_secrets(account, sender).await?;
                Ok(fresh.map_or(Err(error), |fresh| webchat::verify(body, &secrets(&fresh), self.clock.now())))
            }
            known @ (Ok(_) | Err(VerifyError::Expired)) => Ok(known),
        }
    }

    /// Proves who the visitor of a frame is; a failure counts as a bad signature.
    pub(super) async fn identify(
        &self,
        account: &ChannelAccount,
        sender: IpAddr,
        frame: &[u8],
    ) -> Result<webchat::Identity, RefusalCode> {
        let proven = self.visitor(account, sender, frame).await.map_err(|_| RefusalCode::TooMany)?;
        proven.map_err(|error| match error {
            VerifyError::Expired => RefusalCode::Expired,
            VerifyError::NotSigned | VerifyError::WrongSignature | VerifyError::TooLong => RefusalCode::NotSigned,
        })
    }

    /// Appends a delivery whose sender is proven, unless there are too many, and returns the id of its event.
    pub(super) async fn take_delivery(
        &self,
        account: &ChannelAccount,
        peek: Peek,
        body: Bytes,
        traceparent: Option<Arc<str>>,
    ) -> Result<EventId, Problem> {
        check(&self.deliveries, &account.id, "too many deliveries to this account")?;
        self.take(account, peek, body, traceparent).await
    }

    /// Appends the delivery and returns the id of its event.
    async fn take(
        &self,
        account: &ChannelAccount,
        peek: Peek,
        body: Bytes,
        traceparent: Option<Arc<str>>,
    ) -> Result<EventId, Problem> {
        let hasher = self.codec.hasher();
        let delivery = peek.delivery_id.unwrap_or_else(|| body_hash(&body));
        let key = peek.conversation_key.as_deref().unwrap_or("");
        let stream = StreamName::new(Category::Intake, account.tenant.clone(), hasher.intake(account.id, key).uuid());
        let occurred_at = peek.occurred_at.unwrap_or_else(|| self.clock.now());
        let by_content = || hasher.delivery(account.id, &format!("{delivery}\0{}", body_hash(&body)));
        if body.len() > MAX_BODY_IN_LOG_BYTES {
            // Sealing is randomised, so the log cannot tell a large body sent again from another one: its id does.
            // Looked up first, so that it is not stored twice for nothing.
            let id = by_content();
            let known = self.log.find(id).await;
            if known.map_err(|error| Refused::Unavailable(error.to_string(), RETRY_AFTER))?.is_some() {
                return Ok(id);
            }
            return match self.append(account, &stream, id, occurred_at, &body, traceparent).await {
                // A copy that came at the same time was faster.
                Err(Refused::IdTaken) => Ok(id),
                other => other.map_err(Problem::from),
            };
        }
        let id = hasher.delivery(account.id, &delivery);
        match self.append(account, &stream, id, occurred_at, &body, traceparent.clone()).await {
            // Another body under a delivery id that was used: kept as well, told apart by its content.
            Err(Refused::IdTaken) => {
                let id = by_content();
                self.append(account, &stream, id, occurred_at, &body, traceparent).await.map_err(Problem::from)
            }
            other => other.map_err(Problem::from),
        }
    }

    async fn append(
        &self,
        account: &ChannelAccount,
        stream: &StreamName,
        id: EventId,
        occurred_at: chrono::DateTime<chrono::Utc>,
        body: &Bytes,
        traceparent: Option<Arc<str>>,
    ) -> Result<EventId, Refused> {
        let size_bytes = body.len() as u64;
        let (kept, blob) = if body.len() > MAX_BODY_IN_LOG_BYTES {
            let sealer = self.codec.sealer();
            let blob = put_sealed(&*self.blobs, sealer, &account.tenant, KeySubject::Own, body, None).await?;
            (Bytes::new(), Some(blob))
        } else {
            (body.clone(), None)
        };
        let received = IntakeReceived {
            account: account.id,
            channel: account.channel(),
            size_bytes,
            body: Personal::new(KeySubject::Own, RawBody(kept)),
            blob,
        };
        let metadata = Metadata {
            actor: Actor::System(account.channel().as_str().into()),
            command: None,
            causation: None,
            correlation: id.uuid(),
            occurred_at,
            traceparent,
            seen_at: None,
            wish: None,
        };
        let event = self.codec.encode(id, stream, metadata, IntakeEvent::from(received).into()).await?;
        self.log.append(stream, ExpectedRevision::Any, vec![event]).await?;
        Ok(id)
    }
}

/// Why a delivery was not taken.
enum Refused {
    IdTaken,
    Unavailable(String, Duration),
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::IdTaken(_) => Self::IdTaken,
            AppendError::Unavailable { reason, retry_after } => Self::Unavailable(reason, retry_after),
            other @ (AppendError::Conflict { .. } | AppendError::Invalid(_)) => {
                Self::Unavailable(other.to_string(), RETRY_AFTER)
            }
        }
    }
}

impl From<CodecError> for Refused {
    fn from(error: CodecError) -> Self {
        Self::Unavailable(error.to_string(), RETRY_AFTER)
    }
}

impl From<BlobError> for Refused {
    fn from(error: BlobError) -> Self {
        Self::Unavailable(error.to_string(), RETRY_AFTER)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::IdTaken => Self::internal(),
            Refused::Unavailable(reason, retry_after) => {
                tracing::error!(reason, "a delivery could not be stored");
                Self::unavailable("the delivery could not be stored: send it again", retry_after)
            }
        }
    }
}

/// `POST /webhooks/{channel}/{account}`.
///
/// # Errors
/// 401 for a bad signature, 404 for an unknown account, 413, 429 and 503 with `Retry-After`.
pub async fn receive(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    intake: web::Data<Intake>,
) -> Result<HttpResponse, Problem> {
    let started = Instant::now();
    let _waiting = intake.pressure.enter();
    let (channel, account) = path.into_inner();
    let outcome = take_in(&request, &channel, &account, payload, &intake).await;
    let label = match &outcome {
        Ok(_) => "accepted",
        Err(problem) => problem.kind(),
    };
    let channel = channel.parse::<Channel>().map_or("unknown", Channel::as_str);
    metrics::counter!("letopis_webhooks_total", "channel" => channel, "outcome" => label).increment(1);
    metrics::histogram!("letopis_webhook_seconds", "channel" => channel).record(started.elapsed());
    let id = outcome?;
    tracing::debug!(correlation = %id.uuid(), channel, "a delivery was taken");
    Ok(HttpResponse::Ok().json(serde_json::json!({ "accepted": id.to_string() })))
}

async fn take_in(
    request: &HttpRequest,
    channel: &str,
    account: &str,
    payload: web::Payload,
    intake: &Intake,
) -> Result<EventId, Problem> {
    let sender = request.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip());
    let account = intake.account(channel, account, sender).await?;
    let header = |name: &str| request.headers().get(name).map(actix_web::http::header::HeaderValue::as_bytes);
    // A secret in a header is checked before the body is read, so that strangers cost little.
    let in_header = |account: &ChannelAccount| match account.channel() {
        Channel::Telegram => telegram::verify(header(telegram::SECRET_HEADER), &secrets(account)),
        Channel::Email => {
            let presented = email::presented_secret(header("authorization"), header("x-letopis-secret"));
            email::verify(presented, &secrets(account))
        }
        Channel::Webchat => true,
    };
    let account = intake.prove(account, sender, in_header).await?;
    let body = read_body(request, payload, intake.limit(&account)).await?;
    if account.channel() == Channel::Webchat {
        let proven = intake.visitor(&account, sender, &body).await?;
        proven.map_err(|error| Problem::unauthenticated(error.to_string()))?;
    }
    let peek = match account.channel() {
        Channel::Telegram => telegram::peek(&body),
        Channel::Webchat => webchat::peek(&body),
        Channel::Email => email::peek(&body),
    };
    intake.take_delivery(&account, peek, body, super::traceparent(request.headers())).await
}

fn secrets(account: &ChannelAccount) -> Vec<&[u8]> {
    account.secrets.iter().map(|(_, secret)| secret.value.as_bytes()).collect()
}

fn check<K: std::hash::Hash + Eq + Clone>(
    limiter: &DefaultKeyedRateLimiter<K>,
    key: &K,
    detail: &str,
) -> Result<(), Problem> {
    limiter
        .check_key(key)
        .map_err(|until| Problem::rate_limited(detail, until.wait_time_from(DefaultClock::default().now())))
}

fn body_hash(body: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(body))
}
