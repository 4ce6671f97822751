//! Reads: pages of the log through the pool.
//!
//! **Invariant:** a page is one statement, so one snapshot, which shows a position only with all lower ones. A page is
//! bounded by events and by rows looked at.

use futures::future;

use super::row::{COLUMNS, category_number, event, sql};
use crate::envelope::{Position, RecordedEvent, Revision, StreamName};
use crate::ids::EventId;
use crate::log::{Direction, Filter, Imported, ReadError};
use crate::postgres::{Postgres, PostgresError};

/// Most events in one page.
pub(super) const PAGE_EVENTS: usize = 512;

/// Most rows that one page looks at when a filter skips them.
const PAGE_ROWS: u64 = 16 * 1024;

/// The last position. The index gives it at once.
const HEAD: &str = "SELECT coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0)";

/// A binary search on the server, because `recorded_at` never decreases with position: everything up to `low` is not
/// after the time, everything from `high` on is.
const POSITION_AT: &str = "
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, 1 + coalesce((SELECT position FROM events ORDER BY position DESC LIMIT 1), 0)
    UNION ALL
    SELECT CASE WHEN found.recorded_at <= $1 THEN found.position ELSE low END,
           CASE WHEN found.recorded_at <= $1 THEN high ELSE low + (high - low) / 2 END
    FROM search CROSS JOIN LATERAL (
        SELECT position, recorded_at FROM events WHERE position >= low + (high - low) / 2 ORDER BY position LIMIT 1
    ) found
    WHERE low + 1 < high
)
SELECT low FROM search ORDER BY high - low LIMIT 1";

/// A part of the log in order of position.
pub(super) struct Page {
    pub(super) events: Vec<RecordedEvent>,
    /// Searched up to and including this.
    pub(super) searched: Position,
    /// True when that is the end of the log.
    pub(super) ended: bool,
}

pub(super) async fn head(postgres: &Postgres) -> Result<Position, PostgresError> {
    let client = postgres.client().await?;
    let head = client.prepare_cached(HEAD).await?;
    position(&client.query_one(&head, &[]).await?)
}

/// The head, through a connection that is at hand.
pub(super) async fn head_with(client: &tokio_postgres::Client) -> Result<Position, PostgresError> {
    position(&client.query_one(HEAD, &[]).await?)
}

fn position(row: &tokio_postgres::Row) -> Result<Position, PostgresError> {
    Ok(Position(row.try_get::<_, i64>(0)?.cast_unsigned()))
}

pub(super) async fn read_all(
    postgres: &Postgres,
    after: Position,
    filter: &Filter,
    limit: usize,
) -> Result<(Vec<RecordedEvent>, Position), ReadError> {
    let (mut events, mut searched): (Vec<RecordedEvent>, _) = (Vec::new(), after);
    while events.len() < limit {
        let page = page(postgres, searched, filter, limit - events.len()).await?;
        searched = page.searched;
        if events.is_empty() {
            events = page.events;
        } else {
            events.extend(page.events);
        }
        if page.ended {
            break;
        }
    }
    Ok((events, searched))
}

/// Wanted events after `after`.
pub(super) async fn page(
    postgres: &Postgres,
    after: Position,
    filter: &Filter,
    limit: usize,
) -> Result<Page, ReadError> {
    let limit = limit.min(PAGE_EVENTS);
    let until = Position(after.0.saturating_add(PAGE_ROWS));
    let categories: Option<Vec<i16>> = (!filter.categories.is_empty())
        .then(|| filter.categories.iter().map(|category| category_number(*category)).collect());
    let client = postgres.client().await?;
    let read = async {
        let head = client.prepare_cached(HEAD).await?;
        let page = client
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM events WHERE position > $1 AND position <= $2
                 AND ($3::smallint[] IS NULL OR category = ANY ($3)) ORDER BY position LIMIT $4"
            ))
            .await?;
        let (after, until, most) = (sql(after.0), sql(until.0), sql(limit as u64));
        // One after the other on the server, sent together. The head is older than the page, so that up to it the page
        // has everything.
        let (head, rows) =
            future::join(client.query_one(&head, &[]), client.query(&page, &[&after, &until, &categories, &most]))
                .await;
        Ok::<_, PostgresError>((position(&head?)?, rows?))
    };
    let (head, rows) = read.await?;
    let events = rows.iter().map(event).collect::<Result<Vec<_>, _>>()?;
    let last = events.last().map_or(after, |event| event.position);
    let searched = if events.len() >= limit { last } else { last.max(head.min(until)) };
    Ok(Page { events, searched, ended: searched >= head })
}

/// A page of events after `after` with the digests that they were appended with.
pub(super) async fn read_with_digests(postgres: &Postgres, after: Position) -> Result<Vec<Imported>, ReadError> {
    let events = page(postgres, after, &Filter::default(), PAGE_EVENTS).await?.events;
    let Some(last) = events.last().map(|event| event.position) else { return Ok(Vec::new()) };
    let read = async {
        let client = postgres.client().await?;
        let digests = "SELECT digest FROM events WHERE position > $1 AND position <= $2 ORDER BY position";
        let digests = client.prepare_cached(digests).await?;
        Ok::<_, PostgresError>(client.query(&digests, &[&sql(after.0), &sql(last.0)]).await?)
    };
    let digests = read.await?;
    let with_digest = |(event, row): (RecordedEvent, &tokio_postgres::Row)| {
        let position = event.position;
        let digest = row.try_get::<_, Option<&[u8]>>(0).ok().map(|digest| digest.map(TryInto::try_into).transpose());
        let digest = digest.and_then(Result::ok).ok_or_else(|| {
            let reason = "the digest is not 16 bytes".into();
            ReadError::Corrupt { position, reason }
        })?;
        Ok(Imported { event, digest })
    };
    events.into_iter().zip(&digests).map(with_digest).collect()
}

pub(super) async fn read_stream(
    postgres: &Postgres,
    stream: &StreamName,
    from: Option<Revision>,
    direction: Direction,
    limit: usize,
) -> Result<Vec<RecordedEvent>, ReadError> {
    let (mut events, mut from): (Vec<RecordedEvent>, _) = (Vec::new(), from);
    while events.len() < limit {
        let wanted = (limit - events.len()).min(PAGE_EVENTS);
        let page = stream_page(postgres, stream, from, direction, wanted).await?;
        let ended = page.len() < wanted;
        let last = page.last().map(|event| event.revision);
        events.extend(page);
        from = match (direction, last) {
            _ if ended => break,
            (Direction::Forwards, Some(last)) => Some(last.next()),
            (Direction::Backwards, Some(Revision(last))) if last > 0 => Some(Revision(last - 1)),
            _ => break,
        };
    }
    if let Some(pair) = events.windows(2).find(|pair| pair[0].revision.0.abs_diff(pair[1].revision.0) != 1) {
        let reason = "a revision of the stream is missing".into();
        return Err(ReadError::Corrupt { position: pair[1].position, reason });
    }
    Ok(events)
}

async fn stream_page(
    postgres: &Postgres,
    stream: &StreamName,
    from: Option<Revision>,
    direction: Direction,
    limit: usize,
) -> Result<Vec<RecordedEvent>, ReadError> {
    let (compare, order, from) = match direction {
        Direction::Forwards => (">=", "ASC", from.map_or(0, |from| sql(from.0))),
        Direction::Backwards => ("<=", "DESC", from.map_or(i64::MAX, |from| sql(from.0))),
    };
    let text = format!(
        "SELECT {COLUMNS} FROM events WHERE stream_id = $1 AND tenant = $2 AND category = $3
         AND revision {compare} $4 ORDER BY revision {order} LIMIT $5"
    );
    let read = async {
        let client = postgres.client().await?;
        let statement = client.prepare_cached(&text).await?;
        let category = category_number(stream.category);
        let limit = sql(limit as u64);
        let rows = client.query(&statement, &[&stream.id, &stream.tenant.as_str(), &category, &from, &limit]).await?;
        Ok::<_, PostgresError>(rows)
    };
    read.await?.iter().map(event).collect()
}

pub(super) async fn last_revision(postgres: &Postgres, stream: &StreamName) -> Result<Option<Revision>, ReadError> {
    let read = async {
        let client = postgres.client().await?;
        let statement = client
            .prepare_cached(
                "SELECT revision FROM events WHERE stream_id = $1 AND tenant = $2 AND category = $3
                 ORDER BY revision DESC LIMIT 1",
            )
            .await?;
        let category = category_number(stream.category);
        let row = client.query_opt(&statement, &[&stream.id, &stream.tenant.as_str(), &category]).await?;
        Ok::<_, PostgresError>(row.map(|row| row.try_get::<_, i64>(0)).transpose()?)
    };
    Ok(read.await?.map(|revision| Revision(revision.cast_unsigned())))
}

pub(super) async fn find(postgres: &Postgres, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
    let read = async {
        let client = postgres.client().await?;
        let statement = client.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE event_id = $1")).await?;
        Ok::<_, PostgresError>(client.query_opt(&statement, &[&id.uuid()]).await?)
    };
    read.await?.as_ref().map(event).transpose()
}

/// The last position not recorded after `micros` (microseconds since the Unix epoch).
pub(super) async fn position_at(postgres: &Postgres, micros: i64) -> Result<Position, ReadError> {
    let read = async {
        let client = postgres.client().await?;
        let statement = client.prepare_cached(POSITION_AT).await?;
        position(&client.query_one(&statement, &[&micros]).await?)
    };
    Ok(read.await?)
}
