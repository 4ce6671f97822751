//! Connections that end: in the middle of an append, under a subscription, for good.
//!
//! **Invariant:** what a caller was told holds after the outage, and what they were not told they learn by asking again
//! with the same ids.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::postgres::Dedicated as Stranger;

/// Stands between a log and its server, whose answers it can hold back while the connections stay.
struct Between {
    answers: watch::Sender<bool>,
    port: u16,
}

impl Between {
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answers, pass) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (server, mut pass) = (server.clone(), pass.clone());
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(server).await else { return };
                    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
                        (near.into_split(), far.into_split());
                    let asked = tokio::io::copy(&mut near_in, &mut far_out);
                    let answered = async {
                        let mut buffer = vec![0; 16 * 1024];
                        while let Ok(count @ 1..) = far_in.read(&mut buffer).await {
                            let passed = pass.wait_for(|pass| *pass).await.is_ok();
                            if !passed || near_out.write_all(&buffer[..count]).await.is_err() {
                                return;
                            }
                        }
                    };
                    tokio::select! {
                        _ended = asked => {}
                        () = answered => {}
                    }
                });
            }
        });
        Self { answers, port }
    }
}

/// A log on connections that can be cut without cutting those of other tests.
async fn cuttable(schema: &Schema, config: PostgresLogConfig) -> Arc<PostgresLog> {
    let clock = Arc::new(FixedClock::new(sample_time()));
    Arc::new(open_with(schema.named(), config, clock).await)
}

async fn until_health(log: &PostgresLog, wanted: fn(&LogHealth) -> bool) {
    until("the health that is waited for", async || wanted(&log.health())).await;
}

/// Starts an append that waits for the turn, which the stranger holds.
async fn append_held_up(
    log: &Arc<PostgresLog>,
    watcher: &Stranger,
    stream: &StreamName,
    events: &[NewEvent],
) -> tokio::task::JoinHandle<Result<events::log::Appended, AppendError>> {
    let (log, stream, events) = (Arc::clone(log), stream.clone(), events.to_vec());
    let append = tokio::spawn(async move { log.append(&stream, ExpectedRevision::NoStream, events).await });
    until_waiting_for_the_turn(watcher, 1).await;
    append
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_cut_off_before_its_commit_is_unavailable_and_made_once_when_sent_again() {
    let schema = Schema::fresh();
    let log = cuttable(&schema, PostgresLogConfig::default()).await;
    let (stranger, watcher) = (schema.stranger().await, schema.stranger().await);
    let (stream, events) = (fresh_stream(&fresh_tenant()), sample_events("cut", 2));
    insert_and_hold(&stranger, 1, &fresh_stream(&fresh_tenant())).await;
    let append = append_held_up(&log, &watcher, &stream, &events).await;
    schema.cut_connections(&watcher).await;
    let refused = append.await.unwrap();
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
    stranger.client.batch_execute("ROLLBACK").await.unwrap();
    let made = retried(&log, &stream, events).await;
    assert_eq!((made.position, made.repeated), (Position(2), false));
    assert_eq!(everything(&log).await.len(), 2);
    until_health(&log, |health| *health == LogHealth::Writable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_cut_off_within_its_turn_leaves_nothing_and_the_turn_goes_on() {
    let schema = Schema::fresh();
    let log = cuttable(&schema, PostgresLogConfig::default()).await;
    let (stranger, watcher) = (schema.stranger().await, schema.stranger().await);
    let (stream, events) = (fresh_stream(&fresh_tenant()), sample_events("cut", 2));
    // Somebody who goes past the trigger holds the second id, so that the INSERT begins and cannot end.
    stranger.client.batch_execute("SET session_replication_role = replica; BEGIN").await.unwrap();
    insert_with_id(&stranger, 1_000, &fresh_stream(&fresh_tenant()), events[1].id.uuid()).await;
    let append = {
        let (log, stream, events) = (Arc::clone(&log), stream.clone(), events.clone());
        tokio::spawn(async move { log.append(&stream, ExpectedRevision::NoStream, events).await })
    };
    let held_up = "SELECT EXISTS (SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
                   WHERE application_name = $1 AND locktype = 'transactionid' AND NOT granted)";
    until("the INSERT waits", async || {
        watcher.client.query_one(held_up, &[&schema.config.schema]).await.unwrap().get(0)
    })
    .await;
    schema.cut_connections(&watcher).await;
    let refused = append.await.unwrap();
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
    stranger.client.batch_execute("ROLLBACK").await.unwrap();
    let made = retried(&log, &stream, events).await;
    assert_eq!((made.position, made.repeated), (Position(2), false));
    assert_eq!(everything(&log).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_nothing_is_told_and_the_append_is_made_once_it_answers() {
    let schema = Schema::fresh();
    let server: tokio_postgres::Config = schema.config.url.parse().unwrap();
    let port = server.get_ports()[0];
    let between = Between::start(format!("127.0.0.1:{port}")).await;
    let mut config = schema.config.clone();
    config.url = config.url.replacen(&format!(":{port}"), &format!(":{}", between.port), 1);
    assert_ne!(config.url, schema.config.url, "it goes by another way");
    let quick = PostgresLogConfig { turn_timeout: Duration::from_millis(100), ..PostgresLogConfig::default() };
    let log = open_with(Postgres::new(&config).unwrap(), quick, Arc::new(FixedClock::new(sample_time()))).await;
    let (stream, events) = (fresh_stream(&fresh_tenant()), sample_events("silent", 2));

    between.answers.send_replace(false);
    let refused = log.append(&stream, ExpectedRevision::NoStream, events.clone()).await;
    assert!(
        matches!(&refused, Err(AppendError::Unavailable { reason, .. }) if reason.contains("does not answer")),
        "{refused:?}"
    );
    assert!(matches!(log.health(), LogHealth::Halted { .. }), "{:?}", log.health());
    between.answers.send_replace(true);
    let made = retried(&log, &stream, events).await;
    assert_eq!(made.position, Position(2));
    assert_eq!(everything(&log).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_under_fire_are_each_made_once() {
    const CALLERS: usize = 8;
    const EACH: usize = 25;
    let schema = Schema::fresh();
    let log = cuttable(&schema, PostgresLogConfig::default()).await;
    let watcher = schema.stranger().await;
    let tenant = fresh_tenant();
    let follower = {
        let log = Arc::clone(&log);
        tokio::spawn(async move { follow(&log, CALLERS * EACH).await })
    };
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (log, stream) = (Arc::clone(&log), fresh_stream(&tenant));
            tokio::spawn(async move {
                let mut positions = Vec::new();
                for n in 0..EACH {
                    positions.push(retried(&log, &stream, sample_events(&format!("{n}"), 1)).await.position.0);
                }
                positions
            })
        })
        .collect();
    for made in [1, 50, 100, 150] {
        until("some are made", async || {
            let count = "SELECT count(*) FROM events";
            watcher.client.query_one(count, &[]).await.unwrap().get::<_, i64>(0) >= made
        })
        .await;
        schema.cut_connections(&watcher).await;
    }
    let mut positions: Vec<u64> = Vec::new();
    for caller in callers {
        positions.extend(caller.await.unwrap());
    }
    positions.sort_unstable();
    assert_eq!(positions, (1..=(CALLERS * EACH) as u64).collect::<Vec<_>>(), "each has its place");
    assert_eq!(follower.await.unwrap(), everything(&log).await, "the subscription went on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_commit_was_not_heard_of_is_recognised_when_sent_again() {
    let schema = Schema::fresh();
    let log = cuttable(&schema, PostgresLogConfig::default()).await;
    let (stream, events) = (fresh_stream(&fresh_tenant()), sample_events("unheard", 2));
    // The caller goes away before the answer: for it, the outcome is as unknown as after a cut.
    let mut append = log.append(&stream, ExpectedRevision::NoStream, events.clone());
    assert!(futures::poll!(&mut append).is_pending());
    drop(append);
    let found = follow(&log, 2).await;
    schema.cut_connections(&schema.stranger().await).await;
    let again = retried(&log, &stream, events).await;
    assert_eq!((again.repeated, again.position), (true, found[1].position));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_server_is_away_is_halted_with_a_reason_and_recovers_by_itself() {
    let schema = Schema::fresh();
    let log = cuttable(&schema, PostgresLogConfig::default()).await;
    let stranger = schema.stranger().await;
    let (stream, events) = (fresh_stream(&fresh_tenant()), sample_events("away", 1));
    // A database that takes nobody in, as while it restarts, without disturbing the other tests: the tables are gone.
    let hide = format!("ALTER SCHEMA {0} RENAME TO {0}_hidden", schema.config.schema);
    stranger.client.batch_execute(&hide).await.unwrap();
    schema.cut_connections(&stranger).await;
    until_health(&log, |health| matches!(health, LogHealth::Halted { reason } if !reason.is_empty())).await;
    let refused = log.append(&stream, ExpectedRevision::NoStream, events.clone()).await;
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
    assert!(matches!(log.head().await, Err(ReadError::Unavailable(_))));
    stranger
        .client
        .batch_execute(&format!("ALTER SCHEMA {0}_hidden RENAME TO {0}", schema.config.schema))
        .await
        .unwrap();
    until_health(&log, |health| *health == LogHealth::Writable).await;
    let made = retried(&log, &stream, events).await;
    assert_eq!((made.position, made.repeated), (Position(1), false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_hides_a_short_outage_and_ends_with_an_error_after_a_long_one() {
    let schema = Schema::fresh();
    let clock = Arc::new(FixedClock::new(sample_time()));
    let log = open_with(schema.named(), PostgresLogConfig::default(), clock.clone()).await;
    let stranger = schema.stranger().await;
    let stream = fresh_stream(&fresh_tenant());
    let mut events = log.subscribe(Position::START, Filter::default());
    log.append(&stream, ExpectedRevision::Any, sample_events("before", 1)).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().position, Position(1));
    schema.cut_connections(&stranger).await;
    retried(&log, &stream, sample_events("after", 1)).await;
    assert_eq!(events.next().await.unwrap().unwrap().position, Position(2));
    retried(&log, &stream, sample_events("unread", 1)).await;
    stranger.client.batch_execute("ALTER TABLE events RENAME TO gone").await.unwrap();
    let mut ended = tokio::spawn(async move { (events.next().await, events.next().await.is_none()) });
    // While the clock stands still no outage is long.
    assert!(futures::poll!(&mut ended).is_pending());
    until("the subscription gives up", async || {
        clock.advance(chrono::Duration::seconds(31));
        ended.is_finished()
    })
    .await;
    let (last, over) = ended.await.unwrap();
    assert!(matches!(last, Some(Err(ReadError::Unavailable(_)))) && over, "{last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_looks_for_itself_when_no_notification_comes() {
    let schema = Schema::fresh();
    let config = PostgresLogConfig { look_every: Duration::from_millis(20), ..PostgresLogConfig::default() };
    let clock = Arc::new(FixedClock::new(sample_time()));
    let log = open_with(schema.another(), config, clock).await;
    let stranger = schema.stranger().await;
    insert_and_hold(&stranger, 1, &fresh_stream(&fresh_tenant())).await;
    stranger.client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(follow(&log, 1).await.len(), 1, "nobody notified of it");
}
