//! Records that a test writes itself, as relays of other times and strangers could have left them.
//!
//! **Invariant:** what a test has written is acknowledged before anything is read.

use super::*;

/// Topics into which a test writes what a relay could have left there.
struct Written {
    config: KafkaConfig,
    stream: StreamName,
    producer: FutureProducer,
    _brokers: MockBrokers,
}

impl Written {
    fn new() -> Self {
        let (brokers, topics) = (MockBrokers::start(), fresh_topics());
        brokers.make_topics(&topics);
        let config = config(&brokers.addresses, &topics);
        let producer = config.client().create().unwrap();
        Self { config, stream: fresh_stream(&fresh_tenant()), producer, _brokers: brokers }
    }

    async fn write(&self, headers: rdkafka::message::OwnedHeaders, payload: Option<&[u8]>) {
        let topics = self.config.topics();
        let topic = topics.topic(self.stream.category);
        let partition = i32::try_from(topics.partition_of(&self.stream)).unwrap();
        let mut record = FutureRecord::<(), [u8]>::to(&topic).partition(partition).headers(headers);
        record.payload = payload;
        self.producer.send_result(record).unwrap().await.unwrap().unwrap();
    }

    async fn event(&self, position: u64) {
        let new = sample_event("written");
        let event = crate::envelope::RecordedEvent {
            id: new.id,
            stream: self.stream.clone(),
            revision: Revision(position),
            position: Position(position),
            event_type: new.event_type,
            version: new.version,
            metadata: new.metadata,
            recorded_at: crate::testing::sample_time(),
            payload: new.payload,
        };
        self.write(super::super::record::headers(&event), Some(&event.payload)).await;
    }

    async fn watermark(&self, position: u64, sent: u64) {
        let (position, sent) = (Position(position), Position(sent));
        self.write(super::super::record::watermark_headers(super::super::record::Watermark { position, sent }), None)
            .await;
    }

    /// Positions of the first events that come to who has stored this position.
    async fn first(&self, stored: u64, events: usize) -> Result<Vec<u64>, FeedError> {
        let filter = Filter { categories: vec![Category::Conversation] };
        let stored = Arc::new(Checkpoints::of_position(Position(stored)));
        let mut feeding = KafkaFeed::new(self.config.clone()).follow("tests", stored, filter).await?;
        let mut came = Vec::new();
        while came.len() < events {
            let fed = tokio::time::timeout(Duration::from_secs(120), feeding.next()).await.expect("something comes");
            if let Fed::Event(delivery) = fed.expect("a feed does not end")? {
                came.push(delivery.event.position.0);
            }
        }
        Ok(came)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_by_position_is_not_misled_by_watermarks_behind_events_under_way() {
    let written = Written::new();
    written.watermark(0, 0).await;
    written.event(5).await;
    written.event(9).await;
    // The acknowledgement of 9 was still to come when it was written.
    written.watermark(5, 9).await;
    written.watermark(5, 9).await;
    written.event(12).await;
    assert_eq!(written.first(7, 2).await, Ok(vec![9, 12]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_begin_later_than_the_log_are_a_gap_for_who_was_not_that_far() {
    let written = Written::new();
    written.watermark(7, 7).await;
    written.event(8).await;
    for stored in [0, 6] {
        assert!(matches!(written.first(stored, 1).await, Err(FeedError::Gap { .. })), "after {stored}");
    }
    assert_eq!(written.first(7, 1).await, Ok(vec![8]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_others_at_the_end_of_a_partition_hide_no_event_that_it_holds() {
    let written = Written::new();
    let foreign = async || written.write(rdkafka::message::OwnedHeaders::new(), Some(b"not ours")).await;
    let held = async || {
        let (config, stream) = (written.config.clone(), written.stream.clone());
        let asking = tokio::task::spawn_blocking(move || {
            let number = i32::try_from(config.topics().partition_of(&stream)).unwrap();
            let topic = config.topics().topic(stream.category);
            let partition = super::super::place::Partition { topic: &topic, number };
            super::super::place::Probe::new(&config).unwrap().holds(partition)
        });
        asking.await.unwrap()
    };
    foreign().await;
    assert_eq!(held().await, Ok(Some(Position::START)));
    written.event(5).await;
    written.event(7).await;
    assert_eq!(held().await, Ok(Some(Position(7))));
    foreign().await;
    assert_eq!(held().await, Ok(Some(Position(7))));
    for _ in 0..3 {
        foreign().await;
    }
    assert_eq!(held().await, Ok(Some(Position(5))), "what comes before it is held as well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_read_is_not_passed_over() {
    let written = Written::new();
    written.event(5).await;
    let later = [("ce_type", "conversation.opened"), ("ce_position", "6"), ("ce_id", "an id of a later release")];
    let headers = later.into_iter().fold(rdkafka::message::OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(rdkafka::message::Header { key, value: Some(value) })
    });
    written.write(headers, Some(b"{}")).await;
    written.event(7).await;
    let told = written.first(0, 2).await;
    assert!(matches!(&told, Err(FeedError::Corrupt(reason)) if reason.contains("ce_id")), "{told:?}");
}
