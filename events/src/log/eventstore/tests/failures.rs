//! Servers that are not there, fail, move, hang or refuse.
//!
//! **Invariant:** a test ends a failure and waits until the log works again, as its callers would: by trying.

use tokio::net::TcpListener;

use super::*;

/// Appends an event until it is made, as a caller does; answers how often it was not.
async fn append_until_made(log: &EventStoreLog) -> usize {
    let (stream, event) = (fresh_stream(&fresh_tenant()), sample_event("held up"));
    let tries = async {
        let mut failed = 0;
        loop {
            match log.append(&stream, ExpectedRevision::NoStream, vec![event.clone()]).await {
                Ok(_) => return failed,
                Err(AppendError::Unavailable { .. }) => failed += 1,
                Err(other) => panic!("{other}"),
            }
            tokio::task::yield_now().await;
        }
    };
    in_time(tries).await
}

async fn free_port() -> u16 {
    let free = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a free port");
    free.local_addr().expect("it has an address").port()
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let port = free_port().await;
    let log = open(format!("esdb://127.0.0.1:{port}?tls=false&discoveryInterval=10"));
    let early = log.append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, sample_events("early", 1)).await;
    assert!(matches!(early, Err(AppendError::Unavailable { .. })), "{early:?}");
    assert!(log.head().await.is_err());
    let double = EventStoreDouble::start_at(port).await.unwrap();
    append_until_made(&log).await;
    assert_eq!(double.events(), 1);
}

/// Why the log makes clients anew. When this fails, it need not do so any more.
#[tokio::test]
async fn the_client_alone_stays_dead_after_a_first_connection_that_fails() {
    let port = free_port().await;
    let settings: ClientSettings = format!("esdb://127.0.0.1:{port}?tls=false&discoveryInterval=10").parse().unwrap();
    let client = eventstore::Client::new(settings).unwrap();
    let read = async || {
        let options = eventstore::ReadAllOptions::default().max_count(1);
        in_time(client.read_all(&options)).await.map(|_| ())
    };
    assert!(matches!(read().await, Err(eventstore::Error::GrpcConnectionError(_))));
    let _double = EventStoreDouble::start_at(port).await.unwrap();
    assert!(matches!(read().await, Err(eventstore::Error::ConnectionClosed)));
}

#[tokio::test]
async fn a_server_that_fails_is_left_for_the_one_that_leads_now() {
    let first = double().await;
    let second = first.start_follower().await.unwrap();
    let log = open(first.cluster_url());
    append_until_made(&log).await;
    second.lead();
    first.set_down(true);
    let before = first.refused();
    append_until_made(&log).await;
    assert!(first.refused() > before, "the client kept to the first server");
    assert_eq!(second.events(), 2);
}

#[tokio::test]
async fn a_follower_sends_on_to_the_leader() {
    let leader = double().await;
    let follower = leader.start_follower().await.unwrap();
    let log = open(follower.url());
    assert_eq!(append_until_made(&log).await, 0, "nothing fails for the caller");
}

#[tokio::test]
async fn a_server_that_refuses_for_a_while_is_asked_again() {
    let double = double().await;
    let log = open(double.url());
    append_until_made(&log).await;
    double.refuse(10);
    append_until_made(&log).await;
    double.cut_connections();
    append_until_made(&log).await;
    assert_eq!(double.events(), 3);
}

#[tokio::test]
async fn a_server_that_hangs_is_not_waited_for() {
    let hanging = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("esdb://{}?tls=false&discoveryInterval=10", hanging.local_addr().unwrap());
    let patience = Duration::from_millis(50);
    let log = EventStoreLog::open(EventStoreConfig { patience, ..EventStoreConfig::new(url) }).unwrap();
    let made = in_time(log.append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, sample_events("x", 1))).await;
    assert!(matches!(made, Err(AppendError::Unavailable { .. })), "{made:?}");
    let read = in_time(log.read_all(Position::START, &Filter::default(), 1)).await;
    assert!(matches!(read, Err(ReadError::Unavailable(_))), "{read:?}");
}

#[tokio::test]
async fn a_log_whose_server_is_down_is_halted_until_it_is_back() {
    let double = double().await;
    let log = open(double.url());
    append_until_made(&log).await;
    assert_eq!(log.health(), LogHealth::Writable);
    double.set_down(true);
    let becomes = async |wanted: fn(&LogHealth) -> bool| {
        while !wanted(&log.health()) {
            tokio::task::yield_now().await;
        }
    };
    in_time(becomes(|health| matches!(health, LogHealth::Halted { .. }))).await;
    double.set_down(false);
    in_time(becomes(|health| *health == LogHealth::Writable)).await;
}

#[tokio::test]
async fn an_append_over_the_limit_is_refused_here_or_there() {
    let double = double().await;
    let events: Vec<_> = (0..5).map(|_| sample_event(&"x".repeat(250_000))).collect();
    let unlimited = EventStoreConfig { max_append_bytes: usize::MAX, ..EventStoreConfig::new(double.url()) };
    for config in [EventStoreConfig::new(double.url()), unlimited] {
        let log = EventStoreLog::open(config).unwrap();
        let made = log.append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, events.clone()).await;
        assert!(matches!(made, Err(AppendError::Invalid(_))), "{made:?}");
        assert_eq!(log.health(), LogHealth::Writable);
    }
    assert_eq!(double.events(), 0);
}

#[tokio::test]
async fn credentials_of_the_connection_string_are_shown_to_the_server() {
    let double = double().await;
    let log = open(format!("esdb://anna:secret@127.0.0.1:{}?tls=false&discoveryInterval=10", double.port()));
    append_until_made(&log).await;
    // "anna:secret" in Base64.
    assert_eq!(double.last_authorization().as_deref(), Some("Basic YW5uYTpzZWNyZXQ="));
}

#[tokio::test]
async fn tls_is_the_default_and_a_server_without_it_is_not_talked_to() {
    let double = double().await;
    let log = open(format!("esdb://127.0.0.1:{}", double.port()));
    let made = log.append(&fresh_stream(&fresh_tenant()), ExpectedRevision::Any, sample_events("x", 1)).await;
    assert!(matches!(made, Err(AppendError::Unavailable { .. })), "{made:?}");
    assert_eq!(double.events(), 0);
}

#[tokio::test]
async fn a_connection_string_that_is_wrong_opens_no_log() {
    let open = |connection: &str| EventStoreLog::open(EventStoreConfig::new(connection)).err();
    assert!(matches!(open("postgres://127.0.0.1"), Some(OpenError::Connection(_))));
    assert!(matches!(open("esdb://127.0.0.1?tls=perhaps"), Some(OpenError::Connection(_))));
    assert!(matches!(open("esdb://127.0.0.1?tlsCaFile=nowhere.pem"), Some(OpenError::Client(_))));
}
