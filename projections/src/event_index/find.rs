//! Finds events by stream, conversation, person, type, time or place.
//!
//! **Invariant:** every event that is given out was read from the log and meets all conditions, is of the viewer's
//! tenant, and stands at or before the position that the read models have reached. A page looks at a
//! bounded number of events: where they run out it says how far it came, and the next page goes on from there.

use chrono::{DateTime, TimeDelta, Utc};
use events::codec::Codec;
use events::envelope::{Category, Position, RecordedEvent, StreamName};
use events::ids::{ConversationId, Occupancy, ProfileId};
use events::log::{EventLog, Filter, ReadError};
use events::viewer::Viewer;
use uuid::Uuid;

use super::{FREQUENT, about, merge};
use crate::store::{Query, StoreError};
use crate::value::{Columns, Value};
use crate::views::{Cursor, MOST_IDS, Order, Page, PageRequest, Views, check_ids, place};

/// Most events that one page looks at.
const MOST_SEARCHED: usize = 32 * 1024;
/// Events read from the log at once.
const SLICE: usize = 1024;

/// An event read for itself costs as much as so many in a row.
const READ_ALONE: usize = 8;

/// Why no events were found out.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The read models could not be asked, or the question is impossible.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which events are wanted; all conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only of this stream.
    pub stream: Option<(Category, Uuid)>,
    /// Only about this conversation, what became of its raw deliveries included.
    pub conversation: Option<ConversationId>,
    /// Only about these persons, in all categories: the occupancies of a profile and its members.
    pub persons: Option<(Vec<Occupancy>, Vec<ProfileId>)>,
    /// Only of this type.
    pub event_type: Option<String>,
    /// Only those that follow from this outside cause. They are looked for: give a narrower condition beside it.
    pub correlation: Option<Uuid>,
    /// Only those recorded at or after this time.
    pub from: Option<DateTime<Utc>>,
    /// Only those recorded before this time.
    pub before: Option<DateTime<Utc>>,
    /// Only those up to this place in the log.
    pub up_to: Option<Position>,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The events, in the order asked for. With fewer than asked for and `more`, the search ran out of its bound.
    pub page: Page<RecordedEvent>,
    /// Where the search ended, when that is behind the last event of the page: go on from there.
    pub searched: Option<Cursor>,
}

/// Places after `low` and up to `high`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) low: Position,
    pub(super) high: Position,
}

/// What a search has found so far.
pub(super) struct Search<'a> {
    codec: &'a Codec,
    viewer: &'a Viewer,
    filter: &'a EventFilter,
    limit: usize,
    pub(super) order: Order,
    pub(super) range: Range,
    pub(super) found: Vec<RecordedEvent>,
    /// How many events may still be looked at.
    budget: usize,
    searched: Option<Position>,
}

/// Finds events.
#[derive(Clone, Copy)]
pub struct EventFinder<'a> {
    log: &'a dyn EventLog,
    codec: &'a Codec,
    views: &'a Views,
    most_searched: usize,
}

impl<'a> EventFinder<'a> {
    /// Finds events in `log`; `views` tells where to look.
    #[must_use]
    pub const fn new(log: &'a dyn EventLog, codec: &'a Codec, views: &'a Views) -> Self {
        Self { log, codec, views, most_searched: MOST_SEARCHED }
    }

    /// The same, but a page looks at no more than so many events.
    #[must_use]
    pub const fn bounded(self, most_searched: usize) -> Self {
        Self { most_searched, ..self }
    }

    /// A page of events, in the order of the log.
    ///
    /// # Errors
    /// See [`FindError`].
    pub async fn events(&self, viewer: &Viewer, filter: &EventFilter, page: &PageRequest) -> Result<Found, FindError> {
        let mut search = Search {
            codec: self.codec,
            viewer,
            filter,
            limit: page.bounded(),
            order: page.order,
            range: self.range(filter, page).await?,
            found: Vec::new(),
            budget: self.most_searched,
            searched: None,
        };
        if search.range.low < search.range.high {
            let streams = self.streams(viewer, filter).await?;
            match (streams, filter.event_type.as_deref()) {
                (Some(streams), _) => merge::run(self.log, &streams, &mut search).await?,
                (None, Some(rare)) if !FREQUENT.contains(&rare) => self.by_type(rare, &mut search).await?,
                (None, _) => self.through_the_log(&mut search).await?,
            }
        }
        Ok(search.page(page))
    }

    /// The places that conditions and cursor leave.
    async fn range(&self, filter: &EventFilter, page: &PageRequest) -> Result<Range, FindError> {
        let mut range = Range { low: Position::START, high: self.views.position() };
        if let Some(up_to) = filter.up_to {
            range.high = range.high.min(up_to);
        }
        // The last place that is earlier than a time: its microsecond is not counted.
        let earlier = |time: DateTime<Utc>| self.log.position_at(time - TimeDelta::microseconds(1));
        if let Some(from) = filter.from {
            range.low = earlier(from).await?;
        }
        if let Some(before) = filter.before {
            range.high = range.high.min(earlier(before).await?);
        }
        if let Some(cursor) = page.after {
            let at = u64::try_from(cursor.value).map_err(|_| StoreError::Invalid("cursor"))?;
            match page.order {
                Order::Ascending => range.low = range.low.max(Position(at)),
                Order::Descending => range.high = range.high.min(Position(at.saturating_sub(1))),
            }
        }
        Ok(range)
    }

    /// The streams in which everything that is wanted stands, if the conditions name any.
    async fn streams(&self, viewer: &Viewer, filter: &EventFilter) -> Result<Option<Vec<StreamName>>, FindError> {
        let name = |category, id| StreamName::new(category, viewer.tenant.clone(), id);
        if let Some((category, id)) = filter.stream {
            return Ok(Some(vec![name(category, id)]));
        }
        let mut streams = Vec::new();
        let mut subjects = Vec::new();
        if let Some(conversation) = filter.conversation {
            streams.push(name(Category::Conversation, conversation.uuid()));
            subjects.push((conversation.uuid(), 0));
        } else if let Some((occupancies, profiles)) = &filter.persons {
            check_ids(occupancies.len() + profiles.len())?;
            if occupancies.is_empty() && profiles.is_empty() {
                return Err(StoreError::Invalid("no person to look for").into());
            }
            streams.extend(occupancies.iter().map(|person| name(Category::Contact, person.contact.uuid())));
            streams.extend(profiles.iter().map(|profile| name(Category::Profile, profile.uuid())));
            subjects.extend(occupancies.iter().map(|person| (person.contact.uuid(), person.number)));
        } else {
            return Ok(None);
        }
        let mut parameters = vec![Value::from(&viewer.tenant)];
        let mut either = Vec::with_capacity(subjects.len());
        for (subject, number) in subjects {
            parameters.push(subject.into());
            parameters.push(number.into());
            either.push(format!("(subject = ${} AND number = ${})", parameters.len() - 1, parameters.len()));
        }
        if !either.is_empty() {
            let sql = format!(
                "SELECT category, stream FROM event_source WHERE tenant = $1 AND ({}) LIMIT {}",
                either.join(" OR "),
                MOST_IDS + 1
            );
            let sources = self.views.rows(Query::new(sql, parameters), |mut row| Ok((row.named()?, row.id()?))).await?;
            streams.extend(sources.into_iter().map(|(category, id)| name(category, id)));
        }
        streams.sort_unstable();
        streams.dedup();
        if streams.len() > MOST_IDS {
            return Err(StoreError::Invalid("events in too many streams").into());
        }
        Ok(Some(streams))
    }

    /// Events of a type that has rows.
    async fn by_type(&self, event_type: &str, search: &mut Search<'_>) -> Result<(), FindError> {
        // Other conditions may leave little of it: then in several rounds.
        while search.goes_on() {
            let direction = search.order.direction();
            let sql = format!(
                "SELECT position FROM event_of_type WHERE tenant = $1 AND event_type = $2 AND position > $3 \
                 AND position <= $4 ORDER BY position {direction} LIMIT {SLICE}"
            );
            let Range { low, high } = search.range;
            let parameters =
                vec![Value::from(&search.viewer.tenant), event_type.to_owned().into(), low.into(), high.into()];
            let positions = self.views.rows(Query::new(sql, parameters), |mut row: Columns| row.count()).await?;
            let last = positions.len() < SLICE;
            for position in positions {
                let before = Position(position.saturating_sub(1));
                let (events, _) = self.log.read_all(before, &Filter::default(), 1).await?;
                search.charge(READ_ALONE);
                for event in events {
                    if !search.look(event) {
                        return Ok(());
                    }
                }
            }
            if last {
                search.at_the_end();
            }
        }
        Ok(())
    }

    /// Looks through the log.
    async fn through_the_log(&self, search: &mut Search<'_>) -> Result<(), FindError> {
        let category = search.filter.event_type.as_deref().and_then(|name| name.split('.').next());
        let filter = Filter { categories: category.and_then(|name| name.parse().ok()).into_iter().collect() };
        match search.order {
            Order::Ascending => {
                while search.goes_on() {
                    let after = search.range.low;
                    let (events, searched) = self.log.read_all(after, &filter, SLICE).await?;
                    search.charge(SLICE.saturating_sub(events.len()));
                    for event in events {
                        if !search.look(event) {
                            return Ok(());
                        }
                    }
                    if searched <= after {
                        break;
                    }
                    search.came_to(searched);
                }
            }
            Order::Descending => {
                // How densely positions are taken is the log's affair: a window that gave little is followed by a
                // wider one.
                let mut width = SLICE as u64;
                while search.goes_on() {
                    let high = search.range.high;
                    let low = Position(high.0.saturating_sub(width)).max(search.range.low);
                    let events = self.window(Range { low, high }, &filter).await?;
                    search.charge(SLICE.saturating_sub(events.len()));
                    if events.len() < SLICE / 8 {
                        width = width.saturating_mul(2);
                    }
                    for event in events.into_iter().rev() {
                        if !search.look(event) {
                            return Ok(());
                        }
                    }
                    search.came_to(Position(low.0 + 1));
                }
            }
        }
        Ok(())
    }

    async fn window(&self, range: Range, filter: &Filter) -> Result<Vec<RecordedEvent>, FindError> {
        let mut window = Vec::new();
        let mut low = range.low;
        while low < range.high {
            let (events, searched) = self.log.read_all(low, filter, SLICE).await?;
            window.extend(events.into_iter().take_while(|event| event.position <= range.high));
            if searched <= low {
                break;
            }
            low = searched;
        }
        Ok(window)
    }
}

impl Search<'_> {
    /// True while there is something to look at and room to do so.
    pub(super) fn goes_on(&self) -> bool {
        self.range.low < self.range.high && self.budget > 0 && self.found.len() <= self.limit
    }

    /// Everything up to here was looked at, in the order asked for.
    pub(super) fn came_to(&mut self, position: Position) {
        match self.order {
            Order::Ascending => self.range.low = self.range.low.max(position),
            Order::Descending => {
                self.range.high = self.range.high.min(Position(position.0.saturating_sub(1)));
            }
        }
        self.searched = Some(position);
    }

    /// Nothing is left to be looked at.
    pub(super) fn at_the_end(&mut self) {
        self.range.low = self.range.high;
    }

    /// Work that stands for looking at so many events.
    fn charge(&mut self, events: usize) {
        self.budget = self.budget.saturating_sub(events);
    }

    /// Looks at the next event in the order asked for; false when the search is over.
    pub(super) fn look(&mut self, event: RecordedEvent) -> bool {
        if event.position > self.range.high || event.position <= self.range.low {
            self.at_the_end();
            return false;
        }
        self.came_to(event.position);
        self.charge(1);
        if self.wanted(&event) {
            self.found.push(event);
        }
        self.goes_on()
    }

    fn wanted(&self, event: &RecordedEvent) -> bool {
        let (filter, stream) = (self.filter, &event.stream);
        let holds = stream.tenant == self.viewer.tenant
            && filter.stream.is_none_or(|wanted| wanted == (stream.category, stream.id))
            && filter.event_type.as_deref().is_none_or(|wanted| wanted == &*event.event_type)
            && filter.correlation.is_none_or(|wanted| wanted == event.metadata.correlation)
            && filter.from.is_none_or(|from| event.recorded_at >= from)
            && filter.before.is_none_or(|before| event.recorded_at < before);
        if !holds || (filter.conversation.is_none() && filter.persons.is_none()) {
            return holds;
        }
        // One that does not decode tells nobody what it is about but by its stream.
        let decoded = self.codec.decode_payload(event).ok();
        let (conversation, person) = decoded.as_ref().map_or((None, None), |event| about(stream.id, event));
        let own = |category, id| stream.category == category && stream.id == id;
        filter
            .conversation
            .is_none_or(|wanted| conversation == Some(wanted) || own(Category::Conversation, wanted.uuid()))
            && filter.persons.as_ref().is_none_or(|(persons, profiles)| {
                person.is_some_and(|person| persons.contains(&person))
                    || profiles.iter().any(|profile| own(Category::Profile, profile.uuid()))
            })
    }

    fn page(self, request: &PageRequest) -> Found {
        let unfinished = self.range.low < self.range.high;
        let cursor = |position: Position| Cursor { value: place(position.0), id: Uuid::nil() };
        let full = self.found.len() > self.limit;
        let mut page = Page::of(self.found, request, |event| cursor(event.position));
        page.more |= unfinished;
        let searched = self.searched.filter(|_| unfinished && !full).map(cursor);
        Found { page, searched }
    }
}
