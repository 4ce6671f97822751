//! Deliveries that are refused, and how: nobody gets past the secret, and a stranger does not hinder the provider.

use events::account::Secret;
use models::account::AccountCommand;
use reqwest::Response;
use serde_json::Value;

use crate::stage::{SECRET, Stage, in_time, update};

const SECOND: &str = "fedcba9876543210fedcba9876543210";

/// The problem details of a refusal (RFC 9457).
async fn problem(response: Response, status: u16, kind: &str) -> Option<u64> {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["type"], format!("urn:letopis:problem:{kind}"));
    assert_eq!(body["status"], status);
    assert!(body["title"].is_string() && body["detail"].is_string());
    retry_after
}

#[actix_web::test]
async fn strangers_are_refused_and_limited_apart_from_the_provider() {
    let stage = Stage::start_with(|config| config.webhooks.bad_signatures_per_minute = 3).await;
    let bot = stage.open_telegram().await;
    let body = update(1, "от чужого").to_string();
    for _ in 0..3 {
        problem(stage.post_update_signed(bot, body.clone(), SECOND).await, 401, "unauthenticated").await;
    }
    let limited = stage.post_update_signed(bot, body, SECOND).await;
    let wait = problem(limited, 429, "rate-limited").await.unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(stage.post_update(bot, &update(2, "от Ольги")).await.status(), 200);
    stage.outcomes(1).await;
    assert_eq!(stage.texts().await.len(), 1);
    stage.app.stop().await;
}

#[actix_web::test]
async fn an_address_without_account_takes_nothing() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    let nobody = events::ids::AccountId::new(uuid::Uuid::from_u128(1));
    problem(stage.post_update(nobody, &update(1, "x")).await, 404, "not-found").await;
    for path in [format!("/webhooks/email/{bot}"), "/webhooks/telegram/x".to_owned(), "/nowhere".to_owned()] {
        let response = stage.client.post(stage.url(&path)).body("{}").send().await.unwrap();
        problem(response, 404, "not-found").await;
    }
    stage.app.stop().await;
}

#[actix_web::test]
async fn too_large_a_body_is_refused_also_when_its_length_is_not_said() {
    let stage = Stage::start_with(|config| config.webhooks.max_body_bytes = 1_000).await;
    let bot = stage.open_telegram().await;
    let body = update(1, &"ж".repeat(1_000)).to_string();
    problem(stage.post_update_signed(bot, body.clone(), SECRET).await, 413, "too-large").await;
    let chunks = body.into_bytes().chunks(100).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let request = stage.client.post(stage.url(&format!("/webhooks/telegram/{bot}")));
    let request = request.header("x-telegram-bot-api-secret-token", SECRET);
    let request = request.body(reqwest::Body::wrap_stream(futures::stream::iter(chunks)));
    problem(request.send().await.unwrap(), 413, "too-large").await;
    assert_eq!(stage.post_update(bot, &update(2, "коротко")).await.status(), 200);
    stage.app.stop().await;
}

#[actix_web::test]
async fn while_a_secret_is_changed_both_are_good() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    assert_eq!(stage.post_update(bot, &update(1, "до")).await.status(), 200);
    let secret = Secret { value: SECOND.to_owned() };
    stage.account(bot, AccountCommand::IssueSecret { account: bot, secret }).await;
    let body = |number: i64| update(number, "во время").to_string();
    assert_eq!(stage.post_update_signed(bot, body(2), SECOND).await.status(), 200, "the new one at once");
    assert_eq!(stage.post_update_signed(bot, body(3), SECRET).await.status(), 200, "the old one is still good");
    stage.account(bot, AccountCommand::RevokeSecret { number: 1 }).await;
    // The server follows the log, so the old one is refused a moment later.
    let refused = async {
        while stage.post_update_signed(bot, body(4), SECRET).await.status() != 401 {
            tokio::task::yield_now().await;
        }
    };
    in_time(refused).await;
    assert_eq!(stage.post_update_signed(bot, body(5), SECOND).await.status(), 200);
    stage.app.stop().await;
}
