//! Reads of the read models: who looks, page by page, with a hard bound on every list.
//!
//! **Invariant:** every read takes a [`Viewer`] and sees that viewer's tenant only (design invariant 15); everything
//! that leaves goes through [`crate::mask`]. The number of SQL statements of a read does not depend on how many
//! things it returns.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use events::envelope::{Position, StreamName};
use events::feed::Layout;
use events::viewer::Viewer;
use uuid::Uuid;

use crate::projector::CONSUMER;
use crate::store::{Query, ReadStore, StoreError, wait_for};
use crate::value::{Columns, Row, Value};

/// Most items of a page, whatever is asked for.
pub const MOST_ITEMS: u32 = 200;
/// Most ids in a batch read.
pub const MOST_IDS: usize = 1000;

/// Reads of the read models in a store.
#[derive(Clone)]
pub struct Views {
    store: Arc<dyn ReadStore>,
    layout: Arc<Layout>,
}

/// Where a page ended: the sort value and the id of its last item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The sort value: a time in microseconds, a revision or a position.
    pub value: i64,
    /// The id; nil where the sort value alone is unique.
    pub id: Uuid,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.value, self.id.simple())
    }
}

impl FromStr for Cursor {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let parse = || {
            let (value, id) = text.split_once('.')?;
            Some(Self { value: value.parse().ok()?, id: Uuid::try_parse(id).ok()? })
        };
        parse().ok_or(StoreError::Invalid("cursor"))
    }
}

/// Which way a list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Least first: oldest first.
    Ascending,
    /// Greatest first: newest first.
    #[default]
    Descending,
}

impl Order {
    /// The direction as SQL says it.
    pub(crate) const fn direction(self) -> &'static str {
        match self {
            Self::Ascending => "ASC",
            Self::Descending => "DESC",
        }
    }
}

/// Which page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// After this item in the order of the list; from the start when absent.
    pub after: Option<Cursor>,
    /// At most so many items; more than [`MOST_ITEMS`] gives [`MOST_ITEMS`].
    pub limit: u32,
    /// Which way.
    pub order: Order,
}

impl PageRequest {
    /// The first page of a list.
    #[must_use]
    pub const fn first(limit: u32, order: Order) -> Self {
        Self { after: None, limit, order }
    }

    pub(crate) fn bounded(&self) -> usize {
        self.limit.clamp(1, MOST_ITEMS) as usize
    }

    /// Adds `AND (value, id) < (…)`, the order and the limit to a query. One row more than the page is read, to know
    /// whether there is a next page. `id` is empty where the value alone is unique.
    pub(crate) fn finish(&self, sql: &mut String, parameters: &mut Vec<Value>, value: &str, id: &str) {
        let direction = self.order.direction();
        let less = match self.order {
            Order::Ascending => ">",
            Order::Descending => "<",
        };
        if let Some(after) = self.after {
            parameters.push(after.value.into());
            let first = parameters.len();
            if id.is_empty() {
                sql.push_str(&format!(" AND {value} {less} ${first}"));
            } else {
                parameters.push(after.id.into());
                sql.push_str(&format!(" AND ({value}, {id}) {less} (${first}, ${})", first + 1));
            }
        }
        sql.push_str(&format!(" ORDER BY {value} {direction}"));
        if !id.is_empty() {
            sql.push_str(&format!(", {id} {direction}"));
        }
        parameters.push(Value::Int(i64::from(self.limit.clamp(1, MOST_ITEMS)) + 1));
        sql.push_str(&format!(" LIMIT ${}", parameters.len()));
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where each item stands: the cursor to go on after it.
    pub cursors: Vec<Cursor>,
    /// True when there are more after the last.
    pub more: bool,
}

impl<T> Page<T> {
    /// Cuts what was read to the page.
    pub(crate) fn of(mut items: Vec<T>, request: &PageRequest, cursor: impl Fn(&T) -> Cursor) -> Self {
        let more = items.len() > request.bounded();
        items.truncate(request.bounded());
        let cursors = items.iter().map(cursor).collect();
        Self { items, cursors, more }
    }

    /// The cursor of the next page, if there is one.
    #[must_use]
    pub fn next(&self) -> Option<Cursor> {
        self.cursors.last().copied().filter(|_| self.more)
    }
}

/// An event that the projections could not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedView {
    /// The consumer that parked it.
    pub consumer: String,
    /// Its place in the log.
    pub position: Position,
    /// Its stream.
    pub stream: String,
    /// Its id.
    pub event: events::ids::EventId,
    /// Its type.
    pub event_type: String,
    /// Why.
    pub reason: String,
    /// When the log took it.
    pub recorded_at: chrono::DateTime<chrono::Utc>,
}

impl Views {
    /// Reads from `store`, which a feed in one part fills.
    #[must_use]
    pub fn new(store: Arc<dyn ReadStore>) -> Self {
        Self::filled_by(store, Layout::whole())
    }

    /// Reads from `store`, which a feed of this layout fills.
    #[must_use]
    pub fn filled_by(store: Arc<dyn ReadStore>, layout: Layout) -> Self {
        Self { store, layout: Arc::new(layout) }
    }

    /// The store behind.
    #[must_use]
    pub const fn store(&self) -> &Arc<dyn ReadStore> {
        &self.store
    }

    /// The position that the read models have reached.
    #[must_use]
    pub fn position(&self) -> Position {
        self.store.applied(CONSUMER).borrow().reached(self.layout.parts())
    }

    /// Waits until the read models have reached `wanted`, at most for `patience`; returns where they are.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when they did not get there in time.
    pub async fn wait_for(&self, wanted: Position, patience: Duration) -> Result<Position, StoreError> {
        wait_for(&*self.store, CONSUMER, self.layout.parts(), wanted, patience).await
    }

    /// Waits until the read models have reached `wanted` in one stream, which on a feed of several parts comes sooner than
    /// in all of them; returns where they are in that stream's part.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when they did not get there in time.
    pub async fn wait_for_stream(
        &self,
        stream: &StreamName,
        wanted: Position,
        patience: Duration,
    ) -> Result<Position, StoreError> {
        let part = self.layout.part_of(stream);
        wait_for(&*self.store, CONSUMER, std::slice::from_ref(&part), wanted, patience).await
    }

    /// Events that a projection could not apply, newest first or oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn parked(&self, viewer: &Viewer, page: &PageRequest) -> Result<Page<ParkedView>, StoreError> {
        let mut sql = "SELECT consumer, position, stream, event, event_type, reason, recorded_at FROM parked \
            WHERE tenant = $1"
            .to_owned();
        let mut parameters = vec![Value::from(&viewer.tenant)];
        page.finish(&mut sql, &mut parameters, "position", "");
        let items = self.rows(Query::new(sql, parameters), |mut row| {
            Ok(ParkedView {
                consumer: row.text()?,
                position: Position(row.count()?),
                stream: row.text()?,
                event: events::ids::EventId::new(row.id()?),
                event_type: row.text()?,
                reason: row.text()?,
                recorded_at: row.time()?,
            })
        });
        let cursor = |item: &ParkedView| Cursor { value: place(item.position.0), id: Uuid::nil() };
        Ok(Page::of(items.await?, page, cursor))
    }

    /// Runs one query and reads each row.
    pub(crate) async fn rows<T>(
        &self,
        query: Query,
        read: impl Fn(Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let [rows] = self.snapshot([query]).await?;
        rows.into_iter().map(|row| read(row.into())).collect()
    }

    /// Runs queries in one snapshot.
    pub(crate) async fn snapshot<const N: usize>(&self, queries: [Query; N]) -> Result<[Vec<Row>; N], StoreError> {
        let answers = self.store.read(queries.into()).await?;
        answers.try_into().map_err(|_| StoreError::Corrupt("a query without an answer".to_owned()))
    }
}

/// A place as a sort value.
pub(crate) fn place(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Refuses a batch of too many ids.
pub(crate) fn check_ids(count: usize) -> Result<(), StoreError> {
    if count > MOST_IDS { Err(StoreError::Invalid("too many ids at once")) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
