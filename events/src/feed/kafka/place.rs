//! Where in a partition a consumer begins: behind the record of its checkpoint, or behind a position of the log.
//!
//! **Invariant:** no event after the checkpoint is left out; where that cannot be known, [`FeedError::Gap`] says so.
//! Correctness does not rest on Kafka's search by time: records carry their positions.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::record::{self, Record};
use super::{KafkaConfig, topics};
use crate::envelope::Position;
use crate::feed::{Checkpoints, FeedError, Part};

/// How long a record may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one look for it takes.
const LOOK: Duration = Duration::from_millis(100);

/// Reads single records, beside the group.
pub(crate) struct Probe(BaseConsumer);

/// A partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Partition<'a> {
    pub(crate) topic: &'a str,
    pub(crate) number: i32,
}

fn unavailable(error: &KafkaError) -> FeedError {
    FeedError::Unavailable(error.to_string())
}

impl Probe {
    pub(crate) fn new(config: &KafkaConfig) -> Result<Self, FeedError> {
        let mut client = config.client();
        // Never joined: partitions are assigned by hand.
        client.set("group.id", format!("{}.probe", config.topics().prefix()));
        client.set("enable.auto.commit", "false").set("auto.offset.reset", "error");
        client.set("fetch.wait.max.ms", "10");
        Ok(Self(client.create().map_err(|error| unavailable(&error))?))
    }

    /// The offset at which a consumer with these checkpoints begins.
    pub(super) fn begin(&self, partition: Partition<'_>, part: &Part, stored: &Checkpoints) -> Result<u64, FeedError> {
        let (low, high) = self.ends(partition)?;
        let position = stored.position_in(part);
        // Its own record shows that the partition is the one in which it was read; the next one to come may be the first.
        if let Some(own) = stored.get(part).filter(|own| own.position == position && own.position > Position::START) {
            let known = (low..high).contains(&own.offset)
                && self
                    .at(partition, own.offset)?
                    .is_some_and(|(offset, at)| offset == own.offset && at.position() == Some(own.position));
            if known || (low > 0 && own.offset + 1 == low) || (low == high && own.offset + 1 == high) {
                return Ok(own.offset + 1);
            }
        }
        self.behind(partition, part, position, low, high)
    }

    /// The offsets of the first record that is left and of the next one to come.
    fn ends(&self, partition: Partition<'_>) -> Result<(u64, u64), FeedError> {
        let ask = || {
            let ends = self.0.fetch_watermarks(partition.topic, partition.number, topics::PATIENCE);
            let (low, high) = ends.map_err(|error| unavailable(&error))?;
            match (u64::try_from(low), u64::try_from(high)) {
                (Ok(low), Ok(high)) => Ok((low, high)),
                _ => Err(FeedError::Unavailable("the ends of a partition are not known".to_owned())),
            }
        };
        let (low, high) = ask()?;
        if low < high || high == 0 {
            return Ok((low, high));
        }
        // librdkafka asks for the two apart, and where only the second is answered takes the first for the same
        // (`rd_kafka_query_watermark_offsets` in rdkafka.c): an empty partition says so twice.
        let again = ask()?;
        if again == (low, high) || again.0 < again.1 { Ok(again) } else { ask() }
    }

    /// The first record that an event after a position may stand behind. A search in halves finds it, for whatever
    /// [precedes all after](Record::precedes_all_after) the position is followed by nothing but what is wanted and repeats.
    fn behind(
        &self,
        partition: Partition<'_>,
        part: &Part,
        position: Position,
        low: u64,
        high: u64,
    ) -> Result<u64, FeedError> {
        if low == high {
            // Nothing to go by; the relay writes a watermark when it starts, and each hour.
            return match high {
                0 => Ok(0),
                _ if position == Position::START => Err(FeedError::Gap { part: part.clone() }),
                _ => Err(FeedError::Unavailable(format!("{part} is empty: waiting for a watermark of the relay"))),
            };
        }
        let (mut from, mut to) = (low, if position == Position::START { low } else { high });
        while from < to {
            let middle = from + (to - from) / 2;
            match self.at(partition, middle)? {
                Some((offset, record)) if record.precedes_all_after(position) => from = offset + 1,
                _ => to = middle,
            }
        }
        if from > low {
            return Ok(from);
        }
        // What came before the first record that is left may have been after the position, and so may what a relay left
        // out that began in these topics later than at the log's beginning.
        let first = self.at(partition, low)?;
        let complete = match first {
            Some((0, Record::Watermark(watermark))) => watermark.position <= position,
            Some((offset, _)) => offset == 0,
            None => low == 0,
        };
        if complete { Ok(low) } else { Err(FeedError::Gap { part: part.clone() }) }
    }

    /// Up to where the partition holds every event for certain; none where retention has emptied it.
    pub(crate) fn holds(&self, partition: Partition<'_>) -> Result<Option<Position>, FeedError> {
        match self.ends(partition)? {
            (_, 0) => Ok(Some(Position::START)),
            (low, high) if low == high => Ok(None),
            (low, high) => {
                // Its last record may be none of ours: then one before it will do, and what stands behind that one is
                // written twice.
                let mut back = 1;
                loop {
                    let from = high.saturating_sub(back).max(low);
                    let found = self.at(partition, from)?.and_then(|(_, record)| record.position());
                    if found.is_some() || from == low {
                        return Ok(Some(found.unwrap_or_default()));
                    }
                    back *= 2;
                }
            }
        }
    }

    /// The first record of the relay at or after an offset, with its offset; none when there is none.
    fn at(&self, partition: Partition<'_>, offset: u64) -> Result<Option<(u64, Record)>, FeedError> {
        let mut list = TopicPartitionList::new();
        let from = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        let assigned = list.add_partition_offset(partition.topic, partition.number, from);
        assigned.and_then(|()| self.0.assign(&list)).map_err(|error| unavailable(&error))?;
        let end = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < end {
            match self.0.poll(LOOK) {
                None => {}
                // What librdkafka tries again by itself, or what the watermarks will show.
                Some(Err(error)) => last = Some(error),
                Some(Ok(message)) => {
                    let at = message.offset().unsigned_abs();
                    match record::read(&message).map_err(|error| FeedError::Corrupt(error.to_string()))? {
                        Record::Foreign => {
                            if at + 1 >= self.ends(partition)?.1 {
                                return Ok(None);
                            }
                        }
                        record => return Ok(Some((at, record))),
                    }
                }
            }
        }
        Err(last.as_ref().map_or_else(|| FeedError::Unavailable("no record came in time".to_owned()), unavailable))
    }
}
