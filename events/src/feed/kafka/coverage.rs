//! Whether every partition is somebody's.
//!
//! The leader of a group shares out what it knows of. Where it asked a broker that had not heard of a topic yet, it gives
//! that topic to nobody, and librdkafka does not notice afterwards: what it compares later metadata with is its
//! subscription, not what it shared out (`rd_kafka_cgrp_metadata_update_check` in `rdkafka_cgrp.c`). Nobody would read
//! those partitions until somebody joins or leaves.
//!
//! **Invariant:** a group with a partition that nobody has is joined anew, until everything is shared out; the brokers are
//! asked after a rebalance only, and the thread that polls does not wait for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::groups::GroupInfo;

use super::KafkaConfig;
use crate::envelope::Category;
use crate::feed::FeedError;

/// After a rebalance a group is looked at after so long, and again after the next pause until all is shared out: the
/// cooperative protocol takes two rebalances where partitions move.
const LOOKS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// How long brokers may take to tell of a group.
const PATIENCE: Duration = Duration::from_secs(10);

/// What brokers tell of a group; `None` while it is on the move.
type Answer = Result<Option<usize>, KafkaError>;

/// Looks after a group.
pub(super) struct Coverage {
    config: Arc<KafkaConfig>,
    group: String,
    /// Every partition of the group's topics.
    wanted: Arc<BTreeSet<(String, i32)>>,
    /// The last rebalance that was heard of, and how often the group was looked at since.
    rebalance: u64,
    looks: usize,
    next: Option<Instant>,
    looking: Option<JoinHandle<Answer>>,
    /// The last look showed partitions that nobody has.
    suspicious: bool,
}

impl Coverage {
    /// Of a group that shares the topics of these categories.
    pub(super) fn new(config: Arc<KafkaConfig>, group: String, categories: &[Category]) -> Self {
        let topics = config.topics();
        let partitions = |category: &Category| {
            let topic = topics.topic(*category);
            let count = i32::try_from(topics.partitions(*category)).unwrap_or(i32::MAX);
            (0..count).map(move |partition| (topic.clone(), partition))
        };
        let wanted = Arc::new(categories.iter().flat_map(partitions).collect());
        let (rebalance, looks, next, looking, suspicious) = (0, 0, None, None, false);
        Self { config, group, wanted, rebalance, looks, next, looking, suspicious }
    }

    /// Looks when it is time to, after so many rebalances.
    ///
    /// # Errors
    /// Two looks, one after the other, showed partitions that nobody has: the group is to be joined anew.
    pub(super) fn check(&mut self, rebalances: u64) -> Result<(), FeedError> {
        if rebalances != self.rebalance {
            (self.rebalance, self.looks, self.suspicious, self.looking) = (rebalances, 0, false, None);
            self.wait();
        }
        if let Some(looking) = self.looking.take_if(|looking| looking.is_finished()) {
            match looking.join() {
                Ok(Ok(Some(0))) => {}
                Ok(Ok(Some(orphans))) if self.suspicious => {
                    let group = &self.group;
                    return Err(FeedError::Unavailable(format!(
                        "group {group} left out {orphans} partitions: it is joined anew"
                    )));
                }
                Ok(Ok(Some(_))) => {
                    self.suspicious = true;
                    self.wait();
                }
                other => {
                    if let Ok(Err(error)) = other {
                        tracing::debug!(group = self.group, %error, "brokers do not tell of a group");
                    }
                    self.suspicious = false;
                    self.wait();
                }
            }
        }
        if self.next.take_if(|next| *next <= Instant::now()).is_some() {
            let (config, group, wanted) = (Arc::clone(&self.config), self.group.clone(), Arc::clone(&self.wanted));
            self.looking = Some(std::thread::spawn(move || look(&config, &group, &wanted)));
        }
        Ok(())
    }

    fn wait(&mut self) {
        let pause = LOOKS[self.looks.min(LOOKS.len() - 1)];
        self.next = Some(Instant::now() + pause);
        self.looks += 1;
    }
}

fn look(config: &KafkaConfig, group: &str, wanted: &BTreeSet<(String, i32)>) -> Answer {
    let client: BaseConsumer = config.client().create()?;
    let groups = client.fetch_group_list(Some(group), PATIENCE)?;
    Ok(groups.groups().iter().find(|found| found.name() == group).and_then(|found| orphans(found, wanted)))
}

/// How many of the partitions nobody has; `None` where that cannot be told now.
fn orphans(group: &GroupInfo, wanted: &BTreeSet<(String, i32)>) -> Option<usize> {
    if group.state() != "Stable" {
        return None;
    }
    let mut had = BTreeSet::new();
    for member in group.members() {
        had.extend(assigned(member.assignment().unwrap_or_default())?);
    }
    Some(wanted.difference(&had).count())
}

/// The partitions in a member's assignment; none where it is not what Kafka's consumers write.
///
/// **Source:** `ConsumerProtocolAssignment.json` of Apache Kafka: a version, then an array of topics, each with its name
/// and an array of partitions; user data follows. One who has nothing may have an empty one.
fn assigned(assignment: &[u8]) -> Option<Vec<(String, i32)>> {
    let mut partitions = Vec::new();
    if assignment.is_empty() {
        return Some(partitions);
    }
    let mut rest = Rest(assignment);
    rest.take::<2>()?;
    for _ in 0..u32::from_be_bytes(rest.take()?) {
        let length = u16::from_be_bytes(rest.take()?);
        let topic = std::str::from_utf8(rest.some(length.into())?).ok()?;
        for _ in 0..u32::from_be_bytes(rest.take()?) {
            partitions.push((topic.to_owned(), i32::from_be_bytes(rest.take()?)));
        }
    }
    Some(partitions)
}

/// What is left to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.some(N)?.try_into().ok()
    }

    fn some(&mut self, count: usize) -> Option<&'a [u8]> {
        let (some, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As librdkafka writes it for two topics, the second with two partitions.
    const TWO_TOPICS: &[u8] =
        b"\0\0\0\0\0\x02\0\x01a\0\0\0\x01\0\0\0\x03\0\x02bc\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";

    #[test]
    fn an_assignment_names_its_partitions() {
        let expected = vec![("a".to_owned(), 3), ("bc".to_owned(), 0), ("bc".to_owned(), 1)];
        assert_eq!(assigned(TWO_TOPICS), Some(expected));
        assert_eq!(assigned(b""), Some(vec![]));
        assert_eq!(assigned(b"\0\0\0\0\0\0\0\0\0\0"), Some(vec![]));
    }

    #[test]
    fn what_is_no_assignment_tells_nothing() {
        // User data may be left out; whatever comes before may not.
        for length in 1..TWO_TOPICS.len() - 4 {
            assert_eq!(assigned(&TWO_TOPICS[..length]), None, "{length} bytes");
        }
        assert_eq!(assigned(b"\0\0\xff\xff\xff\xff"), None);
        assert_eq!(assigned(b"\0\0\0\0\0\x01\0\x02\xff\xff\0\0\0\0"), None);
    }
}
