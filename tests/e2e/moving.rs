//! A shop outgrows its machine: its data moves to other engines by `export` and `import`.

use std::any::Any;
use std::fs;
use std::path::Path;

use events::clock::IdGenerator;
use events::conversation::ConversationEvent::{MessageDelivered, MessageReceived};
use events::ids::{ConversationId, MessageId};
use letopis::clock::SystemIds;
use letopis::config::Config;

use crate::engines::Engines;
use crate::stage::{Stage, behind_the_scenes, in_time, queue, run, update};

/// What is on one machine.
fn embedded(config: &mut Config) {
    let Config { log, feed, views, keys, blobs, postgres, .. } = Config::default();
    *config = Config { log, feed, views, keys, blobs, postgres, ..config.clone() };
}

/// Moves the data to the chosen engines, and says where they are. EventStoreDB takes no archive: there the target is another
/// folder.
async fn moved(folder: &Path, old: &Config) -> (Config, Box<dyn Any + Send + Sync>) {
    let mut new = Config { data_dir: folder.join("new"), ..old.clone() };
    let keep = match Engines::chosen() {
        Engines::DoubleAndKafka => Box::new(()),
        chosen => chosen.set_up(&mut new).await,
    };
    fs::create_dir_all(&new.data_dir).unwrap();
    fs::copy(old.data_file("kek"), new.data_file("kek")).unwrap();
    let exported = run(folder, old, &["export", "--to", "shop.archive"]).await;
    let imported = run(folder, &new, &["import", "--from", "shop.archive"]).await;
    assert_eq!(exported.lines().next(), imported.lines().next());
    let rebuilt = run(folder, &new, &["rebuild"]).await;
    assert!(rebuilt.contains("parked: 0"), "{rebuilt}");
    (new, keep)
}

/// A customer asks, an operator answers, a second answer waits when the server stops for the move.
async fn a_move(with_checkpoints: bool) {
    let stage = Stage::start_with(embedded).await;
    let bot = stage.open_telegram().await;
    stage.post_update(bot, &update(11, "Где мой заказ?")).await;
    let conversation: ConversationId = stage.conversation_with(1, |event| matches!(event, MessageReceived(_))).await;
    let answer = stage.write(conversation, "Уже в пути").await;
    assert!(matches!(stage.ended(answer, 0).await, MessageDelivered(_)));
    let waiting = MessageId::new(SystemIds.next());
    let stage = stage
        .restart_elsewhere(async |folder, old| {
            behind_the_scenes(old, conversation, vec![queue(conversation, waiting, "Будет завтра")]).await;
            if !with_checkpoints {
                fs::remove_dir_all(old.data_file("checkpoints")).unwrap();
            }
            moved(folder, old).await
        })
        .await;

    assert!(matches!(stage.ended(waiting, 0).await, MessageDelivered(_)));
    // Telegram repeats what it delivered before the move.
    for update in [update(11, "Где мой заказ?"), update(12, "Спасибо")] {
        assert_eq!(stage.post_update(bot, &update).await.status(), 200);
    }
    stage.conversation_with(2, |event| matches!(event, MessageReceived(_))).await;
    let last = stage.write(conversation, "Пожалуйста").await;
    assert!(matches!(stage.ended(last, 0).await, MessageDelivered(_)));
    stage.caught_up().await;
    let received: Vec<String> = stage.texts().await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(received, ["Где мой заказ?", "Спасибо"]);
    assert_eq!(stage.telegram.texts().await, ["Уже в пути", "Будет завтра", "Пожалуйста"]);
    in_time(stage.app.stop()).await;
}

#[actix_web::test]
async fn a_shop_that_moved_goes_on_and_nothing_is_sent_twice() {
    Box::pin(a_move(true)).await;
}

#[actix_web::test]
async fn nothing_is_sent_twice_also_when_checkpoints_were_lost_on_the_way() {
    Box::pin(a_move(false)).await;
}
