//! The feed port: events in order per stream, at least once, from where a consumer had come to.
//!
//! **Invariant:** a feed is for consumers, not for decisions; a consumer that stores its checkpoints with its effects
//! sees every event at least once and may rely on order within one stream only (design invariant 7).

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::envelope::{Position, RecordedEvent};
use crate::log::{EventLog, Filter, ReadError};

mod checkpoint;
#[cfg(feature = "kafka")]
pub mod kafka;
mod layout;

pub use checkpoint::{Checkpoint, CheckpointError, Checkpoints, Part};
pub use layout::{Layout, LayoutError, MOST_PARTITIONS, Topics};

/// One event with the checkpoint that says it was handled.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The event.
    pub event: RecordedEvent,
    /// Store this with the effects of the event.
    pub checkpoint: Checkpoint,
}

/// What a feed yields.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events, moved a few times each; a box would cost more")]
pub enum Fed {
    /// An event.
    Event(Delivery),
    /// No event of this part up to this position is still to come: who has handled what came before has reached it.
    Watermark(Checkpoint),
    /// The part is another process's now, or nobody's: nothing more of it comes until it is given back.
    Revoked(Part),
}

impl Fed {
    /// The event, if it is one.
    #[must_use]
    pub fn event(self) -> Option<Delivery> {
        match self {
            Self::Event(delivery) => Some(delivery),
            Self::Watermark(_) | Self::Revoked(_) => None,
        }
    }
}

/// Why a feed stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// Follow it again after a while.
    #[error("feed unavailable: {0}")]
    Unavailable(String),
    /// The stored checkpoints are not of this feed: a person must look.
    #[error("checkpoint does not belong to this feed")]
    ForeignCheckpoint,
    /// Events between the checkpoint and what the feed still holds are gone from it; the log has them (see
    /// `docs/scale-out.md`).
    #[error(
        "the feed no longer holds what comes after the checkpoint in {part}: make read models anew with letopis rebuild, \
         let what reacts to events catch up with feed.engine = \"embedded\""
    )]
    Gap {
        /// Where.
        part: Part,
    },
    /// The log behind the feed is damaged: stop.
    #[error("feed corrupt: {0}")]
    Corrupt(String),
}

/// What a feed asks whoever follows it.
#[async_trait]
pub trait Follower: Send + Sync {
    /// How far it has come: asked when the feed is followed, and when a part is handed over that another process had.
    /// [`Checkpoints::start`] when nothing is stored.
    ///
    /// # Errors
    /// [`FeedError::Unavailable`] or [`FeedError::ForeignCheckpoint`].
    async fn load(&self) -> Result<Checkpoints, FeedError>;

    /// Parts of which it wants nothing for now. What was on its way still comes; a feed that comes whole does not ask.
    fn held(&self) -> BTreeSet<Part> {
        BTreeSet::new()
    }
}

#[async_trait]
impl Follower for Checkpoints {
    async fn load(&self) -> Result<Checkpoints, FeedError> {
        Ok(self.clone())
    }
}

/// A feed. All adapters pass `event_feed_contract!`.
#[async_trait]
pub trait EventFeed: Send + Sync {
    /// In which parts it comes.
    fn layout(&self) -> &Layout;

    /// Follows the feed for the consumer of this stable name, from where its follower has come to. Processes that follow under one
    /// name share the parts where there are several. Ends only with an error.
    ///
    /// # Errors
    /// See [`FeedError`].
    async fn follow(
        &self,
        consumer: &str,
        follower: Arc<dyn Follower>,
        filter: Filter,
    ) -> Result<BoxStream<'static, Result<Fed, FeedError>>, FeedError>;

    /// Waits until whoever shares the parts knows that streams which were dropped are over, but not for long: before a
    /// process ends, so that others take its parts over at once.
    async fn close(&self) {}
}

/// The embedded feed: the log itself, tailed.
pub struct LogFeed {
    log: Arc<dyn EventLog>,
    layout: Layout,
    /// What its consumers may have followed before.
    before: Option<Topics>,
}

impl LogFeed {
    /// A feed of `log`.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log, layout: Layout::whole(), before: None }
    }

    /// A feed of `log` for consumers that may have followed these topics before: of a part that a consumer has no
    /// checkpoint of it has handled nothing since it followed the whole.
    #[must_use]
    pub fn after_topics(log: Arc<dyn EventLog>, topics: Topics) -> Self {
        Self { log, layout: Layout::whole(), before: Some(topics) }
    }

    /// Everything up to here was handled, by whichever feed it came.
    fn begin(&self, stored: &Checkpoints, filter: &Filter) -> Position {
        // Of parts of another number of partitions, too.
        let least = stored.least();
        self.before.as_ref().map_or(least, |topics| stored.reached(&topics.parts(filter)).min(least))
    }
}

#[async_trait]
impl EventFeed for LogFeed {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    async fn follow(
        &self,
        _consumer: &str,
        follower: Arc<dyn Follower>,
        filter: Filter,
    ) -> Result<BoxStream<'static, Result<Fed, FeedError>>, FeedError> {
        // After a time on another feed: from where its slowest part was.
        let after = self.begin(&follower.load().await?, &filter);
        let events = self.log.subscribe(after, filter).map(|read| match read {
            Ok(event) => Ok(Fed::Event(Delivery { checkpoint: Checkpoint::of_position(event.position), event })),
            Err(ReadError::Unavailable(reason)) => Err(FeedError::Unavailable(reason)),
            Err(error @ ReadError::Corrupt { .. }) => Err(FeedError::Corrupt(error.to_string())),
        });
        Ok(events.boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::envelope::Category;
    use crate::testing::{MemoryLog, sample_time};

    #[test]
    fn a_part_that_a_consumer_has_no_checkpoint_of_is_not_passed_over() {
        let topics = Topics::new("a", |_| 2).unwrap();
        let log = Arc::new(MemoryLog::new(Arc::new(FixedClock::new(sample_time()))));
        let filter = Filter { categories: vec![Category::Conversation] };
        let part = |number| topics.part(Category::Conversation, number);
        let at = |part, position| Checkpoint { part, offset: 1, position: Position(position) };
        let begin = |stored: &[Checkpoint]| {
            let feed = LogFeed::after_topics(Arc::<MemoryLog>::clone(&log) as _, topics.clone());
            feed.begin(&stored.iter().collect(), &filter)
        };
        let whole = at(Part::whole(), 100);
        assert_eq!(begin(&[]), Position::START);
        assert_eq!(begin(&[at(part(0), 150)]), Position::START, "the other part has handled nothing");
        assert_eq!(begin(&[whole.clone(), at(part(0), 150)]), Position(100));
        assert_eq!(begin(&[whole.clone(), at(part(0), 150), at(part(1), 120)]), Position(120));
        let of_more = at(topics.part(Category::Conversation, 2), 110);
        assert_eq!(begin(&[whole, at(part(0), 150), at(part(1), 120), of_more]), Position(110));
    }
}
