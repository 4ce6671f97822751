//! A replica that is killed behind its balancer, and what its subscribers, senders and readers do then.
//!
//! **Invariant:** what a replica acknowledged is there without it; whoever was at it goes on at another where it stopped.

use serde_json::{Value, json};

use crate::balancer::Balancer;
use crate::fleet::{Fleet, Log, in_time, key, update};
use crate::processes::{SEND, conversations};
use crate::visitor::Socket;

const CHAT: i64 = 2_001;
/// Messages of one customer.
const MESSAGES: i64 = 40;
/// With which four of them the replica is killed.
const KILLED_AT: usize = 5;

const UPDATES: &str = "subscription($id: ID!, $after: Token) { conversationUpdated(id: $id, after: $after) {
    event eventType token conversation { timeline(last: 100) { nodes { ... on Message { text } } } } } }";

const TEXTS: &str = "query($id: ID!, $after: Token) { conversation(id: $id, after: $after) {
    timeline(last: 100) { nodes { ... on Message { text } } } } }";

fn question(number: i64) -> Value {
    update(CHAT, number, &format!("Вопрос {number}"))
}

async fn another_replica_goes_on_where_a_killed_one_stopped(log: Log) {
    let fleet = Fleet::new(log).await;
    let (_relay, _project, _react) =
        (fleet.start("relay").await, fleet.start("project").await, fleet.start("react").await);
    let (one, two) = (fleet.start("http").await, fleet.start("http").await);
    let balancer = Balancer::start(vec![one.address, two.address]).await;
    let bot = fleet.open_telegram(balancer.address).await;

    fleet.post_update(one.address, (&bot.0, &bot.1), &question(1)).await;
    let found = conversations(&fleet, one.address, 1).await;
    let conversation = found.first().unwrap().0.clone();
    let mut subscriber = Socket::subscriber(one.address, UPDATES, json!({"id": conversation, "after": "0"})).await;
    let answer = json!({"conversation": conversation, "text": "Ответ", "key": key()});
    let sent = fleet.ask(one.address, SEND, answer.clone()).await;
    let mut seen = Vec::new();
    let mut token = Value::Null;
    while !seen.iter().any(|kind| kind == "conversation.message_queued") {
        let update = subscriber.next_of("next").await["payload"]["data"]["conversationUpdated"].clone();
        seen.push(update["eventType"].as_str().unwrap().to_owned());
        token = update["token"].clone();
    }

    // Four at a time, so that some go to either replica; one of the two is killed while four are on their way.
    let numbers: Vec<i64> = (2..=MESSAGES).collect();
    let mut one = Some(one);
    for (turn, together) in numbers.chunks(4).enumerate() {
        let posts = together
            .iter()
            .map(async |number| fleet.post_update(balancer.address, (&bot.0, &bot.1), &question(*number)).await);
        let killed = one.take_if(|_| turn == KILLED_AT);
        tokio::join!(futures::future::join_all(posts), async {
            if let Some(killed) = killed {
                killed.kill().await;
            }
        });
    }
    assert!(one.is_none(), "it was killed");

    // Whoever lost its answer repeats its wish elsewhere; whoever followed resumes there.
    let repeated = fleet.ask(two.address, SEND, answer).await;
    assert_eq!(sent["sendMessage"]["messageId"], repeated["sendMessage"]["messageId"], "the same wish is one message");
    let after = json!({"id": conversation, "after": token});
    let mut subscriber = Socket::subscriber(two.address, UPDATES, after).await;
    let mut received = 0;
    let mut events = std::collections::HashSet::new();
    while received < MESSAGES - 1 {
        let update = subscriber.next_of("next").await["payload"]["data"]["conversationUpdated"].clone();
        assert!(events.insert(update["event"].to_string()), "an update came twice: {update}");
        received += i64::from(update["eventType"] == "conversation.message_received");
    }
    let texts = conversation_has(&fleet, two.address, &conversation, MESSAGES).await;
    for number in 1..=MESSAGES {
        let shown = texts.iter().filter(|text| **text == format!("Вопрос {number}")).count();
        assert_eq!(shown, 1, "message {number} in {texts:?}");
    }
    assert_eq!(texts.iter().filter(|text| *text == "Ответ").count(), 1, "{texts:?}");
}

/// The texts of a conversation, once so many customer's messages are shown.
async fn conversation_has(fleet: &Fleet, at: std::net::SocketAddr, id: &str, count: i64) -> Vec<String> {
    in_time(async {
        loop {
            let shown = fleet.ask(at, TEXTS, json!({"id": id})).await;
            let nodes = shown["conversation"]["timeline"]["nodes"].as_array().unwrap().clone();
            let texts: Vec<String> = nodes.iter().filter_map(|node| Some(node["text"].as_str()?.to_owned())).collect();
            let shown = texts.iter().filter(|text| text.starts_with("Вопрос")).count();
            if i64::try_from(shown).unwrap() >= count {
                return texts;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
}

mod on_postgresql_and_kafka {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn another_replica_goes_on_where_a_killed_one_stopped() {
        super::another_replica_goes_on_where_a_killed_one_stopped(Log::Postgres).await;
    }
}

mod on_the_eventstore_double_and_kafka {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn another_replica_goes_on_where_a_killed_one_stopped() {
        super::another_replica_goes_on_where_a_killed_one_stopped(Log::Double).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_that_no_projector_has_come_so_far_and_reads_it_once_one_has() {
    let fleet = Fleet::new(Log::Postgres).await;
    let (_relay, project) = (fleet.start("relay").await, fleet.start("project").await);
    let (_react, http) = (fleet.start("react").await, fleet.start("http").await);
    let (account, secret) = fleet.open_telegram(http.address).await;
    fleet.post_update(http.address, (&account, &secret), &question(1)).await;
    let found = conversations(&fleet, http.address, 1).await;
    let conversation = &found.first().unwrap().0;
    project.kill().await;

    let wish = json!({"conversation": conversation, "text": "Ответ", "key": key()});
    let sent = fleet.ask(http.address, SEND, wish).await;
    let asked = json!({"id": conversation, "after": sent["sendMessage"]["token"]});
    let answer = fleet.answer(http.address, TEXTS, asked.clone()).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "STALE_READ", "{answer}");

    let _project = fleet.start("project").await;
    in_time(async {
        loop {
            let answer = fleet.answer(http.address, TEXTS, asked.clone()).await;
            if answer["errors"].is_null() {
                assert!(answer.to_string().contains("Ответ"), "{answer}");
                return;
            }
            assert_eq!(answer["errors"][0]["extensions"]["code"], "STALE_READ", "{answer}");
        }
    })
    .await;
}
