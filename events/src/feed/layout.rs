//! Which parts a feed has, and in which one a stream is.
//!
//! **Invariant:** a stream is in one part, for ever: the number of partitions of a topic never changes while events are
//! in it. Whoever knows a stream's name and the number finds its partition, as every Kafka client does.

use std::collections::BTreeMap;

use super::Part;
use crate::envelope::{Category, StreamName};
use crate::log::Filter;

/// The parts of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    topics: Option<Topics>,
    parts: Vec<Part>,
}

/// A topic per category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
    partitions: BTreeMap<Category, u32>,
}

/// A layout that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A topic needs at least one partition, and no more than [`MOST_PARTITIONS`].
    #[error("{0} partitions: a topic has 1 to {MOST_PARTITIONS}")]
    Partitions(u32),
    /// Topic names are made of ASCII letters, digits, `.`, `_` and `-`.
    ///
    /// **Source:** `org.apache.kafka.common.internals.Topic`, which also limits the length to 249.
    #[error("topic prefix {0:?}: use 1 to 200 ASCII letters, digits, dots, underscores and dashes")]
    Prefix(String),
}

/// Most partitions of a topic here: each costs a watermark record each 100 ms while events flow.
pub const MOST_PARTITIONS: u32 = 1_000;

impl Layout {
    /// One part: the log's own order.
    #[must_use]
    pub fn whole() -> Self {
        Self { topics: None, parts: vec![Part::whole()] }
    }

    /// A part per partition of each topic.
    #[must_use]
    pub fn of_topics(topics: Topics) -> Self {
        let parts = topics.parts(&Filter::default());
        Self { topics: Some(topics), parts }
    }

    /// The topics, where there are some.
    #[must_use]
    pub const fn topics(&self) -> Option<&Topics> {
        self.topics.as_ref()
    }

    /// Every part.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The part that a stream is in.
    #[must_use]
    pub fn part_of(&self, stream: &StreamName) -> Part {
        match &self.topics {
            None => Part::whole(),
            Some(topics) => topics.part(stream.category, topics.partition_of(stream)),
        }
    }
}

impl Topics {
    /// A topic `<prefix>.<category>` per category, each with so many partitions.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub fn new(prefix: &str, partitions: impl Fn(Category) -> u32) -> Result<Self, LayoutError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if prefix.is_empty() || prefix.len() > 200 || !prefix.bytes().all(good) {
            return Err(LayoutError::Prefix(prefix.to_owned()));
        }
        let mut all = BTreeMap::new();
        for category in Category::ALL {
            let count = partitions(category);
            if count == 0 || count > MOST_PARTITIONS {
                return Err(LayoutError::Partitions(count));
            }
            all.insert(category, count);
        }
        Ok(Self { prefix: prefix.to_owned(), partitions: all })
    }

    /// The topic of a category.
    #[must_use]
    pub fn topic(&self, category: Category) -> String {
        format!("{}.{}", self.prefix, category.as_str())
    }

    /// The topic of events that Kafka would not take.
    #[must_use]
    pub fn parked(&self) -> String {
        format!("{}.parked", self.prefix)
    }

    /// What all names begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The category of a topic, if it is one of ours.
    #[must_use]
    pub fn category(&self, topic: &str) -> Option<Category> {
        topic.strip_prefix(self.prefix.as_str())?.strip_prefix('.')?.parse().ok()
    }

    /// How many partitions the topic of a category has.
    #[must_use]
    pub fn partitions(&self, category: Category) -> u32 {
        self.partitions.get(&category).copied().unwrap_or(1)
    }

    /// The part that is a partition of a category's topic.
    #[must_use]
    pub fn part(&self, category: Category, partition: u32) -> Part {
        Part::named(&format!("{}/{partition}", self.topic(category)))
    }

    /// The partition of a stream, as every client finds it whose key is the stream's name.
    ///
    /// **Source:** `BuiltInPartitioner.partitionForKey` of Apache Kafka: positive murmur2 of the key modulo the number.
    #[must_use]
    pub fn partition_of(&self, stream: &StreamName) -> u32 {
        (murmur2(stream.to_string().as_bytes()) & 0x7fff_ffff) % self.partitions(stream.category)
    }

    /// The categories that a filter wants.
    pub fn wanted(&self, filter: &Filter) -> Vec<Category> {
        let wanted = |category: &Category| filter.categories.is_empty() || filter.categories.contains(category);
        Category::ALL.into_iter().filter(wanted).collect()
    }

    /// The parts that hold what a filter wants.
    #[must_use]
    pub fn parts(&self, filter: &Filter) -> Vec<Part> {
        let of = |category: Category| (0..self.partitions(category)).map(move |n| self.part(category, n));
        self.wanted(filter).into_iter().flat_map(of).collect()
    }
}

/// Kafka's hash of a key.
///
/// **Source:** `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn topics(partitions: u32) -> Topics {
        Topics::new("letopis", |_| partitions).unwrap()
    }

    #[test]
    fn the_hash_is_kafkas() {
        // The values of UtilsTest.testMurmur2 in Apache Kafka.
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash.cast_unsigned(), "{key}");
        }
    }

    #[test]
    fn streams_spread_over_the_partitions_of_their_topic() {
        let (topics, tenant) = (topics(6), "acme".parse::<crate::ids::TenantId>().unwrap());
        let stream = |n| StreamName::new(Category::Conversation, tenant.clone(), Uuid::from_u128(n));
        let mut counts = [0; 6];
        for n in 0..6_000 {
            counts[topics.partition_of(&stream(n)) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        let layout = Layout::of_topics(topics);
        assert!(layout.parts().contains(&layout.part_of(&stream(1))));
        assert_eq!(layout.parts().len(), 6 * Category::ALL.len());
        assert_eq!(Layout::whole().part_of(&stream(1)), Part::whole());
    }

    #[test]
    fn a_topic_is_found_again_by_its_name() {
        let topics = topics(2);
        for category in Category::ALL {
            assert_eq!(topics.category(&topics.topic(category)), Some(category));
        }
        assert_eq!((topics.category("other.link"), topics.category("letopis.nonsense")), (None, None));
        let filter = Filter { categories: vec![Category::Link] };
        assert_eq!(topics.parts(&filter), ["letopis.link/0", "letopis.link/1"].map(Part::named));
    }

    #[test]
    fn what_kafka_would_refuse_is_refused() {
        assert_eq!(Topics::new("letopis", |_| 0), Err(LayoutError::Partitions(0)));
        for prefix in ["", "летопись", "a b", "a/b"] {
            assert_eq!(Topics::new(prefix, |_| 1), Err(LayoutError::Prefix(prefix.to_owned())));
        }
    }
}
