//! Reads of one stream and of all.
//!
//! **Invariant:** a read waits for each event no longer than for an answer; of a long one only what is kept is in memory.

use eventstore::{Error, ReadAllOptions, ReadStream, ReadStreamOptions, StreamPosition, SubscriptionFilter};

use super::Log;
use super::connection::{in_time, reason};
use super::records::{Stored, decode, place, position};
use crate::envelope::{Category, Position, RecordedEvent, Revision, StreamName};
use crate::log::{Direction, Filter, ReadError};

/// Whether whoever visits records wants more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Wanted,
    Enough,
}

/// A part of the log as the server reads it.
pub(super) struct Part<'a> {
    /// Forwards from the record here, itself included; backwards from those before it. `None` is the start or the end.
    pub(super) from: Option<Position>,
    pub(super) direction: Direction,
    pub(super) filter: &'a Filter,
    /// Most records.
    pub(super) count: usize,
}

/// How a read ended that no error ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reached {
    /// The last record that was seen, ours or not.
    last: Option<Position>,
    /// True when there was no more.
    is_end: bool,
}

impl Log {
    pub(super) async fn read_stream(
        &self,
        stream: &StreamName,
        from: Option<Revision>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let start = from.map_or(StreamPosition::Start, |from| StreamPosition::Position(from.0));
        let events = match (direction, from) {
            (Direction::Forwards, _) => self.slice(stream, start, direction, limit).await?,
            (Direction::Backwards, None) => self.slice(stream, StreamPosition::End, direction, limit).await?,
            (Direction::Backwards, Some(from)) => {
                let events = self.slice(stream, start, direction, limit).await?;
                let is_whole = events.len() >= limit || events.last().is_some_and(|last| last.event.revision.0 == 0);
                if is_whole {
                    events
                } else {
                    // The server's page ends at `from`, which the stream need not have: then it holds less than there is.
                    let mut from_end = self.slice(stream, StreamPosition::End, direction, limit).await?;
                    from_end.retain(|stored| stored.event.revision <= from);
                    if from_end.len() > events.len() { from_end } else { events }
                }
            }
        };
        Ok(events.into_iter().map(|stored| stored.event).collect())
    }

    /// Up to `count` events of a stream from a revision on, as stored.
    pub(super) async fn stored(&self, stream: &StreamName, from: u64, count: usize) -> Result<Vec<Stored>, ReadError> {
        self.slice(stream, StreamPosition::Position(from), Direction::Forwards, count).await
    }

    async fn slice(
        &self,
        stream: &StreamName,
        from: StreamPosition<u64>,
        direction: Direction,
        count: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let patience = self.connection.patience();
        let options = ReadStreamOptions::default().position(from).max_count(count).requires_leader(true);
        let options = match direction {
            Direction::Forwards => options.forwards(),
            Direction::Backwards => options.backwards(),
        };
        let read = self.connection.run(|client| {
            let (name, options) = (stream.to_string(), options.clone());
            async move {
                let mut slice = Vec::new();
                let mut read = in_time(patience, client.read_stream(name.as_str(), &options)).await?;
                while slice.len() < count
                    && let Some(event) = in_time(patience, read.next()).await?
                {
                    slice.push(decode(event.get_original_event()));
                }
                Ok(slice)
            }
        });
        match read.await {
            Ok(slice) => slice.into_iter().filter_map(Result::transpose).collect(),
            Err(Error::ResourceNotFound) => Ok(Vec::new()),
            Err(error) => Err(ReadError::Unavailable(reason(&error))),
        }
    }

    pub(super) async fn read_all(
        &self,
        after: Position,
        filter: &Filter,
        limit: usize,
    ) -> Result<(Vec<RecordedEvent>, Position), ReadError> {
        if limit == 0 {
            return Ok((Vec::new(), after));
        }
        // Known before the search, so that all up to it is searched when nothing more is found.
        let head = if is_all(filter) { after } else { self.head().await? };
        let mut events: Vec<RecordedEvent> = Vec::new();
        let mut searched = after;
        loop {
            let missing = limit - events.len();
            let mut error = None;
            let mut foreign = 0_u32;
            // One more for the record at `searched`, which the server begins with if it is wanted.
            let part = Part {
                from: (searched > Position::START).then_some(searched),
                direction: Direction::Forwards,
                filter,
                count: missing.saturating_add(1),
            };
            let reached = self
                .visit(&part, |record| {
                    if position(record) <= searched {
                        return More::Wanted;
                    }
                    match decode(record) {
                        Ok(Some(stored)) => events.push(stored.event),
                        Ok(None) => foreign += 1,
                        Err(corrupt) => error = Some(corrupt),
                    }
                    if events.len() < limit && error.is_none() { More::Wanted } else { More::Enough }
                })
                .await?;
            if let Some(error) = error {
                return Err(error);
            }
            if foreign > 0 {
                tracing::debug!(foreign, "passed over events of streams that are not ours");
            }
            searched = searched.max(reached.last.unwrap_or(searched));
            if reached.is_end {
                searched = searched.max(head);
            }
            if let Some(last) = events.last() {
                self.times.note(last.recorded_at, last.position);
            }
            if reached.is_end || events.len() >= limit {
                return Ok((events, searched));
            }
        }
    }

    pub(super) async fn head(&self) -> Result<Position, ReadError> {
        let part = Part { from: None, direction: Direction::Backwards, filter: &Filter::default(), count: 1 };
        let reached = self.visit(&part, |_| More::Enough).await?;
        Ok(reached.last.unwrap_or(Position::START))
    }

    /// Shows the records of a part to `visit`, until it has enough of them.
    pub(super) async fn visit_all(
        &self,
        part: &Part<'_>,
        visit: impl FnMut(&eventstore::RecordedEvent) -> More,
    ) -> Result<bool, ReadError> {
        Ok(self.visit(part, visit).await?.is_end)
    }

    async fn visit(
        &self,
        part: &Part<'_>,
        mut visit: impl FnMut(&eventstore::RecordedEvent) -> More,
    ) -> Result<Reached, ReadError> {
        let start = match (part.from.and_then(place), part.direction) {
            (Some(from), _) => StreamPosition::Position(from),
            (None, Direction::Forwards) => StreamPosition::Start,
            (None, Direction::Backwards) => StreamPosition::End,
        };
        let options = ReadAllOptions::default().position(start).filter(names(part.filter));
        let options = options.max_count(part.count).requires_leader(true);
        let options = match part.direction {
            Direction::Forwards => options.forwards(),
            Direction::Backwards => options.backwards(),
        };
        let patience = self.connection.patience();
        let opened = self.connection.run(|client| {
            let options = options.clone();
            async move {
                let mut read = in_time(patience, client.read_all(&options)).await?;
                // Whether the call is refused shows with its first message.
                let first = in_time(patience, read.next()).await?;
                Ok((read, first))
            }
        });
        let unavailable = |error: Error| ReadError::Unavailable(reason(&error));
        let (mut read, mut next): (ReadStream, _) = opened.await.map_err(unavailable)?;
        let (mut last, mut seen) = (None, 0);
        while let Some(event) = next {
            let record = event.get_original_event();
            last = Some(position(record));
            seen += 1;
            if visit(record) == More::Enough {
                return Ok(Reached { last, is_end: false });
            }
            next = in_time(patience, read.next()).await.map_err(unavailable)?;
        }
        Ok(Reached { last, is_end: seen < part.count })
    }
}

/// True when a filter lets every category pass.
fn is_all(filter: &Filter) -> bool {
    filter.categories.is_empty() || Category::ALL.iter().all(|category| filter.categories.contains(category))
}

/// The names of the streams that a filter lets pass, as the server is asked for them: never the system's.
pub(super) fn names(filter: &Filter) -> SubscriptionFilter {
    let categories = if filter.categories.is_empty() { &Category::ALL[..] } else { &filter.categories };
    let prefix = |names: SubscriptionFilter, category: &Category| names.add_prefix(format!("{}-", category.as_str()));
    categories.iter().fold(SubscriptionFilter::on_stream_name(), prefix)
}
