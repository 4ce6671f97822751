//! Those who run the server: stop it, look at it, rebuild its read models, and fill its disk.

use events::conversation::ConversationEvent::{MessageDelivered, MessageReceived};
use futures::future::join_all;

use crate::stage::{SECRET, Stage, in_time, run, update, update_in};

#[actix_web::test]
async fn what_was_acknowledged_before_a_stop_is_all_there_after_it() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    let updates: Vec<_> = (0..100).map(|number| update_in(number % 10 + 1, number, &number.to_string())).collect();
    let answers = join_all(updates.iter().map(|update| stage.post_update(bot, update))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    let stage = stage.restart().await;
    stage.outcomes(updates.len()).await;
    let mut numbers: Vec<i64> = stage.texts().await.iter().map(|(_, text)| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    stage.app.stop().await;
}

#[actix_web::test]
async fn read_models_made_anew_are_the_same() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    join_all((1..=30).map(async |number| stage.post_update(bot, &update_in(number % 5 + 1, number, "текст")).await))
        .await;
    stage.outcomes(30).await;
    let conversation = stage.conversation_with(1, |event| matches!(event, MessageReceived(_))).await;
    let message = stage.write(conversation, "Здравствуйте").await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
    stage.caught_up().await;
    let Stage { folder, config, app, .. } = stage;
    app.stop().await;
    let hash = |output: &str| output.lines().find(|line| line.starts_with("state hash: ")).unwrap().to_owned();
    let first = run(folder.path(), &config, &["rebuild"]).await;
    assert!(!first.contains("differs") && first.lines().any(|line| line == "swapped"), "{first}");
    assert!(first.contains("parked: 0"), "{first}");
    let second = run(folder.path(), &config, &["rebuild", "--check"]).await;
    assert_eq!(hash(&first), hash(&second));
}

#[actix_web::test]
async fn a_supervisor_sees_every_step_while_the_server_runs() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    stage.post_update(bot, &update(11, "Где мой заказ?")).await;
    let conversation = stage.conversation_with(1, |event| matches!(event, MessageReceived(_))).await;
    let message = stage.write(conversation, "Уже в пути").await;
    assert!(matches!(stage.ended(message, 0).await, MessageDelivered(_)));
    let conversation = conversation.to_string();
    let arguments = ["replay", "--tenant", "acme", "--conversation", &conversation];
    let steps = stage.run(&arguments).await;
    let line = |step: &str| steps.lines().find(|line| line.contains(step)).unwrap_or_else(|| panic!("{steps}"));
    let received = line("conversation.message_received");
    assert!(received.contains("by customer"), "{received}");
    assert!(received.contains("happened 2026-09-21T14:13:31.000Z"), "Telegram's time: {received}");
    assert!(received.contains("recorded ") && received.contains("because of intake.received at "), "{received}");
    assert!(line("conversation.message_queued").contains("by operator"), "{steps}");
    assert!(line("conversation.message_delivered").contains("because of conversation.message_queued"), "{steps}");
    assert!(steps.contains("| Где мой заказ?") && steps.contains("| Уже в пути"), "{steps}");
    stage.app.stop().await;
}

#[actix_web::test]
async fn a_full_disk_refuses_deliveries_and_the_server_recovers_by_itself() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    let ready = async || stage.client.get(stage.url("/health/ready")).send().await.unwrap().status().as_u16();
    assert_eq!(ready().await, 200);
    stage.app.engines().log.limit_pages_for_tests(Some(1));
    let mut acknowledged = 0;
    let long = "ж".repeat(20_000);
    let refused = loop {
        let body = update(acknowledged + 1, &long).to_string();
        let answer = stage.post_update_signed(bot, body, SECRET).await;
        if answer.status() != 200 {
            break answer;
        }
        acknowledged += 1;
        assert!(acknowledged < 1_000, "the disk must become full");
    };
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait >= 1);
    assert_eq!(ready().await, 503);
    let live = stage.client.get(stage.url("/health/live")).send().await.unwrap();
    assert_eq!(live.status(), 200, "it lives and shall not be killed");

    stage.app.engines().log.limit_pages_for_tests(None);
    let recovered = async {
        while stage.post_update(bot, &update(acknowledged + 1, &long)).await.status() != 200 {
            tokio::task::yield_now().await;
        }
        while ready().await != 200 {
            tokio::task::yield_now().await;
        }
    };
    in_time(recovered).await;
    let all = usize::try_from(acknowledged).unwrap() + 1;
    stage.outcomes(all).await;
    assert_eq!(stage.texts().await.len(), all);
    stage.app.stop().await;
}
