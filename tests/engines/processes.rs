//! Roles apart, replicas behind a balancer.
//!
//! **Invariant:** whichever process takes a message or a wish, every other shows it once its token is waited for.

use serde_json::{Value, json};

use crate::balancer::Balancer;
use crate::fleet::{Fleet, Log, in_time, key, update};
use crate::visitor::{SITE, Socket, delivery};

const TIMELINE: &str = "query($id: ID!, $after: Token) { conversation(id: $id, after: $after) {
    timeline { nodes { ... on Message { direction text delivery { state } } } } } }";

/// A message of an operator.
pub(crate) const SEND: &str = "mutation($conversation: ID!, $text: String!, $key: String!) {
    sendMessage(input: {conversation: $conversation, text: $text, idempotencyKey: $key}) {
      token messageId userErrors { message } } }";

/// Conversations with the text of their last message, once there are so many.
pub(crate) async fn conversations(fleet: &Fleet, at: std::net::SocketAddr, count: usize) -> Vec<(String, String)> {
    let listing = "{ conversations(first: 100) { nodes { id latestMessage { ... on Message { text } } } } }";
    in_time(async {
        loop {
            let found = fleet.ask(at, listing, json!({})).await;
            let nodes = found["conversations"]["nodes"].as_array().unwrap();
            if nodes.len() >= count {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                return nodes.iter().map(|node| (text(&node["id"]), text(&node["latestMessage"]["text"]))).collect();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Each role in processes of its own; messages, answers, tokens, a subscription and a visitor across all of them.
async fn roles_apart_are_one_server(log: Log) {
    let fleet = Fleet::new(log).await;
    let _relay = fleet.start("relay").await;
    let (_project, _another) = (fleet.start("project").await, fleet.start("project").await);
    let (_react, _standby) = (fleet.start("react").await, fleet.start("react").await);
    let (one, two) = (fleet.start("http").await, fleet.start("http").await);
    let balancer = Balancer::start(vec![one.address, two.address]).await;

    let (account, secret) = fleet.open_telegram(balancer.address).await;
    let bot = (account.as_str(), secret.as_str());
    for chat in 1..=12 {
        // Every second connection goes to the other replica; each delivery comes to both.
        for at in [balancer.address, one.address, two.address] {
            fleet.post_update(at, bot, &update(1_000 + chat, 1, &format!("Вопрос {chat}"))).await;
        }
    }
    let found = conversations(&fleet, two.address, 12).await;
    assert_eq!(found.len(), 12, "each customer has one conversation");

    let (conversation, _) = found.first().unwrap();
    // From the beginning, so that it does not matter when the subscription has begun.
    let updates = "subscription($id: ID!) { conversationUpdated(id: $id, after: \"0\") { eventType
        conversation { timeline { nodes { ... on Message { text } } } } } }";
    let mut subscriber = Socket::subscriber(two.address, updates, json!({"id": conversation})).await;
    let wish = json!({"conversation": conversation, "text": "Ответ", "key": key()});
    let sent = fleet.ask(one.address, SEND, wish.clone()).await;
    let repeated = fleet.ask(two.address, SEND, wish).await;
    assert_eq!(sent["sendMessage"]["messageId"], repeated["sendMessage"]["messageId"], "the same wish is one message");
    let token = &sent["sendMessage"]["token"];
    let shown = fleet.ask(two.address, TIMELINE, json!({"id": conversation, "after": token})).await;
    let nodes = shown["conversation"]["timeline"]["nodes"].as_array().unwrap();
    let texts: Vec<&str> = nodes.iter().filter_map(|node| node["text"].as_str()).collect();
    assert_eq!(texts.iter().filter(|text| **text == "Ответ").count(), 1, "{texts:?}");
    let listed = "query($after: Token) { conversations(afterToken: $after, first: 100) { nodes { id } } }";
    let all = fleet.ask(two.address, listed, json!({"after": token})).await;
    assert_eq!(all["conversations"]["nodes"].as_array().unwrap().len(), 12);
    let queued = loop {
        let update = subscriber.next_of("next").await["payload"]["data"]["conversationUpdated"].clone();
        if update["eventType"] == "conversation.message_queued" {
            break update;
        }
    };
    assert!(queued.to_string().contains("Ответ"), "an update comes once the read models show it: {queued}");

    // A visitor's page is at one replica; what an operator writes at the other reaches it, and its word comes back.
    let (chat, chat_secret) = fleet.open_webchat(balancer.address, SITE).await;
    let mut page = Socket::page(two.address, &chat, &chat_secret, "v1").await;
    page.say(&delivery(&chat_secret, "v1", "m-1", "Есть доставка?")).await;
    assert_eq!(page.next_of("ack").await["id"], "m-1");
    let found = conversations(&fleet, one.address, 13).await;
    let (talk, _) = found.iter().find(|(_, text)| text == "Есть доставка?").expect("the visitor's conversation");
    fleet.ask(one.address, SEND, json!({"conversation": talk, "text": "Да, завтра", "key": key()})).await;
    let answer = loop {
        let frame = page.next_of("message").await;
        if frame["from"]["kind"] == "operator" {
            break frame;
        }
    };
    assert_eq!(answer["text"], "Да, завтра");
    page.say(&json!({"type": "seen", "up_to": answer["sequence"]})).await;
    in_time(async {
        loop {
            let shown = fleet.ask(one.address, TIMELINE, json!({"id": talk})).await;
            let nodes = shown["conversation"]["timeline"]["nodes"].as_array().unwrap();
            if nodes.iter().any(|node| node["delivery"]["state"] == "DELIVERED") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let same = fleet.run(&["rebuild", "--check"]).await;
    assert!(same.contains("state hash") && !same.contains("differs"), "{same}");
}

mod on_postgresql_and_kafka {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn roles_apart_are_one_server() {
        super::roles_apart_are_one_server(Log::Postgres).await;
    }
}

mod on_the_eventstore_double_and_kafka {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn roles_apart_are_one_server() {
        super::roles_apart_are_one_server(Log::Double).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_the_embedded_log_cannot_carry_is_refused_with_what_to_do() {
    let fleet = Fleet::new(Log::Postgres).await;
    for (roles, told) in [("http", "embedded log"), ("relay", "feed.engine")] {
        let mut command = fleet.letopis();
        command.args(["serve", "--roles", roles]).env("LETOPIS_LOG__ENGINE", "embedded");
        command.env("LETOPIS_FEED__ENGINE", "embedded");
        let output = in_time(command.output()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(told), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_tells_the_same_story_on_these_engines() {
    let fleet = Fleet::new(Log::Postgres).await;
    let said = fleet.run(&["demo", "--engines", "--once", "--customers", "30", "--listen", "127.0.0.1:0"]).await;
    // As on the embedded engines (tests/demo.rs).
    let wanted = "64 messages in and 20 out, 34 conversations, 31 people (3 in two channels), 1 unrecognised";
    assert!(said.contains(wanted), "{said}");
    assert!(said.contains("PostgreSQL's schema letopis_demo_") && said.contains("topics letopis-demo-"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_can_lie_in_a_database_of_their_own() {
    let fleet = Fleet::new(Log::Postgres).await;
    let url = crate::server("LETOPIS_TEST_POSTGRES_URL");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let (database, schema) = (format!("{}_keys", fleet.schema()), fleet.schema());
    client.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
    let (server, log) = url.rsplit_once('/').unwrap();
    let own = [
        ("LETOPIS_KEYS__POSTGRES__URL", format!("{server}/{database}")),
        ("LETOPIS_KEYS__POSTGRES__SCHEMA", schema.to_owned()),
    ];
    let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let all = fleet.start_with("http,project,react,relay", &own).await;
    fleet.open_telegram(all.address).await;
    let tables = async |database: &str| {
        let (client, connection) =
            tokio_postgres::connect(&format!("{server}/{database}"), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let counted =
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = $1 AND table_name LIKE '%key%'";
        client.query_one(counted, &[&schema]).await.unwrap().get::<_, i64>(0)
    };
    assert!(tables(&database).await > 0, "they are there");
    assert_eq!(tables(log).await, 0, "and not beside the log");
    all.stop().await;

    // Without the setting the log would get keys that open nothing of it.
    let mut command = fleet.letopis();
    let output = in_time(command.args(["serve", "--roles", "http,project,react,relay"]).output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("place without their keys"), "{said}");
    fleet.start_with("http,project,react,relay", &own).await.stop().await;
}
