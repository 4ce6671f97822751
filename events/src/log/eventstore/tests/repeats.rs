//! Appends sent again: what is recognised, and what is not.
//!
//! **Invariant:** what is written twice here would be written twice by the server; these tests say where that is.

use super::*;

#[tokio::test]
async fn an_append_whose_answer_is_lost_is_recognised() {
    for expected in [ExpectedRevision::NoStream, ExpectedRevision::Any] {
        let double = double().await;
        let log = open(double.url());
        let (stream, events) = (fresh_stream(&fresh_tenant()), sample_events("lost", 2));
        double.lose_answers(1);
        let lost = log.append(&stream, expected, events.clone()).await;
        assert!(matches!(lost, Err(AppendError::Unavailable { .. })), "{lost:?}");
        let again = async {
            loop {
                if let Ok(appended) = log.append(&stream, expected, events.clone()).await {
                    return appended;
                }
                tokio::task::yield_now().await;
            }
        };
        let again = in_time(again).await;
        assert_eq!((again.first_revision, again.last_revision, again.repeated), (Revision(0), Revision(1), true));
        let stored = read(&log, &stream).await;
        assert_eq!((ids(&stored), again.position), (new_ids(&events), stored[1].position));
    }
}

#[tokio::test]
async fn a_repeat_that_expects_a_revision_is_recognised_at_any_age() {
    let double = double().await;
    let log = open(double.url());
    let (stream, events) = (fresh_stream(&fresh_tenant()), sample_events("old", 2));
    let first = log.append(&stream, ExpectedRevision::NoStream, events.clone()).await.unwrap();
    append(&log, &stream, sample_events("later", 3)).await;
    double.forget_ids();
    let again = log.append(&stream, ExpectedRevision::NoStream, events).await.unwrap();
    assert_eq!(again, Appended { repeated: true, ..first });
    assert_eq!(double.events(), 5);
}

/// What the server does not give: deciders take care that it makes no second message.
#[tokio::test]
async fn a_late_repeat_that_expects_nothing_is_written_again() {
    let double = double().await;
    let log = open(double.url());
    let (stream, events) = (fresh_stream(&fresh_tenant()), sample_events("raw", 1));
    assert!(!append(&log, &stream, events.clone()).await.repeated);
    assert!(append(&log, &stream, events.clone()).await.repeated, "remembered");
    double.forget_ids();
    let late = append(&log, &stream, events.clone()).await;
    assert_eq!((late.last_revision, late.repeated), (Revision(1), false));
    assert_eq!(ids(&read(&log, &stream).await), [events[0].id, events[0].id]);
    let found = log.find(events[0].id).await.unwrap().expect("one of them is found");
    assert_eq!(found.revision, Revision(0), "the first of them");
}

#[tokio::test]
async fn a_repeat_that_expects_another_revision_is_a_conflict() {
    let double = double().await;
    let log = open(double.url());
    let (stream, events) = (fresh_stream(&fresh_tenant()), sample_events("moved", 1));
    append(&log, &stream, sample_events("before", 2)).await;
    append(&log, &stream, events.clone()).await;
    let again = log.append(&stream, ExpectedRevision::Exact(Revision(0)), events).await;
    let expected = ExpectedRevision::Exact(Revision(0));
    assert_eq!(again, Err(AppendError::Conflict { expected, actual: Some(Revision(2)) }));
}

#[tokio::test]
async fn an_id_with_other_content_is_taken_though_the_server_compares_nothing() {
    let double = double().await;
    let log = open(double.url());
    for expected in [ExpectedRevision::NoStream, ExpectedRevision::Any] {
        let (stream, event) = (fresh_stream(&fresh_tenant()), sample_event("one"));
        log.append(&stream, expected, vec![event.clone()]).await.unwrap();
        let other = log.append(&stream, expected, vec![event_with_id(event.id, "another")]).await;
        assert_eq!(other, Err(AppendError::IdTaken(event.id)));
        assert_eq!(read(&log, &stream).await.len(), 1);
    }
}

#[tokio::test]
async fn an_append_that_is_partly_there_or_in_another_order_is_refused() {
    let double = double().await;
    let log = open(double.url());
    let (stream, events) = (fresh_stream(&fresh_tenant()), sample_events("part", 2));
    append(&log, &stream, events.clone()).await;
    let partly = vec![events[0].clone(), sample_event("new")];
    let refused = log.append(&stream, ExpectedRevision::Any, partly).await;
    assert_eq!(refused, Err(AppendError::IdTaken(events[0].id)));
    let turned = vec![events[1].clone(), events[0].clone()];
    let refused = log.append(&stream, ExpectedRevision::Any, turned).await;
    assert!(matches!(refused, Err(AppendError::IdTaken(_))), "{refused:?}");
    assert_eq!(double.events(), 2);
}

/// What the server does not give, either.
#[tokio::test]
async fn an_id_of_another_stream_is_taken_for_new() {
    let double = double().await;
    let log = open(double.url());
    let (tenant, event) = (fresh_tenant(), sample_event("twice"));
    for _ in 0..2 {
        assert!(!append(&log, &fresh_stream(&tenant), vec![event.clone()]).await.repeated);
    }
    assert_eq!(double.events(), 2);
}
