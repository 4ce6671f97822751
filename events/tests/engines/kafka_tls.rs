//! Apache Kafka as the feed over TLS, where brokers want a user with a password (SCRAM). Needs the feature `kafka-tls`.
//!
//! **Invariant:** whoever is not let in, or does not trust the broker, is told so in words, and none of them is a secret.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use events::checkpoints::CheckpointStore;
use events::checkpoints::folder::FolderCheckpoints;
use events::feed::kafka::{KafkaConfig, KafkaFeed};
use events::feed::{Checkpoints, EventFeed, FeedError};
use events::log::Filter;
use events::relay::Relay;
use events::testing::kafka::{fresh_topics, relayed};
use tokio::sync::watch;

use crate::kafka::settings;

/// Comma-separated addresses at which brokers listen with TLS and SCRAM.
const BROKERS: &str = "LETOPIS_TEST_KAFKA_SECURED";
/// The folder with `ca.pem`, which vouches for them, `stranger.pem`, which does not, and the password of the user.
const SECRETS: &str = "LETOPIS_TEST_KAFKA_SECRETS";

fn secrets(file: &str) -> PathBuf {
    PathBuf::from(crate::server(SECRETS)).join(file)
}

/// How this user reaches the brokers, trusting only whom the certificate in this file vouches for.
fn secured(brokers: &str, password: &str, authority: &str) -> KafkaConfig {
    let authority = secrets(authority);
    let properties = [
        ("security.protocol", "sasl_ssl"),
        ("ssl.ca.location", authority.to_str().unwrap()),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", "letopis"),
        ("sasl.password", password),
    ];
    let properties: BTreeMap<String, String> =
        properties.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    KafkaConfig::new(brokers, fresh_topics(), properties).expect("built with the feature kafka-tls")
}

fn password() -> String {
    std::fs::read_to_string(secrets("password")).unwrap().trim().to_owned()
}

/// The contract on Apache Kafka behind TLS, filled by the relay.
mod feed {
    use super::*;

    events::event_feed_contract!(async {
        let brokers = crate::server(BROKERS);
        relayed(secured(&brokers, &password(), "ca.pem"), Some(settings(&brokers))).await
    });
}

/// What the relay and a follower are told who cannot get in.
async fn told(config: &KafkaConfig) -> [String; 3] {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints =
        || Arc::new(FolderCheckpoints::open(folder.path().to_owned()).unwrap()) as Arc<dyn CheckpointStore>;
    let (_stop, stopped) = watch::channel(false);
    let relay = || Relay::new(config.clone(), checkpoints(), stopped.clone()).unwrap();
    let (making, looking) = (relay(), relay());
    let feed = KafkaFeed::new(config.clone());
    let following = feed.follow("tests", Arc::new(Checkpoints::start()), Filter::default());
    let (made, looked, followed) =
        tokio::join!(making.prepare(Some(settings("one"))), looking.prepare(None), following);
    let followed = followed.err().expect("it tells");
    assert!(matches!(followed, FeedError::Unavailable(_)), "{followed:?}");
    [made.unwrap_err().to_string(), looked.unwrap_err().to_string(), followed.to_string()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_to_the_relay_and_to_followers_and_not_shown() {
    let wrong = "not-the-password-4711";
    for told in told(&secured(&crate::server(BROKERS), wrong, "ca.pem")).await {
        assert!(told.contains("invalid credentials"), "{told}");
        assert!(!told.contains(wrong), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_for_which_nobody_trusted_vouches_is_refused() {
    let (brokers, password) = (crate::server(BROKERS), password());
    // Its certificate is good for the address, not for the name.
    let by_name = brokers.replace("127.0.0.1", "localhost");
    let (of_stranger, of_another) =
        (secured(&brokers, &password, "stranger.pem"), secured(&by_name, &password, "ca.pem"));
    let (by_stranger, of_other_name) = tokio::join!(told(&of_stranger), told(&of_another));
    for told in by_stranger.iter().chain(&of_other_name) {
        assert!(told.contains("certificate verify failed"), "{told}");
        assert!(!told.contains(&password), "{told}");
    }
}
