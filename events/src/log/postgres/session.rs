//! One life of the writer's connection: how a group of appends becomes one transaction.
//!
//! **Invariant:** a group is answered after its COMMIT. After any error the session is not used again, because whether
//! a COMMIT that failed took effect is not known; the next session finds out within its turn, which it gets only once
//! the server is done with the old one.

use std::time::Duration;

use futures::future;
use tokio::sync::watch;
use tokio_postgres::{Client, Row, Statement};

use super::group::{Found, Held};
use super::queue::{Answer, Request};
use super::row::{category_number, category_of};
use crate::clock::Clock;
use crate::envelope::{Position, Revision, StreamName};
use crate::ids::EventId;
use crate::postgres::{Postgres, PostgresError};

/// Takes the turn, as the trigger of the table does; see `events.sql`.
pub(super) const TURN: &str =
    "SELECT pg_advisory_xact_lock((1279611983::bigint << 32) | 'events'::regclass::oid::bigint)";

const LAST: &str = "SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1";

/// The inner limit makes each one a probe of the index, whatever the planner believes of the table.
const ENDS: &str = "
SELECT wanted.place, last.revision
FROM unnest($1::uuid[], $2::text[], $3::smallint[]) WITH ORDINALITY AS wanted (stream_id, tenant, category, place)
CROSS JOIN LATERAL (
    SELECT revision FROM events
    WHERE stream_id = wanted.stream_id AND tenant = wanted.tenant COLLATE \"C\" AND category = wanted.category
    ORDER BY revision DESC LIMIT 1
) last";

const IDS: &str = "
SELECT found.* FROM unnest($1::uuid[]) AS wanted (event_id)
CROSS JOIN LATERAL (
    SELECT event_id, position, revision, stream_id, tenant, category, type, digest
    FROM events WHERE event_id = wanted.event_id LIMIT 1
) found";

const INSERT: &str = "
INSERT INTO events (recorded_at, position, revision, stream_id, event_id, category, version, tenant, type, digest,
    metadata, payload)
SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::uuid[], $5::uuid[], $6::smallint[], $7::integer[],
    $8::text[], $9::text[], $10::bytea[], $11::text[], $12::bytea[])";

/// A statement may take so many turns; then the server gives it up.
const STATEMENT_TURNS: u32 = 3;

/// The writer's connection and statements.
pub(super) struct Session {
    client: Client,
    ended: watch::Receiver<bool>,
    /// A server that has not ended a statement by now, by itself, does not answer.
    patience: Duration,
    turn: Statement,
    last: Statement,
    ends: Statement,
    ids: Statement,
    insert: Statement,
    notify: Statement,
    channel: String,
}

impl Session {
    /// Connects and proves that the server takes writes.
    pub(super) async fn start(
        postgres: &Postgres,
        channel: String,
        turn_timeout: Duration,
    ) -> Result<Self, PostgresError> {
        let connection = postgres.connect().await?;
        let client = connection.client;
        // Whoever waits for its turn gives up after a while, and a writer that went silent within it is thrown out by
        // the server, so that neither stops the others for ever. Statements are planned once, for arrays of any
        // length, and never with a scan of a table that happened to be small then.
        let turn_timeout = turn_timeout.max(Duration::from_millis(1));
        let millis = turn_timeout.as_millis();
        client
            .batch_execute(&format!(
                "SET lock_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis};
                 SET statement_timeout = {}; SET enable_seqscan = off; SET jit = off;
                 SET plan_cache_mode = force_generic_plan",
                millis.saturating_mul(STATEMENT_TURNS.into())
            ))
            .await?;
        let asked = "SELECT pg_is_in_recovery(), current_setting('fsync') = 'off'";
        let server = client.query_one(asked, &[]).await?;
        if server.try_get(0)? {
            return Err(PostgresError::Unavailable("the server is a standby".into()));
        }
        if server.try_get(1)? {
            tracing::warn!("the server runs with fsync off: a power cut loses acknowledged events");
        }
        Ok(Self {
            turn: client.prepare(TURN).await?,
            last: client.prepare(LAST).await?,
            ends: client.prepare(ENDS).await?,
            ids: client.prepare(IDS).await?,
            insert: client.prepare(INSERT).await?,
            notify: client.prepare("SELECT pg_notify($1, $2)").await?,
            client,
            ended: connection.ended,
            patience: turn_timeout.saturating_mul(STATEMENT_TURNS + 1),
            channel,
        })
    }

    /// Waits until the connection has ended.
    pub(super) async fn ended(&mut self) {
        // An error means that its task is gone, which is the same.
        drop(self.ended.wait_for(|ended| *ended).await);
    }

    /// Makes a group durable and answers its appends; the position is the last one that it made, if any. A server that
    /// says nothing, although its connection stands, is unavailable after a while.
    pub(super) async fn commit(
        &self,
        group: &[Request],
        clock: &dyn Clock,
    ) -> Result<(Vec<Answer>, Option<Position>), PostgresError> {
        let made = tokio::time::timeout(self.patience, self.make(group, clock)).await;
        made.unwrap_or_else(|_elapsed| Err(PostgresError::Unavailable("the server does not answer".into())))
    }

    async fn make(
        &self,
        group: &[Request],
        clock: &dyn Clock,
    ) -> Result<(Vec<Answer>, Option<Position>), PostgresError> {
        let (mut held, last_recorded_at) = self.take_turn(group).await?;
        let before = held.head;
        let (answers, rows) = held.decide(group);
        if rows.position.is_empty() {
            self.client.batch_execute("COMMIT").await?;
            return Ok((answers, None));
        }
        // By the clock within the turn: nobody could see them before.
        let recorded_at = clock.now().timestamp_micros().max(last_recorded_at);
        let head = held.head.to_string();
        let insert: [&(dyn tokio_postgres::types::ToSql + Sync); 12] = [
            &recorded_at,
            &rows.position,
            &rows.revision,
            &rows.stream_id,
            &rows.event_id,
            &rows.category,
            &rows.version,
            &rows.tenant,
            &rows.event_type,
            &rows.digest,
            &rows.metadata,
            &rows.payload,
        ];
        // Sent together. Where one fails the COMMIT rolls back, and says so only by its tag: hence all must succeed.
        let (inserted, notified, committed) = future::join3(
            self.client.execute(&self.insert, &insert),
            self.client.query_one(&self.notify, &[&self.channel, &head]),
            self.client.batch_execute("COMMIT"),
        )
        .await;
        let inserted = inserted?;
        notified?;
        committed?;
        if inserted != held.head.0 - before.0 {
            return Err(PostgresError::Corrupt("not every event of a group was inserted".into()));
        }
        Ok((answers, Some(held.head)))
    }

    /// Opens the transaction of a group and reads, within the turn, what matters to it. READ COMMITTED, so that each
    /// statement after the lock sees everything that was committed before it was granted.
    async fn take_turn(&self, group: &[Request]) -> Result<(Held, i64), PostgresError> {
        let mut streams: Vec<&StreamName> = group.iter().map(|request| &request.append.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        let ids: Vec<uuid::Uuid> =
            group.iter().flat_map(|request| &request.append.events).map(|event| event.id.uuid()).collect();
        let stream_ids: Vec<uuid::Uuid> = streams.iter().map(|stream| stream.id).collect();
        let tenants: Vec<&str> = streams.iter().map(|stream| stream.tenant.as_str()).collect();
        let categories: Vec<i16> = streams.iter().map(|stream| category_number(stream.category)).collect();
        let (begun, turn, last, ends, found) = future::join5(
            self.client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
            self.client.query(&self.turn, &[]),
            self.client.query_opt(&self.last, &[]),
            self.client.query(&self.ends, &[&stream_ids, &tenants, &categories]),
            self.client.query(&self.ids, &[&ids]),
        )
        .await;
        begun?;
        turn?;
        let mut held = Held::default();
        let mut last_recorded_at = i64::MIN;
        if let Some(last) = last? {
            held.head = Position(last.try_get::<_, i64>(0)?.cast_unsigned());
            last_recorded_at = last.try_get(1)?;
        }
        for row in ends? {
            let place = usize::try_from(row.try_get::<_, i64>(0)? - 1).ok();
            let stream = place.and_then(|place| streams.get(place)).copied();
            let stream = stream.ok_or_else(|| PostgresError::Corrupt("a stream that was not asked for".into()))?;
            held.ends.insert(stream.clone(), Revision(row.try_get::<_, i64>(1)?.cast_unsigned()));
        }
        for row in found? {
            held.ids.insert(EventId::new(row.try_get(0)?), found_event(&row)?);
        }
        Ok((held, last_recorded_at))
    }
}

/// An event that is there, of a row of [`IDS`].
fn found_event(row: &Row) -> Result<Found, PostgresError> {
    let corrupt = |what: &str| PostgresError::Corrupt(format!("stored event has {what}"));
    let category = category_of(row.try_get(5)?).ok_or_else(|| corrupt("an unknown category"))?;
    let tenant = row.try_get::<_, &str>(4)?.parse().map_err(|_| corrupt("a tenant that is no slug"))?;
    let digest: Option<&[u8]> = row.try_get(7)?;
    let digest = digest.map(|digest| digest.try_into().map_err(|_| corrupt("a digest of another length")));
    Ok(Found {
        position: Position(row.try_get::<_, i64>(1)?.cast_unsigned()),
        revision: Revision(row.try_get::<_, i64>(2)?.cast_unsigned()),
        stream: StreamName::new(category, tenant, row.try_get(3)?),
        event_type: row.try_get::<_, &str>(6)?.into(),
        digest: digest.transpose()?,
    })
}
