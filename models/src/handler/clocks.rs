//! Reads what clocks of service are counted from.
//!
//! **Invariant:** from the streams themselves, in the order of their revisions; nothing personal is opened.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use chrono::{DateTime, Utc};
use events::calendar::CalendarEvent;
use events::conversation::ConversationEvent;
use events::envelope::{Actor, Category, Revision, StreamName};
use events::ids::{ConversationId, QueueId, TenantId};
use events::log::Direction;
use events::queue::QueueEvent;
use events::service_level::ServiceLevelEvent;
use uuid::Uuid;

use super::{HandleError, Handler, SLICE, not_coded, unreadable};
use crate::clock::{Change, Histories, changes};

/// An event with its time and whoever made it happen.
type Told<E> = (DateTime<Utc>, Actor, E);

/// Nothing is refused when a stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NothingRefused {}

/// What happened in a conversation, and what of it matters to its clocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// Its events, with their times.
    pub events: Vec<(DateTime<Utc>, ConversationEvent)>,
    /// What matters to clocks, in order.
    pub changes: Vec<Change>,
}

impl Handler {
    /// Reads what the clocks of a conversation are counted from. What became of queues, service levels and calendars is
    /// taken from `histories` of this tenant as far as it is there, and put there else: whoever keeps them forgets them
    /// when one changes.
    ///
    /// # Errors
    /// [`HandleError::Unavailable`] and [`HandleError::Corrupt`].
    pub async fn timing(
        &self,
        tenant: &TenantId,
        conversation: ConversationId,
        histories: &mut Histories,
    ) -> Result<Timing, HandleError<NothingRefused>> {
        let told = self.history::<ConversationEvent>(Category::Conversation, tenant, conversation.uuid()).await?;
        for (_, _, event) in &told {
            let ConversationEvent::Enqueued(enqueued) = event else { continue };
            if !histories.queues.contains_key(&enqueued.queue) {
                self.read_queue(tenant, enqueued.queue, histories).await?;
            }
        }
        let changes = changes(&told, histories);
        Ok(Timing { events: told.into_iter().map(|(at, _, event)| (at, event)).collect(), changes })
    }

    /// Reads a queue, and the service levels and calendars that it ever had.
    async fn read_queue(
        &self,
        tenant: &TenantId,
        queue: QueueId,
        histories: &mut Histories,
    ) -> Result<(), HandleError<NothingRefused>> {
        let of_queue = timed(self.history::<QueueEvent>(Category::Queue, tenant, queue.uuid()).await?);
        let levels = of_queue.iter().filter_map(|(_, event)| match event {
            QueueEvent::Opened(opened) => opened.rules.service_level,
            QueueEvent::Changed(changed) => changed.rules.service_level,
            QueueEvent::Closed(_) => None,
        });
        for level in levels.collect::<BTreeSet<_>>() {
            if histories.service_levels.contains_key(&level) {
                continue;
            }
            let of_level =
                timed(self.history::<ServiceLevelEvent>(Category::ServiceLevel, tenant, level.uuid()).await?);
            let calendars = of_level.iter().filter_map(|(_, event)| match event {
                ServiceLevelEvent::Opened(opened) => opened.rules.calendar,
                ServiceLevelEvent::Changed(changed) => changed.rules.calendar,
                ServiceLevelEvent::Closed(_) => None,
            });
            for calendar in calendars.collect::<BTreeSet<_>>() {
                if let Entry::Vacant(place) = histories.calendars.entry(calendar) {
                    let read = self.history::<CalendarEvent>(Category::Calendar, tenant, calendar.uuid());
                    place.insert(timed(read.await?));
                }
            }
            histories.service_levels.insert(level, of_level);
        }
        histories.queues.insert(queue, of_queue);
        Ok(())
    }

    /// All events of a stream, with their times and actors; what is sealed stays so.
    async fn history<E: TryFrom<events::DomainEvent>>(
        &self,
        category: Category,
        tenant: &TenantId,
        id: Uuid,
    ) -> Result<Vec<Told<E>>, HandleError<NothingRefused>> {
        let stream = StreamName::new(category, tenant.clone(), id);
        let (mut from, mut told) = (None::<Revision>, Vec::new());
        loop {
            let slice = self.log.read_stream(&stream, from, Direction::Forwards, SLICE).await;
            let slice = slice.map_err(|error| unreadable(&stream, error))?;
            let is_last = slice.len() < SLICE;
            for recorded in slice {
                from = Some(recorded.revision.next());
                let (at, actor) = (recorded.recorded_at, recorded.metadata.actor.clone());
                let decoded = self.codec.decode(recorded).map_err(|error| not_coded(&stream, error))?;
                let event = E::try_from(decoded.event).map_err(|_| HandleError::Corrupt {
                    stream: stream.clone(),
                    reason: "an event of another category stands in it".to_owned(),
                })?;
                told.push((at, actor, event));
            }
            if is_last {
                return Ok(told);
            }
        }
    }
}

fn timed<E>(told: Vec<Told<E>>) -> Vec<(DateTime<Utc>, E)> {
    told.into_iter().map(|(at, _, event)| (at, event)).collect()
}
