//! What else is on a server: its own events, those of other applications and processes, and its clock.
//!
//! **Invariant:** nothing of others is ever an error or an event of ours.

use chrono::TimeDelta;
use futures::StreamExt;

use super::*;

#[tokio::test]
async fn events_of_the_system_and_of_other_applications_are_passed_over() {
    let double = double().await;
    let log = open(double.url());
    let stream = fresh_stream(&fresh_tenant());
    assert_eq!(log.head().await, Ok(Position::START));
    let mut followed = log.subscribe(Position::START, Filter::default());
    let mut written = Vec::new();
    for n in 0..3 {
        double.write_statistics();
        double.write_foreign("orders-17");
        // It looks like ours and is not.
        double.write_foreign("conversation-17");
        let events = sample_events(&format!("ours {n}"), 2);
        written.extend(new_ids(&events));
        append(&log, &stream, events).await;
        double.write_foreign("profile-17");
        double.write_statistics();
    }
    let (all, searched) = log.read_all(Position::START, &Filter::default(), 100).await.unwrap();
    assert_eq!(ids(&all), written);
    assert!(searched > all[5].position, "what is not ours was searched, too");
    assert_eq!(log.read_all(searched, &Filter::default(), 100).await, Ok((Vec::new(), searched)));
    let (first, searched) = log.read_all(Position::START, &Filter::default(), 1).await.unwrap();
    assert_eq!((ids(&first), searched), (vec![written[0]], first[0].position));
    let links = Filter { categories: vec![Category::Link] };
    assert_eq!(log.read_all(Position::START, &links, 100).await, Ok((Vec::new(), log.head().await.unwrap())));
    for id in &written {
        let seen = in_time(followed.next()).await.expect("it goes on").expect("nothing is wrong");
        assert_eq!(seen.id, *id);
        assert_eq!(log.find(*id).await, Ok(Some(seen)));
    }
}

#[tokio::test]
async fn an_event_of_another_process_is_found_as_soon_as_it_is_written() {
    let double = double().await;
    let (log, other) = (open(double.url()), open(double.url()));
    for n in 0..3 {
        let (stream, event) = (fresh_stream(&fresh_tenant()), sample_event(&format!("{n}")));
        assert_eq!(log.find(event.id).await, Ok(None));
        append(&other, &stream, vec![event.clone()]).await;
        let found = log.find(event.id).await.unwrap().expect("it is there");
        assert_eq!((found.id, found.stream), (event.id, stream));
    }
}

#[tokio::test]
async fn an_event_of_ours_that_cannot_be_read_is_corrupt() {
    let double = double().await;
    let log = open(double.url());
    let stream = fresh_stream(&fresh_tenant());
    double.write_foreign(&stream.to_string());
    let one = log.read_stream(&stream, None, Direction::Forwards, 10).await;
    assert!(matches!(one, Err(ReadError::Corrupt { .. })), "{one:?}");
    let all = log.read_all(Position::START, &Filter::default(), 10).await;
    assert!(matches!(all, Err(ReadError::Corrupt { .. })), "{all:?}");
}

#[tokio::test]
async fn a_payload_comes_back_byte_for_byte() {
    let double = double().await;
    let log = open(double.url());
    let stream = fresh_stream(&fresh_tenant());
    let payloads = [r#"{ "b":1,   "a":[1.0, 1e3] }"#, " {\"a\": 1}\n", r#"{"ю":"я"}"#];
    for payload in payloads {
        let event = NewEvent { payload: bytes::Bytes::from(payload), ..sample_event("x") };
        append(&log, &stream, vec![event]).await;
    }
    let back: Vec<_> = read(&log, &stream).await.into_iter().map(|event| event.payload).collect();
    assert_eq!(back, payloads);
}

/// Compares with the meaning of "as of" written down plainly, also where the clock was put back.
#[tokio::test]
async fn a_time_finds_its_position_though_the_clock_goes_back() {
    let double = double().await;
    let log = open(double.url());
    let stream = fresh_stream(&fresh_tenant());
    for step_seconds in [0, 7_200, -30, 10, 3_600, 40, -50, 20_000, 1] {
        double.turn_clock(TimeDelta::seconds(step_seconds));
        double.write_statistics();
        append(&log, &stream, sample_events("tick", 2)).await;
    }
    let events = read(&log, &stream).await;
    let as_of = |time| {
        let until = events.iter().take_while(|event| event.recorded_at <= time).last();
        until.map_or(Position::START, |event| event.position)
    };
    // The second time marks are known from the first.
    for _ in 0..2 {
        for event in &events {
            for by in [-1, 0, 1] {
                let time = event.recorded_at + TimeDelta::microseconds(by);
                assert_eq!(log.position_at(time).await, Ok(as_of(time)), "{time}");
            }
        }
    }
    assert!(log.log.times.hours() > 2);
}
