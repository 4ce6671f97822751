//! A customer sends a picture to the bot: it is fetched, sealed and shown to their tenant.

use std::path::Path;

use events::conversation::ConversationEvent;
use serde_json::json;

use crate::stage::{OTHER_TOKEN, Stage, TOKEN, in_time, update};

const PICTURE: &[u8] = b"\xff\xd8\xff\xe0 a picture of a passport, which nobody may read from the disk";

/// Bytes of all files below a folder.
fn bytes_below(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(bytes_below(&path));
        } else {
            found.push(std::fs::read(path).unwrap());
        }
    }
    found
}

#[actix_web::test]
async fn a_picture_is_fetched_sealed_and_shown_to_its_tenant_only() {
    let stage = Stage::start().await;
    let bot = stage.open_telegram().await;
    stage.telegram.has_file("file-1", "photos/1.jpg", PICTURE).await;
    let mut photo = update(11, "");
    let message = photo["message"].as_object_mut().unwrap();
    message.remove("text");
    message.insert(
        "photo".to_owned(),
        json!([{"file_id": "file-1", "file_unique_id": "u1", "width": 90, "height": 90, "file_size": PICTURE.len()}]),
    );
    assert_eq!(stage.post_update(bot, &photo).await.status(), 200);
    let stored = stage.first(|decoded| match &decoded.event {
        events::DomainEvent::Conversation(ConversationEvent::AttachmentStored(stored)) => {
            Some((decoded.recorded.stream.id, stored.clone()))
        }
        _ => None,
    });
    let (conversation, stored) = stored.await;
    assert_eq!(stored.blob.size_bytes, PICTURE.len() as u64);

    stage.caught_up().await;
    let conversation = events::ids::ConversationId::new(conversation);
    let url = stage.url(&format!("/media/{conversation}/{}/0", stored.message));
    let fetched = stage.client.get(&url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(fetched.status(), 200);
    assert_eq!(fetched.bytes().await.unwrap(), PICTURE);
    assert_eq!(stage.client.get(&url).send().await.unwrap().status(), 401);
    assert_eq!(stage.client.get(&url).bearer_auth(OTHER_TOKEN).send().await.unwrap().status(), 404);

    let files = bytes_below(&stage.config.data_dir.join("blobs"));
    assert!(files.iter().any(|bytes| bytes.len() >= PICTURE.len()), "the picture is there");
    for bytes in bytes_below(&stage.config.data_dir) {
        assert!(!bytes.windows(20).any(|window| window == &PICTURE[10..30]), "and nowhere in clear");
    }
    stage.app.stop().await;
}

/// A body that never comes.
fn never() -> reqwest::Body {
    reqwest::Body::wrap_stream(futures::stream::pending::<std::io::Result<Vec<u8>>>())
}

#[actix_web::test]
async fn an_upload_is_refused_before_its_body_is_read() {
    let stage = Stage::start().await;
    let upload = || stage.client.post(stage.url("/uploads?name=bill.txt"));
    let stranger = in_time(upload().body(never()).send()).await.unwrap();
    assert_eq!(stranger.status(), 401);
    let large = upload().bearer_auth(TOKEN).header("content-length", 50 * 1024 * 1024 + 1);
    let large = in_time(large.body(never()).send()).await.unwrap();
    assert_eq!(large.status(), 413);
    assert_eq!(large.headers()["content-type"], "application/problem+json");
    let empty = upload().bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(empty.status(), 400);
    let taken = upload().bearer_auth(TOKEN).body("bill").send().await.unwrap();
    assert_eq!(taken.status(), 201);
    let taken: serde_json::Value = taken.json().await.unwrap();
    assert_eq!(taken["sizeBytes"], 4);
    stage.app.stop().await;
}
